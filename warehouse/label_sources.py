"""Labels at the places of a warehouse, from a raster or from a column of a product's own table.

Belongs here: one contract for both kinds of label source. Does not: Arrow rows (`transforms/label_rows.py`),
raster access (`sources/label_geotiff.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import geohash
from transforms.alignment import match_keys, take_or
from transforms.label_rows import GivenSplit, footprint_cells, no_split, single_class
from transforms.labels import PatchLabels, summarize_patches
from transforms.places import PatchPlaces, PixelPlaces
from warehouse.errors import MissingColumnsError, SourceFormatError
from warehouse.provenance import Provenance, SourceFile
from warehouse.sections import LabelSettings
from warehouse.sources.files import is_simulated_glob, stat_file
from warehouse.sources.label_geotiff import LabelRaster
from warehouse.sources.patch_geoparquet import read_patch_file
from warehouse.sources.patches import file_paths
from warehouse.sources.pixel_table import read_points
from warehouse.store import Warehouse

#: Footprints sampled at once; bounds memory at 1,024 cells each.
_PATCHES_AT_ONCE = 4_096


class LabelSource(Protocol):
    """What every kind of label source offers."""

    class_names: tuple[str, ...]
    is_simulated: bool

    def label_pixels(self, places: PixelPlaces) -> tuple[npt.NDArray[np.int16], GivenSplit]:
        """Give the class id of each pixel, -1 without a label, and the published split."""
        ...

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Summarise the labels in each footprint, and give the published split."""
        ...

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        ...


@runtime_checkable
class SampledLabels(LabelSource, Protocol):
    """A source that has a class at any point, so that it says what is where inside a patch."""

    def sample_classes(self, lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
        """Give the class id at points, -1 without a label, in the shape of `lon`."""
        ...


def open_label_source(warehouse: Warehouse, name: str) -> LabelSource:
    """Open the label source of that name in the settings."""
    settings = warehouse.label(name)
    if settings.kind == "geotiff":
        return RasterLabels(warehouse, name, settings)
    return ColumnLabels(warehouse, name, settings)


class RasterLabels:
    """Class codes in rasters of any CRS; the class of a place is that of the cell that holds it."""

    def __init__(self, warehouse: Warehouse, name: str, settings: LabelSettings) -> None:
        assert settings.path is not None  # the settings demand it for this kind
        self._settings = settings
        self._name = name
        self._classes = warehouse.class_map(name)
        self._raster = LabelRaster(settings.path)
        self.class_names = self._classes.names
        self.is_simulated = is_simulated_glob(settings.path)

    def label_pixels(self, places: PixelPlaces) -> tuple[npt.NDArray[np.int16], GivenSplit]:
        """Give the class at each pixel centre."""
        return self.sample_classes(places.lon, places.lat), no_split(len(places))

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Summarise the classes at the centres of each footprint's own 10 m cells."""
        parts = [
            self.sample_classes(
                *footprint_cells(places.take(np.arange(start, min(start + _PATCHES_AT_ONCE, len(places)))))
            )
            for start in range(0, max(len(places), 1), _PATCHES_AT_ONCE)
        ]
        ids = np.concatenate(parts)
        return summarize_patches(ids, self._classes.n_classes), no_split(len(places))

    def sample_classes(self, lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
        """Give the class of the cell that holds each point."""
        codes = self._raster.sample(lon.ravel(), lat.ravel())
        return self._classes.to_ids(codes).reshape(lon.shape)

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        files = [SourceFile(path.name, _etag(path)) for path in self._raster.paths]
        return _label_provenance(self._name, self._settings, files, inputs, is_simulated=self.is_simulated)


@dataclass(frozen=True)
class _LabelledRows:
    """Rows of a product's own table: place key, class id, published split."""

    key: npt.NDArray[np.uint64]
    ids: npt.NDArray[np.int16]
    split: GivenSplit


class ColumnLabels:
    """Classes in a column of a product's own table; places are matched by key."""

    def __init__(self, warehouse: Warehouse, name: str, settings: LabelSettings) -> None:
        assert settings.product is not None  # the settings demand it for this kind
        self._warehouse = warehouse
        self._name = name
        self._settings = settings
        self._product = warehouse.products[settings.product]
        self._index = warehouse.read(f"raw_{settings.product}__index")
        self.class_names = tuple(settings.classes)
        self.is_simulated = warehouse.is_simulated(self._index)

    def label_pixels(self, places: PixelPlaces) -> tuple[npt.NDArray[np.int16], GivenSplit]:
        """Give the class of the row at each place."""
        return self._match(places.pixel_id)

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Give the class of the row at each place; the whole footprint has it."""
        ids, split = self._match(places.patch_id)
        return single_class(ids, len(self.class_names)), split

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        files = self._warehouse.source_files(self._index)
        return _label_provenance(self._name, self._settings, files, inputs, is_simulated=self.is_simulated)

    def _match(self, keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int16], GivenSplit]:
        rows = self._rows
        slot = match_keys(keys, rows.key)
        split = GivenSplit(take_or(rows.split.fold, slot, -1), take_or(rows.split.group, slot, -1))
        return take_or(rows.ids, slot, -1), split

    @cached_property
    def _rows(self) -> _LabelledRows:
        """Read the label columns of all files of the product, the first row of a place wins."""
        parts = [self._read_file(path) for path in file_paths(self._warehouse.source(self._product.name), self._index)]
        key = np.concatenate([part.key for part in parts])
        _, first = np.unique(key, return_index=True)
        fold = np.concatenate([part.split.fold for part in parts])[first]
        group = np.concatenate([part.split.group for part in parts])[first]
        return _LabelledRows(key[first], np.concatenate([part.ids for part in parts])[first], GivenSplit(fold, group))

    def _read_file(self, path: Path) -> _LabelledRows:
        if self._product.grain == "patch":
            file = read_patch_file(path, self._product)
            key, extra = geohash.encode(file.footprints.lon, file.footprints.lat), file.extra
        else:
            points, extra = read_points(path, self._product)
            key = geohash.pixel_keys(points.lon, points.lat, points.epsg)
        columns = [self._settings.column, self._settings.fold_column, self._settings.group_column]
        missing = [name for name in columns if name is not None and name not in extra.column_names]
        if missing:
            raise MissingColumnsError(str(path), missing, extra.column_names, f"Correct labels.{self._name}.")
        ids = self._class_ids(extra[str(self._settings.column)], path)
        fold = _whole_numbers(extra, self._settings.fold_column).astype(np.int16)
        group = _whole_numbers(extra, self._settings.group_column).astype(np.int32)
        return _LabelledRows(key, ids, GivenSplit(fold, group))

    def _class_ids(self, column: pa.ChunkedArray, path: Path) -> npt.NDArray[np.int16]:
        by_value = {value: number for number, value in enumerate(self._settings.classes.values())}
        values = column.to_pylist()
        ids = np.array([by_value.get(value, -1) for value in values], np.int16)
        if any(value is not None for value in values) and (ids < 0).all():
            raise SourceFormatError(
                str(path),
                f"label column '{self._settings.column}'",
                f"values {sorted({str(value) for value in values})[:10]}",
                list(by_value),
                f"Correct labels.{self._name}.classes.",
            )
        return ids


def _whole_numbers(table: pa.Table, column: str | None) -> npt.NDArray[np.int64]:
    """Read a column of whole numbers, -1 where it is NULL or not asked for."""
    if column is None:
        return np.full(table.num_rows, -1, np.int64)
    return table[column].cast(pa.int64()).fill_null(-1).to_numpy()


def _etag(path: Path) -> str:
    facts = stat_file(path)
    return facts.etag if facts is not None else ""


def _label_provenance(
    name: str,
    settings: LabelSettings,
    files: Sequence[SourceFile],
    inputs: Sequence[str],
    *,
    is_simulated: bool,
) -> Provenance:
    return Provenance(
        product=name,
        release=settings.title or name,
        licence="",
        attribution=(settings.attribution,) if settings.attribution else (),
        is_simulated=is_simulated,
        sources=tuple(files),
        inputs=tuple(inputs),
    )
