"""The registry of pooling operators, and what pooling yields.

Belongs here: every operator with its dimensions, cost and reference, the columns that are stored for it, and
`features`, which joins stored columns to the matrix that a probe takes. Does not: the arithmetic of one footprint
(`definitions.py`), rasters (`pooler.py`), listed pixels (`points.py`), probes.

*Base* operators are stored, one column each; *joined* ones put stored columns side by side, so that mean and std are
pooled once whoever asks for them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError
from transforms.pooling import definitions
from transforms.pooling.pixels import PatchPixels, PoolingParameters

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

Define = Callable[[PatchPixels, PoolingParameters], Float64Array]
OutputDims = Callable[[int, PoolingParameters], int]
Cost = Literal["one_pass", "gather", "sort", "quadratic", "codebook"]

#: Columns that running sums give, one float32 vector a patch; `mean_length` is one number.
MOMENT_COLUMNS = ("mean", "mean_renormalised", "mean_length", "std", "min", "max")
_SCALAR_COLUMNS = frozenset({"mean_length"})


class UnknownOperatorError(IsthmusError):
    """A pooling operator is not in the registry. Permanent."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, POOLING_OPERATORS, n=3, cutoff=0.4)
        hint = f"Did you mean {', '.join(near)}?" if near else "Choose one of them."
        super().__init__(f"pooling operator: found {name!r}, expected one of {', '.join(POOLING_OPERATORS)}. {hint}")


@dataclass(frozen=True)
class PooledPatches:
    """Pooled columns of patches, one row a patch.

    Attributes:
        index: int64 (n,), positions of the patches in the boxes or footprints that were given.
        columns: by name of a base operator, float32 (n, width), or (n,) for `mean_length`; NaN where coverage is below
            the minimum that was asked for, or an operator has no result.
        valid_fraction: float32 (n,), valid covered area / footprint area (points: share of valid points).
        n_pixels: int32 (n,), valid pixels whose centre is inside (points: valid points).
    """

    index: Int64Array
    columns: dict[str, Float32Array]
    valid_fraction: Float32Array
    n_pixels: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class PoolingOperator:
    """One entry of the registry.

    Attributes:
        name: as in the literature and in the settings.
        output_dims: width of the result for d input dimensions and some parameters.
        is_fitted: needs a codebook that was fitted on training pixels.
        cost: `one_pass` (running sums), `gather` (needs the pixels of a patch at once), `sort`, `quadratic` in d, or
            `codebook` (distances to k centres).
        reference: where it is described.
        when: when to use it, in one sentence.
        columns: stored columns that it joins, in this order; its own for a base operator.
        define: the result for one footprint, float64 (width,), NaN where it has no pixel; None for a joined operator.
    """

    name: str
    output_dims: OutputDims
    is_fitted: bool
    cost: Cost
    reference: str
    when: str
    columns: tuple[str, ...]
    define: Define | None


def _base(
    name: str,
    define: Define,
    output_dims: OutputDims,
    cost: Cost,
    reference: str,
    when: str,
    *,
    is_fitted: bool = False,
) -> PoolingOperator:
    def define_or_nan(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
        if len(pixels):
            return define(pixels, parameters)
        return np.full(output_dims(pixels.values.shape[1], parameters), np.nan)

    return PoolingOperator(name, output_dims, is_fitted, cost, reference, when, (name,), define_or_nan)


def _joined(name: str, reference: str, when: str, *columns: str) -> PoolingOperator:
    n_scalars = sum(column in _SCALAR_COLUMNS for column in columns)
    n_vectors = len(columns) - n_scalars
    return PoolingOperator(
        name, lambda d, _: n_vectors * d + n_scalars, False, "one_pass", reference, when, columns, None
    )


def _times(k: int) -> OutputDims:
    return lambda d, _: k * d


_AEF_POOLING = "arXiv:2603.02080"

#: Every pooling operator by name.
POOLING_OPERATORS: dict[str, PoolingOperator] = {
    operator.name: operator
    for operator in (
        _base(
            "mean", definitions.mean, _times(1), "one_pass", _AEF_POOLING,
            "The default of most studies: cheap, smooth, and right where the class shows in the average.",
        ),
        _base(
            "mean_renormalised", definitions.mean_renormalised, _times(1), "one_pass",
            "Earth Engine catalogue, Satellite Embedding V1 (overviews)",
            "To compare patches by cosine, as native vectors are.",
        ),
        _base(
            "mean_length", definitions.mean_length, lambda d, _: 1, "one_pass",
            "Mardia & Jupp, Directional Statistics, 2000, 9.2.1",
            "One number that tells uniform patches from mixed ones; beside the renormalised mean.",
        ),
        _base(
            "std", definitions.std, _times(1), "one_pass", _AEF_POOLING,
            "Where classes differ in how varied the ground is, not in what it is on average.",
        ),
        _base(
            "min", definitions.minimum, _times(1), "one_pass", _AEF_POOLING,
            "Where a small object decides and pushes a dimension down; sensitive to single bad pixels.",
        ),
        _base(
            "max", definitions.maximum, _times(1), "one_pass", _AEF_POOLING,
            "Where a small object decides and pushes a dimension up; sensitive to single bad pixels.",
        ),
        _base(
            "gem", definitions.gem, _times(1), "one_pass", "Radenovic et al. 2018, arXiv:1711.02512",
            "Between mean (p = 1) and extremes (large p): small salient objects without trusting one pixel.",
        ),
        _base(
            "median_iqr", definitions.median_iqr, _times(2), "sort",
            "Tukey, Exploratory Data Analysis, 1977, chapter 2",
            "Mean and spread where some pixels are wrong (clouds, seams): a quarter of them may be.",
        ),
        _base(
            "percentiles", definitions.percentiles, lambda d, parameters: len(parameters.percentiles) * d, "sort",
            "Hyndman & Fan 1996, Am. Stat. 50(4), definition 1",
            "Where the shape of each dimension's distribution matters: two land covers, tails.",
        ),
        _joined(
            "mean_std", _AEF_POOLING, "The cheapest step above the mean: average and variety.", "mean", "std"
        ),
        _joined(
            "mean_max", _AEF_POOLING, "Average and the strongest response, where objects are small.", "mean", "max"
        ),
        _joined(
            "stats", _AEF_POOLING, "The primary arm of question 1: the best of the cheap ones in the literature.",
            "min", "max", "mean", "std",
        ),
        _base(
            "centre_weighted", definitions.centre_weighted, _times(1), "gather",
            "Babenko & Lempitsky 2015, arXiv:1510.07493 (SPoC)",
            "Where the label is of the place in the middle of the patch: points, facilities.",
        ),
        _base(
            "covariance", definitions.covariance, lambda d, _: d * (d + 1) // 2, "quadratic",
            "Ledoit & Wolf 2004, J. Multivariate Analysis 88; Tuzel et al. 2006, region covariance (ECCV)",
            "Where classes differ in which dimensions vary together; wide, so it wants many labels.",
        ),
        _base(
            "pyramid_2x2", definitions.pyramid_2x2, _times(5), "gather",
            "Lazebnik et al. 2006, spatial pyramid matching (CVPR)",
            "Where the layout inside the patch matters: shore on one side, field beside forest.",
        ),
        _base(
            "pyramid_4x4", definitions.pyramid_4x4, _times(21), "gather",
            "Lazebnik et al. 2006, spatial pyramid matching (CVPR)",
            "Finer layout, at 21 times the width of the mean; wants many labels.",
        ),
        _base(
            "vlad", definitions.vlad,
            lambda d, parameters: len(parameters.codebook("vlad", d).centers) * d, "codebook",
            "Jegou et al. 2012, IEEE TPAMI 34(9)",
            "Mixed patches: how each kind of ground in it differs from the typical one of its kind.",
            is_fitted=True,
        ),
        _base(
            "bow", definitions.bow, lambda d, parameters: len(parameters.codebook("bow", d).centers), "codebook",
            "Sivic & Zisserman 2003, Video Google (ICCV)",
            "Mixed patches: how much of each kind of ground; narrow and easy to read.",
            is_fitted=True,
        ),
    )
}  # fmt: skip


def find_operator(name: str) -> PoolingOperator:
    """Give the operator of a name.

    Raises:
        UnknownOperatorError: there is none; the message names the nearest ones.
    """
    if name not in POOLING_OPERATORS:
        raise UnknownOperatorError(name)
    return POOLING_OPERATORS[name]


def stored_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Give the columns that must be pooled for some operators: no duplicates, in the order of the registry.

    Raises:
        UnknownOperatorError: a name is not in the registry.
    """
    wanted = {column for name in names for column in find_operator(name).columns}
    return tuple(name for name in POOLING_OPERATORS if name in wanted)


def column_dims(column: str, dims: int, parameters: PoolingParameters) -> int:
    """Give the width of a stored column for vectors of `dims` dimensions; 0 for a scalar column.

    Raises:
        UnknownOperatorError: no base operator has this name.
        MissingCodebookError: it is fitted and `parameters` has no codebook for it.
    """
    return 0 if column in _SCALAR_COLUMNS else find_operator(column).output_dims(dims, parameters)


def empty_columns(names: Iterable[str], n: int, dims: int, parameters: PoolingParameters) -> dict[str, Float32Array]:
    """Give the stored columns `names` of n patches, all NaN, until they are filled."""
    columns = {}
    for name in names:
        width = column_dims(name, dims, parameters)
        columns[name] = np.full((n, width) if width else n, np.nan, np.float32)
    return columns


def moment_columns(
    names: Iterable[str],
    mean: Float64Array,
    variance: Float64Array,
    low: Float64Array | Float32Array,
    high: Float64Array | Float32Array,
) -> dict[str, Float32Array]:
    """Give those of `MOMENT_COLUMNS` that are among `names` from moments of n patches.

    Args:
        names: stored columns; others are left out.
        mean: float64 (n, d).
        variance: float64 (n, d), population variance.
        low: (n, d), least values, NaN where no pixel centre is inside.
        high: (n, d), largest values, likewise.

    Returns:
        float32 (n, d) by name, (n,) for `mean_length`.
    """
    length = np.linalg.norm(mean, axis=1)
    columns: dict[str, Float64Array | Float32Array] = {}
    for name in names:
        if name == "mean":
            columns[name] = mean
        elif name == "mean_renormalised":
            columns[name] = mean / np.where(length > 0, length, np.nan)[:, None]
        elif name == "mean_length":
            columns[name] = length
        elif name == "std":
            columns[name] = np.sqrt(variance)
        elif name in ("min", "max"):
            columns[name] = low if name == "min" else high
    return {name: column.astype(np.float32) for name, column in columns.items()}


def features(pooled_columns: Mapping[str, npt.NDArray[np.generic]], operator: str | PoolingOperator) -> Float32Array:
    """Join stored columns to the feature matrix of an operator.

    Args:
        pooled_columns: by name, (n, width) vectors or (n,) scalars.
        operator: an entry of `POOLING_OPERATORS` or its name.

    Returns:
        float32 (n, width of the operator); NaN rows where coverage was too small.

    Raises:
        UnknownOperatorError: no operator has this name.
        ShapeError: a column that the operator joins is missing.
    """
    if isinstance(operator, str):
        operator = find_operator(operator)
    missing = [name for name in operator.columns if name not in pooled_columns]
    if missing:
        raise ShapeError(
            f"pooled columns for {operator.name!r}",
            f"{sorted(pooled_columns)} without {missing}",
            list(operator.columns),
            "Add the operator to the settings and pool again.",
        )
    parts = [np.asarray(pooled_columns[name], np.float32) for name in operator.columns]
    return np.concatenate([part[:, None] if part.ndim == 1 else part for part in parts], axis=1)
