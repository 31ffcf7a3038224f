"""Running sums of pooling: where boxes lie in a window, and what is added up for them.

Belongs here: spans of boxes in 2^-16 pixels, integer sums of codes and float64 sums of floats, moments from
sums. Does not: checks and bookkeeping per patch (`pooler.py`), compiled loops
(`kernels.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.pooling import kernels
from transforms.quantization import DIVISOR, MAX_CODE, dequantize
from transforms.windows import PixelWindow

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
PixelArray = npt.NDArray[np.int8] | Float32Array


@dataclass(frozen=True)
class WindowBoxes:
    """The boxes that share area with one window.

    Attributes:
        target: int64 (n,), row of each box in the running sums.
        rows: int64 (n, 8) spans along y (layout: `kernels.py`).
        cols: int64 (n, 8) spans along x.
        valid: uint8 (height, width), 1 = valid pixel.
        weight: int64 (n,), valid shared area in 2^-16 pixels.
        count: int64 (n,), valid pixels whose centre is inside.
        is_whole: uint8 (n,), 1 where every touched pixel is valid.
    """

    target: Int64Array
    rows: Int64Array
    cols: Int64Array
    valid: npt.NDArray[np.uint8]
    weight: Int64Array
    count: Int64Array
    is_whole: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Moments:
    """What sums say about patches.

    Attributes:
        mean: float64 (n, d).
        variance: float64 (n, d), population variance, >= 0.
        low: float32 (n, d), least value; undefined where no pixel centre was inside.
        high: float32 (n, d), largest value.
    """

    mean: Float64Array
    variance: Float64Array
    low: Float32Array
    high: Float32Array


def place_boxes(boxes: Float64Array, target: Int64Array, window: PixelWindow) -> WindowBoxes:
    """Find how boxes lie on the pixels of a window.

    Args:
        boxes: float64 (m, 4): west, south, east, north in metres of the window's CRS.
        target: int64 (n,), the boxes that may touch the window.
        window: north-up.

    Returns:
        The boxes that share at least 2^-16 pixel with the window along both axes.
    """
    rows, cols = _box_spans(boxes[target], window)
    touched = (cols[:, kernels.LAST] >= 0) & (rows[:, kernels.LAST] >= 0)
    target, rows, cols = target[touched], rows[touched], cols[touched]
    valid = np.ascontiguousarray(window.valid, np.uint8)
    return WindowBoxes(target, rows, cols, valid, *kernels.weigh_valid_pixels(valid, rows, cols))


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


class CodeSums:
    """Exact integer sums of int8 codes v: the vector value is ``x = v|v| / 127.5^2``.

    Args:
        n: patches.
        dims: bands.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, n: int, dims: int) -> None:
        self._first = np.zeros((n, dims), np.int64)
        self._second = np.zeros((n, dims), np.int64)
        self._low = np.full((n, dims), MAX_CODE, np.int8)
        self._high = np.full((n, dims), -MAX_CODE, np.int8)

    def add(self, values: PixelArray, boxes: WindowBoxes) -> None:
        """Add one int8 window."""
        kernels.pool_codes(
            np.ascontiguousarray(values, np.int8),
            boxes.valid,
            boxes.rows,
            boxes.cols,
            boxes.is_whole,
            boxes.target,
            self._first,
            self._second,
            self._low,
            self._high,
        )

    def moments(self, chosen: Int64Array, weight: Int64Array) -> Moments:
        """Give the moments of patches whose weight is above 0."""
        first, second, w = self._first[chosen], self._second[chosen], weight[:, None]
        # second moment about the integer part q of the mean, in integers: no cancellation, 0 for constants
        q, rest = np.divmod(first, w)
        about_q = second - q * (first + rest)
        variance = np.maximum(about_q / w - (rest / w) ** 2, 0.0) / DIVISOR**4
        low, high = dequantize(self._low[chosen]), dequantize(self._high[chosen])
        return Moments(first / w / DIVISOR**2, variance, low, high)


class FloatSums:
    """Float64 sums of float32 vectors.

    Args:
        n: patches.
        dims: bands.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, n: int, dims: int) -> None:
        self._first = np.zeros((n, dims), np.float64)
        self._second = np.zeros((n, dims), np.float64)
        self._low = np.full((n, dims), np.inf, np.float32)
        self._high = np.full((n, dims), -np.inf, np.float32)

    def add(self, values: PixelArray, boxes: WindowBoxes) -> None:
        """Add one float32 window."""
        kernels.pool_floats(
            np.ascontiguousarray(values, np.float32),
            boxes.valid,
            boxes.rows,
            boxes.cols,
            boxes.target,
            self._first,
            self._second,
            self._low,
            self._high,
        )

    def moments(self, chosen: Int64Array, weight: Int64Array) -> Moments:
        """Give the moments of patches whose weight is above 0."""
        mean = self._first[chosen] / weight[:, None]
        variance = np.maximum(self._second[chosen] / weight[:, None] - mean**2, 0.0)
        return Moments(mean, variance, self._low[chosen], self._high[chosen])
