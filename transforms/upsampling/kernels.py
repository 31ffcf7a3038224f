"""Compiled loops of upsampling: bilinear weights on rows with phases, and weighted sums of patch vectors.

Belongs here: numba loops. Does not: checks, geometry (`rows.py`), the operators
(the operators' modules). All loops release the GIL and run on one thread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Positions at most this many pitches apart are neighbours; the rest is a hole in the lattice.
ADJACENT_PITCHES = 1.5


@njit(nogil=True, cache=True)
def _first_after(positions: Float64Array, start: int, stop: int, x: float) -> int:
    """Give the first index in `[start, stop)` whose position is above x, or `stop`."""
    while start < stop:
        middle = (start + stop) // 2
        if positions[middle] > x:
            stop = middle
        else:
            start = middle + 1
    return start


@njit(nogil=True, cache=True)
def _share_between(positions: Float64Array, start: int, stop: int, pitch: float, x: float) -> tuple[int, float, float]:
    """Give linear weights of the positions before and after x.

    Between neighbours the weights are linear in their gap. At a hole or an end the one that exists keeps the
    weight that it would have had beside a neighbour one pitch away, so that the weights sum to less than 1.

    Returns:
        (index of the position after x, weight of the one before it, weight of the one after it).
    """
    after = _first_after(positions, start, stop, x)
    has_before = after > start
    has_after = after < stop
    if has_before and has_after:
        gap = positions[after] - positions[after - 1]
        if gap <= ADJACENT_PITCHES * pitch:
            share = (x - positions[after - 1]) / gap
            return after, 1.0 - share, share
    before_weight = max(0.0, 1.0 - (x - positions[after - 1]) / pitch) if has_before else 0.0
    after_weight = max(0.0, 1.0 - (positions[after] - x) / pitch) if has_after else 0.0
    return after, before_weight, after_weight


@njit(nogil=True, cache=True)
def weigh_neighbours(
    points_u: Float64Array,
    points_v: Float64Array,
    patch: Int32Array,
    patch_u: Float64Array,
    row_start: Int64Array,
    row_v: Float64Array,
    row_pitch_u: Float64Array,
    lattice_start: Int64Array,
    pitch_v: float,
    index: Int32Array,
    weight: Float32Array,
    support: Float32Array,
) -> None:
    """Fill unnormalised bilinear weights, four neighbours a lattice; the lattices share the weight equally.

    Args:
        points_u: float64 (m,).
        points_v: float64 (m,).
        patch: int32 (n,), patch numbers sorted by lattice, row and u.
        patch_u: float64 (n,), u of `patch`.
        row_start: int64 (n_rows + 1,), bounds of rows in `patch`.
        row_v: float64 (n_rows,), ascending inside a lattice.
        row_pitch_u: float64 (n_rows,).
        lattice_start: int64 (n_lattices + 1,), bounds of lattices in `row_v`.
        pitch_v: distance of neighbouring rows.
        index: int32 (m, 4 n_lattices), filled with -1; changed.
        weight: float32 (m, 4 n_lattices), filled with 0; changed.
        support: float32 (m,), changed: the sum of the weights.
    """
    n_lattices = len(lattice_start) - 1
    for m in range(len(points_u)):
        total = 0.0
        for lattice in range(n_lattices):
            row_after, south, north = _share_between(
                row_v, lattice_start[lattice], lattice_start[lattice + 1], pitch_v, points_v[m]
            )
            for side in range(2):
                row_weight = north if side else south
                if row_weight == 0.0:
                    continue
                row = row_after - 1 + side
                after, west, east = _share_between(
                    patch_u, row_start[row], row_start[row + 1], row_pitch_u[row], points_u[m]
                )
                slot = 4 * lattice + 2 * side
                if west > 0.0:
                    index[m, slot] = patch[after - 1]
                    weight[m, slot] = row_weight * west / n_lattices
                if east > 0.0:
                    index[m, slot + 1] = patch[after]
                    weight[m, slot + 1] = row_weight * east / n_lattices
                total += row_weight * (west + east) / n_lattices
        support[m] = total


@njit(nogil=True, cache=True)
def interpolate_vectors(vectors: Float32Array, index: Int32Array, weight: Float32Array, out: Float32Array) -> None:
    """Fill weighted sums of patch vectors, point by point, each output row written once in order.

    Args:
        vectors: float32 (n, d).
        index: int32 (m, k); slots with weight 0 are not read.
        weight: float32 (m, k).
        out: float32 (m, d), changed; NaN where all weights are 0.
    """
    for m in range(index.shape[0]):
        row = out[m]
        is_first = True
        for k in range(index.shape[1]):
            w = weight[m, k]
            if w == 0.0:
                continue
            vector = vectors[index[m, k]]
            if is_first:
                for j in range(len(row)):
                    row[j] = w * vector[j]
                is_first = False
            else:
                for j in range(len(row)):
                    row[j] += w * vector[j]
        if is_first:
            for j in range(len(row)):
                row[j] = np.nan
