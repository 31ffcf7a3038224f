"""Classes and numbers from columns of a product's own table.

Belongs here: matching the rows of the table to places by key. Does not: reading the tables
(`warehouse/sources/pixel_table.py`, `patch_geoparquet.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import geohash
from transforms.alignment import match_keys, take_or
from transforms.label_rows import GivenSplit, single_class
from transforms.labels import NODATA_ID, PatchLabels
from transforms.places import PatchPlaces, PixelPlaces
from warehouse.errors import MissingColumnsError, SourceFormatError
from warehouse.file_paths import FilePath
from warehouse.labels.contract import label_provenance, name_values
from warehouse.provenance import Provenance
from warehouse.sources.patch_geoparquet import read_patch_file
from warehouse.sources.patches import file_paths
from warehouse.sources.pixel_table import read_points
from warehouse.store import Warehouse

Keys = npt.NDArray[np.uint64]
Scalar = TypeVar("Scalar", bound=np.generic)


class TableRows:
    """Label columns of all files of a product; the first row of a place wins, files by path.

    Args:
        warehouse: the warehouse.
        name: the label source.
    """

    def __init__(self, warehouse: Warehouse, name: str) -> None:
        self._warehouse = warehouse
        self._name = name
        self._settings = warehouse.label(name)
        assert self._settings.product is not None  # the settings demand it for this kind
        self._product = warehouse.products[self._settings.product]
        self._index = warehouse.read(f"raw_{self._product.name}__index")
        self.is_simulated = warehouse.is_simulated(self._product, self._index)

    def read(self, columns: Sequence[str], decode: Callable[[pa.Table, FilePath], npt.NDArray[Scalar]]) -> TableValues:
        """Read what each place has.

        Args:
            columns: columns that `decode` needs.
            decode: turns the rows of a file into an array, one row a place.

        Raises:
            MissingColumnsError: a file lacks a column; all that are missing are named.
        """
        keys, values, folds, groups = [], [], [], []
        for key, extra, path in self._files(columns):
            keys.append(key)
            values.append(decode(extra, path))
            folds.append(_whole_numbers(extra, self._settings.fold_column).astype(np.int16))
            groups.append(_whole_numbers(extra, self._settings.group_column).astype(np.int32))
        joined = np.concatenate(keys)
        unique, first = np.unique(joined, return_index=True)
        split = GivenSplit(np.concatenate(folds)[first], np.concatenate(groups)[first])
        return TableValues(unique, np.concatenate(values)[first], split)

    def provenance(self, inputs: Sequence[str], notes: Sequence[str] = ()) -> Provenance:
        """Describe rows that carry these labels."""
        files = self._warehouse.source_files(self._index)
        return label_provenance(self._warehouse, self._name, files, inputs, is_simulated=self.is_simulated, notes=notes)

    def _files(self, columns: Sequence[str]) -> Iterator[tuple[Keys, pa.Table, FilePath]]:
        """Give place keys and other columns of each file, after checking that the columns are there."""
        wanted = [*columns, self._settings.fold_column, self._settings.group_column]
        for path in file_paths(self._warehouse.source(self._product.name), self._index):
            if self._product.grain == "patch":
                file = read_patch_file(path, self._product)
                key, extra = geohash.encode(file.footprints.lon, file.footprints.lat), file.extra
            else:
                points, extra = read_points(path, self._product)
                key = geohash.pixel_keys(points.lon, points.lat, points.epsg)
            missing = [name for name in wanted if name is not None and name not in extra.column_names]
            if missing:
                raise MissingColumnsError(str(path), missing, extra.column_names, f"Correct labels.{self._name}.")
            yield key, extra, path


class TableValues:
    """What the rows of a product's table say, by place.

    Args:
        key: uint64 (n,), unique.
        values: (n, ...), one row a place.
        split: the published split of the rows.
    """

    def __init__(self, key: Keys, values: npt.NDArray[np.generic], split: GivenSplit) -> None:
        self._key, self._values, self._split = key, values, split

    def at(self, keys: Keys, nodata: float) -> tuple[npt.NDArray[np.generic], GivenSplit]:
        """Give the values and the split at places; `nodata` where the table has no row."""
        slot = match_keys(keys, self._key)
        split = GivenSplit(take_or(self._split.fold, slot, -1), take_or(self._split.group, slot, -1))
        return take_or(self._values, slot, nodata), split


class ColumnLabels:
    """Classes in a column of a product's own table."""

    def __init__(self, warehouse: Warehouse, name: str) -> None:
        self._name = name
        self._settings = warehouse.label(name)
        self._table = TableRows(warehouse, name)
        self._notes: list[str] = []
        self.class_names = tuple(self._settings.classes)
        self.is_simulated = self._table.is_simulated

    def label_pixels(self, places: PixelPlaces) -> tuple[npt.NDArray[np.int16], GivenSplit]:
        """Give the class of the row at each place."""
        ids, split = self._rows.at(places.pixel_id, NODATA_ID)
        return ids.astype(np.int16), split

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Give the class of the row at each place; the whole footprint has it."""
        ids, split = self._rows.at(places.patch_id, NODATA_ID)
        return single_class(ids.astype(np.int16), len(self.class_names)), split

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        return self._table.provenance(inputs, self._notes)

    @cached_property
    def _rows(self) -> TableValues:
        column = str(self._settings.column)
        return self._table.read([column], lambda rows, path: self._class_ids(rows[column], path))

    def _class_ids(self, column: pa.ChunkedArray, path: FilePath) -> npt.NDArray[np.int16]:
        by_value = {value: number for number, value in enumerate(self._settings.classes.values())}
        values = column.to_pylist()
        ids = np.array([by_value.get(value, NODATA_ID) for value in values], np.int16)
        if any(value is not None for value in values) and (ids < 0).all():
            raise SourceFormatError(
                str(path),
                f"label column '{self._settings.column}'",
                f"values {sorted({str(value) for value in values})[:10]}",
                list(by_value),
                f"Correct labels.{self._name}.classes.",
            )
        strangers = {value for value, number in zip(values, ids, strict=True) if number < 0 and value is not None}
        if strangers:
            count = sum(value in strangers for value in values)
            named = name_values(sorted(strangers, key=str))
            self._notes.append(
                f"{path.name}: {count} of {len(ids)} rows have a '{self._settings.column}' without a class ({named}): "
                "no label"
            )
        return ids


class ColumnValues:
    """Numbers in columns of a pixel product's own table: targets of regression."""

    def __init__(self, warehouse: Warehouse, name: str) -> None:
        self._columns = warehouse.label(name).columns
        self._name = name
        self._table = TableRows(warehouse, name)
        self.is_simulated = self._table.is_simulated

    def value_pixels(self, places: PixelPlaces) -> tuple[npt.NDArray[np.float32], GivenSplit]:
        """Give the numbers of the row at each place: float32 (n, v), NaN where there is none."""
        values, split = self._rows.at(places.pixel_id, np.nan)
        return values.astype(np.float32), split

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these numbers."""
        return self._table.provenance(inputs)

    @cached_property
    def _rows(self) -> TableValues:
        return self._table.read(self._columns, self._stack)

    def _stack(self, rows: pa.Table, path: FilePath) -> npt.NDArray[np.float32]:
        """Stack the columns of a file: float32 (n, v); NULL and infinite numbers become NaN."""
        strangers = [f"{name} ({rows[name].type})" for name in self._columns if not _is_number(rows[name].type)]
        if strangers:
            raise SourceFormatError(
                str(path), f"columns of labels.{self._name}", strangers, "numbers", "Name other columns."
            )
        numbers = [rows[name].cast(pa.float32()).fill_null(np.nan).to_numpy() for name in self._columns]
        stacked = np.stack(numbers, axis=1)
        return np.where(np.isfinite(stacked), stacked, np.float32(np.nan))


def _is_number(kind: pa.DataType) -> bool:
    # a column of a file that is NULL throughout has no type of its own
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _whole_numbers(table: pa.Table, column: str | None) -> npt.NDArray[np.int64]:
    """Read a column of whole numbers, -1 where it is NULL or not asked for."""
    if column is None:
        return np.full(table.num_rows, -1, np.int64)
    return table[column].cast(pa.int64()).fill_null(-1).to_numpy()
