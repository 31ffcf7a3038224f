"""Ridge regression: least squares with an L2 penalty, on values, labels or one-hot classes.

Belongs here: this probe, its closed form. Does not: the choice of alpha (`inner_cv.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.probes.base import (
    BaseProbe,
    FloatArray,
    IdArray,
    IntArray,
    Target,
    TargetArray,
    TargetError,
    list_seen_classes,
)
from transforms.probes.inner_cv import pick_value
from transforms.probes.principal_rows import AffineMap, PrincipalRows
from transforms.probes.scaling import Standardisation

Float64Array = npt.NDArray[np.float64]


class RidgeProbe(BaseProbe):
    """Ridge regression; classes are fitted as one-hot values, labels as 0 and 1.

    Minimises ``||Y - X W - b||^2 + alpha ||W||^2`` (scikit-learn's convention) in closed form, float64. With several
    values in `alpha_grid`, alpha is picked by inner cross-validation over groups (`inner_cv.py`; ties: the largest),
    then the probe is refitted on all rows. All outputs share one alpha.

    Outputs of one-hot fits sum to 1 but may leave [0, 1]: probabilities of classes are their Euclidean projection on
    the simplex (Duchi et al. 2008, doi:10.1145/1390156.1390191, fig. 1), which keeps their order; those of labels are
    clipped.

    Args:
        n_outputs: k classes, k labels or m values.
        target: what is predicted.
        alpha_grid: regularisation strengths, positive.
        standardise: scale features to variance 1. Without, an orthonormal map of the features changes nothing.
        inner_folds: folds of inner cross-validation; fewer where there are fewer groups.
        seed: deals the groups to inner folds.
    """

    name = "ridge"

    def __init__(
        self,
        n_outputs: int,
        target: Target = "class",
        *,
        alpha_grid: Sequence[float] = (100.0,),
        standardise: bool = True,
        inner_folds: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(n_outputs, target, seed=seed)
        if not alpha_grid or min(alpha_grid) <= 0:
            raise ShapeError("alpha_grid", tuple(alpha_grid), "positive numbers", "The default is (100.0,).")
        # most regularised first
        self.alpha_grid = tuple(sorted(alpha_grid, reverse=True))
        self.standardise = standardise
        self.inner_folds = inner_folds

    def class_scores(self, X: npt.ArrayLike) -> tuple[FloatArray, IdArray]:
        """Give the linear outputs whose largest is the predicted class; they are affine in the features.

        Args:
            X: float (n, d), the width that was fitted; NaN rows give NaN scores.

        Returns:
            (float32 (n, s), int16 (s,)): outputs of the s classes seen in training, and their ids.

        Raises:
            NotFittedError: not fitted yet.
            TargetError: the target is not class.
        """
        self._fitted_shape()
        if self.target != "class":
            raise TargetError(self.name, self.target, "class", "Take predict.")
        return self._map.apply(np.asarray(X, np.float32)), self._seen.astype(np.int16)

    def _fit(self, X: FloatArray, y: TargetArray, groups: IntArray | None) -> None:
        # which outputs the map gives: classes without a row are left out, for projection would give them a share
        self._seen = list_seen_classes(y) if self.target == "class" else np.arange(self.n_outputs)
        choice = pick_value(
            self.alpha_grid, X, y, groups,
            target=self.target, n_outputs=self.n_outputs, n_folds=self.inner_folds, seed=self.seed,
            fit_candidates=self._fit_grid,
        )  # fmt: skip
        self._map = self._solve(X, y).fit(choice.value)
        self.hp_ = {"alpha": choice.value, "picked": choice.picked}
        self.n_parameters_ = (X.shape[1] + 1) * len(self._seen)

    def _outputs(self, X: FloatArray) -> FloatArray:
        return self._bound(self._map.apply(X))

    def _fit_grid(self, X: FloatArray, y: TargetArray, held: FloatArray) -> Iterator[FloatArray]:
        solution = self._solve(X, y)
        for alpha in self.alpha_grid:
            yield self._bound(solution.fit(alpha).apply(held))

    def _solve(self, X: FloatArray, y: TargetArray) -> _Solution:
        wanted = y[:, None] == self._seen if self.target == "class" else y
        scaling = Standardisation.fit(X)
        if not self.standardise:
            scaling = Standardisation(scaling.mean, np.ones_like(scaling.scale))
        return _Solution(PrincipalRows.of(X, scaling), wanted.astype(np.float64))

    def _bound(self, outputs: FloatArray) -> FloatArray:
        if self.target == "continuous":
            return outputs
        if self.target == "multilabel":
            return np.clip(outputs, 0, 1)
        proba = np.zeros((len(outputs), self.n_outputs), np.float32)
        proba[:, self._seen] = project_on_simplex(outputs)
        return proba


class _Solution:
    """The products of one training set, from which the weights of any alpha are a division."""

    def __init__(self, rows: PrincipalRows, Y: Float64Array) -> None:
        self._rows = rows
        self._mean = Y.mean(axis=0)
        self._products = rows.rows.T @ (Y - self._mean)

    def fit(self, alpha: float) -> AffineMap:
        return self._rows.lift(self._products / (self._rows.squares + alpha)[:, None], self._mean)


def project_on_simplex(outputs: npt.ArrayLike) -> FloatArray:
    """Give the nearest point, in Euclidean distance, that is at least 0 and sums to 1.

    Args:
        outputs: float (n, s).

    Returns:
        float32 (n, s); the order within a row is kept.
    """
    values = np.asarray(outputs, np.float64)
    falling = -np.sort(-values, axis=1)
    excess = np.cumsum(falling, axis=1) - 1
    rank = np.arange(1, values.shape[1] + 1)
    n_kept = (falling * rank > excess).sum(axis=1)
    threshold = excess[np.arange(len(values)), n_kept - 1] / n_kept
    return np.maximum(values - threshold[:, None], 0).astype(np.float32)
