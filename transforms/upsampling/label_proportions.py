"""Label-proportion head: class scores at pixels, learned from the class fractions of patches alone.

Belongs here: the operator and its loss. Does not: bilinear weights (`bilinear.py`).

Learning from label proportions (Quadrianto et al. 2009, Estimating Labels from Label Proportions, JMLR 10) with the
loss of Ardehaly & Culotta 2017 (arXiv 1709.04108): the mean of the softmax over a patch is fitted to its fractions
by cross-entropy. Scores are linear in the bilinear vectors at 4 x 4 points of each training patch. Linear maps
commute with interpolation, so patches are scored first and only k scores go up.

Rules for holes and borders are those of bilinear interpolation.
"""

from __future__ import annotations

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
from transforms.upsampling.inputs import as_vectors, is_complete
from transforms.upsampling.requirements import require_fractions
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.standardisation import find_scaling
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

#: Training patches that are used at most; a seeded draw beyond. Half as many give the same head within noise.
MAX_PATCHES = 6_000
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
        places = np.flatnonzero(is_complete(fractions)[self.rows_.patch])
        if len(places) > MAX_PATCHES:
            draw = np.random.default_rng(training.seed if training else 0)
            places = np.sort(draw.choice(places, MAX_PATCHES, replace=False))
        if not len(places):
            raise ShapeError(
                "upsampling operator label_proportions, class fractions",
                "none of a patch with a vector",
                "at least one",
                "Are fractions and vectors in the order of one table?",
            )
        bags, means = _average_bags(self.rows_, places, self.min_support)
        trained = self.rows_.patch[places]
        mean, scale = find_scaling(array[trained])
        used = np.unique(bags.indices)
        features = np.zeros((len(array), array.shape[1]))
        features[used] = (array[used] - mean) * scale
        weights, offset = _fit_head(
            features, bags, means, fractions[trained].astype(np.float64), self.penalty, self.max_iter
        )
        coefficients = scale[:, None] * weights
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


def _average_bags(rows: RowLattice, places: npt.NDArray[np.int64], min_support: float) -> tuple[csr_array, csr_array]:
    """Lay points into training patches.

    Args:
        rows: the lattice.
        places: int64 (b,), positions of the training patches in `rows.patch`.
        min_support: see `bilinear_weights`.

    Returns:
        (points x patches: bilinear weights; training patches x points: means over the points with support).
    """
    step = (np.arange(POINTS_PER_SIDE) + 0.5) / POINTS_PER_SIDE - 0.5
    dv, du = (part.ravel() for part in np.meshgrid(step, step, indexing="ij"))
    row = np.searchsorted(rows.row_start, places, side="right") - 1
    u = rows.u[places][:, None] + du * rows.row_pitch_u[row][:, None]
    v = rows.v[places][:, None] + dv * rows.pitch_v
    index, weight, _ = bilinear_weights(rows, u.ravel(), v.ravel(), min_support)
    point, slot = np.nonzero(weight)
    columns = index[point, slot]
    bags = csr_array((weight[point, slot].astype(np.float64), (point, columns)), shape=(u.size, rows.n_patches))
    kept = np.flatnonzero((weight > 0).any(axis=1))
    bag = kept // len(du)
    share = 1.0 / np.bincount(bag, minlength=len(places))[bag]
    return bags, csr_array((share, (bag, kept)), shape=(len(places), u.size))


def _fit_head(
    features: Float64Array,
    bags: csr_array,
    means: csr_array,
    fractions: Float64Array,
    penalty: float,
    max_iter: int,
) -> tuple[Float64Array, Float64Array]:
    """Minimise ``-mean_b sum_k f_bk log mean_(i in b) softmax(x_i W + c)_k + penalty |W|^2`` by L-BFGS.

    Args:
        features: float64 (n, d), standardised patch vectors.
        bags: (points, n), bilinear weights.
        means: (b, points), means over the points of each bag.
        fractions: float64 (b, k).
        penalty: of the squared coefficients.
        max_iter: of L-BFGS.

    Returns:
        (W float64 (d, k), c float64 (k,)). They start at 0 and the log of the mean fractions.
    """
    d, k = features.shape[1], fractions.shape[1]
    n_bags = len(fractions)
    back, spread = bags.T.tocsr(), means.T.tocsr()
    start = np.concatenate([np.zeros(d * k), np.log(fractions.mean(axis=0) + 1e-6)])

    def loss_and_slope(parameters: Float64Array) -> tuple[float, Float64Array]:
        weights, offset = parameters[: d * k].reshape(d, k), parameters[d * k :]
        proba = softmax(bags @ (features @ weights) + offset, axis=1)
        mean = np.maximum(means @ proba, 1e-12)
        loss = -(fractions * np.log(mean)).sum() / n_bags + penalty * (weights**2).sum()
        toward = spread @ (-fractions / mean / n_bags)
        slope = proba * (toward - (proba * toward).sum(axis=1, keepdims=True))
        weights_slope = features.T @ (back @ slope) + 2 * penalty * weights
        return float(loss), np.concatenate([weights_slope.ravel(), slope.sum(axis=0)])

    found = minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iter})
    return found.x[: d * k].reshape(d, k), found.x[d * k :]
