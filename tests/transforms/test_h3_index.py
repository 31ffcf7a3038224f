from __future__ import annotations

import h3.api.basic_int as h3
import numpy as np
import pytest

from transforms.h3_index import ancestry, cells, parents


@pytest.fixture
def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(-180, 180, 200), np.degrees(np.arcsin(rng.uniform(-1, 1, 200)))


@pytest.mark.parametrize("resolution", [0, 5, 9, 12, 15])
def test_cells_hold_their_points(points: tuple[np.ndarray, np.ndarray], resolution: int) -> None:
    lon, lat = points
    found = cells(lon, lat, resolution)
    assert found.dtype == np.uint64
    assert found.tolist() == [h3.latlng_to_cell(y, x, resolution) for x, y in zip(lon, lat, strict=True)]


@pytest.mark.parametrize("fine", [5, 12, 15])
def test_parents_equal_the_library(points: tuple[np.ndarray, np.ndarray], fine: int) -> None:
    found = cells(*points, fine)
    for coarse in range(fine + 1):
        expected = [h3.cell_to_parent(int(cell), coarse) for cell in found]
        assert parents(found, coarse).tolist() == expected


def test_parents_of_pentagons_equal_the_library() -> None:
    pentagons = np.array([cell for resolution in (1, 6, 12) for cell in h3.get_pentagons(resolution)], np.uint64)
    fine = np.array([h3.cell_to_children(int(cell), h3.get_resolution(int(cell)) + 1) for cell in pentagons])
    assert parents(fine.ravel().astype(np.uint64), 0).tolist() == [h3.cell_to_parent(int(c), 0) for c in fine.ravel()]


def test_patches_and_pixels_share_one_chain() -> None:
    # near a cell's border the ancestor of the fine cell is not the cell that holds the point; then the chain wins
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(101.9, 102.1, 4000), rng.uniform(12.5, 12.7, 4000)
    columns = ancestry(lon, lat, (5, 7, 9, 12))
    assert list(columns) == ["h3_r5", "h3_r7", "h3_r9", "h3_r12"]
    assert (columns["h3_r12"] == cells(lon, lat, 12)).all()
    for coarse, fine in ((5, 7), (7, 9), (9, 12)):
        assert (parents(columns[f"h3_r{fine}"], coarse) == columns[f"h3_r{coarse}"]).all()
    assert (ancestry(lon, lat, (7,))["h3_r7"] == columns["h3_r7"]).all()
    assert (columns["h3_r9"] != cells(lon, lat, 9)).any()


def test_no_points_give_empty_columns() -> None:
    columns = ancestry(np.empty(0), np.empty(0), (5, 12))
    assert {name: (len(column), column.dtype) for name, column in columns.items()} == {
        "h3_r5": (0, np.uint64),
        "h3_r12": (0, np.uint64),
    }
