from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine

from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from transforms import geohash
from transforms.label_rows import GivenSplit
from transforms.places import PatchPlaces, PixelPlaces
from transforms.utm import project, unproject
from warehouse.errors import MissingColumnsError, SourceFormatError
from warehouse.label_sources import ColumnLabels, RasterLabels, open_label_source
from warehouse.layout import ALL
from warehouse.settings import Settings
from warehouse.sources.files import stat_file
from warehouse.sources.patches import read_footprint_places
from warehouse.store import Warehouse

EPSG = 32648
YEAR = 2024
IDENTITY = dict.fromkeys(("title", "producer", "model", "grid_version", "licence", "attribution"), "x")
PRODUCTS = {
    "chips": {**IDENTITY, "grain": "patch", "layout": "patch_geoparquet", "dims": 2, "patch_m": 320.0},
    "points": {**IDENTITY, "grain": "pixel", "layout": "pixel_table", "dims": 2, "pixel_m": 10.0},
}
PRODUCTS["points"]["vector_columns"] = "A{:02d}"
CLASSES = {"water": 80, "tree": 10, "crop": 40}
RASTER = {"kind": "geotiff", "path": "labels/*.tif", "classes": CLASSES, "years": {YEAR: 2021}}


def open_warehouse(root: Path, label: dict[str, Any], files: dict[str, list[str]] | None = None) -> Warehouse:
    """Open a warehouse of chips and points whose indexes list the given files."""
    label = dict(label)
    if label["kind"] == "geotiff":
        label["path"] = root / label["path"]
    settings = Settings(
        name="tiny",
        years=(YEAR,),
        area={"shard_rule": "region"},
        sources={name: {"root": root / name} for name in PRODUCTS},
        compare={"pixels": "points", "patches": "chips"},
        labels={"cover": label},
        warehouse={"root": root / "wh"},
        dagster={"instance": root / "dagster"},
        products=PRODUCTS,
        limits={"min_free_mb": 0},
    )
    warehouse = Warehouse(settings)
    for product, paths in (files or {}).items():
        spec = warehouse.specs[f"raw_{product}__index"]
        rows = declared_rows(spec, len(paths), np.random.default_rng(0))
        columns = {"path": paths, "etag": ["e"] * len(paths), "is_simulated": [False] * len(paths)}
        for name, values in columns.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))
        warehouse.write(spec.name, ALL, rows, PROVENANCE)
    return warehouse


def write_raster(root: Path, name: str = "a.tif") -> Path:
    """Three stripes of 1 km from west to east: water, tree, and a code without a class."""
    codes = np.repeat(np.array([[80, 10, 99]], np.uint8), 100, axis=1).repeat(100, axis=0)
    path = root / "labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = Affine(10, 0, 300_000, 0, -10, 1_400_000)
    profile = {"driver": "GTiff", "count": 1, "height": 100, "width": 300, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=f"EPSG:{EPSG}", transform=affine, **profile) as file:
        file.write(codes[None])
    return path


def pixels_at(lon: list[float], lat: list[float]) -> PixelPlaces:
    x, y = project(lon, lat, EPSG)
    return PixelPlaces(
        geohash.pixel_keys(lon, lat, EPSG), np.array(lon), np.array(lat), np.full(len(lon), EPSG, np.int32), x, y
    )


def places_of(x_m: list[float], y_m: list[float]) -> tuple[PixelPlaces, PatchPlaces]:
    x, y = np.array(x_m, float), np.array(y_m, float)
    lon, lat = unproject(x, y, EPSG)
    return pixels_at(lon.tolist(), lat.tolist()), patches_at(lon.tolist(), lat.tolist())


def patches_at(lon: list[float], lat: list[float]) -> PatchPlaces:
    n = len(lon)
    x, y = project(lon, lat, EPSG)
    nowhere, codes = np.full(n, -1, np.int32), np.full(n, EPSG, np.int32)
    ids, own, side = geohash.encode(lon, lat), np.full(n, "own"), np.full(n, 320.0)
    return PatchPlaces(ids, own, nowhere, nowhere, np.array(lon), np.array(lat), codes, x, y, side)


def test_rasters_label_pixels(tmp_path: Path) -> None:
    write_raster(tmp_path)
    source = open_label_source(open_warehouse(tmp_path, RASTER), "cover")
    assert isinstance(source, RasterLabels)
    assert source.class_names == ("water", "tree", "crop")
    pixels, _ = places_of([300_005, 300_995, 301_005, 302_500, 299_000], [1_399_500] * 5)
    ids, split = source.label_pixels(pixels)
    assert ids.tolist() == [0, 0, 1, -1, -1]  # a code without a class, and a place outside, have no label
    assert ids.dtype == np.int16
    assert split.fold.tolist() == split.group.tolist() == [-1] * 5


def test_rasters_label_patches(tmp_path: Path) -> None:
    write_raster(tmp_path)
    source = open_label_source(open_warehouse(tmp_path, RASTER), "cover")
    _, patches = places_of([300_500, 301_080, 302_000, 310_000], [1_399_500] * 4)
    labels, split = source.label_patches(patches)
    assert labels.label.tolist() == [0, 1, 1, -1]
    # 160 m around 301,080 begin 80 m before the border: 8 of 32 columns are water
    np.testing.assert_allclose(labels.fractions[:3], [[1, 0, 0], [0.25, 0.75, 0], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(labels.valid_share, [1, 1, 0.5, 0])
    assert len(split.fold) == 4


def test_patches_are_sampled_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster(tmp_path)
    source = open_label_source(open_warehouse(tmp_path, RASTER), "cover")
    _, patches = places_of(np.linspace(300_200, 301_900, 7).tolist(), [1_399_500] * 7)
    whole, _ = source.label_patches(patches)
    monkeypatch.setattr("warehouse.label_sources._PATCHES_AT_ONCE", 3)
    parts, _ = source.label_patches(patches)
    np.testing.assert_array_equal(parts.fractions, whole.fractions)
    assert len(set(whole.label.tolist())) == 2
    none, _ = source.label_patches(patches.take(np.arange(0)))
    assert none.fractions.shape == (0, 3)


def test_provenance_of_rasters(tmp_path: Path) -> None:
    path = write_raster(tmp_path)
    label = {**RASTER, "title": "Cover 2021", "attribution": "By them."}
    record = open_label_source(open_warehouse(tmp_path, label), "cover").provenance(["core_grid__patches"])
    assert (record.product, record.release, record.attribution) == ("cover", "Cover 2021", ("By them.",))
    assert [(file.path, file.etag) for file in record.sources] == [("a.tif", stat_file(path).etag)]
    assert record.inputs == ("core_grid__patches",)
    assert record.is_simulated is False


@pytest.mark.parametrize("is_marked", [True, False])
def test_simulated_rasters_say_so(tmp_path: Path, is_marked: bool) -> None:
    write_raster(tmp_path)
    if is_marked:
        (tmp_path / "SIMULATED.json").write_text("{}")
    source = open_label_source(open_warehouse(tmp_path, RASTER), "cover")
    assert source.is_simulated == source.provenance([]).is_simulated == is_marked


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
    labels, split = open_label_source(warehouse, "cover").label_patches(places)
    return labels.label.tolist(), split


def test_columns_label_the_patches_of_their_own_rows(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1, 103.2, 103.3, 103.4], kind=["L", "S", "?", None])
    warehouse = open_warehouse(tmp_path, column_label("chips"), {"chips": ["a.parquet"]})
    source = open_label_source(warehouse, "cover")
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
    source = open_label_source(open_warehouse(tmp_path, column_label("chips"), {"chips": ["a.parquet"]}), "cover")
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
    ids, split = open_label_source(warehouse, "cover").label_pixels(places)
    assert ids.tolist() == [-1, 0, 1, -1]
    assert ids.dtype == np.int16
    assert len(split.fold) == 4


def test_numbers_that_were_read_as_floats_are_still_codes(tmp_path: Path) -> None:
    # one empty cell makes pandas write 4 as 4.0
    write_points(tmp_path, "a.csv", [103.1, 103.2, 103.3], dw=[4.0, None, 0.0])
    label = column_label("points", column="dw", classes={"water": 0, "crops": 4})
    warehouse = open_warehouse(tmp_path, label, {"points": ["a.csv"]})
    ids, _ = open_label_source(warehouse, "cover").label_pixels(pixels_at([103.1, 103.2, 103.3], [12.5] * 3))
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
    source = open_label_source(open_warehouse(tmp_path, column_label("chips"), {"chips": ["b.parquet"]}), "cover")
    labels, _ = source.label_patches(patches_at([103.15], [12.5]))
    assert labels.label.tolist() == [-1]


def test_provenance_of_columns(tmp_path: Path) -> None:
    write_chips(tmp_path, "a.parquet", [103.1], kind=["L"])
    warehouse = open_warehouse(tmp_path, column_label("chips"), {"chips": ["a.parquet"]})
    record = open_label_source(warehouse, "cover").provenance(["core_chips__patches"])
    assert (record.product, record.release, record.attribution) == ("cover", "cover", ())
    assert [(file.path, file.etag) for file in record.sources] == [("a.parquet", "e")]
    assert record.is_simulated is False
