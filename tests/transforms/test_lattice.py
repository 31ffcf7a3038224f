from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest

from transforms import geohash
from transforms.errors import LatticeError
from transforms.lattice import (
    EARTH_RADIUS_M,
    N_ROWS,
    ROW_HEIGHT_DEG,
    LatticePlaces,
    count_columns,
    enumerate_places,
    locate,
    recover,
)
from transforms.sentinel2 import sentinel2_tile_box
from transforms.utm import footprint_boxes, project, unproject

GEOD = pyproj.Geod(ellps="WGS84")


def list_keys(places: LatticePlaces) -> list[tuple[bool, int, int]]:
    return list(zip(places.is_secondary.tolist(), places.row.tolist(), places.col.tolist(), strict=True))


def enumerate_slowly(west: float, south: float, east: float, north: float) -> list[tuple[bool, int, int]]:
    """Look at every cell of every row that may have a centroid in the box."""
    found = []
    for is_secondary in (False, True):
        shift = 1.0 if is_secondary else 0.5
        middle = int((south + 90) / ROW_HEIGHT_DEG)
        for row in range(max(0, middle - 3), min(N_ROWS, middle + int((north - south) / ROW_HEIGHT_DEG) + 4)):
            phi = math.radians(-90 + row * 180 / 62618)
            count = max(1, math.ceil(2 * math.pi * 6378137 * math.cos(phi) / 320))
            lat = -90 + (row + shift) * 180 / 62618
            if south <= lat < north:
                cols = [c for c in range(count) if west <= -180 + (c + shift) * (360 / count) < east]
                found += [(is_secondary, row, c) for c in cols]
    return found


@pytest.mark.parametrize(
    ("patch_id", "row", "col"), [(31646144126408287, 34739, 97367), (31736946848215620, 35484, 95927)]
)
def test_published_ids_stand_on_the_secondary_lattice(patch_id: int, row: int, col: int) -> None:
    place = recover(*geohash.decode([patch_id]))
    assert list_keys(place) == [(True, row, col)]
    assert geohash.encode(place.lon, place.lat).tolist() == [patch_id]


def test_rows_count_their_columns_on_the_sphere() -> None:
    assert pytest.approx(0.002874573, abs=1e-9) == ROW_HEIGHT_DEG
    assert count_columns(N_ROWS // 2) == math.ceil(2 * math.pi * EARTH_RADIUS_M / 320)
    assert count_columns([0, N_ROWS // 2]).tolist() == [1, 125_235]
    counts = count_columns(np.arange(0, N_ROWS, 97))
    assert counts.dtype == np.int64
    assert np.argmax(counts) == len(counts) // 2


@pytest.mark.parametrize(
    "box",
    [
        (101.97, 12.60, 102.03, 12.63),
        (-60.01, -3.01, -59.98, -2.99),
        (10.0, 68.99, 10.05, 69.01),
        (0, -0.01, 0.02, 0.01),
    ],
)
def test_enumeration_equals_a_search_of_all_cells(box: tuple[float, float, float, float]) -> None:
    places = enumerate_places(*box)
    assert list_keys(places) == enumerate_slowly(*box)
    assert len(places) > 50
    assert len(set(list_keys(places))) == len(places)


def test_boxes_tile_without_overlap_or_hole() -> None:
    whole = list_keys(enumerate_places(101.9, 12.5, 102.1, 12.7))
    lon_cut = float(enumerate_places(101.9, 12.5, 102.1, 12.7).lon[17])  # a border through a centroid
    halves = [enumerate_places(101.9, 12.5, lon_cut, 12.7), enumerate_places(lon_cut, 12.5, 102.1, 12.7)]
    assert sorted(key for half in halves for key in list_keys(half)) == sorted(whole)


def test_a_box_between_centroids_is_empty() -> None:
    places = enumerate_places(102.0, 12.6, 102.0001, 12.6001)
    assert len(places) == 0
    assert places.lon.dtype == np.float64


def test_secondary_cells_are_shifted_by_half_a_cell_and_half_a_row() -> None:
    row, col = np.array([35_000]), np.array([90_000])
    primary, secondary = locate([False], row, col), locate([True], row, col)
    assert secondary.lat[0] - primary.lat[0] == pytest.approx(ROW_HEIGHT_DEG / 2)
    assert secondary.lon[0] - primary.lon[0] == pytest.approx(180 / count_columns(row)[0])


def test_adjacent_rows_have_their_own_phases() -> None:
    # at 12.6 N: .217 or .433 of a cell, so a lattice is no 2-D array
    first = int((12.6 + 90) / ROW_HEIGHT_DEG)
    rows = np.arange(first, first + 200)
    counts = count_columns(rows)
    phase = ((102.0 + 180.0) / 360.0 * counts - 0.5) % 1.0
    shift = np.abs((np.diff(phase) + 0.5) % 1.0 - 0.5)
    assert np.unique(np.round(shift, 3)).tolist() == [0.217, 0.433]


def test_pitch_on_the_ellipsoid() -> None:
    def pitch_m(lat: float) -> float:
        row = int((lat + 90) / ROW_HEIGHT_DEG)
        south, north = locate([False, False], [row, row + 1], [0, 0]).lat
        return float(GEOD.inv(10.0, south, 10.0, north)[2])

    assert pitch_m(12.6) == pytest.approx(318.0, abs=0.1)
    assert min(pitch_m(lat) for lat in range(-80, 81, 4)) == pytest.approx(317.9, abs=0.1)
    assert 320.0 < max(pitch_m(lat) for lat in range(-80, 81, 4)) < 321.2


def test_density_at_the_demo() -> None:
    places = enumerate_places(101.0, 12.0, 103.0, 13.2)
    east = np.linspace(101.0, 103.0, 400)
    ring = np.concatenate([east, east[::-1]]), np.repeat([12.0, 13.2], 400)
    area_km2 = abs(GEOD.polygon_area_perimeter(*ring)[0]) / 1e6
    # not 2 / 0.32**2 = 19.53: rows are nearer to each other than 320 m here
    assert len(places) / area_km2 == pytest.approx(19.65, abs=0.03)


@pytest.mark.parametrize("tile", ["47PRQ", "48PTV", "48PVS", "48PWA"])
def test_patches_of_a_cambodian_tile(tile: str) -> None:
    box = sentinel2_tile_box(tile)
    lon, lat = unproject(
        [box.west, box.east, box.east, box.west], [box.south, box.south, box.north, box.north], box.epsg
    )
    places = enumerate_places(lon.min() - 0.01, lat.min() - 0.01, lon.max() + 0.01, lat.max() + 0.01)
    west, south, east, north = footprint_boxes(*project(places.lon, places.lat, box.epsg), 320.0).T
    whole = (west >= box.west) & (south >= box.south) & (east <= box.east) & (north <= box.north)
    assert 234_900 <= whole.sum() <= 235_800


def test_most_ground_lies_in_two_patches() -> None:
    places = enumerate_places(101.9, 12.5, 102.1, 12.7)
    x, y = project(places.lon, places.lat, 32648)
    boxes = footprint_boxes(x, y, 320.0)
    rng = np.random.default_rng(0)
    px, py = project(rng.uniform(101.95, 102.05, 400), rng.uniform(12.55, 12.65, 400), 32648)
    west, south, east, north = boxes.T
    inside = (px[:, None] > west) & (px[:, None] < east) & (py[:, None] > south) & (py[:, None] < north)
    assert (inside.sum(axis=1) == 2).mean() > 0.9


def test_points_off_the_lattice_are_refused() -> None:
    place = locate([False], [35_000], [90_000])
    off_deg = 3.0 / 111_320
    with pytest.raises(LatticeError, match=r"3\.\d m from the nearest lattice centroid.*another grid version"):
        recover(place.lon, place.lat + off_deg)
    assert list_keys(recover(place.lon, place.lat + off_deg, tolerance_m=4.0)) == [(False, 35_000, 90_000)]


def test_the_worst_point_is_named() -> None:
    places = enumerate_places(102.0, 12.6, 102.02, 12.62)
    lon = places.lon.copy()
    lon[[3, 7]] += np.array([20.0, 90.0]) / 111_320
    with pytest.raises(LatticeError, match=f"{lon[7]:.6f}"):
        recover(lon, places.lat)


def test_shifted_grid_versions_are_refused() -> None:
    # grid v1.0 shifts rows with odd n by half a cell: ids of one version do not stand on the other
    places = enumerate_places(101.9, 12.5, 102.1, 12.6)
    odd = count_columns(places.row) % 2 == 1
    assert 0.3 < odd.mean() < 0.7
    with pytest.raises(LatticeError):
        recover(places.lon + np.where(odd, 180.0 / count_columns(places.row), 0.0), places.lat)


def test_no_points_give_no_places() -> None:
    assert len(recover(np.empty(0), np.empty(0))) == 0


def test_no_hole_at_the_antimeridian() -> None:
    last = int(count_columns(35_000)) - 1
    south = -90 + 35_000.9 * ROW_HEIGHT_DEG
    boxes = [(179.9, south, 180.0, south + 0.2 * ROW_HEIGHT_DEG), (-180.0, south, -179.9, south + 0.2 * ROW_HEIGHT_DEG)]
    found = [key for box in boxes for key in list_keys(enumerate_places(*box))]
    assert found.count((True, 35_000, last)) == 1


def test_columns_are_never_negative() -> None:
    place = locate([True], [35_000], [int(count_columns(35_000)) - 1])  # stands at 180 E
    west_of_it, east_of_it = recover([179.9999999, -179.9999999], [place.lat[0]] * 2).col
    assert west_of_it == place.col[0]
    assert east_of_it == place.col[0]
