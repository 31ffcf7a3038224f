"""Files of evidence cells: which are done, which are stale, and writing one so that a kill cannot halve it.

A cell has one file per table, named by the hash of its slot (settings, label, task, scheme, arm, probe, budget,
purity). `run_id` in its rows is the fingerprint of everything that the scores depend on: a cell is done if its file has
the current fingerprint and no failure. The metrics file is written last, so it says that the others are whole.

Belongs here: names, fingerprints, writing, removing. Does not: what a cell computes (`study.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from transforms.arms import Arm
from transforms.cells import Cell
from transforms.pooling.operators import POOLING_OPERATORS
from transforms.tasks import Task
from warehouse.cell_seals import SEAL_TABLE, SUCCESS, Seal, read_seal, read_seals
from warehouse.file_access import remove_files
from warehouse.file_paths import FilePath
from warehouse.fingerprints import hash_of
from warehouse.layout import PartitionKey
from warehouse.lineage import read_fingerprint
from warehouse.provenance import Provenance
from warehouse.recipes.settings import scoring
from warehouse.recipes.table import logic_of
from warehouse.sections import KeepWindow
from warehouse.store import Warehouse, evaluate_settings
from warehouse.task_data import TaskData

#: Tables that a cell leaves rows in; the last one seals the cell.
CELL_TABLES = ("out_probe__confusions", "out_probe__sums", "out_probe__predictions", SEAL_TABLE)


def ground_facts(warehouse: Warehouse, year: int, tasks: Collection[Task]) -> dict[Task, dict[str, Any]]:
    """List what all cells of a year and task share: settings and stored features, with what decides their values.

    Other years are among them only where changes between years are scored: next year's release must not run the cells
    of this one again.
    """
    read = {task: None if task == "T7" else year for task in tasks}
    features = {of_year: _feature_versions(warehouse, of_year) for of_year in set(read.values())}
    shared = {"version": logic_of(SEAL_TABLE), **scoring(warehouse, year)}
    return {task: {**shared, "features": features[of_year]} for task, of_year in read.items()}


def ground_of(facts: Mapping[str, Any], data: TaskData | None, folds: pa.Table) -> str:
    """Hash what the cells of a task and scheme share: the facts of the year, the task's units, and their folds.

    Folds of other schemes are left out: one that is added must not make all cells run again.
    """
    return hash_of({**facts, "units": data.fingerprint() if data is not None else None, "folds": _hash_table(folds)})


def _feature_versions(warehouse: Warehouse, year: int | None) -> list[tuple[str, str, str]]:
    """List the stored partitions that features of a year, or of all, are read from, with what decides their values."""
    pixels, patches = warehouse.pixel_product, warehouse.patch_product
    tables = [f"core_{p.name}__{'patches' if p.grain == 'patch' else 'pixels'}" for p in (pixels, patches) if p]
    if pixels and patches:
        tables += [f"out_patch__{pixels.name}_pooled", f"out_pixel__{patches.name}_upsampled"]
    stored = {
        (table, key): read_fingerprint(warehouse, table, key)
        for table in tables
        if table in warehouse.specs
        for key in warehouse.partitions(table, year=year)
    }
    return [(table, str(key), found.values if found else "") for (table, key), found in stored.items()]


def codebook_behind(warehouse: Warehouse, year: int, arm: Arm) -> str | None:
    """Give what decides the stored codebook that maps of an arm have their colours from; None where it needs none.

    Scores do not depend on it: folds have codebooks of their own.
    """
    pixels = warehouse.pixel_product
    if pixels is None or arm.family != "pooled" or not POOLING_OPERATORS[str(arm.operator)].is_fitted:
        return None
    found = read_fingerprint(warehouse, f"out_pixel__{pixels.name}_codebook", PartitionKey(year))
    return found.values if found is not None else "absent"


def fingerprint_of(ground: str, cell: Cell, windows: Sequence[KeepWindow] = (), codebook: str | None = None) -> str:
    """Give the `run_id` of a cell on some ground.

    Args:
        ground: from `ground_of`.
        cell: the cell.
        windows: that it maps; none where it leaves no maps.
        codebook: of the maps, from `codebook_behind`.
    """
    if not windows:
        return f"{ground}-{hash_of(asdict(cell))}"
    parts = [asdict(cell), [window.model_dump() for window in windows], *([codebook] if codebook is not None else [])]
    return f"{ground}-{hash_of(parts)}"


@dataclass(frozen=True)
class CellFiles:
    """The cell files of one settings file and year.

    Attributes:
        warehouse: the warehouse.
        year: embedding year.
    """

    warehouse: Warehouse
    year: int

    def slot(self, cell: Cell) -> str:
        """Name the files of a cell."""
        definition = asdict(cell)
        del definition["n_draws"]  # more draws replace fewer
        return hash_of([self.warehouse.settings.name, evaluate_settings(self.warehouse).label, definition])

    def is_done(self, cell: Cell, fingerprint: str) -> bool:
        """Tell whether a cell was scored on the same ground before."""
        seal = read_seal(self._path(SEAL_TABLE, self.slot(cell)))
        return seal is not None and self._holds(seal, fingerprint) and seal.status in SUCCESS

    def write(self, cell: Cell, tables: Mapping[str, pa.Table], provenance: Provenance) -> None:
        """Replace the files of a cell; tables that it has no rows for lose theirs."""
        slot = self.slot(cell)
        # the seal goes first and comes last: a kill in between must not leave an old seal on new counts
        absent = [table for table in CELL_TABLES if table not in tables]
        remove_files(self._path(table, slot) for table in [SEAL_TABLE, *absent])
        for table in [table for table in CELL_TABLES if table in tables]:
            self.warehouse.write_cell(table, self.year, slot, tables[table], provenance)

    def drop_stale(self, fingerprints: Mapping[Cell, str]) -> None:
        """Remove cells that no longer hold: of other ground or form, without a seal, or no longer asked for.

        Args:
            fingerprints: of what is asked for, as it would be scored now.
        """
        wanted = {self.slot(cell): fingerprint for cell, fingerprint in fingerprints.items()}
        seals = read_seals(self.warehouse.root, PartitionKey(self.year))
        kept = {slot for slot, seal in seals.items() if self._holds(seal, wanted.get(slot))}
        for table in reversed(CELL_TABLES):  # the seal first: a kill in between must not leave it on a part of a cell
            self.warehouse.drop_cells(table, self.year, keep=kept)

    def _holds(self, seal: Seal, fingerprint: str | None) -> bool:
        """Tell whether a cell was scored on this ground, and is stored in the form that its tables have now."""
        return seal.run_id == fingerprint and seal.schema_version == self.warehouse.specs[SEAL_TABLE].schema_version

    def _path(self, table: str, slot: str) -> FilePath:
        return self.warehouse.cell(table, self.year, slot)


def drop_cells(warehouse: Warehouse, key: PartitionKey) -> None:
    """Remove all cells of a year, those of an adapter too, so that they are run again."""
    tables = [table for table, spec in warehouse.specs.items() if spec.is_cells and table not in CELL_TABLES]
    for table in [*reversed(CELL_TABLES), *tables]:
        warehouse.drop_cells(table, key.require_year(), keep=())


def _hash_table(table: pa.Table) -> str:
    """Hash the rows of a table, whatever its chunks."""
    digest = hashlib.sha256()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    digest.update(sink.getvalue())
    return digest.hexdigest()
