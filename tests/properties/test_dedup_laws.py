from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dedup import choose_copies, cosine_distance
from transforms.errors import ShapeError

rows = st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 3)), max_size=60)


def _arrays(data: list[tuple[int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ids = np.array([row[0] for row in data], np.uint64)
    return ids, np.array([row[1] for row in data], bool), np.array([row[2] for row in data], np.int64)


def _brute_force(data: list[tuple[int, bool, int]]) -> dict[int, int]:
    best: dict[int, int] = {}
    for number, (key, own, rank) in enumerate(data):
        if key not in best or (not own, rank) < (not data[best[key]][1], data[best[key]][2]):
            best[key] = number
    return best


@given(rows)
def test_choice_equals_brute_force(data: list[tuple[int, bool, int]]) -> None:
    choice = choose_copies(*_arrays(data))
    expected = _brute_force(data)
    assert dict(zip(choice.ids.tolist(), choice.chosen.tolist(), strict=True)) == expected
    assert choice.ids.tolist() == sorted(expected)
    assert [int(choice.ids[g]) for g in choice.group] == [row[0] for row in data]
    assert choice.n_copies.tolist() == [sum(r[0] == key for r in data) for key in choice.ids.tolist()]


@given(rows, st.integers(1, 4))
def test_union_over_shards_equals_the_whole(data: list[tuple[int, bool, int]], n_shards: int) -> None:
    ids, own, rank = _arrays(data)
    whole = choose_copies(ids, own, rank)
    parts: dict[int, int] = {}
    for shard in range(n_shards):
        members = np.flatnonzero(ids % np.uint64(n_shards) == shard)
        part = choose_copies(ids[members], own[members], rank[members])
        parts.update(zip(part.ids.tolist(), members[part.chosen].tolist(), strict=True))
    assert parts == dict(zip(whole.ids.tolist(), whole.chosen.tolist(), strict=True))


def test_lengths_must_agree() -> None:
    with pytest.raises(ShapeError, match="equal lengths"):
        choose_copies(np.zeros(2, np.uint64), np.zeros(1, bool), np.zeros(2, np.int64))


def test_cosine_distance_of_known_vectors() -> None:
    a = np.array([[1, 0], [1, 0], [1, 0], [3, 4]], np.float32)
    b = np.array([[2, 0], [0, 5], [-1, 0], [4, 3]], np.float32)
    np.testing.assert_allclose(cosine_distance(a, b), [0, 1, 2, 1 - 24 / 25], atol=1e-12)
