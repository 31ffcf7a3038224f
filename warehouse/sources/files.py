"""Files of a source root: beside `file_access.py` the one place where source clients touch a disk or an object store.

Belongs here: listing, rows of an index, the mark of simulated data, opening Parquet with errors that help. Does not:
rasters (`rasters.py`), versions and sizes (`file_access.py`), what a file means (the client of its format).
"""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import SourceFormatError, SourceMissingError, SourceRefusedError
from warehouse.file_access import list_names, open_input, size_of
from warehouse.file_paths import FileFacts, FilePath, RemotePath
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client
from warehouse.provenance import decode_footer

#: A file of this name in a source root, or in a folder above it, says that the data are simulated.
SIMULATED_MARK = "SIMULATED.json"
_MARK_LEVELS = 6
#: Read at a time of a column that is only begun.
_PEEK_BYTES = 64 * 1024


def locate(root: FilePath, row: Mapping[str, Any]) -> FilePath:
    """Give the file of an index row; a remote one is bound to the version that the index saw.

    Args:
        root: source root.
        row: `path`, `size_bytes` and `etag` of the index; the latter are None for a file that was missing.

    Raises:
        SourceMissingError: a remote file was missing when the index was made. It may be there by now, but no version of
            it is known: header and blocks could be of two.
    """
    path = root / row["path"]
    if not isinstance(path, RemotePath):
        return path
    if row.get("etag") is None:
        raise SourceMissingError(
            str(path), "no such file when the index was made", "the file that the index lists",
            "Run again: the index is read anew. If the file was taken back, remove its row from the index.",
        )  # fmt: skip
    return path.at(FileFacts(row["size_bytes"], row["etag"]))


def list_files(root: FilePath, pattern: str) -> list[str]:
    """List files below `root` by glob, as sorted POSIX paths relative to it; hidden files are left out.

    Raises:
        SourceMissingError: `root` is not a folder.
        ListingRefusedError: `root` is on a server that has no listing.
    """
    if isinstance(root, Path) and not root.is_dir():
        raise SourceMissingError(
            f"source root {root}",
            "no such folder",
            "the folder with the product's files",
            "Set sources.*.root.",
        )
    names = list_names(root, pattern)
    return [n for n in names if not n.rpartition("/")[2].startswith(".") and not n.endswith(SIMULATED_MARK)]


def is_simulated_root(root: FilePath) -> bool:
    """Tell whether a root, or one of the six folders above it, carries the mark of simulated data."""
    if isinstance(root, RemotePath):
        places = [place / SIMULATED_MARK for place in [root, *root.parents][: _MARK_LEVELS + 1]]
        return fetch_loop.wait(_is_any_there(places))
    folder = root.resolve()
    return any((place / SIMULATED_MARK).is_file() for place in [folder, *folder.parents][: _MARK_LEVELS + 1])


async def _is_any_there(paths: Sequence[RemotePath]) -> bool:
    async def is_marked(path: RemotePath) -> bool:
        try:
            return await open_client(path).head(path.key) is not None
        except SourceRefusedError:  # buckets that may not be listed say so of what is not there
            return False

    return any(await asyncio.gather(*(is_marked(path) for path in paths)))


def is_simulated_glob(pattern: Path) -> bool:
    """Tell whether any file that a glob pattern matches is part of a simulated world."""
    found = (Path(name) for name in glob.glob(str(pattern), recursive=True))
    return any(is_simulated_root(path if path.is_dir() else path.parent) for path in found)


def is_simulated_parquet(path: FilePath) -> bool:
    """Tell whether Isthmus wrote a Parquet file from simulated data: its footer says so wherever the file goes.

    Raises:
        SourceMissingError, SourceFormatError: see `open_parquet`.
    """
    with open_parquet(path) as file:
        return bool(decode_footer(file.schema_arrow.metadata).get("is_simulated", False))


@contextmanager
def open_parquet(path: FilePath, *, peeks: bool = False) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Args:
        path: the file.
        peeks: only first rows are read, so columns are streamed; otherwise a remote file is read in long ranges.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: it is not Parquet, or is damaged.
        SourceChangedError, SourceRefusedError, SourceUnavailableError: a server does not give its bytes.
    """
    with parquet_errors(path):
        if isinstance(path, RemotePath):
            reading = {"buffer_size": _PEEK_BYTES} if peeks else {"pre_buffer": True}
            with pq.ParquetFile(open_input(path), **reading) as file:
                yield file
        else:
            with pq.ParquetFile(path) as file:
                yield file


@contextmanager
def parquet_errors(path: FilePath) -> Iterator[None]:
    """Turn what Arrow raises on a missing or damaged file into source errors.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: the bytes are not Parquet, or are damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise SourceMissingError(
            str(path), "no such file", "a Parquet file", "Download it, or correct the source root."
        ) from error
    except (pa.ArrowException, OSError) as error:
        size = size_of(path)
        found = f"{size} bytes that Arrow refuses ({error})" if size else str(error)
        raise SourceFormatError(str(path), "Parquet", found, "a readable Parquet file", "Download it again.") from error


def read_parquet(path: FilePath, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a whole Parquet file, with its schema metadata.

    Args:
        path: the file.
        columns: which columns; None = all.

    Raises:
        SourceMissingError, SourceFormatError: see `open_parquet`.
    """
    with open_parquet(path) as file:
        return file.read(columns=list(columns) if columns is not None else None)
