"""Compiled sweeps over the bands of one int8 window: exact sums and extremes of many boxes in one pass.

Belongs here: running column sums and extremes, and what boxes take from them. Does not: which box takes what at
which row (`sweep_plan.py`), what sums become (`sums.py`), floats (`kernels.py`).

A band is read row by row into running sums per column, which stay in the first cache. A pixel costs the same
however many boxes hold it, and a box costs four rows of columns instead of thirty-three. All numbers are integers:
nothing depends on the order of boxes, bands, windows or threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.pooling.sweep_plan import (
    COL0,
    COL1,
    DIRECT_ROW,
    INNER,
    LEFT,
    RIGHT,
    SEGMENT,
    SLOT,
    SweepPlan,
    plan_sweep,
)

Int8Array = npt.NDArray[np.int8]
UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Rows whose v^4 still add up in 32 bits: 16 * 127^4 < 2^32.
_SQUARE_ROWS = 16


@njit(nogil=True, cache=True)
def _add_row(codes, total):  # type: ignore[no-untyped-def]
    for j in range(len(codes)):
        v = np.int32(codes[j])
        total[j] += np.int32(v * abs(v))


@njit(nogil=True, cache=True)
def _add_row_and_squares(codes, total, square):  # type: ignore[no-untyped-def]
    for j in range(len(codes)):
        v = np.int32(codes[j])
        f = np.int32(v * abs(v))
        total[j] += f
        square[j] += np.uint32(f * f)


@njit(nogil=True, cache=True)
def _carry(square, square_high):  # type: ignore[no-untyped-def]
    """Empty the 32-bit sums of squares into the 64-bit ones."""
    for j in range(len(square)):
        square_high[j] += square[j]
    for j in range(len(square)):
        square[j] = 0


@njit(nogil=True, cache=True)
def _mask_row(codes, mask, clean):  # type: ignore[no-untyped-def]
    for j in range(len(codes)):
        clean[j] = codes[j] * mask[j]


@njit(nogil=True, cache=True)
def _weigh(running, items, e):  # type: ignore[no-untyped-def]
    """Give what an event adds to the sum of its box; a border column that is not there is multiplied by 0."""
    col0, col1 = items[e, COL0], items[e, COL1]
    whole = running[col0:col1]
    inner = np.int64(0)
    for j in range(len(whole)):
        inner += np.int64(whole[j])
    left = np.int64(running[max(col0 - 1, 0)])
    right = np.int64(running[col1])
    return items[e, INNER] * inner + items[e, LEFT] * left + items[e, RIGHT] * right


@njit(nogil=True, cache=True)
def _sweep_sums(values, mask, b, start, items, extent, sum1, sum2):  # type: ignore[no-untyped-def]
    """Add one band to the sums of v|v| and, where `sum2` is not empty, of v^4."""
    row0, row1, col0, col1 = extent
    width = values.shape[2] + 1  # an event may ask for the column behind the last
    total, square = np.zeros(width, np.int32), np.zeros(width, np.uint32)
    square_high, clean = np.zeros(width, np.int64), np.empty(col1 - col0, np.int8)
    for i in range(row0, row1 + 1):
        for e in range(start[i], start[i + 1]):
            slot = items[e, SLOT]
            sum1[b, slot] += _weigh(total, items, e)
            if len(sum2):
                sum2[b, slot] += _weigh(square_high, items, e) + _weigh(square, items, e)
        if i == row1:
            break
        codes = values[b, i, col0:col1]
        if len(mask):
            _mask_row(codes, mask[i, col0:col1], clean)
            codes = clean
        if len(sum2):
            _add_row_and_squares(codes, total[col0:col1], square[col0:col1])
            if i % _SQUARE_ROWS == _SQUARE_ROWS - 1:
                _carry(square[col0:col1], square_high[col0:col1])
        else:
            _add_row(codes, total[col0:col1])


@njit(nogil=True, cache=True)
def _sweep_powers(values, mask, b, start, items, extent, table, powers):  # type: ignore[no-untyped-def]
    """Add one band to the sums of powers, limb by limb."""
    row0, row1, col0, col1 = extent
    clean = np.empty(col1 - col0, np.int8)
    for limb in range(len(table)):
        numbers = table[limb]
        total = np.zeros(values.shape[2] + 1, np.int64)
        for i in range(row0, row1 + 1):
            for e in range(start[i], start[i + 1]):
                powers[limb, b, items[e, SLOT]] += _weigh(total, items, e)
            if i == row1:
                break
            codes = values[b, i, col0:col1]
            if len(mask):
                _mask_row(codes, mask[i, col0:col1], clean)
                codes = clean
            running = total[col0:col1]
            for j in range(len(codes)):
                running[j] += numbers[np.uint8(codes[j])]


@njit(nogil=True, cache=True)
def _lower(codes, low):  # type: ignore[no-untyped-def]
    for j in range(len(codes)):
        low[j] = min(low[j], codes[j])


@njit(nogil=True, cache=True)
def _raise(codes, high):  # type: ignore[no-untyped-def]
    for j in range(len(codes)):
        high[j] = max(high[j], codes[j])


@njit(nogil=True, cache=True)
def _widen(codes, mask, low, high):  # type: ignore[no-untyped-def]
    """Take a row into running extremes; an empty mask: all valid."""
    if len(mask) == 0:
        _lower(codes, low)
        _raise(codes, high)
        return
    for j in range(len(codes)):
        low[j] = min(low[j], codes[j] if mask[j] else np.int8(127))
    for j in range(len(codes)):
        high[j] = max(high[j], codes[j] if mask[j] else np.int8(-127))


@njit(nogil=True, cache=True)
def _least(low, col0, col1):  # type: ignore[no-untyped-def]
    codes = low[col0:col1]
    lowest = np.int8(127)
    for j in range(len(codes)):
        lowest = min(lowest, codes[j])
    return lowest


@njit(nogil=True, cache=True)
def _largest(high, col0, col1):  # type: ignore[no-untyped-def]
    codes = high[col0:col1]
    highest = np.int8(-127)
    for j in range(len(codes)):
        highest = max(highest, codes[j])
    return highest


@njit(nogil=True, cache=True)
def _forget(low, high):  # type: ignore[no-untyped-def]
    for j in range(len(low)):
        low[j] = 127
    for j in range(len(high)):
        high[j] = -127


@njit(nogil=True, cache=True)
def _take_extremes(run_low, run_high, items, e, b, low, high):  # type: ignore[no-untyped-def]
    slot, col0, col1 = items[e, SLOT], items[e, COL0], items[e, COL1]
    low[b, slot] = min(low[b, slot], _least(run_low, col0, col1))
    high[b, slot] = max(high[b, slot], _largest(run_high, col0, col1))


@njit(nogil=True, cache=True)
def _sweep_extremes(  # type: ignore[no-untyped-def]
    values, mask, b, start, items, back_start, back_items, extent, low, high
):
    """Widen the extremes by one band: forward through each segment of rows, and backward where it ends."""
    row0, row1, col0, col1 = extent
    width = values.shape[2]
    run_low, run_high = np.empty(width, np.int8), np.empty(width, np.int8)
    _forget(run_low, run_high)
    no_mask = np.empty(0, np.uint8)
    for i in range(row0, row1 + 1):
        for e in range(start[i], start[i + 1]):
            if items[e, DIRECT_ROW] < 0:
                _take_extremes(run_low, run_high, items, e, b, low, high)
            else:
                _read_directly(values[b], mask, i, items[e], low[b], high[b])
        if i == row1:
            break
        if i % SEGMENT == 0:
            _forget(run_low, run_high)
        valid = mask[i, col0:col1] if len(mask) else no_mask
        _widen(values[b, i, col0:col1], valid, run_low[col0:col1], run_high[col0:col1])
        first = max(i + 1 - SEGMENT, row0)
        if i % SEGMENT == SEGMENT - 1 and back_start[first] < back_start[i + 1]:
            _forget(run_low, run_high)
            for k in range(i, first - 1, -1):
                valid = mask[k, col0:col1] if len(mask) else no_mask
                _widen(values[b, k, col0:col1], valid, run_low[col0:col1], run_high[col0:col1])
                for e in range(back_start[k], back_start[k + 1]):
                    _take_extremes(run_low, run_high, back_items, e, b, low, high)


@njit(nogil=True, cache=True)
def _read_directly(band, mask, row1, event, low, high):  # type: ignore[no-untyped-def]
    """Take the extremes of a box that begins and ends within one segment."""
    slot = event[SLOT]
    for i in range(event[DIRECT_ROW], row1):
        for j in range(event[COL0], event[COL1]):
            if len(mask) == 0 or mask[i, j]:
                low[slot] = min(low[slot], band[i, j])
                high[slot] = max(high[slot], band[i, j])


@njit(nogil=True, cache=True)
def _sweep_bands(  # type: ignore[no-untyped-def]
    values, mask, first, stop, sums, sum_items, forward, forward_items, backward, backward_items, extent,
    table, sum1, sum2, powers, low, high,
):  # fmt: skip
    """Do all that one band asks for while it lies in the cache, then the next."""
    for b in range(first, stop):
        if len(sum1):
            _sweep_sums(values, mask, b, sums, sum_items, extent, sum1, sum2)
        if len(powers):
            _sweep_powers(values, mask, b, sums, sum_items, extent, table, powers)
        if len(low):
            _sweep_extremes(values, mask, b, forward, forward_items, backward, backward_items, extent, low, high)


@dataclass
class BandSums:
    """What is kept of codes v, band by band; empty arrays are not wanted.

    Attributes:
        sum1: int64 (band, slot) or (0, 0): sum of w v|v|, w in 2^-16 pixel areas.
        sum2: int64 (band, slot) or (0, 0): sum of w v^4; needs `sum1`.
        table: int32 (limb, 256): numbers by code, the code taken as uint8.
        powers: int64 (limb, band, slot) or (0, 0, 0): sum of w table[limb, v].
        low: int8 (band, slot) or (0, 0): least v over valid pixels whose centre is inside; 127 where there is none.
        high: int8 (band, slot) or (0, 0): largest v, or -127.
    """

    sum1: Int64Array
    sum2: Int64Array
    table: Int32Array
    powers: Int64Array
    low: Int8Array
    high: Int8Array


def sweep_codes(values: Int8Array, mask: UInt8Array, bands: tuple[int, int], plan: SweepPlan, kept: BandSums) -> None:
    """Add some bands of a window of codes to what is kept; other bands may be swept by other threads meanwhile.

    Args:
        values: int8 (band, height, width), C-contiguous.
        mask: uint8 (height, width), 1 = valid; (0, 0): all are.
        bands: first band and the one behind the last.
        plan: the boxes, in the row order of `values`.
        kept: changed.
    """
    sums, forward, backward = plan.sums, plan.forward, plan.backward
    _sweep_bands(
        values, mask, bands[0], bands[1],
        sums.start, sums.items, forward.start, forward.items, backward.start, backward.items, plan.extent,
        kept.table, kept.sum1, kept.sum2, kept.powers, kept.low, kept.high,
    )  # fmt: skip


def add_weights(mask: Int8Array, rows: Int64Array, cols: Int64Array) -> Int64Array:
    """Sum the area shares of the pixels of boxes that are 1 in a mask.

    Args:
        mask: int8 (height, width), 0 or 1, C-contiguous.
        rows: int64 (n, 8) spans along y (layout: `kernels.py`), n > 0.
        cols: int64 (n, 8) spans along x.

    Returns:
        int64 (n,) in 2^-16 pixels.
    """
    plan = plan_sweep(rows, cols, np.arange(len(rows)), mask.shape[0], is_mirrored=False)
    weight = np.zeros((1, len(rows)), np.int64)
    no_squares, no_mask = np.empty((0, 0), np.int64), np.empty((0, 0), np.uint8)
    # v|v| of 1 is 1
    _sweep_sums(mask[None], no_mask, 0, plan.sums.start, plan.sums.items, plan.extent, weight, no_squares)
    return weight[0]
