"""Random numbers of the simulated world: counter-based hashes and smooth fields.

A hash of (seed, place) gives the same number whatever the order, the block or the thread that asks for it.
Belongs here: the generators. Does not: what they are used for.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

FloatArray = npt.NDArray[np.float32]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


@nb.njit(nogil=True, cache=True, inline="always")
def mix64(state: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    z = state + _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX_A
    z = (z ^ (z >> _S27)) * _MIX_B
    return z ^ (z >> _S31)


@nb.njit(nogil=True, cache=True, inline="always")
def hash_place(key: np.uint64, row: int, col: int) -> np.uint64:
    """Hash a place on a grid under a key."""
    return mix64(mix64(key ^ np.uint64(row)) ^ np.uint64(col))


def derive_key(seed: int, *labels: int | str) -> int:
    """Derive an independent 63-bit key from the world's seed.

    Args:
        seed: the world's seed.
        labels: what the key is for.

    Returns:
        The key; the same for the same arguments on every machine.
    """
    words = [seed & 0xFFFFFFFF, seed >> 32]
    for label in labels:
        data = str(label).encode()
        words += [len(data), *data]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def derive_rng(seed: int, *labels: int | str) -> np.random.Generator:
    """Give an independent generator for one purpose."""
    return np.random.default_rng(derive_key(seed, *labels))


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> FloatArray:
    """Draw a stationary Gaussian random field.

    White noise blurred by a Gaussian of width sigma has the correlation ``exp(-h^2 / (4 sigma^2))``, hence a
    practical variogram range (95 % of the sill) of ``2 sqrt(3) sigma``.

    Args:
        rng: source of randomness.
        shape: rows, columns.
        sigma: blur in cells.

    Returns:
        float32 of `shape`, expected mean 0 and variance 1 (not standardised by the draw, so that a small world
        may be all wet or all dry).
    """
    pad = int(np.ceil(3 * sigma))
    white = rng.standard_normal((shape[0] + 2 * pad, shape[1] + 2 * pad), dtype=np.float32)
    field = gaussian_filter(white, sigma, mode="wrap", truncate=3.0)[pad : pad + shape[0], pad : pad + shape[1]]
    # a normalised Gaussian kernel of width sigma has squared norm 1 / (4 pi sigma^2)
    return np.ascontiguousarray(field * np.float32(2.0 * np.sqrt(np.pi) * sigma))
