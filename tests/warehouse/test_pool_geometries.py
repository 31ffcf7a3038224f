"""`isthmus pool`, below the command line: rows against brute force, seams, CRS, bad files, atomic output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely

from tests.warehouse import seam_tree
from tests.warehouse.seam_tree import EDGE_LON, LAT, YEAR
from transforms.errors import IsthmusError
from transforms.pooling.operators import UnknownOperatorError
from transforms.pooling.polygons import PolygonTooLargeError
from warehouse import polygon_zones
from warehouse.errors import SourceContentError, SourceFormatError, SourceMissingError
from warehouse.polygon_zones import cut_batches, find_zones
from warehouse.pool_geometries import FittedOperatorError, PoolRequest, PoolSummary, pool_geometries
from warehouse.reader import vectors
from warehouse.settings import load_settings
from warehouse.sources.user_geometries import read_user_geometries
from warehouse.store import Warehouse


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Rasters that end at the zone edge."""
    folder = tmp_path_factory.mktemp("narrow")
    return open_tree(folder, overlap_deg=0.0002)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Rasters that reach as far past the zone edge as they can."""
    return open_tree(tmp_path_factory.mktemp("wide"), overlap_deg=1.0)


def open_tree(folder: Path, *, overlap_deg: float) -> Warehouse:
    root = seam_tree.write_tree(folder / "aef", overlap_deg=overlap_deg)
    return Warehouse(load_settings(seam_tree.write_config(folder, root)))


def pool(
    warehouse: Warehouse, path: Path, operators: tuple[str, ...] | None = ("mean", "stats"), **fields: Any
) -> tuple[PoolSummary, pa.Table]:
    request = {"product": None, "min_coverage": None, "id_column": None, "output": None, "year": YEAR} | fields
    summary = pool_geometries(warehouse, PoolRequest(path, operators=operators, **request), lambda _share, _text: None)
    return summary, pq.read_table(summary.output)


def write_polygons(path: Path, shapes: list[shapely.Geometry], crs: Any = 4326, **columns: list[Any]) -> Path:
    frame = gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


def around(dx_m: float, dy_m: float, radius_m: float) -> shapely.Polygon:
    """A circle beside the place where the zone edge crosses the tree, in degrees."""
    x, y = 111_320 * np.cos(np.radians(LAT)), 110_600
    return shapely.affinity.translate(
        shapely.affinity.scale(shapely.Point(0, 0).buffer(1), radius_m / x, radius_m / y),
        EDGE_LON + dx_m / x,
        LAT + dy_m / y,
    )


CIRCLES = [
    around(-500, 300, 120),
    around(600, -200, 60),
    around(-300, -700, 15),
    around(10, 0, 150),
    around(-80, 500, 140),
]


def pool_by_hand(shape: shapely.Polygon, epsg: int) -> dict[str, Any]:
    """Area-weighted statistics of the codes at pixel centres, shares by intersection of every square."""
    west, south = seam_tree.corner(epsg)
    to_zone = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    shape = shapely.transform(shape, lambda xy: np.column_stack(to_zone.transform(*xy.T)))
    edge = 10.0 * np.arange(seam_tree.SIZE_PX)
    x, y = (axis.ravel() for axis in np.meshgrid(west + edge, south + edge))
    share = shapely.area(shapely.intersection(shapely.box(x, y, x + 10, y + 10), shape)) / 100
    inside = shapely.contains_xy(shape, x + 5, y + 5)
    v = seam_tree.codes_at(*pyproj.Transformer.from_crs(epsg, 4326, always_xy=True).transform(x + 5, y + 5)).astype(
        float
    )
    values = np.sign(v) * (v / 127.5) ** 2
    mean = values @ share / share.sum()
    return {
        "mean": mean,
        "std": np.sqrt((values - mean[:, None]) ** 2 @ share / share.sum()),
        "min": values[:, inside].min(axis=1) if inside.any() else None,
        "max": values[:, inside].max(axis=1) if inside.any() else None,
        "n_pixels": int(inside.sum()),
    }


def test_rows_equal_statistics_of_the_pixels(wide: Warehouse, tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "circles.parquet", CIRCLES[:3], id=["a", "b", "c"])
    summary, table = pool(wide, path)
    assert summary.output == tmp_path / "circles_pooled_2024.parquet"
    assert summary.columns == ("mean", "std", "min", "max")
    assert table["id"].to_pylist() == ["a", "b", "c"]
    assert table["valid_fraction"].to_pylist() == [1, 1, 1]
    for k, epsg in enumerate((32647, 32648, 32647)):
        expected = pool_by_hand(CIRCLES[k], epsg)
        assert table["n_pixels"][k].as_py() == expected["n_pixels"]
        for name in summary.columns:
            if expected[name] is not None:
                np.testing.assert_allclose(vectors(table, name)[k], expected[name], atol=1e-5, err_msg=name)


def test_polygons_over_the_zone_edge_are_whole(narrow: Warehouse, wide: Warehouse, tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "circles.parquet", CIRCLES)
    operators = ("mean", "std", "gem", "median_iqr", "centre_weighted")
    _, parts = pool(narrow, path, operators, output=tmp_path / "parts.parquet")
    _, whole = pool(wide, path, operators, output=tmp_path / "whole.parquet")
    assert parts["valid_fraction"].to_pylist() == whole["valid_fraction"].to_pylist() == [1] * 5
    for name in ("mean", "std", "gem", "centre_weighted"):
        # the neighbour's pixels stand elsewhere on the same smooth field
        np.testing.assert_allclose(vectors(parts, name), vectors(whole, name), atol=4e-3, err_msg=name)
    np.testing.assert_array_equal(vectors(parts, "mean")[:3], vectors(whole, "mean")[:3])
    assert (vectors(parts, "mean")[3] != vectors(whole, "mean")[3]).any()


def test_polygons_outside_and_partly_outside_the_data(wide: Warehouse, tmp_path: Path) -> None:
    shapes = [around(-500, 300, 120), shapely.box(10, 10, 10.001, 10.001), around(0, 1_250, 200), around(0, 1_390, 120)]
    summary, table = pool(wide, write_polygons(tmp_path / "some.parquet", shapes))
    assert (summary.rows, summary.without_pixels, summary.too_little_coverage) == (4, 1, 1)
    fraction = table["valid_fraction"].to_numpy()
    assert fraction[0] == 1
    assert fraction[1] == 0
    assert 0.5 < fraction[2] < 0.7
    assert 0 < fraction[3] < 0.5
    has_vector = np.isfinite(vectors(table, "mean")).all(axis=1)
    assert has_vector.tolist() == [True, False, True, False]
    assert table["n_pixels"].to_pylist()[1] == 0
    summary, table = pool(wide, tmp_path / "some.parquet", min_coverage=0.0)
    assert summary.too_little_coverage == 0
    assert np.isfinite(vectors(table, "mean")).all(axis=1).tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("name", "crs"), [("a.geojson", 4326), ("b.parquet", 32648), ("c.gpkg", 3857), ("d.parquet", 6933)]
)
def test_any_crs_and_format_gives_the_same_rows(wide: Warehouse, tmp_path: Path, name: str, crs: int) -> None:
    frame = gpd.GeoDataFrame({"id": [7, 9, 8]}, geometry=CIRCLES[:3], crs=4326)
    write_polygons(tmp_path / "first.parquet", CIRCLES[:3])
    moved = frame.to_crs(crs)
    moved.to_parquet(tmp_path / name) if name.endswith("parquet") else moved.to_file(tmp_path / name)
    _, expected = pool(wide, tmp_path / "first.parquet")
    _, found = pool(wide, tmp_path / name)
    np.testing.assert_allclose(vectors(found, "mean"), vectors(expected, "mean"), atol=2e-4)
    written = gpd.read_parquet(tmp_path / f"{name[0]}_pooled_2024.parquet")
    assert written.crs == moved.crs
    assert written.geometry.geom_equals_exact(
        gpd.read_file(tmp_path / name).geometry if crs == 3857 else moved.geometry, 1e-9
    ).all()


def test_the_file_says_where_it_comes_from_and_reads_as_geoparquet(wide: Warehouse, tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "p.parquet", CIRCLES[:1], parcel=["x"])
    summary, table = pool(wide, path, ("mean_length", "percentiles"), id_column="parcel")
    footer = pq.read_metadata(summary.output).metadata
    record = json.loads(footer[b"isthmus"])
    assert record["product"] == "aef"
    assert [Path(source["path"]).parts[2] for source in record["sources"]] == ["47N", "48N"]
    assert "AlphaEarth" in record["attribution"][0]
    assert json.loads(footer[b"isthmus_pool"])["percentiles"] == [10, 25, 50, 75, 90]
    geo = json.loads(footer[b"geo"])
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert table.schema.field("percentiles").type.list_size == 5 * 64
    assert table.schema.field("mean_length").type == pa.float32()
    row = table.select(["row", "parcel", "product", "year", "is_simulated"]).to_pylist()[0]
    assert row == {"row": 0, "parcel": "x", "product": "aef", "year": 2024, "is_simulated": False}


def test_batches_do_not_show(wide: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_polygons(tmp_path / "p.parquet", CIRCLES * 3)
    _, whole = pool(wide, path, ("mean", "std", "median_iqr"))
    monkeypatch.setattr(polygon_zones, "_BATCH_POLYGONS", 2)
    _, parts = pool(wide, path, ("mean", "std", "median_iqr"))
    assert whole.equals(parts)


def test_batches_hold_every_polygon_once_and_one_zone_each() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60_000, (500, 2))
    polygons = shapely.box(*corners.T, *(corners + 200).T)
    home = rng.choice([32647, 32648], 500)
    batches = list(cut_batches(polygons, home, 30 * 200**2))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(len(set(home[batch])) == 1 for batch in batches)
    assert max(len(batch) for batch in batches) == 30
    assert [len(batch) for batch in cut_batches(polygons[:3], home[:3] * 0, 1.0)] == [1, 1, 1]


def index_of(*rows: tuple[int, float, float]) -> pa.Table:
    """Files of 1 degree of latitude: EPSG, west, east."""
    return pa.table(
        {
            "epsg": pa.array([row[0] for row in rows], pa.int32()),
            "west_deg": [row[1] for row in rows],
            "south_deg": [0.0] * len(rows),
            "east_deg": [row[2] for row in rows],
            "north_deg": [1.0] * len(rows),
        }
    )


def test_zones_of_polygons_across_the_antimeridian(tmp_path: Path) -> None:
    shapes = [
        shapely.Polygon([(179.99, 0.4), (-179.99, 0.4), (-179.99, 0.5), (179.99, 0.5)]),  # jumps
        shapely.MultiPolygon([shapely.box(179.9, 0.4, 180, 0.5), shapely.box(-180, 0.4, -179.99, 0.5)]),  # cut
        shapely.box(-179.9, 0.4, -179.8, 0.5),
    ]
    geometries = read_user_geometries(write_polygons(tmp_path / "a.parquet", shapes))
    assert [round(float(b[2] - b[0]), 6) for b in shapely.bounds(geometries.lonlat)] == [0.02, 0.11, 0.1]
    assert geometries.bbox() is None
    zones = find_zones(geometries.lonlat, index_of((32660, 179.0, -179.9), (32601, -180.0, -179.0), (32631, 0.0, 1.0)))
    assert zones.home.tolist() == [32660, 32660, 32601] or zones.home.tolist() == [32601, 32660, 32601]
    assert [len(others) for others in zones.others] == [1, 1, 1]
    assert zones.touched.tolist() == [0, 1]


def test_zones_without_files_and_of_products_in_another_crs() -> None:
    lonlat = np.array([shapely.box(102.1, 0.4, 102.2, 0.5), shapely.box(10, 0.4, 10.1, 0.5)])
    zones = find_zones(lonlat, index_of((3857, 101.0, 103.0)))
    assert zones.home.tolist() == [3857, 32632]
    assert zones.others == [(), ()]
    assert find_zones(lonlat, index_of()).home.tolist() == [32648, 32632]


# -- bad input --------------------------------------------------------------------------------------------------


def check_refused(warehouse: Warehouse, path: Path, error: type[IsthmusError], *texts: str, **fields: Any) -> None:
    """One message with all that helps, and nothing written."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(error) as caught:
        pool(warehouse, path, **fields)
    for text in texts:
        assert text in str(caught.value)
    assert sorted(path.parent.iterdir()) == before


BOW_TIE = shapely.Polygon([(101.99, 12.64), (102, 12.65), (102, 12.64), (101.99, 12.65)])


@pytest.mark.parametrize(
    ("shapes", "texts"),
    [
        ([CIRCLES[0], BOW_TIE], ("row 1", "Self-intersection", "make_valid")),
        ([shapely.Point(1, 1), CIRCLES[0], shapely.LineString([(0, 0), (1, 1)])], ("LineString/Point in rows 0, 2",)),
        ([shapely.Point(1, 1)], ("Point in row 0", "buffer")),
        ([CIRCLES[0], None, shapely.Polygon()], ("no geometry in rows 1, 2", "Drop rows")),
        ([None, BOW_TIE, shapely.Point(0, 0)], ("in row 0", "in row 1", "in row 2")),
        ([BOW_TIE] * 9, ("rows 0, 1, 2 and 6 more",)),
        ([shapely.box(100, 85, 101, 86)], ("row 0 beyond the reach of UTM", "from -80 to 84")),
        ([shapely.box(90, 10, 110, 11)], ("wider than 12 degrees", "20.0", "Split them")),
    ],
)  # fmt: skip
def test_rows_that_are_no_sound_polygons(
    wide: Warehouse, tmp_path: Path, shapes: list[shapely.Geometry], texts: tuple[str, ...]
) -> None:
    path = write_polygons(tmp_path / "bad.parquet", shapes)
    check_refused(wide, path, SourceContentError, str(path), "column 'geometry'", "expected", *texts)


def test_files_without_crs_rows_or_geometry(wide: Warehouse, tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "no_crs.parquet", CIRCLES, crs=None)
    check_refused(wide, path, SourceFormatError, "CRS of column 'geometry'", "found none", "set_crs")
    path = write_polygons(tmp_path / "empty.parquet", [])
    check_refused(wide, path, SourceFormatError, "rows: found 0")
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    check_refused(wide, path, SourceFormatError, "no 'geo' record", "to_parquet")
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    check_refused(wide, path, SourceFormatError, "geometry: found none")
    check_refused(wide, tmp_path / "nowhere.parquet", SourceMissingError, "no such file")


@pytest.mark.parametrize("name", ["cut.parquet", "cut.geojson"])
def test_damaged_files(wide: Warehouse, tmp_path: Path, name: str) -> None:
    path = write_polygons(tmp_path / name, CIRCLES)
    path.write_bytes(path.read_bytes()[:700])
    check_refused(wide, path, SourceFormatError, str(path), "700 bytes")


def test_requests_that_cannot_be_met(wide: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_polygons(tmp_path / "p.parquet", CIRCLES, mean=list("abcde"))
    check_refused(wide, path, SourceMissingError, "raw_aef__index[2021]", "one of the years [2024]", year=2021)
    check_refused(wide, path, SourceMissingError, "found 'eg', expected one of ['aef']", product="eg")
    check_refused(wide, path, UnknownOperatorError, "found 'meen'", "Did you mean", "mean", operators=("meen",))
    check_refused(wide, path, FittedOperatorError, "vlad", operators=("mean", "vlad"))
    check_refused(wide, path, SourceFormatError, "id column 'parcel'", "--id-column", id_column="parcel")
    check_refused(wide, path, SourceFormatError, "'mean', which is a column of the output", id_column="mean")
    check_refused(wide, path, SourceFormatError, "the file of the polygons", output=path)
    check_refused(wide, path, SourceFormatError, "a folder", output=tmp_path)
    check_refused(wide, path, IsthmusError, "min_coverage", min_coverage=2.0)
    monkeypatch.setattr("transforms.pooling.polygons.MAX_GATHERED_PIXELS", 300)
    check_refused(
        wide, path, PolygonTooLargeError, "row 3: found about", "at most 300 for median_iqr", operators=("median_iqr",)
    )


def test_a_failure_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    warehouse = open_tree(tmp_path, overlap_deg=1.0)
    path = write_polygons(tmp_path / "p.parquet", CIRCLES)
    output = tmp_path / "out.parquet"
    output.write_bytes(b"old")
    raster = tmp_path / "aef" / f"annual/{YEAR}/48N/seam.tiff"
    raster.write_bytes(raster.read_bytes()[: raster.stat().st_size // 2])
    check_refused(warehouse, path, SourceFormatError, "48N/seam.tiff", "cut short", output=output)
    assert output.read_bytes() == b"old"
