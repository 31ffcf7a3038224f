"""What each unit does in each fold: the plan that every fold scheme ends in.

Belongs here: the plan, its training and test units. Does not: how folds are made (`transforms/folds.py`,
`transforms/region_folds.py`), the dealing of blocks (`transforms/block_folds.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.block_folds import DROPPED
from transforms.blocks import IntArray
from transforms.errors import TooFewUnitsError

Scheme = Literal["block", "random", "given", "region", "longitude", "transfer"]
#: Schemes that may answer a question: their folds resample many places. Random folds leak; leave-one-region-out and
#: transfer have as many independent places as regions.
ANSWERING_SCHEMES: tuple[Scheme, ...] = ("block", "given", "longitude")
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FoldPlan:
    """What each unit does in each fold.

    Attributes:
        scheme: how the folds were made; `random` is a diagnostic, never evidence.
        block_id: int64 (n,), the unit of resampling: spatial block, or group of given folds.
        fold: int8 (n,); -1 = dropped from all, -2 = trained on by all and tested by none (the training part of a
            published split). Else the fold that tests on the unit and all others may train on it;
            in `transfer` the other way round: the fold that trains on it, and all others may test.
        region: str (n,), or None where regions were not given.
        in_buffer: bool (n, n_folds); True where a unit outside the fold's own ground is too near to it: it may not
            train for that fold, in `transfer` it may not be tested by it.
    """

    scheme: Scheme
    block_id: IntArray
    fold: npt.NDArray[np.int8]
    region: npt.NDArray[np.str_] | None
    in_buffer: BoolArray

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return self.in_buffer.shape[1]

    @property
    def trains_on_one(self) -> bool:
        """Tell whether fold f trains on the units of number f and tests on the others."""
        return self.scheme == "transfer"

    def __len__(self) -> int:
        return len(self.fold)

    def trains(self, fold: int) -> BoolArray:
        """Tell which units a fold trains on: bool (n,)."""
        return self._own(fold) if self.trains_on_one else self._others(fold)

    def tests(self, fold: int) -> BoolArray:
        """Tell which units a fold tests on: bool (n,)."""
        return self._others(fold) if self.trains_on_one else self._own(fold)

    def region_of(self, fold: int) -> str | None:
        """Name the region that a `region` fold tests on, or that a `transfer` fold trains on.

        None in other schemes, and where no unit of the region is left.
        """
        if self.region is None or self.scheme not in ("region", "transfer"):
            return None
        names = self.region[self._own(fold)]
        return str(names[0]) if len(names) else None

    def _own(self, fold: int) -> BoolArray:
        return np.asarray(self.fold == fold, np.bool_)

    def _others(self, fold: int) -> BoolArray:
        return np.asarray((self.fold != fold) & (self.fold != DROPPED) & ~self.in_buffer[:, fold], np.bool_)


def fold_split(plan: FoldPlan, fold: int) -> tuple[IntArray, IntArray]:
    """Give the training and test units of a fold.

    Args:
        plan: the plan.
        fold: 0..n_folds-1.

    Returns:
        (train, test): int64 positions, ascending; dropped units are in neither. The buffer is not in train, in
        `transfer` not in test.

    Raises:
        TooFewUnitsError: there is no such fold, or nothing to train or test on.
    """
    if not 0 <= fold < plan.n_folds:
        raise TooFewUnitsError("fold", fold, f"0..{plan.n_folds - 1}", "Ask for a fold of this plan.")
    train, test = np.flatnonzero(plan.trains(fold)), np.flatnonzero(plan.tests(fold))
    if not len(train) or not len(test):
        raise TooFewUnitsError(
            f"units of {plan.scheme} fold {fold}",
            f"{len(train)} to train on, {len(test)} to test on",
            "at least one each",
            "Enlarge the area of interest or use fewer folds; never shrink the buffer to get units.",
        )
    return train, test


def check_plan(plan: FoldPlan) -> FoldPlan:
    """Check that every fold has ground of its own.

    Raises:
        TooFewUnitsError: a fold has none.
    """
    missing = sorted(set(range(plan.n_folds)) - set(plan.fold.tolist()))
    if missing:
        raise TooFewUnitsError(
            f"{'training' if plan.trains_on_one else 'test'} units of {plan.scheme} folds",
            f"none in folds {missing}",
            "at least one in each fold",
            "Enlarge the area of interest or use fewer folds.",
        )
    return plan
