"""The Earth Genome patch lattice before version 1.0: rows as in Major TOM, a primary and a half-shifted secondary grid.

Rows have their own column counts and phases, so this is never a 2-D array: interpolate along rows, then
between rows. Belongs here: enumeration, recovery of (lattice, row, column) from a point. Does not: footprints
(`transforms/utm.py`), ids (`transforms/geohash.py`), interpolation (`transforms/upsampling/`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import LatticeError

#: Radius of the sphere on which Major TOM counts columns, metres.
EARTH_RADIUS_M = 6_378_137.0
#: Nominal spacing and side of a patch, metres.
PATCH_SIDE_M = 320.0
#: Number of rows from pole to pole, and their height.
N_ROWS = 62_618
ROW_HEIGHT_DEG = 180.0 / N_ROWS


@dataclass(frozen=True)
class LatticePlaces:
    """Places on one or both lattices, as parallel arrays.

    Attributes:
        is_secondary: bool (n,).
        row: int32 (n,), 0 at the south pole.
        col: int32 (n,), 0 at 180 W.
        lon: float64 (n,), centroid, degrees.
        lat: float64 (n,), centroid, degrees.
    """

    is_secondary: npt.NDArray[np.bool_]
    row: npt.NDArray[np.int32]
    col: npt.NDArray[np.int32]
    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)


def count_columns(row: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count the cells of a row: ``ceil(2 pi R cos(phi) / 320)`` with phi the row's lower latitude.

    Args:
        row: row numbers, 0 at the south pole.

    Returns:
        int64 of the same shape.
    """
    phi = np.radians(-90.0 + np.asarray(row, np.float64) * ROW_HEIGHT_DEG)
    return np.maximum(1, np.ceil(2 * np.pi * EARTH_RADIUS_M * np.cos(phi) / PATCH_SIDE_M)).astype(np.int64)


def locate(is_secondary: npt.ArrayLike, row: npt.ArrayLike, col: npt.ArrayLike) -> LatticePlaces:
    """Give the centroids of cells.

    Args:
        is_secondary: bool (n,): the grid that is shifted by half a cell and half a row.
        row: (n,) row numbers.
        col: (n,) column numbers.

    Returns:
        The places, in the order given.
    """
    secondary = np.asarray(is_secondary, bool)
    rows = np.asarray(row, np.int64)
    cols = np.asarray(col, np.int64)
    shift = np.where(secondary, 1.0, 0.5)
    lon = (-180.0 + (cols + shift) * (360.0 / count_columns(rows))).astype(np.float64)
    lat = (-90.0 + (rows + shift) * ROW_HEIGHT_DEG).astype(np.float64)
    return LatticePlaces(secondary, rows.astype(np.int32), cols.astype(np.int32), lon, lat)


def recover(lon: npt.ArrayLike, lat: npt.ArrayLike, *, tolerance_m: float = 1.0) -> LatticePlaces:
    """Find the lattice, row and column of centroids.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        tolerance_m: largest accepted distance between a point and its cell's centroid.

    Returns:
        The places whose centroids these points are, in the order given; lon and lat are the lattice's own.

    Raises:
        LatticeError: a point is farther than `tolerance_m` from the nearest centroid of either lattice.
    """
    lons = np.atleast_1d(np.asarray(lon, np.float64))
    lats = np.atleast_1d(np.asarray(lat, np.float64))
    half_rows = np.rint((lats + 90.0) / (ROW_HEIGHT_DEG / 2)).astype(np.int64)
    # primary centroids stand at odd multiples of half a row, secondary ones at even multiples
    secondary = half_rows % 2 == 0
    rows = np.where(secondary, half_rows // 2 - 1, (half_rows - 1) // 2)
    count = count_columns(rows)
    shift = np.where(secondary, 1.0, 0.5)
    # the last secondary cell stands on the antimeridian, so just east of it the column wraps
    cols = np.rint((lons + 180.0) / (360.0 / count) - shift).astype(np.int64) % count
    places = locate(secondary, rows, cols)
    off_m = _distance_m(lons, lats, places.lon, places.lat)
    worst = int(np.argmax(off_m)) if len(off_m) else 0
    if len(off_m) and off_m[worst] > tolerance_m:
        raise LatticeError(
            f"patch centroid ({lons[worst]:.6f}, {lats[worst]:.6f})",
            f"{off_m[worst]:.1f} m from the nearest lattice centroid",
            f"at most {tolerance_m} m",
            "Is this another grid version? Only the one before 1.0 is known here: register the files as a product of "
            "their own with layout 'patch_geoparquet' (docs/sources.md, Another grid).",
        )
    return places


def enumerate_places(west: float, south: float, east: float, north: float) -> LatticePlaces:
    """List the cells of both lattices whose centroid lies in a box, primary first, by row, then column.

    Args:
        west: degrees; boxes across the antimeridian are split by the caller.
        south: degrees.
        east: degrees, exclusive below 180.
        north: degrees, exclusive.

    Returns:
        The places; empty where the box holds no centroid.
    """
    parts: list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for is_secondary in (False, True):
        shift = 1.0 if is_secondary else 0.5
        first = max(0, math.ceil((south + 90.0) / ROW_HEIGHT_DEG - shift))
        last = min(N_ROWS - 1, math.ceil((north + 90.0) / ROW_HEIGHT_DEG - shift) - 1)
        for row in range(first, last + 1):
            count = int(count_columns(row))
            width = 360.0 / count
            start = max(0, math.ceil((west + 180.0) / width - shift))
            # a box that ends at 180 E holds the cells that stand on it: no other box does
            stop = count if east >= 180.0 else min(count, math.ceil((east + 180.0) / width - shift))
            if stop > start:
                cols = np.arange(start, stop)
                parts.append((np.full(len(cols), is_secondary), np.full(len(cols), row), cols))
    if not parts:
        return locate(np.empty(0, bool), np.empty(0, np.int64), np.empty(0, np.int64))
    secondary, rows, cols_all = (np.concatenate(column) for column in zip(*parts, strict=True))
    return locate(secondary, rows, cols_all)


def _distance_m(
    lon_a: npt.NDArray[np.float64],
    lat_a: npt.NDArray[np.float64],
    lon_b: npt.NDArray[np.float64],
    lat_b: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Distance of near points on the sphere (equirectangular; exact enough below a kilometre)."""
    dx = np.radians((lon_a - lon_b + 180.0) % 360.0 - 180.0) * np.cos(np.radians(lat_a))
    dy = np.radians(lat_a - lat_b)
    return np.hypot(dx, dy) * EARTH_RADIUS_M
