"""Where boxes lie on the pixels of a window.

Belongs here: spans of boxes in 2^-16 pixels, valid area and pixel counts. Does not: which boxes to ask about
(`pooler.py`), sums over pixels (`sums.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.pooling import kernels
from transforms.pooling.accumulators import WindowBoxes
from transforms.pooling.sweep import add_weights
from transforms.pooling.sweep_plan import centre_spans
from transforms.windows import PixelWindow

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def place_boxes(boxes: Float64Array, window: PixelWindow) -> tuple[Int64Array, WindowBoxes]:
    """Find how boxes lie on the pixels of a window.

    Args:
        boxes: float64 (m, 4): west, south, east, north in metres of the window's CRS.
        window: north-up.

    Returns:
        (positions in `boxes` of those that share at least 2^-16 pixel with the window along both axes, these boxes;
        their `target` is that position).
    """
    rows, cols = _box_spans(boxes, window)
    touched = np.flatnonzero((cols[:, kernels.LAST] >= 0) & (rows[:, kernels.LAST] >= 0))
    rows, cols = rows[touched], cols[touched]
    centre_rows, centre_cols = centre_spans(rows), centre_spans(cols)
    weight, count = _whole_weight(rows, cols), _lengths(centre_rows) * _lengths(centre_cols)
    is_whole = np.ones(len(touched), np.uint8)
    if len(touched) and not window.valid.all():
        whole = weight
        mask = np.ascontiguousarray(window.valid).view(np.int8)
        weight = add_weights(mask, rows, cols)
        count = add_weights(mask, centre_rows, centre_cols) // kernels.ONE
        is_whole = (weight == whole).astype(np.uint8)
    return touched, WindowBoxes(
        touched, rows, cols, window.valid, weight, count, is_whole, boxes[touched], window.affine
    )


def _box_spans(boxes: Float64Array, window: PixelWindow) -> tuple[Int64Array, Int64Array]:
    """Give spans of boxes along y and along x of a window (layout: `kernels.py`)."""
    height, width = window.valid.shape
    affine = window.affine
    left, right = (_to_shares(boxes[:, side] - affine.c, affine.a, width) for side in (0, 2))
    top, bottom = (_to_shares(boxes[:, side] - affine.f, affine.e, height) for side in (3, 1))
    # the box is closed at west and south, so along y (which runs to the south) the far edge is closed
    return _spans(top, bottom, is_far_edge_closed=True), _spans(left, right, is_far_edge_closed=False)


def _to_shares(offset_m: Float64Array, pixel_m: float, size: int) -> Int64Array:
    """Turn offsets from the window's origin into 2^-16 pixels, clipped to the window."""
    edge = np.rint(offset_m / pixel_m * kernels.ONE)
    return np.clip(edge, 0, size * kernels.ONE).astype(np.int64)


def _spans(low: Int64Array, high: Int64Array, *, is_far_edge_closed: bool) -> Int64Array:
    """Split intervals [low, high) of 2^-16 pixels into whole and border pixels; LAST = -1: empty."""
    one = kernels.ONE
    full0, full1 = -(-low // one), high // one
    within_one = full1 < full0
    first = low // one
    first_share = np.where(within_one, high - low, full0 * one - low)
    last_share = np.where(within_one, 0, high - full1 * one)
    full0 = np.where(within_one, first, full0)
    full1 = np.where(within_one, first, full1)
    last = np.where(last_share > 0, full1, np.maximum(full1 - 1, first))
    last = np.where(high > low, last, -1)

    def is_inside(pixel: Int64Array) -> npt.NDArray[np.bool_]:
        center = pixel * one + one // 2
        if is_far_edge_closed:
            return (low < center) & (center <= high)
        return (low <= center) & (center < high)

    columns = (full0, full1, first, first_share, is_inside(first), last, last_share, is_inside(last))
    return np.stack([column.astype(np.int64) for column in columns], axis=1)


def _whole_weight(rows: Int64Array, cols: Int64Array) -> Int64Array:
    """Give the area of boxes in 2^-16 pixels, as their pixels' weights add up: corners are rounded."""
    first, last = kernels.FIRST_SHARE, kernels.LAST_SHARE
    n_rows, n_cols = _lengths(rows), _lengths(cols)
    edges = n_rows * (cols[:, first] + cols[:, last]) + n_cols * (rows[:, first] + rows[:, last])
    corners = [
        (rows[:, i] * cols[:, j] + kernels.HALF) >> kernels.SHARE_BITS for i in (first, last) for j in (first, last)
    ]
    area: Int64Array = kernels.ONE * n_rows * n_cols + edges + sum(corners)
    return area


def _lengths(spans: Int64Array) -> Int64Array:
    """Count the whole pixels of spans."""
    return spans[:, kernels.FULL1] - spans[:, kernels.FULL0]
