"""Features of pooled arms whose codebook is fitted: one codebook per fold, from pixels of its training patches.

Belongs here: which pixels a codebook may see, and pooling with it. Does not: operators (`transforms/pooling/`), the
codebook that is stored for maps and search (`assets/bases.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import shapely

from transforms.alignment import match_keys
from transforms.cell_features import FoldFeatures
from transforms.errors import TooFewUnitsError
from transforms.places import PatchPlaces, footprint_polygons
from transforms.pooling.codebook import fit_codebook
from transforms.pooling.operators import features
from transforms.pooling.pixels import Codebook
from warehouse.fields import read_pixel_vectors, read_spine
from warehouse.pixel_pooling import pool_places
from warehouse.store import Warehouse, evaluate_settings

FloatMatrix = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PooledInFold:
    """Features of one fitted pooling operator at labelled patches.

    The codebook is fitted on sampled pixels inside the footprints of the training patches; then the pixels of all
    patches are read once more and pooled with it.

    Attributes:
        warehouse: the warehouse.
        year: embedding year.
        operator: key of the registry.
        patch_id: uint64 (n,), the labelled patches.
    """

    warehouse: Warehouse
    year: int
    operator: str
    patch_id: npt.NDArray[np.uint64]

    @property
    def threads(self) -> int | None:
        """One fold at a time: each reads the rasters."""
        return 1

    def of_fold(self, fold: int, train: Int64Array, test: Int64Array) -> FoldFeatures:
        """Fit a codebook on the training patches of a fold, and pool both parts with it.

        Raises:
            TooFewUnitsError: too few sampled pixels lie in training patches, or a patch cannot be pooled.
        """
        settings = self.warehouse.settings
        codebook = fit_codebook(
            self._pixels_in(train), settings.pool.codebook_size, evaluate_settings(self.warehouse).seed
        )
        values = self._pool(codebook)
        used = np.concatenate([train, test])
        missing = int((~np.isfinite(values[used]).all(axis=1)).sum())
        if missing:
            raise TooFewUnitsError(
                f"vectors of {self.operator} in fold {fold}", f"none at {missing} of {len(used)} patches",
                "one at every patch", "Leave the operator out, or raise the coverage of the pixel product.",
            )  # fmt: skip
        return FoldFeatures(values[train], values[test], codebook)

    @cached_property
    def _places(self) -> PatchPlaces:
        spine = read_spine(self.warehouse)
        return spine.take(match_keys(self.patch_id, spine.patch_id))

    def _pixels_in(self, chosen: Int64Array) -> FloatMatrix:
        """Give the vectors of the sampled pixels inside the footprints of chosen patches."""
        product = self.warehouse.pixel_product
        assert product is not None  # the arm is listed only with pixels
        keys = self.warehouse.partitions(f"core_{product.name}__pixels", year=self.year)
        places, vectors, _ = read_pixel_vectors(self.warehouse, product, keys, window=False)
        tree = shapely.STRtree(footprint_polygons(self._places.take(chosen)))
        point, _ = tree.query(shapely.points(places.lon, places.lat), predicate="intersects")
        inside = vectors[np.unique(point)]
        return inside[np.isfinite(inside).all(axis=1)]

    def _pool(self, codebook: Codebook) -> FloatMatrix:
        product = self.warehouse.pixel_product
        assert product is not None  # the arm is listed only with pixels
        parameters = replace(self.warehouse.settings.pool.parameters(), codebooks={self.operator: codebook})
        values: FloatMatrix | None = None
        for part in pool_places(self.warehouse, product, self.year, self._places, (self.operator,), parameters):
            found = features(part.columns, self.operator)
            if values is None:
                values = np.full((len(self.patch_id), found.shape[1]), np.nan, np.float32)
            values[part.index] = found
        return values if values is not None else np.full((len(self.patch_id), 1), np.nan, np.float32)
