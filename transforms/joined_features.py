"""Features of arms that join two others: side by side for one probe, or for two whose predictions are averaged.

Belongs here: joining. Does not: the features that are joined, averaging (`transforms/evaluation.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.evaluation import Features, FoldFeatures

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class JoinedFeatures:
    """Features of several arms side by side; probes that standardise give each dimension the same weight.

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
        found = [part.of_fold(fold, train, test) for part in self.parts]
        return FoldFeatures(
            np.concatenate([one.train for one in found], axis=1),
            np.concatenate([one.test for one in found], axis=1),
            split_at=found[0].train.shape[1],
        )


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
