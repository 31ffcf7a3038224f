from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, r2_score

from transforms.errors import ShapeError
from transforms.probes.inner_cv import Choice, deal_groups, pick_value

GRID = (0.1, 1.0, 10.0)


def pick(y: np.ndarray, groups: np.ndarray, target: str, outputs: dict[float, np.ndarray], n_folds: int = 3) -> Choice:
    """Pick among candidates whose outputs are known for every row; the features are row numbers."""

    def fit(X: np.ndarray, truth: np.ndarray, held: np.ndarray) -> Iterator[np.ndarray]:
        assert not set(groups[X[:, 0].astype(int)]) & set(groups[held[:, 0].astype(int)])
        np.testing.assert_array_equal(truth, y[X[:, 0].astype(int)])
        for value in outputs:
            yield outputs[value][held[:, 0].astype(int)]

    X = np.arange(len(y), dtype=np.float32)[:, None]
    n_outputs = next(iter(outputs.values())).shape[1]
    return pick_value(
        tuple(outputs), X, y, groups,
        target=target, n_outputs=n_outputs, n_folds=n_folds, seed=0, fit_candidates=fit,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_the_best_macro_f1_over_all_folds_is_picked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 90)
    outputs = {value: np.eye(3)[np.where(rng.random(90) < 0.5, y, rng.integers(0, 3, 90))] for value in GRID}
    scores = [f1_score(y, outputs[value].argmax(axis=1), average="macro") for value in GRID]
    assert pick(y, np.arange(90) // 9, "class", outputs) == Choice(GRID[int(np.argmax(scores))], "inner_cv")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("target", ["multilabel", "continuous"])
def test_the_best_mean_r2_is_picked(target: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.random((90, 3)) < 0.4 if target == "multilabel" else rng.normal(size=(90, 3)).astype(np.float32) * 100
    outputs = {value: y + y.std() * rng.normal(0, 0.8, y.shape) for value in GRID}
    scores = [r2_score(y.astype(float), outputs[value]) for value in GRID]
    assert pick(y, np.arange(90) // 9, target, outputs) == Choice(GRID[int(np.argmax(scores))], "inner_cv")


def test_ties_go_to_the_first_candidate() -> None:
    y = np.arange(30) % 2
    same = {value: np.eye(2)[y] for value in GRID}
    assert pick(y, np.arange(30) // 3, "class", same) == Choice(0.1, "inner_cv")


def test_labels_that_do_not_vary_do_not_count() -> None:
    y = np.column_stack([np.arange(30) % 2 == 0, np.zeros(30, bool)])
    worse, better = np.column_stack([y[:, 0], np.zeros(30)]) * 0.5, np.column_stack([y[:, 0], np.ones(30)])
    assert pick(y, np.arange(30) // 3, "multilabel", {1.0: worse, 2.0: better}).value == 2.0


def test_one_candidate_needs_no_groups_and_several_do() -> None:
    y = np.arange(10) % 2
    X = np.zeros((10, 1), np.float32)

    def fail(X: np.ndarray, y: np.ndarray, held: np.ndarray) -> list[np.ndarray]:
        raise AssertionError

    options = {"target": "class", "n_outputs": 2, "n_folds": 3, "seed": 0, "fit_candidates": fail}
    assert pick_value((3.0,), X, y, None, **options) == Choice(3.0, "fixed")
    assert pick_value(GRID, X, y, np.zeros(10, int), **options) == Choice(1.0, "default")
    with pytest.raises(ShapeError, match="groups"):
        pick_value(GRID, X, y, None, **options)


@settings(deadline=None)
@given(st.integers(0, 500), st.sampled_from(["class", "multilabel", "continuous"]), st.integers(2, 5))
def test_dealt_folds_keep_groups_and_leave_something_to_learn(seed: int, target: str, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    groups = rng.integers(-3, 8, n)
    y = {
        "class": rng.choice(4, n, p=[0.7, 0.2, 0.05, 0.05]),
        "multilabel": rng.random((n, 3)) < [0.5, 0.1, 0.02],
        "continuous": rng.normal(size=(n, 2)).astype(np.float32),
    }[target]
    fold = deal_groups(y, groups, target, n_folds, seed)
    if fold is None:
        assert target != "continuous" or len(np.unique(groups)) == 1
        return
    assert len(np.unique(fold)) == min(n_folds, len(np.unique(groups)))
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1
    if target == "class":
        for number in np.unique(fold):
            assert len(np.unique(y[fold != number])) >= 2


def test_a_class_that_is_in_one_group_alone_is_not_enough() -> None:
    assert deal_groups(np.array([0, 0, 1, 1]), np.array([1, 1, 2, 2]), "class", 3, 0) is None
    assert deal_groups(np.array([0, 1, 0, 1]), np.array([1, 1, 2, 2]), "class", 3, 0) is not None
    always = np.ones((4, 1), bool)
    assert deal_groups(always, np.array([1, 1, 2, 2]), "multilabel", 3, 0) is None
