"""One run at a time on a warehouse, one evaluation of a year: advisory locks that go with the process that holds them.

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
    with _hold(root / LOCK_FILE, waiting):
        yield


@contextlib.contextmanager
def hold_year(root: FilePath, year: int, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the evaluation of a year while a block runs; wait for whoever holds it.

    The files of a cell belong together, and an evaluation removes those that have no seal yet. Two of one year at once
    would take each other's away, and runs that Dagster launches hold no lock of the warehouse.

    Args:
        root: the warehouse.
        year: embedding year.
        waiting: told once who is waited for.

    Raises:
        NotWritableError: this user may not write there.
    """
    with _hold(root / f"evaluate-{year}.lock", waiting):
        yield


def _hold(place: FilePath, waiting: Callable[[str], None] | None) -> contextlib.AbstractContextManager[None]:
    return hold_lease(place, waiting=waiting) if isinstance(place, RemotePath) else _hold_file(place, waiting)


@contextlib.contextmanager
def _hold_file(place: Path, waiting: Callable[[str], None] | None) -> Iterator[None]:
    with write_errors("warehouse.root", place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        opened = place.open("a+", encoding="utf-8")
    with opened as file:
        if not _try_lock(file):
            if waiting is None:
                raise WarehouseBusyError(str(place.parent), _read_holder(file))
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
