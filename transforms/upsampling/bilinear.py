"""Bilinear interpolation of patch vectors, along rows, then between them.

Belongs here: bilinear weights and the bilinear upsampler. Does not: lattices as rows (`rows.py`), which points to
sample, compiled loops (`kernels.py`).

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

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling import kernels
from transforms.upsampling.inputs import as_points
from transforms.upsampling.interpolator import PatchInterpolator
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.sums import aligned_empty, is_streamable, order_by_patch, sum_vectors

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Least support of a point that gets a vector: the corner of a patch at the corner of one lattice.
MIN_SUPPORT = 0.25


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
        1; they are all 0 where `support` is below `min_support`. Missing neighbours: index -1, weight 0. Slots of a
        lattice: row before, row after; in each the patch before, the patch after.

    Raises:
        ShapeError: u and v differ in length or are not finite, or `min_support` is out of range.
    """
    check_support(min_support)
    u, v = as_points(points_u, points_v)
    slots = 4 * rows.n_lattices
    index = np.empty((len(u), slots), np.int32)
    weight = np.empty((len(u), slots), np.float32)
    support = np.empty(len(u), np.float32)
    kernels.weigh_points(kernels.row_arrays(rows), rows.along(u), v, min_support, index, weight, support)
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
    order, wrong_slot = order_by_patch(index, weight, len(vectors))
    if wrong_slot != -1:
        raise ShapeError(
            "patch index",
            index.flat[wrong_slot],
            f"0 to {len(vectors) - 1}",
            "Was the lattice built from the same table?",
        )
    dims = vectors.shape[1]
    out = aligned_empty((len(index), dims))
    sum_vectors(vectors.reshape(-1), dims, index, weight, order, out.reshape(-1), is_streamable(out))
    return out


class BilinearUpsampler(PatchInterpolator):
    """Bilinear interpolation along rows, then between them.

    Args:
        min_support: see `bilinear_weights`.
    """

    def __init__(self, min_support: float = MIN_SUPPORT) -> None:
        self.min_support = min_support

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give vectors at points.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: not used.

        Returns:
            float32 (m, d); NaN where support is too small.
        """
        check_is_fitted(self)
        check_support(self.min_support)
        u, v = as_points(points_u, points_v)
        rows, vectors = self.rows_, self.vectors_
        out = aligned_empty((len(u), vectors.shape[1]))
        u = rows.along(u)
        order = _order_by_place(rows, u, v)
        kernels.sample_points(
            kernels.row_arrays(rows),
            vectors.reshape(-1),
            vectors.shape[1],
            u[order],
            v[order],
            order,
            self.min_support,
            out.reshape(-1),
            is_streamable(out),
        )
        return out


def check_support(min_support: float) -> None:
    """Raise ShapeError if `min_support` is not a share in (0, 1]."""
    if not 0.0 < min_support <= 1.0:
        raise ShapeError("min_support", min_support, "a share in (0, 1]", f"Set it to {MIN_SUPPORT}, the default.")


def _order_by_place(rows: RowLattice, u: Float64Array, v: Float64Array) -> Int64Array:
    """Give the order in which points meet a patch's vector while it is in the cache.

    Cells are one pitch, or as much larger as it takes to have no more cells than points.
    """
    if not len(u):
        return np.empty(0, np.int64)
    pitch = np.array([float(np.median(rows.row_pitch_u)), rows.pitch_v])
    low = np.array([u.min(), v.min()])
    n_cells = (np.array([u.max(), v.max()]) - low) / pitch + 1.0
    coarser = max(1.0, float(np.sqrt(n_cells.prod() / len(u))))
    n_u, n_v = np.ceil(n_cells / coarser).astype(np.int64)
    pitch_u, pitch_v = pitch * coarser
    return kernels.order_by_cell(u, v, low[0], low[1], pitch_u, pitch_v, n_u, n_v)
