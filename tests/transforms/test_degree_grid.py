"""The look-up of degree pixels from metres: no pixel is farther away than half its diagonal, on either side of 180."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.degree_grid import OUTSIDE, DegreeGrid, take_nearest
from transforms.utm import project, unproject, utm_epsg
from transforms.windows import PixelGrid

#: The published grid; columns beyond 180 degrees are padding.
GLOBE = DegreeGrid(-180.0, 83.68570533713473, 8.983111749910169e-05, 1_859_584, 4_009_984)


def window_at(lon: float, lat: float, size: int = 100, epsg: int | None = None) -> PixelGrid:
    """A window of 10 m pixels around a place, on multiples of 10 m."""
    zone = int(utm_epsg([lon], [lat])[0]) if epsg is None else epsg
    x, y = project([lon], [lat], zone)
    west, north = (round(float(v[0]) / 10 + s * size / 2) * 10 for v, s in ((x, -1), (y, 1)))
    return PixelGrid(zone, Affine(10, 0, west, 0, -10, north), size, size)


@settings(max_examples=40, deadline=None)
@given(lon=st.floats(-179.9, 179.9), lat=st.floats(-79.0, 83.0))
def test_the_pixel_found_holds_the_centre_it_was_asked_for(lon, lat):
    window = window_at(lon, lat)
    rows, cols = GLOBE.locate(window)
    center_lon, center_lat = unproject(*np.meshgrid(*window.centers()), window.epsg)
    east = (center_lon + 180.0) / GLOBE.pixel_deg - cols
    south = (GLOBE.north - center_lat) / GLOBE.pixel_deg - rows
    # 5 cm: what interpolation between knots may be off, 0.5 % of a pixel to the south and more to the east
    slack = 0.005
    assert south.min() >= -slack
    assert south.max() <= 1 + slack
    slack /= np.cos(np.radians(np.abs(center_lat).max()))
    assert east.min() >= -slack
    assert east.max() <= 1 + slack


def test_a_window_across_180_degrees_finds_both_ends_of_the_grid():
    window = window_at(179.999, -17.0, epsg=32760)
    rows, cols = GLOBE.locate(window)
    parts = GLOBE.list_parts(cols)
    assert len(parts) == 2
    assert np.logical_or(*parts).all()
    assert not np.logical_and(*parts).any()
    west, east = cols[parts[0]], cols[parts[1]]
    assert west.max() < 200
    assert east.min() > 360 / GLOBE.pixel_deg - 200
    assert (rows != OUTSIDE).all()


def test_places_beyond_the_grid_are_outside():
    grid = DegreeGrid(104.0, 12.6, GLOBE.pixel_deg, 200, 200)
    window = window_at(104.0, 12.6, size=64)
    rows, cols = grid.locate(window)
    lon, lat = unproject(*np.meshgrid(*window.centers()), window.epsg)
    inside = (lon >= 104.0) & (lat <= 12.6)
    assert np.array_equal(rows != OUTSIDE, inside)
    assert np.array_equal(cols != OUTSIDE, inside)
    assert [part.sum() for part in grid.list_parts(cols)] == [inside.sum()]
    assert DegreeGrid(10.0, 12.6, GLOBE.pixel_deg, 5, 5).list_parts(np.full((3, 3), OUTSIDE)) == []


def test_take_nearest_copies_codes_and_leaves_the_rest():
    source = np.arange(2 * 3 * 4, dtype=np.int8).reshape(2, 3, 4)
    places = np.array([[0 * 4 + 3, 2 * 4 + 0], [1 * 4 + 1, OUTSIDE]], np.int32)
    out = np.full((2, 2, 2), -128, np.int8)
    take_nearest(source, places, out)
    assert out[:, 0, 0].tolist() == source[:, 0, 3].tolist()
    assert out[:, 0, 1].tolist() == source[:, 2, 0].tolist()
    assert out[:, 1, 0].tolist() == source[:, 1, 1].tolist()
    assert out[:, 1, 1].tolist() == [-128, -128]


def test_ranges_cover_a_box_and_give_its_degrees_back():
    bbox = (104.0, 12.5, 104.01, 12.51)
    rows, cols = GLOBE.pixel_range(bbox)
    west, south, east, north = GLOBE.bbox(rows, cols)
    step = GLOBE.pixel_deg
    assert bbox[0] - step < west <= bbox[0] < bbox[2] <= east < bbox[2] + step
    assert bbox[1] - step < south <= bbox[1] < bbox[3] <= north < bbox[3] + step
    lon, lat = GLOBE.centers(rows, cols)
    assert lon[0] == pytest.approx(west + step / 2, abs=1e-12)
    assert lat[-1] == pytest.approx(south + step / 2, abs=1e-12)
    assert len(lon) == cols.stop - cols.start
    beyond = GLOBE.pixel_range((0.0, 85.0, 1.0, 86.0))[0]
    assert beyond.start == beyond.stop


@settings(max_examples=60, deadline=None)
@given(
    west=st.integers(-3, 30), south=st.integers(-3, 30), width=st.integers(0, 30), height=st.integers(0, 30),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)  # fmt: skip
def test_the_blocks_of_a_box_hold_its_pixels_once_and_none_is_elsewhere(west, south, width, height, size):
    grid = DegreeGrid(0.0, 23.0, 1.0, 23, 17)
    bbox = (float(west), float(south), float(west + width), float(south + height))
    rows, cols = grid.pixel_range(bbox)
    places = grid.list_blocks(bbox, size)
    held = np.zeros((grid.height, grid.width), int)
    for place in places:
        block = grid.block(*place, size)
        held[block] += 1
        assert held[block].size > 0
        touched = np.zeros_like(held)
        touched[rows, cols] = 1
        assert touched[block].any()
    assert held.max(initial=0) <= 1
    assert held[rows, cols].all()
    assert places == sorted(places)


def test_a_utm_pixel_never_gets_a_code_from_farther_than_half_a_diagonal():
    # at 60 N a degree pixel is 10.0 m high and 5 m wide
    for lat, limit in ((0.5, 7.1), (12.6, 7.0), (60.0, 5.7)):
        window = window_at(104.0, lat)
        x, y = _found_centers(window)
        mesh_x, mesh_y = np.meshgrid(*window.centers())
        distance = np.hypot(x - mesh_x, y - mesh_y)
        assert distance.max() <= limit
        assert distance.max() >= 0.8 * limit


@pytest.mark.parametrize("lat", [0.5, 12.6, 30.0, 45.0, 56.0, 70.0, 83.0])
@pytest.mark.parametrize("lon", [3.0, 1.5, 0.1])
def test_of_a_mosaic_of_nearest_pixels_994_in_1000_or_more_have_their_own_code_back(lon, lat):
    window = window_at(lon, lat, size=1000, epsg=32631)
    mesh_x, mesh_y = np.meshgrid(*window.centers())
    # where the code of the degree pixel came from: the centre of the UTM pixel that holds its centre
    source_x, source_y = (np.floor(axis / 10) * 10 + 5 for axis in _found_centers(window))
    moved = np.hypot(source_x - mesh_x, source_y - mesh_y)
    assert (moved == 0).mean() >= 0.994
    assert moved.max() <= 10.0
    assert abs((source_x - mesh_x).mean()) < 0.03
    assert abs((source_y - mesh_y).mean()) < 0.03


def _found_centers(window: PixelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the degree pixels that were found, in metres of the window."""
    rows, cols = GLOBE.locate(window)
    lon, lat = GLOBE.west + (cols + 0.5) * GLOBE.pixel_deg, GLOBE.north - (rows + 0.5) * GLOBE.pixel_deg
    return project(lon, lat, window.epsg)
