"""H3 cells of points, and parents by bit arithmetic.

Belongs here: cells as uint64 arrays. Does not: which table has which resolution (`warehouse/schemas.py`).
"""

from __future__ import annotations

import h3.api.basic_int as h3
import numpy as np
import numpy.typing as npt

_RESOLUTION_SHIFT = np.uint64(52)
_RESOLUTION_MASK = ~(np.uint64(0xF) << _RESOLUTION_SHIFT)
_DIGITS = 15


def cells(lon: npt.ArrayLike, lat: npt.ArrayLike, resolution: int) -> npt.NDArray[np.uint64]:
    """Give the H3 cell of each point.

    Args:
        lon: (n,) degrees.
        lat: (n,) degrees.
        resolution: 0..15.

    Returns:
        uint64 (n,).
    """
    lons = np.atleast_1d(np.asarray(lon, np.float64)).tolist()
    lats = np.atleast_1d(np.asarray(lat, np.float64)).tolist()
    # the library has no array form: its numpy API loops as well
    return np.fromiter(
        (h3.latlng_to_cell(y, x, resolution) for x, y in zip(lons, lats, strict=True)),
        dtype=np.uint64,
        count=len(lons),
    )


def parents(cell: npt.NDArray[np.uint64], resolution: int) -> npt.NDArray[np.uint64]:
    """Give the ancestor of each cell at a coarser resolution.

    A cell's index holds its resolution in bits 52..55 and one 3-bit digit per level below; an ancestor has the
    coarser resolution and 7 in every unused digit. Source: H3 documentation, "H3 cell index".

    Args:
        cell: uint64 (n,), all finer than or equal to `resolution`.
        resolution: 0..15.

    Returns:
        uint64 (n,).
    """
    unused = np.uint64((1 << (3 * (_DIGITS - resolution))) - 1)
    resolution_bits = np.uint64(resolution) << _RESOLUTION_SHIFT
    return (cell & _RESOLUTION_MASK) | resolution_bits | unused


def ancestry(lon: npt.ArrayLike, lat: npt.ArrayLike, resolutions: tuple[int, ...]) -> dict[str, npt.NDArray[np.uint64]]:
    """Give the columns `h3_r{resolution}` of points, all ancestors of one resolution 12 cell.

    One chain for patches and pixels, so that both join: a cell's ancestor need not hold each of its points.

    Args:
        lon: (n,) degrees.
        lat: (n,) degrees.
        resolutions: at most 12 each.

    Returns:
        uint64 (n,) by column name.
    """
    finest = cells(lon, lat, 12)
    return {f"h3_r{resolution}": parents(finest, resolution) for resolution in resolutions}
