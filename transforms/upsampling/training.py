"""What fitted and guided upsamplers may learn from.

Belongs here: the one value type of training data. Does not: which units are in a training fold
(`transforms/evaluation.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrainingData:
    """Labelled points of the training fold, and what is known of patches; every part may be absent.

    The caller leaves out everything whose ground lies in a test block or its buffer.

    Attributes:
        points_u: float64 (m,), in the units of the lattice: longitude or x.
        points_v: float64 (m,), latitude or y.
        labels: int16 (m,), class ids, none negative.
        n_classes: k.
        guide: float32 (m, g), pixel vectors of the guiding product at the points, or None.
        patch_guide: float32 (n_patches, g), guiding vectors pooled per patch by the mean, NaN rows where there is
            none, or None. Not supervised, so it may cover every patch.
        patch_fractions: float32 (n_patches, k), class fractions of training patches, NaN rows elsewhere, or None.
        is_training_patch: bool (n_patches,), patches on training ground: what is fitted on patch vectors is fitted on
            these alone. None = all.
        seed: of every random draw.
    """

    points_u: Float64Array
    points_v: Float64Array
    labels: npt.NDArray[np.int16]
    n_classes: int
    guide: Float32Array | None = None
    patch_guide: Float32Array | None = None
    patch_fractions: Float32Array | None = None
    is_training_patch: npt.NDArray[np.bool_] | None = None
    seed: int = 0
