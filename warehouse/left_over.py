"""Files of years, areas and tables that the settings no longer ask for: finding them, and dropping them.

What a source no longer lists is not among them: it cannot be read again, and a bucket may lack a file for a day. Where
shards are files (`shard_rule = "file"`) that cannot be told from an area that became smaller, and they are among them.

Belongs here: which stored partitions nobody asks for, removing their files. Does not: partitions that are asked for and
are not current (`partition_states.py`), the lock of a run (`run_lock.py`), keys of Dagster.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from warehouse.cell_seals import SEAL_TABLE
from warehouse.file_access import list_paths, remove_files, size_of
from warehouse.file_paths import FilePath
from warehouse.layout import CELL_FILES, PART_FILE, PartitionKey, is_table_name, parse_partition
from warehouse.lineage import Lineage
from warehouse.store import Warehouse


@dataclass(frozen=True)
class LeftOver:
    """One stored partition that the settings do not ask for.

    Attributes:
        table: its table; the settings may not know it any more.
        key: which partition.
        files: its files: one, or one a cell.
        n_bytes: their size.
    """

    table: str
    key: PartitionKey
    files: tuple[FilePath, ...]
    n_bytes: int


def find_left_over(warehouse: Warehouse, lineage: Lineage) -> list[LeftOver]:
    """List what is stored and not wanted, by table and key.

    Args:
        warehouse: the warehouse; its indexes and shards are those of the settings as they are now.
        lineage: of the same.

    Returns:
        Partitions of dropped years, shards, products, labels and operators; also evidence of such years.
    """
    files: dict[tuple[str, PartitionKey], list[FilePath]] = {}
    for pattern in (PART_FILE, CELL_FILES):
        for path in list_paths(warehouse.root, f"*/**/{pattern}"):
            table, *folders = path.parts[len(warehouse.root.parts) :]
            if is_table_name(table):
                files.setdefault((table, parse_partition(PurePosixPath(*folders))), []).append(path)
    return [
        LeftOver(table, key, tuple(files[table, key]), sum(map(size_of, files[table, key])))
        for table, key in sorted(files, key=lambda one: (one[0], str(one[1])))
        if not lineage.is_wanted(table, key)
    ]


def drop(left_over: Sequence[LeftOver], root: FilePath) -> None:
    """Remove partitions, and the folders that this leaves empty; stopped half-way, the rest is found again.

    Seals of cells go first: one must never stand on a part of its cell.

    Args:
        left_over: from `find_left_over`.
        root: of the warehouse.
    """
    for one in sorted(left_over, key=lambda one: one.table != SEAL_TABLE):
        for path in one.files:
            remove_files([path])
            if isinstance(path, Path):  # a store has no folders
                _remove_empty(path.parent, root)


def _remove_empty(folder: Path, root: FilePath) -> None:
    """Remove a folder and those above it, up to the root, as long as they are empty."""
    while folder != root:
        with contextlib.suppress(OSError):  # not empty, or gone
            folder.rmdir()
        if folder.exists():
            return
        folder = folder.parent
