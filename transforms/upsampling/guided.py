"""What guided upsamplers share: patches around a point, weighted by how much their guide resembles the point's.

Belongs here: from a point and its guide to weights and vectors. Does not: neighbourhoods and weights themselves
(`neighbours.py`), how a guide is embedded (`joint_bilateral.py`, `attention.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.upsampling.bilinear import interpolate
from transforms.upsampling.inputs import as_points
from transforms.upsampling.neighbours import guided_weights, iterate_chunks
from transforms.upsampling.requirements import require_guide
from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]


class GuidedUpsampler(BaseEstimator):
    """Base of upsamplers whose vectors are convex combinations of patch vectors, weighted by a guide.

    Attributes:
        operator: name in the registry.
        vectors_: float32 (n, d), patch vectors.
        rows_: the lattice of the patches that have a vector.
        guide_width_: width of the guide.
        keys_: float32 (n, e), embedded guides of the patches; None where the guide is not used.
        spatial_sigma_: spatial bandwidth, pitches.
        min_support: see `bilinear_weights`.
    """

    operator: ClassVar[str]
    vectors_: Float32Array
    rows_: RowLattice
    guide_width_: int
    keys_: Float32Array | None
    spatial_sigma_: float
    min_support: float

    @abstractmethod
    def _embed(self, guide: Float32Array) -> Float32Array:
        """Bring guides, float32 (m, g), into the space of `keys_`: float32 (m, e); NaN rows stay NaN."""

    def weigh(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None
    ) -> tuple[Int32Array, Float32Array]:
        """Give the patches around points and their weights, with which any vectors of these patches go up.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: float32 (m, g), guiding vectors at the points.

        Returns:
            (index int32 (m, s), weight float32 (m, s)) for `interpolate`; all weights 0 where there is no vector.

        Raises:
            ShapeError: there is no guide, or its shape does not agree.
        """
        check_is_fitted(self)
        u, v = as_points(points_u, points_v)
        query = require_guide(self.operator, guide, len(u), self.guide_width_)
        if self.keys_ is not None:
            query = self._embed(query)
        return guided_weights(
            self.rows_, u, v, query, self.keys_, spatial_sigma=self.spatial_sigma_, min_support=self.min_support
        )

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give vectors at points, convex combinations of patch vectors.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: float32 (m, g), guiding vectors at the points.

        Returns:
            float32 (m, d); NaN where support is too small or the guide is NaN.

        Raises:
            ShapeError: there is no guide, or its shape does not agree.
        """
        check_is_fitted(self)
        u, v = as_points(points_u, points_v)
        query = require_guide(self.operator, guide, len(u), self.guide_width_)
        out = np.empty((len(u), self.vectors_.shape[1]), np.float32)
        for part in iterate_chunks(len(u)):
            out[part] = interpolate(self.vectors_, *self.weigh(u[part], v[part], query[part]))
        return out
