"""Running sums of powers over listed pixels: exact for int8 codes, whatever the order and the number of pixels.

Belongs here: sums and extremes behind mean, std, min, max and GeM of polygons. Does not: which pixels a polygon covers
(`coverage.py`), boxes (`sums.py` adds up whole rows of pixels, which polygons do not have).

Sums of v|v| fit 64 bits for 2^33 pixels. Sums of v^4 fit for one tile of 512 x 512 pixels and are kept as two halves.
A power of GeM is a whole number in fixed point, cut into limbs of 16 bits whose sums fit for 2^31 pixels (214,000 km2
at 10 m). So everything is exact. Floats are summed in float64:
equal to about 1e-12 for any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.pooling.coverage import CoveredPixels
from transforms.quantization import DIVISOR, MAX_CODE

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Sums before those of GeM: of v|v|, and of v^4 in two halves.
_N_FIXED = 3
_LIMB_BITS = 16
#: Bits that the smallest code keeps in the fixed point of GeM: its relative error is 2^-25.
_GEM_BITS = 24


@dataclass(frozen=True)
class PowerMoments:
    """What the sums say about some polygons.

    Attributes:
        mean: float64 (n, d).
        variance: float64 (n, d), population variance, >= 0.
        low: float64 (n, d), least value over pixels whose centre is inside; NaN where there is none.
        high: float64 (n, d), largest value, likewise.
        gem: float64 (n, d), ``sign(m) |m|^(1/p)`` with m the mean of ``sign(x) |x|^p``; None where p was not given.
    """

    mean: Float64Array
    variance: Float64Array
    low: Float64Array
    high: Float64Array
    gem: Float64Array | None


class CodePowerSums:
    """Exact sums of int8 codes v: the vector value is ``x = v|v| / 127.5^2``.

    Args:
        n: polygons.
        dims: bands.
        gem_p: exponent of GeM; None = not wanted.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, n: int, dims: int, gem_p: float | None) -> None:
        self._gem_p = gem_p
        self._table = np.empty((256, 0), np.int64)
        if gem_p is not None:
            # x of code 1 is 127.5^-2 = 2^-13.99
            self._gem_scale = math.ceil(14 * gem_p) + _GEM_BITS
            powers = [_fixed(v, gem_p, self._gem_scale) for v in range(-128, 128)]
            self._table = _cut(powers, -(-self._gem_scale // _LIMB_BITS) + 1)
        self._sums = np.zeros((n, dims, _N_FIXED + self._table.shape[1]), np.int64)
        self._low = np.full((n, dims), MAX_CODE, np.int8)
        self._high = np.full((n, dims), -MAX_CODE, np.int8)
        self._has_center = np.zeros(n, bool)

    def add(self, values: npt.NDArray[np.generic], pixels: CoveredPixels) -> bool:
        """Add valid pixels of an int8 window (band, height, width); each polygon's pixels stand together.

        Returns:
            False where one of them holds -128, which is no number.
        """
        start, target = _groups(pixels.polygon)
        self._has_center[pixels.polygon[pixels.is_inside]] = True
        # narrow types: the list is read once for every band
        row, col, share = pixels.row.astype(np.uint32), pixels.col.astype(np.uint32), pixels.share.astype(np.int32)
        return _add_codes(
            values, row, col, share, pixels.is_inside, start, target, self._table, self._sums, self._low, self._high
        )

    def moments(self, chosen: Int64Array, weight: Int64Array) -> PowerMoments:
        """Give the moments of polygons whose weight (2^-16 pixels) is above 0."""
        sums = self._sums[chosen].astype(object)  # Python's whole numbers: no overflow, no cancellation
        w = weight.astype(object)[:, None]
        first, second = sums[:, :, 0], sums[:, :, 1] + sums[:, :, 2] * 2**32
        mean = (first / w).astype(np.float64) / DIVISOR**2
        variance = ((second * w - first**2) / w**2).astype(np.float64) / DIVISOR**4
        gem = None
        if self._gem_p is not None:
            gem = _root((_join(sums[:, :, _N_FIXED:]) / (w * 2**self._gem_scale)).astype(np.float64), self._gem_p)
        low, high = (code_values(extreme[chosen]) for extreme in (self._low, self._high))
        missing = ~self._has_center[chosen]
        low[missing] = high[missing] = np.nan
        return PowerMoments(mean, variance, low, high, gem)


class FloatPowerSums:
    """Float64 sums of float32 vectors.

    Args:
        n: polygons.
        dims: bands.
        gem_p: exponent of GeM; None = not wanted.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, n: int, dims: int, gem_p: float | None) -> None:
        self._gem_p = gem_p
        self._sums = np.zeros((n, dims, 2 if gem_p is None else 3))
        self._low = np.full((n, dims), np.inf)
        self._high = np.full((n, dims), -np.inf)

    def add(self, values: npt.NDArray[np.generic], pixels: CoveredPixels) -> bool:
        """Add valid pixels of a float32 window (band, height, width); each polygon's pixels stand together.

        Returns:
            False where one of them is NaN or infinite.
        """
        start, target = _groups(pixels.polygon)
        x = values[:, pixels.row, pixels.col].T.astype(np.float64)
        powers = [x, x**2] if self._gem_p is None else [x, x**2, np.sign(x) * np.abs(x) ** self._gem_p]
        for k, power in enumerate(powers):
            self._sums[target, :, k] += np.add.reduceat(power * pixels.share[:, None], start, axis=0)
        inside = pixels.is_inside[:, None]
        low = np.minimum.reduceat(np.where(inside, x, np.inf), start, axis=0)
        high = np.maximum.reduceat(np.where(inside, x, -np.inf), start, axis=0)
        self._low[target] = np.minimum(self._low[target], low)
        self._high[target] = np.maximum(self._high[target], high)
        return bool(np.isfinite(x).all())

    def moments(self, chosen: Int64Array, weight: Int64Array) -> PowerMoments:
        """Give the moments of polygons whose weight (2^-16 pixels) is above 0."""
        means = self._sums[chosen] / weight[:, None, None]
        mean, variance = means[:, :, 0], np.maximum(means[:, :, 1] - means[:, :, 0] ** 2, 0.0)
        gem = None if self._gem_p is None else _root(means[:, :, 2], self._gem_p)
        low, high = self._low[chosen], self._high[chosen]
        return PowerMoments(
            mean, variance, np.where(np.isinf(low), np.nan, low), np.where(np.isinf(high), np.nan, high), gem
        )


def code_values(codes: npt.NDArray[np.int8]) -> Float64Array:
    """Give ``v|v| / 127.5^2`` in float64, for codes of valid pixels."""
    v = codes.astype(np.float64)
    return v * np.abs(v) / DIVISOR**2


def _groups(polygon: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Give (where each run of one polygon starts, its polygon)."""
    start = np.flatnonzero(np.diff(polygon, prepend=-1))
    return start, polygon[start]


def _fixed(code: int, p: float, bits: int) -> int:
    """Give ``sign(x) |x|^p`` of a code in fixed point, to nearest."""
    x = (code / DIVISOR) ** 2
    power = Fraction(x) ** int(p) if p == int(p) else Fraction(x**p)
    return round(power * 2**bits) * (1 if code >= 0 else -1)


def _cut(numbers: list[int], n_limbs: int) -> Int64Array:
    """Cut whole numbers into limbs that all have the number's sign, int64 (len(numbers), n_limbs)."""
    mask = 2**_LIMB_BITS - 1
    return np.array(
        [
            [(abs(number) >> (_LIMB_BITS * k) & mask) * (1 if number >= 0 else -1) for k in range(n_limbs)]
            for number in numbers
        ],
        np.int64,
    )


def _join(limbs: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Put sums of limbs (n, d, limbs) together again, as Python's whole numbers (n, d)."""
    total = limbs[:, :, 0]
    for k in range(1, limbs.shape[2]):
        total = total + limbs[:, :, k] * 2 ** (_LIMB_BITS * k)
    return total


def _root(mean: Float64Array, p: float) -> Float64Array:
    return np.sign(mean) * np.abs(mean) ** (1.0 / p)


@njit(nogil=True, cache=True)
def _add_codes(
    values: Any,
    row: npt.NDArray[np.uint32],
    col: npt.NDArray[np.uint32],
    share: npt.NDArray[np.int32],
    is_inside: npt.NDArray[np.bool_],
    start: Int64Array,
    target: Int64Array,
    table: Int64Array,
    sums: Int64Array,
    low: npt.NDArray[np.int8],
    high: npt.NDArray[np.int8],
) -> bool:
    """Add up v|v|, v^4 and ``table[code]`` of listed pixels, times share; bands are the outer loop.

    Args:
        values: int8 (band, height, width), any strides.
        row: uint32 (n,), pixels, run by run; unsigned: no check for negative indices.
        col: uint32 (n,).
        share: int32 (n,).
        is_inside: bool (n,).
        start: int64 (m,), where each run begins; a run has at most 512 x 512 pixels.
        target: int64 (m,), row of each run in the sums.
        table: int64 (256, limbs), by code + 128; may have no limb.
        sums: int64 (polygons, band, 3 + limbs), changed: v|v|, lower 32 bits and the rest of v^4, limbs.
        low: int8 (polygons, band), changed.
        high: int8 (polygons, band), changed.

    Returns:
        False where a code is -128.
    """
    is_sound = True
    n_limbs = table.shape[1]
    total = np.empty(n_limbs, np.int64)
    for b in range(values.shape[0]):
        band = values[b]
        for g in range(len(start)):
            stop = start[g + 1] if g + 1 < len(start) else len(row)
            first, second, least = np.int64(0), np.int64(0), np.int8(0)
            total[:] = 0
            lowest, highest = low[target[g], b], high[target[g], b]
            for k in range(start[g], stop):
                code = band[row[k], col[k]]
                least = min(least, code)
                signal = np.int64(code) * abs(np.int64(code))
                first += share[k] * signal
                second += share[k] * (signal * signal)
                for limb in range(n_limbs):
                    total[limb] += share[k] * table[code + 128, limb]
                lowest = min(lowest, code if is_inside[k] else np.int8(127))
                highest = max(highest, code if is_inside[k] else np.int8(-127))
            is_sound &= least != -128
            kept = sums[target[g], b]
            kept[0] += first
            kept[1] += second & 0xFFFFFFFF
            kept[2] += second >> 32
            for limb in range(n_limbs):
                kept[3 + limb] += total[limb]
            low[target[g], b] = lowest
            high[target[g], b] = highest
    return is_sound
