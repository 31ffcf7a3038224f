"""Label budgets: which training units of a fold a probe may learn from.

Belongs here: budgets as text and as values, nested draws. Does not: folds (`transforms/folds.py`), which budgets are
run (`study.toml`).

A draw puts the training units of a fold into one random order. Every budget takes units from the front of it, so that
with the same draw a smaller budget is part of a larger one of its kind. The order depends on the fold, the draw and the
seed, never on features: all arms learn from the same units.

* Shots: the first s units of every class; for labels, of every label (a unit may count for several) and of the units
  that have none. A class with fewer units gives all.
* Percent: of classes, the first p percent of each, rounded up, so that no class is lost; of labels and values, the
  first p percent of all units, rounded up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
BudgetKind = Literal["shots", "percent"]

#: Draws of a budget of few shots, whose scores depend much on the draw; of a larger one; of all units.
_DRAWS_FEW, _DRAWS_MANY, _DRAWS_ALL = 20, 5, 1
#: Shots that are few.
_FEW_SHOTS = 10


class BudgetError(IsthmusError):
    """A budget is not one, or means nothing for the labels. Permanent."""

    def __init__(self, found: object, expected: str, fix: str) -> None:
        super().__init__(f"label budget: found {found}, expected {expected}. {fix}")


@dataclass(frozen=True)
class Budget:
    """How many training units may be used.

    Attributes:
        kind: `shots` (units per class) or `percent` (of the training units).
        amount: a whole number of shots, at least 1; or percent, above 0 and at most 100.
    """

    kind: BudgetKind
    amount: float

    def __post_init__(self) -> None:
        fix = "Write 10 for ten units per class, 25% for a quarter of the units."
        if self.kind == "shots" and not (self.amount >= 1 and float(self.amount).is_integer()):
            raise BudgetError(f"{self.amount} shots", "a whole number, at least 1", fix)
        if self.kind == "percent" and not 0 < self.amount <= 100:
            raise BudgetError(f"{self.amount} %", "above 0 and at most 100", fix)

    def __str__(self) -> str:
        return f"{self.amount:g}" + ("%" if self.kind == "percent" else "")


def parse_budget(text: str) -> Budget:
    """Read a budget: `10` is shots, `25%` is percent; the inverse of `str`.

    Raises:
        BudgetError: neither.
    """
    bare = text.strip()
    is_percent = bare.endswith("%")
    try:
        amount = float(bare.removesuffix("%"))
    except ValueError as error:
        raise BudgetError(repr(text), "shots such as 10, or percent such as 25%", "Correct the budget.") from error
    return Budget("percent" if is_percent else "shots", amount)


def draws_for(budget: Budget) -> int:
    """Give the number of draws whose scores are averaged: 20 up to 10 shots, 5 above, 1 for all units."""
    if budget.kind == "percent":
        return _DRAWS_ALL if budget.amount == 100 else _DRAWS_MANY
    return _DRAWS_FEW if budget.amount <= _FEW_SHOTS else _DRAWS_MANY


def draw_training(
    labels: npt.NDArray[Any], train: IntArray, budget: Budget, *, fold: int, draw: int, seed: int
) -> IntArray:
    """Take the training units that a budget allows.

    Args:
        labels: of all n units: integers (n,) class ids, bool (n, k) labels, or float (n, m) values.
        train: int64 (t,), positions of the training units of the fold, in any order; none without a label.
        budget: how many.
        fold: number of the fold.
        draw: number of the draw, from 0.
        seed: of the study.

    Returns:
        int64, positions, rising, a part of `train`; all of it for 100 %.

    Raises:
        BudgetError: shots of continuous values.
        ShapeError: labels of another shape, or a training unit with a negative class id.
    """
    rng = np.random.default_rng([seed, fold, draw])
    order = rng.permutation(np.sort(np.asarray(train, np.int64)))
    if budget.kind == "percent" and labels.dtype.kind != "i":
        return np.sort(order[: _share_of(budget, len(order))])
    member = _list_members(labels[order])
    size = member.sum(axis=0)
    if budget.kind == "shots":
        allowed = np.full(len(size), int(budget.amount))
    else:
        allowed = np.array([_share_of(budget, int(count)) for count in size], np.int64)
    # the number of each unit among those of its class, from 1
    number = np.cumsum(member, axis=0)
    return np.sort(order[(member & (number <= allowed)).any(axis=1)])


def _share_of(budget: Budget, count: int) -> int:
    # 7 % of 100 units is 7.000000000000001 in floats
    return math.ceil(round(budget.amount * count / 100, 9))


def _list_members(labels: npt.NDArray[Any]) -> BoolArray:
    """Mark who belongs to what, bool (t, c): to classes, or to labels and to the units without any."""
    if labels.dtype.kind == "f":
        raise BudgetError("shots of continuous values", "percent", "Values have no classes: write 10% instead of 10.")
    if labels.dtype.kind == "b" and labels.ndim == 2:
        return np.column_stack([labels, ~labels.any(axis=1)])
    if labels.dtype.kind != "i" or labels.ndim != 1 or labels.min(initial=0) < 0:
        found = f"{labels.dtype} {labels.shape}, lowest {labels.min(initial=0)}"
        raise ShapeError("labels", found, "class ids (n,) from 0, or bool (n, k)", "Leave out units without a label.")
    return np.asarray(labels[:, None] == np.unique(labels))
