"""Compiled: from integer sums of codes to the float32 columns of patches.

Belongs here: mean, variance and extremes of codes. Does not: the sums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.quantization import DIVISOR

Int8Array = npt.NDArray[np.int8]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_SCALE = float(DIVISOR) ** 2
_SCALE_OF_SQUARES = float(DIVISOR) ** 4


@njit(nogil=True, cache=True)
def mean_of(sum1: Int64Array, slots: Int64Array, weight: Int64Array, mean: Float64Array) -> None:
    """Turn sums of v|v| into means.

    Args:
        sum1: int64 (band, slot), sum of w v|v|.
        slots: int64 (n,).
        weight: int64 (n,), sum of w, above 0.
        mean: float64 (n, band), written.
    """
    for b in range(sum1.shape[0]):
        for k in range(len(slots)):
            mean[k, b] = np.float64(sum1[b, slots[k]]) / np.float64(weight[k]) / _SCALE


@njit(nogil=True, cache=True)
def variance_of(
    sum1: Int64Array, sum2: Int64Array, slots: Int64Array, weight: Int64Array, variance: Float64Array
) -> None:
    """Turn sums of v|v| and of v^4 into population variances.

    The second moment is taken about the integer part of the mean, in integers: no cancellation, 0 for constants.

    Args:
        sum1: int64 (band, slot), sum of w v|v|.
        sum2: int64 (band, slot), sum of w v^4; (0, 0): nothing is written.
        slots: int64 (n,).
        weight: int64 (n,), sum of w, above 0.
        variance: float64 (n, band), written, >= 0.
    """
    for b in range(sum2.shape[0]):
        for k in range(len(slots)):
            first, w = sum1[b, slots[k]], weight[k]
            q = first // w
            rest = first - q * w
            about_q = sum2[b, slots[k]] - q * (first + rest)
            ratio = np.float64(rest) / np.float64(w)
            about_mean = np.float64(about_q) / np.float64(w) - ratio * ratio
            variance[k, b] = max(about_mean, 0.0) / _SCALE_OF_SQUARES


@njit(nogil=True, cache=True)
def extremes_of(
    low: Int8Array, high: Int8Array, slots: Int64Array, decode: Float32Array, least: Float32Array, largest: Float32Array
) -> None:
    """Turn extreme codes into values; NaN where no pixel centre was inside.

    Args:
        low: int8 (band, slot), least code; above `high` where there is none.
        high: int8 (band, slot).
        slots: int64 (n,).
        decode: float32 (256,), value of code v at index v + 128.
        least: float32 (n, band), written.
        largest: float32 (n, band), written.
    """
    for b in range(low.shape[0]):
        for k in range(len(slots)):
            a, z = low[b, slots[k]], high[b, slots[k]]
            least[k, b] = decode[np.int64(a) + 128] if a <= z else np.float32(np.nan)
            largest[k, b] = decode[np.int64(z) + 128] if a <= z else np.float32(np.nan)
