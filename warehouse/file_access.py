"""Files by path, on a disk or behind a URL: which there are, their versions, opening and removing them.

Belongs here: what sources and the tables of a warehouse need alike. Does not: writing (`unfinished.py`), requests
(`objects/`), what a missing or a damaged file means to its reader.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from warehouse.errors import SourceChangedError, SourceForbiddenError, SourceMissingError
from warehouse.file_paths import FileFacts, FilePath, RemotePath
from warehouse.held_leases import check_lease
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client
from warehouse.objects.globs import list_matches
from warehouse.objects.remote_file import RemoteFile

T = TypeVar("T")
R = TypeVar("R")


def stat_files(paths: Sequence[FilePath]) -> list[FileFacts | None]:
    """Give size and ETag of files as they are now, None where there is none; remote ones are asked for together.

    Raises:
        SourceRefusedError, SourceUnavailableError: a server does not say.
    """
    remote = [path for path in paths if isinstance(path, RemotePath)]
    found = dict(zip(remote, fetch_loop.wait(_head_all(remote)), strict=True)) if remote else {}
    return [found[path] if isinstance(path, RemotePath) else _stat_local(path) for path in paths]


def stat_file(path: FilePath) -> FileFacts | None:
    """Give size and ETag of one file; see `stat_files`."""
    return stat_files([path])[0]


def _stat_local(path: Path) -> FileFacts | None:
    if not path.is_file():
        return None
    stat = path.stat()
    return FileFacts(stat.st_size, f"{stat.st_size:x}-{stat.st_mtime_ns:x}")


def find_files(paths: Sequence[FilePath]) -> list[FileFacts | None]:
    """Give size and ETag of files that may or may not be there, None where there is none; all are of one root.

    A bucket that lets nobody list it answers 403 for what is not there. That is taken for an absence only where the
    same bucket gives another of the files: then it is not the credentials, or the region.

    Raises:
        SourceForbiddenError: a server says no, and none of the files is there.
        SourceRefusedError, SourceUnavailableError: see `stat_files`.
    """
    remote = [path for path in paths if isinstance(path, RemotePath)]
    if len(remote) < len(paths):
        return stat_files(paths)
    found = fetch_loop.wait(_head_or_refuse(remote))
    refused = next((one for one in found if isinstance(one, SourceForbiddenError)), None)
    if refused is not None and not any(isinstance(one, FileFacts) for one in found):
        raise refused
    return [one if isinstance(one, FileFacts) else None for one in found]


async def _head_or_refuse(paths: Sequence[RemotePath]) -> list[FileFacts | SourceForbiddenError | None]:
    async def ask(path: RemotePath) -> FileFacts | SourceForbiddenError | None:
        try:
            return await open_client(path).head(path.key)
        except SourceForbiddenError as error:
            return error

    return list(await asyncio.gather(*(ask(path) for path in paths)))


async def _head_all(paths: Sequence[RemotePath]) -> list[FileFacts | None]:
    return list(await asyncio.gather(*(open_client(path).head(path.key) for path in paths)))


def pin(path: FilePath) -> FilePath:
    """Bind a remote path to the version that is there now; give others as they are.

    Raises:
        SourceMissingError: there is no such remote file.
    """
    return pin_remote(path) if isinstance(path, RemotePath) else path


def pin_remote(path: RemotePath) -> RemotePath:
    """Bind a remote path to the version that is there now, unless it is bound to one; see `pin`."""
    if path.version is not None:
        return path
    facts = stat_file(path)
    if facts is None:
        raise SourceMissingError(str(path), "404 Not Found", "a file", "Correct the root that the settings give.")
    return path.at(facts)


def is_there(path: FilePath) -> bool:
    """Tell whether there is a file; one that is bound to a version was there."""
    if isinstance(path, RemotePath):
        return path.version is not None or stat_file(path) is not None
    return path.is_file()


def size_of(path: FilePath) -> int:
    """Give the length of a file that is there."""
    if isinstance(path, RemotePath) and path.version is not None:
        return path.version.size_bytes
    facts = stat_file(path)
    return facts.size_bytes if facts else 0


def list_names(folder: FilePath, pattern: str) -> list[str]:
    """List files below a folder by glob, as sorted POSIX paths relative to it; none where there is no folder.

    Raises:
        ListingRefusedError: the folder is on a server that has no listing.
    """
    if isinstance(folder, RemotePath):
        return sorted(list_matches(folder, pattern))
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern) if path.is_file())


def list_paths(folder: FilePath, pattern: str) -> list[FilePath]:
    """List files as `list_names` does, as paths; remote ones are bound to the versions that the listing saw."""
    if isinstance(folder, RemotePath):
        found = list_matches(folder, pattern)
        return [(folder / name).at(found[name]) for name in sorted(found)]
    return [folder / name for name in list_names(folder, pattern)]


def open_input(path: FilePath) -> Any:
    """Give what Arrow reads: a local path, or an open remote file.

    Raises:
        SourceMissingError: there is no such remote file.
    """
    return RemoteFile(pin_remote(path)) if isinstance(path, RemotePath) else path


def read_bytes(path: FilePath) -> bytes | None:
    """Read a small file whole; None where there is none.

    Raises:
        SourceChangedError: it was replaced meanwhile.
        SourceRefusedError, SourceUnavailableError: a server does not give its bytes.
    """
    try:
        return RemoteFile(pin_remote(path)).read() if isinstance(path, RemotePath) else path.read_bytes()
    except (FileNotFoundError, SourceMissingError):
        return None


def read_all(root: FilePath, read: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Read many small things below a root, in a store several at once: each of them is mostly waiting.

    Args:
        root: what they are below.
        read: called with each.
        items: what is read.

    Returns:
        What `read` gave, in the order of the items.
    """
    if isinstance(root, Path) or len(items) < 2:
        return [read(item) for item in items]
    with ThreadPoolExecutor(root.access.connections) as threads:
        return list(threads.map(read, items))


def read_versioned(path: RemotePath) -> tuple[FileFacts, bytes] | None:
    """Read a small remote file whole, with the version that was read; None where there is none.

    Raises:
        SourceRefusedError, SourceUnavailableError: a server does not give its bytes.
    """
    while True:
        facts = stat_file(path)
        if facts is None:
            return None
        with contextlib.suppress(SourceChangedError):  # replaced in between
            content = read_bytes(path.at(facts))
            if content is not None:
                return facts, content


def remove_files(paths: Iterable[FilePath]) -> None:
    """Remove files, in the order given; those that are not there count as removed.

    Raises:
        LeaseLostError: another run has taken over the warehouse that one is in.
        SourceRefusedError, SourceUnavailableError: a store does not remove one.
    """
    for path in paths:
        check_lease(path)
        if isinstance(path, RemotePath):
            fetch_loop.wait(open_client(path).delete(path.key))
        else:
            path.unlink(missing_ok=True)
