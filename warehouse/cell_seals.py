"""Files of evidence cells as they lie on the disk: which there are, and what the seal of each says.

Belongs here: listing, and the first row of a metrics file. Does not: which cells are asked for or done, writing
(`cell_files.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from warehouse.layout import PartitionKey, cell_path

#: Table whose file is written last: with it the others of a cell are whole.
SEAL_TABLE = "out_probe__metrics"
#: Statuses of a cell that went well.
SUCCESS = ("ok", "diagnostic")


@dataclass(frozen=True)
class Seal:
    """What a sealed cell says of itself.

    Attributes:
        run_id: fingerprint of everything that its scores depend on.
        status: `ok`, `diagnostic`, or why there are no scores.
    """

    run_id: str
    status: str


def list_cell_files(root: Path, table: str, key: PartitionKey) -> list[Path]:
    """List the cell files of a table and year, by name."""
    return sorted(cell_path(root, table, key.require_year(), "any").parent.glob("cell-*.parquet"))


def slot_of(path: Path) -> str:
    """Give the name of a cell's files without its frame."""
    return path.stem.removeprefix("cell-")


def read_seal(path: Path) -> Seal | None:
    """Read the seal of a cell; None where there is no file, no row, or a file of another make."""
    if not path.is_file():
        return None
    names = ["run_id", "status"]
    with pq.ParquetFile(path) as file:
        if not set(names) <= set(file.schema_arrow.names):
            return None
        rows = file.read(columns=names).slice(0, 1).to_pylist()
    return Seal(str(rows[0]["run_id"]), str(rows[0]["status"])) if rows else None


def read_seals(root: Path, key: PartitionKey) -> dict[str, Seal]:
    """Read the seals of all cells of a year, by slot."""
    seals = {slot_of(path): read_seal(path) for path in list_cell_files(root, SEAL_TABLE, key)}
    return {slot: seal for slot, seal in seals.items() if seal is not None}
