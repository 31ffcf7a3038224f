"""Table names, partition keys and paths: the grammar of a warehouse folder.

`{root}/{table}/year={year}/shard={shard}/part.parquet`; a table leaves out the levels that it is not
partitioned by. Evidence cells are `{root}/{table}/year={year}/cell-{hash}.parquet`. The root is a folder or a URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath

from transforms.errors import ShapeError
from warehouse.file_paths import FilePath

_TABLE = re.compile(r"^(raw|core|out)_([a-z0-9]+(?:_[a-z0-9]+)*?)__([a-z]+(?:_[a-z0-9]+)*)$")
_SHARD = re.compile(r"^[A-Za-z0-9_.-]+$")
PART_FILE = "part.parquet"
CELL_FILES = "cell-*.parquet"


@dataclass(frozen=True, order=True)
class PartitionKey:
    """Which partition of a table; None where the table is not partitioned by that level."""

    year: int | None = None
    shard: str | None = None

    def __str__(self) -> str:
        return "|".join(str(part) for part in (self.year, self.shard) if part is not None) or "all"

    def require_year(self) -> int:
        """Give the year.

        Raises:
            ShapeError: the key has none.
        """
        if self.year is None:
            raise ShapeError("partition key", str(self), "a year", "Name the year to compute.")
        return self.year

    def folder(self) -> PurePosixPath:
        """Give the Hive-style path of the partition below its table."""
        path = PurePosixPath()
        if self.year is not None:
            path /= f"year={self.year}"
        if self.shard is not None:
            path /= f"shard={self.shard}"
        return path


ALL = PartitionKey()


def is_table_name(name: str) -> bool:
    """Tell whether a name follows `{raw|core|out}_{source}__{grain}`."""
    return _TABLE.fullmatch(name) is not None


def check_table_name(table: str) -> str:
    """Return the name if it follows `{raw|core|out}_{source}__{grain}`.

    Raises:
        ShapeError: it does not.
    """
    if not is_table_name(table):
        raise ShapeError("table name", table, "{raw|core|out}_{source}__{grain}", "Rename the product or table.")
    return table


def check_shard_key(shard: str) -> str:
    """Return the shard key if it is safe as a folder name and as a Dagster partition key.

    Raises:
        ShapeError: it is not.
    """
    if not _SHARD.fullmatch(shard):
        raise ShapeError("shard key", repr(shard), _SHARD.pattern, "Rename the region or source file.")
    return shard


def partition_path(root: FilePath, table: str, key: PartitionKey) -> FilePath:
    """Give the file of a partition."""
    return root / check_table_name(table) / key.folder() / PART_FILE


def cell_path(root: FilePath, table: str, year: int, cell: str) -> FilePath:
    """Give the file of one evidence cell, named by the hash of its definition."""
    return root / check_table_name(table) / f"year={year}" / f"cell-{cell}.parquet"


def parse_partition(path: PurePath) -> PartitionKey:
    """Read the key back from a partition's path (the inverse of `PartitionKey.folder`)."""
    values = dict(part.split("=", 1) for part in path.parts if "=" in part)
    year = values.get("year")
    return PartitionKey(int(year) if year is not None else None, values.get("shard"))
