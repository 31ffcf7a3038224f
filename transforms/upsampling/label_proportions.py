"""Label-proportion head: class scores at pixels, learned from the class fractions of patches alone.

Belongs here: the operator and its loss. Does not: bilinear weights (`bilinear.py`).

Learning from label proportions (Quadrianto et al. 2009, Estimating Labels from Label Proportions, JMLR 10) with the
loss of Ardehaly & Culotta 2017 (arXiv 1709.04108): the mean of the softmax over a patch is fitted to its fractions
by cross-entropy. Scores are linear in the bilinear vectors at 4 x 4 points of each training patch. Linear maps
commute with interpolation, so patches are scored first and only k scores go up.

Rules for holes and borders are those of bilinear interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling.bilinear import MIN_SUPPORT, bilinear_weights, interpolate
from transforms.upsampling.footprints import footprint_points
from transforms.upsampling.inputs import as_vectors, is_complete
from transforms.upsampling.requirements import require_fractions
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.standardisation import find_scaling
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

#: Training patches that are used at most, a seeded draw beyond: a third of a minute for 384 dimensions and 8 classes.
MAX_PATCHES = 20_000
#: Points along each side of a training patch.
POINTS_PER_SIDE = 4


class LabelProportionUpsampler(BaseEstimator):
    """Class log-probabilities at points from a linear softmax head that saw fractions only.

    Args:
        penalty: weight of the squared norm of the coefficients (standardised vectors) beside the mean loss.
        max_iter: iterations of L-BFGS, at most.
        min_support: see `bilinear_weights`.
    """

    def __init__(self, penalty: float = 1e-4, max_iter: int = 100, min_support: float = MIN_SUPPORT) -> None:
        self.penalty = penalty
        self.max_iter = max_iter
        self.min_support = min_support

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Fit the head to the fractions of patches that have both fractions and a vector.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: `patch_fractions`, `n_classes` and `seed` are used; labels of points are not read.

        Returns:
            The upsampler.

        Raises:
            ShapeError: `vectors` do not match the lattice, or no patch with a vector has fractions.
        """
        array = as_vectors(rows, vectors)
        fractions = require_fractions("label_proportions", rows, training)
        self.rows_ = rows.keep(is_complete(array))
        bag_rows = self.rows_.keep(_draw_patches(is_complete(fractions), training.seed if training else 0))
        trained = bag_rows.patch
        if not len(trained):
            raise ShapeError(
                "upsampling operator label_proportions, class fractions",
                "none of a patch with a vector",
                "at least one",
                "Are fractions and vectors in the order of one table?",
            )
        bags, means = _average_bags(self.rows_, bag_rows, self.min_support)
        mean, scale = find_scaling(array[trained])
        used = np.unique(bags.indices)
        features = np.zeros((len(array), array.shape[1]))
        features[used] = (array[used] - mean) * scale
        targets = fractions[trained].astype(np.float64)
        d, k = array.shape[1], targets.shape[1]
        # no coefficients, and offsets that say the mean fractions
        start = np.concatenate([np.zeros(d * k), np.log(targets.mean(axis=0) + 1e-6)])
        loss = _loss_and_slope(features, bags, means, targets, self.penalty)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": self.max_iter}).x
        coefficients, offset = scale[:, None] * found[: d * k].reshape(d, k), found[d * k :]
        # a patch without a vector keeps its NaN; it is no neighbour of any point
        self.scores_ = (array.astype(np.float64) @ coefficients + (offset - mean @ coefficients)).astype(np.float32)
        return self

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give class log-probabilities at points.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: not used.

        Returns:
            float32 (m, k), `exp` of which sums to 1; NaN where support is too small.
        """
        check_is_fitted(self)
        index, weight, _ = bilinear_weights(self.rows_, points_u, points_v, self.min_support)
        return np.asarray(log_softmax(interpolate(self.scores_, index, weight), axis=1), np.float32)


def _draw_patches(is_known: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.bool_]:
    """Keep at most `MAX_PATCHES` of the patches whose fractions are known, bool (n,)."""
    known = np.flatnonzero(is_known)
    if len(known) <= MAX_PATCHES:
        return is_known
    drawn = np.zeros_like(is_known)
    drawn[np.random.default_rng(seed).choice(known, MAX_PATCHES, replace=False)] = True
    return drawn


def _average_bags(rows: RowLattice, bag_rows: RowLattice, min_support: float) -> tuple[csr_array, csr_array]:
    """Lay points into training patches.

    Args:
        rows: the lattice.
        bag_rows: its training patches.
        min_support: see `bilinear_weights`.

    Returns:
        (points x patches: bilinear weights; training patches x points: means over the points with support).
    """
    u, v = footprint_points(bag_rows, POINTS_PER_SIDE)
    index, weight, _ = bilinear_weights(rows, u.ravel(), v.ravel(), min_support)
    point, slot = np.nonzero(weight)
    values = weight[point, slot].astype(np.float64)
    bags = csr_array((values, (point, index[point, slot])), shape=(u.size, rows.n_patches))
    kept = np.flatnonzero((weight > 0).any(axis=1))
    bag = kept // u.shape[1]
    share = 1.0 / np.bincount(bag, minlength=len(u))[bag]
    return bags, csr_array((share, (bag, kept)), shape=(len(u), u.size))


def _loss_and_slope(
    features: Float64Array, bags: csr_array, means: csr_array, fractions: Float64Array, penalty: float
) -> Callable[[Float64Array], tuple[float, Float64Array]]:
    """Build ``-mean_b sum_k f_bk log mean_(i in b) softmax(x_i W + c)_k + penalty |W|^2`` and its gradient.

    Args:
        features: float64 (n, d), standardised patch vectors.
        bags: (points, n), bilinear weights.
        means: (b, points), means over the points of each bag.
        fractions: float64 (b, k).
        penalty: of the squared coefficients.

    Returns:
        Both as a function of float64 (d k + k,): W by rows, then c.
    """
    d, (n_bags, k) = features.shape[1], fractions.shape
    back, spread = bags.T.tocsr(), means.T.tocsr()

    def loss_and_slope(parameters: Float64Array) -> tuple[float, Float64Array]:
        weights, offset = parameters[: d * k].reshape(d, k), parameters[d * k :]
        proba = softmax(bags @ (features @ weights) + offset, axis=1)
        # far from any point of a class the logarithm has no value
        mean = np.maximum(means @ proba, 1e-12)
        loss = -(fractions * np.log(mean)).sum() / n_bags + penalty * (weights**2).sum()
        toward = spread @ (-fractions / mean / n_bags)
        slope = proba * (toward - (proba * toward).sum(axis=1, keepdims=True))
        weights_slope = features.T @ (back @ slope) + 2 * penalty * weights
        return float(loss), np.concatenate([weights_slope.ravel(), slope.sum(axis=0)])

    return loss_and_slope
