"""Maps of oracles: painting blocks, boundaries and objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import ShapeError
from transforms.map_tally import MapTally
from transforms.oracles.constant_labels import choose_majority, count_blocks
from transforms.oracles.maps import paint_blocks

PATCH_PX = 32


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4, 8]))
def test_blocks_are_painted_where_they_lie(seed: int, side: int) -> None:
    """Patches side by side, cells of each from south to north: the map is the blocks blown up."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(-1, 5, (3, side, side)).astype(np.int16)
    inside = (np.arange(PATCH_PX) + 0.5) / PATCH_PX
    across, up = (axis.ravel() for axis in np.meshgrid(inside, inside))
    for patch in range(3):
        found = paint_blocks(chosen, np.full(len(up), patch), across, up).reshape(PATCH_PX, PATCH_PX)
        np.testing.assert_array_equal(found, np.kron(chosen[patch], np.ones((PATCH_PX // side, PATCH_PX // side))))


def test_a_pixel_beyond_its_patch_takes_the_nearest_block_and_none_without_a_patch() -> None:
    chosen = np.arange(4, dtype=np.int16).reshape(1, 2, 2)
    found = paint_blocks(chosen, np.array([0, 0, -1]), np.array([-0.1, 1.2, 0.5]), np.array([0.2, 1.0, 0.5]))
    assert found.tolist() == [0, 3, -1]
    with pytest.raises(ShapeError, match=r"\(n, s, s\) on \(m,\)"):
        paint_blocks(chosen[0], np.array([0]), np.zeros(1), np.zeros(1))


Map = tuple[np.ndarray, np.ndarray, np.ndarray]


def map_rows(maps: list[Map]) -> list[dict[str, Any]]:
    tally = MapTally(2)
    for item in maps:
        tally.add(*item)
    return list(tally.rows())


def constant_map(truth: np.ndarray, block_px: int) -> Map:
    """Truth, majority of blocks, one spatial block."""
    n = len(truth) // block_px
    chosen = choose_majority(count_blocks(truth, block_px, 2)).reshape(n, n)
    pred = chosen.repeat(block_px, axis=0).repeat(block_px, axis=1).astype(np.int16)
    return truth, pred, np.zeros(truth.shape, np.int64)


def test_recall_by_size_of_constant_labels_is_that_of_s4() -> None:
    """An isolated object under 512 px is never the majority of a patch, a larger one in one patch always is."""
    truth = np.zeros((4 * PATCH_PX, 4 * PATCH_PX), np.int16)
    truth[:7, :7] = 1  # 49 px
    truth[PATCH_PX : PATCH_PX + 20, :20] = 1  # 400 px
    truth[2 * PATCH_PX : 2 * PATCH_PX + 25, :25] = 1  # 625 px
    rows = {
        row["stratum_value"]: row
        for row in map_rows([constant_map(truth, PATCH_PX)])
        if row["metric"] == "object_recall"
    }
    assert rows["0 to 63 px"]["value"] == rows["64 to 511 px"]["value"] == 0
    assert rows["512 to 4095 px"]["value"] == 1
    assert rows["0 to 63 px"]["support"] == 49
    assert rows[">= 4096 px"]["value"] == pytest.approx(1 - (1024 - 625) / (truth == 0).sum())
    assert {row["n_units"] for row in rows.values()} == {truth.size}


def test_boundaries_get_better_as_blocks_get_smaller_and_windows_add_up() -> None:
    y, x = np.mgrid[: 4 * PATCH_PX, : 4 * PATCH_PX]
    truth = (np.hypot(x - 60, y - 60) < 40).astype(np.int16)

    def score(maps: list[Map]) -> list[float]:
        return [row["value"] for row in map_rows(maps) if row["metric"] == "boundary_f"]

    ladder = [score([constant_map(truth, px)]) for px in (32, 8, 2, 1)]
    for tolerance in (0, 1):
        values = [scores[tolerance] for scores in ladder]
        assert values == sorted(values)
    assert ladder[-1] == [1, 1]
    assert score([constant_map(truth, 8)] * 2) == pytest.approx(score([constant_map(truth, 8)]))


def test_windows_without_a_scored_pixel_have_no_rows() -> None:
    nothing = np.full((4, 4), -1, np.int16)
    assert map_rows([(nothing, nothing, np.zeros((4, 4), np.int64))]) == []
    assert map_rows([]) == []
