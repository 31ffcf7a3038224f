from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms import labels
from transforms.errors import ShapeError
from transforms.labels import ClassMap, ClassMapError, summarize_patches

WORLDCOVER = ClassMap((10, 30, 20, 80), ("trees", "grass", "shrub", "water"))
N_CLASSES = 4

cells = hnp.arrays(np.int16, st.tuples(st.integers(0, 6), st.integers(1, 12)), elements=st.integers(-1, N_CLASSES - 1))


def summarize_slowly(row: np.ndarray, share: float) -> tuple[int, float, list[float], list[bool], float]:
    """One patch, in plain Python."""
    valid = [int(value) for value in row if value >= 0]
    if not valid:
        return -1, np.nan, [np.nan] * N_CLASSES, [False] * N_CLASSES, 0.0
    fractions = [valid.count(k) / len(valid) for k in range(N_CLASSES)]
    best = max(fractions)
    return (
        fractions.index(best),
        best,
        fractions,
        [fraction >= share for fraction in fractions],
        len(valid) / len(row),
    )


def test_ids_are_positions_whatever_the_order_of_codes() -> None:
    raw = np.array([[10, 20], [30, 80]], np.uint8)
    assert WORLDCOVER.to_ids(raw).tolist() == [[0, 2], [1, 3]]
    assert WORLDCOVER.to_ids(raw).dtype == np.int16


@pytest.mark.parametrize("raw", [0, 255, 15, -1, 10_000, np.nan, 10.5, np.inf])
def test_unmapped_values_are_nodata(raw: float) -> None:
    assert WORLDCOVER.to_ids(np.array([raw, 10])).tolist() == [-1, 0]


@given(hnp.arrays(np.int16, 20, elements=st.integers(-5, 100)))
def test_ids_lead_back_to_codes(raw: np.ndarray) -> None:
    ids = WORLDCOVER.to_ids(raw)
    mapped = np.isin(raw, WORLDCOVER.codes)
    assert np.array_equal(ids >= 0, mapped)
    assert np.array_equal(np.array(WORLDCOVER.codes)[ids[mapped]], raw[mapped])


def test_text_labels_are_refused() -> None:
    with pytest.raises(ShapeError, match="Map text labels to codes"):
        WORLDCOVER.to_ids(np.array(["trees"]))


@pytest.mark.parametrize(
    ("codes", "names", "message"),
    [
        ((1, 1), ("a", "b"), "1 more than once"),
        ((1, 2), ("a", "a"), "a more than once"),
        ((1, 2), ("a",), "1 names"),
        ((), (), "0 classes"),
    ],
)
def test_contradictory_class_maps_are_refused(codes: tuple, names: tuple, message: str) -> None:
    with pytest.raises(ClassMapError, match=message):
        ClassMap(codes, names)


@given(cells, st.sampled_from([0.05, 0.25, 0.5, 1.0]))
def test_summary_equals_plain_python(ids: np.ndarray, share: float) -> None:
    found = summarize_patches(ids, N_CLASSES, share)
    assert len(found) == len(ids)
    for i, row in enumerate(ids):
        label, purity, fractions, present, valid = summarize_slowly(row, share)
        assert found.label[i] == label
        assert found.purity[i] == pytest.approx(purity, nan_ok=True)
        assert found.fractions[i] == pytest.approx(fractions, nan_ok=True)
        assert found.multi_label[i].tolist() == present
        assert found.valid_share[i] == pytest.approx(valid)


@given(cells, st.integers(0, 2**32 - 1))
def test_order_of_cells_does_not_matter(ids: np.ndarray, seed: int) -> None:
    mixed = np.random.default_rng(seed).permuted(ids, axis=1)
    before, after = (summarize_patches(table, N_CLASSES) for table in (ids, mixed))
    assert np.array_equal(before.label, after.label)
    assert np.array_equal(before.fractions, after.fractions, equal_nan=True)


def test_ties_go_to_the_lowest_id_and_dtypes_are_declared() -> None:
    found = summarize_patches(np.array([[3, 1, 3, 1]], np.int16), N_CLASSES)
    assert found.label.tolist() == [1]
    assert (found.label.dtype, found.purity.dtype, found.fractions.dtype, found.multi_label.dtype) == (
        np.int16,
        np.float32,
        np.float32,
        np.bool_,
    )


def test_exactly_five_percent_is_present() -> None:
    ids = np.zeros((1, 100), np.int16)
    ids[0, :5] = 1
    ids[0, 5:9] = 2
    assert summarize_patches(ids, N_CLASSES).multi_label.tolist() == [[True, True, False, False]]


def test_counting_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(0).integers(-1, N_CLASSES, (50, 16)).astype(np.int16)
    whole = summarize_patches(ids, N_CLASSES)
    monkeypatch.setattr(labels, "_CELLS_PER_BLOCK", 7 * 16)
    assert np.array_equal(summarize_patches(ids, N_CLASSES).fractions, whole.fractions, equal_nan=True)


@pytest.mark.parametrize(
    ("ids", "share"),
    [
        (np.full((2, 3), N_CLASSES, np.int16), 0.05),
        (np.full((2, 3), -2, np.int16), 0.05),
        (np.zeros(3, np.int16), 0.05),
        (np.zeros((3, 0), np.int16), 0.05),
        (np.zeros((2, 3), np.float32), 0.05),
        (np.zeros((2, 3), np.int16), 0.0),
        (np.zeros((2, 3), np.int16), 5.0),
    ],
)
def test_bad_cells_are_refused(ids: np.ndarray, share: float) -> None:
    with pytest.raises(ShapeError):
        summarize_patches(ids, N_CLASSES, share)
