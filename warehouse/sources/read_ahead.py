"""Reading ahead: the next blocks are decoded while this one is worked on.

Belongs here: one reader thread behind an iterator, with a bound on what waits. Does not: what is read (`blocks.py`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


def read_ahead(items: Iterator[T], depth: int = 1) -> Iterator[T]:
    """Draw items in a thread of its own, in order, at most `depth` ahead of the caller.

    The thread starts with the first item asked for, and has ended when this iterator has: at its last item, at an
    error of either side, or when the caller closes it. It runs all of `items`, so what `items` opens is used by one
    thread only.

    Args:
        items: drawn to its end, or closed early.
        depth: items that may wait, beside the one that the caller has; one more is never begun.

    Yields:
        The items.

    Raises:
        Exception: what `items` raised, when its turn comes.
    """
    shelf: _Shelf[T] = _Shelf(depth)
    reader = threading.Thread(target=_fill, args=(items, shelf), name="read-ahead", daemon=True)
    reader.start()
    try:
        yield from shelf
    finally:
        shelf.close()
        reader.join()


@dataclass
class _Shelf(Generic[T]):
    """What waits for the caller.

    Attributes:
        depth: places.
        waiting: items in order.
        error: what ended the reader before its time.
        is_done: no more items will come.
        is_closed: no more items are wanted.
    """

    depth: int
    waiting: deque[T] = field(default_factory=deque)
    error: BaseException | None = None
    is_done: bool = False
    is_closed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def await_place(self) -> bool:
        """Wait until an item may be begun; False where none is wanted any more."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_closed or len(self.waiting) < self.depth)
            return not self.is_closed

    def put(self, item: T) -> None:
        with self.changed:
            self.waiting.append(item)
            self.changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        with self.changed:
            self.is_done, self.error = True, error
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.is_closed = True
            self.waiting.clear()
            self.changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.is_done)
                if not self.waiting:
                    if self.error is not None:
                        raise self.error
                    return
                item = self.waiting.popleft()
                self.changed.notify_all()
            yield item
            del item  # or a block would live on while the next is awaited


def _fill(items: Iterator[T], shelf: _Shelf[T]) -> None:
    """Draw items until there are no more or no more are wanted."""
    error: BaseException | None = None
    try:
        while shelf.await_place():
            try:
                item = next(items)
            except StopIteration:
                break
            shelf.put(item)
            del item
    except BaseException as caught:  # whatever it is, the caller must hear of it
        error = caught
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
        shelf.end(error)
