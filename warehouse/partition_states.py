"""Which partitions of a warehouse are current, stale, missing, failed or left over, and why.

Belongs here: comparing what is stored with what should be. Does not: what a partition follows from (`lineage.py`),
running anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any

from transforms.release_wording import say_names
from warehouse.cell_files import CellFiles
from warehouse.cell_seals import SUCCESS, Seal, read_seals
from warehouse.file_access import read_all
from warehouse.fingerprints import describe_changes, fingerprint_in
from warehouse.layout import PartitionKey
from warehouse.left_over import LeftOver, find_left_over
from warehouse.lineage import Lineage, read_record
from warehouse.reader import has_partition
from warehouse.store import Warehouse
from warehouse.study import list_cells

#: Why a partition is withdrawn, and what becomes of it: nothing writes it again, and what follows reads it.
_WITHDRAWN = "the source no longer lists a file for it: it stays as it is stored, and is read"
#: Scores of the cells of an adapter: its seals.
_ADAPTER_SCORES = "out_probe__adapters"
#: Table of a year that is written after its cells, with their fingerprints in its own.
_SUMMARY_OF = {
    "out_probe__metrics": "out_probe__contrasts",
    "out_probe__confusions": "out_probe__contrasts",
    "out_probe__sums": "out_probe__contrasts",
    "out_probe__predictions": "out_probe__contrasts",
    "out_probe__adapters": "out_probe__adapter_gains",
    "out_probe__adapter_confusions": "out_probe__adapter_gains",
}


class PartitionState(Enum):
    """How a partition stands to what the settings ask for."""

    CURRENT = "current"
    STALE = "stale"
    MISSING = "missing"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"
    LEFT_OVER = "left over"


@dataclass(frozen=True)
class PartitionStatus:
    """One partition and its state.

    Attributes:
        table: its table.
        key: which partition.
        state: how it stands.
        reasons: why it is not current, in words.
    """

    table: str
    key: PartitionKey
    state: PartitionState
    reasons: tuple[str, ...] = ()


class PartitionStates:
    """States of the partitions of a warehouse.

    What follows from the settings, indexes and shards is worked out once; what is stored is looked up at each question.

    Args:
        warehouse: the warehouse; its indexes and shards are stored.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.lineage = Lineage(warehouse)

    def survey(self) -> Iterator[PartitionStatus]:
        """Give the state of every partition that is asked for, then of others that are stored.

        Raises:
            PartitionMissingError: indexes or shards are not stored yet.
        """
        for table in self.lineage.recipes:
            keys = self.lineage.keys(table)
            if table in _SUMMARY_OF:
                yield from (self._cells_status(table, key) for key in keys)
                continue
            records = read_all(self._warehouse.root, partial(read_record, self._warehouse, table), keys)
            yield from (self._judge(table, key, record) for key, record in zip(keys, records, strict=True))
        yield from self._withdrawn()
        for one in self.left_over():
            yield PartitionStatus(one.table, one.key, PartitionState.LEFT_OVER, (self._why_left_over(one.key),))

    def status(self, table: str, key: PartitionKey) -> PartitionStatus:
        """Give the state of one partition that is asked for."""
        if table in _SUMMARY_OF:
            return self._cells_status(table, key)
        return self._judge(table, key, read_record(self._warehouse, table, key))

    def _judge(self, table: str, key: PartitionKey, record: Mapping[str, Any]) -> PartitionStatus:
        """Compare what a stored partition says of itself with what is expected."""
        if not record and not has_partition(self._warehouse.root, table, key):
            return PartitionStatus(table, key, PartitionState.MISSING)
        stored, expected = fingerprint_in(record), self.lineage.expected(table, key)
        changes = describe_changes(stored, expected)
        if stored is not None and stored.files != expected.files:
            changes += self._say_left_out(record)
        return PartitionStatus(table, key, PartitionState.STALE if changes else PartitionState.CURRENT, changes)

    def _say_left_out(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the files that a stored partition was made from and that a run will do without."""
        index = f"raw_{record.get('product')}__index"
        if index not in self._warehouse.specs:
            return ()
        listed = set(self._warehouse.read(index)["path"].to_pylist())
        gone = sorted({one["path"] for one in record["sources"]} - listed)
        return (f"no longer listed, and so left out: {say_names(gone)}",) if gone else ()

    def is_current(self, table: str, key: PartitionKey) -> bool:
        """Tell whether a partition need not be written again."""
        return self.status(table, key).state is PartitionState.CURRENT

    def _cells_status(self, table: str, key: PartitionKey) -> PartitionStatus:
        """Give the state of the cells of a year: that of the table that sums them up, if all cells are there."""
        summary = self.status(_SUMMARY_OF[table], key)
        if table.startswith("out_probe__adapter"):
            seals = read_seals(self._warehouse.root, key, _ADAPTER_SCORES)
            return self._older_cells(table, key, seals) or replace(summary, table=table)
        seals = read_seals(self._warehouse.root, key)
        files = CellFiles(self._warehouse, key.require_year())
        asked = {files.slot(cell) for cell in list_cells(self._warehouse)}
        absent = len(asked - set(seals))
        if absent:
            return PartitionStatus(table, key, PartitionState.MISSING, (f"{absent} of {len(asked)} cells",))
        failed = sum(seal.status not in SUCCESS for seal in seals.values())
        if failed:
            return PartitionStatus(table, key, PartitionState.FAILED, (f"{failed} of {len(asked)} cells",))
        if set(seals) != asked:
            return PartitionStatus(table, key, PartitionState.STALE, ("cells are stored that are not asked for",))
        return self._older_cells(table, key, seals) or replace(summary, table=table)

    def _older_cells(self, table: str, key: PartitionKey, seals: Mapping[str, Seal]) -> PartitionStatus | None:
        """Call the cells of a year stale where some are stored in another form than the table has now."""
        version = self._warehouse.specs[table].schema_version
        older = sum(seal.schema_version != version for seal in seals.values())
        if not older:
            return None
        reason = f"the form that {older} of {len(seals)} cells are stored in was changed"
        return PartitionStatus(table, key, PartitionState.STALE, (reason,))

    def _withdrawn(self) -> Iterator[PartitionStatus]:
        """List what is stored and wanted, and has no source files any more."""
        for table in self.lineage.recipes:
            if self._warehouse.specs[table].is_cells:
                continue
            for key in self._warehouse.stored_partitions(table):
                if not self.lineage.is_asked(table, key) and self.lineage.is_wanted(table, key):
                    yield PartitionStatus(table, key, PartitionState.WITHDRAWN, (_WITHDRAWN,))

    def _why_left_over(self, key: PartitionKey) -> str:
        """Say why nobody asks for a partition; shards that are files go with their files."""
        is_file = self._warehouse.settings.area.shard_rule == "file" and key.shard is not None
        if is_file and key.shard not in {shard.key for shard in self._warehouse.shards()}:
            return "no file of this name is listed: the area leaves it out, or the source no longer has it"
        return "the settings do not ask for it"

    def left_over(self) -> list[LeftOver]:
        """List what is stored and not asked for."""
        return find_left_over(self._warehouse, self.lineage)
