"""Where the features of a cell come from, fold by fold: stored, chosen from more, or joined from several arms.

Belongs here: what features of a fold are, and those that are not fitted. Does not: fitted ones (`fold_features.py`),
reading (`warehouse/features.py`), averaging of predictions (`cell_fits.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FoldFeatures:
    """Features of one fold.

    Attributes:
        train: float32 (n_train, d), or (n_train, 3, 3, d) for probes that read neighbourhoods.
        test: float32 (n_test, d), likewise.
        operator: what was fitted on the training units to make them, or None.
        split_at: where the features of a second arm begin; 0 = there is none.
    """

    train: FloatArray
    test: FloatArray
    operator: object | None = None
    split_at: int = 0


class Features(Protocol):
    """Where the features of an arm come from; whatever is fitted is fitted on the training units."""

    @property
    def threads(self) -> int | None:
        """Folds that may be made at once; None = any number."""
        ...

    def of_fold(self, fold: int, train: Int64Array, test: Int64Array) -> FoldFeatures:
        """Give the features of the training and test units of a fold (positions)."""
        ...


@dataclass(frozen=True)
class StoredFeatures:
    """Features that were not fitted: the same rows in every fold.

    Attributes:
        values: float32 (n, d) or (n, 3, 3, d).
    """

    values: FloatArray
    threads: int | None = None

    def of_fold(self, fold: int, train: Int64Array, test: Int64Array) -> FoldFeatures:
        """Take rows."""
        return FoldFeatures(self.values[train], self.values[test])


@dataclass(frozen=True)
class JoinedFeatures:
    """Features of several arms side by side, each divided by the root mean square length of its training vectors.

    By cosine the longer vectors would decide alone. Probes that standardise, and trees, do not see the division.

    Attributes:
        parts: of the same units.
    """

    parts: tuple[Features, ...]

    @property
    def threads(self) -> int | None:
        """As few as the most careful part allows."""
        limits = [part.threads for part in self.parts if part.threads is not None]
        return min(limits, default=None)

    def of_fold(self, fold: int, train: Int64Array, test: Int64Array) -> FoldFeatures:
        """Join the features of a fold, and say where the second part begins."""
        found = [_of_length_1(part.of_fold(fold, train, test)) for part in self.parts]
        return FoldFeatures(
            np.concatenate([one.train for one in found], axis=1),
            np.concatenate([one.test for one in found], axis=1),
            split_at=found[0].train.shape[1],
        )


def _of_length_1(found: FoldFeatures) -> FoldFeatures:
    """Divide features by the root mean square length of the training vectors; zeros stay."""
    length = np.sqrt(np.square(found.train, dtype=np.float64).sum(axis=1).mean())
    scale = np.float32(1.0 if length == 0.0 else 1.0 / length)
    return replace(found, train=found.train * scale, test=found.test * scale)


@dataclass(frozen=True)
class SelectedFeatures:
    """Features of chosen units of a larger set: all purities of a task share what was read once.

    Attributes:
        whole: features of all units.
        chosen: int64 (n,) positions.
    """

    whole: Features
    chosen: Int64Array

    @property
    def threads(self) -> int | None:
        """As the whole."""
        return self.whole.threads

    def of_fold(self, fold: int, train: Int64Array, test: Int64Array) -> FoldFeatures:
        """Take the rows of the chosen units."""
        return self.whole.of_fold(fold, self.chosen[train], self.chosen[test])
