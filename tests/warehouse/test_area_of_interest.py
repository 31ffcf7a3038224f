"""From `[area]` to a geometry, and from there to shards, whichever way the area is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from tests.warehouse.fake_evidence import make_settings
from tests.warehouse.fake_tables import PROVENANCE
from transforms.area import area_of_shapes
from transforms.errors import ShapeError
from transforms.shards import assign_owners, count_expected_patches, shards_table
from transforms.utm import mgrs_squares, project_shape, unproject_shape
from warehouse.area import cut_squares
from warehouse.area_of_interest import describe_area, read_area
from warehouse.errors import SourceFormatError, SourceMissingError, UnknownCountryError
from warehouse.layout import ALL
from warehouse.sections import AreaSettings, LimitSettings
from warehouse.store import Warehouse

#: Two islands of a country over the antimeridian, in three UTM zones and hemispheres.
ISLANDS = [
    shapely.Polygon([(177.2, -18.3), (178.7, -18.1), (178.2, -17.4), (177.3, -17.3)]),
    shapely.Polygon([(179.3, -16.9), (180.4, -16.9), (180.4, -16.2), (179.3, -16.2)]),
    shapely.Polygon([(-179.6, -0.2), (-179.4, -0.2), (-179.4, 0.2), (-179.6, 0.2)]),
]


def write_polygons(path: Path, shapes: list[shapely.Geometry], names: list[str] | None = None, crs: int = 4326) -> Path:
    frame = geopandas.GeoDataFrame({"name": names or [str(k) for k in range(len(shapes))]}, geometry=shapes, crs=4326)
    frame = frame.to_crs(crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


@pytest.fixture
def countries(tmp_path: Path) -> Path:
    names = ["Atoll", "Inland"]
    return write_polygons(
        tmp_path / "countries.gpkg", [shapely.MultiPolygon(ISLANDS), shapely.box(101.2, 12.1, 102.9, 13.3)], names
    )


def test_without_an_area_it_is_everywhere() -> None:
    assert read_area(AreaSettings(shard_rule="file")) is None


def test_a_country_over_the_antimeridian_in_two_hemispheres_is_cut(countries: Path) -> None:
    area = read_area(AreaSettings(country="atoll", boundaries=countries))
    assert area is not None
    assert area.crosses_antimeridian
    shards = cut_squares(area)
    zones = {shard.epsg for shard in shards}
    assert zones == {32760, 32701, 32601}
    assert len({shard.key for shard in shards}) == len(shards)
    rng = np.random.default_rng(0)
    lon = np.concatenate([rng.uniform(177.0, 180.0, 4000), rng.uniform(-180.0, -179.0, 4000)])
    lat = rng.uniform(-18.5, 0.3, 8000)
    unrolled = np.where(lon < 0, lon + 360.0, lon)
    truth = np.zeros(len(lon), bool)
    for island in ISLANDS:
        truth |= shapely.contains_xy(island, lon, lat) | shapely.contains_xy(island, unrolled, lat)
    owner = assign_owners(lon, lat, shards, area)
    np.testing.assert_array_equal(owner != "", truth)
    np.testing.assert_array_equal(owner[truth], mgrs_squares(lon[truth], lat[truth]))


def test_the_same_ground_in_any_file_and_crs_is_the_same_area(tmp_path: Path) -> None:
    # two squares of 100 km in UTM at 60 N, where an edge between corners in degrees is 352 m off its middle
    squares = [shapely.box(300_000, 6_600_000, 400_000, 6_700_000), shapely.box(350_000, 6_650_000, 450_000, 6_750_000)]
    dense = [unproject_shape(shapely.segmentize(square, 100.0), 32633) for square in squares]
    truth = area_of_shapes(dense, "truth").geometry
    feet = "+proj=utm +zone=33 +datum=WGS84 +units=us-ft"
    by_corners = geopandas.GeoDataFrame(geometry=squares, crs=32633)
    by_corners.to_file(tmp_path / "metres.gpkg")
    by_corners.to_crs(feet).to_parquet(tmp_path / "feet.parquet")
    write_polygons(tmp_path / "a.geojson", dense)
    write_polygons(tmp_path / "b.parquet", dense)
    for name in ("a.geojson", "b.parquet", "metres.gpkg", "feet.parquet"):
        area = read_area(AreaSettings(geometry=tmp_path / name))
        assert area is not None
        apart = project_shape(area.geometry, 32633).symmetric_difference(project_shape(truth, 32633)).area
        assert apart < 0.1 * 800_000.0, name  # a decimetre along the outline, of 800 km at most


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.geojson", [shapely.box(0, 0, 1, 1)])
    assert read_area(AreaSettings(geometry=path)).bbox == (0, 0, 1, 1)  # type: ignore[union-attr]
    path.unlink()
    write_polygons(path, [shapely.box(0, 0, 2, 3.5)])
    assert read_area(AreaSettings(geometry=path)).bbox == (0, 0, 2, 3.5)  # type: ignore[union-attr]


def test_tiles_are_whole_squares_and_nothing_beside_them() -> None:
    area = read_area(AreaSettings(tiles=("48PVS", "48PVT")))
    assert area is not None
    shards = cut_squares(area)
    assert [shard.key for shard in shards] == ["48PVS", "48PVT"]
    west, south, east, north = area.bbox
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(west - 0.1, east + 0.1, 5000), rng.uniform(south - 0.1, north + 0.1, 5000)
    squares = mgrs_squares(lon, lat)
    owner = assign_owners(lon, lat, shards, area)
    np.testing.assert_array_equal(owner, np.where(np.isin(squares, ["48PVS", "48PVT"]), squares, ""))


@pytest.mark.parametrize("tile", ["01KAB", "60KXF", "31NAA", "32VKM"])
def test_squares_at_zone_edges_are_tiles_too(tile: str) -> None:
    area = read_area(AreaSettings(tiles=(tile,)))
    assert area is not None
    (shard,) = cut_squares(area)
    assert shard.key == tile
    inside = area.geometry.representative_point()
    assert area.contains([inside.x], [inside.y]).all()


def test_a_square_without_ground_is_refused() -> None:
    with pytest.raises(ShapeError, match="tile: found '48PAS'"):
        read_area(AreaSettings(tiles=("48PAS",)))


def test_a_polygon_smaller_than_a_patch_is_an_area(tmp_path: Path) -> None:
    vatican = shapely.Polygon([(12.4458, 41.9003), (12.4584, 41.9010), (12.4570, 41.9073), (12.4480, 41.9060)])
    field = shapely.Point(12.45, 41.90).buffer(0.0003)
    for shape, least, most in ((vatican, 1, 20), (field, 0, 1)):
        area = read_area(AreaSettings(geometry=write_polygons(tmp_path / f"{least}.geojson", [shape])))
        assert area is not None
        (shard,) = cut_squares(area)
        assert shard.key == "33TTG"
        assert least <= count_expected_patches(shard, [shard], area) <= most


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([shapely.Point(1, 2)], r"geometry of row 0: found \['Point'\], expected Polygon"),
        ([shapely.box(0, 0, 1, 1), None], r"geometry of row 1: found \['none'\]"),
    ],
)
def test_files_with_other_things_than_polygons_are_refused(tmp_path: Path, shapes: list, message: str) -> None:
    path = write_polygons(tmp_path / "a.geojson", shapes)
    with pytest.raises(SourceFormatError, match=message):
        read_area(AreaSettings(geometry=path))


def test_what_is_not_there_is_said(tmp_path: Path, countries: Path) -> None:
    with pytest.raises(SourceMissingError, match=r"gone\.geojson: found no such file"):
        read_area(AreaSettings(geometry=tmp_path / "gone.geojson"))
    with pytest.raises(UnknownCountryError, match="such as Atoll"):
        read_area(AreaSettings(country="Atol", boundaries=countries))


def test_areas_beyond_the_squares_or_without_ground_are_refused() -> None:
    with pytest.raises(ShapeError, match="80 S to 84 N"):
        cut_squares(area_of_shapes([shapely.box(0.0, -85.0, 10.0, -70.0)], "ice"))
    with pytest.raises(ShapeError, match="less than 1 m2"):
        cut_squares(area_of_shapes([shapely.box(0.0, 0.0, 1e-6, 1e-6)], "speck"))


@pytest.mark.parametrize(
    ("area", "problem"),
    [
        ({"country": "Fiji", "bbox": [1, 2, 3, 4]}, "country and bbox both say where the area is"),
        ({"tiles": ["48PVS"], "geometry": "a.geojson"}, "geometry and tiles both"),
        ({}, "needs country, geometry, tiles, or bbox"),
        ({"tiles": ["48PV"]}, "pattern"),
        ({"bbox": [103.9, 12.0, 102.1, 13.0]}, "west < east"),  # not half of the world the other way
    ],
)
def test_one_key_says_where_the_area_is(area: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        AreaSettings(**area)


def test_a_box_over_the_antimeridian_is_an_area() -> None:
    area = read_area(AreaSettings(bbox=(179.5, -17.0, -179.5, -16.5)))
    assert area is not None
    assert area.crosses_antimeridian
    assert {shard.epsg for shard in cut_squares(area)} == {32760, 32701}


@pytest.mark.parametrize(
    ("area", "text"),
    [
        ({"country": "Fiji"}, "country Fiji"),
        ({"bbox": (1, 2, 3, 4.5)}, "bbox 1 2 3 4.5"),
        ({"tiles": ("48PVS", "48PVT")}, "tiles 48PVS, 48PVT"),
        ({"geometry": Path("x/parcels.gpkg")}, "geometry parcels.gpkg"),
        ({"shard_rule": "file"}, "wherever the sources have data"),
    ],
)
def test_areas_are_named_in_a_few_words(area: dict[str, Any], text: str) -> None:
    assert describe_area(AreaSettings(**area)) == text


def test_owner_rules_of_a_polygon_hold_what_is_near_their_shard(tmp_path: Path) -> None:
    star = shapely.Polygon([(101.6, 12.4), (102.4, 12.5), (102.5, 12.8), (102.0, 12.6), (101.7, 12.9)])
    path = write_polygons(tmp_path / "star.geojson", [star])
    settings = make_settings(tmp_path / "wh").model_copy(
        update={"limits": LimitSettings(min_free_mb=0), "area": AreaSettings(geometry=path)}
    )
    warehouse = Warehouse(settings)
    assert warehouse.area is not None
    cut = cut_squares(warehouse.area)
    rows = shards_table(cut, warehouse.area, on_lattice=True, is_simulated=False)
    written = warehouse.write("core_grid__shards", ALL, rows, PROVENANCE)
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(101.5, 102.6, 20_000), rng.uniform(12.3, 13.0, 20_000)
    owners = np.array([warehouse.owner_rule(shard.key).owns(lon, lat) for shard in cut])
    np.testing.assert_array_equal(owners.sum(axis=0), shapely.contains_xy(star, lon, lat))
    assert sum(warehouse.read("core_grid__shards")["expected_patches"].to_pylist()) > 0
    geo = json.loads(pq.read_metadata(written.path).metadata[b"geo"])
    assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon"]
