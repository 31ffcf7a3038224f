"""Upsampling: patch vectors to vectors at points, such as pixel centres.

Belongs here: nearest and bilinear operators, their weights, their registry. Does not: lattices as rows
(`transforms/lattice_rows.py`), which points to sample, compiled loops (`transforms/upsampling_kernels.py`).

Rules, stated once:

* Bilinear goes along rows, then between them, because rows have their own phases. Where two lattices cover
  the ground, each is interpolated and each has half the weight.
* Neighbours are cells or rows at most 1.5 pitches apart. A missing neighbour (coast, gap, border, patch
  without a vector) is left out and the other weights are renormalised; `support` is their sum before that.
  Below `min_support` there is no vector: NaN, never zeros.
* On a single full lattice that makes the outer half patch take the value of the border (support 1/2 at an
  edge, 1/4 at a corner). Where only one of two lattices reaches, support is half of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms import upsampling_kernels as kernels
from transforms.errors import ShapeError
from transforms.lattice import EARTH_RADIUS_M
from transforms.lattice_rows import RowLattice, eg_rows, grid_rows

__all__ = [
    "MIN_SUPPORT",
    "UPSAMPLERS",
    "BilinearUpsampler",
    "NearestUpsampler",
    "RowLattice",
    "Upsampler",
    "UpsamplingOperator",
    "bilinear_weights",
    "eg_rows",
    "grid_rows",
    "interpolate",
    "nearest_index",
]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]

#: Least support of a point that gets a vector: the corner of a patch at the corner of one lattice.
MIN_SUPPORT = 0.25
#: Added to the half diagonal of a patch: footprints are UTM boxes, distances are on the sphere.
_NEAREST_TOLERANCE_M = 5.0


def bilinear_weights(
    rows: RowLattice, points_u: npt.ArrayLike, points_v: npt.ArrayLike, min_support: float = MIN_SUPPORT
) -> tuple[Int32Array, Float32Array, Float32Array]:
    """Give the patches around points and their bilinear weights.

    Args:
        rows: the lattice.
        points_u: (m,) in the units of `rows`: longitude or x.
        points_v: (m,) latitude or y.
        min_support: least sum of the weights of patches that exist, in (0, 1].

    Returns:
        (index int32 (m, k), weight float32 (m, k), support float32 (m,)) with k = 4 a lattice. Weights sum to
        1; they are all 0 where `support` is below `min_support`. Missing neighbours: index -1, weight 0.

    Raises:
        ShapeError: u and v differ in length or are not finite, or `min_support` is out of range.
    """
    if not 0.0 < min_support <= 1.0:
        raise ShapeError("min_support", min_support, "a share in (0, 1]", f"Set it to {MIN_SUPPORT}, the default.")
    u, v = _as_points(points_u, points_v)
    slots = 4 * rows.n_lattices
    index = np.full((len(u), slots), -1, np.int32)
    weight = np.zeros((len(u), slots), np.float32)
    support = np.empty(len(u), np.float32)
    kernels.weigh_neighbours(
        rows.along(u),
        v,
        rows.patch,
        rows.u,
        rows.row_start,
        rows.row_v,
        rows.row_pitch_u,
        rows.lattice_start,
        rows.pitch_v,
        index,
        weight,
        support,
    )
    # weights are float32: a corner's exact quarter must not fail by one rounding
    has_support = support >= min_support - 1e-6
    weight *= np.where(has_support, 1.0 / np.where(has_support, support, 1.0), 0.0).astype(np.float32)[:, None]
    return index, weight, support


def interpolate(vectors: Float32Array, index: Int32Array, weight: Float32Array) -> Float32Array:
    """Give weighted sums of patch vectors.

    Args:
        vectors: float32 (n, d).
        index: int32 (m, k), patch numbers; slots with weight 0 are not read.
        weight: float32 (m, k).

    Returns:
        float32 (m, d); NaN where all weights are 0. A NaN vector with weight makes NaN: leave such patches
        out of the lattice (`RowLattice.keep`).

    Raises:
        ShapeError: shapes do not agree, or a weighted index is outside the vectors.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or index.ndim != 2 or index.shape != weight.shape:
        raise ShapeError(
            "interpolation",
            f"vectors {vectors.shape}, index {index.shape}, weight {weight.shape}",
            "(n, d), (m, k), (m, k)",
            "Take index and weight from one call of bilinear_weights.",
        )
    if index.size and (index.max() >= len(vectors) or (weight[index < 0] != 0).any()):
        raise ShapeError(
            "patch index",
            f"up to {index.max()}",
            f"0 to {len(vectors) - 1}",
            "Was the lattice built from this table?",
        )
    out = np.empty((len(index), vectors.shape[1]), np.float32)
    kernels.interpolate_vectors(vectors, index, weight, out)
    return out


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


class Upsampler(Protocol):
    """What every upsampling operator offers, in scikit-learn's manners."""

    def fit(self, rows: RowLattice, vectors: Float32Array) -> Self:
        """Take the patches."""
        ...

    def transform(self, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> Float32Array:
        """Give vectors at points."""
        ...


class BilinearUpsampler(BaseEstimator):
    """Bilinear interpolation along rows, then between them.

    Args:
        min_support: see `bilinear_weights`.
    """

    def __init__(self, min_support: float = MIN_SUPPORT) -> None:
        self.min_support = min_support

    def fit(self, rows: RowLattice, vectors: Float32Array) -> Self:
        """Take the patches; those with any NaN count as missing.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.

        Returns:
            The upsampler.

        Raises:
            ShapeError: `vectors` do not match the lattice.
        """
        self.vectors_ = _as_vectors(rows, vectors)
        self.rows_ = rows.keep(_is_complete(self.vectors_))
        return self

    def transform(self, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> Float32Array:
        """Give vectors at points.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.

        Returns:
            float32 (m, d); NaN where support is too small.
        """
        check_is_fitted(self)
        index, weight, _ = bilinear_weights(self.rows_, points_u, points_v, self.min_support)
        return interpolate(self.vectors_, index, weight)


class NearestUpsampler(BaseEstimator):
    """The vector of the patch whose centroid is nearest.

    Args:
        max_distance_m: see `nearest_index`.
    """

    def __init__(self, max_distance_m: float | None = None) -> None:
        self.max_distance_m = max_distance_m

    def fit(self, rows: RowLattice, vectors: Float32Array) -> Self:
        """Take the patches; those with any NaN count as missing.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.

        Returns:
            The upsampler.

        Raises:
            ShapeError: `vectors` do not match the lattice.
        """
        self.vectors_ = _as_vectors(rows, vectors)
        self.rows_ = rows.keep(_is_complete(self.vectors_))
        self.tree_ = _build_tree(self.rows_)
        return self

    def transform(self, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> Float32Array:
        """Give vectors at points.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.

        Returns:
            float32 (m, d); NaN where no patch is near enough.
        """
        check_is_fitted(self)
        index = _query_nearest(self.tree_, self.rows_, points_u, points_v, self.max_distance_m)
        weight = (index >= 0).astype(np.float32)
        return interpolate(self.vectors_, index[:, None], weight[:, None])


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


def _build_tree(rows: RowLattice) -> cKDTree:
    return cKDTree(_to_metres(rows, rows.u, rows.v))


def _query_nearest(
    tree: cKDTree,
    rows: RowLattice,
    points_u: npt.ArrayLike,
    points_v: npt.ArrayLike,
    max_distance_m: float | None,
) -> Int32Array:
    u, v = _as_points(points_u, points_v)
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


def _as_points(points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    u = np.ascontiguousarray(np.atleast_1d(points_u), np.float64)
    v = np.ascontiguousarray(np.atleast_1d(points_v), np.float64)
    if u.ndim != 1 or u.shape != v.shape:
        raise ShapeError("points", f"u {u.shape}, v {v.shape}", "(m,) and (m,)", "Ravel windows of points first.")
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise ShapeError("points", "NaN or infinite coordinates", "finite numbers", "Drop these points.")
    return u, v


def _is_complete(vectors: Float32Array) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(vectors).all(axis=1), np.bool_)


def _as_vectors(rows: RowLattice, vectors: Float32Array) -> Float32Array:
    array = np.ascontiguousarray(vectors, np.float32)
    if array.ndim != 2 or len(array) != rows.n_patches:
        raise ShapeError(
            "patch vectors", array.shape, f"({rows.n_patches}, d)", "Build the lattice from the same table."
        )
    return array
