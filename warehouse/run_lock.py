"""One run at a time on a warehouse: an advisory lock that goes with the process that holds it.

Belongs here: taking the lock, saying who has it. Does not: which commands need it (`orchestration/pipeline.py`), atomic
files (`unfinished.py`), object stores, which know no such locks (`run_lease.py`). Readers need no lock.

The operating system drops the lock when its process ends, be it by kill -9: there are no stale locks to clear.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path

from warehouse.errors import WarehouseBusyError
from warehouse.file_paths import FilePath, RemotePath
from warehouse.run_holder import LOCK_FILE, Holder
from warehouse.run_lease import hold_lease
from warehouse.write_errors import write_errors

_POLL_S = 0.5


@contextlib.contextmanager
def hold_warehouse(root: FilePath, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of a warehouse while a block runs.

    Args:
        root: the warehouse; made if it is not there.
        waiting: told once who is waited for; None = do not wait.

    Raises:
        WarehouseBusyError: another run holds it, and nobody wants to wait.
        NotWritableError: this user may not write there.
    """
    if isinstance(root, RemotePath):
        hold = hold_lease(root / LOCK_FILE, waiting=waiting)
    else:
        hold = _hold_folder(root, waiting)
    with hold:
        yield


@contextlib.contextmanager
def _hold_folder(root: Path, waiting: Callable[[str], None] | None) -> Iterator[None]:
    with write_errors("warehouse.root", root):
        root.mkdir(parents=True, exist_ok=True)
        opened = (root / LOCK_FILE).open("a+", encoding="utf-8")
    with opened as file:
        if not _try_lock(file):
            if waiting is None:
                raise WarehouseBusyError(str(root), _read_holder(file))
            waiting(f"waiting for {_read_holder(file)}")
            while not _try_lock(file):
                time.sleep(_POLL_S)
        _write_holder(file)
        try:
            yield
        finally:
            file.truncate(0)


def _try_lock(file: TextIOWrapper) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_holder(file: TextIOWrapper) -> None:
    """Say in the file who holds it; only for messages."""
    file.truncate(0)
    file.write(json.dumps(asdict(Holder.this_process())))
    file.flush()


def _read_holder(file: TextIOWrapper) -> str:
    """Say who holds a lock; its writer may not have come to say so yet."""
    file.seek(0)
    try:
        return str(Holder(**json.load(file)))
    except (json.JSONDecodeError, TypeError):
        return "another process"
