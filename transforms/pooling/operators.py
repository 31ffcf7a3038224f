"""What pooling yields: the pooled columns of patches, and the operators that join them to features.

Belongs here: `PooledPatches`, the registry of pooling operators, `features`. Does not: how sums are made
(`pooler.py`), probes that use the features.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


class UnknownOperatorError(IsthmusError):
    """A pooling operator is not in the registry. Permanent."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, POOLING_OPERATORS, n=3, cutoff=0.4)
        hint = f"Did you mean {', '.join(near)}?" if near else "Choose one of them."
        super().__init__(f"pooling operator: found {name!r}, expected one of {', '.join(POOLING_OPERATORS)}. {hint}")


@dataclass(frozen=True)
class PooledPatches:
    """Pooled statistics, one row per patch.

    Vector columns and `mean_length` are NaN where coverage is below the minimum that was asked for.

    Attributes:
        mean: float32 (n, d), area-weighted mean over valid area; norm <= 1 for unit vectors.
        mean_renormalised: float32 (n, d), mean / |mean|; NaN where |mean| is 0.
        mean_length: float32 (n,), |mean|: near 1 for uniform patches, small for mixed ones.
        std: float32 (n, d), area-weighted population standard deviation per dimension.
        min: float32 (n, d), over valid pixels whose centre is inside; NaN where there is none.
        max: float32 (n, d), likewise.
        valid_fraction: float32 (n,), valid covered area / box area (points: share of valid points).
        n_pixels: int32 (n,), valid pixels whose centre is inside (points: valid points).
    """

    mean: Float32Array
    mean_renormalised: Float32Array
    mean_length: Float32Array
    std: Float32Array
    min: Float32Array
    max: Float32Array
    valid_fraction: Float32Array
    n_pixels: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.mean)

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give the columns by name, as tables hold them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class PoolingOperator:
    """One entry of the registry: how a patch vector is put together from pooled columns.

    Attributes:
        name: as in the literature and in the settings.
        output_dims: width of the result for d input dimensions.
        is_fitted: needs `fit` on training patches.
        cost: `one_pass` (comes with the sums), `sort` or `quadratic` in d.
        reference: where it is described.
        columns: columns of `PooledPatches` that it joins, in this order.
    """

    name: str
    output_dims: Callable[[int], int]
    is_fitted: bool
    cost: Literal["one_pass", "sort", "quadratic"]
    reference: str
    columns: tuple[str, ...]


_AEF_POOLING = "arXiv:2603.02080"
_SCALAR_COLUMNS = frozenset({"mean_length"})


def _joined(name: str, reference: str, *columns: str) -> PoolingOperator:
    n_scalars = sum(column in _SCALAR_COLUMNS for column in columns)
    n_vectors = len(columns) - n_scalars
    return PoolingOperator(name, lambda d: n_vectors * d + n_scalars, False, "one_pass", reference, columns)


#: Every pooling operator by name.
POOLING_OPERATORS: dict[str, PoolingOperator] = {
    operator.name: operator
    for operator in (
        _joined("mean", _AEF_POOLING, "mean"),
        _joined(
            "mean_renormalised",
            "Earth Engine catalogue, Satellite Embedding V1 (overviews)",
            "mean_renormalised",
        ),
        _joined("mean_length", "Mardia & Jupp, Directional Statistics, 2000, 9.2.1", "mean_length"),
        _joined("std", _AEF_POOLING, "std"),
        _joined("min", _AEF_POOLING, "min"),
        _joined("max", _AEF_POOLING, "max"),
        _joined("mean_std", _AEF_POOLING, "mean", "std"),
        _joined("mean_max", _AEF_POOLING, "mean", "max"),
        _joined("stats", _AEF_POOLING, "min", "max", "mean", "std"),
    )
}


def features(pooled_columns: Mapping[str, npt.NDArray[np.generic]], operator: str | PoolingOperator) -> Float32Array:
    """Join pooled columns to the feature matrix of an operator.

    Args:
        pooled_columns: columns of `PooledPatches` by name; (n, d) vectors or (n,) scalars.
        operator: an entry of `POOLING_OPERATORS` or its name.

    Returns:
        float32 (n, operator.output_dims(d)); NaN rows where coverage was too small.

    Raises:
        UnknownOperatorError: no operator has this name.
        ShapeError: a column that the operator joins is missing.
    """
    if isinstance(operator, str):
        if operator not in POOLING_OPERATORS:
            raise UnknownOperatorError(operator)
        operator = POOLING_OPERATORS[operator]
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


def stats_vector(pooled: PooledPatches) -> Float32Array:
    """Give min | max | mean | std, float32 (n, 4 d): stats pooling, the primary arm of question 1."""
    return features(pooled.columns(), "stats")


def empty_columns(n: int, dims: int) -> dict[str, Float32Array]:
    """Columns of n patches, NaN until filled; `n_pixels` is an integer and not among them."""
    vectors = ("mean", "mean_renormalised", "std", "min", "max")
    columns = {name: np.full((n, dims), np.nan, np.float32) for name in vectors}
    return columns | {name: np.full(n, np.nan, np.float32) for name in ("mean_length", "valid_fraction")}


def fill_columns(
    columns: dict[str, Float32Array],
    at: Int64Array,
    mean: Float64Array,
    variance: Float64Array,
    low: Float64Array | Float32Array,
    high: Float64Array | Float32Array,
) -> None:
    """Write float64 moments of some patches into the float32 columns."""
    length = np.linalg.norm(mean, axis=1)
    columns["mean"][at] = mean
    columns["mean_length"][at] = length
    columns["mean_renormalised"][at] = mean / np.where(length > 0, length, np.nan)[:, None]
    columns["std"][at] = np.sqrt(variance)
    columns["min"][at] = low
    columns["max"][at] = high
