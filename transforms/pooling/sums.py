"""Running sums of pooling: what additive operators keep of open patches.

Belongs here: integer sums of codes and float64 sums of floats, and the columns that come out of them; both are
accumulators (`accumulators.py`). Does not: checks and bookkeeping per patch (`pooler.py`), where boxes lie
(`placement.py`), compiled loops (`sweep.py`, `kernels.py`), operators that need all pixels at once (`gathered.py`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from transforms.pooling import kernels, moments
from transforms.pooling.accumulators import PixelArray, WindowBoxes
from transforms.pooling.operators import MOMENT_COLUMNS, moment_columns
from transforms.pooling.sweep import BandSums, sweep_codes
from transforms.pooling.sweep_plan import plan_sweep
from transforms.quantization import DEQUANTIZE_LUT, DIVISOR, MAX_CODE

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Stored columns that are pooled here.
ADDITIVE_COLUMNS = (*MOMENT_COLUMNS, "gem")
_OF_SUMS = frozenset({"mean", "mean_renormalised", "mean_length", "std"})
_EXTREMES = frozenset({"min", "max"})
#: What an empty slot of each array of `BandSums` holds.
_EMPTY = {"sum1": 0, "sum2": 0, "powers": 0, "low": MAX_CODE, "high": -MAX_CODE}
#: Powers of codes are kept in limbs of so many bits: 500,000 pixels x 2^16 x 2^28 fit 63 bits.
_LIMB_BITS = 28
#: Bits that the smallest power, that of code 1, is resolved with at least.
_POWER_BITS = 14
_NO_MASK = np.empty((0, 0), np.uint8)


class CodeSums:
    """Exact integer sums of int8 codes v, where the vector value is ``x = v|v| / 127.5^2``; an `Accumulator`.

    Only what the columns need is kept. Bands are dealt to threads; integers do not care which.

    Args:
        columns: stored columns, some of `ADDITIVE_COLUMNS`.
        dims: bands.
        gem_p: exponent of `gem`.
        threads: bands that are swept at the same time.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, columns: Collection[str], dims: int, gem_p: float, threads: int) -> None:
        self._columns = frozenset(columns)
        self._gem_p = gem_p
        n_sums = dims if self._columns & _OF_SUMS else 0
        n_squares = dims if "std" in self._columns else 0
        n_extremes = dims if self._columns & _EXTREMES else 0
        table = _power_table(gem_p) if "gem" in self._columns else np.empty((0, 256), np.int32)
        self._kept = BandSums(
            sum1=np.empty((n_sums, 0), np.int64),
            sum2=np.empty((n_squares, 0), np.int64),
            table=table,
            powers=np.empty((len(table), dims, 0), np.int64),
            low=np.empty((n_extremes, 0), np.int8),
            high=np.empty((n_extremes, 0), np.int8),
        )
        cuts = np.linspace(0, dims, min(threads, dims) + 1).astype(int).tolist()
        self._parts = list(itertools.pairwise(cuts))
        self._pool = ThreadPoolExecutor(len(self._parts), "pooling") if len(self._parts) > 1 else None

    def reserve(self, n_slots: int) -> None:
        """Make room for slots (`Accumulator.reserve`)."""
        for name, empty in _EMPTY.items():
            old = getattr(self._kept, name)
            if old.shape[-1] < n_slots:
                new = np.full((*old.shape[:-1], n_slots), empty, old.dtype)
                new[..., : old.shape[-1]] = old
                setattr(self._kept, name, new)

    def add(self, values: PixelArray, boxes: WindowBoxes) -> None:
        """Add one int8 window (`Accumulator.add`)."""
        # a bottom-up file is swept as it is stored: no copy of a block
        is_mirrored = values[:, ::-1].flags.c_contiguous and not values.flags.c_contiguous
        stored = np.ascontiguousarray(values[:, ::-1] if is_mirrored else values, np.int8)
        mask = _NO_MASK
        if not boxes.is_whole.all():
            mask = np.ascontiguousarray(boxes.valid[::-1] if is_mirrored else boxes.valid).view(np.uint8)
        plan = plan_sweep(boxes.rows, boxes.cols, boxes.target, stored.shape[1], is_mirrored=is_mirrored)

        def sweep(bands: tuple[int, int]) -> None:
            sweep_codes(stored, mask, bands, plan, self._kept)

        list(self._pool.map(sweep, self._parts) if self._pool else map(sweep, self._parts))

    def columns(self, slots: Int64Array, weight: Int64Array) -> dict[str, Float32Array]:
        """Give the stored columns of some patches (`Accumulator.columns`)."""
        kept, n = self._kept, len(slots)
        mean = np.empty((n, len(kept.sum1)), np.float64)
        variance = np.empty((n, len(kept.sum2)), np.float64)
        least, largest = (np.empty((n, len(kept.low)), np.float32) for _ in range(2))
        moments.mean_of(kept.sum1, slots, weight, mean)
        moments.variance_of(kept.sum1, kept.sum2, slots, weight, variance)
        moments.extremes_of(kept.low, kept.high, slots, DEQUANTIZE_LUT, least, largest)
        columns = moment_columns(self._columns, mean, variance, least, largest)
        if "gem" in self._columns:
            columns["gem"] = _root(_join_limbs(kept.powers[:, :, slots], self._gem_p).T / weight[:, None], self._gem_p)
        return columns

    def clear(self, slots: Int64Array) -> None:
        """Forget some patches (`Accumulator.clear`)."""
        for name, empty in _EMPTY.items():
            getattr(self._kept, name)[..., slots] = empty


class FloatSums:
    """Float64 sums of float32 vectors; an `Accumulator` that gives the same columns as `CodeSums`.

    Args:
        columns: stored columns, some of `ADDITIVE_COLUMNS`.
        dims: bands.
        gem_p: exponent of `gem`.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, columns: Collection[str], dims: int, gem_p: float) -> None:
        self._columns = frozenset(columns)
        self._gem_p = gem_p
        self._sums = np.zeros((3 if "gem" in self._columns else 2, 0, dims), np.float64)
        self._low = np.empty((0, dims), np.float32)
        self._high = np.empty((0, dims), np.float32)

    def reserve(self, n_slots: int) -> None:
        """Make room for slots (`Accumulator.reserve`)."""
        more = n_slots - len(self._low)
        if more > 0:
            dims = self._low.shape[1]
            self._sums = np.concatenate([self._sums, np.zeros((len(self._sums), more, dims))], axis=1)
            self._low = np.concatenate([self._low, np.full((more, dims), np.inf, np.float32)])
            self._high = np.concatenate([self._high, np.full((more, dims), -np.inf, np.float32)])

    def add(self, values: PixelArray, boxes: WindowBoxes) -> None:
        """Add one float32 window (`Accumulator.add`)."""
        kernels.pool_floats(
            np.ascontiguousarray(values, np.float32),
            np.ascontiguousarray(boxes.valid).view(np.uint8),
            boxes.rows,
            boxes.cols,
            boxes.target,
            self._gem_p,
            self._sums,
            self._low,
            self._high,
        )

    def columns(self, slots: Int64Array, weight: Int64Array) -> dict[str, Float32Array]:
        """Give the stored columns of some patches (`Accumulator.columns`)."""
        means = self._sums[:, slots] / weight[:, None]
        variance = np.maximum(means[1] - means[0] ** 2, 0.0)
        low, high = self._low[slots], self._high[slots]
        low, high = np.where(low <= high, low, np.nan), np.where(low <= high, high, np.nan)
        columns = moment_columns(self._columns, means[0], variance, low, high)
        if "gem" in self._columns:
            columns["gem"] = _root(means[2], self._gem_p)
        return columns

    def clear(self, slots: Int64Array) -> None:
        """Forget some patches (`Accumulator.clear`)."""
        self._sums[:, slots] = 0.0
        self._low[slots], self._high[slots] = np.inf, -np.inf


def _power_scale(p: float) -> int:
    """Give the bits behind the point of a power: x of code 1 is 127.5^-2, just above 2^-14."""
    return math.ceil(14 * p) + _POWER_BITS


def _power_table(p: float) -> npt.NDArray[np.int32]:
    """Give ``sign(x) |x|^p`` of every code in fixed point, int32 (limb, 256), the code taken as uint8.

    All limbs of a number have its sign; limb 0 is the lowest.
    """
    scale = _power_scale(p)
    table = np.zeros((-(-scale // _LIMB_BITS), 256), np.int32)
    for code in range(1, MAX_CODE + 1):
        power = Fraction((code / DIVISOR) ** 2) ** int(p) if p == int(p) else Fraction((code / DIVISOR) ** (2 * p))
        number = round(power * 2**scale)
        limbs = [number >> (_LIMB_BITS * k) & (2**_LIMB_BITS - 1) for k in range(len(table))]
        table[:, code] = limbs
        table[:, 256 - code] = [-limb for limb in limbs]
    return table


def _join_limbs(sums: Int64Array, p: float) -> Float64Array:
    """Give the sums of powers, float64, from sums of limbs (limb, ...): always added from the lowest."""
    total = np.zeros(sums.shape[1:])
    for k, limb in enumerate(sums):
        total += np.ldexp(limb.astype(np.float64), _LIMB_BITS * k - _power_scale(p))
    return total


def _root(mean: Float64Array, p: float) -> Float32Array:
    root: Float32Array = (np.sign(mean) * np.abs(mean) ** (1.0 / p)).astype(np.float32)
    return root
