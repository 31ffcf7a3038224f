"""Joint bilateral upsampling: patches count more where their guide resembles the point's.

Belongs here: the operator and how its range bandwidth is found. Does not: neighbourhoods and weights
(`neighbours.py`), a guide space that is learned (`attention.py`).

Kopf et al. 2007, Joint Bilateral Upsampling, ACM Transactions on Graphics 26(3), eq. 3, with patches of all
lattices in place of low-resolution pixels: spatial Gaussian x range Gaussian on the distance of guides.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling.bilinear import MIN_SUPPORT, interpolate
from transforms.upsampling.inputs import as_points, as_vectors, is_complete
from transforms.upsampling.neighbours import find_neighbours, guided_weights, iterate_chunks
from transforms.upsampling.requirements import require_guide, require_patch_guide
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.standardisation import find_scaling
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Range bandwidths that are tried, in units of the median guide distance of neighbouring patches.
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, np.inf)

#: Patches that are hidden to choose the bandwidth: enough for a standard error, seconds at any size.
N_HIDDEN = 2_000


class JointBilateralUpsampler(BaseEstimator):
    """Joint bilateral upsampling, guided by pixels of another product.

    The range bandwidth is a multiple of the median guide distance of patches at most 1.5 pitches apart. Which
    multiple is found without labels: up to 2,000 patches are hidden in turn and reconstructed from those around
    them, with their own pooled guide as query. The widest bandwidth whose squared error is within one paired
    standard error of the best is taken; infinity is among them, so that a guide that says nothing of the vectors
    is not used.

    Rules for holes, borders and missing guides: see `neighbours.py`. A NaN guide gives NaN.

    Args:
        range_sigma: range bandwidth in units of the guide; None: found as above.
        spatial_sigma: spatial bandwidth, pitches; 0.5 as in the paper.
        min_support: see `bilinear_weights`.
    """

    def __init__(
        self, range_sigma: float | None = None, spatial_sigma: float = 0.5, min_support: float = MIN_SUPPORT
    ) -> None:
        self.range_sigma = range_sigma
        self.spatial_sigma = spatial_sigma
        self.min_support = min_support

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Take the patches and their guides, and find the range bandwidth.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: `patch_guide` and `seed` are used.

        Returns:
            The upsampler, with `range_sigma_`.

        Raises:
            ShapeError: `vectors` do not match the lattice, there is no patch guide, or a bandwidth is not positive.
        """
        for name in ("spatial_sigma", "range_sigma"):
            sigma = getattr(self, name)
            if sigma is not None and not sigma > 0:
                raise ShapeError(f"joint_bilateral {name}", sigma, "a number above 0", "Leave it out for the default.")
        self.vectors_ = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(self.vectors_))
        self.patch_guide_ = require_patch_guide("joint_bilateral", rows, training)
        seed = training.seed if training else 0
        self.range_sigma_ = self.range_sigma or find_range_sigma(
            self.rows_, self.vectors_, self.patch_guide_, spatial_sigma=self.spatial_sigma, seed=seed
        )
        return self

    def weigh(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None
    ) -> tuple[Int32Array, Float32Array]:
        """Give the patches around points and their weights, with which any vectors of these patches go up.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: float32 (m, g), guiding vectors at the points.

        Returns:
            (index int32 (m, s), weight float32 (m, s)) for `interpolate`; all weights 0 where there is no vector.

        Raises:
            ShapeError: there is no guide, or its shape does not agree.
        """
        check_is_fitted(self)
        u, v = as_points(points_u, points_v)
        query = require_guide("joint_bilateral", guide, len(u), self.patch_guide_.shape[1])
        scale = np.float32(1.0 / self.range_sigma_)
        return guided_weights(
            self.rows_,
            u,
            v,
            query * scale,
            self.patch_guide_ * scale,
            spatial_sigma=self.spatial_sigma,
            min_support=self.min_support,
        )

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give vectors at points, convex combinations of patch vectors.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: float32 (m, g), guiding vectors at the points.

        Returns:
            float32 (m, d); NaN where support is too small or the guide is NaN.

        Raises:
            ShapeError: there is no guide, or its shape does not agree.
        """
        check_is_fitted(self)
        u, v = as_points(points_u, points_v)
        query = require_guide("joint_bilateral", guide, len(u), self.patch_guide_.shape[1])
        out = np.empty((len(u), self.vectors_.shape[1]), np.float32)
        for part in iterate_chunks(len(u)):
            out[part] = interpolate(self.vectors_, *self.weigh(u[part], v[part], query[part]))
        return out


def find_range_sigma(
    rows: RowLattice, vectors: Float32Array, patch_guide: Float32Array, *, spatial_sigma: float, seed: int
) -> float:
    """Find the range bandwidth that best reconstructs hidden patches; rule in `JointBilateralUpsampler`.

    Args:
        rows: the lattice of the patches that have a vector.
        vectors: float32 (n, d).
        patch_guide: float32 (n, g), NaN rows where there is none.
        spatial_sigma: see `JointBilateralUpsampler`.
        seed: which patches are hidden.

    Returns:
        The bandwidth in units of the guide; infinity where the guide does not help, or no hidden patch has a
        neighbour (one patch).
    """
    has_guide = is_complete(patch_guide)[rows.patch]
    places = np.flatnonzero(has_guide)
    places = np.random.default_rng(seed).permutation(places)[:N_HIDDEN]
    hidden = rows.patch[places]
    index, offset = find_neighbours(rows, rows.u[places], rows.v[places])
    is_known = (index >= 0) & (index != hidden[:, None]) & is_complete(patch_guide)[index]
    has_neighbour = is_known.any(axis=1)
    hidden, index, offset, is_known = (part[has_neighbour] for part in (hidden, index, offset, is_known))
    if not len(hidden):
        return np.inf
    distance = _guide_distances(patch_guide, hidden, index)
    median = float(np.median(distance[is_known]))
    if median == 0:
        return np.inf
    spatial = -0.5 * (offset.astype(np.float64) ** 2).sum(axis=2) / spatial_sigma**2
    mean, scale = find_scaling(vectors[rows.patch])
    targets = ((vectors - mean) * scale).astype(np.float32)
    errors = []
    for factor in BANDWIDTHS:
        exponent = np.where(is_known, spatial - 0.5 * (distance / (factor * median)) ** 2, -np.inf)
        weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        found = interpolate(targets, index, weight.astype(np.float32))
        errors.append(((found - targets[hidden]) ** 2).mean(axis=1, dtype=np.float64))
    return BANDWIDTHS[widest_within_one_error(np.array(errors))] * median


def widest_within_one_error(errors: npt.NDArray[np.float64]) -> int:
    """Give the last candidate whose mean error is within one paired standard error of the lowest.

    Args:
        errors: float64 (candidates, units), from the most to the least trusting in the guide.

    Returns:
        Its number.
    """
    best = int(errors.mean(axis=1).argmin())
    excess = errors - errors[best]
    standard_error = excess.std(axis=1) / np.sqrt(errors.shape[1])
    return int(np.flatnonzero(excess.mean(axis=1) <= standard_error)[-1])


def _guide_distances(patch_guide: Float32Array, hidden: Int32Array, index: Int32Array) -> npt.NDArray[np.float64]:
    """Give distances of guides, float64 (m, s), slot by slot: all at once would be s times the memory."""
    query = patch_guide[hidden]
    columns = [np.linalg.norm(query - patch_guide[index[:, k]], axis=1) for k in range(index.shape[1])]
    return np.stack(columns, axis=1).astype(np.float64)
