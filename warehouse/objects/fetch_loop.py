"""The thread in which this process waits for the network.

Belongs here: starting it, handing it work, giving up on work. Does not: what is asked for (`client.py`).

One event loop for all readers, so that a bound on connections holds for the whole process. The thread is a daemon:
Ctrl-C does not wait for servers.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
#: By process id: a loop does not survive a fork.
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin work in the loop; cancelling the future cancels the work."""
    return asyncio.run_coroutine_threadsafe(work, _this_loop())


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Do work in the loop and give its result; an interrupted wait cancels the work."""
    future = start(work)
    try:
        return future.result()
    finally:
        future.cancel()  # does nothing to what is done


def _this_loop() -> asyncio.AbstractEventLoop:
    with _lock:
        process = os.getpid()
        if process not in _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="fetch-loop", daemon=True).start()
            _loops[process] = loop
        return _loops[process]
