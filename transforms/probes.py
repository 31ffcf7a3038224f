"""Probes: small classifiers on frozen embeddings, scikit-learn style.

Belongs here: estimators with `fit`, `predict`, `predict_proba`, and their registry `PROBES`.
Does not: folds (`transforms/folds.py`), metrics, which arms and budgets are run.

Everything that a probe fits (scaling, the choice of C, weights) it fits on the rows that `fit` is given.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from transforms.block_folds import balance_folds
from transforms.errors import IsthmusError, ShapeError, TooFewUnitsError
from transforms.metrics import confusion, macro_f1

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int16]


class NotFittedError(IsthmusError):
    """A probe was asked to predict before it was fitted. Permanent."""

    def __init__(self, probe: str) -> None:
        super().__init__(f"{probe}: found no fitted weights, expected a fitted probe. Call fit(X, y) first.")


class Probe(Protocol):
    """What every probe offers.

    Attributes:
        n_classes: k, the declared classes; probabilities have k columns, whatever was in training.
        n_parameters_: numbers fitted to labels; scaling statistics are not counted.
        c_: inverse regularisation strength in use; None where the probe has none.
        converged_: False where the optimiser stopped at its iteration limit.
    """

    n_classes: int
    n_parameters_: int
    c_: float | None
    converged_: bool

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Fit on training rows; `groups` are the blocks of inner cross-validation."""
        ...

    def predict(self, X: npt.ArrayLike) -> IdArray:
        """Give the most probable class, int16 (n,)."""
        ...

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Give class probabilities, float32 (n, k), rows sum to 1; 0 for classes unseen in training."""
        ...

    def class_scores(self, X: npt.ArrayLike) -> tuple[FloatArray, IdArray]:
        """Give scores (n, s) that are affine in the features, the largest that of the predicted class; and s ids."""
        ...


class MajorityProbe:
    """Predict the training frequencies of the classes, whatever the features: the control of controls.

    Args:
        n_classes: k.
        seed: unused; every probe takes one.
    """

    def __init__(self, n_classes: int, *, seed: int = 0) -> None:
        self.n_classes = n_classes
        self.seed = seed
        self.n_parameters_ = 0
        self.c_: float | None = None
        self.converged_ = True
        self._frequencies: FloatArray | None = None

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Count the classes.

        Args:
            X: float (n, d); its values are not looked at.
            y: integers (n,), class ids.
            groups: unused.

        Returns:
            The probe.

        Raises:
            ShapeError: lengths differ or ids are out of range.
            TooFewUnitsError: no rows.
        """
        labels = _check_labels(y, len(np.asarray(X)), self.n_classes)
        counts = np.bincount(labels, minlength=self.n_classes)
        self._frequencies = (counts / counts.sum()).astype(np.float32)
        self.n_parameters_ = self.n_classes - 1
        return self

    def predict(self, X: npt.ArrayLike) -> IdArray:
        """Give the most frequent training class (ties: the lowest id), int16 (n,)."""
        return self.predict_proba(X).argmax(axis=1).astype(np.int16)

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Give the training frequencies, float32 (n, k).

        Raises:
            NotFittedError: not fitted yet.
        """
        if self._frequencies is None:
            raise NotFittedError("majority")
        return np.tile(self._frequencies, (len(np.asarray(X)), 1))

    def class_scores(self, X: npt.ArrayLike) -> tuple[FloatArray, IdArray]:
        """Give the training frequencies as scores, float32 (n, k), and all ids; NaN rows give NaN scores."""
        is_missing = ~np.isfinite(np.asarray(X, np.float32)).all(axis=1)
        scores = self.predict_proba(X)
        scores[is_missing] = np.nan
        return scores, np.arange(self.n_classes, dtype=np.int16)


class LogisticProbe:
    """Multinomial logistic regression with an L2 penalty on standardised features (L-BFGS).

    Minimises ``C * sum of log losses + ||W||^2 / 2`` (scikit-learn's convention) in float32. Means and
    standard deviations are those of the rows given to `fit`; constant features are left at 0. With several
    values in `c_grid`, C is the one with the highest macro-F1 in inner cross-validation over groups (ties:
    the smallest), each inner fold standardised by itself; then the probe is refitted on all rows.

    Args:
        n_classes: k.
        c_grid: inverse regularisation strengths, positive.
        max_iter: iteration limit of the optimiser.
        tol: its tolerance on the largest gradient component.
        inner_folds: folds of inner cross-validation; fewer where there are fewer groups.
        seed: deals the groups to inner folds.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        c_grid: Sequence[float] = (0.1,),
        max_iter: int = 500,
        tol: float = 1e-4,
        inner_folds: int = 3,
        seed: int = 0,
    ) -> None:
        if not c_grid or min(c_grid) <= 0:
            raise ShapeError("c_grid", tuple(c_grid), "positive numbers", "The primary probe uses (0.1,).")
        self.n_classes = n_classes
        self.c_grid = tuple(sorted(c_grid))
        self.max_iter = max_iter
        self.tol = tol
        self.inner_folds = inner_folds
        self.seed = seed
        self.n_parameters_ = 0
        self.c_: float | None = None
        self.converged_ = False
        self._model: _StandardisedLogistic | None = None

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Pick C if there is a choice, then fit.

        Args:
            X: float (n, d), no NaN.
            y: integers (n,), class ids; -1 (nodata) is refused.
            groups: integers (n,), spatial blocks; needed where `c_grid` has several values.

        Returns:
            The probe.

        Raises:
            ShapeError: shapes disagree, features are not finite, ids are out of range, or groups are missing.
            TooFewUnitsError: fewer than two classes, or fewer than two groups to pick C with.
        """
        features = _check_features(X)
        labels = _check_labels(y, len(features), self.n_classes)
        c = self.c_grid[0] if len(self.c_grid) == 1 else self._pick_c(features, labels, groups)
        model = self._build_model(features, labels)
        self._model = model.refit(model.standardise(features), labels, c)
        self.c_ = c
        self.converged_ = model.converged
        self.n_parameters_ = model.n_parameters
        return self

    def predict(self, X: npt.ArrayLike) -> IdArray:
        """Give the most probable class (ties: the lowest id), int16 (n,)."""
        return self.predict_proba(X).argmax(axis=1).astype(np.int16)

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Give class probabilities.

        Args:
            X: float (n, d), the width that was fitted, no NaN.

        Returns:
            float32 (n, k); 0 for classes unseen in training.

        Raises:
            NotFittedError: not fitted yet.
            ShapeError: another width, or not finite.
        """
        if self._model is None:
            raise NotFittedError("logistic")
        return self._model.predict_proba(_check_features(X, self._model.dims))

    def class_scores(self, X: npt.ArrayLike) -> tuple[FloatArray, IdArray]:
        """Give the linear scores whose largest is the predicted class.

        They are an affine map of the features, so they may be interpolated in place of them.

        Args:
            X: float (n, d), the width that was fitted; NaN rows give NaN scores.

        Returns:
            (float32 (n, s), int16 (s,)): scores of the s classes seen in training, and their ids.

        Raises:
            NotFittedError: not fitted yet.
        """
        if self._model is None:
            raise NotFittedError("logistic")
        return self._model.class_scores(np.asarray(X, np.float32))

    def _build_model(self, X: FloatArray, y: npt.NDArray[np.int64]) -> _StandardisedLogistic:
        return _StandardisedLogistic(X, y, self.n_classes, self.max_iter, self.tol)

    def _pick_c(self, X: FloatArray, y: npt.NDArray[np.int64], groups: npt.ArrayLike | None) -> float:
        """Find the C with the highest macro-F1 on inner confusions summed over folds."""
        if groups is None or np.shape(groups) != y.shape:
            raise ShapeError(
                "groups",
                None if groups is None else np.shape(groups),
                f"{y.shape}",
                "Pass the blocks of the rows.",
            )
        blocks = np.asarray(groups, np.int64)
        names = np.unique(blocks)
        if len(names) < 2:
            raise TooFewUnitsError("groups to pick C with", len(names), "at least 2", "Use one value of C.")
        n_folds = min(self.inner_folds, len(names))
        names, fold_of = balance_folds(blocks, y, n_folds, np.random.default_rng(self.seed))
        fold = fold_of[np.searchsorted(names, blocks)]
        sums = np.zeros((len(self.c_grid), self.n_classes, self.n_classes), np.int64)
        for number in range(n_folds):
            held = fold == number
            model = self._build_model(X[~held], y[~held])
            train, test = model.standardise(X[~held]), X[held]
            # from strong to weak regularisation, each fit starting where the last one ended
            for position, c in enumerate(self.c_grid):
                pred = model.refit(train, y[~held], c).predict_proba(test).argmax(axis=1)
                sums[position] += confusion(y[held], pred, self.n_classes)
        return self.c_grid[int(np.argmax(macro_f1(sums)))]


class _StandardisedLogistic:
    """The scaling of one training set, and weights fitted for one C after another with warm starts.

    It holds no rows: a fitted probe is as small as its weights.
    """

    def __init__(self, X: FloatArray, y: npt.NDArray[np.int64], n_classes: int, max_iter: int, tol: float) -> None:
        self._classes = np.unique(y)
        if len(self._classes) < 2:
            raise TooFewUnitsError(
                "classes to train on",
                f"only class {self._classes[0]} in {len(y)} rows",
                "at least 2",
                "Train on more blocks, or merge rare classes in the class map.",
            )
        self.dims = X.shape[1]
        self._n_classes = n_classes
        self._mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = X.std(axis=0, dtype=np.float64)
        # a constant feature says nothing; rounding must not blow it up to unit variance
        constant = spread <= 1e-6 * np.maximum(np.abs(self._mean), 1e-30)
        self._scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, spread)).astype(np.float32)
        self._model = LogisticRegression(tol=tol, max_iter=max_iter, warm_start=True)
        self.converged = False

    def refit(self, Z: FloatArray, y: npt.NDArray[np.int64], c: float) -> Self:
        self._model.set_params(C=c)
        with warnings.catch_warnings():
            # said by `converged`, which the metrics table keeps; a warning would be lost in a log
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(Z, y)
        self.converged = bool(self._model.n_iter_.max() < self._model.max_iter)
        return self

    @property
    def n_parameters(self) -> int:
        return int(self._model.coef_.size + self._model.intercept_.size)

    def predict_proba(self, X: FloatArray) -> FloatArray:
        proba = np.zeros((len(X), self._n_classes), np.float32)
        if len(X):
            proba[:, self._classes] = self._model.predict_proba(self.standardise(X))
        return proba

    def class_scores(self, X: FloatArray) -> tuple[FloatArray, IdArray]:
        coefficients, intercept = self._model.coef_, self._model.intercept_
        if len(self._classes) == 2:  # scikit-learn keeps one row of weights: that of the second class
            coefficients, intercept = np.stack([0 * coefficients[0], coefficients[0]]), np.r_[0, intercept]
        scores = self.standardise(X) @ coefficients.T.astype(np.float32) + intercept.astype(np.float32)
        return scores.astype(np.float32), self._classes.astype(np.int16)

    def standardise(self, X: FloatArray) -> FloatArray:
        return (X - self._mean) * self._scale


def _check_features(X: npt.ArrayLike, dims: int | None = None) -> FloatArray:
    features = np.asarray(X, np.float32)
    if features.ndim != 2 or not features.shape[1] or (dims is not None and features.shape[1] != dims):
        raise ShapeError("features", features.shape, f"(n, {dims if dims is not None else 'd'})", "One row per unit.")
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        raise ShapeError(
            "features",
            f"{bad.sum()} of {len(features)} rows with NaN or infinity (first: {np.flatnonzero(bad)[0]})",
            "finite numbers",
            "Leave units without data out, in all arms alike.",
        )
    return features


def _check_labels(y: npt.ArrayLike, n_rows: int, n_classes: int) -> npt.NDArray[np.int64]:
    labels = np.asarray(y)
    if labels.shape != (n_rows,) or labels.dtype.kind not in "iu":
        raise ShapeError("labels", f"{labels.dtype} {labels.shape}", f"integers ({n_rows},)", "One per row.")
    if not n_rows:
        raise TooFewUnitsError("rows to train on", 0, "at least 1", "Is the training fold empty?")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ShapeError(
            "labels",
            f"{labels.min()}..{labels.max()}",
            f"0..{n_classes - 1}",
            "Leave out units without a label.",
        )
    return labels.astype(np.int64)


#: Probes by their name in `out_probe__metrics`; each is built as ``PROBES[name](n_classes, seed=seed)``.
PROBES: Mapping[str, Callable[..., Probe]] = MappingProxyType({"logistic": LogisticProbe, "majority": MajorityProbe})
