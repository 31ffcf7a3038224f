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

from transforms.errors import ShapeError
from transforms.upsampling.bilinear import MIN_SUPPORT
from transforms.upsampling.guided import GuidedUpsampler
from transforms.upsampling.hidden_patches import (
    hide_patches,
    is_as_low,
    pair_distances,
    reconstruction_errors,
    says_something,
)
from transforms.upsampling.inputs import as_vectors, is_complete
from transforms.upsampling.requirements import require_patch_guide, training_patches
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


class JointBilateralUpsampler(GuidedUpsampler):
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

    operator = "joint_bilateral"

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
                raise ShapeError(f"{self.operator} {name}", sigma, "a number above 0", "Leave it out for the default.")
        self.vectors_ = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(self.vectors_))
        patch_guide = require_patch_guide(self.operator, rows, training)
        self.guide_width_ = patch_guide.shape[1]
        seed = training.seed if training else 0
        self.range_sigma_ = self.range_sigma or find_range_sigma(
            training_patches(self.operator, self.rows_, training),
            self.vectors_,
            patch_guide,
            spatial_sigma=self.spatial_sigma,
            seed=seed,
        )
        self.spatial_sigma_ = self.spatial_sigma
        self.keys_ = self._embed(patch_guide) if np.isfinite(self.range_sigma_) else None
        return self

    def _embed(self, guide: Float32Array) -> Float32Array:
        """Scale guides so that the range Gaussian has width 1."""
        return np.asarray(guide / np.float32(self.range_sigma_), np.float32)


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
