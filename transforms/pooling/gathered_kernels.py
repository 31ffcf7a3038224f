"""Compiled loops of operators that need the pixels of a patch at once.

Belongs here: copying the pixels of patches out of a window, and numba loops over the pixels of one patch. Does not:
windows, slots and buffers (`gathered.py`), what an operator is (`definitions.py`), running sums (`kernels.py`).

Every patch is computed from its whole pixel set, rows from the north, by the same instructions wherever it was read
from: the result depends neither on the cut into windows nor on threads. All loops release the GIL. Sums may be split
into vector lanes (`LANES`), always in the same way for the same number of pixels.

Shapes that all share: a *group* of g patches; *extents* int64 (g, 4): top, bottom, left, right of the box in 2^-16
pixels; *pixels* (g, bands, n) and *weight* int64 (g, n) in 2^-16 pixels, pixels that the box touches in rows, n that of
the largest patch; weight is 0 at nodata, outside all windows and behind the last pixel of a smaller patch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.pooling.definitions import CENTRE_SIGMA
from transforms.pooling.kernels import ONE, SHARE_BITS
from transforms.quantization import DIVISOR

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Lets the compiler split sums into vector lanes and join a product with a sum; NaN and infinity stay what they are.
LANES = {"reassoc", "contract", "nsz"}
_HALF = ONE >> 1
_SQUARED_DIVISOR = np.float32(DIVISOR**2)


@njit(nogil=True, cache=True)
def _sides(extent: Any) -> tuple[int, int, int, int]:
    """Give first row, row stop, first column, column stop of the pixels that a box touches."""
    return extent[0] // ONE, -(-extent[1] // ONE), extent[2] // ONE, -(-extent[3] // ONE)


@njit(nogil=True, cache=True)
def copy_weights(valid: npt.NDArray[np.bool_], is_reversed: bool, extents: Int64Array, weight: Int64Array) -> None:
    """Write the area shares of the pixels of a window that boxes touch, 0 at nodata; leave others as they are.

    A share is the product of the shares along both axes, rounded to 2^-16, as in `kernels.py`.

    Args:
        valid: bool (height, width).
        is_reversed: its rows run from the south.
        extents: int64 (g, 4).
        weight: int64 (g, n), changed.
    """
    height, width = valid.shape
    for g in range(len(extents)):
        top, bottom, left, right = extents[g]
        row0, row1, col0, col1 = _sides(extents[g])
        for i in range(max(row0, 0), min(row1, height)):
            row_share = min(bottom, (i + 1) * ONE) - max(top, i * ONE)
            start = (i - row0) * (col1 - col0) - col0
            row = height - 1 - i if is_reversed else i
            for j in range(max(col0, 0), min(col1, width)):
                col_share = min(right, (j + 1) * ONE) - max(left, j * ONE)
                if valid[row, j]:
                    weight[g, start + j] = (row_share * col_share + _HALF) >> SHARE_BITS


@njit(nogil=True, cache=True)
def copy_values(values: Any, is_reversed: bool, extents: Int64Array, pixels: Any) -> None:
    """Copy the values of a window under boxes; bands outside, so that neighbours share cache lines.

    Args:
        values: int8 or float32 (band, height, width).
        is_reversed: its rows run from the south.
        extents: int64 (g, 4).
        pixels: (g, >= band, n) of the same type, changed.
    """
    bands, height, width = values.shape
    for b in range(bands):
        for g in range(len(extents)):
            row0, row1, col0, col1 = _sides(extents[g])
            first, stop = max(col0, 0), min(col1, width)
            into = pixels[g, b]
            for i in range(max(row0, 0), min(row1, height)):
                row = values[b, height - 1 - i if is_reversed else i, first:stop]
                start = (i - row0) * (col1 - col0) + first - col0
                part = into[start : start + len(row)]
                for j in range(len(row)):
                    part[j] = row[j]


@njit(nogil=True, cache=True)
def clear_nodata(pixels: Float32Array, weight: Int64Array) -> None:
    """Put 0 where the weight is 0: 0 times NaN would be NaN."""
    for g in range(len(pixels)):
        for b in range(pixels.shape[1]):
            for p in range(pixels.shape[2]):
                if weight[g, p] == 0:
                    pixels[g, b, p] = 0.0


@njit(nogil=True, cache=True)
def decode_codes(pixels: npt.NDArray[np.int8], x: Float32Array) -> None:
    """Write the vector values ``v|v| / 127.5^2`` of codes v; nodata gets a number too, and has weight 0.

    The division is exact to float32, as the table of `dequantize` is; a product with the inverse would not be.
    """
    groups, bands, n = pixels.shape
    for g in range(groups):
        for b in range(bands):
            codes, row = pixels[g, b], x[g, b, :n]
            for p in range(n):
                v = np.int32(codes[p])
                row[p] = np.float32(v * abs(v)) / _SQUARED_DIVISOR


@njit(nogil=True, cache=True)
def _offsets(low: int, high: int, places: Float64Array) -> int:
    """Write where pixel centres along one axis lie in the box, 0 to 1 from edge to edge; give their number."""
    first, stop = low // ONE, -(-high // ONE)
    for i in range(first, stop):
        places[i - first] = (i * ONE + _HALF - low) / (high - low)
    return stop - first


@njit(nogil=True, cache=True)
def weigh_centre(weight: Int64Array, extents: Int64Array, out: Float64Array) -> None:
    """Write weight times the centring prior (`definitions.centre_weighted`) of each pixel, float64 (g, n)."""
    longest = 1
    for g in range(len(extents)):
        row0, row1, col0, col1 = _sides(extents[g])
        longest = max(longest, row1 - row0, col1 - col0)
    rows, cols = np.empty(longest), np.empty(longest)
    for g in range(len(extents)):
        n_rows = _offsets(extents[g, 0], extents[g, 1], rows)
        n_cols = _offsets(extents[g, 2], extents[g, 3], cols)
        for places in (rows[:n_rows], cols[:n_cols]):
            for i in range(len(places)):
                places[i] = ((places[i] - 0.5) / CENTRE_SIGMA) ** 2 / 2.0
            nearest = places.min()
            for i in range(len(places)):
                places[i] = np.exp(nearest - places[i])
        for i in range(n_rows):
            for j in range(n_cols):
                p = i * n_cols + j
                out[g, p] = weight[g, p] * (rows[i] * cols[j])


@njit(nogil=True, cache=True, fastmath=LANES)
def average(x: Float32Array, weight: Float64Array, sizes: Int64Array, target: Int64Array, out: Float32Array) -> None:
    """Write the weighted means of patches.

    Args:
        x: float32 (g, >= d, n).
        weight: float64 (g, n), any unit.
        sizes: int64 (g,), pixels of each patch.
        target: int64 (g,), rows of the output.
        out: float32 (m, d), changed where the weights are not all 0.
    """
    for g in range(len(target)):
        n = sizes[g]
        shares = weight[g, :n]
        total = shares.sum()
        if total > 0:
            for b in range(out.shape[1]):
                out[target[g], b] = weighted_sum(shares, x[g, b, :n]) / total


@njit(nogil=True, cache=True, fastmath=LANES)
def weighted_sum(weight, values):  # type: ignore[no-untyped-def]
    """Give the sum of weight times value in float64."""
    total = 0.0
    for p in range(len(weight)):
        total += weight[p] * values[p]
    return total


@njit(nogil=True, cache=True)
def _cell_starts(low, high, starts):  # type: ignore[no-untyped-def]
    """Write at which pixel each of the 4 cells along one axis begins, and where the last one ends."""
    first, stop = low // ONE, -(-high // ONE)
    starts[0], starts[4] = 0, stop - first
    for cell in range(1, 4):
        # the first pixel whose centre is at or behind the cell's border
        border = low + cell * (high - low) / 4 - _HALF
        starts[cell] = min(max(np.int64(np.ceil(border / ONE)) - first, 0), stop - first)


@njit(nogil=True, cache=True)
def pool_pyramids(
    x: Float32Array,
    weight: Int64Array,
    sizes: Int64Array,
    extents: Int64Array,
    target: Int64Array,
    dims: int,
    out: Float32Array,
) -> None:
    """Write the means of the whole and of its 4 (and 16) cells; an empty cell takes its parent's mean.

    Args:
        x: float32 (g, >= dims, n).
        weight: int64 (g, n).
        sizes: int64 (g,), pixels of each patch.
        extents: int64 (g, 4).
        target: int64 (g,), rows of the output.
        dims: d.
        out: float32 (m, 21 d) or (m, 5 d), changed.
    """
    rows, cols = np.empty(5, np.int64), np.empty(5, np.int64)
    area = np.empty(16)
    sums = np.empty((16, dims))
    means = np.empty((21, dims))
    columns = np.empty(x.shape[2])
    ones = np.ones(x.shape[2], np.float32)
    for g in range(len(target)):
        if weight[g, : sizes[g]].sum() == 0:
            continue
        _, _, col0, col1 = _sides(extents[g])
        _cell_starts(extents[g, 0], extents[g, 1], rows)
        _cell_starts(extents[g, 2], extents[g, 3], cols)
        shares = weight[g].astype(np.float64)
        _sum_cells(ones, shares, rows, cols, col1 - col0, columns, area)
        for b in range(dims):
            _sum_cells(x[g, b], shares, rows, cols, col1 - col0, columns, sums[:, b])
        _average_levels(sums, area, means)
        for cell in range(out.shape[1] // dims):
            for b in range(dims):
                out[target[g], cell * dims + b] = means[cell, b]


@njit(nogil=True, cache=True)
def _sum_cells(values, weight, rows, cols, width, columns, out):  # type: ignore[no-untyped-def]
    """Sum weight times value in each of the 16 cells: first along columns, then between column borders."""
    line = columns[:width]
    for cell_row in range(4):
        line[:] = 0.0
        for i in range(rows[cell_row], rows[cell_row + 1]):
            v, w = values[i * width : (i + 1) * width], weight[i * width : (i + 1) * width]
            for j in range(len(line)):
                line[j] += w[j] * v[j]
        for cell_col in range(4):
            total = 0.0
            for j in range(cols[cell_col], cols[cell_col + 1]):
                total += line[j]
            out[4 * cell_row + cell_col] = total


@njit(nogil=True, cache=True)
def _average_levels(sums, area, means):  # type: ignore[no-untyped-def]
    """Turn the sums of 16 cells into the means of whole | 4 | 16."""
    dims = sums.shape[1]
    for level in range(3):
        side = 1 << level
        offset = (side * side - 1) // 3  # cells of the coarser levels: 0, 1, 5
        step = 4 // side
        for row in range(side):
            for col in range(side):
                cell = offset + row * side + col
                cell_area = 0.0
                for b in range(dims):
                    means[cell, b] = 0.0
                for i in range(row * step, (row + 1) * step):
                    for j in range(col * step, (col + 1) * step):
                        cell_area += area[4 * i + j]
                        for b in range(dims):
                            means[cell, b] += sums[4 * i + j, b]
                parent = ((side // 2) ** 2 - 1) // 3 + (row // 2) * (side // 2) + col // 2
                for b in range(dims):
                    means[cell, b] = means[cell, b] / cell_area if cell_area > 0 else means[parent, b]
