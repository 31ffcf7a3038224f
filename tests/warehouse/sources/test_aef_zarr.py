"""The Zarr mosaic behind the contract of the COG tree: windows in metres, codes unchanged, one error per fault."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from affine import Affine

from tests.documented import documented
from transforms.area import area_of_boxes
from transforms.degree_grid import DegreeGrid
from transforms.errors import IsthmusError
from transforms.pooling.pooler import PatchPooler
from transforms.quantization import NODATA, dequantize, quantize
from transforms.utm import UtmBox, project, unproject
from transforms.windows import PixelWindow
from warehouse.errors import (
    BandCountError,
    MissingPackageError,
    SourceContentError,
    SourceFormatError,
    SourceMissingError,
)
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources import open_pixel_source
from warehouse.sources.aef_zarr import AefZarrSource
from warehouse.sources.index import read_index
from warehouse.sources.mosaic_store import ARRAY, open_mosaic
from warehouse.sources.raster_source import RasterSource
from warehouse.world_mosaic import create_store

STEP = 8.983111749910169e-05
EPSG = 32648
#: 512 x 512 pixels near 104 E, 12.6 N, on the published grid.
GRID = DegreeGrid(-180.0 + 3_161_600 * STEP, 83.68570533713473 - 791_040 * STEP, STEP, 512, 512)
YEARS = (2023, 2024)
#: A full turn of the vectors of the smooth world.
TURN_M = 2_000.0


def smooth_vectors(x_m: np.ndarray, y_m: np.ndarray) -> np.ndarray:
    """Unit vectors (64, n) that turn by a full circle in 2 km to the east and in 3 km to the north."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((64, 4)))[0].T
    east, north = 2 * np.pi * np.asarray(x_m) / TURN_M, 2 * np.pi * np.asarray(y_m) / (1.5 * TURN_M)
    parts = np.stack([np.cos(east), np.sin(east), np.cos(north), np.sin(north)]) / np.sqrt(2)
    return axes.T @ parts


def smooth_codes(x_m: np.ndarray, y_m: np.ndarray) -> np.ndarray:
    """Codes of the 10 m pixels that hold some places."""
    return quantize(smooth_vectors(np.floor(x_m / 10) * 10 + 5, np.floor(y_m / 10) * 10 + 5).T.astype(np.float32)).T


@pytest.fixture(scope="session")
def smooth_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the smooth world, resampled to the nearest pixel of zone 48; nothing in the north-west shard."""
    root = tmp_path_factory.mktemp("mosaic") / "aef-mosaic"
    array = create_store(root, GRID, YEARS, shard_px=256, chunk_px=128)
    rows, cols = slice(0, GRID.height), slice(0, GRID.width)
    lon, lat = np.meshgrid(*GRID.centers(rows, cols))
    codes = smooth_codes(*project(lon.ravel(), lat.ravel(), EPSG)).reshape(64, GRID.height, GRID.width)
    codes[:, :256, :256] = NODATA
    array[1] = codes
    return root


@pytest.fixture
def store(smooth_store: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(smooth_store, tmp_path / "aef-mosaic")


@pytest.fixture
def product(products: dict[str, Product]) -> Product:
    return products["aef_mosaic"]


def open_source(product: Product, root: Path) -> RasterSource:
    settings = SourceSettings(root=root)
    index = read_index(product, settings, YEARS)
    source = open_pixel_source(product, settings, index)
    assert isinstance(source, AefZarrSource)
    return source


def box_of(fraction: tuple[float, float, float, float]) -> UtmBox:
    """A box of zone 48 in shares of the grid: west, south, east, north."""
    west, south, east, north = GRID.bbox(slice(0, GRID.height), slice(0, GRID.width))
    lon = west + np.array(fraction[0::2]) * (east - west)
    lat = south + np.array(fraction[1::2]) * (north - south)
    x, y = project(lon, lat, EPSG)
    return UtmBox(EPSG, float(x[0]), float(y[0]), float(x[1]), float(y[1]))


# -- the contract -----------------------------------------------------------------------------------------------------


def test_windows_lie_on_the_grid_of_the_cog_tree_and_cover_what_was_planned(product, smooth_store):
    source = open_source(product, smooth_store)
    boxes = [box_of((0.6, 0.1, 0.9, 0.3)), box_of((0.1, 0.1, 0.3, 0.3))]
    plan = source.plan_blocks(2024, boxes, 128)
    windows = list(source.read_blocks(plan))
    assert [block.extent for block in plan] == [window.bounds for window in windows]
    for window in windows:
        assert window.affine.a == -window.affine.e == 10.0
        assert window.affine.c % 1280 == 0
        assert window.affine.f % 1280 == 10_000_000 % 1280
        assert window.values.shape == (64, 128, 128)
        assert window.values.dtype == np.int8
    area = sum((w.bounds.east - w.bounds.west) * (w.bounds.north - w.bounds.south) for w in windows)
    assert area == len(plan) * 1280**2
    assert len({(w.affine.c, w.affine.f) for w in windows}) == len(plan)
    assert [w.bounds for w in source.iter_blocks(2024, boxes, 128)] == [w.bounds for w in windows]


def test_pixels_have_the_codes_of_the_cog_tree(product, smooth_store):
    window = open_source(product, smooth_store).read_place(2024, box_of((0.55, 0.1, 0.95, 0.45)), box_of((0, 0, 1, 1)))
    x, y = np.meshgrid(*window.centers())
    expected = smooth_codes(x.ravel(), y.ravel()).reshape(window.values.shape)
    is_same = (window.values == expected).all(axis=0)
    assert is_same.mean() >= 0.999
    # the rest is the code of the pixel beside: the field turns by at most 4 mrad a metre, codes round by 0.015
    steepest = 2 * np.pi / TURN_M / np.sqrt(2) * np.hypot(1, 1 / 1.5)
    difference = np.linalg.norm(window.vectors() - np.moveaxis(dequantize(expected), 0, -1), axis=-1)
    assert difference.max() <= steepest * 10.0 + 0.03
    known = {code.tobytes() for code in open_mosaic(smooth_store, product).array[1].reshape(64, -1).T}
    assert {code.tobytes() for code in window.values.reshape(64, -1).T} <= known


def test_pooled_vectors_agree_with_those_of_the_cog_tree(product, smooth_store):
    boxes = np.array([[b.west, b.south, b.west + 320, b.south + 320] for b in _patch_corners()])
    pooled = _pool(open_source(product, smooth_store).iter_blocks(2024, [box_of((0.5, 0.02, 1.0, 1.0))], 128), boxes)
    reference = _pool([_cog_window(boxes)], boxes)
    difference = np.linalg.norm(pooled["mean"] - reference["mean"], axis=1)
    cosine = (pooled["mean_renormalised"] * reference["mean_renormalised"]).sum(axis=1)
    assert len(difference) == len(boxes)
    # stated in docs/sources.md
    assert difference.max() <= 1e-3
    assert cosine.min() >= 1 - 1e-6
    assert np.abs(pooled["mean_length"] - reference["mean_length"]).max() <= 1e-4


def _patch_corners() -> list[UtmBox]:
    rng = np.random.default_rng(1)
    return [
        box_of((e, n, 0.99, 0.99)) for e, n in zip(rng.uniform(0.52, 0.9, 40), rng.uniform(0.05, 0.9, 40), strict=True)
    ]


def _pool(windows: Any, boxes: np.ndarray) -> dict[str, np.ndarray]:
    pooler = PatchPooler(boxes, EPSG, 64, ["mean", "mean_renormalised", "mean_length"], min_coverage=1.0)
    for window in windows:
        pooler.add(window)
    pooled = pooler.finish()
    order = np.argsort(pooled.index)
    return {name: column[order] for name, column in pooled.columns.items()}


def _cog_window(boxes: np.ndarray) -> PixelWindow:
    """What the COG tree would give: the same world at the centres of UTM pixels."""
    west, south = np.floor(boxes[:, :2].min(axis=0) / 10) * 10
    east, north = np.ceil(boxes[:, 2:].max(axis=0) / 10) * 10
    x, y = np.meshgrid(np.arange(west, east, 10) + 5, np.arange(north, south, -10) - 5)
    codes = smooth_codes(x.ravel(), y.ravel()).reshape(64, *x.shape)
    return PixelWindow(codes, np.ones(x.shape, bool), Affine(10, 0, west, 0, -10, north), EPSG, "made")


def test_a_window_of_the_zone_beside_shows_the_same_ground(product, tmp_path):
    # 102 E is the edge of zones 47 and 48
    edge = DegreeGrid(102.0 - 64 * STEP, 12.6, STEP, 128, 128)
    rows, cols = slice(0, 128), slice(0, 128)
    lon, lat = np.meshgrid(*edge.centers(rows, cols))
    array = create_store(tmp_path, edge, [2024], shard_px=128, chunk_px=128)
    array[0] = smooth_codes(*project(lon.ravel(), lat.ravel(), EPSG)).reshape(64, 128, 128)
    source = open_source(product, tmp_path)
    x, y = project([102.0, 102.003], [12.592, 12.597], 32647)
    box = UtmBox(32647, float(x[0]), float(y[0]), float(x[1]), float(y[1]))
    window = source.read_place(2024, box, box)
    assert window.epsg == 32647
    assert window.valid.all()
    center_x, center_y = np.meshgrid(*window.centers())
    home = project(*unproject(center_x.ravel(), center_y.ravel(), 32647), EPSG)
    moved = np.linalg.norm(window.vectors().reshape(-1, 64) - smooth_vectors(*home).T, axis=1)
    steepest = 2 * np.pi / TURN_M / np.sqrt(2) * np.hypot(1, 1 / 1.5)
    assert moved.max() <= steepest * 14.2 + 0.03


def test_ground_without_a_stored_file_or_beyond_the_grid_is_nodata(product, smooth_store):
    source = open_source(product, smooth_store)
    window = source.read_place(2024, box_of((-0.1, 0.3, 0.6, 1.1)), box_of((0, 0, 1, 1)))
    lon, lat = unproject(*np.meshgrid(*window.centers()), EPSG)
    row = np.floor((GRID.north - lat) / STEP)
    col = np.floor((lon - GRID.west) / STEP)
    has_data = (row >= 0) & (col >= 0) & (row < 512) & (col < 512) & ((row >= 256) | (col >= 256))
    assert np.array_equal(window.valid, has_data)
    assert (window.values[:, ~window.valid] == NODATA).all()
    assert np.isnan(window.vectors()[~window.valid]).all()
    empty = source.read_place(2023, box_of((0.6, 0.1, 0.7, 0.2)), box_of((0, 0, 1, 1)))
    assert not empty.valid.any()


def test_a_pixel_that_is_nodata_in_some_bands_is_refused(product, store):
    array = _writable(store)
    codes = np.asarray(array[1, :, 384:512, 384:512])
    codes[7] = NODATA
    array[1, :, 384:512, 384:512] = codes
    source = open_source(product, store)
    with pytest.raises(SourceContentError, match=r"mixed nodata bands: found .* with 1 of 64 bands"):
        list(source.iter_blocks(2024, [box_of((0.8, 0.05, 0.9, 0.2))], 128))


# -- the index --------------------------------------------------------------------------------------------------------


def test_the_index_has_a_row_for_each_year_and_stored_file_of_the_area(product, smooth_store):
    index = read_index(product, SourceSettings(root=smooth_store), [2022, 2023, 2024])
    assert index["year"].to_pylist() == [2024] * 3
    assert index["path"].to_pylist() == [f"{ARRAY}/c/1/0/{at}" for at in ("0/1", "1/0", "1/1")]
    assert index["tile"].to_pylist() == ["r0000c0001", "r0001c0000", "r0001c0001"]
    assert index["epsg"].null_count == 3
    assert index["etag"].null_count == 0
    assert all((smooth_store / path).stat().st_size == size for path, size in
               zip(index["path"].to_pylist(), index["size_bytes"].to_pylist(), strict=True))  # fmt: skip
    west, _, _, north = GRID.bbox(slice(0, 1), slice(0, 1))
    assert index["west_deg"][1].as_py() == pytest.approx(west)
    assert index["north_deg"][0].as_py() == pytest.approx(north)
    source = SourceSettings(root=smooth_store)
    corner = area_of_boxes([(west + 300 * STEP, north - 310 * STEP, west + 301 * STEP, north - 300 * STEP)])
    assert read_index(product, source, YEARS, corner)["tile"].to_pylist() == ["r0001c0001"]
    assert len(read_index(product, source, YEARS, area_of_boxes([(0.0, 0.0, 1.0, 1.0)]))) == 0


def test_a_shard_that_is_written_again_has_another_etag(product, store):
    before = read_index(product, SourceSettings(root=store), YEARS)
    array = _writable(store)
    array[1, :, 256:512, 256:512] = np.full((64, 256, 256), 3, np.int8)
    after = read_index(product, SourceSettings(root=store), YEARS)
    changed = [a != b for a, b in zip(before["etag"].to_pylist(), after["etag"].to_pylist(), strict=True)]
    assert changed == [False, False, True]


def test_the_published_shards_are_read_by_their_metadata(product, tmp_path):
    """A shard put together by hand: chunks, then an index of 16 x 16 (offset, bytes), then its CRC-32C."""
    import google_crc32c

    grid = DegreeGrid(GRID.west, GRID.north, STEP, 4096, 4096)
    create_store(tmp_path, grid, [2024], shard_px=4096, chunk_px=256)
    codes = np.full((64, 256, 256), 9, np.int8)
    chunk = pa.Codec("zstd").compress(codes.tobytes(), asbytes=True)
    entries = np.full((16, 16, 2), 2**64 - 1, "<u8")
    entries[1, 2] = (0, len(chunk))
    checksum = int(google_crc32c.value(entries.tobytes())).to_bytes(4, "little")
    shard = tmp_path / ARRAY / "c/0/0/0/0"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(chunk + entries.tobytes() + checksum)
    mosaic = open_mosaic(tmp_path, product)
    assert mosaic.shard_px == (4096, 4096)
    assert mosaic.array.chunks == (1, 64, 256, 256)
    found = mosaic.read(2024, slice(255, 257), slice(511, 513))
    assert found[:, 1, 1].tolist() == [9] * 64
    assert (found.reshape(64, -1)[:, :3] == NODATA).all()


# -- years ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "units"),
    [
        ([2023, 2024], None),
        ([19358, 19723], "days since 1970-01-01"),
        ([1672531200, 1704067200], "seconds since 1970-01-01T00:00:00"),
    ],
)
def test_years_come_from_the_time_coordinate_in_any_of_its_forms(product, store, values, units):
    import zarr

    group = zarr.open_group(store, mode="a")
    time = group.create_array("time", shape=(2,), dtype="int64", overwrite=True)
    time[:] = np.array(values)
    if units is not None:
        time.attrs["units"] = units
    assert open_mosaic(store, product).years == (2023, 2024)


def test_a_year_that_the_store_lacks_is_named_with_those_it_has(product, smooth_store):
    with pytest.raises(SourceMissingError, match=r"no year 2019.*expected one of \[2023, 2024\]"):
        read_index(product, SourceSettings(root=smooth_store), [2019])
    with pytest.raises(SourceMissingError, match="no year 2019"):
        open_source(product, smooth_store).plan_blocks(2019, [box_of((0, 0, 1, 1))])


# -- bad stores -------------------------------------------------------------------------------------------------------


def _writable(root: Path) -> Any:
    import zarr

    return zarr.open_group(root, mode="a")[ARRAY]


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


def _set_attribute(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(metadata: dict[str, Any]) -> None:
        metadata["attributes"][name] = value

    return change


AFFINE = [STEP, 0.0, GRID.west, 0.0, -STEP, GRID.north]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(data_type="int16"), "data type: found int16, expected int8"),
        (lambda m: m.update(fill_value=0), "fill value: found 0, expected -128"),
        (lambda m: m.update(dimension_names=["time", "band", "x", "y"]), "axes: found"),
        (lambda m: m["attributes"].pop("proj:code"), r"CRS \(attribute 'proj:code'\): found None, expected EPSG:4326"),
        (_set_attribute("proj:code", "EPSG:6933"), r"found EPSG:6933, expected EPSG:4326"),
        (lambda m: m["attributes"].pop("spatial:transform"), "found None, expected six numbers"),
        (_set_attribute("spatial:transform", [1e-4, 0, 0, 0, -1e-4, 80]), r"pixel size: found 0.0001 degrees"),
        (_set_attribute("spatial:transform", [STEP, 0, 0, 0, STEP, -80]), "row 0 the northernmost"),
        (_set_attribute("spatial:transform", [STEP, 1, 0, 0, -STEP, 80]), "no rotation"),
    ],
)  # fmt: skip
def test_a_store_of_another_layout_is_one_error_that_says_how_it_differs(product, store, change, message):
    _edit(store / ARRAY / "zarr.json", change)
    with pytest.raises(SourceFormatError, match=message) as caught:
        open_mosaic(store, product)
    assert str(store) in str(caught.value)
    assert "Is this another mosaic or release?" in str(caught.value)


def test_all_that_differs_is_in_one_message(product, store):
    def change(metadata: dict[str, Any]) -> None:
        metadata["fill_value"] = 0
        metadata["attributes"]["proj:code"] = "EPSG:3857"

    _edit(store / ARRAY / "zarr.json", change)
    with pytest.raises(SourceFormatError, match=r"fill value, CRS.*found 0, EPSG:3857, expected -128, EPSG:4326"):
        open_mosaic(store, product)


def test_attributes_of_the_group_serve_where_the_array_has_none(product, store):
    _edit(store / ARRAY / "zarr.json", lambda m: m["attributes"].clear())
    _edit(store / "zarr.json", lambda m: m["attributes"].update({"crs": "EPSG:4326", "transform": AFFINE}))
    assert open_mosaic(store, product).grid == GRID


def test_a_store_with_other_bands_without_time_or_with_too_few_years_is_refused(product, store, make_product):
    with pytest.raises(BandCountError, match="found 64, expected 128"):
        open_mosaic(store, product.model_copy(update={"dims": 128}))
    _edit(store / "time" / "zarr.json", lambda m: m.update(shape=[1]))
    with pytest.raises(SourceFormatError, match=r"coordinate 'time': found \[2023\], expected 2 different years"):
        open_mosaic(store, product)
    shutil.rmtree(store / "time")
    with pytest.raises(SourceMissingError, match="no array 'time', expected arrays 'embeddings' and 'time'"):
        open_mosaic(store, product)


def test_a_folder_that_is_no_store_says_which_folder_is_meant(product, tmp_path):
    with pytest.raises(SourceMissingError, match=r"no zarr.json.*the folder that holds zarr.json and embeddings/"):
        open_mosaic(tmp_path, product)
    (tmp_path / "zarr.json").write_text("{ half a fi")
    with pytest.raises(SourceFormatError, match=r"metadata that zarr refuses.*Download it again"):
        open_mosaic(tmp_path, product)


def _damage_shard(store: Path) -> None:
    shard = store / ARRAY / "c/1/0/1/1"
    content = bytearray(shard.read_bytes())
    content[0:4] = b"half"
    shard.write_bytes(content)


def _write_years(store: Path) -> None:
    import zarr

    zarr.open_group(store, mode="a")["time"][:] = np.array([2017, 2018])


def _edit_array(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    return lambda store: _edit(store / ARRAY / "zarr.json", change)


FAULTS: dict[str, Callable[[Path], None]] = {
    "mosaic of int16": _edit_array(lambda m: m.update(data_type="int16")),
    "mosaic with another fill value": _edit_array(lambda m: m.update(fill_value=0)),
    "mosaic in another CRS": _edit_array(_set_attribute("proj:code", "EPSG:3857")),
    "mosaic of another pixel size": _edit_array(_set_attribute("spatial:transform", [1e-4, 0, 0, 0, -1e-4, 80])),
    "mosaic without years": lambda store: shutil.rmtree(store / "time"),
    "mosaic without the year": _write_years,
    "folder without a mosaic": lambda store: (store / "zarr.json").unlink(),
    "mosaic with a damaged shard": _damage_shard,
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_page_of_bad_input_says_what_happens(product, store, name):
    FAULTS[name](store)
    with pytest.raises(IsthmusError) as caught:
        list(open_source(product, store).iter_blocks(2024, [box_of((0.55, 0.05, 0.95, 0.45))], 128))
    assert documented(name).outcome == "refused"
    assert documented(name).is_kept_by(str(caught.value)), str(caught.value)


def test_a_shard_that_is_cut_short_is_damaged_not_nodata(product, store):
    shard = store / ARRAY / "c/1/0/1/1"
    shard.write_bytes(shard.read_bytes()[:1000])
    source = open_source(product, store)
    with pytest.raises(SourceFormatError, match="does not decode"):
        list(source.iter_blocks(2024, [box_of((0.55, 0.05, 0.95, 0.45))], 128))


def test_without_zarr_the_message_says_what_to_install(product, smooth_store, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingPackageError) as caught:
        open_mosaic(smooth_store, product)
    assert documented("mosaic, but zarr is not installed").is_kept_by(str(caught.value))


def test_the_product_of_a_mosaic_must_say_its_pixel_in_degrees(make_product):
    with pytest.raises(ValueError, match="aef_zarr' needs pixel_deg"):
        make_product(grain="pixel", layout="aef_zarr", dims=64, pixel_m=10.0, nodata=-128)
