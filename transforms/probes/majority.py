"""The majority probe: what can be said without looking at features.

Belongs here: this probe. Does not: other controls, which are arms (`transforms/arms.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.probes.base import BaseProbe, FloatArray, IdArray, IntArray, TargetArray


class MajorityProbe(BaseProbe):
    """Predict the training frequencies of classes or labels, or the mean of values: the control of controls.

    Labels that fewer than half of the training rows have are never predicted, so that for rare labels this is the
    predict-nothing row.

    Args:
        n_outputs: k classes, k labels or m values.
        target: what is predicted.
        seed: unused; every probe takes one.
    """

    name = "majority"
    looks_at_features = False

    def _fit(self, X: FloatArray, y: TargetArray, groups: IntArray | None) -> None:
        if self.target == "class":
            share = np.bincount(y, minlength=self.n_outputs) / len(y)
        else:
            share = y.mean(axis=0, dtype=np.float64)
        self._answer = share.astype(np.float32)
        # frequencies of classes sum to 1
        self.n_parameters_ = self.n_outputs - (self.target == "class")

    def _outputs(self, X: FloatArray) -> FloatArray:
        return np.tile(self._answer, (len(X), 1))

    def class_scores(self, X: npt.ArrayLike) -> tuple[FloatArray, IdArray]:
        """Give the training frequencies as scores, float32 (n, k), and all ids; NaN rows give NaN scores."""
        is_missing = ~np.isfinite(np.asarray(X, np.float32)).all(axis=1)
        scores = self.predict_proba(X)
        scores[is_missing] = np.nan
        return scores, np.arange(self.n_outputs, dtype=np.int16)
