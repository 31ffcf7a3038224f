"""Files of evidence cells: which are done, which are stale, and writing one so that a kill cannot halve it.

A cell has one file per table, named by the hash of its slot (settings, label, task, scheme, arm, probe, budget,
purity). `run_id` in its rows is the fingerprint of everything that the scores depend on: a cell is done if its file has
the current fingerprint and no failure. The metrics file is written last, so it says that the others are whole.

Belongs here: names, fingerprints, writing, removing. Does not: what a cell computes (`study.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.cells import Cell
from warehouse.layout import partition_path
from warehouse.provenance import Provenance
from warehouse.reader import read_footer
from warehouse.sections import KeepWindow
from warehouse.store import Warehouse, evaluate_settings
from warehouse.task_data import TaskData

#: Raised when the same inputs give other scores than before: all cells run again.
EVALUATION_VERSION = 2
#: Tables that a cell leaves rows in; the last one seals the cell.
CELL_TABLES = ("out_probe__confusions", "out_probe__sums", "out_probe__predictions", "out_probe__metrics")
_SEAL = "out_probe__metrics"
_SUCCESS = ("ok", "diagnostic")


def hash_of(content: Any) -> str:
    """Hash something that JSON can spell, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def ground_facts(warehouse: Warehouse, year: int) -> dict[str, Any]:
    """List what all cells of a year share: products, files, stored features, labels and settings."""
    settings = evaluate_settings(warehouse)
    return {
        "version": EVALUATION_VERSION,
        "year": year,
        "compare": warehouse.settings.compare.model_dump(),
        "evaluate": settings.model_dump(exclude={"tasks", "schemes"}),
        "pool": warehouse.settings.pool.model_dump(exclude={"operators"}),
        "label": warehouse.label(settings.label).model_dump(mode="json", exclude={"path"}),
        "files": [
            sorted(zip(index["path"].to_pylist(), index["etag"].to_pylist(), strict=True))
            for index in (warehouse.read(f"raw_{name}__index") for name in warehouse.settings.sources)
        ],
        "products": [product.model_dump(mode="json") for product in warehouse.products.values()],
        "features": _feature_versions(warehouse),
    }


def ground_of(facts: Mapping[str, Any], data: TaskData | None, folds: pa.Table) -> str:
    """Hash what the cells of a task and scheme share: the facts of the year, the task's units, and their folds.

    Folds of other schemes are left out: one that is added must not make all cells run again.
    """
    return hash_of({**facts, "units": data.fingerprint() if data is not None else None, "folds": _hash_table(folds)})


def _feature_versions(warehouse: Warehouse) -> list[tuple[str, str, str]]:
    """List the stored tables that features are read from, with the version of the code that wrote each partition."""
    pixels, patches = warehouse.pixel_product, warehouse.patch_product
    tables = [f"core_{p.name}__{'patches' if p.grain == 'patch' else 'pixels'}" for p in (pixels, patches) if p]
    if pixels and patches:
        tables += [f"out_patch__{pixels.name}_pooled", f"out_pixel__{patches.name}_upsampled"]
    return [
        (table, str(key), str(read_footer(partition_path(warehouse.root, table, key)).get("code_version")))
        for table in tables
        if table in warehouse.specs
        for key in warehouse.partitions(table)
    ]


def fingerprint_of(ground: str, cell: Cell, windows: Sequence[KeepWindow] = ()) -> str:
    """Give the `run_id` of a cell on some ground.

    Args:
        ground: from `ground_of`.
        cell: the cell.
        windows: that it maps; none where it leaves no maps.
    """
    if not windows:
        return f"{ground}-{hash_of(asdict(cell))}"
    return f"{ground}-{hash_of([asdict(cell), [window.model_dump() for window in windows]])}"


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
        path = self._path(_SEAL, self.slot(cell))
        found = _first_row(path) if path.is_file() else {}
        return found.get("run_id") == fingerprint and found.get("status") in _SUCCESS

    def write(self, cell: Cell, tables: Mapping[str, pa.Table], provenance: Provenance) -> None:
        """Replace the files of a cell; tables that it has no rows for lose theirs."""
        slot = self.slot(cell)
        # the seal goes first and comes last: a kill in between must not leave an old seal on new counts
        for table in [_SEAL, *(table for table in CELL_TABLES if table not in tables)]:
            self._path(table, slot).unlink(missing_ok=True)
        for table in [table for table in CELL_TABLES if table in tables]:
            self.warehouse.write_cell(table, self.year, slot, tables[table], provenance)

    def drop_stale(self, fingerprints: Mapping[Cell, str]) -> None:
        """Remove cells that no longer hold: of other ground, without a seal, or no longer asked for.

        Args:
            fingerprints: of what is asked for, as it would be scored now.
        """
        wanted = {self.slot(cell): fingerprint for cell, fingerprint in fingerprints.items()}
        kept = set()
        for path in self._folder(_SEAL).glob("cell-*.parquet"):
            slot = _slot_of(path)
            if slot in wanted and _first_row(path).get("run_id") == wanted[slot]:
                kept.add(slot)
        for table in CELL_TABLES:
            self.warehouse.drop_cells(table, self.year, keep=kept)

    def _path(self, table: str, slot: str) -> Path:
        return self.warehouse.cell(table, self.year, slot)

    def _folder(self, table: str) -> Path:
        return self._path(table, "any").parent


def _slot_of(path: Path) -> str:
    return path.stem.removeprefix("cell-")


def _first_row(path: Path) -> dict[str, Any]:
    """Read what the first row of a metrics file says of its cell; nothing where it has none."""
    names = ["run_id", "status"]
    present = [name for name in names if name in pq.read_schema(path).names]
    rows = pq.ParquetFile(path).read(columns=present).slice(0, 1).to_pylist()
    return dict(rows[0]) if rows and present == names else {}


def _hash_table(table: pa.Table) -> str:
    """Hash the rows of a table, whatever its chunks."""
    digest = hashlib.sha256()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    digest.update(sink.getvalue())
    return digest.hexdigest()
