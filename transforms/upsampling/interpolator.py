"""What upsamplers without anything to fit share: they take the patches and interpolate between them.

Belongs here: the `fit` of bilinear, bicubic and nearest. Does not: weights (`bilinear.py` and its kin), operators that
learn or solve something.
"""

from __future__ import annotations

from typing import Self

from sklearn.base import BaseEstimator

from transforms.upsampling.inputs import Float32Array, as_vectors, is_complete
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.training import TrainingData


class PatchInterpolator(BaseEstimator):
    """Base of upsamplers that fit nothing; `transform` is theirs."""

    vectors_: Float32Array
    rows_: RowLattice

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Take the patches; those with any NaN count as missing.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: not used.

        Returns:
            The upsampler.

        Raises:
            ShapeError: `vectors` do not match the lattice.
        """
        self.vectors_ = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(self.vectors_))
        return self
