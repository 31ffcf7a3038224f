"""Compiled loops of area-to-point kriging: neighbourhoods, covariances of blocks, weights.

Belongs here: numba loops. Does not: checks, the estimate of the length, the operator (`kriging.py`, which has the
formulas). All loops release the GIL and run on one thread.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Added to the reach in pitches: patches at its very end have noise without bound.
_REACH_SLACK = 1e-3


@njit(nogil=True, cache=True)
def gather_neighbours(
    u: float,
    v: float,
    patch_u: Float64Array,
    row_start: Int64Array,
    row_v: Float64Array,
    row_pitch_u: Float64Array,
    lattice_start: Int64Array,
    pitch_v: float,
    reach: float,
    found: Int64Array,
) -> int:
    """Fill positions of the patches less than `reach` pitches from (u, v) along either axis; give their number.

    `found` int64 must hold `(floor(2 reach) + 2)^2` a lattice.
    """
    n = 0
    for lattice in range(len(lattice_start) - 1):
        first, last = lattice_start[lattice], lattice_start[lattice + 1]
        row = first + np.searchsorted(row_v[first:last], v - reach * pitch_v)
        while row < last and row_v[row] < v + reach * pitch_v:
            start, stop = row_start[row], row_start[row + 1]
            width = reach * row_pitch_u[row]
            position = start + np.searchsorted(patch_u[start:stop], u - width)
            while position < stop and patch_u[position] < u + width:
                found[n] = position
                n += 1
                position += 1
            row += 1
    return n


@njit(nogil=True, cache=True)
def _integral(z: float, length: float) -> float:
    """Integrate the covariance along one axis from 0 to z."""
    return length * math.sqrt(math.pi / 2) * math.erf(z / (length * math.sqrt(2.0)))


@njit(nogil=True, cache=True)
def _second_integral(z: float, length: float) -> float:
    """Integrate the integral, up to a constant that cancels."""
    return z * _integral(z, length) + length**2 * math.exp(-0.5 * (z / length) ** 2)


@njit(nogil=True, cache=True)
def point_block(distance: float, side: float, length: float) -> float:
    """Give the covariance, along one axis, of a point and the mean over a segment centred `distance` away."""
    return (_integral(distance + side / 2, length) - _integral(distance - side / 2, length)) / side


@njit(nogil=True, cache=True)
def block_block(distance: float, side: float, length: float) -> float:
    """Give the covariance, along one axis, of the means over two segments."""
    outer = _second_integral(distance + side, length) + _second_integral(distance - side, length)
    return (outer - 2.0 * _second_integral(distance, length)) / side**2


@njit(nogil=True, cache=True)
def fill_block_covariances(x: Float64Array, y: Float64Array, side: float, length: float, out: Float64Array) -> None:
    """Fill the covariances of pairs of blocks at offsets (x, y); all float64 (n,)."""
    for i in range(len(x)):
        out[i] = block_block(x[i], side, length) * block_block(y[i], side, length)


@njit(nogil=True, cache=True)
def _factor(matrix: Float64Array, n: int) -> None:
    """Replace the lower triangle of the leading n x n of a positive definite matrix by its Cholesky factor."""
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = math.sqrt(total) if i == j else total / matrix[j, j]


@njit(nogil=True, cache=True)
def _solve(factor: Float64Array, n: int, values: Float64Array) -> None:
    """Replace the first n values by the solution for them, given the Cholesky factor."""
    for i in range(n):
        for k in range(i):
            values[i] -= factor[i, k] * values[k]
        values[i] /= factor[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            values[i] -= factor[k, i] * values[k]
        values[i] /= factor[i, i]


@njit(nogil=True, cache=True)
def _far_share(x: float, y: float, farthest: float) -> float:
    """Give the share of `edge_noise` of a patch: 0 at the anchor, 1 at 0.7 of the way, without bound at the edge."""
    square = min((max(abs(x), abs(y)) / farthest) ** 2, 0.999)
    return (square / (1.0 - square)) ** 2


@njit(nogil=True, cache=True)
def weigh_blocks(
    points_u: Float64Array,
    points_v: Float64Array,
    anchor: Int64Array,
    order: Int64Array,
    patch: Int32Array,
    patch_u: Float64Array,
    patch_v: Float64Array,
    u_scale_m: Float64Array,
    v_scale_m: float,
    row_start: Int64Array,
    row_v: Float64Array,
    row_pitch_u: Float64Array,
    lattice_start: Int64Array,
    pitch_v: float,
    reach: float,
    side_m: float,
    length_m: float,
    nugget: float,
    edge_noise: float,
    index: Int32Array,
    weight: Float32Array,
) -> None:
    """Fill ordinary kriging weights; points with the same anchor share one factorised system.

    Args:
        points_u: float64 (m,).
        points_v: float64 (m,).
        anchor: int64 (m,), position of the patch whose neighbourhood a point takes.
        order: int64, the points that get weights, those of one anchor side by side.
        patch: int32 (n,), see `RowLattice`, like the other columns.
        patch_u: float64 (n,).
        patch_v: float64 (n,), v of each patch's row.
        u_scale_m: float64 (n,), metres of a unit of u at each patch.
        v_scale_m: metres of a unit of v.
        row_start: int64 (n_rows + 1,).
        row_v: float64 (n_rows,).
        row_pitch_u: float64 (n_rows,).
        lattice_start: int64 (n_lattices + 1,).
        pitch_v: distance of neighbouring rows.
        reach: of neighbourhoods in pitches, see `gather_neighbours`.
        side_m: side of a footprint.
        length_m: correlation length.
        nugget: share of the variance of a block.
        edge_noise: noise towards the edge of a neighbourhood, likewise a share.
        index: int32 (m, k), filled with -1; changed.
        weight: float32 (m, k), filled with 0; changed.
    """
    k = index.shape[1]
    around = np.empty(k, np.int64)
    x, y, ones, values = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    matrix = np.empty((k, k))
    n, total, across, last = 0, 0.0, 0.0, -1
    farthest_m = (reach + _REACH_SLACK) * pitch_v * v_scale_m
    variance = block_block(0.0, side_m, length_m) ** 2
    for m in order:
        a = anchor[m]
        if a != last:
            last = a
            n = gather_neighbours(
                patch_u[a],
                patch_v[a],
                patch_u,
                row_start,
                row_v,
                row_pitch_u,
                lattice_start,
                pitch_v,
                reach,
                around,
            )
            for i in range(n):
                x[i] = (patch_u[around[i]] - patch_u[a]) * u_scale_m[a]
                y[i] = (patch_v[around[i]] - patch_v[a]) * v_scale_m
                for j in range(i + 1):
                    # patches come row by row: the part across rows is the same along a row
                    if j == 0 or y[j] != y[j - 1]:
                        across = block_block(y[i] - y[j], side_m, length_m)
                    matrix[i, j] = block_block(x[i] - x[j], side_m, length_m) * across
                matrix[i, i] += variance * (nugget + edge_noise * _far_share(x[i], y[i], farthest_m))
                ones[i] = 1.0
            _factor(matrix, n)
            _solve(matrix, n, ones)
            total = ones[:n].sum()
        point_x = (points_u[m] - patch_u[a]) * u_scale_m[a]
        point_y = (points_v[m] - patch_v[a]) * v_scale_m
        for i in range(n):
            values[i] = point_block(point_x - x[i], side_m, length_m) * point_block(point_y - y[i], side_m, length_m)
        _solve(matrix, n, values)
        lacking = (1.0 - values[:n].sum()) / total
        for i in range(n):
            index[m, i] = patch[around[i]]
            weight[m, i] = values[i] + lacking * ones[i]
