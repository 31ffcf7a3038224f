from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from tests.warehouse.labels.label_worlds import YEAR, open_warehouse, patches_at, pixels_at, write_index
from transforms import geohash
from transforms.label_rows import GivenSplit
from transforms.places import PatchPlaces, PixelPlaces
from warehouse.errors import MissingColumnsError, SourceFormatError
from warehouse.label_sources import open_patch_labels, open_pixel_labels, open_values
from warehouse.labels.columns import ColumnLabels
from warehouse.settings import load_settings
from warehouse.sources.patches import read_footprint_places
from warehouse.sources.pixel_table import read_points
from warehouse.store import Warehouse
from warehouse.warehouse_settings import WarehouseSettings


def column_label(product: str, **changes: Any) -> dict[str, Any]:
    label = {"kind": "column", "product": product, "column": "kind", "years": {YEAR: YEAR}}
    return label | {"classes": {"sea": "S", "land": "L"}} | changes


def write_chips(root: Path, name: str, lon: list[float], **columns: list[Any]) -> None:
    path = root / "chips" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = geopandas.GeoDataFrame(columns, geometry=geopandas.points_from_xy(lon, [12.5] * len(lon)), crs="EPSG:4326")
    frame.to_parquet(path)
    vectors = pa.array([[0.0, 1.0]] * len(lon), pa.list_(pa.float32()))  # empty lists would have no type in pandas
    pq.write_table(pq.read_table(path).append_column("embedding", vectors), path)


def chip_places(warehouse: Warehouse) -> PatchPlaces:
    """Places of all chips, as the spine has them."""
    index = warehouse.read("raw_chips__index")
    return read_footprint_places(warehouse.products["chips"], warehouse.source("chips"), index)


def write_points(root: Path, name: str, lon: list[float], **columns: list[Any]) -> None:
    path = root / "points" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    n = len(lon)
    csv.write_csv(pa.table({"A00": [0.6] * n, "A01": [0.8] * n, "lon": lon, "lat": [12.5] * n, **columns}), path)


def label_chips(root: Path, label: dict[str, Any], paths: list[str]) -> tuple[list[int], GivenSplit]:
    """Label all chips; in the order of their longitudes."""
    warehouse = open_warehouse(root, label, {"chips": paths})
    places = chip_places(warehouse)
    places = places.take(np.argsort(places.lon))
    labels, split = open_patch_labels(warehouse, "cover").label_patches(places)
    return labels.label.tolist(), split


def test_columns_label_the_patches_of_their_own_rows(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1, 103.2, 103.3, 103.4], kind=["L", "S", "?", None])
    warehouse = open_warehouse(tmp_path, column_label("chips"), {"chips": ["a.parquet"]})
    source = open_patch_labels(warehouse, "cover")
    assert isinstance(source, ColumnLabels)
    assert source.class_names == ("sea", "land")
    places = chip_places(warehouse)
    mixed = places.take(np.argsort(places.lon)[[2, 0, 3, 1]])
    labels, split = source.label_patches(mixed)
    assert labels.label.tolist() == [-1, 1, -1, 0]
    assert labels.purity[[1, 3]].tolist() == [1, 1]
    np.testing.assert_array_equal(labels.fractions[1], [0, 1])
    assert labels.valid_share.tolist() == [0, 1, 0, 1]
    assert split.fold.tolist() == split.group.tolist() == [-1] * 4


def test_places_that_the_table_does_not_have_are_unlabelled(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1], kind=["L"])
    source = open_patch_labels(open_warehouse(tmp_path, column_label("chips"), {"chips": ["a.parquet"]}), "cover")
    labels, split = source.label_patches(patches_at([103.15, 103.6], [12.5, 12.5]))
    assert labels.label.tolist() == split.fold.tolist() == split.group.tolist() == [-1, -1]


def test_the_first_row_of_a_place_wins_files_by_path(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1, 103.1], kind=["L", "S"], part=[1, 2])
    write_chips(tmp_path, "b.parquet", [103.1, 103.2], kind=["S", "S"], part=[3, 4])
    ids, split = label_chips(tmp_path, column_label("chips", fold_column="part"), ["b.parquet", "a.parquet"])
    assert ids == [1, 0]
    assert split.fold.tolist() == [1, 4]


def test_published_folds_and_groups_come_along(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1, 103.2, 103.3], kind=["L", "S", "S"], fold=[2, None, 0], who=[7, 8, None])
    label = column_label("chips", fold_column="fold", group_column="who")
    _, split = label_chips(tmp_path, label, ["a.parquet"])
    assert split.fold.tolist() == [2, -1, 0]
    assert split.group.tolist() == [7, 8, -1]
    assert (split.fold.dtype, split.group.dtype) == (np.int16, np.int32)


def test_columns_label_listed_pixels(tmp_path: Path) -> None:
    write_points(tmp_path, "a.csv", [103.1, 103.2, 103.3], dw=[4, 0, 9])
    label = column_label("points", column="dw", classes={"water": 0, "crops": 4})
    warehouse = open_warehouse(tmp_path, label, {"points": ["a.csv"]})
    places = pixels_at([103.3, 103.2, 103.1, 103.9], [12.5] * 4)
    ids, split = open_pixel_labels(warehouse, "cover").label_pixels(places)
    assert ids.tolist() == [-1, 0, 1, -1]
    assert ids.dtype == np.int16
    assert len(split.fold) == 4


def test_numbers_that_were_read_as_floats_are_still_codes(tmp_path: Path) -> None:
    # one empty cell makes pandas write 4 as 4.0
    write_points(tmp_path, "a.csv", [103.1, 103.2, 103.3], dw=[4.0, None, 0.0])
    label = column_label("points", column="dw", classes={"water": 0, "crops": 4})
    warehouse = open_warehouse(tmp_path, label, {"points": ["a.csv"]})
    ids, _ = open_pixel_labels(warehouse, "cover").label_pixels(pixels_at([103.1, 103.2, 103.3], [12.5] * 3))
    assert ids.tolist() == [1, -1, 0]


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1], kind=["L"])
    label = column_label("chips", column="class", fold_column="fold", group_column="kind")
    expected = r"a\.parquet: columns 'class', 'fold' are missing; found .*'kind'"
    with pytest.raises(MissingColumnsError, match=expected) as caught:
        label_chips(tmp_path, label, ["a.parquet"])
    assert "Correct labels.cover." in str(caught.value)


def test_a_class_map_that_fits_no_value_is_refused(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1, 103.2], kind=["Sea", "Land"])
    expected = r"label column 'kind': found values \['Land', 'Sea'\], expected \['S', 'L'\].*labels\.cover\.classes"
    with pytest.raises(SourceFormatError, match=expected):
        label_chips(tmp_path, column_label("chips"), ["a.parquet"])


def test_files_without_any_label_are_read(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1, 103.2], kind=["L", "S"])
    write_chips(tmp_path, "b.parquet", [103.3, 103.4], kind=[None, None])
    assert label_chips(tmp_path, column_label("chips"), ["a.parquet", "b.parquet"])[0] == [1, 0, -1, -1]


def test_empty_files_label_nothing(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1], kind=["L"])
    write_chips(tmp_path, "b.parquet", [], kind=[])
    assert label_chips(tmp_path, column_label("chips"), ["a.parquet", "b.parquet"])[0] == [1]


def test_a_table_without_rows_labels_nothing(tmp_path: Path) -> None:
    write_chips(tmp_path, "b.parquet", [], kind=[])
    source = open_patch_labels(open_warehouse(tmp_path, column_label("chips"), {"chips": ["b.parquet"]}), "cover")
    labels, _ = source.label_patches(patches_at([103.15], [12.5]))
    assert labels.label.tolist() == [-1]


def test_provenance_of_columns(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1], kind=["L"])
    warehouse = open_warehouse(tmp_path, column_label("chips"), {"chips": ["a.parquet"]})
    record = open_patch_labels(warehouse, "cover").provenance(["core_chips__patches"])
    assert (record.product, record.release, record.attribution) == ("cover", "cover", ())
    assert [(file.path, file.etag) for file in record.sources] == [("a.parquet", "e")]
    assert record.is_simulated is False


RADAR = {"kind": "column", "product": "points", "columns": ("VV", "VH"), "years": {YEAR: YEAR}}


def test_numbers_stand_at_the_places_of_their_rows(tmp_path: Path) -> None:
    write_points(tmp_path, "a.csv", [103.1, 103.2, 103.3], VV=[-8.5, None, 1], VH=[-15, -16, 2], fold=[2, 1, 0])
    warehouse = open_warehouse(tmp_path, RADAR | {"fold_column": "fold"}, {"points": ["a.csv"]})
    source = open_values(warehouse, "cover")
    values, split = source.value_pixels(pixels_at([103.3, 103.2, 103.1, 103.9], [12.5] * 4))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [[1, 2], [np.nan, -16], [-8.5, -15], [np.nan, np.nan]])
    assert split.fold.tolist() == [0, 1, 2, -1]
    assert [file.path for file in source.provenance([]).sources] == ["a.csv"]


def test_infinite_numbers_are_nodata(tmp_path: Path) -> None:
    write_points(tmp_path, "a.csv", [103.1], VV=[float("inf")], VH=[float("nan")])
    source = open_values(open_warehouse(tmp_path, RADAR, {"points": ["a.csv"]}), "cover")
    assert np.isnan(source.value_pixels(pixels_at([103.1], [12.5]))[0]).all()


def test_text_is_no_number(tmp_path: Path) -> None:
    write_points(tmp_path, "a.csv", [103.1], VV=["high"], VH=[1.0])
    source = open_values(open_warehouse(tmp_path, RADAR, {"points": ["a.csv"]}), "cover")
    with pytest.raises(SourceFormatError, match=r"labels\.cover: found \['VV \(string\)'\], expected numbers"):
        source.value_pixels(pixels_at([103.1], [12.5]))


def test_a_source_of_numbers_has_a_table_of_its_own_kind(tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path, RADAR)
    schema = warehouse.specs["core_label_cover__pixels"].schema
    assert schema.field("values").type == pa.list_(pa.float32(), 2)
    assert "label" not in schema.names
    assert "core_label_cover__patches" not in warehouse.specs


def test_real_radar_of_alphaearth_points(tmp_path: Path, real_data: Path) -> None:
    settings = load_settings(Path(__file__).resolve().parents[3] / "examples" / "dynamic_world_points.toml")
    source = settings.sources["aef_table"].model_copy(update={"root": real_data / "aef_points"})
    changes = {"sources": {"aef_table": source}, "warehouse": WarehouseSettings(root=tmp_path)}
    warehouse = Warehouse(settings.model_copy(update=changes))
    path = next(source.root.glob("*iowa*.csv"))
    write_index(warehouse, "aef_table", [path.name])
    points, extra = read_points(path, warehouse.products["aef_table"])
    keys = geohash.pixel_keys(points.lon, points.lat, points.epsg)
    places = PixelPlaces(keys, points.lon, points.lat, points.epsg, points.x_m, points.y_m)
    radar = open_values(warehouse, "sentinel1")
    values, _ = radar.value_pixels(places)
    np.testing.assert_allclose(values, np.stack([extra["S1_VV"], extra["S1_VH"]], axis=1), rtol=1e-6)
    assert (values[:, 0] > values[:, 1]).mean() > 0.9  # the co-polarised echo is the stronger one
    assert any("trained on 'sentinel1'" in note for note in radar.provenance([]).notes)
