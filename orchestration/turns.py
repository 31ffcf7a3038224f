"""Taking turns: one thread at a time inside Dagster, though several have a run under way.

Belongs here: the turn. Does not: which runs are under way (`pipeline.py`), what they wait for (`dask_engine.py`).

Dagster 1.13 sets logging up at the start of every run: it holds the lock of the logging module and asks for those of
all handlers. A run that stores an event holds the lock of its handler and asks for that of the module. Two runs in two
threads can so wait for each other for ever. A run that only waits for a cluster holds neither: it sets its turn aside.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turn:
    """A lock that knows whether this thread holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here = threading.local()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for the turn, and have it for a block."""
        with self._lock:
            self._here.is_mine = True
            try:
                yield
            finally:
                self._here.is_mine = False

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Let others have the turn for a block; nothing to do where this thread does not have it."""
        if not getattr(self._here, "is_mine", False):
            yield
            return
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()


#: Of this process.
DAGSTER_TURN = Turn()
