"""The vector of the patch whose centroid is nearest.

Belongs here: nearest patches of points and the nearest upsampler. Does not: lattices as rows (`rows.py`).
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.lattice import EARTH_RADIUS_M
from transforms.upsampling.bilinear import interpolate
from transforms.upsampling.inputs import as_points, as_vectors, is_complete
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]

#: Added to the half diagonal of a patch: footprints are UTM boxes, distances are on the sphere.
_NEAREST_TOLERANCE_M = 5.0


def nearest_index(
    rows: RowLattice, points_u: npt.ArrayLike, points_v: npt.ArrayLike, max_distance_m: float | None = None
) -> Int32Array:
    """Give the patch with the nearest centroid; all lattices are candidates.

    Distances are metres: on the lattice's sphere for degrees (chords, exact to a millimetre here), in the
    plane for metres.

    Args:
        rows: the lattice.
        points_u: (m,) in the units of `rows`: longitude or x.
        points_v: (m,) latitude or y.
        max_distance_m: farther patches do not count; half the patch diagonal (plus 5 m) if not given.

    Returns:
        int32 (m,), patch numbers; -1 where no patch is near enough.

    Raises:
        ShapeError: u and v differ in length or are not finite.
    """
    return _query_nearest(_build_tree(rows), rows, points_u, points_v, max_distance_m)


class NearestUpsampler(BaseEstimator):
    """The vector of the patch whose centroid is nearest.

    Args:
        max_distance_m: see `nearest_index`.
    """

    def __init__(self, max_distance_m: float | None = None) -> None:
        self.max_distance_m = max_distance_m

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Take the patches; those with any NaN count as missing.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: not used.

        Returns:
            The upsampler.

        Raises:
            ShapeError: `vectors` do not match the lattice.
        """
        self.vectors_ = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(self.vectors_))
        self.tree_ = _build_tree(self.rows_)
        return self

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give vectors at points.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: not used.

        Returns:
            float32 (m, d); NaN where no patch is near enough.
        """
        check_is_fitted(self)
        index = _query_nearest(self.tree_, self.rows_, points_u, points_v, self.max_distance_m)
        weight = (index >= 0).astype(np.float32)
        return interpolate(self.vectors_, index[:, None], weight[:, None])


def _build_tree(rows: RowLattice) -> cKDTree:
    return cKDTree(_to_metres(rows, rows.u, rows.v))


def _query_nearest(
    tree: cKDTree,
    rows: RowLattice,
    points_u: npt.ArrayLike,
    points_v: npt.ArrayLike,
    max_distance_m: float | None,
) -> Int32Array:
    u, v = as_points(points_u, points_v)
    limit = max_distance_m if max_distance_m is not None else rows.side_m / np.sqrt(2.0) + _NEAREST_TOLERANCE_M
    if not len(rows.patch):
        return np.full(len(u), -1, np.int32)
    _, found = tree.query(_to_metres(rows, u, v), distance_upper_bound=limit)
    is_near = found < len(rows.patch)
    return np.where(is_near, rows.patch[np.where(is_near, found, 0)], -1).astype(np.int32)


def _to_metres(rows: RowLattice, u: Float64Array, v: Float64Array) -> Float64Array:
    """Give coordinates whose Euclidean distance is metres: (m, 3) on the sphere or (m, 2) in the plane."""
    if not rows.is_geographic:
        return np.stack([u, v], axis=1)
    lon, lat = np.radians(u), np.radians(v)
    ring = np.cos(lat)
    return EARTH_RADIUS_M * np.stack([ring * np.cos(lon), ring * np.sin(lon), np.sin(lat)], axis=1)
