"""What a task predicts at each unit, whatever its kind.

Belongs here: the value type of targets and how a probe sees them. Does not: where labels come from, metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from transforms.tasks import TargetKind

#: How a probe is fitted to a target; retrieval fits nothing.
ProbeTarget = Literal["class", "multilabel", "continuous"]


def probe_target_of(kind: TargetKind) -> ProbeTarget:
    """Say how probes are fitted to a kind of target; retrieval has classes, though nothing is fitted."""
    if kind == "multilabel":
        return "multilabel"
    return "continuous" if kind in ("fractions", "values") else "class"


@dataclass(frozen=True)
class Targets:
    """Targets of n units.

    Attributes:
        kind: what is predicted.
        values: int16 (n,) class ids for `class` and `relevance`; bool (n, k) for `multilabel`; float32 (n, m) for
            `fractions` and `values`. No nodata: units without a target are left out before.
        names: of the k classes or labels, or of the m values.
    """

    kind: TargetKind
    values: npt.NDArray[Any]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, chosen: npt.NDArray[np.generic]) -> Targets:
        """Give the targets of chosen units (positions or mask)."""
        return replace(self, values=self.values[chosen])

    @property
    def n_outputs(self) -> int:
        """Number of classes, labels or values."""
        return len(self.names)

    @property
    def probe_target(self) -> ProbeTarget:
        """How probes are fitted to it."""
        return probe_target_of(self.kind)

    @property
    def is_continuous(self) -> bool:
        """Tell whether it is scored by sums of errors."""
        return self.kind in ("fractions", "values")

    def strata(self) -> npt.NDArray[Any]:
        """Give what label budgets and inner folds are balanced by: class ids (n,), or labels (n, k).

        Fractions count as their largest class, measured values as one class.
        """
        if self.kind == "fractions":
            return self.values.argmax(axis=1).astype(np.int16)
        if self.kind == "values":
            return np.zeros(len(self), np.int16)
        return self.values

    def settle(self, predicted: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Put predicted values where targets can be: fractions are cut at 0 and rescaled to sum 1.

        Args:
            predicted: float32 (n, m).

        Returns:
            float32 (n, m); a row without any positive share becomes even shares.
        """
        if self.kind != "fractions":
            return predicted
        kept = np.clip(predicted, 0.0, None)
        total = kept.sum(axis=1, keepdims=True)
        even = np.float32(1.0 / predicted.shape[1])
        return np.where(total > 0, kept / np.where(total > 0, total, 1.0), even).astype(np.float32)
