"""Objects below a URL as DuckDB reads them: a file system that it is given, so that no extension is needed.

Belongs here: names, sizes and open files of one listing. Does not: SQL (`catalog.py`), requests (`client.py`).

DuckDB's own S3 client would need the extension `httpfs` and credentials of its own, and has neither our retries nor our
cache. Everything comes from one listing: all queries of a connection see the same versions of all files, or an error.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from typing import Any

from fsspec import AbstractFileSystem

from transforms.errors import IsthmusError
from warehouse.file_paths import FileFacts, RemotePath
from warehouse.objects.globs import list_matches, matches
from warehouse.objects.remote_file import RemoteFile

#: DuckDB compares times of a file to see whether it has changed; here the version says so.
_NO_TIME = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


class ListedFilesystem(AbstractFileSystem):
    """The Parquet files below a root, as one listing saw them. Read-only.

    Args:
        root: a folder in a store.
    """

    cachable = False

    def __init__(self, root: RemotePath) -> None:
        super().__init__()
        self.protocol = root.scheme
        self._root = root
        self._files = list_matches(root, "**/*.parquet")
        #: Names by their first part, the table: a country has thousands, and each view asks for its own.
        self._names: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._files):
            self._names[name.partition("/")[0]].append(name)
        #: Why a file could not be read: DuckDB keeps only the text of an error.
        self.failure: IsthmusError | None = None

    def has(self, pattern: str) -> bool:
        """Tell whether the listing has a file of a pattern below the root."""
        return bool(self._find(pattern))

    def glob(self, path: str, **_: Any) -> list[str]:
        """List files by pattern, without their scheme."""
        prefix = self._bare(self._root.url)
        pattern = self._bare(path).removeprefix(f"{prefix}/")
        return [f"{prefix}/{name}" for name in self._find(pattern)]

    def _find(self, pattern: str) -> list[str]:
        table = pattern.partition("/")[0]
        return [name for name in self._names.get(table, []) if matches(name, pattern)]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Describe a file."""
        return {"name": path, "size": self._facts(path).size_bytes, "type": "file"}

    def modified(self, path: str) -> datetime.datetime:
        """Give the same time for each file of the listing."""
        self._facts(path)
        return _NO_TIME

    def open(self, path: str, mode: str = "rb", **_: Any) -> RemoteFile:
        """Open the version of the listing."""
        if mode != "rb":
            raise OSError(f"{path}: opened for '{mode}', and can only be read")
        place = self._root / self._name(path)
        return _WatchedFile(place.at(self._facts(path)), self)

    def _facts(self, path: str) -> FileFacts:
        name = self._name(path)
        if name not in self._files:
            raise FileNotFoundError(path)
        return self._files[name]

    def _name(self, path: str) -> str:
        return self._bare(path).removeprefix(f"{self._bare(self._root.url)}/")

    def _bare(self, url: str) -> str:
        return url.partition("://")[2] or url


class _WatchedFile(RemoteFile):
    """A file that tells its file system why it cannot be read."""

    def __init__(self, path: RemotePath, owner: ListedFilesystem) -> None:
        super().__init__(path)
        self._owner = owner

    def read(self, size: int | None = -1) -> bytes:
        """Read from the position on."""
        try:
            return super().read(size)
        except IsthmusError as error:
            self._owner.failure = error
            raise
