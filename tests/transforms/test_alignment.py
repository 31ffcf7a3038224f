from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.alignment import match_keys, take_or
from transforms.errors import ShapeError
from transforms.model_alignment import choose_alignment, explain_alignment

keys = st.integers(0, 2**55 - 1)


def as_keys(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30), unique=True))
def test_matching_equals_looking_one_by_one(wanted: list[int], available: list[int]) -> None:
    expected = [available.index(key) if key in available else -1 for key in wanted]
    assert match_keys(as_keys(wanted), as_keys(available)).tolist() == expected


@given(st.lists(keys, unique=True, min_size=1), st.randoms(use_true_random=False))
def test_a_shuffle_is_undone(values: list[int], random) -> None:
    mixed = values.copy()
    random.shuffle(mixed)
    slot = match_keys(as_keys(values), as_keys(mixed))
    assert as_keys(mixed)[slot].tolist() == values


def test_keys_above_two_to_the_53_are_told_apart() -> None:
    # as float64 these two would be one
    assert match_keys(as_keys([2**54 + 1]), as_keys([2**54, 2**54 + 1])).tolist() == [1]


def test_repeated_keys_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"key 7 twice, expected unique keys\. Resolve duplicates"):
        match_keys(as_keys([1]), as_keys([7, 3, 7]))


def test_empty_sides() -> None:
    assert match_keys(as_keys([1, 2]), as_keys([])).tolist() == [-1, -1]
    assert match_keys(as_keys([]), as_keys([1])).tolist() == []
    assert match_keys(as_keys([1]), as_keys([1])).dtype == np.int64


@pytest.mark.parametrize(("dtype", "missing"), [(np.float32, np.nan), (np.int16, -1), (np.uint64, 0)])
@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_rows_that_are_not_there_get_the_stand_in(dtype: type, missing: float, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    taken = take_or(values, np.array([2, -1, 0, -1, 3]), missing)
    assert (taken.dtype, taken.shape) == (dtype, (5, *shape[1:]))
    np.testing.assert_array_equal(taken[[0, 2, 4]], values[[2, 0, 3]])
    np.testing.assert_array_equal(taken[[1, 3]], np.full((2, *shape[1:]), missing, dtype))


def test_nothing_can_be_taken_from_nothing() -> None:
    taken = take_or(np.empty((0, 2), np.float32), np.array([-1, -1]), np.nan)
    assert taken.shape == (2, 2)
    assert np.isnan(taken).all()
    assert take_or(np.empty((0, 2), np.float32), np.empty(0, np.int64), np.nan).shape == (0, 2)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("SoftCon; v0", "SoftCon; v0", "place"),
        ("SoftCon; v0", "SoftCon; v1", "footprint"),
        ("SoftCon; v0", "DINO; v0", "scores"),
        ("a; g + b; h", "a; g + b; i", "footprint"),
        ("a; g + b; h", "a; g + c; h", "scores"),
        ("a; g", "a; g + b; h", "scores"),
        ("SoftCon", "DINO", "scores"),
    ],
)
def test_what_two_releases_share_decides_how_they_may_meet(one: str, other: str, expected: str) -> None:
    assert choose_alignment(one, other) == choose_alignment(other, one) == expected
    assert explain_alignment(one, other).startswith(f"align by {expected}:")
