"""Reading partitions by table name and key.

Belongs here: finding and reading stored files into Arrow. Does not: SQL (`catalog.py`), source files
(`sources/`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import (
    ModelsDifferError,
    PartitionMissingError,
    SourceChangedError,
    SourceMissingError,
    StoredTableError,
)
from warehouse.file_access import is_there, list_names, open_input, pin
from warehouse.file_paths import FilePath
from warehouse.layout import CELL_FILES, PART_FILE, PartitionKey, check_table_name, parse_partition, partition_path
from warehouse.provenance import decode_footer
from warehouse.table_spec import TableSpec

#: How often a file in an object store is begun again because somebody has replaced it under the reader.
_REPLACED_TRIES = 3


def has_partition(root: FilePath, table: str, key: PartitionKey) -> bool:
    """Tell whether a partition is stored."""
    return is_there(partition_path(root, table, key))


def list_partitions(root: FilePath, table: str) -> list[PartitionKey]:
    """List the stored partitions of a table, sorted."""
    folder = root / check_table_name(table)
    names = list_names(folder, f"**/{PART_FILE}")
    return sorted((parse_partition(PurePosixPath(name)) for name in names), key=str)


def read_partition(
    root: FilePath,
    spec: TableSpec,
    key: PartitionKey,
    columns: Sequence[str] | None = None,
    where: Mapping[str, str] | None = None,
) -> pa.Table:
    """Read one partition.

    Args:
        root: the warehouse.
        spec: the table.
        key: the partition.
        columns: names to read; None = all declared ones.
        where: only rows with these texts, by column; row groups that cannot hold them are not read.

    Returns:
        Arrow table with the declared columns, in stored order.

    Raises:
        PartitionMissingError: it is not stored.
    """
    path = partition_path(root, spec.name, key)
    try:
        return _read_file(path, spec, columns, where or {})
    except (FileNotFoundError, SourceMissingError) as error:
        raise PartitionMissingError(spec.name, str(key)) from error


def read_partitions(
    root: FilePath,
    spec: TableSpec,
    keys: Iterable[PartitionKey],
    columns: Sequence[str] | None = None,
    where: Mapping[str, str] | None = None,
) -> pa.Table:
    """Read partitions into one table, with `year` and `shard` columns where the table is partitioned by them.

    Arguments are those of `read_partition`.

    Returns:
        Arrow table; empty (with the right types) where `keys` is empty.

    Raises:
        PartitionMissingError: one of them is not stored.
    """
    names = list(columns) if columns is not None else spec.schema.names
    tables = [_with_key(read_partition(root, spec, key, names, where), spec, key) for key in keys]
    if not tables:
        empty = pa.table({name: pa.array([], spec.schema.field(name).type) for name in names})
        return _with_key(empty, spec, PartitionKey(0, ""))
    return pa.concat_tables(tables)


def read_cells(root: FilePath, spec: TableSpec, year: int) -> pa.Table:
    """Read all evidence cells of a year (empty where there are none)."""
    tables = list(iterate_cells(root, spec, year))
    return pa.concat_tables(tables) if tables else spec.schema.empty_table()


def iterate_cells(root: FilePath, spec: TableSpec, year: int) -> Iterator[pa.Table]:
    """Read the evidence cells of a year, one after the other, by file name."""
    folder = root / spec.name / f"year={year}"
    for name in list_names(folder, CELL_FILES):
        yield _read_file(folder / name, spec, None, {})


def read_footer(path: FilePath) -> dict[str, Any]:
    """Read the provenance record of a stored file."""
    return decode_footer(pq.read_schema(open_input(path)).metadata)


def vectors(table: pa.Table, column: str) -> npt.NDArray[Any]:
    """Give a fixed-size list column as a 2-D array (n, dims); float columns get NaN rows for null vectors.

    Elements keep their stored order: the list is never exploded.
    """
    array = table[column].combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], table.schema.field(column).type)
    dims = array.type.list_size
    if array.null_count:
        filled = np.full((len(array), dims), np.nan, dtype=np.float32)
        present = np.asarray(array.is_valid())
        filled[present] = array.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dims)
        return filled
    return array.flatten().to_numpy(zero_copy_only=False).reshape(-1, dims)


def _read_file(path: FilePath, spec: TableSpec, columns: Sequence[str] | None, where: Mapping[str, str]) -> pa.Table:
    """Read declared columns of one file; again from its beginning if it is replaced meanwhile.

    Raises:
        FileNotFoundError, SourceMissingError: there is none.
        StoredTableError: the file is damaged, or of another schema version.
        ModelsDifferError: its vectors are of another model or grid than the table's.
    """
    names = list(columns) if columns is not None else spec.schema.names
    for _ in range(_REPLACED_TRIES):
        with contextlib.suppress(SourceChangedError):
            return _read_version(pin(path), spec, names, where)
    return _read_version(pin(path), spec, names, where)


def _read_version(path: FilePath, spec: TableSpec, names: list[str], where: Mapping[str, str]) -> pa.Table:
    """Read columns of one version of a file; on a disk an open file stays what it was."""
    wanted = pa.schema([spec.schema.field(name) for name in names])
    try:
        opened = open_input(path)  # once: a remote file remembers its footer
        stored = pq.read_schema(opened)
        _check_release(path, spec, stored)
        missing = sorted({*names, *where} - set(stored.names))
        if missing:
            raise StoredTableError(spec.name, str(path), f"found no columns {missing}, expected the declared ones")
        filters = [(name, "==", text) for name, text in where.items()] or None
        # partitioning=None: the path's Hive keys must not come back as columns
        table = pq.read_table(opened, columns=names, filters=filters, partitioning=None)
        return table.select(names).replace_schema_metadata(None).cast(wanted)
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise StoredTableError(spec.name, str(path), str(error).splitlines()[0]) from error


def _check_release(path: FilePath, spec: TableSpec, stored: pa.Schema) -> None:
    """Refuse a partition of another release: rows that are read together must be of one model on one grid.

    Raises:
        ModelsDifferError: model or grid differ.
    """
    release = decode_footer(stored.metadata).get("release", "")
    if spec.release and release and release != spec.release:
        raise ModelsDifferError(
            f"{spec.name} ({path})", release, spec.release,
            "If the settings are right, write this partition again with `isthmus run`; else give the other model an "
            "entry of its own in [products.<name>].",
        )  # fmt: skip


def _with_key(table: pa.Table, spec: TableSpec, key: PartitionKey) -> pa.Table:
    if "year" in spec.partition_by:
        table = table.append_column("year", pa.array(np.full(table.num_rows, key.year, np.int32)))
    if "shard" in spec.partition_by:
        table = table.append_column("shard", pa.array([key.shard] * table.num_rows, pa.string()))
    return table
