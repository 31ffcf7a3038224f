"""Classes of BigEarthNet at the patches of a product.

Belongs here: matching its patches to places, official splits as folds. Does not: its files
(`warehouse/sources/bigearthnet.py`), its classes (`transforms/bigearthnet.py`).

A patch is matched by name where the product's ids are names of BigEarthNet patches, else by its centre, which must lie
in a BigEarthNet patch: that needs the footprints of v1. Labels say which classes a patch holds, not how much of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from transforms.alignment import take_or
from transforms.bigearthnet import CLASSES_19, CLASSES_43, flag_classes
from transforms.block_folds import DROPPED, TRAIN_ONLY
from transforms.label_rows import GivenSplit, no_split, present_classes
from transforms.labels import PatchLabels
from transforms.places import PatchPlaces
from transforms.utm import project
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.labels.contract import file_sources, label_provenance
from warehouse.products import Product
from warehouse.provenance import Provenance
from warehouse.sources.bigearthnet import PATCH_M, BigEarthNetPatches, read_bigearthnet
from warehouse.sources.files import is_simulated_glob
from warehouse.store import Warehouse

#: What an official part does: only the test part is tested. Validation joins training, because everything that is tuned
#: here is tuned by folds inside the training part.
FOLD_OF_PART = {"test": 0, "train": TRAIN_ONLY, "validation": TRAIN_ONLY}


class BigEarthNetLabels:
    """Multi-label classes of BigEarthNet patches, 19 or 43.

    Raises:
        SourceFormatError: 43 classes are asked for, but the files have 19.
    """

    def __init__(self, warehouse: Warehouse, name: str) -> None:
        settings = warehouse.label(name)
        assert settings.path is not None  # the settings demand it for this kind
        self._warehouse = warehouse
        self._name = name
        self._path = settings.path
        self._patches = _read(settings.path, settings.lists, tuple(warehouse.label_versions(name)))
        if settings.nomenclature > self._patches.n_classes:
            raise SourceFormatError(
                str(settings.path), "classes", self._patches.n_classes, settings.nomenclature,
                f"The metadata of v2 have 19 classes: set labels.{name}.nomenclature = 19, or use the folders of v1.",
            )  # fmt: skip
        self.class_names = CLASSES_19 if settings.nomenclature == len(CLASSES_19) else CLASSES_43
        self._is_used = self._patches.is_clear | settings.keep_snow_and_cloud
        self.is_simulated = is_simulated_glob(settings.path)

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Give the classes of the BigEarthNet patch that each place is, or stands in."""
        slot = self._match(places)
        flags = flag_classes(self._patches.labels, len(self.class_names)) & self._is_used[:, None]
        is_present = take_or(flags, slot, False)
        fold = take_or(_official_folds(self._patches), slot, DROPPED)
        fold[~is_present.any(axis=1)] = DROPPED
        return present_classes(is_present), GivenSplit(fold, no_split(len(places)).group)

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        patches = self._patches
        notes = []
        if not self._is_used.all():
            count = int((~self._is_used).sum())
            notes.append(f"{count} patches with snow, cloud or shadow were left out, as published")
        bare = int((self._is_used & ~flag_classes(patches.labels, len(self.class_names)).any(axis=1)).sum())
        if bare:
            notes.append(f"{bare} patches have none of the {len(self.class_names)} classes: no label")
        side_m = self._product.patch_m or 0.0
        if not self._named and not PATCH_M / 2 <= side_m <= PATCH_M * 2:
            notes.append(f"labels of {PATCH_M:.0f} m patches stand at patches of {side_m:.0f} m: other ground")
        files = file_sources([self._path] if self._path.is_file() else [])
        return label_provenance(self._warehouse, self._name, files, inputs, is_simulated=self.is_simulated, notes=notes)

    def _match(self, places: PatchPlaces) -> npt.NDArray[np.int64]:
        """Give the position of the BigEarthNet patch at each place, -1 without one.

        Raises:
            SourceMissingError: the product's ids are no patch names, and there are no footprints.
        """
        by_name = self._named
        if by_name:
            return np.array([by_name.get(key, -1) for key in places.patch_id.tolist()], np.int64)
        if not self._patches.boxes:
            raise SourceMissingError(
                f"labels.{self._name}", f"no patch name among the ids of '{self._product.name}', and no footprints",
                "one of them",
                f"Set products.{self._product.name}.id_column to the column with BigEarthNet's patch names.",
            )  # fmt: skip
        return _find_boxes(self._patches, places)

    @property
    def _product(self) -> Product:
        product = self._warehouse.patch_product
        assert product is not None  # patches are labelled only with a patch product
        return product

    @cached_property
    def _named(self) -> dict[int, int]:
        """Give the position of the BigEarthNet patch by place key, for the places whose id is a patch name."""
        position = {name: number for number, names in enumerate(self._patches.names) for name in names}
        table = f"core_{self._product.name}__patches"
        rows = self._warehouse.read_many(table, self._warehouse.partitions(table), ["patch_id", "source_id"])
        ids = zip(rows["patch_id"].to_pylist(), rows["source_id"].to_pylist(), strict=True)
        return {key: position[name] for key, name in ids if name in position}


def _official_folds(patches: BigEarthNetPatches) -> npt.NDArray[np.int16]:
    """Turn the official parts into folds: 0 = tested, -2 = trained on, -1 = in no part."""
    return np.array([FOLD_OF_PART.get(part, DROPPED) for part in patches.split.tolist()], np.int16)


def _find_boxes(patches: BigEarthNetPatches, places: PatchPlaces) -> npt.NDArray[np.int64]:
    """Find the patch that holds each centre; where patches of two zones or tiles do, the first by name."""
    zones = np.array([box.epsg for box in patches.boxes])
    found = np.full(len(places), len(patches), np.int64)
    for zone in np.unique(zones):
        members = np.flatnonzero(zones == zone)
        corners = np.array([[b.west, b.south, b.east, b.north] for b in (patches.boxes[k] for k in members)])
        x, y = (np.asarray(values) for values in project(places.lon, places.lat, int(zone)))
        usable = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        tree = shapely.STRtree(shapely.box(*corners.T))
        point, box = tree.query(shapely.points(x[usable], y[usable]))
        np.minimum.at(found, usable[point], members[box])
    return np.where(found < len(patches), found, -1)


@lru_cache(maxsize=1)
def _read(path: Path, lists: Path | None, versions: tuple[tuple[str, str], ...]) -> BigEarthNetPatches:
    """Read the patches once for all shards: half a million files take minutes."""
    return read_bigearthnet(path, lists)
