"""Counts, kernels and rows of the oracles against slow references and answers known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score, jaccard_score

from transforms.errors import ShapeError
from transforms.metrics import confusion, confusion_by_block, mean_iou, overall_accuracy
from transforms.oracles.agreement import compare_sources
from transforms.oracles.constant_labels import (
    choose_for_iou,
    choose_majority,
    constant_confusions,
    constant_confusions_by_group,
    count_blocks,
)
from transforms.oracles.fractions import FractionOracle
from transforms.oracles.rows import agreement_rows, confusion_table, oracle_rows, skipped_row
from transforms.oracles.tally import BlockCounts, OracleKey, OracleTally, PatchCells
from transforms.upsampling.rows import grid_rows

K = 4
NAMES = ("tree", "crop", "water", "built")
SEEDS = st.integers(0, 2**32 - 1)


def ascend_slowly(counts: np.ndarray, max_rounds: int = 100) -> np.ndarray:
    """C1 as it is defined: every step scores the whole confusion matrix anew."""
    chosen = choose_majority(counts)
    confusions = constant_confusions(counts, chosen)
    best = float(mean_iou(confusions))
    for _ in range(max_rounds):
        changed = False
        for block in np.flatnonzero(counts.sum(axis=1)):
            for candidate in range(counts.shape[1]):
                moved = confusions.copy()
                moved[:, chosen[block]] -= counts[block]
                moved[:, candidate] += counts[block]
                value = float(mean_iou(moved))
                if value > best + 1e-12:
                    best, confusions, changed = value, moved, True
                    chosen[block] = candidate
        if not changed:
            break
    return chosen


def random_cells(rng: np.random.Generator, n: int, side: int, k: int = K, nodata: float = 0.1) -> np.ndarray:
    """Patches with a class of their own each, and others sprinkled in."""
    main = rng.integers(0, k, n)[:, None]
    cells = np.where(rng.random((n, side * side)) < 0.6, main, rng.integers(0, k, (n, side * side)))
    return np.where(rng.random(cells.shape) < nodata, -1, cells).astype(np.int16)


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_fast_ascent_takes_the_steps_of_the_slow_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, (rng.integers(1, 25), K)) * rng.integers(0, 2, K)
    np.testing.assert_array_equal(choose_for_iou(counts), ascend_slowly(counts))


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_c1_is_at_least_the_miou_of_the_majority_whatever_the_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 1025, (60, K)) // rng.integers(1, 200, (60, K))
    majority, chosen = choose_majority(counts), choose_for_iou(counts)
    assert mean_iou(constant_confusions(counts, chosen)) >= mean_iou(constant_confusions(counts, majority))


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.sampled_from([1, 2, 4, 8]))
def test_blocks_are_counted_like_slices(seed: int, block_px: int) -> None:
    grids = random_cells(np.random.default_rng(seed), 3, 8).reshape(3, 8, 8)
    expected = [
        np.bincount(part[part >= 0], minlength=K)
        for grid in grids
        for rows in np.split(grid, 8 // block_px)
        for part in np.split(rows, 8 // block_px, axis=1)
    ]
    np.testing.assert_array_equal(count_blocks(grids, block_px, K), expected)


def test_confusions_of_groups_add_up() -> None:
    rng = np.random.default_rng(0)
    counts, chosen, group = rng.integers(0, 9, (40, K)), rng.integers(0, K, 40), rng.integers(0, 5, 40)
    found = constant_confusions_by_group(counts, chosen, group, 5)
    for number in range(5):
        mine = group == number
        np.testing.assert_array_equal(found[number], constant_confusions(counts[mine], chosen[mine]))
    for bad in ((chosen[:3], group), (chosen, group + 1), (chosen - 1, group)):
        with pytest.raises(ShapeError, match=r"one class 0\.\.3 and one group 0\.\.4 per block"):
            constant_confusions_by_group(counts, *bad, 5)


# -- tally ------------------------------------------------------------------------------------------------------


def run_tally(cells: np.ndarray, block_id: np.ndarray, batch: int, **more: np.ndarray) -> dict[OracleKey, BlockCounts]:
    side = round(cells.shape[1] ** 0.5)
    tally = OracleTally(K, PatchCells(10.0 * side, side))
    for start in range(0, len(cells), batch):
        part = slice(start, start + batch)
        others = {"other": (more["other"][part], K)} if "other" in more else None
        interpolated = more["interpolated"][part] if "interpolated" in more else None
        tally.add(cells[part], block_id[part], interpolated=interpolated, others=others)
    return dict(tally.results())


@settings(deadline=None, max_examples=10)
@given(SEEDS, st.sampled_from([1, 3, 7, 50]))
def test_the_size_of_a_batch_changes_nothing(seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    cells, blocks = random_cells(rng, 20, 8), rng.integers(-3, 3, 20)
    more = {"interpolated": random_cells(rng, 20, 8), "other": random_cells(rng, 20, 8)}
    whole, parts = run_tally(cells, blocks, 100, **more), run_tally(cells, blocks, batch, **more)
    assert set(whole) == set(parts)
    for key, found in whole.items():
        np.testing.assert_array_equal(found.block_id, parts[key].block_id)
        np.testing.assert_array_equal(found.counts, parts[key].counts)


def test_every_oracle_is_the_confusion_of_its_map() -> None:
    rng = np.random.default_rng(3)
    cells, blocks = random_cells(rng, 30, 32), rng.integers(0, 4, 30)
    interpolated = random_cells(rng, 30, 32, nodata=0)
    found = run_tally(cells, blocks, 8, interpolated=interpolated)
    assert [(key.oracle, key.scale_m) for key in found] == [
        ("C0", 320), ("C4", 160), ("C4", 80), ("C4", 40), ("C4", 20), ("C3", 320), ("C1", 320),
    ]  # fmt: skip
    grids = cells.reshape(30, 32, 32)
    maps = {("C3", 320.0): interpolated}
    for key in found:
        if key.oracle in ("C0", "C4"):
            px = round(float(key.scale_m or 0) / 10)
            majority = choose_majority(count_blocks(grids, px, K)).reshape(30, 32 // px, 32 // px)
            maps[key.oracle, float(key.scale_m or 0)] = majority.repeat(px, axis=1).repeat(px, axis=2).reshape(30, -1)
    whole = choose_for_iou(count_blocks(grids, 32, K))
    maps["C1", 320.0] = np.broadcast_to(whole[:, None], cells.shape)
    for key, counts in found.items():
        pred = np.asarray(maps[key.oracle, float(key.scale_m or 0)]).ravel()
        names, expected = confusion_by_block(cells.ravel(), pred, np.repeat(blocks, 1024), K)
        np.testing.assert_array_equal(counts.block_id, names)
        np.testing.assert_array_equal(counts.counts, expected)


def test_c4_accuracy_never_falls_as_the_parts_get_smaller() -> None:
    rng = np.random.default_rng(4)
    found = run_tally(random_cells(rng, 50, 32), np.zeros(50, np.int64), 50)
    ladder = [found[OracleKey("C0", 320.0)], *(found[OracleKey("C4", s)] for s in (160.0, 80.0, 40.0, 20.0))]
    accuracy = [float(overall_accuracy(item.counts.sum(axis=0))) for item in ladder]
    assert accuracy == sorted(accuracy)
    assert accuracy[-1] > accuracy[0] + 0.02


def test_known_answer_of_a_quartered_patch() -> None:
    grid = np.zeros((32, 32), np.int16)
    grid[:16, :16] = 1  # a quarter
    grid[16:, 16:18] = 2  # 32 cells, 2 wide: seen by 20 m blocks alone
    grid[31, 31] = -1
    found = run_tally(grid.reshape(1, -1), np.array([7]), 1)

    def accuracy(oracle: str, scale: float) -> float:
        return float(overall_accuracy(found[OracleKey(oracle, scale)].counts.sum(axis=0)))  # type: ignore[arg-type]

    assert accuracy("C0", 320.0) == pytest.approx((1023 - 256 - 32) / 1023)
    assert accuracy("C4", 160.0) == accuracy("C4", 80.0) == pytest.approx((1023 - 32) / 1023)
    assert accuracy("C4", 40.0) == pytest.approx((1023 - 32) / 1023)  # a tie in blocks of four: the lowest id
    assert accuracy("C4", 20.0) == 1.0
    assert found[OracleKey("C0", 320.0)].block_id.tolist() == [7]


@pytest.mark.parametrize(
    ("side_m", "n_side", "expected"),
    [
        (320.0, 32, {160.0: 16, 80.0: 8, 40.0: 4, 20.0: 2}),
        (2560.0, 64, {1280.0: 32, 640.0: 16, 320.0: 8, 160.0: 4, 80.0: 2, 40.0: None, 20.0: None}),
        (240.0, 24, {160.0: None, 80.0: 8, 40.0: 4, 20.0: 2}),
        (10.0, 1, {}),
    ],
)
def test_scales_are_smaller_than_the_patch_and_made_of_whole_cells(
    side_m: float, n_side: int, expected: dict[float, int | None]
) -> None:
    patch = PatchCells(side_m, n_side)
    assert {scale: patch.block_px(scale) for scale in patch.scales} == expected


def test_bad_batches_are_refused() -> None:
    tally = OracleTally(K, PatchCells(320.0, 32))
    blocks = np.zeros(2, np.int64)
    cells = np.zeros((2, 1024), np.int16)
    with pytest.raises(ShapeError, match=r"int16 \(2, 1024\)"):
        tally.add(cells[:, :100], blocks)
    with pytest.raises(ShapeError, match=r"label cells: found ids 4\.\.4, expected -1\.\.3"):
        tally.add(cells + np.int16(4), blocks)
    with pytest.raises(ShapeError, match="interpolated classes"):
        tally.add(cells, blocks, interpolated=cells - np.int16(2))
    with pytest.raises(ShapeError, match="cells of other"):
        tally.add(cells, blocks, others={"other": (cells + np.int16(2), 2)})


# -- C3 ---------------------------------------------------------------------------------------------------------


def test_c3_puts_the_border_where_the_fractions_say() -> None:
    """Two half planes: interpolated fractions cross 1/2 at the true border, where constant labels are half a patch off.

    The border runs through the middle of the patches at x = 160..480 (centre 320): that patch is half and half.
    """
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(3) * 320.0, np.arange(3) * 320.0))
    share = np.array([1.0, 0.5, 0.0])[np.tile(np.arange(3), 3)]
    oracle = FractionOracle(grid_rows(x, y), np.stack([share, 1 - share], axis=1).astype(np.float32))
    u = np.array([-150.0, 100.0, 319.0, 321.0, 500.0, 790.0])
    assert oracle.predict(u, np.full(6, 320.0)).tolist() == [0, 0, 0, 1, 1, 1]


def test_c3_knows_nothing_far_from_labelled_patches() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(4) * 320.0, np.arange(4) * 320.0))
    fractions = np.zeros((16, 2), np.float32)
    fractions[:, 1] = 1
    fractions[x > 400] = np.nan
    found = FractionOracle(grid_rows(x, y), fractions).predict([0.0, 479.0, 960.0], [0.0, 0.0, 0.0])
    assert found.tolist() == [1, 1, -1]


# -- C6 ---------------------------------------------------------------------------------------------------------


def test_classes_are_matched_by_name() -> None:
    own, other = ("tree", "crop", "water"), ("water", "tree", "moss")
    pairs = np.zeros((2, 3, 3), np.int64)
    pairs[0, 0, 1], pairs[0, 2, 0], pairs[1, 2, 1] = 50, 20, 10  # tree-tree, water-water, water-tree
    pairs[1, 1, 1], pairs[0, 0, 2] = 15, 5  # crop-tree, tree-moss
    found = compare_sources(pairs, own, other)
    assert found.shared == ("tree", "water")
    np.testing.assert_array_equal(found.confusions.sum(axis=0), [[50, 0, 0], [0, 0, 0], [10, 0, 20]])
    assert [(item.name, item.is_own, item.share) for item in found.unshared] == [
        ("crop", True, 0.15),
        ("moss", False, 0.05),
    ]
    with pytest.raises(ShapeError, match=r"\(b, 3, 2\)"):
        compare_sources(pairs, own, other[:2])


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_agreement_scores_equal_those_of_scikit_learn_and_do_not_depend_on_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = random_cells(rng, 12, 4), random_cells(rng, 12, 4)
    blocks = rng.integers(0, 3, 12)
    key = OracleKey("C6", other_source="other")

    def scores(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        pairs = run_tally(a, blocks, 5, other=b)[key]
        rows = agreement_rows(key, pairs, compare_sources(pairs.counts, NAMES, NAMES), NAMES)
        return {row["metric"]: row["value"] for row in rows if row.get("class_id") is None}

    found = scores(first, second)
    both = (first >= 0) & (second >= 0)
    truth, pred = first[both], second[both]
    assert found["mean_iou"] == pytest.approx(jaccard_score(truth, pred, average="macro"))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, pred, average="macro"))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(truth, pred))
    swapped = scores(second, first)
    for metric in ("mean_iou", "macro_f1", "kappa", "overall_accuracy"):
        assert found[metric] == pytest.approx(swapped[metric], abs=1e-12)


def test_sources_without_two_shared_classes_are_not_scored() -> None:
    key = OracleKey("C6", other_source="lulc")
    pairs = BlockCounts(np.array([1]), np.full((1, 2, 2), 5))
    rows = agreement_rows(
        key, pairs, compare_sources(pairs.counts, ("tree", "crop"), ("tree", "moss")), ("tree", "crop")
    )
    assert rows[0]["status"].startswith("skipped: found 1 classes of the same name, expected two or more")
    assert [(row["class_name"], row["value"], row["status"]) for row in rows[1:]] == [
        ("crop", 0.5, "not shared: only in this source"),
        ("moss", 0.5, "not shared: only in lulc"),
    ]


# -- rows -------------------------------------------------------------------------------------------------------


def test_only_one_label_scores_of_one_label_oracles_are_bounds() -> None:
    counts = BlockCounts(np.array([4, 9]), np.stack([np.eye(K, dtype=np.int64) * 3, np.ones((K, K), np.int64)]))
    bounds = {}
    for key in (OracleKey("C0", 320.0), OracleKey("C1", 320.0), OracleKey("C3", 320.0), OracleKey("C4", 40.0)):
        rows = oracle_rows(key, counts, NAMES)
        assert {row["bound_for"] for row in rows} <= {"constant-label arms", "none"}
        bounds[key.oracle] = {row["metric"] for row in rows if row["bound_for"] != "none"}
    assert bounds == {"C0": {"overall_accuracy"}, "C1": {"mean_iou"}, "C3": set(), "C4": {"overall_accuracy"}}


def test_rows_carry_scores_sizes_and_classes() -> None:
    counts = np.zeros((3, K, K), np.int64)
    counts[0, 0, 0], counts[1, 1, 0], counts[1, 1, 1] = 6, 1, 3  # the third block is empty
    rows = oracle_rows(OracleKey("C4", 80.0), BlockCounts(np.arange(3), counts), NAMES)
    total = counts.sum(axis=0)
    by_metric = {row["metric"]: row for row in rows if "class_id" not in row}
    assert by_metric["mean_iou"]["value"] == pytest.approx(mean_iou(total))
    assert (by_metric["mean_iou"]["averaging"], by_metric["kappa"]["averaging"]) == ("macro", None)
    assert {(row["n_units"], row["n_blocks"], row["status"]) for row in rows} == {(10, 2, "ok")}
    ious = {row["class_name"]: row["value"] for row in rows if row["metric"] == "iou"}
    assert ious == {"tree": pytest.approx(6 / 7), "crop": 0.75, "water": None, "built": None}


def test_ground_without_labels_and_skipped_oracles_say_so() -> None:
    (empty,) = oracle_rows(OracleKey("C0", 320.0), BlockCounts(np.array([1]), np.zeros((1, K, K), np.int64)), NAMES)
    assert empty["status"] == "skipped: no cell with a label"
    row = skipped_row(OracleKey("C6"), "one source")
    assert row == {
        "oracle": "C6", "scale_m": None, "other_source": None, "bound_for": "none", "status": "skipped: one source",
    }  # fmt: skip


def test_confusion_rows_hold_every_count() -> None:
    rng = np.random.default_rng(6)
    cells, blocks = random_cells(rng, 10, 4), rng.integers(0, 3, 10)
    found = run_tally(cells, blocks, 4)
    table = confusion_table(found).to_pandas()
    whole = table[table.oracle == "C0"]
    total = np.zeros((K, K), np.int64)
    np.add.at(total, (whole.truth.to_numpy(), whole.pred.to_numpy()), whole.n.to_numpy())
    majority = np.repeat(choose_majority(count_blocks(cells.reshape(10, 4, 4), 4, K)), 16)
    np.testing.assert_array_equal(total, confusion(cells.ravel(), majority, K))
    assert (table.n > 0).all()
    assert confusion_table({}).num_rows == 0
