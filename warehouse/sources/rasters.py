"""GeoTIFF windows, always north-up: what the raster clients share.

Belongs here: opening, headers, windows of whole pixels, the flip of bottom-up files, errors of damaged files.
Does not: what the bands mean (`aef_cog.py`, `pixel_geotiff.py`, `label_geotiff.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.windows import Window

from transforms.utm import UtmBox
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.file_access import is_there, pin_remote, size_of
from warehouse.file_paths import FilePath, RemotePath
from warehouse.sources.gdal_files import GdalOpener, bind_opener, load_tables, raise_failure, read_block_item
from warehouse.sources.zstd_tiles import find_tiles, read_tiles

#: Gives an array of a shape and a type, values undefined.
Allocate = Callable[[tuple[int, ...], npt.DTypeLike], npt.NDArray[Any]]

#: One thread (assets run side by side) and a small cache (every block is read once).
GDAL_OPTIONS = {"GDAL_NUM_THREADS": "1", "GDAL_CACHEMAX": 96}
#: A remote file is opened alone: looking for side-cars would be a request each.
_REMOTE_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
#: Whole pixels: a box edge this close to a pixel edge, in pixels, lies on it.
_EDGE_TOLERANCE_PX = 1e-6


@dataclass(frozen=True)
class RasterHeader:
    """The facts of a raster in a metric CRS.

    Attributes:
        path: the file.
        epsg: its CRS.
        affine: as stored: e > 0 where row 0 is the southernmost.
        width: columns.
        height: rows.
        count: bands.
        dtypes: distinct types of the bands.
        nodata: declared nodata value.
        block_px: edge of a stored tile, or rows of a stored strip.
    """

    path: FilePath
    epsg: int
    affine: Affine
    width: int
    height: int
    count: int
    dtypes: tuple[str, ...]
    nodata: float | None
    block_px: int

    @property
    def is_bottom_up(self) -> bool:
        """Tell whether row 0 is the southernmost."""
        return bool(self.affine.e > 0)

    @property
    def box(self) -> UtmBox:
        """Outer edges, whichever way up the file is."""
        y0, y1 = self.affine.f, self.affine.f + self.affine.e * self.height
        return UtmBox(self.epsg, self.affine.c, min(y0, y1), self.affine.c + self.affine.a * self.width, max(y0, y1))


@contextmanager
def open_raster(path: FilePath, **options: Any) -> Iterator[Any]:
    """Open a raster.

    Args:
        path: the file; a remote one is read through the block cache, by the version that it is bound to.
        options: of GDAL's driver.

    Yields:
        A rasterio dataset.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: GDAL cannot read its header.
        SourceChangedError, SourceRefusedError, SourceUnavailableError: a server did not give the bytes of this or a
            later read.
    """
    if not is_there(path):
        raise SourceMissingError(
            str(path), "no such file", "a GeoTIFF", "Download it, or correct the path in the settings."
        )
    if not isinstance(path, RemotePath):
        with _open(path, path, options) as dataset:
            yield dataset
        return
    pinned = pin_remote(path)
    opener = GdalOpener(pinned)
    with opener.tell_failure(), _open(pinned.name, pinned, {**options, "opener": opener}) as dataset:
        bind_opener(dataset, opener)
        yield dataset


@contextmanager
def _open(target: Any, path: FilePath, options: Mapping[str, Any]) -> Iterator[Any]:
    """Open what GDAL is given for a path."""
    try:
        with rasterio.Env(**GDAL_OPTIONS, **(_REMOTE_OPTIONS if "opener" in options else {})):
            dataset = rasterio.open(target, **options)
    except RasterioError as error:
        raise SourceFormatError(
            str(path), "GeoTIFF", f"{size_of(path)} bytes that GDAL refuses ({error})",
            "a readable GeoTIFF", "Download it again.",
        ) from error  # fmt: skip
    try:
        yield dataset
    finally:
        dataset.close()


def read_header(dataset: Any, path: FilePath) -> RasterHeader:
    """Read the header of a raster in a metric CRS.

    Raises:
        SourceFormatError: rotated, without an EPSG code, or in a CRS whose unit is not the metre.
    """
    affine = dataset.transform
    epsg = dataset.crs.to_epsg() if dataset.crs else None
    is_metric = bool(dataset.crs) and dataset.crs.is_projected and dataset.crs.linear_units_factor[1] == 1.0
    if not dataset.crs:
        raise SourceFormatError(
            str(path), "CRS", "none", "an EPSG code with metres",
            "Download it again, or write the CRS that it is in: gdal_edit.py -a_srs EPSG:32648.",
        )  # fmt: skip
    if epsg is None or not is_metric:
        raise SourceFormatError(
            str(path),
            "CRS",
            dataset.crs,
            "an EPSG code with metres",
            "Reproject it, e.g. gdalwarp -t_srs EPSG:32648.",
        )
    if affine.b != 0 or affine.d != 0 or affine.a <= 0 or affine.e == 0:
        raise SourceFormatError(
            str(path),
            "affine",
            tuple(affine)[:6],
            "no rotation and columns that run east",
            "Warp it with gdalwarp.",
        )
    rows, cols = dataset.block_shapes[0]
    block_px = rows if cols == dataset.width else max(rows, cols)
    return RasterHeader(
        path, int(epsg), affine, dataset.width, dataset.height, dataset.count,
        tuple(dict.fromkeys(dataset.dtypes)), dataset.nodata, block_px,
    )  # fmt: skip


def window_of(header: RasterHeader, box: UtmBox) -> Window | None:
    """Give the window, in rows as stored, of the whole pixels that touch a box; None where none does."""
    if not header.box.intersects(box):
        return None
    a, e = header.affine.a, header.affine.e
    cols = sorted(((box.west - header.affine.c) / a, (box.east - header.affine.c) / a))
    rows = sorted(((box.south - header.affine.f) / e, (box.north - header.affine.f) / e))
    col0, col1 = _clip_edges(cols, header.width)
    row0, row1 = _clip_edges(rows, header.height)
    if col1 <= col0 or row1 <= row0:
        return None
    return Window(col0, row0, col1 - col0, row1 - row0)


def _clip_edges(edges: Sequence[float], size: int) -> tuple[int, int]:
    first = math.floor(edges[0] + _EDGE_TOLERANCE_PX)
    last = math.ceil(edges[1] - _EDGE_TOLERANCE_PX)
    return max(0, first), min(size, last)


def list_blocks(header: RasterHeader, boxes: Sequence[UtmBox], block_px: int) -> list[Window]:
    """List the blocks that share area with any of the boxes, each once, in the order of the file.

    Args:
        header: the raster.
        boxes: in any zone; those of other zones touch nothing.
        block_px: wanted edge; raised to a multiple of the stored block, so that no stored tile is read twice.

    Returns:
        Windows in rows as stored; they do not overlap.
    """
    edge = header.block_px * max(1, math.ceil(block_px / header.block_px))
    touched: set[tuple[int, int]] = set()
    for box in boxes:
        window = window_of(header, box)
        if window is None:
            continue
        rows = range(window.row_off // edge, (window.row_off + window.height - 1) // edge + 1)
        cols = range(window.col_off // edge, (window.col_off + window.width - 1) // edge + 1)
        touched.update((row, col) for row in rows for col in cols)
    return [
        Window(
            col * edge,
            row * edge,
            min(edge, header.width - col * edge),
            min(edge, header.height - row * edge),
        )
        for row, col in sorted(touched)
    ]


def place_window(header: RasterHeader, window: Window) -> Affine:
    """Give the affine of a window that is turned north-up: pixel corner to metres, e < 0."""
    a, e = header.affine.a, header.affine.e
    west = header.affine.c + a * window.col_off
    north_row = window.row_off + window.height if header.is_bottom_up else window.row_off
    return Affine(a, 0.0, west, 0.0, -abs(e), header.affine.f + e * north_row)


def read_north_up(dataset: Any, header: RasterHeader, window: Window) -> tuple[npt.NDArray[Any], Affine]:
    """Read all bands of a window and turn it north-up.

    Args:
        dataset: the open raster.
        header: its header.
        window: rows as stored.

    Returns:
        (values (band, height, width) with row 0 the northernmost, affine with e < 0). Values of a bottom-up file are a
        view with rows reversed: a copy of a block costs a fifth of its decoding.

    Raises:
        SourceFormatError: the file is damaged or cut short.
    """
    values = read_stored(dataset, header, window)
    return values[:, ::-1] if header.is_bottom_up else values, place_window(header, window)


def read_stored(dataset: Any, header: RasterHeader, window: Window, allocate: Allocate = np.empty) -> npt.NDArray[Any]:
    """Read all bands of a window, rows as stored.

    Args:
        dataset: the open raster.
        header: its header.
        window: rows as stored.
        allocate: gives an array of a shape and a type to read into.

    Returns:
        (band, height, width).

    Raises:
        SourceFormatError: the file is damaged or cut short.
        SourceChangedError, SourceRefusedError, SourceUnavailableError: a server did not give the bytes of this or an
            earlier read of the dataset.
    """
    dtype = np.result_type(*header.dtypes)
    values = allocate((header.count, int(window.height), int(window.width)), dtype)
    try:
        tiles = find_tiles(dataset, header.path, window)
        if tiles is not None and header.nodata is not None:
            read_tiles(tiles, int(header.nodata), values)
        else:
            with rasterio.Env(**GDAL_OPTIONS):
                load_tables(dataset, window)
                dataset.read(window=window, out=values)
    except (RasterioError, OSError) as error:
        raise damaged_error(dataset, header.path, error) from error
    raise_failure(dataset)
    return values


def damaged_error(dataset: Any, path: FilePath, error: RasterioError | OSError) -> SourceFormatError:
    """Say how many bytes are there and how many the block table of the file asks for.

    Raises:
        BaseException: what a read of a remote file met; then its bytes are not to blame.
    """
    raise_failure(dataset)
    needed = _needed_bytes(dataset)
    found = size_of(path)
    if needed > found:
        return SourceFormatError(
            str(path), "length", f"{found} bytes", f"at least {needed} bytes (end of the last block)",
            "The file is cut short: download it again.",
        )  # fmt: skip
    cause = error.__cause__ or error
    return SourceFormatError(
        str(path), "blocks", f"a block that does not decode ({cause})", "blocks that decode",
        "The file is damaged: download it again.",
    )  # fmt: skip


def _needed_bytes(dataset: Any) -> int:
    """Give the end of the last stored block at full resolution (0 where the driver does not say)."""
    needed = 0
    for band in range(1, dataset.count + 1):
        height, width = dataset.block_shapes[band - 1]
        for row in range(math.ceil(dataset.height / height)):
            for col in range(math.ceil(dataset.width / width)):
                offset = read_block_item(dataset, "OFFSET", band, row, col)
                needed = max(needed, offset + read_block_item(dataset, "SIZE", band, row, col))
    return needed
