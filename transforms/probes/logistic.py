"""Logistic regression: the primary probe.

Belongs here: this probe, its optimisation. Does not: the choice of C (`inner_cv.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

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
from transforms.probes.scaling import Standardisation

Float64Array = npt.NDArray[np.float64]


class LogisticProbe(BaseProbe):
    """Logistic regression with an L2 penalty on standardised features (L-BFGS): multinomial, or one fit a label.

    Minimises ``C * sum of log losses + ||W||^2 / 2`` (scikit-learn's convention) in float32. Means and
    standard deviations are those of the rows given to `fit`; constant features are left at 0. With several
    values in `c_grid`, C is picked by inner cross-validation over groups (`inner_cv.py`; ties: the smallest), each
    inner fold standardised by itself; then the probe is refitted on all rows. All labels share one C. Labels that no
    or every training row has are not fitted.

    Args:
        n_outputs: k.
        target: class or multilabel.
        c_grid: inverse regularisation strengths, positive.
        max_iter: iteration limit of the optimiser.
        tol: its tolerance on the largest gradient component of the mean loss.
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
        return self._weights.score(np.asarray(X, np.float32)), self._weights.outputs.astype(np.int16)

    def _fit(self, X: FloatArray, y: TargetArray, groups: IntArray | None) -> None:
        if self.target == "class":
            list_seen_classes(y)
        choice = pick_value(
            self.c_grid, X, y, groups,
            target=self.target, n_outputs=self.n_outputs, n_folds=self.inner_folds, seed=self.seed,
            fit_candidates=self._fit_grid,
        )  # fmt: skip
        self._weights = self._start(X, y).fit(choice.value)
        self.hp_ = {"c": choice.value, "picked": choice.picked}
        self.n_parameters_ = self._weights.n_parameters
        self.converged_ = self._weights.converged

    def _outputs(self, X: FloatArray) -> FloatArray:
        return self._weights.predict_proba(X, self.target)

    def _fit_grid(self, X: FloatArray, y: TargetArray, held: FloatArray) -> Iterator[FloatArray]:
        # from strong to weak regularisation, each fit starting where the last one ended
        solver = self._start(X, y)
        for c in self.c_grid:
            yield solver.fit(c).predict_proba(held, self.target)

    def _start(self, X: FloatArray, y: TargetArray) -> _ClassSolver | _LabelSolver:
        rows = _Rows.of(X)
        if self.target == "class":
            return _ClassSolver(rows, y, self.n_outputs, self.max_iter, self.tol)
        return _LabelSolver(rows, y, self.max_iter, self.tol)


@dataclass(frozen=True)
class _Weights:
    """A fitted affine map; it holds no rows, so that a fitted probe is as small as its weights.

    Attributes:
        scaling: of the features.
        coefficients: float32 (s, d).
        intercept: float32 (s,).
        outputs: int64 (s,), which classes or labels the scores are of.
        constant: float32 (k,), probabilities of the outputs that were not fitted; 0 for the others.
        n_parameters: numbers that were fitted; of two classes, one row of weights.
        converged: False at the iteration limit.
    """

    scaling: Standardisation
    coefficients: FloatArray
    intercept: FloatArray
    outputs: IntArray
    constant: FloatArray
    n_parameters: int
    converged: bool

    def score(self, X: FloatArray) -> FloatArray:
        return np.asarray(self.scaling.apply(X) @ self.coefficients.T + self.intercept, np.float32)

    def predict_proba(self, X: FloatArray, target: Target) -> FloatArray:
        proba = np.tile(self.constant, (len(X), 1))
        if len(self.outputs):
            scores = self.score(X)
            proba[:, self.outputs] = softmax(scores, axis=1) if target == "class" else expit(scores)
        return proba


@dataclass(frozen=True)
class _Rows:
    """Standardised training rows; where they are fewer than features, in a basis of the space that they span.

    With an L2 penalty the best weights lie in that space, so nothing is lost, and few rows are fitted fast however
    wide they are.

    Attributes:
        scaling: of the features.
        Z: float32 (n, r).
        basis: float32 (d, r) with orthonormal columns, or None where Z is in the features themselves.
    """

    scaling: Standardisation
    Z: FloatArray
    basis: FloatArray | None

    @classmethod
    def of(cls, X: FloatArray) -> _Rows:
        scaling = Standardisation.fit(X)
        Z = scaling.apply(X)
        if len(Z) >= Z.shape[1]:
            return cls(scaling, Z, None)
        basis = np.linalg.qr(Z.T)[0]
        return cls(scaling, Z @ basis, basis)

    def lift(self, coefficients: npt.NDArray[Any]) -> FloatArray:
        lifted = coefficients if self.basis is None else coefficients @ self.basis.T
        return np.asarray(lifted, np.float32)


class _ClassSolver:
    """Multinomial weights of one training set, for one C after another with warm starts."""

    def __init__(self, rows: _Rows, y: IntArray, n_classes: int, max_iter: int, tol: float) -> None:
        self._rows = rows
        self._y = y
        self._unseen = np.zeros(n_classes, np.float32)
        self._model = LogisticRegression(tol=tol, max_iter=max_iter, warm_start=True)

    def fit(self, c: float) -> _Weights:
        model = self._model.set_params(C=c)
        with warnings.catch_warnings():
            # said by `converged_`, which the metrics table keeps; a warning would be lost in a log
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(self._rows.Z, self._y)
        coefficients, intercept = self._rows.lift(model.coef_), model.intercept_.astype(np.float32)
        n_parameters = coefficients.size + intercept.size
        if len(model.classes_) == 2:  # scikit-learn keeps one row of weights: that of the second class
            coefficients = np.stack([0 * coefficients[0], coefficients[0]])
            intercept = np.array([0, intercept[0]], np.float32)
        return _Weights(
            self._rows.scaling,
            coefficients,
            intercept,
            np.asarray(model.classes_, np.int64),
            self._unseen,
            n_parameters,
            bool(model.n_iter_.max() < model.max_iter),
        )


class _LabelSolver:
    """Weights of independent labels of one training set, all in one optimisation, so that its products are shared.

    The objective is the sum of the labels' own, which have no weight in common, so its minimum is theirs.
    """

    def __init__(self, rows: _Rows, y: npt.NDArray[np.bool_], max_iter: int, tol: float) -> None:
        self._rows = rows
        self._max_iter = max_iter
        self._tol = tol
        share = y.mean(axis=0)
        varies = (share > 0) & (share < 1)
        self._fitted = np.flatnonzero(varies)
        self._constant = np.where(varies, 0, share).astype(np.float32)
        self._y = y[:, varies].astype(np.float32)
        # the intercept goes last; it starts at the prevalence
        self._weights = np.zeros((len(self._fitted), rows.Z.shape[1] + 1))
        self._weights[:, -1] = logit(share[varies])

    def fit(self, c: float) -> _Weights:
        converged = True
        if len(self._fitted):
            found = minimize(
                self._objective,
                self._weights.ravel(),
                args=(c,),
                jac=True,
                method="L-BFGS-B",
                # as scikit-learn has them
                options={"maxiter": self._max_iter, "maxls": 50, "gtol": self._tol, "ftol": 64 * np.finfo(float).eps},
            )
            self._weights = found.x.reshape(self._weights.shape)
            converged = bool(found.nit < self._max_iter)
        return _Weights(
            self._rows.scaling,
            self._rows.lift(self._weights[:, :-1]),
            self._weights[:, -1].astype(np.float32),
            self._fitted,
            self._constant,
            len(self._fitted) * (len(self._rows.scaling.mean) + 1),
            converged,
        )

    def _objective(self, flat: Float64Array, c: float) -> tuple[float, Float64Array]:
        """Give the sum over labels of mean log loss plus ``||w||^2 / (2 C n)``, and its gradient."""
        weights = flat.reshape(self._weights.shape)
        penalised = weights[:, :-1] / (c * len(self._y))
        scores = self._rows.Z @ weights[:, :-1].T.astype(np.float32) + weights[:, -1].astype(np.float32)
        loss = (np.logaddexp(0, scores) - self._y * scores).mean(axis=0, dtype=np.float64).sum()
        excess = (expit(scores) - self._y) / np.float32(len(self._y))
        gradient = np.empty_like(weights)
        gradient[:, :-1] = excess.T @ self._rows.Z + penalised
        gradient[:, -1] = excess.sum(axis=0, dtype=np.float64)
        return float(loss + (penalised * weights[:, :-1]).sum() / 2), gradient.ravel()
