"""Compiled loops of VLAD and bag of words: the nearest of k centres of every pixel, and what is summed for it.

Belongs here: arithmetic of one patch at a time. Does not: how pixels get here (shapes: `gathered_kernels.py`), fitting
(`codebook.py`), what the operators are (`definitions.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.pooling.gathered_kernels import LANES

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@njit(nogil=True, cache=True)
def pool_words(
    x: Float32Array,
    weight: Int64Array,
    sizes: Int64Array,
    target: Int64Array,
    centers: Float32Array,
    n_centers: int,
    dims: int,
    out_bow: Float32Array,
    out_vlad: Float32Array,
) -> None:
    """Write bags of words and VLAD vectors (`definitions.bow`, `definitions.vlad`).

    Args:
        x: float32 (g, bands, n), bands a multiple of 4, those from `dims` on 0.
        weight: int64 (g, n).
        sizes: int64 (g,), pixels of each patch.
        target: int64 (g,), rows of the outputs.
        centers: float32 (rows, bands), both a multiple of 4; 0 behind the k centres and d dimensions.
        n_centers: k.
        dims: d.
        out_bow: float32 (m, k), changed; (0, 0) if not wanted.
        out_vlad: float32 (m, k d), changed; (0, 0) if not wanted.
    """
    scratch = np.empty((7, x.shape[2]), np.float32)
    word = np.empty(x.shape[2], np.int64)
    for g in range(len(target)):
        n = sizes[g]
        shares = weight[g, :n]
        total = shares.sum()
        if total == 0:
            continue
        _assign_words(x[g], n, centers, n_centers, dims, scratch, word)
        if len(out_bow):
            area = np.zeros(n_centers, np.int64)
            for p in range(n):
                area[word[p]] += shares[p]
            for c in range(n_centers):
                out_bow[target[g], c] = area[c] / total
        if len(out_vlad):
            _sum_residuals(x[g], shares, centers, n_centers, dims, word, out_vlad[target[g]])


@njit(nogil=True, cache=True)
def _assign_words(x, n, centers, n_centers, dims, scratch, word):  # type: ignore[no-untyped-def]
    """Find the nearest centre of each pixel in float32; where two are close to a tie, in float64."""
    best, second, square = scratch[4, :n], scratch[5, :n], scratch[6, :n]
    best[:] = -np.inf
    second[:] = -np.inf
    _sum_squares(x, square)
    longest = 0.0
    for c in range(n_centers):
        longest = max(longest, _square(centers[c]))
    for c in range(0, n_centers, 4):
        _score_centers(x, n, centers, c, scratch)
        for e in range(min(4, n_centers - c)):
            _keep_best(scratch[e, :n], c + e, best, second, word)
    bound = (dims + 4) * 2.0**-22  # of 4 roundings of each product and sum
    for p in range(n):
        if best[p] - second[p] <= bound * (np.sqrt(square[p] * longest) + longest):
            word[p] = _nearest_exactly(x[:, p], centers, n_centers, dims)


@njit(nogil=True, cache=True)
def _sum_squares(x, square):  # type: ignore[no-untyped-def]
    """Write the squared length of each pixel."""
    square[:] = 0.0
    for b in range(x.shape[0]):
        row = x[b]
        for p in range(len(square)):
            square[p] += row[p] * row[p]


@njit(nogil=True, cache=True)
def _square(vector):  # type: ignore[no-untyped-def]
    total = 0.0
    for b in range(len(vector)):
        total += np.float64(vector[b]) ** 2
    return total


@njit(nogil=True, cache=True, fastmath=LANES)
def _score_centers(x, n, centers, first, scores):  # type: ignore[no-untyped-def]
    """Write ``x c - |c|^2 / 2`` of 4 centres; the largest is the nearest. 4 by 4: 16 products a load of 4."""
    s0, s1, s2, s3 = scores[0, :n], scores[1, :n], scores[2, :n], scores[3, :n]
    c0, c1, c2, c3 = centers[first], centers[first + 1], centers[first + 2], centers[first + 3]
    s0[:] = np.float32(-0.5 * _square(c0))
    s1[:] = np.float32(-0.5 * _square(c1))
    s2[:] = np.float32(-0.5 * _square(c2))
    s3[:] = np.float32(-0.5 * _square(c3))
    for b in range(0, x.shape[0], 4):
        x0, x1, x2, x3 = x[b, :n], x[b + 1, :n], x[b + 2, :n], x[b + 3, :n]
        a0, a1, a2, a3 = c0[b], c0[b + 1], c0[b + 2], c0[b + 3]
        b0, b1, b2, b3 = c1[b], c1[b + 1], c1[b + 2], c1[b + 3]
        d0, d1, d2, d3 = c2[b], c2[b + 1], c2[b + 2], c2[b + 3]
        e0, e1, e2, e3 = c3[b], c3[b + 1], c3[b + 2], c3[b + 3]
        for p in range(n):
            u0, u1, u2, u3 = x0[p], x1[p], x2[p], x3[p]
            s0[p] += a0 * u0 + a1 * u1 + a2 * u2 + a3 * u3
            s1[p] += b0 * u0 + b1 * u1 + b2 * u2 + b3 * u3
            s2[p] += d0 * u0 + d1 * u1 + d2 * u2 + d3 * u3
            s3[p] += e0 * u0 + e1 * u1 + e2 * u2 + e3 * u3


@njit(nogil=True, cache=True)
def _keep_best(score, center, best, second, word):  # type: ignore[no-untyped-def]
    for p in range(len(score)):
        is_better = score[p] > best[p]
        second[p] = max(second[p], min(score[p], best[p]))
        best[p] = max(best[p], score[p])
        word[p] = center if is_better else word[p]


@njit(nogil=True, cache=True)
def _nearest_exactly(vector, centers, n_centers, dims):  # type: ignore[no-untyped-def]
    nearest, largest = 0, -np.inf
    for c in range(n_centers):
        score = -0.5 * _square(centers[c])
        for b in range(dims):
            score += np.float64(vector[b]) * np.float64(centers[c, b])
        if score > largest:
            nearest, largest = c, score
    return nearest


@njit(nogil=True, cache=True)
def _sum_residuals(x, shares, centers, n_centers, dims, word, out):  # type: ignore[no-untyped-def]
    """Write signed square roots of summed residuals, unit length; four sums in turn for equal neighbours."""
    n = len(shares)
    sums = np.empty((4, n_centers))
    place = np.empty(n_centers)
    vector = np.empty(n_centers * dims)
    length = 0.0
    for b in range(dims):
        sums[:] = 0.0
        place[:] = centers[:n_centers, b]
        row = x[b]
        for p in range(n):
            c = word[p]
            sums[p & 3, c] += shares[p] * (row[p] - place[c])
        for c in range(n_centers):
            total = sums[0, c] + sums[1, c] + sums[2, c] + sums[3, c]
            vector[c * dims + b] = np.sign(total) * np.sqrt(abs(total))
            length += abs(total)
    scale = 1.0 / np.sqrt(length) if length > 0 else 0.0
    for e in range(len(vector)):
        out[e] = vector[e] * scale
