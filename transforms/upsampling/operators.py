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
from transforms.upsampling.attention import AttentionUpsampler
from transforms.upsampling.bicubic import BicubicUpsampler
from transforms.upsampling.bilinear import BilinearUpsampler
from transforms.upsampling.conv_head import HIDDEN as CONV_HIDDEN
from transforms.upsampling.conv_head import ConvHeadUpsampler
from transforms.upsampling.deblending import DeblendingUpsampler
from transforms.upsampling.joint_bilateral import JointBilateralUpsampler
from transforms.upsampling.kriging import KrigingUpsampler
from transforms.upsampling.label_proportions import LabelProportionUpsampler
from transforms.upsampling.mass_preserving import MassPreservingUpsampler
from transforms.upsampling.nearest import NearestUpsampler
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.token_to_block import N_FUNCTIONS, RANK, TokenToBlockUpsampler
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
        reach: how far a patch can be from a point that it weighs in (by more than a hundredth), in patch sides;
            training ground keeps this far from test blocks.
        margin: how far around an area patches must be read so that no value depends on where the area is cut, in
            patch sides.
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
    reach: float
    margin: float

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
            reach=1,
            margin=2,
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
            reach=1,
            margin=2,
        ),
        UpsamplingOperator(
            "bicubic",
            BicubicUpsampler,
            same_dims,
            True,
            "nothing",
            False,
            "linear",
            "Keys 1981",
            "Smooth fields, pictures: no creases at patch centres; overshoots beside sharp borders.",
            reach=2,
            margin=3,
        ),
        UpsamplingOperator(
            "mass_preserving",
            MassPreservingUpsampler,
            same_dims,
            True,
            "nothing",
            False,
            "linear",
            "Tobler 1979; van Cittert 1931",
            "Where pooling must give the patch vectors back: areas, totals, fractions. Little dearer than bilinear.",
            reach=4,
            margin=5,
        ),
        UpsamplingOperator(
            "two_lattice_deblending",
            DeblendingUpsampler,
            same_dims,
            True,
            "nothing",
            False,
            "solve",
            "Tikhonov 1963; Wahba 1990",
            "Where both lattices are there: it parts what one patch blends, without a guide, labels or a covariance.",
            reach=4,
            margin=25,
        ),
        UpsamplingOperator(
            "area_to_point_kriging",
            KrigingUpsampler,
            same_dims,
            False,
            "patches",
            False,
            "solve",
            "Kyriakidis 2004; Atkinson 2013",
            "The best unguided linear guess where the field is stationary: long correlation, few sharp borders.",
            reach=3.5,
            margin=5,
        ),
        UpsamplingOperator(
            "token_to_block",
            TokenToBlockUpsampler,
            lambda dims, n_classes: (1 + min(RANK, dims)) * N_FUNCTIONS,
            False,
            "labels",
            False,
            "linear",
            "Izenman 1975 (reduced-rank regression)",
            "Where a token may know what lies where in its patch; the baseline that guided operators must beat.",
            reach=1,
            margin=2,
        ),
        UpsamplingOperator(
            "conv_head",
            ConvHeadUpsampler,
            lambda dims, n_classes: CONV_HIDDEN,
            False,
            "labels",
            False,
            "model",
            "Long et al. 2015 (fully convolutional networks)",
            "Where classes depend on what stands around a patch, and there are thousands of labelled points.",
            reach=2.5,
            margin=4,
        ),
        UpsamplingOperator(
            "label_proportions",
            LabelProportionUpsampler,
            lambda dims, n_classes: n_classes,
            False,
            "fractions",
            False,
            "linear",
            "Quadrianto et al. 2009; Ardehaly & Culotta 2017",
            "Where class fractions of patches are known and no label of any pixel.",
            reach=1,
            margin=2,
        ),
        UpsamplingOperator(
            "joint_bilateral",
            JointBilateralUpsampler,
            same_dims,
            False,
            "guide",
            True,
            "linear",
            "Kopf et al. 2007",
            "Where a pixel product shows edges that patches average away; read it beside guide-only.",
            reach=2,
            margin=3,
        ),
        UpsamplingOperator(
            "attention",
            AttentionUpsampler,
            same_dims,
            False,
            "guide",
            True,
            "model",
            "Wimmer et al. 2025 (AnyUp); Couairon et al. 2025 (JAFAR)",
            "As joint_bilateral where only parts of the guide matter: it learns which; minutes on a CPU.",
            reach=2,
            margin=3,
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
