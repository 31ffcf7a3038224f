"""Vectors as colours: the first three principal components as red, green and blue.

Belongs here: fitting and applying a picture's colours. Does not: drawing pixels into files (`transforms/report/`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import TooFewUnitsError

FloatArray = npt.NDArray[np.float32]

#: Rows that fix the components; more change nothing that an eye sees.
_SAMPLE = 5_000
#: Colours span these percentiles of the components, so that few outliers do not make all else grey.
_SPAN_PCT = (2.0, 98.0)


@dataclass(frozen=True)
class Picture:
    """How vectors become colours.

    Attributes:
        mean: float32 (d,).
        components: float32 (3, d), orthonormal; rows of zeros where the vectors have fewer dimensions that vary.
        low: float32 (3,), projection that is drawn as 0.
        high: float32 (3,), projection that is drawn as 255.
    """

    mean: FloatArray
    components: FloatArray
    low: FloatArray
    high: FloatArray

    def project(self, vectors: FloatArray) -> FloatArray:
        """Give the three components, float32 (n, 3); NaN rows stay NaN. Affine, so it may precede interpolation."""
        return np.asarray((vectors - self.mean) @ self.components.T, np.float32)

    def color(self, projected: FloatArray) -> npt.NDArray[np.uint8]:
        """Turn projections into colours, uint8 (n, 3); NaN becomes 0."""
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        scaled = np.clip((projected - self.low) / span, 0.0, 1.0)
        return np.rint(255 * np.nan_to_num(scaled)).astype(np.uint8)


def fit_picture(vectors: FloatArray) -> Picture:
    """Fit principal components and their span.

    The sign of each component is such that its largest element is positive, so that two runs give one picture.

    Args:
        vectors: float32 (n, d); NaN rows are left out, and every k-th row is taken where there are many.

    Raises:
        TooFewUnitsError: no row without NaN.
    """
    finite = vectors[np.isfinite(vectors).all(axis=1)]
    if not len(finite):
        raise TooFewUnitsError(
            "vectors to draw", f"0 of {len(vectors)} without NaN", "at least 1", "Is the window empty?"
        )
    sample = finite[:: max(1, len(finite) // _SAMPLE)].astype(np.float64)
    mean = sample.mean(axis=0)
    _, _, rows = np.linalg.svd(sample - mean, full_matrices=False)
    components = np.zeros((3, sample.shape[1]))
    components[: min(3, len(rows))] = rows[:3]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components *= np.where(largest < 0, -1.0, 1.0)
    low, high = np.percentile((sample - mean) @ components.T, _SPAN_PCT, axis=0)
    return Picture(*(np.asarray(part, np.float32) for part in (mean, components, low, high)))
