"""The registry of upsampling operators.

Belongs here: what every operator offers, and the entry of each. Does not: the operators themselves, one module each.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError
from transforms.upsampling.bilinear import BilinearUpsampler
from transforms.upsampling.nearest import NearestUpsampler
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]


class UnknownUpsamplerError(IsthmusError):
    """An upsampling operator is not in the registry. Permanent."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, UPSAMPLERS, n=3, cutoff=0.4)
        hint = f"Did you mean {', '.join(near)}?" if near else "Choose one of them."
        super().__init__(f"upsampling operator: found {name!r}, expected one of {', '.join(UPSAMPLERS)}. {hint}")


class Upsampler(Protocol):
    """What every upsampling operator offers, in scikit-learn's manners."""

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Take the patches, and learn from the training fold where the operator is fitted."""
        ...

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give vectors at points; `guide` holds the guiding product's vectors there."""
        ...


@dataclass(frozen=True)
class UpsamplingOperator:
    """One entry of the registry.

    Attributes:
        name: as in the literature and in the settings.
        build: makes an upsampler with default parameters.
        output_dims: width of the result for d patch dimensions and k classes.
        is_linear: the result is a linear map of the patch vectors that does not depend on them, so that reducing
            dimensions first gives the same as reducing last.
        needs: what of `TrainingData` it learns from: `nothing`, `patches` (vectors alone), `guide`, `fractions`
            (class shares of patches) or `labels` (of points). All but `nothing` is fitted in the training fold.
        uses_guide: reads pixel vectors of another product.
        cost: `lookup` (one patch a point), `linear` (a few patches a point), `solve` (a system for all patches) or
            `model` (a trained network).
        reference: where it is described.
        when: when to use it, one sentence.
    """

    name: str
    build: Callable[[], Upsampler]
    output_dims: Callable[[int, int], int]
    is_linear: bool
    needs: Literal["nothing", "patches", "guide", "fractions", "labels"]
    uses_guide: bool
    cost: Literal["lookup", "linear", "solve", "model"]
    reference: str
    when: str

    @property
    def is_fitted(self) -> bool:
        """Tell whether it learns from data, so that it must be fitted inside the training fold."""
        return self.needs != "nothing"


def same_dims(dims: int, n_classes: int) -> int:
    """Give the width of operators that return vectors like those of the patches."""
    return dims


#: Every upsampling operator by name.
UPSAMPLERS: dict[str, UpsamplingOperator] = {
    operator.name: operator
    for operator in (
        UpsamplingOperator(
            "nearest",
            NearestUpsampler,
            same_dims,
            True,
            "nothing",
            False,
            "lookup",
            "Burrough & McDonnell 1998, ch. 5",
            "The reference of every gain: what a patch vector says of its ground without any crossing.",
        ),
        UpsamplingOperator(
            "bilinear",
            BilinearUpsampler,
            same_dims,
            True,
            "nothing",
            False,
            "linear",
            "Press et al. 2007, 3.6.1",
            "The primary arm of question 2: no parameters, no labels, fast enough for maps of a country.",
        ),
    )
}


def find_upsampler(name: str) -> UpsamplingOperator:
    """Look an operator up.

    Raises:
        UnknownUpsamplerError: no operator has this name; the message gives the nearest ones.
    """
    if name not in UPSAMPLERS:
        raise UnknownUpsamplerError(name)
    return UPSAMPLERS[name]
