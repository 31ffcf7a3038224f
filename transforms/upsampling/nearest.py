"""The vector of the nearest patch, nearest row first.

Belongs here: nearest patches of points and the nearest upsampler. Does not: lattices as rows (`rows.py`), the cells
of rows (`footprints.py`).

A point takes one patch, never a blend: that is what users of `nearest` expect, what `nearest_patch_id` stores and
what the view `out_pixel__nearest` joins; all three use this rule. Like every operator here it goes by rows: of the
rows of all lattices the nearest one, and in that row the nearest patch. On a regular grid this is the nearest
centroid. On two lattices each patch owns a box, one pitch wide and half a row pitch high, that is centred on it at
every phase and latitude, so the centroid of its impulse response is the patch centre. The nearest centroid of two
lattices owns a cell that rows of other phases cut askew, and its centroid is up to 7.9 m off. The two rules differ at a
fifth of the points, near the corners of the boxes; a point's patch is then farther (6 m on average over all points, at
most 99 m: 179 m instead of 80 m), though its footprint holds the point in any case. That costs 0.026 of the expected
R2 of S3 (`design/evidence.md`, half a patch) on two lattices, nothing on one.

Rules for missing patches: the next nearest row's cell that holds the point (of another lattice); if all are
missing, the nearest centroid within `max_distance_m`; else none: -1, NaN.

Source: Burrough & McDonnell 1998, ch. 5 (nearest neighbours); the order of rows is ours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from sklearn.utils.validation import check_is_fitted

from transforms.lattice import EARTH_RADIUS_M
from transforms.upsampling.bilinear import interpolate
from transforms.upsampling.footprints import holding_cells, patch_v
from transforms.upsampling.inputs import as_points
from transforms.upsampling.interpolator import PatchInterpolator
from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]

#: Added to the half diagonal of a patch: footprints are UTM boxes, distances are on the sphere.
_NEAREST_TOLERANCE_M = 5.0


def nearest_index(
    rows: RowLattice, points_u: npt.ArrayLike, points_v: npt.ArrayLike, max_distance_m: float | None = None
) -> Int32Array:
    """Give the nearest patch, nearest row first; the rows of all lattices are candidates.

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
    u, v = as_points(points_u, points_v)
    limit = max_distance_m if max_distance_m is not None else rows.side_m / np.sqrt(2.0) + _NEAREST_TOLERANCE_M
    found = _nearest_cell(rows, u, v)
    lost = np.flatnonzero(found < 0)
    found[lost] = _nearest_centroid(rows, u[lost], v[lost], limit)
    u_of, v_of = np.zeros(rows.n_patches), np.zeros(rows.n_patches)
    u_of[rows.patch], v_of[rows.patch] = rows.u, patch_v(rows)
    gap = _to_metres(rows, u, v) - _to_metres(rows, u_of[found], v_of[found])
    # summed as a KD-tree does: a limit that the tree keeps is kept here
    return np.where((found >= 0) & ((gap**2).sum(axis=1) <= limit**2), found, -1).astype(np.int32)


class NearestUpsampler(PatchInterpolator):
    """The vector of the nearest patch, nearest row first.

    Args:
        max_distance_m: see `nearest_index`.
    """

    def __init__(self, max_distance_m: float | None = None) -> None:
        self.max_distance_m = max_distance_m

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
        index = nearest_index(self.rows_, points_u, points_v, self.max_distance_m)
        weight = (index >= 0).astype(np.float32)
        return interpolate(self.vectors_, index[:, None], weight[:, None])


def _nearest_cell(rows: RowLattice, u: Float64Array, v: Float64Array) -> Int32Array:
    """Give, of the cells that hold a point, one a lattice, the one whose row is nearest; -1 where all are missing."""
    cells = holding_cells(rows, u, v)
    row_v = np.full(rows.n_patches + 1, np.inf)
    row_v[rows.patch] = patch_v(rows)
    distance = np.abs(row_v[cells] - v[:, None])
    return cells[np.arange(len(cells)), distance.argmin(axis=1)]


def _nearest_centroid(rows: RowLattice, u: Float64Array, v: Float64Array, limit_m: float) -> Int32Array:
    """Give the patch with the nearest centroid; -1 where none is within `limit_m`."""
    if not len(rows.patch) or not len(u):
        return np.full(len(u), -1, np.int32)
    tree = cKDTree(_to_metres(rows, rows.u, patch_v(rows)))
    _, found = tree.query(_to_metres(rows, u, v), distance_upper_bound=limit_m)
    is_near = found < len(rows.patch)
    return np.where(is_near, rows.patch[np.where(is_near, found, 0)], -1).astype(np.int32)


def _to_metres(rows: RowLattice, u: Float64Array, v: Float64Array) -> Float64Array:
    """Give coordinates whose Euclidean distance is metres: (m, 3) on the sphere or (m, 2) in the plane."""
    if not rows.is_geographic:
        return np.stack([u, v], axis=1)
    lon, lat = np.radians(u), np.radians(v)
    ring = np.cos(lat)
    return EARTH_RADIUS_M * np.stack([ring * np.cos(lon), ring * np.sin(lon), np.sin(lat)], axis=1)
