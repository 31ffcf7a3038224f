from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
import shapely

from transforms import geohash, h3_index
from transforms.lattice import enumerate_places
from transforms.places import (
    PatchPlaces,
    TileCover,
    cluster_boxes,
    footprint_polygons,
    pixel_places_from_table,
    place_lattice,
    places_from_table,
    project_each,
    spine_table,
)
from transforms.sentinel2 import sentinel2_tile_box
from transforms.utm import UtmBox, mgrs_squares, project, unproject, utm_epsg

#: Across the zone edge, and across a square border in latitude.
CELLS = enumerate_places(101.985, 12.64, 102.015, 12.66)


def place(tiles: list[TileCover]) -> PatchPlaces:
    return place_lattice(CELLS, mgrs_squares(CELLS.lon, CELLS.lat), tiles)


def cover(tile: str, path: str | None = None) -> TileCover:
    return TileCover(path or f"{tile}.parquet", tile, sentinel2_tile_box(tile))


def assert_same(found: PatchPlaces, expected: PatchPlaces) -> None:
    for field in fields(PatchPlaces):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), err_msg=field.name)


def test_squares_with_a_file_of_their_own_give_their_zone() -> None:
    squares = np.unique(mgrs_squares(CELLS.lon, CELLS.lat))
    assert {square[:2] for square in squares} == {"47", "48"}
    places = place([cover(square) for square in squares])
    np.testing.assert_array_equal(places.epsg, utm_epsg(CELLS.lon, CELLS.lat))


def test_squares_without_a_file_take_the_first_that_covers_the_patch() -> None:
    squares = mgrs_squares(CELLS.lon, CELLS.lat)
    west = [square for square in np.unique(squares) if square.startswith("47")]
    places = place([cover(square) for square in west])  # zone 48 has no file; 47's reach 9.8 km beyond
    east = CELLS.lon >= 102
    covered = np.zeros(len(CELLS), bool)
    x, y = project(CELLS.lon, CELLS.lat, 32647)
    for square in west:
        box = sentinel2_tile_box(square)
        covered |= (x - 160 >= box.west) & (x + 160 <= box.east) & (y - 160 >= box.south) & (y + 160 <= box.north)
    assert covered[east].any()
    np.testing.assert_array_equal(places.epsg[east], np.where(covered[east], 32647, 32648))
    np.testing.assert_array_equal(places.epsg[~east], 32647)


def test_the_lexically_first_file_wins_whatever_the_order() -> None:
    box = {epsg: UtmBox(epsg, -1e7, -1e7, 1e8, 1e8) for epsg in (32647, 32648)}
    first, second = TileCover("a", "99XXX", box[32648]), TileCover("b", "99YYY", box[32647])
    for tiles in ([first, second], [second, first]):
        assert set(place(tiles).epsg.tolist()) == {32648}
    swapped = [replace(first, path="z"), second]
    assert set(place(swapped).epsg.tolist()) == {32647}


def test_a_file_covers_what_lies_wholly_inside() -> None:
    x, _ = project(CELLS.lon, CELLS.lat, 32647)
    edge = float(np.median(x))
    box = UtmBox(32647, -1e7, -1e7, edge, 1e8)
    places = place([TileCover("a", "99XXX", box)])
    east = CELLS.lon >= 102
    np.testing.assert_array_equal(places.epsg == 32647, (x + 160 <= edge) | ~east)


def test_without_files_the_zone_of_the_centroid_counts() -> None:
    places = place([])
    np.testing.assert_array_equal(places.epsg, utm_epsg(CELLS.lon, CELLS.lat))
    assert places.epsg.dtype == np.int32


def test_lattice_places_know_their_cells() -> None:
    places = place([])
    np.testing.assert_array_equal(places.patch_id, geohash.encode(CELLS.lon, CELLS.lat))
    np.testing.assert_array_equal(places.lattice == "secondary", CELLS.is_secondary)
    assert set(places.lattice.tolist()) == {"primary", "secondary"}
    np.testing.assert_array_equal((places.row, places.col), (CELLS.row, CELLS.col))
    assert set(places.side_m.tolist()) == {320.0}


def test_footprints_are_parallel_to_the_axes_of_their_zone() -> None:
    places = place([])
    boxes = places.boxes()
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 320.0)
    for polygon, epsg, box in zip(footprint_polygons(places), places.epsg, boxes, strict=True):
        x, y = project(*shapely.get_coordinates(polygon).T, int(epsg))
        np.testing.assert_allclose([x.min(), y.min(), x.max(), y.max()], box, atol=1e-6)
        np.testing.assert_allclose(sorted(set(np.round(x, 3))), [box[0], box[2]], atol=1e-3)


def test_centroids_are_projected_each_to_its_zone() -> None:
    lon, lat = np.array([101.9, 102.1, 104.0]), np.array([12.5, 12.5, -3.0])
    x, y = project_each(lon, lat, np.array([32647, 32648, 32748], np.int32))
    for i, epsg in enumerate((32647, 32648, 32748)):
        assert (x[i], y[i]) == pytest.approx([float(c) for c in project(lon[i], lat[i], epsg)])


def test_the_spine_is_read_back_as_it_was_written() -> None:
    places = place([])
    table = spine_table(places, is_simulated=True)
    assert_same(places_from_table(table), places)
    assert_same(places_from_table(spine_table(places.take(np.arange(0)), is_simulated=True)), places.take(np.arange(0)))


def test_rows_of_the_spine() -> None:
    places = place([])
    table = spine_table(places, is_simulated=False)
    assert table["is_simulated"].to_pylist() == [False] * len(places)
    fine = h3_index.cells(places.lon, places.lat, 12)
    for resolution in (5, 7, 9):
        np.testing.assert_array_equal(table[f"h3_r{resolution}"].to_numpy(), h3_index.parents(fine, resolution))
    shapes = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    assert shapely.contains_xy(shapes, places.lon, places.lat).all()
    assert set(shapely.get_type_id(shapes).tolist()) == {shapely.GeometryType.POLYGON}


def test_places_are_taken_by_mask_or_position() -> None:
    places = place([])
    mask = places.lon > 102
    assert_same(places.take(mask), places.take(np.flatnonzero(mask)))
    assert len(places.take(mask)) == mask.sum()
    np.testing.assert_array_equal(places.take(mask).patch_id, places.patch_id[mask])


def test_pixel_places_of_several_years_are_given_once() -> None:
    table = pa.table(
        {
            "pixel_id": np.array([5, 3, 5, 9], np.uint64),
            "lon": [1.0, 2.0, 1.0, 3.0],
            "lat": [4.0, 5.0, 4.0, 6.0],
            "epsg": np.array([32631] * 4, np.int32),
            "x_m": [10.0, 20.0, 10.0, 30.0],
            "y_m": [7.0, 8.0, 7.0, 9.0],
            "window": ["a", "b", "c", "d"],
        }
    )
    places = pixel_places_from_table(table)
    assert places.pixel_id.tolist() == [3, 5, 9]
    assert places.lon.tolist() == [2.0, 1.0, 3.0]
    assert places.y_m.tolist() == [8.0, 7.0, 9.0]
    assert places.take(np.array([True, False, True])).pixel_id.tolist() == [3, 9]


def test_near_footprints_share_a_box_and_lone_chips_get_their_own() -> None:
    rng = np.random.default_rng(0)
    corner = np.concatenate([rng.uniform(0, 10_000, (200, 2)), [[500_000.0, 900_000.0]]])
    boxes = np.concatenate([corner, corner + 320.0], axis=1)
    found = cluster_boxes(boxes, 32648)
    assert len(found) == 2
    for box in boxes:
        covers = [
            c.west <= box[0] and c.south <= box[1] and c.east >= box[2] and c.north >= box[3] and c.epsg == 32648
            for c in found
        ]
        assert any(covers)
    area = sum((c.east - c.west) * (c.north - c.south) for c in found)
    assert area < 10_320**2 + 321**2  # not the continent between them
    assert cluster_boxes(np.empty((0, 4)), 32648) == []


def test_clusters_of_a_dense_field_stay_small() -> None:
    x, y = np.meshgrid(np.arange(0, 40_000, 320.0), np.arange(0, 40_000, 320.0))
    boxes = np.stack([x.ravel(), y.ravel(), x.ravel() + 320, y.ravel() + 320], axis=1)
    found = cluster_boxes(boxes, 32648)
    assert len(found) == 16
    assert max(c.east - c.west for c in found) <= 10_240 + 320


def test_polygons_of_several_zones_keep_their_order() -> None:
    places = place([])
    mixed = places.take(np.random.default_rng(0).permutation(len(places)))
    lon, _ = unproject(mixed.x_m, mixed.y_m, 32647)
    assert not np.allclose(lon, mixed.lon)  # so the order matters
    assert shapely.contains_xy(footprint_polygons(mixed), mixed.lon, mixed.lat).all()
