"""A grid of pixels in degrees, looked up from metres: what a mosaic in EPSG:4326 needs to be read as UTM windows.

Belongs here: which degree pixel holds each UTM pixel's centre, and the gather of codes. Does not: stores and files
(`warehouse/sources/aef_zarr.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.area import Bbox
from transforms.utm import unproject
from transforms.windows import PixelGrid

Int8Array = npt.NDArray[np.int8]
Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

#: Pixels between places that are projected exactly; between them degrees are interpolated. Meridians bend by less than
#: 2 cm over 320 m up to 84 degrees of latitude.
_KNOT_PX = 32
#: Row and column of a place that lies outside the grid.
OUTSIDE = -1


@dataclass(frozen=True)
class DegreeGrid:
    """Pixels of equal size in degrees, row 0 the northernmost.

    Attributes:
        west: degrees, west edge of column 0.
        north: degrees, north edge of row 0.
        pixel_deg: edge of a pixel.
        height: rows.
        width: columns; a grid may run on beyond 180 degrees by padding.
    """

    west: float
    north: float
    pixel_deg: float
    height: int
    width: int

    def locate(self, grid: PixelGrid) -> tuple[Int64Array, Int64Array]:
        """Find the degree pixel that holds each pixel centre of a window in metres.

        Longitudes are taken around the globe, so that a window across 180 degrees finds both ends of the grid.

        Args:
            grid: the window.

        Returns:
            (rows, columns), int64 (height, width); `OUTSIDE` in both where the grid does not reach.
        """
        lon, lat = _center_degrees(grid)
        rows = np.floor((self.north - lat) / self.pixel_deg).astype(np.int64)
        cols = np.floor(((lon - self.west) % 360.0) / self.pixel_deg).astype(np.int64)
        is_outside = (rows < 0) | (rows >= self.height) | (cols >= self.width)
        rows[is_outside] = OUTSIDE
        cols[is_outside] = OUTSIDE
        return rows, cols

    def pixel_range(self, bbox: Bbox) -> tuple[slice, slice]:
        """Give (rows, columns) of the pixels that touch a box in degrees, cut to the grid; empty slices if none."""
        west, south, east, north = bbox
        rows = _cut(np.floor((self.north - north) / self.pixel_deg), np.ceil((self.north - south) / self.pixel_deg))
        cols = _cut(np.floor((west - self.west) / self.pixel_deg), np.ceil((east - self.west) / self.pixel_deg))
        return slice(*(min(k, self.height) for k in rows)), slice(*(min(k, self.width) for k in cols))

    def list_blocks(self, bbox: Bbox, size: tuple[int, int]) -> list[tuple[int, int]]:
        """List (row, column) of the blocks that touch a box in degrees, by row, then column.

        Args:
            bbox: degrees.
            size: rows and columns of a block; blocks stand side by side from row and column 0 on.
        """
        rows, cols = (
            range(part.start // edge, -(-part.stop // edge)) if part.start < part.stop else range(0)
            for part, edge in zip(self.pixel_range(bbox), size, strict=True)
        )
        return [(row, col) for row in rows for col in cols]

    def block(self, row: int, col: int, size: tuple[int, int]) -> tuple[slice, slice]:
        """Give (rows, columns) of the pixels of one block of `list_blocks`, cut to the grid."""
        height, width = size
        return (
            slice(row * height, min((row + 1) * height, self.height)),
            slice(col * width, min((col + 1) * width, self.width)),
        )

    def bbox(self, rows: slice, cols: slice) -> Bbox:
        """Give west, south, east, north of a range of pixels in degrees."""
        return (
            self.west + cols.start * self.pixel_deg,
            self.north - rows.stop * self.pixel_deg,
            self.west + cols.stop * self.pixel_deg,
            self.north - rows.start * self.pixel_deg,
        )

    def list_parts(self, cols: Int64Array) -> list[npt.NDArray[np.bool_]]:
        """Split columns at both ends of the grid (of a window across 180 degrees) into parts without that gap.

        Args:
            cols: int64, as `locate` gives them.

        Returns:
            Masks of the parts that are inside; none where nothing is.
        """
        is_inside = cols != OUTSIDE
        if not is_inside.any():
            return []
        low, high = int(cols[is_inside].min()), int(cols[is_inside].max())
        if (high - low) * self.pixel_deg <= 180.0:
            return [is_inside]
        is_east = cols > (low + high) // 2
        return [is_inside & ~is_east, is_east]

    def centers(self, rows: slice, cols: slice) -> tuple[Float64Array, Float64Array]:
        """Give longitude of the columns and latitude of the rows of a range, pixel centres in degrees."""
        lon = self.west + (np.arange(cols.start, cols.stop) + 0.5) * self.pixel_deg
        lat = self.north - (np.arange(rows.start, rows.stop) + 0.5) * self.pixel_deg
        return lon, lat


def take_nearest(source: Int8Array, places: npt.NDArray[np.int32], out: Int8Array) -> None:
    """Copy codes of looked-up pixels, unchanged.

    Args:
        source: int8 (band, h, w), contiguous.
        places: int32 (height, width): row * w + column of `source`; `OUTSIDE` where `out` stays as it is.
        out: int8 (band, height, width), contiguous, written.
    """
    bands = len(source)
    _gather(source.reshape(bands, -1), places.reshape(-1), out.reshape(bands, -1))


def _center_degrees(grid: PixelGrid) -> tuple[Float64Array, Float64Array]:
    """Give (lon, lat) of all pixel centres, float64 (height, width); longitudes may run on beyond 180."""
    x, y = grid.centers()
    knot_x, knot_y = _knots(grid.width), _knots(grid.height)
    mesh_x, mesh_y = np.meshgrid(x[knot_x], y[knot_y])
    lon, lat = unproject(mesh_x, mesh_y, grid.epsg)
    middle = lon.flat[0]
    lon = (lon - middle + 180.0) % 360.0 - 180.0
    weights_y, weights_x = _hat_weights(knot_y, grid.height), _hat_weights(knot_x, grid.width)
    return weights_y @ lon @ weights_x.T + middle, weights_y @ lat @ weights_x.T


def _knots(size: int) -> Int64Array:
    return np.unique(np.append(np.arange(0, size, _KNOT_PX), size - 1))


def _hat_weights(knots: Int64Array, size: int) -> Float64Array:
    """Give the weight of each knot at each of `size` places between them, float64 (size, knots)."""
    places = np.arange(size)
    return np.stack([np.interp(places, knots, unit) for unit in np.eye(len(knots))], axis=1)


def _cut(first: float, last: float) -> tuple[int, int]:
    start = max(0, int(first))
    return start, max(start, int(last))


@njit(nogil=True, cache=True)
def _gather(source, places, out):  # type: ignore[no-untyped-def]
    for band in range(source.shape[0]):
        for k in range(len(places)):
            if places[k] >= 0:
                out[band, k] = source[band, places[k]]
