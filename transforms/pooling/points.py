"""Pooling of listed pixels: the table form, where no raster is at hand.

Belongs here: pooling by an explicit pixel-to-patch assignment. Does not: rasters (`pooler.py`), which pixel lies in
which footprint (`transforms/pooled_rows.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.pooling.operators import PooledPatches, empty_columns, fill_columns

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


def pool_points(vectors: Float32Array, patch_index: Int64Array, n_patches: int, min_count: int = 1) -> PooledPatches:
    """Pool listed pixels, each with weight 1: the table form, where no raster is at hand.

    Args:
        vectors: float32 (m, d); a point with any NaN is nodata.
        patch_index: int64 (m,), patch of each point in any order; -1 = in no patch.
        n_patches: rows of the result.
        min_count: least number of valid points of a patch that gets vectors, at least 1.

    Returns:
        One row per patch; `valid_fraction` is the share of its points that are valid (0 where it has none).

    Raises:
        ShapeError: shapes do not agree, an index is outside [-1, n_patches), or `min_count` is below 1.
    """
    vectors = np.asarray(vectors, np.float32)
    index = np.asarray(patch_index, np.int64)
    _check_points(vectors, index, n_patches, min_count)
    owned = index >= 0
    is_valid = owned & ~np.isnan(vectors).any(axis=1)
    points = np.bincount(index[owned], minlength=n_patches)
    count = np.bincount(index[is_valid], minlength=n_patches)
    columns = empty_columns(n_patches, vectors.shape[1])
    columns["valid_fraction"][:] = count / np.maximum(points, 1)
    kept = np.flatnonzero(is_valid)
    kept = kept[count[index[kept]] >= min_count]
    if len(kept):
        kept = kept[np.argsort(index[kept], kind="stable")]
        patches, start = np.unique(index[kept], return_index=True)
        x = vectors[kept].astype(np.float64)
        mean = np.add.reduceat(x, start) / count[patches, None]
        residual = x - np.repeat(mean, count[patches], axis=0)
        variance = np.add.reduceat(residual**2, start) / count[patches, None]
        low, high = np.minimum.reduceat(x, start), np.maximum.reduceat(x, start)
        fill_columns(columns, patches, mean, variance, low, high)
    return PooledPatches(**columns, n_pixels=count.astype(np.int32))


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
