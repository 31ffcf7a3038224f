"""Tiles that are read past GDAL, against GDAL; and the memory that blocks are read into."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from warehouse.errors import SourceFormatError
from warehouse.sources.block_memory import BlockMemory
from warehouse.sources.rasters import open_raster, read_header, read_stored
from warehouse.sources.zstd_tiles import find_tiles, read_tiles

TILE, BANDS = 64, 5


def write_cog(path: Path, *, predictor: int = 2, compress: str = "zstd", interleave: str = "band") -> np.ndarray:
    """A bottom-up file of 3 x 2 tiles, the middle one of the first row not stored."""
    codes = np.random.default_rng(0).integers(-127, 128, (BANDS, 2 * TILE, 3 * TILE), dtype=np.int8)
    codes[:, :TILE, TILE : 2 * TILE] = -128
    profile = {
        "driver": "GTiff", "width": 3 * TILE, "height": 2 * TILE, "count": BANDS, "dtype": "int8", "nodata": -128,
        "tiled": True, "blockxsize": TILE, "blockysize": TILE, "interleave": interleave, "compress": compress,
        "predictor": predictor, "crs": "EPSG:32648", "SPARSE_OK": True,
        "transform": rasterio.Affine(10, 0, 500_000, 0, 10, 1_300_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(2):
            for col in range(3):
                if (row, col) != (0, 1):
                    window = Window(col * TILE, row * TILE, TILE, TILE)
                    dataset.write(codes[(slice(None), *window.toslices())], window=window)
    return codes


@pytest.mark.parametrize("predictor", [1, 2])
def test_tiles_equal_what_gdal_reads(tmp_path: Path, predictor: int) -> None:
    path = tmp_path / "a.tiff"
    codes = write_cog(path, predictor=predictor)
    n_missing = 0
    with rasterio.open(path) as dataset:
        for row in range(2):
            for col in range(3):
                window = Window(col * TILE, row * TILE, TILE, TILE)
                stack = find_tiles(dataset, path, window)
                assert stack is not None
                n_missing += stack.spans[0][1] == 0
                values = np.empty((BANDS, TILE, TILE), np.int8)
                read_tiles(stack, -128, values)
                np.testing.assert_array_equal(values, dataset.read(window=window))
                np.testing.assert_array_equal(values, codes[(slice(None), *window.toslices())])
    assert n_missing == 1


@pytest.mark.parametrize(
    ("options", "window"),
    [
        ({}, Window(0, 0, TILE, 2 * TILE)),
        ({}, Window(16, 0, TILE, TILE)),
        ({}, Window(0, 0, 16, 16)),
        ({"compress": "deflate"}, Window(0, 0, TILE, TILE)),
        ({"interleave": "pixel"}, Window(0, 0, TILE, TILE)),
    ],
)
def test_other_windows_and_layouts_are_left_to_gdal(tmp_path: Path, options: dict[str, str], window: Window) -> None:
    path = tmp_path / "a.tiff"
    codes = write_cog(path, **options)  # type: ignore[arg-type]
    with open_raster(path) as dataset:
        assert find_tiles(dataset, path, window) is None
        values = read_stored(dataset, read_header(dataset, path), window)
    np.testing.assert_array_equal(values, codes[(slice(None), *window.toslices())])


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    write_cog(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    last = Window(2 * TILE, TILE, TILE, TILE)
    with open_raster(path) as dataset, pytest.raises(SourceFormatError, match="cut short"):
        read_stored(dataset, read_header(dataset, path), last)


def test_a_tile_that_does_not_decode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    write_cog(path)
    window = Window(0, 0, TILE, TILE)
    with rasterio.open(path) as dataset:
        stack = find_tiles(dataset, path, window)
    assert stack is not None
    offset, size = stack.spans[2]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    with open_raster(path) as dataset, pytest.raises(SourceFormatError, match="does not decode"):
        read_stored(dataset, read_header(dataset, path), window)


def test_memory_is_used_again_only_when_no_view_is_left() -> None:
    memory = BlockMemory()
    first = memory.allocate((4, 8, 16), np.int8)
    address = first.ctypes.data
    view = first[1:, ::-1]
    first[:] = 7
    del first
    gc.collect()
    second = memory.allocate((4, 8, 16), np.int8)
    assert second.ctypes.data != address
    second[:] = 1
    assert (view == 7).all()
    del view
    gc.collect()
    assert memory.allocate((4, 8, 16), np.int8).ctypes.data == address


def test_memory_has_the_shape_and_type_that_was_asked_for() -> None:
    memory = BlockMemory()
    for shape, dtype in (((2, 3), np.float32), ((5,), np.int8), ((0, 3), np.int8), ((2, 3), np.float32)):
        array = memory.allocate(shape, dtype)
        assert array.shape == shape
        assert array.dtype == dtype
        array[:] = 1
        del array
