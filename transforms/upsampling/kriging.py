"""Area-to-point kriging: the best linear guess of a field at a point from its means over footprints.

Belongs here: covariances of blocks and points, the estimate of their length, kriging weights and the upsampler. Does
not: lattices as rows (`rows.py`), the compiled loops (`kriging_loops.py`).

Formula (Kyriakidis 2004, eq. 11-15; Atkinson 2013, section 4), C the covariance of the field over distance, a bar the
average over a footprint, p the patches of a neighbourhood, x a point:

    [ C(bar_i, bar_j) + nugget   1 ] [ w  ]   [ C(x, bar_j) ]
    [ 1'                         0 ] [ mu ] = [ 1           ]         f(x) = sum_i w_i p_i

This is ordinary kriging: an unknown constant mean, so weights sum to 1 and a constant is kept. (Simple kriging, with
the mean known, scores the same to four digits in S3.) C is squared exponential, C(h) = exp(-h^2 / (2 l^2)) with l the
correlation length, the same for all dimensions, so that weights do not depend on the dimension. It is separable and
its averages over boxes are closed, with E(z) = l sqrt(pi/2) erf(z / (l sqrt 2)) and F its integral, along each axis:

    point-block  (E(d + s/2) - E(d - s/2)) / s          block-block  (F(d + s) - 2 F(d) + F(d - s)) / s^2

The neighbourhood of a point is that of the patch it is nearest to (nearest row first): all patches whose centroids
are less than `reach` + 1/2 pitches away along either axis: by default 7 x 7 patches of one lattice and 42 more of a
second one.

Two shares of the variance of a block are added to the diagonal, as noise of the patch vectors. `nugget` is the same for
all: two lattices leave unknown what they contradict each other about, and only noise bounds how far a contradiction is
carried. `edge_noise` times (t^2 / (1 - t^2))^2 grows with the share t of the way to the edge of the neighbourhood, so
that patches enter and leave it with no weight and no step is seen between neighbourhoods. The defaults are the least
that keep the centroid of impulse responses within 6 m of the patch centre on rows of any phase, for lengths of 0.2 to
8 sides (without edge noise, 1e-4 and 2 pitches: up to 40 m off). They cost up to 0.017 of the expected R2 of S3
(`design/evidence.md`, no noise) on one lattice and up to 0.041 on two: lower them where vectors are exact.

The length is given, or estimated from the patch vectors' own variogram, deregularised: of the lengths
`LENGTHS_IN_SIDES` the one whose block-averaged variogram, scaled, has the least squared error over the pairs of up
to 400 patches and their neighbours within 4 pitches. Where patches do not vary it is one side of a patch.

Rules for missing patches: they are not in the neighbourhood; a point has a vector where bilinear has (`min_support`),
else NaN. One patch alone gives its own vector.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling import kriging_loops
from transforms.upsampling.bilinear import MIN_SUPPORT, bilinear_weights, interpolate
from transforms.upsampling.footprints import patch_v, u_scale_m, v_scale_m
from transforms.upsampling.inputs import as_points, as_vectors, is_complete
from transforms.upsampling.nearest import nearest_index
from transforms.upsampling.requirements import training_patches
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]

#: Correlation lengths among which the estimate is chosen, in sides of a patch.
LENGTHS_IN_SIDES = np.geomspace(0.2, 8.0, 33)
#: The variogram is taken over this many patches, evenly spread, and their neighbours.
_VARIOGRAM_PATCHES = 400
_VARIOGRAM_REACH = 4
#: Rows of another lattice stand exactly half a pitch off: whether one counts must not hang on rounding.
_EDGE = 1e-3
#: A point with support is nearer than this to a patch, in sides.
_ANCHOR_SIDES = 2.0
#: Points whose weights are held at once: about 130 MB on two lattices.
_POINTS_AT_ONCE = 1 << 17
#: Width of a class of distances of the variogram, in sides of a patch.
_LAG_CLASS = 0.25


class KrigingUpsampler(BaseEstimator):
    """Ordinary area-to-point kriging with a squared-exponential covariance.

    Args:
        correlation_length_m: l of the formula; estimated from the patch vectors if not given.
        nugget: share of a block's variance that is added to the diagonal.
        edge_noise: share that is added besides at 0.7 of the way to the edge of the neighbourhood; 0 for none.
        reach: pitches from the nearest patch to the farthest one that counts, along either axis.
        min_support: see `bilinear_weights`.
    """

    def __init__(
        self,
        correlation_length_m: float | None = None,
        nugget: float = 0.1,
        edge_noise: float = 0.3,
        reach: int = 3,
        min_support: float = MIN_SUPPORT,
    ) -> None:
        self.correlation_length_m = correlation_length_m
        self.nugget = nugget
        self.edge_noise = edge_noise
        self.reach = reach
        self.min_support = min_support

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Take the patches, those with any NaN as missing, and estimate the correlation length if none is given.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: `is_training_patch` is used: the length is estimated on training ground.

        Returns:
            The upsampler, with `correlation_length_m_`.

        Raises:
            ShapeError: `vectors` do not match the lattice, or a parameter is out of range.
        """
        _check_above("nugget", self.nugget, "0.1 is the default.")
        if self.edge_noise < 0:
            raise ShapeError("edge_noise", self.edge_noise, "0 or above", "0.3 is the default.")
        _check_above("reach", self.reach, "3 is the default.")
        if self.correlation_length_m is not None:
            _check_above("correlation_length_m", self.correlation_length_m, "Leave it out to have it estimated.")
        self.vectors_ = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(self.vectors_))
        self.correlation_length_m_ = self.correlation_length_m or estimate_length_m(
            training_patches("area_to_point_kriging", self.rows_, training), self.vectors_
        )
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
        u, v = as_points(points_u, points_v)
        out = np.empty((len(u), self.vectors_.shape[1]), np.float32)
        for start in range(0, len(u), _POINTS_AT_ONCE):
            part = slice(start, start + _POINTS_AT_ONCE)
            out[part] = interpolate(self.vectors_, *self.weigh(u[part], v[part]))
        return out

    def weigh(self, points_u: npt.ArrayLike, points_v: npt.ArrayLike) -> tuple[Int32Array, Float32Array]:
        """Give patches and their kriging weights at points.

        Args:
            points_u: (m,), longitude or x.
            points_v: (m,), latitude or y.

        Returns:
            (index int32 (m, k), weight float32 (m, k)) with k the largest neighbourhood. Weights sum to 1, or are
            all 0 where support is too small. Unused slots: index -1, weight 0.
        """
        u, v = as_points(points_u, points_v)
        rows = self.rows_
        reach = self.reach + 0.5 - _EDGE
        slots = _most_neighbours(rows, reach)
        index, weight = np.full((len(u), slots), -1, np.int32), np.zeros((len(u), slots), np.float32)
        _, near, _ = bilinear_weights(rows, u, v, self.min_support)
        position = np.full(rows.n_patches + 1, -1, np.int64)
        position[rows.patch] = np.arange(len(rows.patch))
        anchor = position[nearest_index(rows, u, v, _ANCHOR_SIDES * rows.side_m)]
        used = np.flatnonzero((anchor >= 0) & near.any(axis=1))
        centre_v = patch_v(rows)
        kriging_loops.weigh_blocks(
            rows.along(u),
            v,
            anchor,
            used[np.argsort(anchor[used], kind="stable")],
            rows.patch,
            rows.u,
            centre_v,
            u_scale_m(rows, centre_v),
            v_scale_m(rows),
            rows.row_start,
            rows.row_v,
            rows.row_pitch_u,
            rows.lattice_start,
            rows.pitch_v,
            reach,
            rows.side_m,
            self.correlation_length_m_,
            self.nugget,
            self.edge_noise,
            index,
            weight,
        )
        return index, weight


def estimate_length_m(rows: RowLattice, vectors: Float32Array) -> float:
    """Estimate the correlation length of the field behind patch means, by the module's rule.

    Args:
        rows: the lattice of the patches that have vectors.
        vectors: float32 (n_patches, d).

    Returns:
        Metres, one of `LENGTHS_IN_SIDES`; one side where patches do not vary or have no neighbours.
    """
    x, y, half_square = _variogram_pairs(rows, vectors)
    if not len(x) or not half_square.any():
        return rows.side_m
    lag = np.floor(np.hypot(x, y) / (_LAG_CLASS * rows.side_m)).astype(np.int64)
    count = np.bincount(lag)
    classes = np.flatnonzero(count)
    found = np.bincount(lag, half_square)[classes] / count[classes]
    covariance, variance = np.empty(len(x)), np.empty(1)
    errors = []
    for length in LENGTHS_IN_SIDES * rows.side_m:
        kriging_loops.fill_block_covariances(x, y, rows.side_m, length, covariance)
        kriging_loops.fill_block_covariances(np.zeros(1), np.zeros(1), rows.side_m, length, variance)
        model = np.bincount(lag, variance[0] - covariance)[classes] / count[classes]
        scale = (found @ model) / (model @ model)
        errors.append(((found - scale * model) ** 2).sum())
    return float(LENGTHS_IN_SIDES[int(np.argmin(errors))] * rows.side_m)


def _variogram_pairs(rows: RowLattice, vectors: Float32Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Give offsets of pairs of patches in metres, and half their squared difference, mean over dimensions."""
    count = len(rows.patch)
    centre_v = patch_v(rows)
    scale = u_scale_m(rows, centre_v)
    around = np.empty(_most_neighbours(rows, _VARIOGRAM_REACH), np.int64)
    parts = []
    for a in np.unique(np.linspace(0, count - 1, _VARIOGRAM_PATCHES).astype(np.int64)) if count else []:
        found = kriging_loops.gather_neighbours(
            rows.u[a],
            centre_v[a],
            rows.u,
            rows.row_start,
            rows.row_v,
            rows.row_pitch_u,
            rows.lattice_start,
            rows.pitch_v,
            # a row that stands just there must not come and go with the last bit of its latitude
            _VARIOGRAM_REACH - _EDGE,
            around,
        )
        others = around[:found][around[:found] != a]
        gap = vectors[rows.patch[others]].astype(np.float64) - vectors[rows.patch[a]]
        x, y = (rows.u[others] - rows.u[a]) * scale[a], (centre_v[others] - centre_v[a]) * v_scale_m(rows)
        parts.append(np.stack([x, y, (gap**2).mean(axis=1) / 2]))
    x, y, half_square = np.concatenate(parts, axis=1) if parts else np.zeros((3, 0))
    return x, y, half_square


def _most_neighbours(rows: RowLattice, reach: float) -> int:
    """Give how many patches a neighbourhood can hold."""
    return rows.n_lattices * (int(np.floor(2 * reach)) + 2) ** 2


def _check_above(name: str, value: float, hint: str) -> None:
    if not value > 0:
        raise ShapeError(name, value, "above 0", hint)
