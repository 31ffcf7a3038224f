"""Compiled bilinear weights on rows with phases, at listed points.

Belongs here: numba loops that find the neighbours of a point and weigh them, and vectors at points. Does not: checks,
geometry (`rows.py`), weighted sums (`sums.py`), dense windows (`filling.py`). All loops release the GIL and run on
one thread.

Weights are pieces of straight lines: between two positions they are linear in the point. Listed points find theirs by
arithmetic; the pixels of a window keep the piece of the pixel before (`Cells`), which costs no search and no division.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.upsampling.rows import RowLattice
from transforms.upsampling.sums import MOST_SLOTS, finish_streams, write_slots

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Positions at most this many pitches apart are neighbours; the rest is a hole in the lattice.
ADJACENT_PITCHES = 1.5
#: Width of a strip in which points are visited row by row.
STRIP_CELLS = 32
#: Share of float32 rounding that a support may lack: a corner's exact quarter must not fail by one rounding.
SUPPORT_ROUNDING = 1e-6

# Columns of a piece: where it holds, [LOW, HIGH); max(0, SHARE + SLOPE * (x - ORIGIN)) of both sides.
LOW, HIGH, ORIGIN, BEFORE_SHARE, BEFORE_SLOPE, AFTER_SHARE, AFTER_SLOPE = range(7)


class RowArrays(NamedTuple):
    """What of a `RowLattice` the loops read, in the form in which numba takes it; same names and meanings."""

    patch: Int32Array
    u: Float64Array
    row_start: Int64Array
    row_v: Float64Array
    row_pitch_u: Float64Array
    lattice_start: Int64Array
    pitch_v: float


class Cells(NamedTuple):
    """The pieces in which the last point lay.

    Attributes:
        piece: float64 (3 n_lattices, 7), columns as above; of each lattice one piece between rows, one along the row
            before and one along the row after.
        after: int64 (3 n_lattices,), first position beyond the point.
    """

    piece: Float64Array
    after: Int64Array


def row_arrays(rows: RowLattice) -> RowArrays:
    """Give the arrays of a lattice as the loops take them."""
    return RowArrays(
        rows.patch, rows.u, rows.row_start, rows.row_v, rows.row_pitch_u, rows.lattice_start, float(rows.pitch_v)
    )


@njit(nogil=True, cache=True, error_model="numpy")
def no_cells(n_lattices: int) -> Cells:
    """Give pieces that hold nowhere."""
    piece = np.zeros((3 * n_lattices, 7))
    piece[:, LOW] = np.inf
    return Cells(piece, np.zeros(3 * n_lattices, np.int64))


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def first_after(positions: Float64Array, start: int, stop: int, pitch: float, x: float) -> int:
    """Give the first index in `[start, stop)` whose position is above x, or `stop`: by arithmetic, else by search."""
    if start == stop or positions[start] > x:
        return start
    steps = (x - positions[start]) / pitch
    if steps < stop - start - 1:
        # rows are even but for rounding: without holes this is nearly always the answer
        after = start + 1 + int(steps)
        if positions[after - 1] <= x < positions[after]:
            return after
    while start < stop:
        middle = (start + stop) // 2
        if positions[middle] > x:
            stop = middle
        else:
            start = middle + 1
    return start


@njit(nogil=True, cache=True, error_model="numpy")
def enter_piece(
    positions: Float64Array, start: int, stop: int, pitch: float, x: float, cells: Cells, which: int
) -> None:
    """Find the piece of x: weights of the position before it and of the one after it.

    Between neighbours the weights are linear in their gap. At a hole or an end the one that exists keeps the
    weight that it would have had beside a neighbour one pitch away, so that the weights sum to less than 1.
    """
    after = first_after(positions, start, stop, pitch, x)
    has_before, has_after = after > start, after < stop
    low = positions[after - 1] if has_before else -np.inf
    high = positions[after] if has_after else np.inf
    if has_before and has_after and high - low <= ADJACENT_PITCHES * pitch:
        pitch = high - low
    origin = low if has_before else (high if has_after else x)
    piece = cells.piece
    piece[which, LOW], piece[which, HIGH], piece[which, ORIGIN] = low, high, origin
    piece[which, BEFORE_SHARE] = 1.0 if has_before else 0.0
    piece[which, BEFORE_SLOPE] = -1.0 / pitch if has_before else 0.0
    piece[which, AFTER_SHARE] = 1.0 - (high - origin) / pitch if has_after else 0.0
    piece[which, AFTER_SLOPE] = 1.0 / pitch if has_after else 0.0
    cells.after[which] = after


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _share_between(positions: Float64Array, start: int, stop: int, pitch: float, x: float) -> tuple[int, float, float]:
    """Give (first index after x, weight of the position before it, weight of the one after it); as `enter_piece`."""
    after = first_after(positions, start, stop, pitch, x)
    if start < after < stop:
        gap = positions[after] - positions[after - 1]
        if gap <= ADJACENT_PITCHES * pitch:
            share = (x - positions[after - 1]) / gap
            return after, 1.0 - share, share
    before_weight = max(0.0, 1.0 - (x - positions[after - 1]) / pitch) if after > start else 0.0
    after_weight = max(0.0, 1.0 - (positions[after] - x) / pitch) if after < stop else 0.0
    return after, before_weight, after_weight


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def weigh_point(rows: RowArrays, u: float, v: float, index: Int64Array, weight: Float64Array) -> float:
    """Give unnormalised bilinear weights around one point; the lattices share the weight equally.

    Args:
        rows: the lattice.
        u: as the lattice counts it (`RowLattice.along`).
        v: across rows.
        index: int64 (>= 4 n_lattices,), patch numbers or -1, changed: of each lattice the row before, then the row
            after, in each the patch before, then the patch after.
        weight: float64 (>= 4 n_lattices,), changed; 0 where index is -1.

    Returns:
        The sum of the weights.
    """
    n_lattices = len(rows.lattice_start) - 1
    lattice_weight = 1.0 / n_lattices
    total = 0.0
    for lattice in range(n_lattices):
        first, last = rows.lattice_start[lattice], rows.lattice_start[lattice + 1]
        row_after, south, north = _share_between(rows.row_v, first, last, rows.pitch_v, v)
        for side in range(2):
            slot = 4 * lattice + 2 * side
            index[slot] = index[slot + 1] = -1
            weight[slot] = weight[slot + 1] = 0.0
            row_weight = (north if side else south) * lattice_weight
            if row_weight == 0.0:
                continue
            row = row_after - 1 + side
            start, stop = rows.row_start[row], rows.row_start[row + 1]
            after, west, east = _share_between(rows.u, start, stop, rows.row_pitch_u[row], u)
            if west > 0.0:
                index[slot], weight[slot] = rows.patch[after - 1], row_weight * west
            if east > 0.0:
                index[slot + 1], weight[slot + 1] = rows.patch[after], row_weight * east
            total += row_weight * (west + east)
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def weigh_points(
    rows: RowArrays,
    points_u: Float64Array,
    points_v: Float64Array,
    min_support: float,
    index: Int32Array,
    weight: Float32Array,
    support: Float32Array,
) -> None:
    """Fill bilinear weights that sum to 1, four neighbours a lattice; 0 where support is too small.

    Args:
        rows: the lattice.
        points_u: float64 (m,).
        points_v: float64 (m,).
        min_support: least sum of the weights of patches that exist.
        index: int32 (m, 4 n_lattices), changed; as in `weigh_point`.
        weight: float32 (m, 4 n_lattices), changed.
        support: float32 (m,), changed: the sum of the weights of patches that exist.
    """
    n_slots = index.shape[1]
    found, found_weight = np.empty(n_slots, np.int64), np.empty(n_slots, np.float64)
    for m in range(len(points_u)):
        total = weigh_point(rows, points_u[m], points_v[m], found, found_weight)
        support[m] = total
        scale = 1.0 / total if total >= min_support - SUPPORT_ROUNDING else 0.0
        for slot in range(n_slots):
            index[m, slot] = found[slot]
            weight[m, slot] = found_weight[slot] * scale


@njit(nogil=True, cache=True, error_model="numpy")
def sample_points(
    rows: RowArrays,
    table: Float32Array,
    dims: int,
    points_u: Float64Array,
    points_v: Float64Array,
    order: Int64Array,
    min_support: float,
    out: Float32Array,
    is_streamed: bool,
) -> None:
    """Fill vectors at points: `weigh_points` and `sum_vectors` in one pass.

    Args:
        rows: the lattice; a patch that it holds has a finite vector.
        table: float32 (n * dims,), vectors one after the other.
        dims: d.
        points_u: float64 (m,), in the order in which points are visited.
        points_v: float64 (m,), in the same order.
        order: int64 (m,), which row of `out` each of them has.
        min_support: least sum of the weights of patches that exist.
        out: float32 (m * dims,), changed; NaN where support is too small.
        is_streamed: see `write_four`.
    """
    most_slots = 4 * (len(rows.lattice_start) - 1)
    found, found_weight = np.empty(most_slots, np.int64), np.empty(most_slots, np.float64)
    starts = np.empty(max(most_slots, MOST_SLOTS), np.int64)
    weights = np.empty(len(starts), np.float32)
    for i in range(len(order)):
        total = weigh_point(rows, points_u[i], points_v[i], found, found_weight)
        scale = 1.0 / total if total >= min_support - SUPPORT_ROUNDING else 0.0
        n_slots = 0
        for slot in range(most_slots):
            weight = np.float32(found_weight[slot] * scale)
            if weight != 0.0:
                starts[n_slots], weights[n_slots] = found[slot] * dims, weight
                n_slots += 1
        write_slots(table, starts, weights, n_slots, dims, out, order[i] * dims, is_streamed)
    finish_streams()


@njit(nogil=True, cache=True, error_model="numpy")
def order_by_cell(
    u: Float64Array, v: Float64Array, u_low: float, v_low: float, pitch_u: float, pitch_v: float, n_u: int, n_v: int
) -> Int64Array:
    """Order points by cells, by counting: strips of columns, in a strip row by row.

    Four rows of a strip (two lattices) fit in the cache, so that each vector is fetched once.

    Args:
        u: float64 (m,).
        v: float64 (m,).
        u_low: where the first cell begins; points before it count to the first, points beyond the last to the last.
        v_low: the same across rows.
        pitch_u: size of a cell.
        pitch_v: size of a cell.
        n_u: cells of a row.
        n_v: rows.

    Returns:
        int64 (m,), numbers of the points.
    """
    key = np.empty(len(u), np.int64)
    n_cells = -(-n_u // STRIP_CELLS) * STRIP_CELLS * n_v
    place = np.zeros(n_cells + 1, np.int64)
    for m in range(len(u)):
        column = np.int64(min(max((u[m] - u_low) / pitch_u, 0.0), n_u - 1.0))
        row = np.int64(min(max((v[m] - v_low) / pitch_v, 0.0), n_v - 1.0))
        strip, in_strip = column // STRIP_CELLS, column % STRIP_CELLS
        key[m] = (strip * n_v + row) * STRIP_CELLS + in_strip
        place[key[m] + 1] += 1
    for cell in range(n_cells):
        place[cell + 1] += place[cell]
    order = np.empty(len(u), np.int64)
    for m in range(len(u)):
        order[place[key[m]]] = m
        place[key[m]] += 1
    return order
