"""Opening the label sources of the settings.

Belongs here: which class serves which kind, and the look at its files that comes before (`Warehouse.label_versions`).
Does not: the kinds (`labels/`), Arrow rows (`transforms/label_rows.py`).
"""

from __future__ import annotations

from warehouse.labels.bigearthnet import BigEarthNetLabels
from warehouse.labels.columns import ColumnLabels, ColumnValues
from warehouse.labels.contract import PatchLabelSource, PixelLabelSource, SampledLabels, ValueSource
from warehouse.labels.rasters import RasterLabels
from warehouse.labels.vectors import PolygonLabels, open_vector_labels
from warehouse.store import Warehouse

_PIXEL_KINDS = {"geotiff": RasterLabels, "vector": open_vector_labels, "column": ColumnLabels}
_PATCH_KINDS = {**_PIXEL_KINDS, "bigearthnet": BigEarthNetLabels}


def open_pixel_labels(warehouse: Warehouse, name: str) -> PixelLabelSource:
    """Open a source that names the class of pixels (`Warehouse.labels_pixels` tells whether it does)."""
    warehouse.label_versions(name)
    return _PIXEL_KINDS[warehouse.label(name).kind](warehouse, name)


def open_patch_labels(warehouse: Warehouse, name: str) -> PatchLabelSource:
    """Open a source that names the classes of patches (`Warehouse.labels_patches` tells whether it does)."""
    warehouse.label_versions(name)
    return _PATCH_KINDS[warehouse.label(name).kind](warehouse, name)


def open_sampled_labels(warehouse: Warehouse, name: str) -> SampledLabels | None:
    """Open a source that has a class at any point, so that it says what is where inside a patch; None for others."""
    warehouse.label_versions(name)
    kind = warehouse.label(name).kind
    if kind == "geotiff":
        return RasterLabels(warehouse, name)
    if kind == "vector":
        found = open_vector_labels(warehouse, name)
        return found if isinstance(found, PolygonLabels) else None
    return None


def open_values(warehouse: Warehouse, name: str) -> ValueSource:
    """Open a source of numbers at pixels."""
    warehouse.label_versions(name)
    return ColumnValues(warehouse, name)
