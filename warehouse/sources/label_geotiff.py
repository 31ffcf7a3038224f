"""Class labels in rasters of any CRS.

Belongs here: the class code at given places. Does not: what the codes mean (the class map of the settings),
labels in tables (`pixel_table.py`).
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from transforms.shards import Bbox
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.sources.rasters import GDAL_OPTIONS, damaged_error, open_raster

#: Code of places that no raster covers.
OUTSIDE = -1
_BLOCK_PX = 2048
#: Bounds memory: projecting and sorting takes about 100 bytes a point.
_POINTS_AT_ONCE = 2_000_000

FloatArray = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


class LabelRaster:
    """One class raster, or several tiles of one.

    Args:
        path: a file, or a glob pattern. Where tiles overlap, the first by path that has data counts.

    Raises:
        SourceMissingError: no file matches.
    """

    def __init__(self, path: Path | str) -> None:
        self.paths = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if not self.paths:
            raise SourceMissingError(
                f"label raster {path}", "no such file", "a GeoTIFF, or a glob of them", "Set labels.*.path."
            )
        self._nodata: set[float] = set()

    @property
    def nodata_codes(self) -> frozenset[float]:
        """Declared nodata codes of the tiles that were sampled so far."""
        return frozenset(self._nodata)

    def bounds(self) -> list[Bbox]:
        """Give the bounds of every tile in degrees: west, south, east, north.

        Raises:
            SourceFormatError: a tile has several bands, no CRS or codes that are no integers.
        """
        return [_tile_bounds(path) for path in self.paths]

    def sample(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> Codes:
        """Give the code of the cell that contains each point.

        Args:
            lon: float64 (n,), degrees.
            lat: float64 (n,), degrees.

        Returns:
            int32 (n,); -1 outside all tiles. The raster's own nodata code comes out as stored.

        Raises:
            SourceFormatError: a tile has several bands, no CRS or codes that are no integers, or is damaged.
        """
        lons, lats = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
        parts = range(0, len(lons), _POINTS_AT_ONCE)
        codes = [self._sample(lons[i : i + _POINTS_AT_ONCE], lats[i : i + _POINTS_AT_ONCE]) for i in parts]
        return np.concatenate([np.empty(0, np.int32), *codes])

    def _sample(self, lons: FloatArray, lats: FloatArray) -> Codes:
        codes = np.full(len(lons), OUTSIDE, np.int32)
        is_open = np.ones(len(lons), bool)
        for path in self.paths:
            todo = np.flatnonzero(is_open)
            if not len(todo):
                break
            found, nodata = _sample_tile(path, lons[todo], lats[todo])
            self._nodata |= set() if nodata is None else {nodata}
            is_inside = found != OUTSIDE
            has_data = is_inside if nodata is None else is_inside & (found != nodata)
            # a nodata cell is kept only where no tile before it said anything, and stays open for the next
            # tile
            use = has_data | (is_inside & (codes[todo] == OUTSIDE))
            codes[todo[use]] = found[use]
            is_open[todo[has_data]] = False
        return codes


def _tile_bounds(path: Path) -> Bbox:
    with open_raster(path) as dataset:
        _check(dataset, path)
        to_degrees = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(dataset.crs.to_wkt()), 4326, always_xy=True)
        box = dataset.bounds
        x, y = sorted((box.left, box.right)), sorted((box.bottom, box.top))
        west, south, east, north = to_degrees.transform_bounds(x[0], y[0], x[1], y[1])
        return float(west), float(south), float(east), float(north)


def _sample_tile(path: Path, lon: FloatArray, lat: FloatArray) -> tuple[Codes, float | None]:
    """Sample one tile: codes (-1 outside), and its nodata code."""
    with open_raster(path) as dataset:
        _check(dataset, path)
        to_crs = pyproj.Transformer.from_crs(4326, pyproj.CRS.from_wkt(dataset.crs.to_wkt()), always_xy=True)
        x, y = (np.asarray(values) for values in to_crs.transform(lon, lat))
        inverse = ~dataset.transform
        with np.errstate(invalid="ignore"):  # places that the CRS cannot express project to infinity
            col = np.floor(inverse.a * x + inverse.b * y + inverse.c)
            row = np.floor(inverse.d * x + inverse.e * y + inverse.f)
        inside = np.flatnonzero((col >= 0) & (col < dataset.width) & (row >= 0) & (row < dataset.height))
        codes = np.full(len(lon), OUTSIDE, np.int32)
        if len(inside):
            codes[inside] = _read_cells(dataset, path, row[inside].astype(np.int64), col[inside].astype(np.int64))
        return codes, dataset.nodata


def _read_cells(dataset: Any, path: Path, row: npt.NDArray[np.int64], col: npt.NDArray[np.int64]) -> Codes:
    """Read cells block by block, each block once and only as far as cells in it are asked for."""
    per_row = dataset.width // _BLOCK_PX + 1
    block = (row // _BLOCK_PX) * per_row + col // _BLOCK_PX
    order = np.argsort(block, kind="stable")
    edges = np.flatnonzero(np.diff(block[order])) + 1
    codes = np.empty(len(row), np.int32)
    for members in np.split(order, edges):
        top, left = int(row[members].min()), int(col[members].min())
        height, width = int(row[members].max()) - top + 1, int(col[members].max()) - left + 1
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                cells = dataset.read(1, window=Window(left, top, width, height))
        except RasterioError as error:
            raise damaged_error(dataset, path, error) from error
        codes[members] = cells[row[members] - top, col[members] - left]
    return codes


def _check(dataset: Any, path: Path) -> None:
    if dataset.count != 1:
        raise SourceFormatError(
            str(path), "bands", dataset.count, 1, "Write the band of the classes with gdal_translate -b."
        )
    if dataset.crs is None:
        raise SourceFormatError(
            str(path), "CRS", "none", "any CRS", "Write the CRS that it is in: gdal_edit.py -a_srs EPSG:4326."
        )
    if not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer) or np.dtype(dataset.dtypes[0]).itemsize > 4:
        raise SourceFormatError(
            str(path), "data type", dataset.dtypes[0], "integer class codes of at most 32 bits",
            "Convert it, e.g. gdal_translate -ot Byte.",
        )  # fmt: skip
