"""Work at once in threads, and the turn that keeps them out of each other's way in Dagster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from orchestration.threads import call_in_thread, run_at_once
from orchestration.turns import Turn


def test_works_are_under_way_together_up_to_the_limit_and_not_one_more() -> None:
    together = threading.Barrier(3)
    lock, now, most = threading.Lock(), 0, 0

    def work(number: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(timeout=60)  # passes only when three are here
        with lock:
            now -= 1
        return number

    answers = list(run_at_once([partial(work, number) for number in range(6)], limit=3))
    assert sorted(answers) == list(range(6))
    assert most == 3


def test_one_at_a_time_keeps_the_order_and_takes_the_next_when_the_answer_was_heard() -> None:
    taken: list[int] = []

    def works() -> Iterator[Callable[[], int]]:
        for number in range(3):
            taken.append(number)
            yield partial(int, number)

    for heard, answer in enumerate(run_at_once(works(), limit=1)):
        assert (answer, taken) == (heard, list(range(heard + 1)))


def test_what_a_work_raises_reaches_the_caller() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call_in_thread(fail)
    with pytest.raises(ZeroDivisionError):
        list(run_at_once([fail], limit=2))


def test_a_turn_is_had_by_one_thread_until_it_sets_it_aside() -> None:
    turn = Turn()
    order: list[str] = []
    waits, goes_on = threading.Event(), threading.Event()

    def first() -> None:
        with turn.take():
            order.append("first begins")
            with turn.set_aside():
                waits.set()
                assert goes_on.wait(timeout=60)
            order.append("first ends")

    def second() -> None:
        assert waits.wait(timeout=60)
        with turn.take():
            order.append("second")
        goes_on.set()

    list(run_at_once([first, second], limit=2))
    assert order == ["first begins", "second", "first ends"]


def test_a_thread_without_the_turn_has_nothing_to_set_aside() -> None:
    turn = Turn()
    with turn.set_aside(), turn.take():  # would not return if it had let go of another's turn
        pass
