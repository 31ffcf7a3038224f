from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from transforms.errors import ShapeError
from transforms.metrics import confusion
from transforms.oracles.constant_labels import choose_majority, count_blocks
from transforms.segmentation_metrics import (
    SIZE_EDGES_PX,
    area_bias,
    boundary_counts_by_block,
    boundary_f,
    fractions_by_cell,
    per_class_boundary_f,
    recall_by_size,
    size_counts_by_block,
    units_of_boundaries,
    units_of_objects,
)

K = 3
sides = st.integers(1, 7)
#: Truth and prediction, (2, h, w), with nodata.
maps = hnp.arrays(np.int16, st.tuples(st.just(2), sides, sides), elements=st.integers(-1, K - 1))


def one_block(grid: np.ndarray) -> np.ndarray:
    return np.zeros(grid.shape, np.int64)


def neighbours(shape: tuple[int, int], row: int, col: int) -> list[tuple[int, int]]:
    around = [(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)]
    return [(r, c) for r, c in around if 0 <= r < shape[0] and 0 <= c < shape[1]]


def boundary_slowly(ids: np.ndarray, of_class: int) -> list[tuple[int, int]]:
    return [
        (row, col)
        for row, col in np.argwhere(ids == of_class)
        if any(ids[at] not in (-1, of_class) for at in neighbours(ids.shape, row, col))
    ]


def close_slowly(points: list, others: list, tolerance: int) -> int:
    return int((cdist(points, others).min(axis=1) <= tolerance).sum()) if points and others else 0


@settings(deadline=None)
@given(maps, st.sampled_from([1, 3]))
def test_boundaries_equal_a_slow_count(grids: np.ndarray, tolerance: int) -> None:
    truth, pred = (np.where((grids >= 0).all(axis=0), grid, -1) for grid in grids)
    _, counts = boundary_counts_by_block(*grids, one_block(truth), K, tolerance)
    found = counts.sum(axis=0)
    for c in range(K):
        edge, predicted = boundary_slowly(truth, c), boundary_slowly(pred, c)
        expected = [close_slowly(predicted, edge, tolerance), len(predicted)]
        expected += [close_slowly(edge, predicted, tolerance), len(edge)]
        assert found[c].tolist() == expected


def halves(column: int, size: int = 20) -> np.ndarray:
    return np.where(np.arange(size) < column, 0, 1)[None, :].repeat(size, axis=0).astype(np.int16)


@pytest.mark.parametrize(
    ("shift", "tolerance", "expected"), [(0, 1, 1.0), (1, 1, 1.0), (2, 1, 0.0), (3, 3, 1.0), (4, 3, 0.0)]
)
def test_a_shifted_border_counts_up_to_the_tolerance(shift: int, tolerance: int, expected: float) -> None:
    truth, pred = halves(10), halves(10 + shift)
    _, counts = boundary_counts_by_block(truth, pred, one_block(truth), 2, tolerance)
    assert per_class_boundary_f(counts[0]) == pytest.approx([expected, expected])


def test_nodata_and_the_edge_of_a_map_make_no_boundary() -> None:
    truth = np.zeros((12, 12), np.int16)
    truth[5] = -1
    _, counts = boundary_counts_by_block(truth, np.zeros_like(truth), one_block(truth), 2, 1)
    assert not counts.any()
    assert np.isnan(boundary_f(counts.sum(axis=0)))


def test_a_class_with_a_boundary_in_one_map_alone_scores_nothing() -> None:
    # class 2 is in neither; class 1 is missed; class 0 has a boundary in truth alone
    truth, pred = halves(10), np.zeros((20, 20), np.int16)
    _, counts = boundary_counts_by_block(truth, pred, one_block(truth), 3, 3)
    assert per_class_boundary_f(counts[0]) == pytest.approx([0.0, 0.0, np.nan], nan_ok=True)
    assert float(boundary_f(counts[0])) == 0.0


def test_boundary_f_is_the_harmonic_mean_of_precision_and_recall() -> None:
    counts = np.array([[3, 4, 5, 10], [0, 4, 0, 10], [0, 0, 0, 10], [0, 0, 0, 0]])
    expected = [2 * 0.75 * 0.5 / 1.25, 0.0, 0.0, np.nan]
    assert per_class_boundary_f(counts) == pytest.approx(expected, nan_ok=True)
    assert float(boundary_f(counts)) == pytest.approx(0.2)
    assert boundary_f(np.stack([counts, 2 * counts])).shape == (2,)


@settings(deadline=None)
@given(maps, st.integers(0, 2**32 - 1))
def test_blocks_sum_to_the_whole(grids: np.ndarray, seed: int) -> None:
    truth, pred = grids
    ids = np.random.default_rng(seed).integers(0, 3, truth.shape) * 2**40 - 1
    scored = (grids >= 0).all(axis=0)
    for count, units, extra in (
        (boundary_counts_by_block, units_of_boundaries, (K, 1)),
        (size_counts_by_block, units_of_objects, (K, (2, 5))),
    ):
        blocks, counts = count(truth, pred, ids, *extra)
        assert blocks.tolist() == sorted(set(ids[scored].tolist()))
        _, whole = count(truth, pred, one_block(truth), *extra)
        assert np.array_equal(counts.sum(axis=0), whole.sum(axis=0))
        # another prediction on the same pixels leaves what arms share
        _, others = count(truth, np.where(pred >= 0, (pred + 1) % K, -1), ids, *extra)
        assert np.array_equal(units(counts), units(others))


def objects_slowly(truth: np.ndarray) -> dict[tuple[int, int], int]:
    """Size of the object of each pixel with a class, by flooding."""
    sizes: dict[tuple[int, int], int] = {}
    for start in map(tuple, np.argwhere(truth >= 0)):
        if start in sizes:
            continue
        found, queue = {start}, [start]
        while queue:
            for at in neighbours(truth.shape, *queue.pop()):
                if at not in found and truth[at] == truth[start]:
                    found.add(at)
                    queue.append(at)
        sizes |= dict.fromkeys(found, len(found))
    return sizes


@settings(deadline=None)
@given(maps)
def test_sizes_equal_flooding(grids: np.ndarray) -> None:
    truth, pred = grids
    edges = (2, 5)
    expected = np.zeros((K, 3, 2), int)
    for at, size in objects_slowly(truth).items():
        if pred[at] >= 0:
            expected[truth[at], sum(size >= edge for edge in edges)] += [pred[at] == truth[at], 1]
    _, counts = size_counts_by_block(truth, pred, one_block(truth), K, edges)
    assert np.array_equal(counts.sum(axis=0), expected)


def test_an_object_keeps_its_size_where_only_part_of_it_is_scored() -> None:
    truth = np.zeros((80, 80), np.int16)
    pred = np.full_like(truth, -1)
    pred[:3, :3] = 0
    _, counts = size_counts_by_block(truth, pred, one_block(truth), 1)
    assert counts[0, 0].tolist() == [[0, 0], [0, 0], [0, 0], [9, 9]]


def test_recall_over_all_classes_adds_up_pixels() -> None:
    counts = np.array([[[1, 2], [0, 0]], [[3, 6], [5, 5]]])
    assert recall_by_size(counts) == pytest.approx(np.array([[0.5, np.nan], [0.5, 1.0]]), nan_ok=True)
    assert recall_by_size(counts.sum(axis=0)) == pytest.approx([0.5, 1.0])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 90), st.integers(0, 90))
def test_s4_a_small_object_is_lost_under_constant_labels(height: int, width: int, top: int, left: int) -> None:
    # one label for each patch of 32 x 32 pixels: an object under half a patch has the majority nowhere
    truth = np.zeros((128, 128), np.int16)
    truth[top : top + height, left : left + width] = 1
    majority = choose_majority(count_blocks(truth, 32, 2)).reshape(4, 4)
    pred = majority.repeat(32, axis=0).repeat(32, axis=1).astype(np.int16)
    _, counts = size_counts_by_block(truth, pred, one_block(truth), 2)
    of_object = recall_by_size(counts[0, 1])
    if (truth == 1).sum() < SIZE_EDGES_PX[1]:
        assert np.nanmax(of_object) == 0.0
    assert (truth == 1).sum() == counts[0, 1, :, 1].sum()


def test_s4_a_large_object_is_found_under_constant_labels() -> None:
    truth = np.zeros((128, 128), np.int16)
    truth[32:64, 32:96] = 1
    pred = choose_majority(count_blocks(truth, 32, 2)).reshape(4, 4).repeat(32, axis=0).repeat(32, axis=1)
    _, counts = size_counts_by_block(truth, pred.astype(np.int16), one_block(truth), 2)
    assert recall_by_size(counts[0, 1]) == pytest.approx([np.nan, np.nan, 1.0, np.nan], nan_ok=True)


@given(maps)
def test_area_bias_is_the_difference_of_shares(grids: np.ndarray) -> None:
    scored = (grids >= 0).all(axis=0)
    truth, pred = (grid[scored] for grid in grids)
    found = area_bias(confusion(truth, pred, K))
    if not scored.any():
        assert np.isnan(found).all()
        return
    expected = [(pred == c).mean() - (truth == c).mean() for c in range(K)]
    assert found == pytest.approx(expected)
    assert found.sum() == pytest.approx(0.0, abs=1e-12)


@settings(deadline=None)
@given(maps, st.integers(1, 3), st.sampled_from([0.25, 0.5, 1.0]), st.integers(1, 3))
def test_fractions_equal_a_loop_over_cells(grids: np.ndarray, cell: int, least: float, block_px: int) -> None:
    truth, pred = grids
    rows, cols = np.indices(truth.shape) // block_px
    ids = rows * 1000 + cols
    found = fractions_by_cell(truth, pred, ids, K, cell, least)
    expected = []
    for row in range(truth.shape[0] // cell):
        for col in range(truth.shape[1] // cell):
            window = (slice(row * cell, (row + 1) * cell), slice(col * cell, (col + 1) * cell))
            scored = (truth[window] >= 0) & (pred[window] >= 0)
            blocks = set(ids[window][scored].tolist())
            if scored.mean() >= least and len(blocks) == 1:
                shares = [[float((grid[window][scored] == c).mean()) for c in range(K)] for grid in (truth, pred)]
                expected.append((*shares, blocks.pop()))
    assert found.block_id.tolist() == [block for _, _, block in expected]
    assert found.truth == pytest.approx(np.array([shares for shares, _, _ in expected]).reshape(-1, K))
    assert found.pred == pytest.approx(np.array([shares for _, shares, _ in expected]).reshape(-1, K))


def test_bad_maps_are_refused() -> None:
    good = np.zeros((4, 4), np.int16)
    with pytest.raises(ShapeError, match="to one window"):
        size_counts_by_block(good, good[:3], one_block(good), K)
    with pytest.raises(ShapeError, match="to one window"):
        size_counts_by_block(good, good, one_block(good[:3]), K)
    with pytest.raises(ShapeError, match=r"prediction: found int16 7\.\.7"):
        size_counts_by_block(good, good + 7, one_block(good), K)
    with pytest.raises(ShapeError, match="marks nodata"):
        boundary_counts_by_block(good * 1.0, good, one_block(good), K, 1)
    with pytest.raises(ShapeError, match="tolerance_px"):
        boundary_counts_by_block(good, good, one_block(good), K, 0)
    for cell, share in ((0, 0.5), (2, 0.0), (2, 1.1)):
        with pytest.raises(ShapeError, match="share in"):
            fractions_by_cell(good, good, one_block(good), K, cell, share)
