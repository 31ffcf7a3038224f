"""C3: the true class fractions of the patches, interpolated bilinearly, the largest one taken.

Belongs here: the classes that C3 gives to points. Does not: bilinear weights (`transforms/upsampling/bilinear.py`).
It shows what bilinear interpolation does to perfect knowledge of the patches. It is no bound: an arm that knows what
is where inside a patch may beat it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.upsampling.bilinear import BilinearUpsampler
from transforms.upsampling.rows import RowLattice

FloatArray = npt.NDArray[np.float32]

#: Least support of a point. Footprints stand askew on the lattice, so that corners of the outermost patches lie some
#: metres outside of what the default support of arms reaches; an oracle is scored on all labelled ground.
MIN_SUPPORT = 0.1


class FractionOracle:
    """The class with the largest interpolated fraction.

    Args:
        rows: the lattice of the patches.
        fractions: float32 (n, k), class shares of the labelled cells of each patch; NaN rows have no label and count
            as missing.

    Raises:
        ShapeError: `fractions` do not match the lattice.
    """

    def __init__(self, rows: RowLattice, fractions: FloatArray) -> None:
        self._upsampler = BilinearUpsampler(MIN_SUPPORT).fit(rows, fractions)

    def predict(self, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> npt.NDArray[np.int16]:
        """Give the class at points.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.

        Returns:
            int16 (m,), ties: the lowest id; -1 where no labelled patch is near enough.
        """
        found = self._upsampler.transform(points_u, points_v)
        # with a NaN in a row argmax gives its place, so those rows are marked after
        return np.where(np.isfinite(found).all(axis=1), found.argmax(axis=1), -1).astype(np.int16)
