"""What every probe offers, and what it checks before it looks at data.

Belongs here: the contract (`Probe`), its common half (`BaseProbe`), checks of features and targets, errors of probes.
Does not: any model, scaling (`scaling.py`), the choice of hyper-parameters (`inner_cv.py`).

A target is one of three:

* `class`: one class id per unit, int (n,) in 0..k-1;
* `multilabel`: any of k labels per unit, bool (n, k);
* `continuous`: m values per unit, float (n, m).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Protocol, Self, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError, TooFewUnitsError

Target = Literal["class", "multilabel", "continuous"]
#: What one row of features is: a vector (d,), or a vector and its eight neighbours on the lattice (3, 3, d).
Reads = Literal["vector", "neighbourhood"]
HyperParameters = dict[str, float | int | str | None]

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int16]
IntArray = npt.NDArray[np.int64]
#: Checked targets: int64 (n,), bool (n, k) or float32 (n, m).
TargetArray = npt.NDArray[Any]

#: A label is predicted where its probability is above this (at it: no, as in scikit-learn).
LABEL_THRESHOLD = 0.5


class NotFittedError(IsthmusError):
    """A probe was asked to predict before it was fitted. Permanent."""

    def __init__(self, probe: str) -> None:
        super().__init__(f"{probe}: found no fitted weights, expected a fitted probe. Call fit(X, y) first.")


class TargetError(IsthmusError):
    """A probe does not serve a target, or a target has not what is asked for. Permanent."""

    def __init__(self, probe: str, found: str, expected: str, fix: str) -> None:
        super().__init__(f"probe {probe}: found target {found}, expected {expected}. {fix}")


class Probe(Protocol):
    """What every probe offers.

    Attributes:
        n_outputs: k classes, k labels or m values, whatever was in training.
        n_parameters_: numbers fitted to labels; statistics of features and stored rows are not counted.
        converged_: False where the optimiser stopped at its iteration limit.
        hp_: hyper-parameters in use. Where one can be picked, `picked` says how: `fixed` (there was no choice),
            `inner_cv` or `inner_validation` (on held-out groups), or `default` (too few rows to hold any out).
    """

    n_outputs: int
    n_parameters_: int
    converged_: bool
    hp_: HyperParameters

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Fit on training rows; `groups` are the blocks of inner validation."""
        ...

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Give class ids int16 (n,), labels bool (n, k) or values float32 (n, m)."""
        ...

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Give probabilities of classes (rows sum to 1) or labels, float32 (n, k)."""
        ...


@runtime_checkable
class AffineProbe(Protocol):
    """A classifier whose scores may be interpolated in place of the features."""

    def class_scores(self, X: npt.ArrayLike) -> tuple[FloatArray, IdArray]:
        """Give scores (n, s) that are affine in the features, the largest that of the predicted class; and s ids."""
        ...


class BaseProbe(ABC):
    """The common half of all probes: checks, and predictions from outputs.

    Subclasses give `name`, `_fit` and `_outputs`, and set `n_parameters_`, `converged_` and `hp_` in `_fit`.

    Args:
        n_outputs: k classes, k labels or m values.
        target: what is predicted.
        seed: of every random draw.
    """

    name: ClassVar[str]
    reads: ClassVar[Reads] = "vector"
    #: False for a probe that does not look at features: they may then be NaN.
    looks_at_features: ClassVar[bool] = True

    def __init__(self, n_outputs: int, target: Target = "class", *, seed: int = 0) -> None:
        if target not in get_args(Target):
            raise TargetError(self.name, target, f"one of {', '.join(get_args(Target))}", "Name the task's target.")
        if n_outputs < 1:
            raise ShapeError("n_outputs", n_outputs, "at least 1", "Give the number of classes, labels or values.")
        self.n_outputs = n_outputs
        self.target: Target = target
        self.seed = seed
        self.n_parameters_ = 0
        self.converged_ = True
        self.hp_: HyperParameters = {}
        self._row_shape: tuple[int, ...] | None = None

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Fit on training rows.

        Args:
            X: float (n, d), no NaN; for neighbourhoods float (n, 3, 3, d), NaN = a neighbour that is missing.
            y: integers (n,) class ids, -1 (nodata) is refused; bool (n, k); or float (n, m), no NaN.
            groups: integers (n,), spatial blocks; needed where something is picked by inner validation.

        Returns:
            The probe.

        Raises:
            ShapeError: shapes disagree, features are not finite, ids are out of range, or groups are missing.
            TooFewUnitsError: no rows, or one class alone.
        """
        features = self._check(X, None)
        labels = check_targets(y, len(features), self.target, self.n_outputs)
        blocks = None if groups is None else _check_groups(groups, len(features))
        self._fit(features, labels, blocks)
        self._row_shape = features.shape[1:]
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Predict.

        Args:
            X: float, rows of the shape that was fitted.

        Returns:
            The most probable class, int16 (n,) (ties: the lowest id); labels above 0.5, bool (n, k); or values,
            float32 (n, m).

        Raises:
            NotFittedError: not fitted yet.
            ShapeError: rows of another shape, or not finite.
        """
        outputs = self._checked_outputs(X)
        if self.target == "class":
            return outputs.argmax(axis=1).astype(np.int16)
        return outputs > LABEL_THRESHOLD if self.target == "multilabel" else outputs

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Give probabilities.

        Args:
            X: float, rows of the shape that was fitted.

        Returns:
            float32 (n, k). Classes: rows sum to 1; 0 for classes unseen in training. Labels: each in [0, 1]; 0 or 1
            for a label that no or every training row has.

        Raises:
            NotFittedError: not fitted yet.
            ShapeError: rows of another shape, or not finite.
            TargetError: continuous targets have no probabilities.
        """
        if self.target == "continuous":
            raise TargetError(self.name, "continuous", "class or multilabel", "Call predict for values.")
        return self._checked_outputs(X)

    @abstractmethod
    def _fit(self, X: FloatArray, y: TargetArray, groups: IntArray | None) -> None:
        """Fit on checked rows."""

    @abstractmethod
    def _outputs(self, X: FloatArray) -> FloatArray:
        """Give probabilities (n, k) or values (n, m) at checked rows, n may be 0."""

    def _checked_outputs(self, X: npt.ArrayLike) -> FloatArray:
        features = self._check(X, self._fitted_shape())
        if not len(features):
            return np.empty((0, self.n_outputs), np.float32)
        return np.asarray(self._outputs(features), np.float32)

    def _fitted_shape(self) -> tuple[int, ...]:
        if self._row_shape is None:
            raise NotFittedError(self.name)
        return self._row_shape

    def _check(self, X: npt.ArrayLike, row_shape: tuple[int, ...] | None) -> FloatArray:
        features = np.asarray(X, np.float32)
        _check_shape(features, self.reads, row_shape)
        if self.looks_at_features:
            _check_values(features, self.reads)
        return features


def check_targets(y: npt.ArrayLike, n_rows: int, target: Target, n_outputs: int) -> TargetArray:
    """Check training targets.

    Args:
        y: class ids, labels or values.
        n_rows: n.
        target: which of them.
        n_outputs: k or m.

    Returns:
        int64 (n,), bool (n, k) or float32 (n, m).

    Raises:
        ShapeError: another shape or type, ids out of range, or values that are not finite.
        TooFewUnitsError: no rows.
    """
    labels = np.asarray(y)
    shape = (n_rows,) if target == "class" else (n_rows, n_outputs)
    kinds, what = {"class": ("iu", "integers"), "multilabel": ("b", "bool"), "continuous": ("f", "floats")}[target]
    if labels.shape != shape or labels.dtype.kind not in kinds:
        raise ShapeError("labels", f"{labels.dtype} {labels.shape}", f"{what} {shape}", f"Is the target {target}?")
    if not n_rows:
        raise TooFewUnitsError("rows to train on", 0, "at least 1", "Is the training fold empty?")
    if target == "class":
        if labels.min() < 0 or labels.max() >= n_outputs:
            found = f"{labels.min()}..{labels.max()}"
            raise ShapeError("labels", found, f"0..{n_outputs - 1}", "Leave out units without a label.")
        return labels.astype(np.int64)
    if target == "continuous" and not np.isfinite(labels).all():
        bad = int((~np.isfinite(labels)).any(axis=1).sum())
        raise ShapeError("labels", f"{bad} rows with NaN or infinity", "finite numbers", "Leave such units out.")
    return labels.astype(np.float32 if target == "continuous" else bool)


def list_seen_classes(y: IntArray) -> IntArray:
    """List the classes of training rows.

    Args:
        y: int64 (n,), class ids.

    Returns:
        int64 (s,), sorted, s >= 2.

    Raises:
        TooFewUnitsError: one class alone.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        raise TooFewUnitsError(
            "classes to train on",
            f"only class {classes[0]} in {len(y)} rows",
            "at least 2",
            "Train on more blocks, or merge rare classes in the class map.",
        )
    return classes


def _check_groups(groups: npt.ArrayLike, n_rows: int) -> IntArray:
    blocks = np.asarray(groups)
    if blocks.shape != (n_rows,) or blocks.dtype.kind not in "iu":
        found = f"{blocks.dtype} {blocks.shape}"
        raise ShapeError("groups", found, f"integers ({n_rows},)", "Pass the block of each row.")
    return blocks.astype(np.int64)


def _check_shape(features: FloatArray, reads: Reads, row_shape: tuple[int, ...] | None) -> None:
    n_axes, free = (2, "(n, d)") if reads == "vector" else (4, "(n, 3, 3, d)")
    is_right = features.ndim == n_axes and features.shape[-1] > 0
    if reads == "neighbourhood":
        is_right = is_right and features.shape[1:3] == (3, 3)
    if not is_right or (row_shape is not None and features.shape[1:] != row_shape):
        expected = free if row_shape is None else f"(n, {', '.join(str(size) for size in row_shape)})"
        raise ShapeError("features", features.shape, expected, "One row per unit.")


def _check_values(features: FloatArray, reads: Reads) -> None:
    # a neighbour may be missing, the unit itself may not
    own = features if reads == "vector" else features[:, 1, 1]
    bad = ~np.isfinite(own).all(axis=1)
    if reads == "neighbourhood":
        bad |= np.isinf(features).any(axis=(1, 2, 3))
    if bad.any():
        raise ShapeError(
            "features",
            f"{bad.sum()} of {len(features)} rows with NaN or infinity (first: {np.flatnonzero(bad)[0]})",
            "finite numbers",
            "Leave units without data out, in all arms alike.",
        )
