"""Reading ahead: order, errors, an early end, and how far ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from warehouse.sources.read_ahead import read_ahead


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_items_come_in_order_from_another_thread(depth: int) -> None:
    names = []

    def items() -> Iterator[int]:
        for i in range(20):
            names.append(threading.current_thread().name)
            yield i

    assert list(read_ahead(items(), depth)) == list(range(20))
    assert set(names) == {"read-ahead"}
    assert readers() == []


def test_nothing_gives_nothing() -> None:
    assert list(read_ahead(iter(()))) == []


def test_an_error_is_raised_where_its_item_would_be() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("third")

    ahead = read_ahead(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(ahead)
    assert readers() == []


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_items_are_begun_than_may_wait(depth: int) -> None:
    begun = 0

    def items() -> Iterator[int]:
        nonlocal begun
        for i in range(10):
            begun += 1
            yield i

    for item in read_ahead(items(), depth):
        time.sleep(0.01)  # long enough for the reader to go too far if it could
        assert begun <= item + 1 + depth


def test_a_caller_that_stops_ends_the_reader_and_closes_what_it_reads() -> None:
    is_closed = False

    def items() -> Iterator[int]:
        nonlocal is_closed
        try:
            yield from range(1_000)
        finally:
            is_closed = True

    ahead = read_ahead(items())
    assert next(ahead) == 0
    ahead.close()
    assert is_closed
    assert readers() == []


def test_an_error_of_the_caller_ends_the_reader() -> None:
    ahead = read_ahead(iter(range(1_000)))
    assert next(ahead) == 0
    with pytest.raises(ZeroDivisionError):
        ahead.throw(ZeroDivisionError)
    assert readers() == []
