"""Pooling of listed pixels: the table form, where no raster is at hand.

Belongs here: pooling by an explicit pixel-to-patch assignment. Does not: rasters (`pooler.py`), which pixel lies in
which footprint (`transforms/pooled_rows.py`), what an operator is (`definitions.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.pooling.operators import (
    MOMENT_COLUMNS,
    PooledPatches,
    empty_columns,
    find_operator,
    moment_columns,
    stored_columns,
)
from transforms.pooling.pixels import PatchPixels, PoolingParameters

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Columns whose definition reads where a pixel lies in its footprint.
_PLACED_COLUMNS = ("centre_weighted", "pyramid_2x2", "pyramid_4x4")


def pool_points(
    vectors: Float32Array,
    patch_index: Int64Array,
    n_patches: int,
    min_count: int = 1,
    *,
    at: Float64Array | None = None,
    columns: Sequence[str] = MOMENT_COLUMNS,
    parameters: PoolingParameters | None = None,
) -> PooledPatches:
    """Pool listed pixels, each with weight 1 and its centre inside: the table form, where no raster is at hand.

    Args:
        vectors: float32 (m, d); a point with any NaN is nodata.
        patch_index: int64 (m,), patch of each point in any order; -1 = in no patch.
        n_patches: rows of the result.
        min_count: least number of valid points of a patch that gets vectors, at least 1.
        at: float64 (m, 2), places of the points in the bounding box of their patch (`PatchPixels.at`); only operators
            that look at places need it.
        columns: names of operators; joined ones stand for the columns that they join.
        parameters: of the operators; their defaults if None.

    Returns:
        One row per patch; `valid_fraction` is the share of its points that are valid (0 where it has none).

    Raises:
        ShapeError: shapes do not agree, an index is outside [-1, n_patches), `min_count` is below 1, or an operator
            needs places that were not given.
        UnknownOperatorError: a column is not in the registry.
        MissingCodebookError: a fitted operator has no codebook.
    """
    vectors = np.asarray(vectors, np.float32)
    index = np.asarray(patch_index, np.int64)
    parameters = parameters or PoolingParameters()
    names = stored_columns(columns)
    _check_points(vectors, index, n_patches, min_count)
    places = _check_places(at, names, len(vectors))
    owned = index >= 0
    is_valid = owned & ~np.isnan(vectors).any(axis=1)
    points = np.bincount(index[owned], minlength=n_patches)
    count = np.bincount(index[is_valid], minlength=n_patches)
    pooled = empty_columns(names, n_patches, vectors.shape[1], parameters)
    kept = np.flatnonzero(is_valid)
    kept = kept[count[index[kept]] >= min_count]
    if len(kept):
        kept = kept[np.argsort(index[kept], kind="stable")]
        patches, start = np.unique(index[kept], return_index=True)
        x = vectors[kept].astype(np.float64)
        for name, column in _moments(names, x, start, count[patches]).items():
            pooled[name][patches] = column
        for name in names:
            if name not in MOMENT_COLUMNS:
                pooled[name][patches] = _define_each(name, x, places[kept], start, parameters)
    return PooledPatches(
        np.arange(n_patches), pooled, (count / np.maximum(points, 1)).astype(np.float32), count.astype(np.int32)
    )


def _moments(
    names: Sequence[str], x: Float64Array, start: npt.NDArray[np.integer], count: npt.NDArray[np.integer]
) -> dict[str, Float32Array]:
    """Give the moment columns of patches whose points begin at `start`, all patches at once."""
    mean = np.add.reduceat(x, start) / count[:, None]
    residual = x - np.repeat(mean, count, axis=0)
    variance = np.add.reduceat(residual**2, start) / count[:, None]
    return moment_columns(names, mean, variance, np.minimum.reduceat(x, start), np.maximum.reduceat(x, start))


def _define_each(
    name: str,
    x: Float64Array,
    places: Float64Array,
    start: npt.NDArray[np.integer],
    parameters: PoolingParameters,
) -> Float64Array:
    """Give one column of patches whose points begin at `start`, patch by patch from its definition."""
    define = find_operator(name).define
    assert define is not None  # stored columns are base operators
    rows = []
    for first, stop in zip(start, [*start[1:], len(x)], strict=True):
        n = int(stop - first)
        rows.append(
            define(PatchPixels(x[first:stop], np.ones(n), np.ones(n, np.bool_), places[first:stop]), parameters)
        )
    return np.stack(rows)


def _check_places(at: Float64Array | None, names: Sequence[str], n_points: int) -> Float64Array:
    """Give the places of points; a stand-in where no operator looks at them."""
    if at is None:
        wanting = [name for name in names if name in _PLACED_COLUMNS]
        if wanting:
            raise ShapeError(
                "places of points",
                "none",
                f"(m, 2) places in the footprint for {', '.join(wanting)}",
                "Give `at`, or leave these operators out.",
            )
        return np.full((n_points, 2), 0.5)
    if at.shape != (n_points, 2):
        raise ShapeError("places of points", at.shape, (n_points, 2), "One (x, y) per point, 0 to 1.")
    return np.asarray(at, np.float64)


def _check_points(vectors: Float32Array, index: Int64Array, n_patches: int, min_count: int) -> None:
    if vectors.ndim != 2 or index.shape != (len(vectors),):
        raise ShapeError(
            "points to pool",
            f"vectors {vectors.shape}, patch_index {index.shape}",
            "(m, d) and (m,)",
            "One patch each.",
        )
    if len(index) and (index.min() < -1 or index.max() >= n_patches):
        raise ShapeError(
            "patch_index",
            f"values from {index.min()} to {index.max()}",
            f"-1 (no patch) to {n_patches - 1}",
            "Was the index made for another patch table?",
        )
    if min_count < 1:
        raise ShapeError("min_count", min_count, "at least 1", "A patch without points has no mean.")
