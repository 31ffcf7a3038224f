"""Token-to-block linear: a low-rank linear map from a patch's token to the block of its pixels.

Belongs here: the operator, its basis of positions and its reduced-rank fit. Does not: lattices as rows
(`rows.py`), the probe that is fitted on the result (`transforms/probes/`).

The result at a point is the outer product of a constant and r projections of the token with p functions of the
place inside the patch, so that a linear probe on it is a linear map of rank at most r from the token to the block,
with an offset for each pixel of the block.

Rules: a patch holds the points of its lattice cell (half a pitch to each side). Where patches of two lattices
hold a point, both count alike; where one is missing, the other counts alone; where no cell holds the point (coast,
corner), the nearest patch does, as if the point lay on its side; where none is near either (`nearest.py`): NaN.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling.footprints import holding_cells, patch_v
from transforms.upsampling.inputs import as_points, as_vectors, is_complete
from transforms.upsampling.nearest import nearest_index
from transforms.upsampling.neighbours import iterate_chunks
from transforms.upsampling.requirements import require_labels
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.standardisation import find_scaling
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]

#: Rank of the map and highest order of its basis: 17 x 6 features, whatever the width of the token.
RANK = 16
ORDER = 2
#: Functions of the place inside a patch: products of two cosines whose orders sum to at most `ORDER`.
N_FUNCTIONS = (ORDER + 1) * (ORDER + 2) // 2


def place_basis(place: Float32Array, order: int = ORDER) -> Float32Array:
    """Give the products of cosines ``cos(pi i x) cos(pi j y)``, i + j <= order, of places inside a patch.

    These are the lowest functions of the two-dimensional cosine transform (DCT-II) of a block.

    Args:
        place: float32 (..., 2), x and y in [0, 1] from the west and south sides.
        order: highest sum of i and j.

    Returns:
        float32 (..., p), the constant first.
    """
    x, y = place[..., 0], place[..., 1]
    pairs = [(i, total - i) for total in range(order + 1) for i in range(total + 1)]
    waves = [np.cos(np.pi * i * x) * np.cos(np.pi * j * y) for i, j in pairs]
    return np.stack(waves, axis=-1).astype(np.float32)


class TokenToBlockUpsampler(BaseEstimator):
    """Token-to-block linear upsampling of low rank, fitted to labelled points (reduced-rank ridge).

    The ridge map from (1, token) x basis to class indicators is solved on standardised tokens; the first r left
    singular vectors of its token part, a (d, p k) matrix, are the projection (Izenman 1975, reduced-rank regression).
    Where all tokens are alike (one patch), only the place inside the patch is told apart.

    Args:
        rank: r, at most; fewer where d is smaller.
        alpha: ridge penalty in units of the mean square of the features.
    """

    def __init__(self, rank: int = RANK, alpha: float = 0.1) -> None:
        self.rank = rank
        self.alpha = alpha

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Find the projection from labelled points of the training fold.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: points and labels are used.

        Returns:
            The upsampler.

        Raises:
            ShapeError: `vectors` do not match the lattice, there are no labels, no labelled point lies in a
                patch, or `rank` or `alpha` is not positive.
        """
        if self.rank < 1 or not self.alpha > 0:
            found = f"rank {self.rank}, alpha {self.alpha}"
            raise ShapeError("token_to_block", found, "both above 0", f"The defaults are {RANK} and 0.1.")
        array = as_vectors(rows, vectors)
        known = require_labels("token_to_block", training)
        kept = is_complete(array)
        self.rows_ = rows.keep(kept)
        index, place, weight = _find_cells(self.rows_, *as_points(known.points_u, known.points_v))
        inside = (weight > 0).any(axis=1)
        if not inside.any():
            raise ShapeError("token_to_block", "no labelled point in a patch", "at least one", "Are both of one area?")
        mean, scale = find_scaling(array[np.unique(index[inside][weight[inside] > 0])])
        tokens = np.ones((len(array), array.shape[1] + 1), np.float32)
        tokens[:, 1:] = np.where(kept[:, None], (array - mean) * scale, 0)
        targets = np.eye(known.n_classes, dtype=np.float32)[known.labels[inside]]
        ridge = _solve_ridge(tokens, index[inside], place[inside], weight[inside], targets, self.alpha)
        left, _, _ = np.linalg.svd(ridge.reshape(tokens.shape[1], -1)[1:], full_matrices=False)
        self.reduced_ = tokens[:, : 1 + min(self.rank, left.shape[1])].copy()
        self.reduced_[:, 1:] = tokens[:, 1:] @ left[:, : self.rank].astype(np.float32)
        return self

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give features at points.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: not used.

        Returns:
            float32 (m, (1 + r) p); NaN where no patch is near.
        """
        check_is_fitted(self)
        u, v = as_points(points_u, points_v)
        out = np.empty((len(u), self.reduced_.shape[1] * N_FUNCTIONS), np.float32)
        for part in iterate_chunks(len(u)):
            index, place, weight = _find_cells(self.rows_, u[part], v[part])
            out[part] = _outer(self.reduced_, index, place, weight)
            out[part][~(weight > 0).any(axis=1)] = np.nan
        return out


def _find_cells(rows: RowLattice, u: Float64Array, v: Float64Array) -> tuple[Int32Array, Float32Array, Float32Array]:
    """Give the patches whose lattice cells hold points, one slot a lattice; the nearest patch where none does.

    Returns:
        (index int32 (m, s), place float32 (m, s, 2) in [0, 1], weight float32 (m, s)); slots without a patch have
        weight 0 and index 0.
    """
    held = holding_cells(rows, u, v)
    orphan = np.flatnonzero((held < 0).all(axis=1))
    if len(orphan):
        held = held.copy()
        held[orphan, 0] = nearest_index(rows, u[orphan], v[orphan])
    is_held, index = held >= 0, np.maximum(held, 0)
    centre = np.zeros((rows.n_patches, 3))
    centre[rows.patch, 0] = rows.u
    centre[rows.patch, 1] = patch_v(rows)
    centre[rows.patch, 2] = np.repeat(rows.row_pitch_u, np.diff(rows.row_start))
    pitch_u = np.where(is_held, centre[index, 2], 1.0)
    x = (rows.along(u)[:, None] - centre[index, 0]) / pitch_u + 0.5
    y = (v[:, None] - centre[index, 1]) / rows.pitch_v + 0.5
    place = np.where(is_held[:, :, None], np.clip(np.stack([x, y], axis=2), 0.0, 1.0), 0.0)
    weight = is_held / np.maximum(is_held.sum(axis=1, keepdims=True), 1)
    return index, place.astype(np.float32), weight.astype(np.float32)


def _outer(tokens: Float32Array, index: Int32Array, place: Float32Array, weight: Float32Array) -> Float32Array:
    """Give weighted sums over patches of token x basis, float32 (m, d p)."""
    basis = place_basis(place) * weight[:, :, None]
    blocks = np.einsum("msd,msp->mdp", tokens[index], basis, optimize=True)
    return np.asarray(blocks.reshape(len(index), -1), np.float32)


def _solve_ridge(
    tokens: Float32Array,
    index: Int32Array,
    place: Float32Array,
    weight: Float32Array,
    targets: Float32Array,
    alpha: float,
) -> Float64Array:
    """Solve ``(F'F / m + alpha s I) W = F'Y / m`` chunk by chunk, s the mean square of F; float64 (d p, k)."""
    width = tokens.shape[1] * N_FUNCTIONS
    gram = np.zeros((width, width), np.float64)
    moment = np.zeros((width, targets.shape[1]), np.float64)
    centred = targets - targets.mean(axis=0)
    step = 2_048
    for start in range(0, len(index), step):
        part = slice(start, start + step)
        features = _outer(tokens, index[part], place[part], weight[part])
        gram += features.T @ features
        moment += features.T @ centred[part]
    gram /= len(index)
    penalty = alpha * np.trace(gram) / width
    if penalty == 0:
        return moment
    gram[np.diag_indices(width)] += penalty
    return np.asarray(cho_solve(cho_factor(gram, overwrite_a=True, check_finite=False), moment / len(index)))
