from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.budgets import Budget, BudgetError, draw_training, draws_for, parse_budget
from transforms.errors import ShapeError

shots = st.integers(1, 40).map(lambda amount: Budget("shots", amount))
percents = st.sampled_from([0.5, 1, 5, 7, 10, 25, 50, 99, 100]).map(lambda amount: Budget("percent", amount))
budgets = st.one_of(shots, percents)


@st.composite
def tasks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a class or a multi-label task, and training units in any order."""
    n = draw(st.integers(1, 80))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    if draw(st.booleans()):
        labels = rng.choice(5, n, p=[0.5, 0.3, 0.1, 0.09, 0.01]).astype(np.int16)
    else:
        labels = rng.random((n, 4)) < [0.6, 0.3, 0.1, 0.01]
    return labels, rng.permutation(n)[: draw(st.integers(1, n))]


def take(task: tuple[np.ndarray, np.ndarray], budget: Budget, fold: int = 0, draw: int = 0, seed: int = 0) -> set[int]:
    return set(draw_training(*task, budget, fold=fold, draw=draw, seed=seed).tolist())


@settings(deadline=None)
@given(tasks(), st.one_of(st.tuples(shots, shots), st.tuples(percents, percents)), st.integers(0, 3))
def test_a_smaller_budget_is_part_of_a_larger_one(
    task: tuple[np.ndarray, np.ndarray], pair: tuple[Budget, Budget], draw: int
) -> None:
    small, large = sorted(pair, key=lambda budget: budget.amount)
    assert take(task, small, draw=draw) <= take(task, large, draw=draw) <= set(task[1].tolist())


@settings(deadline=None)
@given(tasks(), budgets)
def test_every_class_gives_what_it_is_asked_for_or_all_it_has(
    task: tuple[np.ndarray, np.ndarray], budget: Budget
) -> None:
    labels, train = task
    taken = np.array(sorted(take(task, budget)))
    if labels.ndim == 1:
        for label in np.unique(labels[train]):
            there = int((labels[train] == label).sum())
            asked = budget.amount if budget.kind == "shots" else np.ceil(np.round(budget.amount * there / 100, 9))
            assert (labels[taken] == label).sum() == min(asked, there)
    elif budget.kind == "shots":
        there, found = labels[train].sum(axis=0), labels[taken].sum(axis=0)
        assert (found >= np.minimum(budget.amount, there)).all()
        assert len(taken) <= 5 * budget.amount
    else:
        assert len(taken) == np.ceil(np.round(budget.amount * len(train) / 100, 9))


@settings(deadline=None)
@given(tasks(), budgets, st.integers(0, 9))
def test_a_draw_is_the_same_whatever_order_training_units_come_in(
    task: tuple[np.ndarray, np.ndarray], budget: Budget, draw: int
) -> None:
    labels, train = task
    found = draw_training(labels, train, budget, fold=1, draw=draw, seed=2)
    again = draw_training(labels, train[::-1].copy(), budget, fold=1, draw=draw, seed=2)
    np.testing.assert_array_equal(found, again)
    assert (np.diff(found) > 0).all()


@settings(deadline=None)
@given(tasks())
def test_all_is_all(task: tuple[np.ndarray, np.ndarray]) -> None:
    assert take(task, Budget("percent", 100)) == set(task[1].tolist())


def test_labels_of_units_outside_training_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    labels, train = rng.integers(0, 3, 100).astype(np.int16), np.arange(0, 100, 2)
    other = labels.copy()
    other[1::2] = 2
    assert take((labels, train), Budget("shots", 5)) == take((other, train), Budget("shots", 5))


def test_shots_and_percents_of_classes_come_from_the_same_order() -> None:
    labels, train = np.repeat(np.arange(3), 100).astype(np.int16), np.arange(300)
    assert take((labels, train), Budget("shots", 10)) == take((labels, train), Budget("percent", 10))


def test_draws_folds_and_seeds_differ() -> None:
    task = (np.repeat(np.arange(3), 100).astype(np.int16), np.arange(300))
    found = [
        take(task, Budget("shots", 3)),
        take(task, Budget("shots", 3), draw=1),
        take(task, Budget("shots", 3), fold=1),
        take(task, Budget("shots", 3), seed=1),
    ]
    assert len({frozenset(item) for item in found}) == 4


def test_every_unit_of_a_class_is_drawn_as_often() -> None:
    task = (np.repeat([0, 1], [8, 40]).astype(np.int16), np.arange(48))
    counts = np.zeros(48)
    for draw in range(4000):
        counts[list(take(task, Budget("shots", 2), draw=draw))] += 1
    np.testing.assert_allclose(counts[:8], 1000, rtol=0.15)
    np.testing.assert_allclose(counts[8:], 200, rtol=0.35)


def test_values_are_drawn_by_percent_alone() -> None:
    values, train = np.zeros((50, 2), np.float32), np.arange(50)
    small, large = (take((values, train), Budget("percent", amount)) for amount in (10, 50))
    assert (len(small), len(large)) == (5, 25)
    assert small < large
    with pytest.raises(BudgetError, match="10%"):
        take((values, train), Budget("shots", 10))


def test_percent_is_rounded_up_without_the_noise_of_floats() -> None:
    values, train = np.zeros((100, 1), np.float32), np.arange(100)
    assert len(take((values, train), Budget("percent", 7))) == 7
    assert len(take((values, train[:10]), Budget("percent", 1))) == 1


@given(budgets)
def test_budgets_are_read_as_they_are_written(budget: Budget) -> None:
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10", Budget("shots", 10)), (" 25% ", Budget("percent", 25)), ("0.5%", Budget("percent", 0.5))],
)
def test_budgets_are_read(text: str, expected: Budget) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "ten", "0", "1.5", "-3", "0%", "101%", "%", "nan", "inf", "nan%"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(BudgetError, match="label budget: found"):
        parse_budget(text)


def test_units_without_a_label_are_refused() -> None:
    with pytest.raises(ShapeError, match="lowest -1"):
        take((np.array([0, -1], np.int16), np.arange(2)), Budget("shots", 1))


@pytest.mark.parametrize(("text", "draws"), [("1", 20), ("10", 20), ("30", 5), ("1%", 5), ("50%", 5), ("100%", 1)])
def test_few_shots_are_drawn_often(text: str, draws: int) -> None:
    assert draws_for(parse_budget(text)) == draws
