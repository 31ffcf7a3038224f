"""Compiled loops that fill dense windows from patches on rows.

Belongs here: numba loops over the pixels of image rows: where they are, their weights, their sums. Does not: checks,
projections (`dense.py`), weights at listed points (`kernels.py`). Divisors are pitches and gaps, above 0: numba's
checks of that would keep loops from being vectorised. All loops release the GIL and run on one thread.

Pixels of an image row come in runs that have the same neighbours. In a run all weights are straight lines, so they
are found without branches, and the neighbours are looked up once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.upsampling.kernels import (
    AFTER_SHARE,
    AFTER_SLOPE,
    BEFORE_SHARE,
    BEFORE_SLOPE,
    HIGH,
    LOW,
    ORIGIN,
    SUPPORT_ROUNDING,
    Cells,
    RowArrays,
    enter_piece,
    no_cells,
)
from transforms.upsampling.sums import MOST_SLOTS, finish_streams, write_eight, write_four

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Longest run of pixels that is weighed at once.
RUN_PX = 64


class Nodes(NamedTuple):
    """Exact positions of some pixel centres; three nodes a side make a piece in which positions are quadratic.

    Attributes:
        u: float64 (n_node_rows, n_node_columns), odd numbers of both.
        v: float64, same shape.
        step: pixels from node to node.
        seam: positions along rows lie in [seam, seam + turn).
        turn: 360 for longitudes; 0 for metres, which do not turn.
    """

    u: Float64Array
    v: Float64Array
    step: int
    seam: float
    turn: float


@njit(nogil=True, cache=True, error_model="numpy")
def place_row(nodes: Nodes, row: int, u: Float64Array, v: Float64Array) -> None:
    """Fill the positions of the pixel centres of one image row.

    Args:
        nodes: of the window.
        row: image row.
        u: float64 (width,), changed.
        v: float64 (width,), changed.
    """
    size = 2 * nodes.step
    down = row // size
    t = (row - down * size) / size
    first, middle, last = (1.0 - t) * (1.0 - 2.0 * t), 4.0 * t * (1.0 - t), t * (2.0 * t - 1.0)
    for positions, out in ((nodes.u, u), (nodes.v, v)):
        north, between, south = positions[2 * down], positions[2 * down + 1], positions[2 * down + 2]
        for start in range(0, len(out), size):
            k = start // nodes.step
            west = first * north[k] + middle * between[k] + last * south[k]
            center = first * north[k + 1] + middle * between[k + 1] + last * south[k + 1]
            east = first * north[k + 2] + middle * between[k + 2] + last * south[k + 2]
            slope = (4.0 * center - 3.0 * west - east) / size
            bend = 2.0 * (west + east - 2.0 * center) / (size * size)
            for j in range(start, min(start + size, len(out))):
                out[j] = west + (j - start) * (slope + bend * (j - start))
    if nodes.turn:
        for j in range(len(u)):
            if u[j] < nodes.seam:
                u[j] += nodes.turn
            elif u[j] >= nodes.seam + nodes.turn:
                u[j] -= nodes.turn


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _find_run(rows: RowArrays, cells: Cells, u: Float64Array, v: Float64Array, first: int) -> int:
    """Find the pieces in which pixel `first` lies, and the end of the run of pixels that lie in all of them."""
    piece = cells.piece
    west, east, south, north = -np.inf, np.inf, -np.inf, np.inf
    for lattice in range(len(rows.lattice_start) - 1):
        between = 3 * lattice
        if not piece[between, LOW] <= v[first] < piece[between, HIGH]:
            start, stop = rows.lattice_start[lattice], rows.lattice_start[lattice + 1]
            enter_piece(rows.row_v, start, stop, rows.pitch_v, v[first], cells, between)
            piece[between + 1, LOW] = piece[between + 2, LOW] = np.inf
        south, north = max(south, piece[between, LOW]), min(north, piece[between, HIGH])
        for side in range(2):
            along = between + 1 + side
            row = cells.after[between] - 1 + side
            if not piece[along, LOW] <= u[first] < piece[along, HIGH]:
                has_row = rows.lattice_start[lattice] <= row < rows.lattice_start[lattice + 1]
                start, stop = (rows.row_start[row], rows.row_start[row + 1]) if has_row else (0, 0)
                pitch = rows.row_pitch_u[row] if has_row else 1.0
                enter_piece(rows.u, start, stop, pitch, u[first], cells, along)
            west, east = max(west, piece[along, LOW]), min(east, piece[along, HIGH])
    end = first + 1
    most = min(len(u), first + RUN_PX)
    while end < most and west <= u[end] < east and south <= v[end] < north:
        end += 1
    return end


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _weigh_run(
    rows: RowArrays,
    cells: Cells,
    u: Float64Array,
    v: Float64Array,
    first: int,
    end: int,
    starts: Int64Array,
    weights: Float64Array,
    support: Float64Array,
) -> None:
    """Fill unnormalised weights of the pixels of a run, and patch numbers of its slots (-1: no patch)."""
    piece = cells.piece
    n_lattices = len(rows.lattice_start) - 1
    n = end - first
    for j in range(n):
        support[j] = 0.0
    for lattice in range(n_lattices):
        for side in range(2):
            between, along, slot = 3 * lattice, 3 * lattice + 1 + side, 4 * lattice + 2 * side
            after = cells.after[along]
            has_west, has_east = piece[along, BEFORE_SLOPE] != 0.0, piece[along, AFTER_SLOPE] != 0.0
            starts[slot] = rows.patch[after - 1] if has_west else -1
            starts[slot + 1] = rows.patch[after] if has_east else -1
            column = BEFORE_SHARE + 2 * side
            row_share, row_slope = piece[between, column] / n_lattices, piece[between, column + 1] / n_lattices
            row_origin, origin = piece[between, ORIGIN], piece[along, ORIGIN]
            west_share, west_slope = piece[along, BEFORE_SHARE], piece[along, BEFORE_SLOPE]
            east_share, east_slope = piece[along, AFTER_SHARE], piece[along, AFTER_SLOPE]
            for j in range(n):
                row_weight = max(0.0, row_share + row_slope * (v[first + j] - row_origin))
                step = u[first + j] - origin
                west = row_weight * max(0.0, west_share + west_slope * step)
                east = row_weight * max(0.0, east_share + east_slope * step)
                weights[slot, j], weights[slot + 1, j] = west, east
                support[j] += west + east


@njit(nogil=True, cache=True, error_model="numpy")
def _normalise_run(
    starts: Int64Array,
    n_slots: int,
    dims: int,
    raw: Float64Array,
    support: Float64Array,
    n: int,
    min_support: float,
    weights: Float32Array,
) -> None:
    """Fill weights that sum to 1, NaN where support is too small, and make patch numbers places in the table."""
    anyone = 0
    for slot in range(n_slots):
        if starts[slot] >= 0:
            anyone = starts[slot]
    for slot in range(MOST_SLOTS):
        # a slot without a patch has no weight, but is read: it repeats another one
        starts[slot] = (starts[slot] if slot < n_slots and starts[slot] >= 0 else anyone) * dims
    for j in range(n):
        support[j] = 1.0 / support[j] if support[j] >= min_support - SUPPORT_ROUNDING else np.nan
    for slot in range(n_slots):
        for j in range(n):
            weights[slot, j] = raw[slot, j] * support[j]


@njit(nogil=True, cache=True, error_model="numpy")
def fill_rows(
    rows: RowArrays,
    table: Float32Array,
    dims: int,
    nodes: Nodes,
    first_row: int,
    n_rows: int,
    width: int,
    min_support: float,
    out: Float32Array,
    is_streamed: bool,
) -> None:
    """Fill bilinear vectors of whole image rows.

    Args:
        rows: one or two lattices; a patch that they hold has a finite vector.
        table: float32 (n * dims,), vectors one after the other; at least one.
        dims: d.
        nodes: where the pixel centres of the window are.
        first_row: image row.
        n_rows: image rows to fill.
        width: pixels of an image row.
        min_support: least sum of the weights of patches that exist.
        out: float32 (n_rows * width * dims,), changed; NaN where support is too small.
        is_streamed: see `sums.write_four`.
    """
    n_slots = 4 * (len(rows.lattice_start) - 1)
    u, v = np.empty(width), np.empty(width)
    starts = np.empty(MOST_SLOTS, np.int64)
    raw, support = np.empty((MOST_SLOTS, RUN_PX)), np.empty(RUN_PX)
    weights = np.zeros((MOST_SLOTS, RUN_PX), np.float32)
    cells = no_cells(len(rows.lattice_start) - 1)
    at = 0
    for row in range(first_row, first_row + n_rows):
        place_row(nodes, row, u, v)
        first = 0
        while first < width:
            end = _find_run(rows, cells, u, v, first)
            _weigh_run(rows, cells, u, v, first, end, starts, raw, support)
            _normalise_run(starts, n_slots, dims, raw, support, end - first, min_support, weights)
            at = _write_run(table, dims, starts, weights, n_slots, end - first, out, at, is_streamed)
            first = end
    finish_streams()


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _write_run(
    table: Float32Array,
    dims: int,
    starts: Int64Array,
    weights: Float32Array,
    n_slots: int,
    n: int,
    out: Float32Array,
    at: int,
    is_streamed: bool,
) -> int:
    """Write the sums of a run one after the other; give where the next one starts."""
    four = (starts[0], starts[1], starts[2], starts[3])
    eight = (*four, starts[4], starts[5], starts[6], starts[7])
    for j in range(n):
        four_weights = (weights[0, j], weights[1, j], weights[2, j], weights[3, j])
        # a pixel without support has NaN weights, so that its sum is NaN too
        if n_slots == 4:
            write_four(table, four, four_weights, dims, out, at, is_streamed)
        else:
            eight_weights = (*four_weights, weights[4, j], weights[5, j], weights[6, j], weights[7, j])
            write_eight(table, eight, eight_weights, dims, out, at, is_streamed)
        at += dims
    return at
