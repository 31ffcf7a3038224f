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
from transforms.upsampling.hidden_patches import (
    hide_patches,
    is_as_low,
    pair_distances,
    reconstruction_errors,
    says_something,
)
from transforms.upsampling.inputs import as_points, as_vectors, is_complete
from transforms.upsampling.neighbours import guided_weights, iterate_chunks
from transforms.upsampling.requirements import require_guide, require_patch_guide, training_patches
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.standardisation import find_scaling
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Range bandwidths that are tried, in units of the median guide distance of neighbouring patches.
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0)

#: Patches that are hidden to choose the bandwidth: enough for a standard error, seconds at any size.
N_HIDDEN = 2_000


class JointBilateralUpsampler(BaseEstimator):
    """Joint bilateral upsampling, guided by pixels of another product.

    The range bandwidth is a multiple of the median guide distance of patches at most 1.5 pitches apart whose guides
    differ. Which multiple is found without labels: up to 2,000 patches are hidden in turn and reconstructed from
    those around them, with their own pooled guide as query; the widest bandwidth whose squared error is within one
    paired standard error of the best is taken. If the guide says nothing of the vectors (`hidden_patches.py`), the
    bandwidth is infinite and the operator is bilinear.

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
            training: `patch_guide`, `is_training_patch` and `seed` are used.

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
        patch_guide = require_patch_guide("joint_bilateral", rows, training)
        self.guide_width_ = patch_guide.shape[1]
        seed = training.seed if training else 0
        self.range_sigma_ = self.range_sigma or find_range_sigma(
            training_patches("joint_bilateral", self.rows_, training),
            self.vectors_,
            patch_guide,
            spatial_sigma=self.spatial_sigma,
            seed=seed,
        )
        self.keys_ = patch_guide / np.float32(self.range_sigma_) if np.isfinite(self.range_sigma_) else None
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
        query = require_guide("joint_bilateral", guide, len(u), self.guide_width_)
        return guided_weights(
            self.rows_,
            u,
            v,
            query / np.float32(self.range_sigma_),
            self.keys_,
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
        query = require_guide("joint_bilateral", guide, len(u), self.guide_width_)
        out = np.empty((len(u), self.vectors_.shape[1]), np.float32)
        for part in iterate_chunks(len(u)):
            out[part] = interpolate(self.vectors_, *self.weigh(u[part], v[part], query[part]))
        return out


def find_range_sigma(
    rows: RowLattice, vectors: Float32Array, patch_guide: Float32Array, *, spatial_sigma: float, seed: int
) -> float:
    """Find the range bandwidth that best reconstructs hidden patches; rule in `JointBilateralUpsampler`.

    Args:
        rows: the lattice of the training patches that have a vector.
        vectors: float32 (n, d).
        patch_guide: float32 (n, g), NaN rows where there is none.
        spatial_sigma: see `JointBilateralUpsampler`.
        seed: which patches are hidden.

    Returns:
        The bandwidth in units of the guide; infinity where the guide says nothing of the vectors, or no patch has a
        neighbour.
    """
    hidden = hide_patches(rows, patch_guide)
    hidden = hidden.take(np.random.default_rng(seed).permutation(len(hidden))[:N_HIDDEN])
    if not len(hidden):
        return np.inf
    mean, scale = find_scaling(vectors[rows.patch])
    targets = ((vectors - mean) * scale).astype(np.float32)
    if not says_something(hidden, targets, patch_guide):
        return np.inf
    distance = pair_distances(hidden, patch_guide)
    widths = np.median(distance[hidden.is_known & (distance > 0)]) * np.array(BANDWIDTHS)
    errors = [
        reconstruction_errors(hidden, targets, spatial_sigma, patch_guide / np.float32(width)) for width in widths
    ]
    best = errors[int(np.argmin([error.mean() for error in errors]))]
    return float(
        max(width for width, error in zip(widths, errors, strict=True) if is_as_low(error, best, hidden.square))
    )
