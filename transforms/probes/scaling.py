"""Standardisation of features by the statistics of training rows.

Belongs here: the one scaling that probes share. Does not: models, the rule itself
(`transforms/upsampling/standardisation.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.upsampling.standardisation import find_scaling

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Standardisation:
    """Centre and inverse spread of training rows; a constant feature has scale 0, whatever it is later.

    Attributes:
        mean: float32 (d,).
        scale: float32 (d,).
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, X: FloatArray) -> Standardisation:
        """Take the statistics of rows, float32 (n, d), n > 0, no NaN."""
        mean, scale = find_scaling(X)
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def apply(self, X: FloatArray) -> FloatArray:
        """Give ``(X - mean) * scale``, float32 (..., d)."""
        return (X - self.mean) * self.scale
