"""Files while they are written: under a name that no reader looks at, renamed when they are whole.

Belongs here: temporary names, replacing a file atomically, removing what killed processes left behind. Does not: what
is written (`writer.py`), which process may write (`run_lock.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from warehouse.write_errors import write_errors

#: `.{target}.{host}.{process}.{token}.tmp`. The leading dot keeps readers' globs and DuckDB away.
_NAME = re.compile(r"^\..+\.(?P<host>[A-Za-z0-9-]+)\.(?P<pid>\d+)\.[0-9a-f]{8}\.tmp$")
#: The same in version 0.2.
_OLD_NAME = re.compile(r"^\..+\.(?P<pid>\d+)\.tmp$")
#: Nobody here can ask whether a process of another machine lives; one that does writes to its file more often.
_GIVEN_UP_AFTER_S = 24 * 3600.0


@contextlib.contextmanager
def replace_file(path: Path, what: str) -> Iterator[Path]:
    """Replace a file atomically: readers see the old one or the new one, never half of one.

    Args:
        path: target; its folder is made if it is not there.
        what: table or page that it is, for messages.

    Yields:
        The file to write. It takes the place of the target when the block ends without an error, and is removed else.

    Raises:
        DiskFullError: there is no room.
        NotWritableError: this user may not write there, or nobody may.
    """
    # unique: two processes, or two threads, may write the same partition, and the last one wins
    temporary = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with write_errors(what, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(path.parent.glob(f".{path.name}.*.tmp"))
        yield temporary
        with write_errors(what, path):
            _flush(temporary)
            os.replace(temporary, path)
    finally:
        # where that is not allowed there is no file, and what remains is swept later
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep_unfinished(root: Path) -> list[Path]:
    """Remove what killed processes left anywhere below a folder; unfinished files of living ones stay.

    Returns:
        The removed files.
    """
    return remove_abandoned(list_abandoned(root))


def list_abandoned(root: Path) -> list[Path]:
    """List what killed processes left anywhere below a folder; nothing is removed."""
    return [path for path in root.rglob(".*.tmp") if _is_abandoned(path)] if root.is_dir() else []


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
