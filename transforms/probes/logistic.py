"""Logistic regression: the primary probe.

Belongs here: this probe, its optimisation. Does not: the choice of C (`inner_cv.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit, logsumexp, softmax

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


class LogisticProbe(BaseProbe):
    """Logistic regression with an L2 penalty on standardised features (L-BFGS): multinomial, or one fit a label.

    Minimises ``C * sum of log losses + ||W||^2 / 2`` (scikit-learn's convention: the intercept is not penalised).
    Means and standard deviations are those of the rows given to `fit`; constant features are left at 0. With several
    values in `c_grid`, C is picked by inner cross-validation over groups (`inner_cv.py`; ties: the smallest), each
    inner fold standardised by itself; then the probe is refitted on all rows. All labels share one C. Labels that no
    or every training row has are not fitted.

    Args:
        n_outputs: k.
        target: class or multilabel.
        c_grid: inverse regularisation strengths, positive.
        max_iter: iteration limit of the optimiser.
        tol: its tolerance on the largest component of the scaled gradient of the mean loss.
        inner_folds: folds of inner cross-validation; fewer where there are fewer groups.
        seed: deals the groups to inner folds.
    """

    name = "logistic"

    def __init__(
        self,
        n_outputs: int,
        target: Target = "class",
        *,
        c_grid: Sequence[float] = (0.1,),
        max_iter: int = 500,
        tol: float = 1e-4,
        inner_folds: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(n_outputs, target, seed=seed)
        if target == "continuous":
            raise TargetError(self.name, target, "class or multilabel", "Use ridge for values.")
        if not c_grid or min(c_grid) <= 0:
            raise ShapeError("c_grid", tuple(c_grid), "positive numbers", "The primary probe uses (0.1,).")
        self.c_grid = tuple(sorted(c_grid))
        self.max_iter = max_iter
        self.tol = tol
        self.inner_folds = inner_folds

    def class_scores(self, X: npt.ArrayLike) -> tuple[FloatArray, IdArray]:
        """Give the linear scores whose largest is the predicted class.

        They are an affine map of the features, so they may be interpolated in place of them.

        Args:
            X: float (n, d), the width that was fitted; NaN rows give NaN scores.

        Returns:
            (float32 (n, s), int16 (s,)): scores of the s classes seen in training, and their ids.

        Raises:
            NotFittedError: not fitted yet.
            TargetError: the target is not class.
        """
        self._fitted_shape()
        if self.target != "class":
            raise TargetError(self.name, self.target, "class", "Take predict_proba of labels.")
        return self._fitted.map.apply(np.asarray(X, np.float32)), self._fitted.outputs.astype(np.int16)

    def _fit(self, X: FloatArray, y: TargetArray, groups: IntArray | None) -> None:
        if self.target == "class":
            list_seen_classes(y)
        choice = pick_value(
            self.c_grid, X, y, groups,
            target=self.target, n_outputs=self.n_outputs, n_folds=self.inner_folds, seed=self.seed,
            fit_candidates=self._fit_grid,
        )  # fmt: skip
        self._fitted = self._start(X, y).fit(choice.value)
        self.hp_ = {"c": choice.value, "picked": choice.picked}
        self.n_parameters_ = self._fitted.n_parameters
        self.converged_ = self._fitted.converged

    def _outputs(self, X: FloatArray) -> FloatArray:
        return self._fitted.predict_proba(X, self.target)

    def _fit_grid(self, X: FloatArray, y: TargetArray, held: FloatArray) -> Iterator[FloatArray]:
        # from strong to weak regularisation, each fit starting where the last one ended
        solver = self._start(X, y)
        for c in self.c_grid:
            yield solver.fit(c).predict_proba(held, self.target)

    def _start(self, X: FloatArray, y: TargetArray) -> _Solver:
        return _Solver(X, y, self)


@dataclass(frozen=True)
class _Fitted:
    """A fitted map, and what its scores are of.

    Attributes:
        map: of features to scores (n, s).
        outputs: int64 (s,), classes in training, or labels that vary in it.
        others: float32 (k,), probabilities of the outputs without a score; 0 for those with one.
        n_parameters: numbers that were fitted; of two classes, the scores of the second.
        converged: False at the iteration limit.
    """

    map: AffineMap
    outputs: IntArray
    others: FloatArray
    n_parameters: int
    converged: bool

    def predict_proba(self, X: FloatArray, target: Target) -> FloatArray:
        proba = np.tile(self.others, (len(X), 1))
        if len(self.outputs):
            scores = self.map.apply(X)
            proba[:, self.outputs] = softmax(scores, axis=1) if target == "class" else expit(scores)
        return proba


class _Solver:
    """Weights of one training set, for one C after another with warm starts, all outputs in one optimisation.

    The objective of labels is the sum of their own, which have no weight in common, so its minimum is theirs; their
    products with the rows are shared. L-BFGS works on weights of principal components, each in units of the inverse
    square root of its curvature where all weights are 0: so scaled, it needs tens of steps where it would need
    hundreds.
    """

    def __init__(self, X: FloatArray, y: TargetArray, probe: LogisticProbe) -> None:
        self._rows = PrincipalRows.of(X, Standardisation.fit(X))
        self._max_iter = probe.max_iter
        self._tol = probe.tol
        target = probe.target
        self._others = np.zeros(probe.n_outputs, np.float32)
        if target == "class":
            self._outputs, wanted = _one_hot(y)
        else:
            share = y.mean(axis=0)
            varies = (share > 0) & (share < 1)
            self._outputs, wanted = np.flatnonzero(varies), y[:, varies]
            self._others[~varies] = share[~varies]
        # two classes are one label: the second
        self._is_softmax = target == "class" and len(self._outputs) > 2
        self._is_pair = target == "class" and not self._is_softmax
        self._wanted = (wanted[:, 1:] if self._is_pair else wanted).astype(np.float32)
        self._share = self._wanted.mean(axis=0, dtype=np.float64)
        # the intercept goes last; it starts at the prevalence
        self._weights = np.zeros((len(self._rows.squares) + 1, len(self._share)))
        self._weights[-1] = np.log(self._share) if self._is_softmax else logit(self._share)

    def fit(self, c: float) -> _Fitted:
        converged = True
        if self._weights.size:
            unit = self._units(c)
            found = minimize(
                self._objective,
                (self._weights / unit).ravel(),
                args=(c, unit),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": self._max_iter, "maxls": 50, "gtol": self._tol, "ftol": 64 * np.finfo(float).eps},
            )
            self._weights = found.x.reshape(unit.shape) * unit
            converged = bool(found.nit < self._max_iter)
        weights, intercept = self._weights[:-1], self._weights[-1]
        n_parameters = (len(self._rows.basis) + 1) * len(intercept)
        if self._is_pair:
            weights, intercept = np.hstack([0 * weights, weights]), np.r_[0, intercept]
        return _Fitted(self._rows.lift(weights, intercept), self._outputs, self._others, n_parameters, converged)

    def _units(self, c: float) -> Float64Array:
        """Give the inverse square roots of the curvatures at weights of 0, float64 (r + 1, s)."""
        spread = self._share * (1 - self._share)
        curvature = np.outer(np.r_[self._rows.squares, len(self._wanted)], spread)
        curvature[:-1] += 1 / c
        return np.asarray(np.sqrt(len(self._wanted) / curvature), np.float64)

    def _objective(self, scaled: Float64Array, c: float, unit: Float64Array) -> tuple[float, Float64Array]:
        """Give the sum over outputs of mean log loss plus ``||w||^2 / (2 C n)``, and its gradient."""
        n_rows = len(self._wanted)
        weights = scaled.reshape(unit.shape) * unit
        scores = self._rows.rows @ weights[:-1].astype(np.float32) + weights[-1].astype(np.float32)
        if self._is_softmax:
            level = logsumexp(scores, axis=1, keepdims=True)
            proba = np.exp(scores - level)
        else:
            level = np.logaddexp(0, scores)
            proba = expit(scores)
        loss = level.sum(dtype=np.float64) - (self._wanted * scores).sum(dtype=np.float64)
        excess = proba - self._wanted
        gradient = np.empty_like(weights)
        gradient[:-1] = self._rows.rows.T @ excess + weights[:-1] / c
        gradient[-1] = excess.sum(axis=0, dtype=np.float64)
        objective = (loss + (weights[:-1] ** 2).sum() / (2 * c)) / n_rows
        return float(objective), (gradient * unit / n_rows).ravel()


def _one_hot(y: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Give the classes that occur, int64 (s,), and bool (n, s)."""
    classes = np.unique(y)
    return classes, y[:, None] == classes
