"""Features of upsampled arms that are fitted: one operator per fold, learned from that fold's training ground.

Belongs here: what an operator may see of a fold. Does not: operators (`upsampling/`), reading, probes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.cell_features import FoldFeatures
from transforms.errors import TooFewUnitsError
from transforms.upsampling.operators import UpsamplingOperator
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.training import TrainingData

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PatchGround:
    """The patches of a year, and what is known of each.

    Attributes:
        rows: their lattice.
        vectors: float32 (p, d).
        guide: float32 (p, g), guiding vectors pooled per patch by the mean, NaN rows where there is none; or None.
        fractions: float32 (p, k), class fractions, NaN rows where there are none; or None.
        is_training: bool (n_folds, p): patches whose ground is training ground of a fold.
    """

    rows: RowLattice
    vectors: FloatArray
    guide: FloatArray | None
    fractions: FloatArray | None
    is_training: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class UpsampledInFold:
    """Features of one fitted upsampling operator at labelled pixels.

    Attributes:
        operator: entry of the registry.
        patches: what it upsamples.
        points_u: float64 (n,), pixels in the units of the lattice.
        points_v: float64 (n,).
        labels: int16 (n,).
        n_classes: k.
        guide: float32 (n, g), guiding vectors at the pixels, or None.
        seed: of every draw.
    """

    operator: UpsamplingOperator
    patches: PatchGround
    points_u: Float64Array
    points_v: Float64Array
    labels: npt.NDArray[np.int16]
    n_classes: int
    guide: FloatArray | None
    seed: int

    @property
    def threads(self) -> int | None:
        """Networks are trained one at a time: they draw from one random state. Others release the GIL."""
        return 1 if self.operator.cost == "model" else None

    def of_fold(self, fold: int, train: Int64Array, test: Int64Array) -> FoldFeatures:
        """Fit the operator on the training ground of a fold, and transform both parts.

        Raises:
            TooFewUnitsError: the operator has no vector at some unit.
        """
        upsampler = self.operator.build().fit(self.patches.rows, self.patches.vectors, self._training(fold, train))
        parts = [
            upsampler.transform(self.points_u[part], self.points_v[part], _take(self.guide, part))
            for part in (train, test)
        ]
        missing = sum(int((~np.isfinite(part).all(axis=1)).sum()) for part in parts)
        if missing:
            raise TooFewUnitsError(
                f"vectors of {self.operator.name} in fold {fold}",
                f"none at {missing} of {len(train) + len(test)} units",
                "one at every unit",
                "Its neighbourhood needs more patches or guide pixels than bilinear: leave the operator out here.",
            )
        return FoldFeatures(parts[0], parts[1], upsampler)

    def _training(self, fold: int, train: Int64Array) -> TrainingData:
        is_training = self.patches.is_training[fold]
        fractions = self.patches.fractions
        if fractions is not None:
            fractions = np.where(is_training[:, None], fractions, np.float32(np.nan))
        return TrainingData(
            points_u=self.points_u[train],
            points_v=self.points_v[train],
            labels=self.labels[train],
            n_classes=self.n_classes,
            guide=_take(self.guide, train),
            patch_guide=self.patches.guide,
            patch_fractions=None
            if fractions is None
            else np.where(is_training[:, None], fractions, np.float32(np.nan)),
            is_training_patch=is_training,
            seed=self.seed,
        )


def _take(values: FloatArray | None, chosen: Int64Array) -> FloatArray | None:
    return None if values is None else values[chosen]
