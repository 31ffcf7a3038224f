"""Mass-preserving bilinear: what bilinear takes from a patch is given back over its footprint.

Belongs here: the upsampler and the mean of bilinear over footprints. Does not: bilinear itself (`bilinear.py`).

Formula, with B the bilinear field of the patch vectors p, P the mean over a footprint, and C(r) the field that is
r_i in the cell of patch i, averaged over the lattices (equal weights) where two cells hold a point:

    r = p - P B(p)          what each patch lacks
    f = B(p) + C(r)

On one lattice without overlap P C is the identity, so P f = p: pooling gives the patch vectors back. On two
lattices a correction of one patch leaks into the four that it overlaps, so it is repeated on what is left
(van Cittert): r <- r - P C(r), and f collects every C(r). What two lattices contradict each other about stays. Two
corrections take the expected R2 of S3 (`design/evidence.md`, half a patch) on two lattices from .645 to .828; many
more end at .849, and deblending at .916.

Rules for missing patches: bilinear's own (NaN below `min_support`); the mean over a footprint is over its points
that have a vector; where a point lies in the cell of one lattice only, that cell's correction counts in full, and
where it lies in none there is no correction.

The mean is over `points_per_side`^2 points that tile the footprint. An even number puts no point on the ridge of
bilinear at the centroid, and the mean is then exact on grids without phases; on rows with phases the mean over much
finer points differs by about 1e-4 of the difference between neighbours.

Sources: the mass fix is the pycnophylactic condition of Tobler 1979, met by one additive step; the repetition is
van Cittert 1931.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.sparse import csr_array, vstack
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling.bilinear import MIN_SUPPORT, bilinear_weights, interpolate
from transforms.upsampling.footprints import footprint_points, holding_cells
from transforms.upsampling.inputs import as_vectors, is_complete
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Points whose weights are held at once while means over footprints are taken.
_POINTS_AT_ONCE = 1 << 19


class MassPreservingUpsampler(BaseEstimator):
    """Bilinear interpolation, corrected so that the mean over a footprint is the patch vector.

    Args:
        min_support: see `bilinear_weights`.
        points_per_side: points along the side of a footprint over which the mean is taken.
        n_iterations: corrections; one is exact on one lattice without overlap.
    """

    def __init__(self, min_support: float = MIN_SUPPORT, points_per_side: int = 16, n_iterations: int = 2) -> None:
        self.min_support = min_support
        self.points_per_side = points_per_side
        self.n_iterations = n_iterations

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Take the patches, those with any NaN as missing, and find what bilinear lacks of each.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: not used.

        Returns:
            The upsampler.

        Raises:
            ShapeError: `vectors` do not match the lattice, or a parameter is out of range.
        """
        for name in ("n_iterations", "points_per_side"):
            if getattr(self, name) < 1:
                raise ShapeError(name, getattr(self, name), "at least 1", "Leave it out to take the default.")
        values = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(values))
        bilinear, cells = _footprint_means(self.rows_, self.min_support, self.points_per_side)
        present = np.zeros((rows.n_patches, 1), np.float32)
        present[self.rows_.patch] = 1.0
        known = np.where(present > 0, values, np.float32(0.0))
        residual = known - bilinear @ known
        lacking = residual.copy()
        for _ in range(self.n_iterations - 1):
            residual = residual - cells @ residual
            lacking += residual
        # one table, so that value and correction are one weighted sum
        self.terms_ = np.concatenate([known, lacking])
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
            float32 (m, d); NaN where support is too small.
        """
        check_is_fitted(self)
        return interpolate(self.terms_, *self.weigh(points_u, points_v))

    def weigh(self, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> tuple[Int32Array, Float32Array]:
        """Give the rows of `terms_` that make a point's vector: int32 (m, k) and float32 (m, k), weight 0 unused."""
        index, weight, _ = bilinear_weights(self.rows_, points_u, points_v, self.min_support)
        cell, share = _cell_shares(self.rows_, points_u, points_v)
        share *= weight.any(axis=1, keepdims=True)
        cell = np.where(cell >= 0, cell + np.int32(self.rows_.n_patches), np.int32(-1))
        return np.concatenate([index, cell], axis=1), np.concatenate([weight, share], axis=1)


def _cell_shares(rows: RowLattice, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> tuple[Int32Array, Float32Array]:
    """Give the cells that hold points and their equal shares, both (m, n_lattices); 0 where there is none."""
    cell = holding_cells(rows, points_u, points_v)
    count = (cell >= 0).sum(axis=1, keepdims=True)
    return cell, ((cell >= 0) / np.maximum(count, 1)).astype(np.float32)


def _footprint_means(rows: RowLattice, min_support: float, points_per_side: int) -> tuple[csr_array, csr_array]:
    """Give P B and P C as float32 sparse (n_patches, n_patches); rows of missing patches are empty."""
    at_once = max(1, _POINTS_AT_ONCE // points_per_side**2)
    bilinear, cells = [], []
    for start in range(0, len(rows.patch), at_once):
        u, v = footprint_points(rows, points_per_side, slice(start, start + at_once))
        shape = (len(u), points_per_side**2, -1)
        index, weight, _ = bilinear_weights(rows, u.ravel(), v.ravel(), min_support)
        bilinear.append(_mean_weights(index.reshape(shape), weight.reshape(shape), rows.n_patches))
        index, weight = _cell_shares(rows, u.ravel(), v.ravel())
        cells.append(_mean_weights(index.reshape(shape), weight.reshape(shape), rows.n_patches))
    return _by_patch_number(rows, bilinear), _by_patch_number(rows, cells)


def _mean_weights(index: Int32Array, weight: Float32Array, n_patches: int) -> csr_array:
    """Give the mean over the points of each footprint that have a vector as sparse (footprints, n_patches)."""
    indptr, indices, data = _sum_by_patch(index, weight, n_patches)
    return csr_array((data, indices, indptr), shape=(len(index), n_patches))


def _by_patch_number(rows: RowLattice, parts: list[csr_array]) -> csr_array:
    """Put rows that come in the order of `rows.patch` where their patches stand in the table."""
    shape = (rows.n_patches, len(rows.patch))
    place = csr_array((np.ones(len(rows.patch), np.float32), (rows.patch, np.arange(len(rows.patch)))), shape=shape)
    if not parts:
        return csr_array((rows.n_patches, rows.n_patches), dtype=np.float32)
    return csr_array(place @ vstack(parts, format="csr"))


@njit(nogil=True, cache=True)
def _sum_by_patch(
    index: Int32Array, weight: Float32Array, n_patches: int
) -> tuple[Int64Array, Int32Array, Float32Array]:
    """Add up weights of the same patch within each footprint and divide by its points that have weight.

    Args:
        index: int32 (footprints, points, k).
        weight: float32 (footprints, points, k).
        n_patches: above every index.

    Returns:
        (indptr, indices, data) of the sparse rows, one a footprint.
    """
    total = np.zeros(n_patches)
    indptr = np.zeros(len(index) + 1, np.int64)
    indices = np.empty(len(index) * 64, np.int32)
    data = np.empty(len(index) * 64, np.float32)
    touched = np.empty(index.shape[1] * index.shape[2], np.int32)
    for i in range(len(index)):
        n_touched = 0
        n_points = 0
        for m in range(index.shape[1]):
            has_weight = False
            for k in range(index.shape[2]):
                if weight[i, m, k] == 0.0:
                    continue
                has_weight = True
                patch = index[i, m, k]
                if total[patch] == 0.0:
                    touched[n_touched] = patch
                    n_touched += 1
                total[patch] += weight[i, m, k]
            n_points += has_weight
        first = indptr[i]
        while first + n_touched > len(indices):
            indices = np.concatenate((indices, np.empty_like(indices)))
            data = np.concatenate((data, np.empty_like(data)))
        for t in range(n_touched):
            indices[first + t] = touched[t]
            data[first + t] = total[touched[t]] / n_points
            total[touched[t]] = 0.0
        indptr[i + 1] = first + n_touched
    return indptr, indices[: indptr[-1]], data[: indptr[-1]]
