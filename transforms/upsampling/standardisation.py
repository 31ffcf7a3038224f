"""Centre and scale of patch vectors, as every trained operator takes them.

Belongs here: the one rule for standardising. Does not: what the vectors are used for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def find_scaling(vectors: Float32Array) -> tuple[Float64Array, Float64Array]:
    """Give centre and inverse spread of each dimension.

    Args:
        vectors: float32 (n, d), n > 0, no NaN.

    Returns:
        (mean float64 (d,), scale float64 (d,)): ``(x - mean) * scale`` has mean 0 and variance 1; a constant
        dimension has scale 0, for rounding must not blow it up to unit variance.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    spread = vectors.std(axis=0, dtype=np.float64)
    is_constant = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-30)
    return mean, np.where(is_constant, 0.0, 1.0 / np.where(is_constant, 1.0, spread))
