"""Cubic convolution of patch vectors, along rows, then between them.

Belongs here: bicubic weights and the bicubic upsampler. Does not: lattices as rows (`rows.py`), bilinear
(`bilinear.py`).

Formula (Keys 1981, eq. 15, a = -1/2), s the distance in pitches:

    h(s) = 1.5 |s|^3 - 2.5 |s|^2 + 1               |s| < 1
    h(s) = -0.5 |s|^3 + 2.5 |s|^2 - 4 |s| + 2      1 <= |s| < 2

It goes along each of the four rows around a point, each with its own phase, then between the four row values. Where
two lattices cover the ground, each is interpolated and each has half the weight, as in bilinear.

Rules for missing patches, each lattice by itself:

* Where the four patches that bilinear would use are all there, the lattice is cubic. A missing outer patch of a row is
  extrapolated from the inner two, 2 f0 - f1; an outer row of which the inner two are not both there, likewise from the
  two inner rows. (Keys' own boundary, 3 f0 - 3 f1 + f2, reads one patch more and swings wider.)
* Else the lattice is bilinear at this point, with bilinear's support.

So a constant and a linear field are kept, support is bilinear's everywhere, and below `min_support` there is NaN.
Values may leave the range of the patches: the kernel has negative lobes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit
from sklearn.utils.validation import check_is_fitted

from transforms.upsampling.bilinear import MIN_SUPPORT, bilinear_weights, interpolate
from transforms.upsampling.inputs import as_points
from transforms.upsampling.interpolator import PatchInterpolator
from transforms.upsampling.kernels import ADJACENT_PITCHES
from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


class BicubicUpsampler(PatchInterpolator):
    """Cubic convolution along rows, then between them.

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
        return interpolate(self.vectors_, *bicubic_weights(self.rows_, points_u, points_v, self.min_support))


def bicubic_weights(
    rows: RowLattice, points_u: npt.ArrayLike, points_v: npt.ArrayLike, min_support: float = MIN_SUPPORT
) -> tuple[Int32Array, Float32Array]:
    """Give the patches around points and their bicubic weights.

    Args:
        rows: the lattice.
        points_u: (m,) in the units of `rows`.
        points_v: (m,).
        min_support: see `bilinear_weights`.

    Returns:
        (index int32 (m, k), weight float32 (m, k)) with k = 20 a lattice. Weights sum to 1; they are all 0 where
        bilinear's support is below `min_support`. Unused slots: index -1, weight 0.

    Raises:
        ShapeError: as `bilinear_weights`.
    """
    u, v = as_points(points_u, points_v)
    near_index, near_weight, support = bilinear_weights(rows, u, v, min_support)
    slots = near_index.shape[1] + 16 * rows.n_lattices
    index, weight = np.full((len(u), slots), -1, np.int32), np.zeros((len(u), slots), np.float32)
    index[:, : near_index.shape[1]], weight[:, : near_index.shape[1]] = near_index, near_weight
    has_support = near_weight.any(axis=1)
    scale = np.where(has_support, 1.0 / np.maximum(support, 1e-9), 0.0) / rows.n_lattices
    _weigh_cubic(
        rows.along(u),
        v,
        rows.patch,
        rows.u,
        rows.row_start,
        rows.row_v,
        rows.row_pitch_u,
        rows.lattice_start,
        rows.pitch_v,
        scale,
        index,
        weight,
    )
    return index, weight


@njit(nogil=True, cache=True)
def _fill_keys(t: float, has_first: bool, has_last: bool, taps: Float64Array) -> None:
    """Fill the weights of four taps around a point at share t between the middle two, folding missing outer ones."""
    taps[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    taps[1] = (1.5 * t - 2.5) * t * t + 1.0
    taps[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    taps[3] = (0.5 * t - 0.5) * t * t
    if not has_first:
        taps[1] += 2.0 * taps[0]
        taps[2] -= taps[0]
        taps[0] = 0.0
    if not has_last:
        taps[2] += 2.0 * taps[3]
        taps[1] -= taps[3]
        taps[3] = 0.0


@njit(nogil=True, cache=True)
def _are_adjacent(positions: Float64Array, before: int, start: int, stop: int, pitch: float) -> bool:
    """Tell whether positions `before` and `before + 1` both lie in `[start, stop)` and are neighbours."""
    if before < start or before + 1 >= stop:
        return False
    return bool(positions[before + 1] - positions[before] <= ADJACENT_PITCHES * pitch)


@njit(nogil=True, cache=True)
def _fill_taps(positions: Float64Array, start: int, stop: int, pitch: float, x: float, taps: Float64Array) -> int:
    """Fill the four taps around x; give the position of the second, or -1 where the middle two are not both there."""
    before = start + int(np.searchsorted(positions[start:stop], x, side="right")) - 1
    # a point on the last position belongs to the interval before it
    if before == stop - 1 and before > start and positions[before] == x:
        before -= 1
    if not _are_adjacent(positions, before, start, stop, pitch):
        return -1
    share = (x - positions[before]) / (positions[before + 1] - positions[before])
    has_first = _are_adjacent(positions, before - 1, start, stop, pitch)
    _fill_keys(share, has_first, _are_adjacent(positions, before + 1, start, stop, pitch), taps)
    return before


@njit(nogil=True, cache=True)
def _weigh_cubic(
    points_u: Float64Array,
    points_v: Float64Array,
    patch: Int32Array,
    patch_u: Float64Array,
    row_start: Int64Array,
    row_v: Float64Array,
    row_pitch_u: Float64Array,
    lattice_start: Int64Array,
    pitch_v: float,
    scale: Float64Array,
    index: Int32Array,
    weight: Float32Array,
) -> None:
    """Replace a lattice's bilinear weights by cubic ones where its four inner patches are there.

    Args:
        points_u: float64 (m,).
        points_v: float64 (m,).
        patch: int32 (n,), see `RowLattice`, like the other columns.
        patch_u: float64 (n,).
        row_start: int64 (n_rows + 1,).
        row_v: float64 (n_rows,).
        row_pitch_u: float64 (n_rows,).
        lattice_start: int64 (n_lattices + 1,).
        pitch_v: distance of neighbouring rows.
        scale: float64 (m,), sum of the weights of a lattice with all patches; 0 leaves the point as it is.
        index: int32 (m, k + 16 n_lattices), bilinear in the first k; changed.
        weight: float32 (m, k + 16 n_lattices), likewise; changed.
    """
    n_near = index.shape[1] - 16 * (len(lattice_start) - 1)
    across, ignored = np.empty(4), np.empty(4)
    along = np.zeros((4, 4))
    second = np.empty(4, np.int64)
    for m in range(len(points_u)):
        for lattice in range(len(lattice_start) - 1):
            first, last = lattice_start[lattice], lattice_start[lattice + 1]
            row = _fill_taps(row_v, first, last, pitch_v, points_v[m], ignored)
            if row < 0 or scale[m] == 0.0:
                continue
            for r in range(4):
                at = row - 1 + r
                second[r] = -1
                if first <= at < last:
                    second[r] = _fill_taps(
                        patch_u, row_start[at], row_start[at + 1], row_pitch_u[at], points_u[m], along[r]
                    )
            if second[1] < 0 or second[2] < 0:
                continue
            has_south = second[0] >= 0 and _are_adjacent(row_v, row - 1, first, last, pitch_v)
            has_north = second[3] >= 0 and _are_adjacent(row_v, row + 1, first, last, pitch_v)
            share = (points_v[m] - row_v[row]) / (row_v[row + 1] - row_v[row])
            _fill_keys(share, has_south, has_north, across)
            for r in range(4):
                for k in range(4):
                    slot = n_near + 16 * lattice + 4 * r + k
                    w = across[r] * along[r, k] * scale[m]
                    index[m, slot] = patch[second[r] - 1 + k] if w != 0.0 else -1
                    weight[m, slot] = w
            for slot in range(n_near):
                for r in range(1, 3):
                    if index[m, slot] == patch[second[r]] or index[m, slot] == patch[second[r] + 1]:
                        weight[m, slot] = 0.0
