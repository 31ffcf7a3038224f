"""Files of evidence cells as they are stored: which there are, and what the seal of each says.

Belongs here: listing, and the first row of a metrics file. Does not: which cells are asked for or done, writing
(`cell_files.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.parquet as pq

from warehouse.errors import SourceChangedError, SourceMissingError
from warehouse.file_access import list_paths, open_input, read_all
from warehouse.file_paths import FilePath
from warehouse.layout import CELL_FILES, PartitionKey, cell_path
from warehouse.provenance import decode_footer

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
        schema_version: of the form that its files are stored in.
    """

    run_id: str
    status: str
    schema_version: int | None


def list_cell_files(root: FilePath, table: str, key: PartitionKey) -> list[FilePath]:
    """List the cell files of a table and year, by name."""
    return list_paths(cell_path(root, table, key.require_year(), "any").parent, CELL_FILES)


def slot_of(path: FilePath) -> str:
    """Give the name of a cell's files without its frame."""
    return path.stem.removeprefix("cell-")


def read_seal(path: FilePath) -> Seal | None:
    """Read the seal of a cell; None where there is no file, no row, a file of another make, or one that is replaced."""
    names = ["run_id", "status"]
    try:
        with pq.ParquetFile(open_input(path)) as file:
            if not set(names) <= set(file.schema_arrow.names):
                return None
            rows = file.read(columns=names).slice(0, 1).to_pylist()
            version = decode_footer(file.schema_arrow.metadata).get("schema_version")
    except (FileNotFoundError, SourceMissingError, SourceChangedError):
        return None
    return Seal(str(rows[0]["run_id"]), str(rows[0]["status"]), version) if rows else None


def read_seals(root: FilePath, key: PartitionKey, table: str = SEAL_TABLE) -> dict[str, Seal]:
    """Read the seals of all cells of a year, by slot; `table` is the one that seals them."""
    paths = list_cell_files(root, table, key)
    seals = zip(paths, read_all(root, read_seal, paths), strict=True)
    return {slot_of(path): seal for path, seal in seals if seal is not None}
