"""Compiled loops of pooling: exact integer sums of int8 codes, float64 sums of floats.

Belongs here: numba loops over one window. Does not: geometry (`sums.py` turns boxes into
spans), checks, results. All loops release the GIL and run on one thread.

A *span* is one axis of one box inside one window, an int64 row of `SPAN_FIELDS` numbers: the pixels
`[full0, full1)` are covered whole; `first` and `last` are the border pixels with their shares in 2^-16 of a
pixel (share 0 = no such pixel) and whether their centre lies inside the box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

#: Shares are integers in units of 2^-16 pixel, so that weighted sums of codes are exact.
SHARE_BITS = 16
#: Share of a pixel that is covered whole.
ONE = 1 << SHARE_BITS
#: Rounds a product of two shares to nearest.
_HALF = ONE >> 1

#: Columns of a span.
FULL0, FULL1, FIRST, FIRST_SHARE, FIRST_INSIDE, LAST, LAST_SHARE, LAST_INSIDE = range(8)

Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]


@njit(nogil=True, cache=True)
def _pixel_at(span: Any, step: int) -> tuple[int, int, int]:
    """Give pixel number, share and centre flag of step 0 (first border pixel), 1.. (whole), last + 1."""
    whole = span[FULL1] - span[FULL0]
    if step == 0:
        return span[FIRST], span[FIRST_SHARE], span[FIRST_INSIDE]
    if step <= whole:
        return span[FULL0] + step - 1, ONE, 1
    return span[LAST], span[LAST_SHARE], span[LAST_INSIDE]


@njit(nogil=True, cache=True)
def weigh_valid_pixels(
    valid: UInt8Array, rows: Int64Array, cols: Int64Array
) -> tuple[Int64Array, Int64Array, UInt8Array]:
    """Sum the area shares of valid pixels per box.

    Args:
        valid: uint8 (height, width), 1 = valid.
        rows: int64 (n, 8) spans along y.
        cols: int64 (n, 8) spans along x.

    Returns:
        (weight int64 (n,) in 2^-16 pixel areas, valid pixels whose centre is inside int64 (n,), uint8 (n,): 1
        where every touched pixel is valid).
    """
    n = rows.shape[0]
    weight = np.zeros(n, np.int64)
    count = np.zeros(n, np.int64)
    is_whole = np.ones(n, np.uint8)
    for k in range(n):
        n_row_steps = rows[k, FULL1] - rows[k, FULL0] + 2
        n_col_steps = cols[k, FULL1] - cols[k, FULL0] + 2
        for s in range(n_row_steps):
            i, row_share, row_inside = _pixel_at(rows[k], s)
            if row_share == 0:
                continue
            for t in range(n_col_steps):
                j, col_share, col_inside = _pixel_at(cols[k], t)
                if col_share == 0:
                    continue
                if valid[i, j]:
                    weight[k] += (row_share * col_share + _HALF) >> SHARE_BITS
                    count[k] += row_inside & col_inside
                else:
                    is_whole[k] = 0
    return weight, count, is_whole


@njit(nogil=True, cache=True)
def has_unmarked_nodata(values: npt.NDArray[np.int8], valid: UInt8Array) -> bool:
    """Tell whether a value -128 stands at a pixel called valid.

    Args:
        values: int8 (band, height, width).
        valid: uint8 (height, width), 0 or 1.

    Returns:
        False for a sound window.
    """
    bands, height, width = values.shape
    for b in range(bands):
        for i in range(height):
            codes = values[b, i]
            mask = valid[i]
            lowest = np.int8(0)
            for j in range(width):
                lowest = min(lowest, codes[j] if mask[j] else np.int8(0))
            if lowest == -128:
                return True
    return False


@njit(nogil=True, cache=True)
def _sum_columns(band, col0, col1, row0, row1, total, square, low, high):  # type: ignore[no-untyped-def]
    """Fold rows `[row0, row1)` of one band, all valid, into per-column sums of v|v| and v^4 and extremes.

    Four rows at a time: a quarter of the accumulator traffic, and four squares still fit 32 bits. Slices that
    start at 0 let the compiler drop the check for negative indices, without which nothing is vectorised.
    """
    i = row0
    while i + 4 <= row1:
        a = band[i, col0:col1]
        b = band[i + 1, col0:col1]
        c = band[i + 2, col0:col1]
        d = band[i + 3, col0:col1]
        for j in range(col1 - col0):
            va, vb, vc, vd = np.int32(a[j]), np.int32(b[j]), np.int32(c[j]), np.int32(d[j])
            fa, fb = np.int32(va * abs(va)), np.int32(vb * abs(vb))
            fc, fd = np.int32(vc * abs(vc)), np.int32(vd * abs(vd))
            total[j] += np.int32(fa + fb + fc + fd)
            square[j] += np.uint32(np.uint32(fa * fa) + np.uint32(fb * fb) + np.uint32(fc * fc) + np.uint32(fd * fd))
            low[j] = min(low[j], min(min(a[j], b[j]), min(c[j], d[j])))
            high[j] = max(high[j], max(max(a[j], b[j]), max(c[j], d[j])))
        i += 4
    while i < row1:
        a = band[i, col0:col1]
        for j in range(col1 - col0):
            va = np.int32(a[j])
            fa = np.int32(va * abs(va))
            total[j] += fa
            square[j] += np.uint32(fa * fa)
            low[j] = min(low[j], a[j])
            high[j] = max(high[j], a[j])
        i += 1


@njit(nogil=True, cache=True)
def _sum_columns_masked(band, valid, col0, col1, row0, row1, total, square, low, high):  # type: ignore[no-untyped-def]
    """Do what `_sum_columns` does, leaving out pixels that are not valid."""
    for i in range(row0, row1):
        codes = band[i, col0:col1]
        mask = valid[i, col0:col1]
        for j in range(col1 - col0):
            # products and selects, no branch: the loop stays a vector loop
            v = np.int32(codes[j]) * np.int32(mask[j])
            f = np.int32(v * abs(v))
            total[j] += f
            square[j] += np.uint32(f * f)
            low[j] = min(low[j], codes[j] if mask[j] else np.int8(127))
            high[j] = max(high[j], codes[j] if mask[j] else np.int8(-127))


@njit(nogil=True, cache=True)
def _fold_columns(col, total, square, low, high):  # type: ignore[no-untyped-def]
    """Fold column sums of whole rows over a column span: weighted sums in 2^-16 pixels, and extremes.

    Index 0 of the column arrays is pixel `col[FIRST]`.
    """
    full0 = col[FULL0] - col[FIRST]
    full1 = col[FULL1] - col[FIRST]
    last = col[LAST] - col[FIRST]
    totals, squares = total[full0:full1], square[full0:full1]
    lows, highs = low[full0:full1], high[full0:full1]
    full_total, full_square = np.int64(0), np.int64(0)
    lowest, highest = np.int8(127), np.int8(-127)
    for j in range(len(totals)):
        full_total += totals[j]
        full_square += squares[j]
        lowest = min(lowest, lows[j])
        highest = max(highest, highs[j])
    if col[FIRST_SHARE] and col[FIRST_INSIDE]:
        lowest = min(lowest, low[0])
        highest = max(highest, high[0])
    if col[LAST_SHARE] and col[LAST_INSIDE]:
        lowest = min(lowest, low[last])
        highest = max(highest, high[last])
    sum1 = ONE * full_total + col[FIRST_SHARE] * total[0] + col[LAST_SHARE] * total[last]
    sum2 = ONE * full_square + col[FIRST_SHARE] * square[0] + col[LAST_SHARE] * square[last]
    return sum1, sum2, lowest, highest


@njit(nogil=True, cache=True)
def _fold_border_row(codes, mask, row_share, col):  # type: ignore[no-untyped-def]
    """Fold one partly covered row over a column span, as `_fold_columns` does for whole rows."""
    full_codes = codes[col[FULL0] : col[FULL1]]
    full_mask = mask[col[FULL0] : col[FULL1]]
    full_total, full_square = np.int64(0), np.int64(0)
    lowest, highest = np.int8(127), np.int8(-127)
    for j in range(len(full_codes)):
        v = np.int32(full_codes[j]) * np.int32(full_mask[j])
        f = np.int32(v * abs(v))
        full_total += f
        full_square += np.uint32(f * f)
        lowest = min(lowest, full_codes[j] if full_mask[j] else np.int8(127))
        highest = max(highest, full_codes[j] if full_mask[j] else np.int8(-127))
    sum1, sum2 = row_share * full_total, row_share * full_square
    for end in range(2):
        field = LAST if end else FIRST
        j, share, inside = col[field], col[field + 1], col[field + 2]
        if share and mask[j]:
            weight = (row_share * share + _HALF) >> SHARE_BITS
            signal = np.int64(codes[j]) * abs(np.int64(codes[j]))
            sum1 += weight * signal
            sum2 += weight * signal * signal
            if inside:
                lowest = min(lowest, codes[j])
                highest = max(highest, codes[j])
    return sum1, sum2, lowest, highest


@njit(nogil=True, cache=True)
def _fold_box(band, valid, is_whole, row, col, total, square, low, high):  # type: ignore[no-untyped-def]
    """Fold one box of one band: its whole rows by columns, then its border rows."""
    col0 = col[FIRST]
    col1 = col[LAST] + 1
    for j in range(col1 - col0):  # a loop: slice assignment costs as much as a border row
        total[j] = 0
        square[j] = 0
        low[j] = 127
        high[j] = -127
    if is_whole:
        _sum_columns(band, col0, col1, row[FULL0], row[FULL1], total, square, low, high)
    else:
        _sum_columns_masked(band, valid, col0, col1, row[FULL0], row[FULL1], total, square, low, high)
    sum1, sum2, lowest, highest = _fold_columns(col, total, square, low, high)
    for end in range(2):
        field = LAST if end else FIRST
        i, share, inside = row[field], row[field + 1], row[field + 2]
        if share:
            s1, s2, row_low, row_high = _fold_border_row(band[i], valid[i], share, col)
            sum1 += s1
            sum2 += s2
            if inside:
                lowest = min(lowest, row_low)
                highest = max(highest, row_high)
    return sum1, sum2, lowest, highest


@njit(nogil=True, cache=True)
def pool_codes(
    values: npt.NDArray[np.int8],
    valid: UInt8Array,
    rows: Int64Array,
    cols: Int64Array,
    is_whole: UInt8Array,
    target: Int64Array,
    sum1: Int64Array,
    sum2: Int64Array,
    low: npt.NDArray[np.int8],
    high: npt.NDArray[np.int8],
) -> None:
    """Add one window of int8 codes to the running sums of v|v| and v^4 and to the extremes of v.

    Bands are the outer loop: one band of a 1024-block stays in L2 for all boxes.

    Args:
        values: int8 (band, height, width).
        valid: uint8 (height, width), 1 = valid.
        rows: int64 (n, 8) spans along y.
        cols: int64 (n, 8) spans along x.
        is_whole: uint8 (n,), 1 where all pixels that the box touches are valid.
        target: int64 (n,), row of each box in the running sums.
        sum1: int64 (m, band), changed: sum of w v|v|, w in 2^-16 pixel areas.
        sum2: int64 (m, band), changed: sum of w v^4.
        low: int8 (m, band), changed: least v over valid pixels whose centre is inside.
        high: int8 (m, band), changed: largest v.
    """
    width = values.shape[2]
    total, square = np.empty(width, np.int32), np.empty(width, np.int64)
    col_low, col_high = np.empty(width, np.int8), np.empty(width, np.int8)
    for b in range(values.shape[0]):
        band = values[b]
        for k in range(len(target)):
            s1, s2, lowest, highest = _fold_box(
                band, valid, is_whole[k], rows[k], cols[k], total, square, col_low, col_high
            )
            m = target[k]
            sum1[m, b] += s1
            sum2[m, b] += s2
            low[m, b] = min(low[m, b], lowest)
            high[m, b] = max(high[m, b], highest)


@njit(nogil=True, cache=True)
def pool_floats(
    values: npt.NDArray[np.float32],
    valid: UInt8Array,
    rows: Int64Array,
    cols: Int64Array,
    target: Int64Array,
    sum1: npt.NDArray[np.float64],
    sum2: npt.NDArray[np.float64],
    low: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
) -> None:
    """Add one window of float vectors to running float64 sums; a plain loop over every touched pixel.

    Args:
        values: float32 (band, height, width).
        valid: uint8 (height, width), 1 = valid.
        rows: int64 (n, 8) spans along y.
        cols: int64 (n, 8) spans along x.
        target: int64 (n,), row of each box in the running sums.
        sum1: float64 (m, band), changed: sum of w x, w in 2^-16 pixel areas as for codes.
        sum2: float64 (m, band), changed: sum of w x^2.
        low: float32 (m, band), changed: least x over valid pixels whose centre is inside.
        high: float32 (m, band), changed: largest x.
    """
    for b in range(values.shape[0]):
        for k in range(rows.shape[0]):
            m = target[k]
            for s in range(rows[k, FULL1] - rows[k, FULL0] + 2):
                i, row_share, row_inside = _pixel_at(rows[k], s)
                if row_share == 0:
                    continue
                for t in range(cols[k, FULL1] - cols[k, FULL0] + 2):
                    j, col_share, col_inside = _pixel_at(cols[k], t)
                    if col_share == 0 or not valid[i, j]:
                        continue
                    weight = np.float64((row_share * col_share + _HALF) >> SHARE_BITS)
                    x = np.float64(values[b, i, j])
                    sum1[m, b] += weight * x
                    sum2[m, b] += weight * x * x
                    if row_inside & col_inside:
                        low[m, b] = min(low[m, b], values[b, i, j])
                        high[m, b] = max(high[m, b], values[b, i, j])
