"""Training rows in the basis of their principal components, in which linear probes are solved fast.

Belongs here: the rotation. Does not: losses and weights (`ridge.py`, `logistic.py`).

An L2 penalty does not change under a rotation, so a linear probe has the same optimum in this basis. There the rows are
uncorrelated: ridge regression is a division, and descent for other losses can be scaled feature by feature. Directions
in which no row differs have weight 0 at the optimum and are left out, so few rows are solved fast however wide they
are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from transforms.probes.scaling import Standardisation

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

#: Components whose variance is below this share of the greatest are rounding of float32.
_LEAST_SHARE = 1e-12


@dataclass(frozen=True)
class PrincipalRows:
    """Scaled rows, centred and rotated.

    Attributes:
        scaling: of the features.
        shift: float64 (d,), the remainder of the mean of scaled rows: float32 means leave one.
        rows: float32 (n, r), uncorrelated columns of mean 0; r <= min(n, d).
        squares: float64 (r,), sums of their squares, above 0.
        basis: float64 (d, r), orthonormal columns.
    """

    scaling: Standardisation
    shift: Float64Array
    rows: FloatArray
    squares: Float64Array
    basis: Float64Array

    @classmethod
    def of(cls, X: FloatArray, scaling: Standardisation) -> PrincipalRows:
        """Rotate rows, float32 (n, d), by the eigenvectors of the smaller product of them with themselves."""
        Z = scaling.apply(X).astype(np.float64)
        shift = Z.mean(axis=0)
        Z -= shift
        is_wide = Z.shape[0] < Z.shape[1]
        squares, vectors = eigh(Z @ Z.T if is_wide else Z.T @ Z)
        kept = squares > _LEAST_SHARE * max(squares[-1], np.finfo(np.float64).tiny)
        squares, vectors = squares[kept], vectors[:, kept]
        if not is_wide:
            return cls(scaling, shift, (Z @ vectors).astype(np.float32), squares, vectors)
        length = np.sqrt(squares)
        return cls(scaling, shift, (vectors * length).astype(np.float32), squares, Z.T @ vectors / length)

    def lift(self, weights: Float64Array, intercept: Float64Array) -> AffineMap:
        """Give the map of features that equals ``rows @ weights + intercept``.

        Args:
            weights: float64 (r, s).
            intercept: float64 (s,).

        Returns:
            The map.
        """
        lifted = self.basis @ weights
        return AffineMap(self.scaling, lifted.astype(np.float32), (intercept - self.shift @ lifted).astype(np.float32))


@dataclass(frozen=True)
class AffineMap:
    """A fitted map; it holds no rows, so that a fitted probe is as small as its weights.

    Attributes:
        scaling: of the features.
        weights: float32 (d, s).
        intercept: float32 (s,).
    """

    scaling: Standardisation
    weights: FloatArray
    intercept: FloatArray

    def apply(self, X: FloatArray) -> FloatArray:
        """Map features, float32 (n, d), to float32 (n, s); NaN rows give NaN."""
        return np.asarray(self.scaling.apply(X) @ self.weights + self.intercept, np.float32)
