"""Spans of boxes, and compiled loops over float windows.

Belongs here: the layout of spans, float64 sums of floats, the search for nodata. Does not: where boxes lie
(`placement.py`), codes (`sweep.py`), checks, results. All loops release the GIL and run on one thread.

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
HALF = ONE >> 1

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
def pool_floats(
    values: npt.NDArray[np.float32],
    valid: UInt8Array,
    rows: Int64Array,
    cols: Int64Array,
    target: Int64Array,
    gem_p: float,
    sums: npt.NDArray[np.float64],
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
        gem_p: exponent of the third sum.
        sums: float64 (2 or 3, m, band), changed: sums of w x, of w x^2, and of w sign(x) |x|^p; w in 2^-16 pixel
            areas as for codes.
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
                    weight = np.float64((row_share * col_share + HALF) >> SHARE_BITS)
                    x = np.float64(values[b, i, j])
                    sums[0, m, b] += weight * x
                    sums[1, m, b] += weight * x * x
                    if len(sums) > 2:
                        sums[2, m, b] += weight * np.sign(x) * np.abs(x) ** gem_p
                    if row_inside & col_inside:
                        low[m, b] = min(low[m, b], values[b, i, j])
                        high[m, b] = max(high[m, b], values[b, i, j])
