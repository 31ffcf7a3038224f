"""What every upsampler checks first: points, patch vectors, which patches count.

Belongs here: turning arguments into arrays, with one precise error each. Does not: arithmetic.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def as_points(points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Give points as two float64 (m,) arrays.

    Raises:
        ShapeError: u and v differ in length, are not 1-D or are not finite.
    """
    u = np.ascontiguousarray(np.atleast_1d(points_u), np.float64)
    v = np.ascontiguousarray(np.atleast_1d(points_v), np.float64)
    if u.ndim != 1 or u.shape != v.shape:
        raise ShapeError("points", f"u {u.shape}, v {v.shape}", "(m,) and (m,)", "Ravel windows of points first.")
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise ShapeError("points", "NaN or infinite coordinates", "finite numbers", "Drop these points.")
    return u, v


def is_complete(vectors: Float32Array) -> npt.NDArray[np.bool_]:
    """Tell which patches have a vector: bool (n,), False where any element is NaN or infinite."""
    return np.asarray(np.isfinite(vectors).all(axis=1), np.bool_)


def as_vectors(rows: RowLattice, vectors: Float32Array) -> Float32Array:
    """Give patch vectors as a contiguous float32 (n, d) array.

    Raises:
        ShapeError: there is not one row per patch of the table that the lattice was built from.
    """
    array = np.ascontiguousarray(vectors, np.float32)
    if array.ndim != 2 or len(array) != rows.n_patches:
        raise ShapeError(
            "patch vectors", array.shape, f"({rows.n_patches}, d)", "Build the lattice from the same table."
        )
    return array
