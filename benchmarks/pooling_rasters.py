"""Simulated rasters for the pooling benchmark: band-separate, bottom-up, int8, ZSTD, as AlphaEarth's files are.

Belongs here: making a file of any size in seconds. Does not: what is measured (`pooling.py`). The pixels are
simulated: smooth fields plus noise, so that ZSTD has as much to do as with real ones; they mean nothing.
"""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.quantization import MAX_CODE, NODATA
from transforms.utm import UtmBox
from warehouse.products import Product, load_registry
from warehouse.sources.aef_cog import AefCogSource
from warehouse.sources.bounds import box_columns
from warehouse.world_cog import CogLayout, SparseCogWriter

DIMS, BLOCK_PX, PIXEL_M, EPSG, YEAR = 64, 1024, 10.0, 32648, 2024
#: Pixels between two nodes of the smooth fields, their spread and that of the noise, in codes.
_NODE_PX, _FIELD_CODES, _NOISE_CODES = 32, 40.0, 6.0


def simulate_block(rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Draw one block: int8 (64, 1024, 1024), no nodata."""
    nodes = np.arange(0, BLOCK_PX + _NODE_PX, _NODE_PX)
    at = np.arange(BLOCK_PX)
    to_pixels = np.maximum(0, 1 - np.abs(at[:, None] - nodes) / _NODE_PX).astype(np.float32)
    noise = (rng.standard_normal(2 * BLOCK_PX * BLOCK_PX, np.float32) * _NOISE_CODES).astype(np.float32)
    codes = np.empty((DIMS, BLOCK_PX, BLOCK_PX), np.int8)
    for band in codes:
        field = rng.standard_normal((len(nodes), len(nodes)), np.float32) * _FIELD_CODES
        start = int(rng.integers(BLOCK_PX * BLOCK_PX))
        drawn = to_pixels @ field @ to_pixels.T + noise[start:][: band.size].reshape(band.shape)
        band[:] = np.clip(np.rint(drawn), -MAX_CODE, MAX_CODE)
    return codes


def write_raster(
    path: Path, size: int, west_m: float, south_m: float, block: npt.NDArray[np.int8], *, epsg: int = EPSG
) -> None:
    """Write a file whose blocks are all the same one, stored once: `size` px in seconds, and small on disk."""
    names = [f"A{band:02d}" for band in range(DIMS)]
    layout = CogLayout(size, BLOCK_PX, 512, DIMS, NODATA, epsg, west_m, south_m, PIXEL_M, names)
    with ThreadPoolExecutor(2) as pool, SparseCogWriter(path, layout, pool) as writer:
        writer.write_tile(0, 0, 0, block)
    _repeat_tiles(path, (size // BLOCK_PX) ** 2)


def _repeat_tiles(path: Path, tiles: int) -> None:
    """Let all tiles of a band at full resolution stand for its first one."""
    with path.open("r+b") as file:
        (directory,) = struct.unpack("<4xI", file.read(8))
        file.seek(directory)
        (n_tags,) = struct.unpack("<H", file.read(2))
        for tag, _, count, at in struct.iter_unpack("<HHII", file.read(12 * n_tags)):
            if tag in (324, 325) and tiles > 1:  # tile offsets, tile byte counts
                file.seek(at)
                numbers = np.frombuffer(file.read(4 * count), "<u4").reshape(DIMS, tiles)
                file.seek(at)
                file.write(np.repeat(numbers[:, :1], tiles, axis=1).astype("<u4").tobytes())


def open_source(path: Path, size: int, west_m: float, south_m: float) -> AefCogSource:
    """Open a file as the warehouse does: by an index row."""
    box = UtmBox(EPSG, west_m, south_m, west_m + size * PIXEL_M, south_m + size * PIXEL_M)
    row = {"year": YEAR, "path": path.name, **box_columns(box)}
    return AefCogSource(_product(), path.parent, pa.Table.from_pylist([row]))


def _product() -> Product:
    return load_registry()["aef"]
