"""Files of years, areas and tables that the settings no longer ask for: finding them, and dropping them.

What a source no longer lists is not among them: it cannot be read again, and a bucket may lack a file for a day.

Belongs here: which stored partitions nobody asks for, removing their files. Does not: partitions that are asked for and
are not current (`partition_states.py`), the lock of a run (`run_lock.py`), keys of Dagster.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.cell_seals import SEAL_TABLE
from warehouse.layout import PART_FILE, PartitionKey, is_table_name, parse_partition
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
    files: tuple[Path, ...]
    n_bytes: int


def find_left_over(warehouse: Warehouse, lineage: Lineage) -> list[LeftOver]:
    """List what is stored and not wanted, by table and key.

    Args:
        warehouse: the warehouse; its indexes and shards are those of the settings as they are now.
        lineage: of the same.

    Returns:
        Partitions of dropped years, shards, products, labels and operators; also evidence of such years.
    """
    return [found for table in _stored_tables(warehouse.root) for found in _of_table(warehouse, lineage, table)]


def drop(left_over: Sequence[LeftOver], root: Path) -> None:
    """Remove partitions, and the folders that this leaves empty; stopped half-way, the rest is found again.

    Seals of cells go first: one must never stand on a part of its cell.

    Args:
        left_over: from `find_left_over`.
        root: of the warehouse.
    """
    for one in sorted(left_over, key=lambda one: one.table != SEAL_TABLE):
        for path in one.files:
            path.unlink(missing_ok=True)
            _remove_empty(path.parent, root)


def _stored_tables(root: Path) -> Iterator[str]:
    """List the folders that are named like a table."""
    yield from sorted(path.name for path in root.iterdir() if path.is_dir() and is_table_name(path.name))


def _of_table(warehouse: Warehouse, lineage: Lineage, table: str) -> Iterator[LeftOver]:
    folder = warehouse.root / table
    files: dict[PartitionKey, list[Path]] = {}
    for pattern in (PART_FILE, "cell-*.parquet"):
        for path in folder.rglob(pattern):
            files.setdefault(parse_partition(path.relative_to(folder)), []).append(path)
    for key in sorted(files, key=str):
        if not lineage.is_wanted(table, key):
            found = tuple(sorted(files[key]))
            yield LeftOver(table, key, found, sum(path.stat().st_size for path in found))


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it, up to the root, as long as they are empty."""
    while folder != root:
        with contextlib.suppress(OSError):  # not empty, or gone
            folder.rmdir()
        if folder.exists():
            return
        folder = folder.parent
