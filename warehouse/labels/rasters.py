"""Classes from rasters.

Belongs here: sampling a class raster at pixels and in footprints. Does not: raster access
(`warehouse/sources/label_geotiff.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.label_rows import GivenSplit, footprint_cells, no_split
from transforms.labels import PatchLabels, summarize_patches
from transforms.places import PatchPlaces, PixelPlaces
from warehouse.labels.contract import SampledLabels, check_ground, file_sources, label_provenance, name_values
from warehouse.provenance import Provenance
from warehouse.sources.files import is_simulated_glob
from warehouse.sources.label_geotiff import OUTSIDE, LabelRaster
from warehouse.store import Warehouse

#: Footprints sampled at once; bounds memory at 4,096 cells each.
PATCHES_AT_ONCE = 1_024

FloatArray = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int16]


class RasterLabels:
    """Class codes in rasters of any CRS; the class of a place is that of the cell that holds it.

    Raises:
        SourceContentError: no tile touches the area of interest.
    """

    def __init__(self, warehouse: Warehouse, name: str) -> None:
        settings = warehouse.label(name)
        assert settings.path is not None  # the settings demand it for this kind
        self._warehouse = warehouse
        self._name = name
        self._classes = warehouse.class_map(name)
        self._raster = LabelRaster(settings.path)
        self._n_cells = 0
        self._strangers: Counter[int] = Counter()
        self.class_names = self._classes.names
        self.is_simulated = is_simulated_glob(settings.path)
        check_ground(warehouse, name, settings.path, self._raster.bounds())

    def label_pixels(self, places: PixelPlaces) -> tuple[Ids, GivenSplit]:
        """Give the class at each pixel centre."""
        return self.sample_classes(places.lon, places.lat), no_split(len(places))

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Summarise the classes at the centres of each footprint's own 10 m cells."""
        return summarize_footprints(places, self), no_split(len(places))

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        files = file_sources(self._raster.paths)
        return label_provenance(
            self._warehouse, self._name, files, inputs, is_simulated=self.is_simulated, notes=self._describe_strangers()
        )

    def sample_classes(self, lon: FloatArray, lat: FloatArray) -> Ids:
        """Give the class of the cell that holds each point."""
        codes = self._raster.sample(lon.ravel(), lat.ravel())
        ids = self._classes.to_ids(codes)
        values, counts = np.unique(codes[(ids < 0) & (codes != OUTSIDE)], return_counts=True)
        self._strangers.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self._n_cells += len(codes)
        return ids.reshape(lon.shape)

    def _describe_strangers(self) -> list[str]:
        """Say which codes of the cells that were sampled have no class; declared nodata has none by right."""
        found = {code: count for code, count in self._strangers.items() if code not in self._raster.nodata_codes}
        if not found:
            return []
        share = sum(found.values()) / self._n_cells
        return [
            f"{share:.2%} of the sampled cells have a code without a class ({name_values(sorted(found))}), expected "
            f"{list(self._classes.codes)}: no label. Correct labels.{self._name}.classes if they should have one"
        ]


def summarize_footprints(places: PatchPlaces, source: SampledLabels) -> PatchLabels:
    """Summarise the classes at the centres of each footprint's own cells, some footprints at a time."""
    starts = range(0, max(len(places), 1), PATCHES_AT_ONCE)
    parts = [places.take(np.arange(start, min(start + PATCHES_AT_ONCE, len(places)))) for start in starts]
    ids = np.concatenate([source.sample_classes(*footprint_cells(part)) for part in parts])
    return summarize_patches(ids, len(source.class_names))
