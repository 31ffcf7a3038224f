"""Two-lattice deblending: the smoothest finer field whose means over the footprints of both lattices are the patches.

Belongs here: the system of cells and patches of one tile, and the upsampler. Does not: the cut of an area into tiles
and the interpolation between cells (`tiles.py`), lattices as rows (`rows.py`).

Most ground lies in two patches, one a lattice, shifted by half a patch: what one blends, the other parts. With x the
values of square cells (`cells_per_side` along a patch), A the area means of footprints over cells (exact shares) and
L the five-point Laplacian with mirrored borders:

    minimise |A x - p|^2 + smoothness * c^2 |L x|^2        c = cells_per_side

The second term is the integral of the squared Laplacian with lengths in patch sides, so `smoothness` means the same
for any number of cells. There are fewer patches than cells, and L is diagonal in the cosine basis, so the system is
solved in its dual form, one factorisation for all dimensions: with G = (c^2 L'L)^+ by cosine transforms,

    (A G A' + smoothness I) a + 1 k = p,   1'a = 0,   x = k 1 + G A'a

Points take the bilinear value between cells. Areas are solved in tiles with a halo, so the memory of a solve does not
grow with the area; the field itself holds c^2 cells a patch side squared.

The default of `smoothness` is the largest power of ten that costs less than 0.01 of the expected R2 of the S3 field
(`design/evidence.md`) on two lattices at every correlation length from a quarter to a whole patch.

Rules for missing patches: they are no row of A, so the field bends over them; a point has a vector where bilinear
has (`min_support`), else NaN. One patch alone gives its own vector. One lattice works too; it only tells less.

Sources: Tikhonov 1963; the dual form is that of smoothing splines, Wahba 1990, eq. 1.3.16-17.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, dctn, idctn
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling.bilinear import MIN_SUPPORT, bilinear_weights, interpolate
from transforms.upsampling.inputs import as_vectors, is_complete
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.tiles import plan_tiles
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]


class DeblendingUpsampler(BaseEstimator):
    """The smoothest field of cells that explains the patches of all lattices as means of their footprints.

    Args:
        smoothness: weight of the squared Laplacian against the squared residual, lengths in patch sides.
        cells_per_side: cells along the side of a patch.
        tile_side: patches along the side of a tile that is solved at once.
        halo: patches around a tile that are solved with it; with 8 an impulse beside a border between tiles stays
            centred to a metre (with 4 it can be 15 m off).
        min_support: see `bilinear_weights`.
    """

    def __init__(
        self,
        smoothness: float = 1e-4,
        cells_per_side: int = 4,
        tile_side: int = 16,
        halo: int = 8,
        min_support: float = MIN_SUPPORT,
    ) -> None:
        self.smoothness = smoothness
        self.cells_per_side = cells_per_side
        self.tile_side = tile_side
        self.halo = halo
        self.min_support = min_support

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Solve for the cells; patches with any NaN count as missing.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: not used.

        Returns:
            The upsampler.

        Raises:
            ShapeError: `vectors` do not match the lattice, or a parameter is out of range.
        """
        if not self.smoothness > 0.0:
            raise ShapeError("smoothness", self.smoothness, "above 0", "1e-4 is the default.")
        values = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(values))
        self.plan_ = plan_tiles(self.rows_, self.cells_per_side, self.tile_side, self.halo)
        ordered = values[self.rows_.patch]
        self.cells_ = np.empty((self.plan_.n_cells, values.shape[1]), np.float32)
        for tile in range(self.plan_.n_tiles):
            self._solve_tile(tile, ordered)
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
        return interpolate(self.cells_, *self.weigh(points_u, points_v))

    def weigh(self, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> tuple[Int32Array, Float32Array]:
        """Give the rows of `cells_` that make a point's vector: int32 (m, 4) and float32 (m, 4), weight 0 unused."""
        _, near, _ = bilinear_weights(self.rows_, points_u, points_v, self.min_support)
        index, weight = self.plan_.cells_around(self.rows_.along(points_u), np.asarray(points_v, np.float64))
        return index, weight * near.any(axis=1, keepdims=True)

    def _solve_tile(self, tile: int, ordered: Float32Array) -> None:
        """Fill the cells of one tile from patch vectors in the order of `rows_.patch`."""
        part = self.plan_.part(self.rows_, tile)
        along, across = (footprint_shares(part.low[:, axis], part.high[:, axis], part.n_cells) for axis in range(2))
        field = solve_cells(along, across, ordered[part.patch], self.smoothness, self.cells_per_side)
        core = field[part.core, part.core]
        self.cells_[self.plan_.slots(tile)] = core.reshape(-1, core.shape[2])


def footprint_shares(low: Float64Array, high: Float64Array, n_cells: int) -> Float64Array:
    """Give the shares of segments in cells of unit length; those of a footprint are products of two such rows.

    Args:
        low: float64 (n,), lower ends in cells.
        high: float64 (n,), upper ends, in `[0, n_cells]` like the lower ones.
        n_cells: cells along the side of the square.

    Returns:
        float64 (n, n_cells), rows sum to 1.
    """
    cell = np.arange(n_cells)
    overlap = np.minimum(high[:, None], cell + 1) - np.maximum(low[:, None], cell)
    return np.asarray(np.maximum(overlap, 0.0) / (high - low)[:, None])


def solve_cells(
    along: Float64Array, across: Float64Array, vectors: Float32Array, smoothness: float, cells_per_side: int
) -> Float64Array:
    """Solve the dual system of the module's formula on one square of cells.

    Args:
        along: float64 (n, n_cells), shares of each footprint in cells along rows, n >= 1.
        across: float64 (n, n_cells), likewise across rows; footprints of one row side by side.
        vectors: p, float32 (n, d).
        smoothness: see `DeblendingUpsampler`.
        cells_per_side: cells along the side of a patch.

    Returns:
        x as float64 (n_cells, n_cells, d), across first.
    """
    green = _green_spectrum(along.shape[1]) / cells_per_side**2
    kernel = _smoothed_overlaps(along, across, green)
    kernel[np.diag_indices_from(kernel)] += smoothness
    factor = cho_factor(kernel, lower=True, overwrite_a=True)
    known = vectors.astype(np.float64)
    ones = cho_solve(factor, np.ones(len(known)))
    constant = (ones @ known) / ones.sum()
    coefficients = cho_solve(factor, known - constant)
    image = np.zeros((*green.shape, known.shape[1]))
    for row in _rows(across):
        used = np.flatnonzero(across[row.start])
        image[used] += across[row.start, used, None, None] * (along[row].T @ coefficients[row])
    waves = dctn(image, axes=(0, 1), norm="ortho", overwrite_x=True)
    waves *= green[:, :, None]
    return np.asarray(idctn(waves, axes=(0, 1), norm="ortho", overwrite_x=True) + constant)


def _smoothed_overlaps(along: Float64Array, across: Float64Array, green: Float64Array) -> Float64Array:
    """Give A G A' row by row: footprints of a row share their cosine waves across rows."""
    waves_along, waves_across = dct(along, axis=1, norm="ortho"), dct(across, axis=1, norm="ortho")
    rows = _rows(across)
    kernel = np.empty((len(along), len(along)))
    for i, row in enumerate(rows):
        for other in rows[: i + 1]:
            weight = (waves_across[row.start] * waves_across[other.start]) @ green
            block = (waves_along[row] * weight) @ waves_along[other].T
            kernel[row, other], kernel[other, row] = block, block.T
    return kernel


def _rows(across: Float64Array) -> list[slice]:
    """Give the runs of footprints that have the same shares across rows."""
    first = np.flatnonzero(np.r_[True, (across[1:] != across[:-1]).any(axis=1)])
    return [slice(int(start), int(stop)) for start, stop in zip(first, np.r_[first[1:], len(across)], strict=True)]


def _green_spectrum(n_cells: int) -> Float64Array:
    """Give the inverse of the squared Laplacian in the cosine basis, (n, n); 0 for the constant."""
    wave = 2.0 - 2.0 * np.cos(np.pi * np.arange(n_cells) / n_cells)
    laplacian = wave[:, None] + wave[None, :]
    laplacian[0, 0] = np.inf
    return np.asarray(1.0 / laplacian**2)
