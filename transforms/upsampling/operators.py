"""The registry of upsampling operators.

Belongs here: what every operator offers, and the entry of each. Does not: the operators themselves, one module each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from transforms.upsampling.bilinear import BilinearUpsampler
from transforms.upsampling.nearest import NearestUpsampler
from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]


class Upsampler(Protocol):
    """What every upsampling operator offers, in scikit-learn's manners."""

    def fit(self, rows: RowLattice, vectors: Float32Array) -> Self:
        """Take the patches."""
        ...

    def transform(self, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> Float32Array:
        """Give vectors at points."""
        ...


@dataclass(frozen=True)
class UpsamplingOperator:
    """One entry of the registry.

    Attributes:
        name: as in the literature and in the settings.
        build: makes an upsampler with default parameters.
        is_fitted: learns from labels or training patches, so it must be fitted inside the training fold.
        uses_guide: reads pixel vectors of another product.
        cost: `lookup` (one patch a point), `linear` (a few patches a point) or `model`.
        reference: where it is described.
    """

    name: str
    build: Callable[[], Upsampler]
    is_fitted: bool
    uses_guide: bool
    cost: Literal["lookup", "linear", "model"]
    reference: str


#: Every upsampling operator by name.
UPSAMPLERS: dict[str, UpsamplingOperator] = {
    operator.name: operator
    for operator in (
        UpsamplingOperator("nearest", NearestUpsampler, False, False, "lookup", "Burrough & McDonnell 1998, ch. 5"),
        UpsamplingOperator("bilinear", BilinearUpsampler, False, False, "linear", "Press et al. 2007, 3.6.1"),
    )
}
