"""How many places of the Earth Genome lattice lie in a polygon, without listing them.

Belongs here: counting along the rows of both lattices. Does not: the lattice itself (`lattice.py`), what an area is
(`area.py`).

Each edge of a polygon crosses rows of centroids. On a row, `k(x)` centroids stand west of a crossing; edges that go up
add theirs and edges that go down take theirs away, as in the shoelace formula for areas. So a country costs its border
and not its ground.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from transforms.lattice import N_ROWS, ROW_HEIGHT_DEG, count_columns

FloatArray = npt.NDArray[np.float64]

#: Crossings that are held at once.
_CHUNK = 2_000_000
#: Centroids stand this share of a cell from its lower left corner, on the primary and on the secondary lattice.
_SHIFTS = (0.5, 1.0)


def count_places(geometry: shapely.Geometry) -> int:
    """Count the centroids of both lattices inside polygons.

    Args:
        geometry: valid polygon or multipolygon in degrees, inside 180 W to 180 E.

    Returns:
        The number; it equals that of the listed places that `Area.contains` holds for inside, but for centroids that
        stand exactly on a border.
    """
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    edges = np.flatnonzero(ring[1:] == ring[:-1])
    return sum(_sum_edges(points[edges], points[edges + 1], shift) for shift in _SHIFTS)


def _sum_edges(start: FloatArray, end: FloatArray, shift: float) -> int:
    """Sum, over the rows that edges cross, the centroids west of those that go up less those west of the others."""
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil((low + 90.0) / ROW_HEIGHT_DEG - shift), 0, N_ROWS).astype(np.int64)
    stop = np.clip(np.ceil((high + 90.0) / ROW_HEIGHT_DEG - shift), 0, N_ROWS).astype(np.int64)
    n_rows = stop - first
    sign = np.sign(end[:, 1] - start[:, 1]).astype(np.int64)
    total = 0
    for mine in np.split(np.arange(len(start)), np.searchsorted(np.cumsum(n_rows), _chunk_ends(int(n_rows.sum())))):
        edge = np.repeat(mine, n_rows[mine])
        before = np.cumsum(n_rows[mine]) - n_rows[mine]
        row = first[edge] + np.arange(len(edge)) - np.repeat(before, n_rows[mine])
        total += int((sign[edge] * _centroids_west(_cross(start[edge], end[edge], row, shift), row, shift)).sum())
    return total


def _chunk_ends(n_crossings: int) -> npt.NDArray[np.int64]:
    return np.arange(_CHUNK, n_crossings, _CHUNK)


def _cross(start: FloatArray, end: FloatArray, row: npt.NDArray[np.int64], shift: float) -> FloatArray:
    """Give the longitude at which each edge crosses a row of centroids."""
    lat = -90.0 + (row + shift) * ROW_HEIGHT_DEG
    share = (lat - start[:, 1]) / (end[:, 1] - start[:, 1])
    lon: FloatArray = start[:, 0] + share * (end[:, 0] - start[:, 0])
    return lon


def _centroids_west(lon: FloatArray, row: npt.NDArray[np.int64], shift: float) -> npt.NDArray[np.int64]:
    """Count the centroids of a row that stand west of a longitude; at 180 E that is all of them."""
    n = count_columns(row)
    west = np.ceil((lon + 180.0) * (n / 360.0) - shift).astype(np.int64)
    return np.where(lon >= 180.0, n, np.clip(west, 0, n))
