"""Fixed neighbourhoods of patches around points, and guided weights over them.

Belongs here: which patches of all lattices stand within a radius of a point, and the softmax of spatial and
guide distance that both guided operators use. Does not: where guides are embedded (`joint_bilateral.py`,
`attention.py`), bilinear weights (`bilinear.py`).

Weights are ``exp(-|offset|^2 / (2 s^2) - |query - key|^2 / 2)``, normalised over the neighbourhood: a spatial
Gaussian of `s` pitches times a range Gaussian of width 1 in the space of the queries (Kopf et al. 2007, eq. 3).
The largest exponent is taken off first, so that no weight underflows however far a guide is from all patches.

Rules: a point has weights exactly where bilinear interpolation has support. Patches without a vector or without
a key are left out. Where no patch around has a key, or the guide is not used because it says nothing of the vectors
(`hidden_patches.py`), the weights are those of bilinear interpolation.
A point without a query (NaN) has no weights: a guided vector without its guide would be another operator.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.upsampling.bilinear import MIN_SUPPORT, bilinear_weights
from transforms.upsampling.inputs import as_points, is_complete
from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Patches at most this many pitches away along rows and across them are neighbours: 3 x 3 a lattice.
RADIUS_PITCHES = 1.5

#: Points that are handled at once, so that memory beside the result does not grow with their number.
CHUNK_POINTS = 16_384


def find_neighbours(
    rows: RowLattice, points_u: npt.ArrayLike, points_v: npt.ArrayLike, radius: float = RADIUS_PITCHES
) -> tuple[Int32Array, Float32Array]:
    """Give the patches around points, all lattices together.

    Args:
        rows: the lattice.
        points_u: (m,) in the units of `rows`: longitude or x.
        points_v: (m,) latitude or y.
        radius: largest distance along either axis, pitches.

    Returns:
        (index int32 (m, s), offset float32 (m, s, 2)): patch numbers and where the patch stands from the point,
        along rows and across them, pitches. Free slots: index -1, offset 0; they come last.

    Raises:
        ShapeError: u and v differ in length or are not finite.
    """
    u, v = as_points(points_u, points_v)
    slots = (int(2 * radius) + 1) ** 2 * rows.n_lattices
    index = np.full((len(u), slots), -1, np.int32)
    offset = np.zeros((len(u), slots, 2), np.float32)
    _fill_neighbours(
        rows.along(u),
        v,
        rows.patch,
        rows.u,
        rows.row_start,
        rows.row_v,
        rows.row_pitch_u,
        rows.lattice_start,
        rows.pitch_v,
        radius,
        index,
        offset,
    )
    return index, offset


def guided_weights(
    rows: RowLattice,
    points_u: Float64Array,
    points_v: Float64Array,
    query: Float32Array,
    keys: Float32Array | None,
    *,
    spatial_sigma: float,
    radius: float = RADIUS_PITCHES,
    min_support: float = MIN_SUPPORT,
) -> tuple[Int32Array, Float32Array]:
    """Give the patches around points and their guided weights; rules in the module docstring.

    Args:
        rows: the lattice of the patches that have a vector.
        points_u: float64 (m,).
        points_v: float64 (m,).
        query: float32 (m, e), the points' guides in units of the range bandwidth, NaN rows where there is none.
        keys: float32 (n, e), those of patches, NaN rows where there is none; None: the guide is not used.
        spatial_sigma: width of the spatial Gaussian, pitches.
        radius: see `find_neighbours`.
        min_support: least bilinear support of a point that gets weights.

    Returns:
        (index int32 (m, s), weight float32 (m, s)); weights sum to 1, or are all 0.
    """
    near, share, _ = bilinear_weights(rows, points_u, points_v, min_support)
    has_query = is_complete(query)
    share *= has_query[:, None]
    if keys is None:
        return near, share
    index, offset = find_neighbours(rows, points_u, points_v, radius)
    is_wanted = np.asarray((share > 0).any(axis=1))
    weight = np.zeros(index.shape, np.float32)
    _weigh_by_guide(index, offset, query, keys, is_wanted, 0.5 / spatial_sigma**2, weight)
    is_lost = is_wanted & ~(weight > 0).any(axis=1)
    index[is_lost] = -1
    index[is_lost, : near.shape[1]] = near[is_lost]
    weight[is_lost, : near.shape[1]] = share[is_lost]
    return index, weight


def iterate_chunks(n_points: int) -> Iterator[slice]:
    """Cut points into slices of at most `CHUNK_POINTS`."""
    for start in range(0, n_points, CHUNK_POINTS):
        yield slice(start, min(start + CHUNK_POINTS, n_points))


@njit(nogil=True, cache=True)
def _fill_neighbours(
    points_u: Float64Array,
    points_v: Float64Array,
    patch: Int32Array,
    patch_u: Float64Array,
    row_start: Int64Array,
    row_v: Float64Array,
    row_pitch_u: Float64Array,
    lattice_start: Int64Array,
    pitch_v: float,
    radius: float,
    index: Int32Array,
    offset: Float32Array,
) -> None:
    """Fill patches within `radius` pitches of points; the lattice comes as the fields of `RowLattice`."""
    for m in range(len(points_u)):
        slot = 0
        for lattice in range(len(lattice_start) - 1):
            first, last = lattice_start[lattice], lattice_start[lattice + 1]
            low = points_v[m] - radius * pitch_v
            row = first + np.searchsorted(row_v[first:last], low)
            while row < last and row_v[row] <= points_v[m] + radius * pitch_v:
                reach = radius * row_pitch_u[row]
                cell = row_start[row]
                cell += np.searchsorted(patch_u[cell : row_start[row + 1]], points_u[m] - reach)
                while cell < row_start[row + 1] and patch_u[cell] <= points_u[m] + reach and slot < index.shape[1]:
                    index[m, slot] = patch[cell]
                    offset[m, slot, 0] = (patch_u[cell] - points_u[m]) / row_pitch_u[row]
                    offset[m, slot, 1] = (row_v[row] - points_v[m]) / pitch_v
                    slot += 1
                    cell += 1
                row += 1


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _square_distance(a: Float32Array, b: Float32Array) -> np.float32:
    """Give the squared distance of two vectors; NaN where either has one (the sum may be reordered, not skipped)."""
    total = np.float32(0.0)
    for j in range(len(a)):
        step = a[j] - b[j]
        total += step * step
    return total


@njit(nogil=True, cache=True)
def _weigh_by_guide(
    index: Int32Array,
    offset: Float32Array,
    query: Float32Array,
    keys: Float32Array,
    is_wanted: npt.NDArray[np.bool_],
    spatial_rate: float,
    weight: Float32Array,
) -> None:
    """Fill weights that sum to 1; all 0 where a point is not wanted or no neighbour has a key."""
    slots = index.shape[1]
    exponent = np.empty(slots, np.float64)
    for m in range(index.shape[0]):
        if not is_wanted[m]:
            continue
        highest = -np.inf
        for k in range(slots):
            exponent[k] = -np.inf
            if index[m, k] < 0:
                break
            apart = offset[m, k, 0] ** 2 + offset[m, k, 1] ** 2
            value = -spatial_rate * apart - 0.5 * _square_distance(query[m], keys[index[m, k]])
            if np.isfinite(value):
                exponent[k] = value
                highest = max(highest, value)
        if highest == -np.inf:
            continue
        total = 0.0
        for k in range(slots):
            if index[m, k] < 0:
                break
            total += np.exp(exponent[k] - highest)
        for k in range(slots):
            if index[m, k] < 0:
                break
            weight[m, k] = np.exp(exponent[k] - highest) / total
