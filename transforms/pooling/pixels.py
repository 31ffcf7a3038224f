"""What a pooling operator is given: the valid pixels of one footprint, and the parameters of all operators.

Belongs here: the value types that the registry, the raster pooler, polygons and listed points share. Does not:
operators (`operators.py`), compiled loops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PatchPixels:
    """The valid pixels of one footprint, as the definition of every operator sees them.

    Attributes:
        values: float64 (n, d), dequantised; no NaN.
        share: float64 (n,), share of each pixel's area that the footprint covers, in (0, 1].
        is_inside: bool (n,), True where the pixel's centre is inside.
        at: float64 (n, 2), centre of each pixel in the footprint's bounding box: x to the east and y to the north,
            0 to 1 from edge to edge (a border pixel's centre may lie outside).
    """

    values: Float64Array
    share: Float64Array
    is_inside: npt.NDArray[np.bool_]
    at: Float64Array

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Codebook:
    """Centres that VLAD and bag of words assign pixels to.

    Attributes:
        centers: float32 (k, d).
        version: hash of the centres: vectors of two versions must not be compared.
    """

    centers: npt.NDArray[np.float32]
    version: str


class MissingCodebookError(IsthmusError):
    """A fitted operator was asked to pool before its codebook was fitted. Permanent."""

    def __init__(self, operator: str, found: list[str]) -> None:
        super().__init__(
            f"codebook of {operator!r}: found codebooks of {found or 'no operator'}, expected one of {operator!r}. "
            "Fit it on training pixels (codebook.fit_codebook) and give it in PoolingParameters.codebooks."
        )


@dataclass(frozen=True)
class PoolingParameters:
    """Parameters of the operators that have some.

    Attributes:
        gem_p: exponent of GeM, above 0.
        percentiles: ascending, each in [0, 100].
        codebooks: by operator name (`vlad`, `bow`); only fitted operators read them.

    Raises:
        ShapeError: a parameter is out of range.
    """

    gem_p: float = 3.0
    percentiles: tuple[float, ...] = (10.0, 25.0, 50.0, 75.0, 90.0)
    codebooks: Mapping[str, Codebook] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 < self.gem_p < np.inf:
            raise ShapeError("gem_p", self.gem_p, "a number above 0", "3 is usual; 1 is the mean.")
        bad = [q for q in self.percentiles if not 0.0 <= q <= 100.0]
        if bad or not self.percentiles or list(self.percentiles) != sorted(set(self.percentiles)):
            raise ShapeError(
                "percentiles", list(self.percentiles), "ascending numbers in [0, 100]", "10, 25, 50, 75, 90 are usual."
            )

    def codebook(self, operator: str, dims: int) -> Codebook:
        """Give the codebook of a fitted operator for vectors of `dims` dimensions.

        Raises:
            MissingCodebookError: none was given.
            ShapeError: its centres have other dimensions.
        """
        if operator not in self.codebooks:
            raise MissingCodebookError(operator, sorted(self.codebooks))
        codebook = self.codebooks[operator]
        if codebook.centers.ndim != 2 or codebook.centers.shape[1] != dims:
            raise ShapeError(
                f"codebook of {operator!r}", codebook.centers.shape, f"(k, {dims})", "Fit it on pixels of this product."
            )
        return codebook
