from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from warehouse.errors import MissingColumnsError, SourceContentError, SourceFormatError, SourceMissingError
from warehouse.sources.label_vectors import read_label_layers

CLASSES = {"crop": "C", "forest": "F"}
BOW_TIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
SPIKE = shapely.Polygon([(0, 0), (2, 0), (1, 0)])


def write(path: Path, shapes: list, kinds: list | None = None, crs: str | None = "EPSG:4326") -> Path:
    columns = {} if kinds is None else {"kind": kinds}
    frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.geojson", "a.gpkg"])
def test_files_of_any_format_are_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)], ["F", "C"])
    (layer,) = read_label_layers(path, "kind", CLASSES)
    assert layer.ids.tolist() == [1, 0]
    assert layer.find(np.array([0.5, 5.5, 9.0]), np.array([0.5, 5.5, 9.0])).tolist() == [0, 1, -1]
    assert layer.notes == ()
    assert not layer.is_points


def test_places_are_brought_to_the_crs_of_the_file(tmp_path: Path) -> None:
    box = shapely.box(500_000, 1_400_000, 501_000, 1_401_000)
    (layer,) = read_label_layers(write(tmp_path / "a.parquet", [box], crs="EPSG:32648"), None, CLASSES, "forest")
    assert layer.ids.tolist() == [1]
    assert layer.find(np.array([105.001, 104.999]), np.array([12.667, 12.667])).tolist() == [0, -1]


def test_polygons_beyond_the_antimeridian_hold_their_places(tmp_path: Path) -> None:
    (layer,) = read_label_layers(write(tmp_path / "a.parquet", [shapely.box(179, 0, 181, 1)]), None, CLASSES, "crop")
    assert layer.find(np.array([179.5, -179.5, -178.5]), np.array([0.5] * 3)).tolist() == [0, 0, -1]


def test_points_come_out_in_degrees(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [shapely.Point(500_000, 0)], ["C"], crs="EPSG:32648")
    (layer,) = read_label_layers(path, "kind", CLASSES)
    assert layer.is_points
    lon, lat = layer.points()
    assert (lon.round(6).tolist(), lat.round(6).tolist()) == ([105.0], [0.0])


def test_values_without_a_class_are_counted_and_lose_to_those_with_one(tmp_path: Path) -> None:
    big, small = shapely.box(0, 0, 9, 9), shapely.box(1, 1, 2, 2)
    path = write(tmp_path / "a.parquet", [big, big, small], ["?", None, "F"])
    (layer,) = read_label_layers(path, "kind", CLASSES)
    assert layer.ids.tolist() == [1, -1, -1]
    assert layer.find(np.array([1.5, 5.0]), np.array([1.5, 5.0])).tolist() == [0, 1]
    (note,) = layer.notes
    assert "2 of 3 features have a 'kind' without a class (?, NULL): no label" in note


def test_unsound_rings_are_mended_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [shapely.box(5, 5, 6, 6), BOW_TIE])
    (layer,) = read_label_layers(path, None, CLASSES, "crop")
    assert shapely.is_valid(layer.geometry).all()
    assert layer.notes == ("a.parquet: unsound rings in row 1 were mended, the first: Self-intersection[1 1]",)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([shapely.box(0, 0, 1, 1), None, shapely.Polygon()], r"no geometry in rows 1, 2"),
        ([shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (1, 1)])], r"LineString in row 1, expected polygons"),
        ([shapely.box(0, 0, 1, 1), shapely.Point(0, 0)], r"polygons, and points in row 1, expected one kind"),
        ([shapely.box(0, 0, 1, 1), SPIKE], r"polygons without an area in row 1"),
    ],
)
def test_features_that_label_nothing_are_refused(tmp_path: Path, shapes: list, expected: str) -> None:
    path = write(tmp_path / "a.parquet", shapes)
    with pytest.raises(SourceContentError, match=expected):
        read_label_layers(path, None, CLASSES, "crop")


def test_files_of_two_kinds_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [shapely.box(0, 0, 1, 1)])
    write(tmp_path / "b.parquet", [shapely.Point(0, 0)])
    with pytest.raises(SourceContentError, match="files of polygons and files of points"):
        read_label_layers(tmp_path / "*.parquet", None, CLASSES, "crop")


def test_a_class_map_that_fits_no_value_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [shapely.box(0, 0, 1, 1)] * 2, ["Wood", "Field"])
    with pytest.raises(SourceFormatError, match=r"'kind': found values \['Field', 'Wood'\], expected \['C', 'F'\]"):
        read_label_layers(path, "kind", CLASSES)


def test_missing_files_columns_and_crs_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match=r"label features .*none\.parquet"):
        read_label_layers(tmp_path / "none.parquet", None, CLASSES, "crop")
    path = write(tmp_path / "a.parquet", [shapely.box(0, 0, 1, 1)], ["C"])
    with pytest.raises(MissingColumnsError, match=r"'type' is missing; found .*'kind'"):
        read_label_layers(path, "type", CLASSES)
    bare = write(tmp_path / "b.parquet", [shapely.box(0, 0, 1, 1)], crs=None)
    with pytest.raises(SourceFormatError, match="CRS of column 'geometry': found none"):
        read_label_layers(bare, None, CLASSES, "crop")
