"""Files of a source root: the one place where source clients touch the file system.

Belongs here: listing, sizes, the mark of simulated data, opening Parquet with errors that help. Does not:
rasters (`rasters.py`), what a file means (the client of its format).
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.provenance import decode_footer

#: A file of this name in a source root, or in a folder above it, says that the data are simulated.
SIMULATED_MARK = "SIMULATED.json"
_MARK_LEVELS = 6


@dataclass(frozen=True)
class FileFacts:
    """What identifies a version of a file.

    Attributes:
        size_bytes: length.
        etag: changes whenever the file is written; for local files `{size:x}-{mtime_ns:x}`.
    """

    size_bytes: int
    etag: str


def stat_file(path: Path) -> FileFacts | None:
    """Give size and ETag of a file, None where there is none."""
    if not path.is_file():
        return None
    stat = path.stat()
    return FileFacts(stat.st_size, f"{stat.st_size:x}-{stat.st_mtime_ns:x}")


def list_files(root: Path, pattern: str) -> list[str]:
    """List files below `root` by glob, as sorted POSIX paths relative to it; hidden files are left out.

    Raises:
        SourceMissingError: `root` is not a folder.
    """
    if not root.is_dir():
        raise SourceMissingError(
            f"source root {root}",
            "no such folder",
            "the folder with the product's files",
            "Set sources.*.root.",
        )
    names = (path.relative_to(root).as_posix() for path in root.glob(pattern) if path.is_file())
    return sorted(n for n in names if not n.rpartition("/")[2].startswith(".") and not n.endswith(SIMULATED_MARK))


def is_simulated_root(root: Path) -> bool:
    """Tell whether a root, or one of the six folders above it, carries the mark of simulated data."""
    folder = root.resolve()
    return any((place / SIMULATED_MARK).is_file() for place in [folder, *folder.parents][: _MARK_LEVELS + 1])


def is_simulated_glob(pattern: Path) -> bool:
    """Tell whether any file that a glob pattern matches is part of a simulated world."""
    found = (Path(name) for name in glob.glob(str(pattern), recursive=True))
    return any(is_simulated_root(path if path.is_dir() else path.parent) for path in found)


def is_simulated_parquet(path: Path) -> bool:
    """Tell whether Isthmus wrote a Parquet file from simulated data: its footer says so wherever the file goes.

    Raises:
        SourceMissingError, SourceFormatError: see `parquet_errors`.
    """
    with parquet_errors(path):
        return bool(decode_footer(pq.read_schema(path).metadata).get("is_simulated", False))


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
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
        size = stat_file(path)
        found = f"{size.size_bytes} bytes that Arrow refuses ({error})" if size else str(error)
        raise SourceFormatError(str(path), "Parquet", found, "a readable Parquet file", "Download it again.") from error


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a whole Parquet file, with its schema metadata.

    Args:
        path: the file.
        columns: which columns; None = all.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: it is not Parquet, or is damaged.
    """
    with parquet_errors(path), pq.ParquetFile(path) as file:
        return file.read(columns=list(columns) if columns is not None else None)
