"""Ground of patches in the units of a lattice: the cell that holds a point, points that tile a footprint.

Belongs here: geometry of cells and footprints along rows. Does not: lattices as rows (`rows.py`), polygons of
footprints (`transforms/utm.py`), weights.

A cell is what one patch owns of its row: half a pitch to either side along the row, half a row pitch across. A
footprint is the box of `side_m` around the centroid, taken along u and v; a UTM box is turned against it by the
grid convergence (below 3 degrees), which moves no mean over it noticeably.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.errors import ShapeError
from transforms.lattice import EARTH_RADIUS_M
from transforms.upsampling.inputs import as_points
from transforms.upsampling.rows import RowLattice

Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Half a cell in pitches, a hundredth more: centroids stand a little off their grid, and no gap may open for that.
_HALF_CELL = 0.505
_M_PER_DEG = float(np.radians(1.0) * EARTH_RADIUS_M)


def patch_v(rows: RowLattice) -> Float64Array:
    """Give the v of the row of each patch: float64 (n,), in the order of `rows.patch`."""
    return np.repeat(rows.row_v, np.diff(rows.row_start))


def u_scale_m(rows: RowLattice, v: npt.ArrayLike) -> Float64Array:
    """Give the metres of one unit of u at v: 1 in the plane, the length of a degree of longitude on the sphere."""
    at = np.asarray(v, np.float64)
    return _M_PER_DEG * np.cos(np.radians(at)) if rows.is_geographic else np.ones_like(at)


def v_scale_m(rows: RowLattice) -> float:
    """Give the metres of one unit of v."""
    return _M_PER_DEG if rows.is_geographic else 1.0


def holding_cells(rows: RowLattice, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> Int32Array:
    """Give the patch of each lattice whose cell holds a point.

    Args:
        rows: the lattice.
        points_u: (m,) in the units of `rows`.
        points_v: (m,).

    Returns:
        int32 (m, n_lattices), patch numbers; -1 where that patch is missing.

    Raises:
        ShapeError: u and v differ in length or are not finite.
    """
    u, v = as_points(points_u, points_v)
    found = np.full((len(u), rows.n_lattices), -1, np.int32)
    _find_cells(
        rows.along(u),
        v,
        rows.patch,
        rows.u,
        rows.row_start,
        rows.row_v,
        rows.row_pitch_u,
        rows.lattice_start,
        rows.pitch_v,
        found,
    )
    return found


def footprint_points(
    rows: RowLattice, points_per_side: int, which: slice = slice(None)
) -> tuple[Float64Array, Float64Array]:
    """Give points that tile each footprint evenly: the centres of n x n equal boxes.

    Args:
        rows: the lattice.
        points_per_side: n.
        which: positions in `rows.patch`.

    Returns:
        (u, v), both float64 (patches, n * n), in the order of `rows.patch`, v slowest.

    Raises:
        ShapeError: n is below 1.
    """
    if points_per_side < 1:
        raise ShapeError("points_per_side", points_per_side, "at least 1", "16 is the default.")
    centre_v = patch_v(rows)[which]
    offset_m = ((np.arange(points_per_side) + 0.5) / points_per_side - 0.5) * rows.side_m
    along, across = np.tile(offset_m, points_per_side), np.repeat(offset_m, points_per_side)
    u = rows.u[which, None] + along / u_scale_m(rows, centre_v)[:, None]
    return u, centre_v[:, None] + across / v_scale_m(rows)


@njit(nogil=True, cache=True)
def _nearest_position(positions: Float64Array, start: int, stop: int, x: float) -> int:
    """Give the index in `[start, stop)` of the position nearest to x; positions ascend, the range is not empty."""
    after = start + int(np.searchsorted(positions[start:stop], x))
    if after == start:
        return after
    if after == stop or x - positions[after - 1] <= positions[after] - x:
        return after - 1
    return after


@njit(nogil=True, cache=True)
def _find_cells(
    points_u: Float64Array,
    points_v: Float64Array,
    patch: Int32Array,
    patch_u: Float64Array,
    row_start: Int64Array,
    row_v: Float64Array,
    row_pitch_u: Float64Array,
    lattice_start: Int64Array,
    pitch_v: float,
    found: Int32Array,
) -> None:
    """Fill the patches that hold points; `found` int32 (m, n_lattices) comes filled with -1."""
    for m in range(len(points_u)):
        for lattice in range(len(lattice_start) - 1):
            first, last = lattice_start[lattice], lattice_start[lattice + 1]
            if first == last:
                continue
            row = _nearest_position(row_v, first, last, points_v[m])
            if abs(points_v[m] - row_v[row]) > _HALF_CELL * pitch_v or row_start[row] == row_start[row + 1]:
                continue
            cell = _nearest_position(patch_u, row_start[row], row_start[row + 1], points_u[m])
            if abs(points_u[m] - patch_u[cell]) <= _HALF_CELL * row_pitch_u[row]:
                found[m, lattice] = patch[cell]
