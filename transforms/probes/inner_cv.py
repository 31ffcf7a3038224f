"""Choice of one hyper-parameter by cross-validation over the spatial blocks of the training rows.

Belongs here: inner folds, the score of a candidate, the default where the folds cannot hold; whole groups held out
for early stopping. Does not: any model; outer folds (`transforms/folds.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.block_folds import balance_folds
from transforms.errors import ShapeError
from transforms.metrics import confusion, macro_f1
from transforms.probes.base import FloatArray, IntArray, Target, TargetArray

Float64Array = npt.NDArray[np.float64]
Picked = Literal["fixed", "inner_cv", "default"]
#: Trains on (X, y) and gives the outputs at held-out rows, one array a candidate, in the order of the candidates.
FitCandidates = Callable[[FloatArray, TargetArray, FloatArray], Iterable[FloatArray]]


@dataclass(frozen=True)
class Choice:
    """A value and why it was taken.

    Attributes:
        value: one of the candidates.
        picked: `fixed`: it was the only one; `inner_cv`: it scored best; `default`: the middle of the candidates,
            because the rows are too few for inner folds.
    """

    value: float
    picked: Picked


def pick_value(
    candidates: Sequence[float],
    X: FloatArray,
    y: TargetArray,
    groups: IntArray | None,
    *,
    target: Target,
    n_outputs: int,
    n_folds: int,
    seed: int,
    fit_candidates: FitCandidates,
) -> Choice:
    """Pick the candidate with the best score on held-out groups (ties: the first).

    Scores are of all inner folds together. Classes: macro-F1 on summed confusions. Labels and values: the mean of R2
    over outputs (for labels, R2 of probabilities is the Brier skill score against the prevalence); outputs that are
    constant are left out.

    Args:
        candidates: in the order in which ties are settled: most regularised first.
        X: float32 (n, ...), training rows.
        y: targets of the rows.
        groups: int64 (n,), spatial blocks, never parted; None only where there is one candidate.
        target: what is predicted.
        n_outputs: k or m.
        n_folds: inner folds; fewer where there are fewer groups.
        seed: deals the groups to folds.
        fit_candidates: trains all candidates on one inner fold.

    Returns:
        The choice.

    Raises:
        ShapeError: several candidates and no groups.
    """
    if len(candidates) == 1:
        return Choice(candidates[0], "fixed")
    if groups is None:
        raise ShapeError("groups", None, f"integers ({len(y)},)", "Pass the blocks of the rows, or one candidate.")
    fold = deal_groups(y, groups, target, n_folds, seed)
    if fold is None:
        return Choice(candidates[len(candidates) // 2], "default")
    tally = _Tally(len(candidates), y, target, n_outputs)
    for number in range(int(fold.max()) + 1):
        held = fold == number
        for position, outputs in enumerate(fit_candidates(X[~held], y[~held], X[held])):
            tally.add(position, y[held], outputs)
    return Choice(candidates[int(np.argmax(tally.scores()))], "inner_cv")


def deal_groups(y: TargetArray, groups: IntArray, target: Target, n_folds: int, seed: int) -> IntArray | None:
    """Deal whole groups to folds, classes spread evenly.

    Args:
        y: targets.
        groups: int64 (n,).
        target: what is predicted.
        n_folds: at least 2; fewer where there are fewer groups.
        seed: breaks ties.

    Returns:
        int64 (n,), the fold of each row; None where no choice could be made on them. That is where fewer than two
        classes are in two folds each (of a class in one fold, either training or test sees nothing), where no label
        is both present and absent in two folds, or where there is one group.
    """
    n_folds = min(n_folds, len(np.unique(groups)))
    if n_folds < 2:
        return None
    strata = _list_strata(y, target)
    names, fold_of = balance_folds(groups, strata, n_folds, np.random.default_rng(seed))
    fold = fold_of[np.searchsorted(names, groups)].astype(np.int64)
    if target == "continuous":
        return fold
    present = y[:, None] == np.unique(y) if target == "class" else y
    counts = np.stack([present[fold == number].sum(axis=0) for number in range(n_folds)])
    is_shared = (counts > 0).sum(axis=0) >= 2
    if target == "class":
        return fold if is_shared.sum() >= 2 else None
    size = np.bincount(fold, minlength=n_folds)[:, None]
    is_shared &= (counts < size).sum(axis=0) >= 2
    return fold if is_shared.any() else None


def _list_strata(y: TargetArray, target: Target) -> IntArray:
    """Give what is spread evenly: the class; the rarest label that a row has; nothing for values (-1)."""
    if target == "class":
        return y
    if target == "continuous":
        return np.full(len(y), -1, np.int64)
    by_rarity = np.argsort(y.sum(axis=0), kind="stable")
    rarest = by_rarity[y[:, by_rarity].argmax(axis=1)]
    return np.where(y.any(axis=1), rarest, -1).astype(np.int64)


class _Tally:
    """Scores of candidates, from sums over folds."""

    def __init__(self, n_candidates: int, y: TargetArray, target: Target, n_outputs: int) -> None:
        self._is_class = target == "class"
        self._n_outputs = n_outputs
        self._confusions = np.zeros((n_candidates, n_outputs, n_outputs), np.int64)
        self._squares = np.zeros((n_candidates, n_outputs))
        self._spread = np.zeros(n_outputs) if self._is_class else len(y) * y.var(axis=0, dtype=np.float64)

    def add(self, position: int, truth: TargetArray, outputs: FloatArray) -> None:
        if self._is_class:
            self._confusions[position] += confusion(truth, outputs.argmax(axis=1), self._n_outputs)
        else:
            self._squares[position] += ((outputs - truth.astype(np.float64)) ** 2).sum(axis=0)

    def scores(self) -> Float64Array:
        if self._is_class:
            return macro_f1(self._confusions)
        varies = self._spread > 0
        if not varies.any():
            return np.zeros(len(self._squares))
        return np.asarray((1 - self._squares[:, varies] / self._spread[varies]).mean(axis=1), np.float64)
