from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from tests.warehouse.labels.label_worlds import YEAR, open_warehouse, patches_at, pixels_at
from transforms.label_rows import GivenSplit
from transforms.places import PatchPlaces
from warehouse.errors import MissingColumnsError, SourceFormatError
from warehouse.label_sources import open_patch_labels, open_pixel_labels
from warehouse.labels.columns import ColumnLabels
from warehouse.sources.patches import read_footprint_places
from warehouse.store import Warehouse


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
