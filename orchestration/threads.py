"""Work in threads that a user can interrupt.

Belongs here: running callables beside the main thread. Does not: what they do.

In the main thread Dagster catches Ctrl-C and loses it between steps; while work is elsewhere and the main thread only
waits, it reaches us at once. The threads are daemons: they end with the process, and since files are renamed when they
are whole, nothing is half-written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

T = TypeVar("T")


def run_at_once(works: Iterable[Callable[[], T]], limit: int) -> Iterator[T]:
    """Do work in threads, so much at once, and give the answers as they come.

    Args:
        works: taken one after the other, when there is room for one more.
        limit: how many are under way at once, at least 1.

    Raises:
        BaseException: what the first work raised that did.
    """
    waiting = iter(works)
    running: set[Future[T]] = set()
    while True:
        while len(running) < limit and (work := next(waiting, None)) is not None:
            running.add(_start(work))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


def call_in_thread(work: Callable[[], T]) -> T:
    """Do one piece of work in a thread and wait for its answer."""
    return _start(work).result()


def _start(work: Callable[[], T]) -> Future[T]:
    answer: Future[T] = Future()

    def body() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # handed to whoever asks for the result
            answer.set_exception(error)

    threading.Thread(target=body, daemon=True).start()
    return answer
