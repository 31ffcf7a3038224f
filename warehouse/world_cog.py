"""A writer of sparse, band-separate, bottom-up Cloud Optimised GeoTIFFs, tile by tile.

Written by hand because GDAL 3.10 can neither write band-interleaved COGs nor overviews with values of one's own
choice, and needs a dense pass over the file for both. Belongs here: the TIFF container. Does not: what the
pixels are (`world_aef.py`).

Layout as in a COG: header, directories from full resolution to the smallest overview, then tile data from the
smallest overview to full resolution. Tiles that were never written have offset 0 and read as nodata.
Source: TIFF 6.0; GeoTIFF 1.1 (OGC 19-008); GDAL driver documentation "COG" for the order.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

CodeArray = npt.NDArray[np.int8]

_COMPRESSION_ZSTD = 50_000
_ZSTD_LEVEL = 1
_SHORT, _LONG, _DOUBLE, _ASCII = 3, 4, 12, 2
_SIZES = {_SHORT: 2, _LONG: 4, _DOUBLE: 8, _ASCII: 1}
_FORMATS = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
#: TIFF wants tile edges in multiples of 16.
_SMALLEST_TILE = 16
_Tag = tuple[int, int, Sequence[int] | Sequence[float] | bytes]


@dataclass(frozen=True)
class CogLayout:
    """Shape and place of a file.

    Attributes:
        size: rows = columns of full resolution, a power of two.
        tile: tile edge of full resolution.
        overview_tile: tile edge of overviews; levels below it have one tile of their own size.
        bands: number of bands, stored one after another.
        nodata: value of missing tiles.
        epsg: projected CRS in metres.
        west_m: x of the origin.
        south_m: y of the origin: row 0 is the southernmost.
        pixel_m: pixel edge.
        band_names: description of each band.
    """

    size: int
    tile: int
    overview_tile: int
    bands: int
    nodata: int
    epsg: int
    west_m: float
    south_m: float
    pixel_m: float
    band_names: Sequence[str]

    @property
    def n_levels(self) -> int:
        """Full resolution and its overviews down to one pixel."""
        return self.size.bit_length()

    def level_size(self, level: int) -> int:
        """Rows = columns of a level."""
        return self.size >> level

    def level_tile(self, level: int) -> int:
        """Tile edge of a level."""
        tile = self.overview_tile if level else self.tile
        return max(min(tile, self.level_size(level)), _SMALLEST_TILE)

    def tiles_across(self, level: int) -> int:
        """Tiles along an edge of a level."""
        return -(-self.level_size(level) // self.level_tile(level))


@dataclass
class _Level:
    """Compressed tiles of one level, waiting in a temporary file."""

    data: IO[bytes]
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros_like(self.offsets)


class SparseCogWriter:
    """Write tiles in any order; leaving the `with` block assembles the file.

    Tiles are ZSTD with horizontal differencing. On an error inside the block no file appears.
    """

    def __init__(self, path: Path, layout: CogLayout, pool: ThreadPoolExecutor) -> None:
        self._path = path
        self._layout = layout
        self._pool = pool
        self._levels: list[_Level] = []

    def __enter__(self) -> SparseCogWriter:
        for level in range(self._layout.n_levels):
            n_tiles = self._layout.bands * self._layout.tiles_across(level) ** 2
            spool = tempfile.TemporaryFile(dir=self._path.parent)
            self._levels.append(_Level(spool, np.zeros(n_tiles, np.int64)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._assemble()
        finally:
            for level in self._levels:
                level.data.close()

    def write_tile(self, level: int, row: int, col: int, codes: CodeArray) -> None:
        """Write one tile of all bands; tiles of nothing but nodata are left out.

        Args:
            level: 0 = full resolution.
            row: tile row, 0 southernmost.
            col: tile column.
            codes: int8 (band, edge, edge), edge = the level's tile edge or, in levels below 16 px, its size.
        """
        nodata = self._layout.nodata
        if (codes == nodata).all():
            return
        edge = self._layout.level_tile(level)
        if codes.shape[1] < edge:
            margin = edge - codes.shape[1]
            codes = np.pad(codes, ((0, 0), (0, margin), (0, margin)), constant_values=nodata)
        across = self._layout.tiles_across(level)
        target = self._levels[level]
        for band, packed in enumerate(self._pool.map(_compress, codes)):
            index = band * across**2 + row * across + col
            target.offsets[index] = target.data.tell()
            target.counts[index] = len(packed)
            target.data.write(packed)

    def _assemble(self) -> None:
        header_bytes = 8 + sum(len(self._directory(level, 0, 0)) for level in range(len(self._levels)))
        bases = _data_bases(self._levels, header_bytes)
        with self._path.open("wb") as out:
            out.write(struct.pack("<2sHI", b"II", 42, 8))
            for level, base in enumerate(bases):
                out.write(self._directory(level, out.tell(), base))
            for spooled in reversed(self._levels):
                spooled.data.seek(0)
                shutil.copyfileobj(spooled.data, out, 1 << 22)

    def _directory(self, level: int, at: int, data_base: int) -> bytes:
        """Encode a level's directory with its long values behind it, for the file position `at`."""
        tags = _level_tags(self._layout, level)
        source = self._levels[level]
        written = source.counts > 0
        tags.append((324, _LONG, np.where(written, source.offsets + data_base, 0).tolist()))
        tags.append((325, _LONG, source.counts.tolist()))
        tags.sort()
        is_last = level == len(self._levels) - 1
        return _encode_directory(tags, at, is_last)


def _compress(plane: CodeArray) -> bytes:
    """Difference along rows (modulo 256, TIFF predictor 2), then ZSTD."""
    values = plane.view(np.uint8)
    differences = values.copy()
    differences[:, 1:] -= values[:, :-1]
    packed: bytes = pa.Codec("zstd", compression_level=_ZSTD_LEVEL).compress(differences, asbytes=True)
    return packed


def _data_bases(levels: Sequence[_Level], start: int) -> list[int]:
    """Give where the data of each level begins: the smallest overview first."""
    bases = []
    for level in reversed(levels):
        bases.append(start)
        start += level.data.seek(0, 2)
    return bases[::-1]


def _level_tags(layout: CogLayout, level: int) -> list[_Tag]:
    size, tile, bands = layout.level_size(level), layout.level_tile(level), layout.bands
    tags: list[_Tag] = [
        (254, _LONG, [1 if level else 0]),  # reduced resolution
        (256, _LONG, [size]),
        (257, _LONG, [size]),
        (258, _SHORT, [8] * bands),
        (259, _SHORT, [_COMPRESSION_ZSTD]),
        (262, _SHORT, [1]),  # min is black
        (277, _SHORT, [bands]),
        (284, _SHORT, [2]),  # planes stored separately
        (317, _SHORT, [2]),  # horizontal differencing
        (322, _SHORT, [tile]),
        (323, _SHORT, [tile]),
        (338, _SHORT, [0] * (bands - 1)),  # the other bands are not alpha
        (339, _SHORT, [2] * bands),  # signed
        (42113, _ASCII, f"{layout.nodata}\0".encode()),
    ]
    return tags if level else tags + _georeference_tags(layout)


def _georeference_tags(layout: CogLayout) -> list[_Tag]:
    step = layout.pixel_m
    matrix = [step, 0.0, 0.0, layout.west_m, 0.0, step, 0.0, layout.south_m, *[0.0] * 7, 1.0]
    keys = [
        (1024, 0, 1, 1),  # projected
        (1025, 0, 1, 1),  # pixel is area
        (3072, 0, 1, layout.epsg),
        (3076, 0, 1, 9001),  # metres
    ]
    directory = [1, 1, 0, len(keys), *(value for key in keys for value in key)]
    items = "".join(
        f'<Item name="DESCRIPTION" sample="{band}" role="description">{name}</Item>'
        for band, name in enumerate(layout.band_names)
    )
    return [
        (34264, _DOUBLE, matrix),  # a scale and tie point could not point north
        (34735, _SHORT, directory),
        (42112, _ASCII, f"<GDALMetadata>{items}</GDALMetadata>\0".encode()),
    ]


def _encode_directory(tags: Sequence[_Tag], at: int, is_last: bool) -> bytes:
    length = 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for code, kind, value in tags:
        data = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}{_FORMATS[kind]}", *value)
        count = len(data) // _SIZES[kind]
        if len(data) > 4:
            inline = struct.pack("<I", at + length + len(values))
            values += data + b"\0" * (-len(data) % 8)
        else:
            inline = data.ljust(4, b"\0")
        entries += struct.pack("<HHI", code, kind, count) + inline
    following = 0 if is_last else at + length + len(values)
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + values
