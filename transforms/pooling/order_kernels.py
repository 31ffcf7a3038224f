"""Compiled loops of operators on sorted values: weighted quantiles.

Belongs here: counting codes, sorting floats, one patch and band at a time. Does not: how pixels get here (shapes:
`gathered_kernels.py`), what an operator is (`definitions.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Codes -128 (nodata) to 127.
N_CODES = 256


@njit(nogil=True, cache=True)
def order_codes(
    pixels: npt.NDArray[np.int8],
    weight: Int64Array,
    sizes: Int64Array,
    target: Int64Array,
    quantiles: Float64Array,
    decode: Float32Array,
    out: Float32Array,
) -> None:
    """Count codes by weight, and read weighted quantiles off the counts: exact, and nothing is sorted.

    Args:
        pixels: int8 (g, band, n).
        weight: int64 (g, n).
        sizes: int64 (g,), pixels of each patch.
        target: int64 (g,), rows of the outputs.
        quantiles: float64 (q,), ascending, in [0, 1].
        decode: float32 (256,), vector value of code - 128.
        out: float32 (m, q, band), changed.
    """
    counts = np.empty((4, N_CODES), np.int64)
    least = np.empty(len(quantiles), np.int64)
    for g in range(len(target)):
        shares = weight[g, : sizes[g]]
        total = shares.sum()
        if total == 0:
            continue
        _least_weights(quantiles, total, least)
        for b in range(pixels.shape[1]):
            _count_codes(pixels[g, b, : sizes[g]], shares, counts)
            _read_quantiles(counts[0], least, decode, out[target[g], :, b])


@njit(nogil=True, cache=True)
def _least_weights(quantiles: Float64Array, total: int, least: Int64Array) -> None:
    """Give the least whole weight whose share of the total, in float64, reaches each quantile."""
    for k in range(len(quantiles)):
        guess = np.int64(quantiles[k] * total)
        while guess > 1 and (guess - 1) / total >= quantiles[k]:
            guess -= 1
        while guess / total < quantiles[k]:
            guess += 1
        least[k] = guess if guess > 1 else 1


@njit(nogil=True, cache=True)
def _count_codes(codes, weight, counts):  # type: ignore[no-untyped-def]
    """Put weights per code + 128 into row 0; four counters in turn: equal neighbours do not wait for each other."""
    counts[:] = 0
    n = len(codes)
    for p in range(0, n - 3, 4):
        counts[0, np.uint8(codes[p]) ^ 128] += weight[p]
        counts[1, np.uint8(codes[p + 1]) ^ 128] += weight[p + 1]
        counts[2, np.uint8(codes[p + 2]) ^ 128] += weight[p + 2]
        counts[3, np.uint8(codes[p + 3]) ^ 128] += weight[p + 3]
    for p in range(n - n % 4, n):
        counts[0, np.uint8(codes[p]) ^ 128] += weight[p]
    for code in range(N_CODES):
        counts[0, code] += counts[1, code] + counts[2, code] + counts[3, code]


@njit(nogil=True, cache=True)
def _read_quantiles(counts, least, decode, out):  # type: ignore[no-untyped-def]
    """Find the codes at which the weight so far reaches each of `least`, ascending."""
    code = 0
    reached = counts[0]
    for k in range(len(least)):
        while reached < least[k]:
            code += 1
            reached += counts[code]
        out[k] = decode[code]


@njit(nogil=True, cache=True)
def order_floats(
    x: Float32Array,
    weight: Int64Array,
    sizes: Int64Array,
    target: Int64Array,
    quantiles: Float64Array,
    out: Float32Array,
) -> None:
    """Do what `order_codes` does for float32 vectors, by sorting: the slow path of products without codes."""
    least = np.empty(len(quantiles), np.int64)
    for g in range(len(target)):
        shares = weight[g, : sizes[g]]
        total = shares.sum()
        if total == 0:
            continue
        kept = np.flatnonzero(shares)
        shares = shares[kept]
        _least_weights(quantiles, total, least)
        for b in range(out.shape[2]):
            values = x[g, b][kept]
            order = np.argsort(values)
            rank = 0
            reached = shares[order[0]]
            for k in range(len(least)):
                while reached < least[k]:
                    rank += 1
                    reached += shares[order[rank]]
                out[target[g], k, b] = values[order[rank]]
