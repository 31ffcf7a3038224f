"""Files while they are written: under a name that no reader looks at, renamed or sent when they are whole.

Belongs here: temporary names, replacing a file atomically, removing what killed processes left behind. Does not: what
is written (`writer.py`), which process may write (`run_lock.py`).

A file for an object store is written into a scratch folder of this machine and then sent. A store shows an object when
all of it is there, so readers see the old one or the new one there, too.
"""

from __future__ import annotations

import contextlib
import errno
import mimetypes
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import psutil

from warehouse.file_paths import FilePath, RemotePath
from warehouse.held_leases import check_lease
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client
from warehouse.write_errors import write_errors

#: `.{target}.{host}.{process}.{token}.tmp`. The leading dot keeps readers' globs and DuckDB away.
_NAME = re.compile(r"^\..+\.(?P<host>[A-Za-z0-9-]+)\.(?P<pid>\d+)\.[0-9a-f]{8}\.tmp$")
#: The same in version 0.2.
_OLD_NAME = re.compile(r"^\..+\.(?P<pid>\d+)\.tmp$")
#: Nobody here can ask whether a process of another machine lives; one that does writes to its file more often.
_GIVEN_UP_AFTER_S = 24 * 3600.0


@contextlib.contextmanager
def replace_file(path: FilePath, what: str) -> Iterator[Path]:
    """Replace a file atomically: readers see the old one or the new one, never half of one.

    Args:
        path: target; its folder is made if it is not there.
        what: table or page that it is, for messages.

    Yields:
        The file to write. It takes the place of the target when the block ends without an error, and is removed else.

    Raises:
        DiskFullError: there is no room.
        NotWritableError: this user may not write there, or nobody may.
        WarehouseBusyError: another run has taken over the warehouse that the target is in.
        SourceRefusedError, SourceUnavailableError: a store does not take it.
    """
    with write_errors(what, path):
        folder = _make_folder(path.parent)
    temporary = folder / unfinished_name(path.name)
    try:
        with write_errors(what, path):
            remove_abandoned(folder.glob(f".{path.name}.*.tmp"))
        yield temporary
        with write_errors(what, path):
            _publish(temporary, path)
    finally:
        # where that is not allowed there is no file, and what remains is swept later
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def unfinished_name(name: str) -> str:
    """Name a file that no reader looks at, and that is swept once this process is gone.

    It is unique: two processes, or two threads, may write the same partition, and the last one wins.
    """
    return f".{name}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"


def writing_folder(place: FilePath) -> Path:
    """Give the folder in which files for a place are written: the place itself, or one of this machine for a URL."""
    return place if isinstance(place, Path) else place.scratch


def _make_folder(place: FilePath) -> Path:
    """Make the folder in which files for a place are written; a scratch folder is for this user's eyes only.

    Raises:
        PermissionError: it is somebody else's, who could exchange files before they are sent.
    """
    folder = writing_folder(place)
    if isinstance(place, Path):
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(errno.EACCES, "it is another user's", str(folder))
    return folder


def _publish(temporary: Path, path: FilePath) -> None:
    if isinstance(path, RemotePath):
        content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        fetch_loop.wait(open_client(path).put_file(path.key, temporary, content_type, partial(check_lease, path)))
    else:
        _flush(temporary)
        os.replace(temporary, path)


def sweep_unfinished(root: FilePath) -> list[Path]:
    """Remove what killed processes left for a warehouse; unfinished files of living ones stay.

    Returns:
        The removed files.
    """
    return remove_abandoned(list_abandoned(root))


def list_abandoned(root: FilePath) -> list[Path]:
    """List what killed processes left anywhere below a folder, or in the scratch folder of a URL; none is removed."""
    folder = writing_folder(root)
    if not folder.is_dir():
        return []
    # below a scratch folder may be anything
    found = folder.rglob(".*.tmp") if isinstance(root, Path) else folder.glob(".*.tmp")
    return [path for path in found if _is_abandoned(path)]


def remove_abandoned(unfinished: Iterable[Path]) -> list[Path]:
    """Remove those unfinished files whose writer is gone; give them."""
    removed = [path for path in unfinished if _is_abandoned(path)]
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


def _is_abandoned(path: Path) -> bool:
    """Tell whether nobody writes to an unfinished file any more; files of other makes are left alone."""
    match = _NAME.match(path.name) or _OLD_NAME.match(path.name)
    if match is None:
        return False
    try:
        written = path.stat().st_mtime
    except FileNotFoundError:  # finished meanwhile
        return False
    if match.groupdict().get("host", _host()) != _host():
        return time.time() - written > _GIVEN_UP_AFTER_S
    try:
        # a process that started after the last write has the number of a dead one
        return bool(psutil.Process(int(match["pid"])).create_time() > written)
    except psutil.NoSuchProcess:
        return True


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "localhost"


def _flush(path: Path) -> None:
    """Wait until the bytes are on the disk: a name must never outlive a power cut that its content does not."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
