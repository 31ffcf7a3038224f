"""Stored tiles of AlphaEarth's layout, decoded straight into the block that is asked for.

Belongs here: blocks that are one ZSTD tile per band of 8-bit codes. Does not: anything else about rasters, which GDAL
reads (`rasters.py`); what is read here, GDAL reads to the same bytes.

Why beside GDAL: on a block of 64 such tiles GDAL takes twice the time of ZSTD alone. It copies each tile through its
cache and undoes the horizontal differences byte by byte; here they are undone eight bytes at a time, in place. And it
asks a server for one tile after the other; here all tiles of a block are on their way at once.
Source: TIFF 6.0, section 14 (differencing); TIFF tag values of GDAL's GTiff driver.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit
from rasterio.windows import Window

from warehouse.file_paths import FilePath, RemotePath
from warehouse.objects.client import ByteSpan
from warehouse.objects.remote_file import RemoteFile
from warehouse.sources.gdal_files import read_block_item

UInt8Array = npt.NDArray[np.uint8]

#: The lower seven bits of each of eight bytes, the highest bit of each, and 1 in each.
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_HIGH_BITS = np.uint64(0x8080808080808080)
_ONES = np.uint64(0x0101010101010101)
_WORD = 8
_CODEC = pa.Codec("zstd")


@dataclass(frozen=True)
class TileStack:
    """Where the tiles of one block are.

    Attributes:
        path: the file; a remote one bound to a version.
        height: rows of a tile.
        width: columns of a tile.
        spans: (offset, bytes) for each band; 0 bytes = not stored, nodata all over.
        is_differenced: each byte is the difference to its left neighbour.
    """

    path: FilePath
    height: int
    width: int
    spans: list[tuple[int, int]]
    is_differenced: bool


def find_tiles(dataset: Any, path: FilePath, window: Window) -> TileStack | None:
    """Find the tiles of a block; None where it is not one ZSTD tile of 8-bit codes per band.

    Args:
        dataset: the open raster.
        path: its file.
        window: rows as stored.

    Raises:
        BaseException: what a read of a remote file met, see `gdal_files.raise_failure`.
    """
    height, width = dataset.block_shapes[0]
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    is_tile = (
        (window.height, window.width) == (height, width)
        and window.row_off % height == 0
        and window.col_off % width == 0
        and width % _WORD == 0
    )
    is_layout = (
        dataset.driver == "GTiff"
        and set(dataset.dtypes) == {"int8"}
        and structure.get("COMPRESSION") == "ZSTD"
        and (structure.get("INTERLEAVE") == "BAND" or dataset.count == 1)
        and structure.get("PREDICTOR", "1") in ("1", "2")
    )
    if not (is_tile and is_layout and dataset.nodata is not None):
        return None
    row, col = window.row_off // height, window.col_off // width
    spans = []
    for band in range(1, dataset.count + 1):
        offset = read_block_item(dataset, "OFFSET", band, row, col)
        spans.append((offset, read_block_item(dataset, "SIZE", band, row, col)))
    return TileStack(path, height, width, spans, structure.get("PREDICTOR", "1") == "2")


def read_tiles(stack: TileStack, nodata: int, values: npt.NDArray[np.int8]) -> None:
    """Decode the tiles of a block.

    Args:
        stack: the tiles.
        nodata: code of tiles that are not stored.
        values: int8 (band, height, width), written, rows as stored.

    Raises:
        OSError: the file is cut short, or a tile does not decode.
        SourceChangedError, SourceRefusedError, SourceUnavailableError: a server does not give its bytes.
    """
    with _open_tiles(stack) as tiles:
        for band, (_, size) in zip(values, stack.spans, strict=True):
            if size:
                with next(tiles) as packed:
                    _decode_tile(packed, stack.is_differenced, band)
            else:
                band[:] = nodata


@contextmanager
def _open_tiles(stack: TileStack) -> Iterator[Iterator[memoryview]]:
    """Give the stored tiles, one after the other."""
    spans = [ByteSpan(offset, offset + size) for offset, size in stack.spans if size]
    if isinstance(stack.path, RemotePath):
        with RemoteFile(stack.path) as remote:
            _check_length(spans, remote.size_bytes)
            packed = remote.read_spans(spans)
            try:
                yield map(memoryview, packed)
            finally:
                packed.close()
        return
    # a slice of a memory map is a copy, one of a view is not
    with (
        stack.path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
    ):
        _check_length(spans, len(view))
        yield (view[span.start : span.stop] for span in spans)


def _check_length(spans: Sequence[ByteSpan], n_bytes: int) -> None:
    end = max((span.stop for span in spans), default=0)
    if end > n_bytes:
        raise OSError(f"a tile ends at byte {end} of {n_bytes}")


def _decode_tile(packed: memoryview, is_differenced: bool, band: npt.NDArray[np.int8]) -> None:
    raw = np.frombuffer(_CODEC.decompress(packed, band.size), np.uint8).reshape(band.shape)
    if is_differenced:
        _add_up_rows(raw.view(np.uint64), band.view(np.uint64), np.empty(band.shape[1] // _WORD, np.uint64))
    else:
        band[:] = raw.view(np.int8)


@njit(nogil=True, cache=True)
def _add_bytes(x, y):  # type: ignore[no-untyped-def]
    """Add eight bytes to eight bytes, each modulo 256."""
    return ((x & _LOW_BITS) + (y & _LOW_BITS)) ^ ((x ^ y) & _HIGH_BITS)


@njit(nogil=True, cache=True)
def _add_up_rows(differences, totals, carries):  # type: ignore[no-untyped-def]
    """Turn differences into running totals along each row, eight bytes a word, little-endian.

    Within words by doubling steps, which the compiler turns into vectors; then the last byte of each word is carried
    to all words behind it.

    Args:
        differences: uint64 (height, width / 8).
        totals: uint64 (height, width / 8), written.
        carries: uint64 (width / 8,), scratch.
    """
    n_words = differences.shape[1]
    for i in range(differences.shape[0]):
        row, total = differences[i], totals[i]
        for j in range(n_words):
            x = row[j]
            x = _add_bytes(x, x << np.uint64(8))
            x = _add_bytes(x, x << np.uint64(16))
            total[j] = _add_bytes(x, x << np.uint64(32))
        carry = np.uint64(0)
        for j in range(n_words):
            carries[j] = carry
            carry += total[j] >> np.uint64(56)
        for j in range(n_words):
            total[j] = _add_bytes(total[j], (carries[j] & np.uint64(255)) * _ONES)
