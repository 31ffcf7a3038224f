"""Where the files of a catalogue are: below a folder, or behind a URL.

Belongs here: which tables have files, their patterns in SQL, how DuckDB reaches them. Does not: views (`catalog.py`).
"""

from __future__ import annotations

import glob
from pathlib import Path

import duckdb

from transforms.errors import IsthmusError
from warehouse.file_paths import FilePath
from warehouse.objects.sql_filesystem import ListedFilesystem
from warehouse.sql_files import Text


class CatalogFiles:
    """The files of a warehouse for one connection.

    Args:
        root: the warehouse. One behind a URL is listed here, once.
    """

    def __init__(self, root: FilePath) -> None:
        self.root = root
        self._listed = None if isinstance(root, Path) else ListedFilesystem(root)

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read the files."""
        if self._listed is not None:
            connection.register_filesystem(self._listed)

    def has(self, pattern: str) -> bool:
        """Tell whether there is a file of a pattern."""
        if isinstance(self.root, Path):
            return next(self.root.glob(pattern), None) is not None
        return self._listed is not None and self._listed.has(pattern)

    def pattern(self, pattern: str) -> Text:
        """Give a pattern below the root as DuckDB takes it."""
        if not isinstance(self.root, Path):
            return Text(f"{self.root.url}/{pattern}")
        # DuckDB reads *, ? and [ in the root as a pattern too
        return Text(f"{glob.escape(self.root.resolve().as_posix())}/{pattern}")

    @property
    def failure(self) -> IsthmusError | None:
        """What a store said when a file was read; on a disk an open file stays what it was."""
        return self._listed.failure if self._listed is not None else None
