"""Centre and scale of patch vectors, and what is held out while an operator is trained.

Belongs here: what every trained operator does to its training data before it learns. Does not: folds of the
evidence (`transforms/folds.py`): these draws stay inside one training fold.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

#: Edge of the squares that are held out together: neighbours share ground, so single units would tell each other.
HELD_PITCHES = 8.0


def find_scaling(vectors: Float32Array) -> tuple[Float64Array, Float64Array]:
    """Give centre and inverse spread of each dimension.

    Args:
        vectors: float32 (n, d), n > 0, no NaN.

    Returns:
        (mean float64 (d,), scale float64 (d,)): ``(x - mean) * scale`` has mean 0 and variance 1; a constant
        dimension has scale 0, for rounding must not blow it up to unit variance.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    spread = vectors.std(axis=0, dtype=np.float64)
    is_constant = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-30)
    return mean, np.where(is_constant, 0.0, 1.0 / np.where(is_constant, 1.0, spread))


def hold_out(
    rows: RowLattice, points_u: Float64Array, points_v: Float64Array, share: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draw squares of 8 x 8 pitches until at least `share` of the points are held out.

    Args:
        rows: the lattice whose pitches count.
        points_u: float64 (m,), m > 1.
        points_v: float64 (m,).
        share: least share, in (0, 1).
        rng: draws the squares; points one by one where squares would hold out more than half of them.

    Returns:
        bool (m,), True where held out; at least one is, and at least one is not.
    """
    along = np.floor((rows.along(points_u) - points_u.min()) / (HELD_PITCHES * np.median(rows.row_pitch_u)))
    across = np.floor((points_v - points_v.min()) / (HELD_PITCHES * rows.pitch_v))
    _, square = np.unique(np.stack([along, across], axis=1), axis=0, return_inverse=True)
    size = np.bincount(square)
    order = rng.permutation(len(size))
    needed = max(1, int(np.ceil(share * len(points_u))))
    n_squares = int(np.searchsorted(np.cumsum(size[order]), needed)) + 1
    is_held = np.isin(square, order[:n_squares])
    if is_held.mean() > 0.5:
        is_held = np.zeros(len(points_u), np.bool_)
        is_held[rng.permutation(len(points_u))[: min(needed, len(points_u) - 1)]] = True
    return is_held
