"""Counts from the grids alone, against lists and against the published grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from transforms.area import Area, area_of_boxes, area_of_shapes
from transforms.area_grids import count_cells, count_tiles, touched_boxes
from transforms.lattice import N_ROWS, count_columns, enumerate_places
from transforms.lattice_counts import count_places
from transforms.sentinel2 import sentinel2_tile_box
from transforms.shards import area_of_tiles
from transforms.utm import project, project_bbox, project_shape, unproject
from warehouse.boundaries import read_country
from warehouse.world_eg import list_tile_patches


def test_places_of_a_box_are_counted() -> None:
    # the box ends between centroids, so borders do not matter
    box = (101.9003, 12.5503, 102.1003, 12.7003)
    assert count_places(shapely.box(*box)) == len(enumerate_places(*box))
    assert count_places(shapely.MultiPolygon()) == 0


def test_the_lattice_of_the_world_is_counted_whole() -> None:
    primary_and_secondary = count_places(shapely.box(-180.0, -90.0, 180.0, 90.0))
    # the secondary row at the north pole stands on the border
    rows = count_columns(np.arange(N_ROWS))
    assert primary_and_secondary == 2 * rows.sum() - rows[-1]


def test_places_beside_the_antimeridian_are_counted_once() -> None:
    whole = area_of_boxes([(179.9, -17.0003, -179.9, -16.9003)])
    assert count_places(whole.geometry) == sum(len(enumerate_places(*box)) for box in whole.boxes)


def test_a_square_touches_its_own_tile_and_those_that_reach_into_it() -> None:
    inside = sentinel2_tile_box("48PVS").buffer(-20_000.0)
    x, y = (inside.west + inside.east) / 2, (inside.south + inside.north) / 2
    lon, lat = unproject([x - 100, x + 100], [y - 100, y + 100], inside.epsg)
    one = count_tiles(area_of_boxes([(lon[0], lat[0], lon[1], lat[1])]))
    assert one.n_tiles == 1
    # edges are straight in degrees here and in UTM there, so a patch on the rim may go either way
    listed = len(list_tile_patches(sentinel2_tile_box("48PVS"), (103.9, 9.7, 105.3, 11.0)).ids)
    assert one.n_patches == pytest.approx(listed, abs=2)
    assert count_tiles(area_of_tiles(["48PVS"])).n_tiles > 4


@pytest.mark.parametrize(
    ("bbox", "at_sea"),
    [
        ((101.2, 12.1, 102.9, 13.3), 0),
        ((8.0, -0.8, 9.6, 0.7), 3),
        ((17.0, -1.2, 18.9, 1.0), 0),
        ((176.0, -19.0, -178.0, -16.0), 20),
        ((24.0, 60.2, 33.0, 61.0), 0),
    ],
    ids=["zone edge", "coast at the equator", "equator", "antimeridian", "north"],
)
def test_tiles_are_those_of_the_published_grid(
    real_data: Path, bbox: tuple[float, float, float, float], at_sea: int
) -> None:
    area = area_of_boxes([bbox])
    published = len(list_published(real_data, area))
    # the grid alone does not know the sea
    assert published <= count_tiles(area).n_tiles <= published + at_sea


@pytest.mark.parametrize("country", ["Cambodia", "Laos", "Switzerland"])
def test_tiles_of_a_country_are_those_of_the_published_grid(real_data: Path, country: str) -> None:
    borders = real_data / "natural_earth" / "ne_110m_admin_0_countries.json"
    area = area_of_shapes([read_country(borders, country)], country)
    assert count_tiles(area).n_tiles == len(list_published(real_data, area))


def list_published(real_data: Path, area: Area) -> list[str]:
    """Name the tiles of the published grid whose squares share ground with an area."""
    grid = pq.read_table(real_data / "sentinel2_grid" / "sentinel-2-grid_LAND.parquet", columns=["tile"])
    return [name for name in grid["tile"].to_pylist() if touches(name, area)]


def touches(name: str, area: Area) -> bool:
    box = sentinel2_tile_box(name)
    meridian = box.epsg % 100 * 6 - 183
    for part in shapely.get_parts(area.geometry):
        west, _, east, _ = part.bounds
        if min(abs(side - meridian + turn) for side in (west, east) for turn in (-360, 0, 360)) > 20:
            continue
        ground = project_shape(shapely.segmentize(part, 0.05), box.epsg)
        if ground.intersects(shapely.box(box.west, box.south, box.east, box.north)):
            return True
    return False


def test_cells_are_those_that_hold_ground() -> None:
    area = area_of_shapes([shapely.Polygon([(104.0, 12.0), (105.0, 12.0), (104.0, 13.0)])], "triangle")
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(104.0, 105.0, 400_000), rng.uniform(12.0, 13.0, 400_000)
    inside = area.contains(lon, lat)
    x, y = project(lon[inside], lat[inside], 32648)
    expected = len(np.unique(np.floor(np.stack([x, y], axis=1) / 10_240.0), axis=0))
    assert 0.97 * count_cells(area, 10_240.0) <= expected <= count_cells(area, 10_240.0)
    assert count_cells(area_of_boxes([(101.99, 12.0, 102.01, 12.01)]), 81_920.0) == 2  # one in each zone


def test_what_is_read_covers_the_area_and_little_more() -> None:
    triangle = area_of_shapes([shapely.Polygon([(104.0, 12.0), (105.0, 12.0), (104.0, 13.0)])], "triangle")
    box = project_bbox(triangle.bbox, 32648)
    parts = touched_boxes(triangle, box, 10_240.0)
    ground = project_shape(shapely.segmentize(triangle.geometry, 0.01), 32648)
    cover = shapely.union_all([shapely.box(part.west, part.south, part.east, part.north) for part in parts])
    assert ground.difference(cover).area < 1.0
    assert cover.area < 1.4 * ground.area < (box.east - box.west) * (box.north - box.south)
    assert touched_boxes(area_of_boxes([(0.0, 0.0, 1.0, 1.0)]), box, 10_240.0) == []
