"""Compiled loops of covariance pooling: one symmetric product a patch, then Ledoit-Wolf shrinkage.

Belongs here: arithmetic of one patch at a time. Does not: how pixels get here (shapes: `gathered_kernels.py`), what the
operator is (`definitions.covariance`).

No BLAS: its results may depend on its threads, and for products this small these loops are faster.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.pooling.gathered_kernels import LANES, weighted_sum
from transforms.pooling.kernels import ONE

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Products of this many pixels are added in float32 before they enter float64: bounds rounding in large patches.
_CHUNK = 2048


@njit(nogil=True, cache=True, fastmath=LANES)
def shrink_covariances(
    x: Float32Array, weight: Int64Array, sizes: Int64Array, target: Int64Array, dims: int, out: Float32Array
) -> None:
    """Write upper triangles of Ledoit-Wolf covariances (`definitions.covariance`).

    Vectors are centred and scaled by the root of their weight, so that one symmetric product remains. It is taken in
    float32 for `_CHUNK` pixels and in float64 over chunks: about 1e-6 of ``sqrt(C_ii C_jj)``.

    Args:
        x: float32 (g, bands, n), bands a multiple of 4, those from `dims` on 0.
        weight: int64 (g, n).
        sizes: int64 (g,), pixels of each patch.
        target: int64 (g,), rows of the output.
        dims: d.
        out: float32 (m, d (d + 1) / 2), changed.
    """
    bands = x.shape[1]
    scratch = np.zeros((bands, x.shape[2]), np.float32)
    scatter = np.empty((bands, bands))
    for g in range(len(target)):
        n = sizes[g]
        shares = weight[g, :n] / ONE
        total = shares.sum()
        if total == 0:
            continue
        root = np.sqrt(shares).astype(np.float32)
        for b in range(dims):
            vector, centred = x[g, b, :n], scratch[b]
            mean = np.float32(weighted_sum(shares, vector) / total)
            for p in range(n):
                centred[p] = root[p] * (vector[p] - mean)
        _multiply(scratch, n, scatter)
        scatter /= total
        fourth = _fourth_moment(scratch, shares, dims) / total
        _write_shrunk(scatter, fourth, (shares**2).sum() / total**2, dims, out[target[g]])


@njit(nogil=True, cache=True)
def _multiply(y, n, product):  # type: ignore[no-untyped-def]
    """Write the upper triangle, in 4 x 4 tiles, of ``y y^T`` over the first n pixels."""
    bands = y.shape[0]
    product[:] = 0.0
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        for i in range(0, bands, 4):
            a, b, c, d = y[i, start:stop], y[i + 1, start:stop], y[i + 2, start:stop], y[i + 3, start:stop]
            for j in range(i, bands, 4):
                tile = _multiply_tile(
                    a, b, c, d, y[j, start:stop], y[j + 1, start:stop], y[j + 2, start:stop], y[j + 3, start:stop]
                )
                for e in range(16):
                    product[i + e // 4, j + e % 4] += tile[e]


@njit(nogil=True, cache=True, fastmath=LANES)
def _multiply_tile(a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]
    """Give the 16 dot products of 4 rows with 4 rows; they stay in registers."""
    ae = af = ag = ah = be = bf = bg = bh = ce = cf = cg = ch = de = df = dg = dh = np.float32(0.0)
    for p in range(len(a)):
        va, vb, vc, vd, ve, vf, vg, vh = a[p], b[p], c[p], d[p], e[p], f[p], g[p], h[p]
        ae += va * ve
        af += va * vf
        ag += va * vg
        ah += va * vh
        be += vb * ve
        bf += vb * vf
        bg += vb * vg
        bh += vb * vh
        ce += vc * ve
        cf += vc * vf
        cg += vc * vg
        ch += vc * vh
        de += vd * ve
        df += vd * vf
        dg += vd * vg
        dh += vd * vh
    return ae, af, ag, ah, be, bf, bg, bh, ce, cf, cg, ch, de, df, dg, dh


@njit(nogil=True, cache=True)
def _fourth_moment(y, shares, dims):  # type: ignore[no-untyped-def]
    """Give the sum of weight times the fourth power of a pixel's distance from the mean."""
    n = len(shares)
    length = np.zeros(n)
    for b in range(dims):
        row = y[b, :n]
        for p in range(n):
            length[p] += np.float64(row[p]) * np.float64(row[p])
    total = 0.0
    for p in range(n):
        if shares[p] > 0:
            total += length[p] ** 2 / shares[p]
    return total


@njit(nogil=True, cache=True)
def _write_shrunk(scatter, fourth, noise_scale, dims, out):  # type: ignore[no-untyped-def]
    """Shrink a covariance to its mean variance and write its upper triangle (`definitions.covariance`)."""
    trace = 0.0
    square = 0.0
    for i in range(dims):
        trace += scatter[i, i]
        square += scatter[i, i] ** 2
        for j in range(i + 1, dims):
            square += 2.0 * scatter[i, j] ** 2
    mu = trace / dims
    distance = square - dims * mu**2
    noise = noise_scale * (fourth - square)
    shrinkage = min(noise, distance) / distance if distance > 0 and noise > 0 else 0.0
    k = 0
    for i in range(dims):
        out[k] = (1.0 - shrinkage) * scatter[i, i] + shrinkage * mu
        k += 1
        for j in range(i + 1, dims):
            out[k] = (1.0 - shrinkage) * scatter[i, j]
            k += 1
