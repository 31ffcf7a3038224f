from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.fake_evidence import make_settings
from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from transforms.arms import ARMS, CLAIMS, NATIVE_ARM
from transforms.cell_rows import fill_columns
from transforms.errors import ShapeError
from transforms.inference import contrast_arms, holm
from transforms.metrics import mean_iou, overall_accuracy
from warehouse.contrasts import answering_scheme, diagnostic_note, make_contrasts
from warehouse.layout import ALL
from warehouse.sections import EvaluateSettings, LimitSettings
from warehouse.store import Warehouse

YEAR = 2024
K = 4
#: Units of each class in a block.
PER_CLASS = 20


@pytest.fixture
def open_warehouse(tmp_path: Path):
    """Open a warehouse whose indexes are there, evaluated as told."""

    def open_it(*, simulated: bool = False, **evaluate: Any) -> Warehouse:
        settings = make_settings(tmp_path, **evaluate)
        warehouse = Warehouse(settings.model_copy(update={"limits": LimitSettings(min_free_mb=0)}))
        for product in ("aef", "eg"):
            table = f"raw_{product}__index"
            rows = declared_rows(warehouse.specs[table], 1, np.random.default_rng(0))
            position = rows.schema.get_field_index("is_simulated")
            warehouse.write(table, ALL, rows.set_column(position, "is_simulated", pa.array([simulated])), PROVENANCE)
        return warehouse

    return open_it


def with_right(right: list[int]) -> np.ndarray:
    """Confusions (b, k, k): in block b, `right[b]` units of each class are right, the rest go to the next class."""
    counts = np.zeros((len(right), K, K), int)
    for block, n_right in enumerate(right):
        for c in range(K):
            counts[block, c, c] = n_right
            counts[block, c, (c + 1) % K] = PER_CLASS - n_right
    return counts


def spread(mean: float, n_blocks: int, seed: int) -> np.ndarray:
    right = np.clip(np.round(mean + np.random.default_rng(seed).normal(0, 1.5, n_blocks)), 0, PER_CLASS)
    return with_right(right.astype(int).tolist())


def store(
    warehouse: Warehouse, arm: str, counts: np.ndarray, *, scheme: str = "block", year: int = YEAR, **other: Any
) -> None:
    """Store the confusions of one cell, over five folds."""
    block, truth, pred = np.nonzero(counts)
    rows = [
        {"block_id": int(b) * 13, "fold": int(b) % 5, "truth": int(t), "pred": int(p), "n": int(counts[b, t, p])}
        for b, t, p in zip(block, truth, pred, strict=True)
    ]
    shared = {"task": "T1" if ARMS[arm].unit == "patch" else "T5", "scheme": scheme, "arm": arm}
    shared |= {"label_source": "cover", "is_simulated": False, "probe": ARMS[arm].probe or "logistic"}
    shared |= {"budget_kind": "percent", "budget": 100.0, "is_default": True, "purity_min": None} | other
    spec = warehouse.specs["out_probe__confusions"]
    table = fill_columns(rows, shared, spec.schema)
    cell = "-".join(str(shared[name]) for name in ("scheme", "arm", "probe", "budget", "purity_min"))
    warehouse.write_cell(spec.name, year, cell, table, PROVENANCE)


def find(table: pa.Table, arm: str, metric: str, scheme: str = "block") -> dict[str, Any]:
    rows = [r for r in table.to_pylist() if (r["arm"], r["metric"], r["scheme"]) == (arm, metric, scheme)]
    assert len(rows) == 1
    return rows[0]


def test_differences_are_those_of_the_summed_confusions(open_warehouse) -> None:
    warehouse = open_warehouse()
    native, stats = with_right([16, 12, 10]), with_right([18, 12, 4])
    store(warehouse, "native_patch", native)
    store(warehouse, "pooled_stats", stats)
    row = find(make_contrasts(warehouse, YEAR), "pooled_stats", "macro_f1")
    # classes are alike here, so macro-F1 is accuracy: 38 and 34 of 60
    assert row["reference_value"] == pytest.approx(38 / 60)
    assert row["arm_value"] == pytest.approx(34 / 60)
    assert row["delta"] == pytest.approx(-4 / 60)
    assert (row["n_blocks"], row["block_wins"]) == (3, 1)
    assert (row["question"], row["task"], row["reference"], row["margin"]) == ("Q1", "T1", "native_patch", 0.02)
    assert (row["label_source"], row["probe"], row["budget"], row["status"]) == ("cover", "logistic", 100.0, "ok")
    assert row["method"] == "block_jackknife_t"


def test_intervals_are_those_of_paired_blocks(open_warehouse) -> None:
    warehouse = open_warehouse(seed=4)
    native, bilinear = spread(14, 40, 1), spread(11, 40, 2)
    store(warehouse, "native_pixel", native)
    store(warehouse, "upsampled_bilinear", bilinear)
    table = make_contrasts(warehouse, YEAR)
    for metric in ("mean_iou", "overall_accuracy"):
        row = find(table, "upsampled_bilinear", metric)
        expected = contrast_arms(bilinear, native, metric=metric, margin=0.05, rng=np.random.default_rng(4))
        for name in ("delta", "lo", "hi", "p"):
            assert row[name] == pytest.approx(getattr(expected, name), rel=1e-9), name
        assert (row["verdict"], row["method"]) == (expected.verdict, "block_bootstrap")
        assert row["lo"] < row["delta"] < row["hi"] < 0
    iou = find(table, "upsampled_bilinear", "mean_iou")
    assert iou["reference_value"] == pytest.approx(float(mean_iou(native.sum(axis=0))))
    accuracy = find(table, "upsampled_bilinear", "overall_accuracy")
    assert accuracy["arm_value"] == pytest.approx(float(overall_accuracy(bilinear.sum(axis=0))))


@pytest.mark.parametrize(
    ("right", "n_blocks", "verdict"),
    [
        (17, 40, "superior"),
        (14, 40, "non-inferior"),
        (9, 40, "inferior"),
        (17, 19, "inconclusive"),
        (9, 19, "inconclusive"),
    ],
)
def test_verdicts(open_warehouse, right: int, n_blocks: int, verdict: str) -> None:
    warehouse = open_warehouse()
    native = spread(14, n_blocks, 3)
    arm = native if right == 14 else spread(right, n_blocks, 4)
    store(warehouse, "native_patch", native)
    store(warehouse, "pooled_stats", arm)
    assert find(make_contrasts(warehouse, YEAR), "pooled_stats", "macro_f1")["verdict"] == verdict


def test_p_values_of_secondary_contrasts_are_corrected_within_their_task(open_warehouse) -> None:
    warehouse = open_warehouse(schemes=["block", "random"])
    for scheme in ("block", "random"):
        for seed, arm in enumerate(["native_patch", "pooled_stats", "pooled_mean", "patch_majority"]):
            store(warehouse, arm, spread(14 - 0.4 * seed, 40, seed), scheme=scheme)
        for seed, arm in enumerate(["native_pixel", "upsampled_bilinear"]):
            store(warehouse, arm, spread(14 - 0.3 * seed, 40, seed + 9), scheme=scheme)
    rows = make_contrasts(warehouse, YEAR).to_pylist()
    for task, n_secondary in (("T1", 3 * 2 * 2 - 1), ("T5", 1 * 2 * 2 - 1)):
        family = [row for row in rows if row["task"] == task and not row["is_primary"]]
        assert len(family) == n_secondary
        np.testing.assert_allclose([row["p_holm"] for row in family], holm([row["p"] for row in family]))
        assert any(row["p_holm"] > row["p"] for row in family)
        # what was fixed in advance stands alone
        (primary,) = [row for row in rows if row["task"] == task and row["is_primary"]]
        assert primary["p_holm"] == primary["p"]


@pytest.mark.parametrize(
    ("schemes", "answering"),
    [
        (["block", "random"], "block"),
        (["random", "region", "block"], "block"),
        (["region", "random"], None),
        (["transfer", "longitude"], "longitude"),
    ],
)
def test_only_the_claim_of_the_answering_scheme_is_primary(open_warehouse, schemes, answering) -> None:
    warehouse = open_warehouse(schemes=schemes)
    assert answering_scheme(warehouse.settings.evaluate) == answering
    for scheme in schemes:
        arms = ["native_patch", "pooled_stats", "pooled_mean", "native_pixel", "upsampled_bilinear"]
        for seed, arm in enumerate(arms):
            store(warehouse, arm, spread(13, 25, seed), scheme=scheme)
    primary = [row for row in make_contrasts(warehouse, YEAR).to_pylist() if row["is_primary"]]
    found = [(row["task"], row["arm"], row["metric"], row["scheme"]) for row in primary]
    expected = [("T1", "pooled_stats", "macro_f1", answering), ("T5", "upsampled_bilinear", "mean_iou", answering)]
    assert sorted(found) == (expected if answering else [(*row[:3], schemes[0]) for row in expected])
    assert all((row["delta"] is None) == (answering is None) for row in primary)


@pytest.mark.parametrize(
    ("schemes", "answering"), [(["given", "block"], "given"), (["random", "given"], "given"), (["random"], None)]
)
def test_the_scheme_that_answers_resamples_many_places(schemes: list[str], answering: str | None) -> None:
    assert answering_scheme(EvaluateSettings(label="x", schemes=schemes)) == answering


def test_random_folds_carry_no_verdict(open_warehouse) -> None:
    warehouse = open_warehouse(schemes=["block", "random"])
    for scheme in ("block", "random"):
        store(warehouse, "native_patch", spread(8, 40, 1), scheme=scheme)
        store(warehouse, "pooled_stats", spread(16, 40, 2), scheme=scheme)
    table = make_contrasts(warehouse, YEAR)
    fair, leaky = (find(table, "pooled_stats", "macro_f1", scheme) for scheme in ("block", "random"))
    assert (fair["verdict"], fair["status"], fair["note"]) == ("superior", "ok", "")
    assert (leaky["verdict"], leaky["status"]) == ("inconclusive", "diagnostic")
    assert "random folds leak" in leaky["note"]
    assert leaky["lo"] > 0  # its numbers are told all the same


def test_blocks_of_a_region_that_was_left_out_carry_no_verdict(open_warehouse) -> None:
    warehouse = open_warehouse(schemes=["block", "region"], tasks=["T1"])
    for scheme in ("block", "region"):
        store(warehouse, "native_patch", spread(8, 40, 1), scheme=scheme)
        store(warehouse, "pooled_stats", spread(16, 40, 2), scheme=scheme)
    row = find(make_contrasts(warehouse, YEAR), "pooled_stats", "macro_f1", "region")
    assert (row["verdict"], row["status"]) == ("inconclusive", "ok")
    assert "the independent places are the regions" in row["note"]
    assert row["lo"] > 0


def test_diagnostics_carry_no_verdict(open_warehouse) -> None:
    warehouse = open_warehouse(diagnostic="one scene only")
    store(warehouse, "native_patch", spread(8, 40, 1))
    store(warehouse, "pooled_stats", spread(16, 40, 2))
    row = find(make_contrasts(warehouse, YEAR), "pooled_stats", "macro_f1")
    assert (row["verdict"], row["status"], row["note"]) == ("inconclusive", "diagnostic", "one scene only")


@pytest.mark.parametrize(
    ("diagnostic", "scheme", "note"),
    [("", "block", ""), ("", "given", ""), ("", "region", ""), ("why", "block", "why"), ("why", "random", "why")],
)
def test_notes(diagnostic: str, scheme: str, note: str) -> None:
    assert diagnostic_note(EvaluateSettings(label="x", diagnostic=diagnostic), scheme) == note


@pytest.mark.parametrize("arms", [[], ["native_patch"], ["pooled_stats", "pooled_mean"]])
def test_without_a_pair_a_claim_has_a_row_that_says_so(open_warehouse, arms: list[str]) -> None:
    warehouse = open_warehouse()
    for arm in arms:
        store(warehouse, arm, with_right([10, 12]))
    table = make_contrasts(warehouse, YEAR)
    rows = table.to_pylist()
    assert [(row["question"], row["verdict"], row["delta"], row["is_primary"]) for row in rows] == [
        ("Q1", "inconclusive", None, True), ("Q2", "inconclusive", None, True),
    ]  # fmt: skip
    assert all(row["status"].startswith("failed: ") and "were not both scored" in row["note"] for row in rows)
    assert table.schema.equals(warehouse.specs["out_probe__contrasts"].schema)


def test_other_tasks_and_years_are_left_out(open_warehouse) -> None:
    warehouse = open_warehouse(tasks=["T1"])
    for arm in ("native_patch", "pooled_stats", "native_pixel", "upsampled_bilinear"):
        store(warehouse, arm, with_right([10, 12]))
        store(warehouse, arm, with_right([1, 1]), year=2023)
    rows = make_contrasts(warehouse, YEAR).to_pylist()
    assert {row["task"] for row in rows} == {"T1"}
    assert find(make_contrasts(warehouse, YEAR), "pooled_stats", "macro_f1")["arm_value"] == pytest.approx(22 / 40)


def test_arms_on_different_units_are_refused(open_warehouse) -> None:
    warehouse = open_warehouse()
    store(warehouse, "native_patch", with_right([10, 12, 9]))
    store(warehouse, "pooled_stats", with_right([10, 12]))
    with pytest.raises(ShapeError, match="Score both arms on the units that both cover"):
        make_contrasts(warehouse, YEAR)


def test_every_arm_is_compared_with_its_native(open_warehouse) -> None:
    warehouse = open_warehouse()
    for seed, arm in enumerate(ARMS):
        store(warehouse, arm, spread(12, 25, seed))
    rows = make_contrasts(warehouse, YEAR).to_pylist()
    assert {(row["arm"], row["metric"]) for row in rows} == {
        (arm.name, metric)
        for arm in ARMS.values()
        if arm.name != NATIVE_ARM[arm.unit]
        for metric in ({"patch": "macro_f1", "pixel": "mean_iou"}[arm.unit], "overall_accuracy")
    }
    assert all(row["reference"] == CLAIMS[row["task"]].reference for row in rows)
    assert {row["probe"] for row in rows if row["arm"].endswith("majority")} == {"majority"}


@pytest.mark.parametrize("simulated", [True, False])
def test_contrasts_of_simulated_products_are_marked(open_warehouse, simulated: bool) -> None:
    warehouse = open_warehouse(simulated=simulated)
    store(warehouse, "native_patch", with_right([10, 12]))
    store(warehouse, "pooled_stats", with_right([10, 12]))
    assert set(make_contrasts(warehouse, YEAR)["is_simulated"].to_pylist()) == {simulated}


def test_making_them_again_gives_the_same(open_warehouse) -> None:
    warehouse = open_warehouse()
    store(warehouse, "native_patch", spread(14, 40, 1))
    store(warehouse, "pooled_stats", spread(13, 40, 2))
    assert make_contrasts(warehouse, YEAR).equals(make_contrasts(warehouse, YEAR))


def store_sums(warehouse: Warehouse, task: str, arm: str, rows: list[dict[str, Any]]) -> None:
    shared = {"task": task, "scheme": "block", "arm": arm, "probe": "ridge", "label_source": "cover"}
    shared |= {"budget_kind": "percent", "budget": 100.0, "is_default": True, "is_simulated": False}
    spec = warehouse.specs["out_probe__sums"]
    warehouse.write_cell(spec.name, YEAR, f"{task}-{arm}", fill_columns(rows, shared, spec.schema), PROVENANCE)


def test_cells_are_paired_with_the_native_under_the_same_probe_budget_and_purity(open_warehouse) -> None:
    warehouse = open_warehouse(tasks=["T1"])
    store(warehouse, "native_patch", with_right([16, 12, 10]))
    store(warehouse, "pooled_stats", with_right([18, 12, 4]))
    other = {"is_default": False, "probe": "knn_5"}
    store(warehouse, "native_patch", with_right([5, 5, 5]), **other)
    store(warehouse, "pooled_stats", with_right([6, 6, 6]), **other)
    store(warehouse, "pooled_mean", with_right([6, 6, 6]), is_default=False, budget=25.0)  # has no native
    store(warehouse, "patch_majority", with_right([2, 2, 2]))
    rows = [row for row in make_contrasts(warehouse, YEAR).to_pylist() if row["metric"] == "overall_accuracy"]
    found = {(row["arm"], row["probe"]): (row["arm_value"], row["reference_value"]) for row in rows}
    assert found == {
        ("pooled_stats", "logistic"): (pytest.approx(34 / 60), pytest.approx(38 / 60)),
        ("pooled_stats", "knn_5"): (pytest.approx(18 / 60), pytest.approx(15 / 60)),
        ("patch_majority", "majority"): (pytest.approx(6 / 60), pytest.approx(38 / 60)),
    }


def test_only_the_default_cell_of_a_claim_is_primary(open_warehouse) -> None:
    warehouse = open_warehouse(tasks=["T1"])
    for seed, arm in enumerate(("native_patch", "pooled_stats")):
        store(warehouse, arm, spread(12, 25, seed))
        for purity in (0.0, 0.75):
            store(warehouse, arm, spread(12, 25, seed), purity_min=purity, is_default=False)
    rows = make_contrasts(warehouse, YEAR).to_pylist()
    assert [row["purity_min"] for row in rows if row["is_primary"]] == [None]
    assert {row["purity_min"] for row in rows} == {None, 0.0, 0.75}


def test_draws_are_summed_before_arms_are_compared(open_warehouse) -> None:
    warehouse = open_warehouse(tasks=["T1"])
    for arm, right in (("native_patch", (10, 20)), ("pooled_stats", (12, 14))):
        counts = sum(with_right([n, n, n]) for n in right)
        store(warehouse, arm, counts)
    row = find(make_contrasts(warehouse, YEAR), "pooled_stats", "overall_accuracy")
    assert (row["arm_value"], row["reference_value"]) == (pytest.approx(26 / 40), pytest.approx(30 / 40))


def test_labels_are_compared_at_both_threshold_rules(open_warehouse) -> None:
    warehouse = open_warehouse(tasks=["T2"])
    spec = warehouse.specs["out_probe__confusions"]
    for arm, hits in (("native_patch", 6), ("pooled_stats", 8)):
        rows = [
            {"block_id": block, "fold": 0, "class_id": label, "threshold_rule": rule, "truth": t, "pred": p, "n": n}
            for block in range(4)
            for label in range(K)
            for rule in ("0.5", "tuned")
            for t, p, n in ((1, 1, hits), (1, 0, 10 - hits), (0, 0, 20), (0, 1, 3 if rule == "tuned" else 0))
            if n
        ]
        shared = {"task": "T2", "scheme": "block", "arm": arm, "probe": "logistic", "label_source": "cover"}
        shared |= {"budget_kind": "percent", "budget": 100.0, "is_default": True, "is_simulated": False}
        warehouse.write_cell(spec.name, YEAR, f"T2-{arm}", fill_columns(rows, shared, spec.schema), PROVENANCE)
    rows = make_contrasts(warehouse, YEAR).to_pylist()
    found = {(row["metric"], row["threshold_rule"]): row["arm_value"] for row in rows}
    assert found["macro_f1", "0.5"] == pytest.approx(2 * 8 / (10 + 8))
    assert found["macro_f1", "tuned"] == pytest.approx(2 * 8 / (10 + 11))
    assert found["hamming_loss", "0.5"] == pytest.approx(2 / 30)
    # a lower loss is a gain: all blocks agree on it
    (loss,) = [row for row in rows if row["metric"] == "hamming_loss"]
    assert loss["delta"] == pytest.approx(-2 / 30)
    assert loss["block_wins"] == 4
    assert not any(row["is_primary"] for row in rows)


def test_numbers_and_rankings_are_compared_by_their_sums(open_warehouse) -> None:
    warehouse = open_warehouse(tasks=["T3", "T4"])
    for arm, error in (("native_patch", 2.0), ("pooled_stats", 1.0)):
        numbers = [
            {"block_id": block, "fold": 0, "class_id": output, "n": 10, "sum_truth": 5.0 + block,
             "sum_truth_squared": 20.0, "sum_abs_error": error, "sum_squared_error": error, "sum_error": 0.0}
            for block in range(3)
            for output in range(K)
        ]  # fmt: skip
        store_sums(warehouse, "T3", arm, numbers)
        ranks = [
            {"block_id": block, "fold": 0, "k": k, "n": 10, "sum_precision": 10 / error / (1 + k / 10)}
            for block in range(3)
            for k in (10, 50, 250)
        ]
        store_sums(warehouse, "T4", arm, ranks)
    rows = make_contrasts(warehouse, YEAR).to_pylist()
    (mae,) = [row for row in rows if row["metric"] == "mae"]
    assert (mae["arm_value"], mae["delta"]) == (pytest.approx(0.1), pytest.approx(-0.1))
    (r2,) = [row for row in rows if row["metric"] == "r2"]
    assert r2["arm_value"] == pytest.approx(1 - 3.0 / (60 - 18**2 / 30))
    precision = {row["k"]: row["arm_value"] for row in rows if row["metric"] == "precision_at_k"}
    assert precision == {k: pytest.approx(1 / (1 + k / 10)) for k in (10, 50, 250)}
