from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transforms.budgets import Budget
from transforms.cell_features import JoinedFeatures, SelectedFeatures, StoredFeatures
from transforms.cell_fits import FitRule, ProbeSettings
from transforms.evaluation import run_cell
from transforms.fold_plan import FoldPlan, fold_split
from transforms.probes.logistic import LogisticProbe
from transforms.probes.registry import ProbeOptions
from transforms.targets import Targets
from transforms.tasks import RETRIEVAL_KS

NAMES = ("water", "trees", "crops")
ALL = Budget("percent", 100.0)
SETTINGS = ProbeSettings(ProbeOptions(c_grid=(1.0,)), max_train_units=1000, seed=3)
LOGISTIC, MAJORITY = FitRule("logistic", ALL), FitRule("majority", ALL)


def make_plan(n: int = 240, n_folds: int = 4, *, buffer: np.ndarray | None = None) -> FoldPlan:
    block = np.arange(n) // 10
    in_buffer = np.zeros((n, n_folds), bool) if buffer is None else buffer
    return FoldPlan("block", block, (block % n_folds).astype(np.int8), None, in_buffer)


def make_data(n: int = 240, seed: int = 0) -> tuple[np.ndarray, Targets]:
    """Three classes that a linear probe can tell apart, but not without error."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.int16)
    features = rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[labels]
    return features.astype(np.float32), Targets("class", labels, NAMES)


def test_every_unit_is_tested_once_by_a_probe_that_did_not_see_its_fold() -> None:
    features, targets = make_data()
    plan = make_plan()
    outcome = run_cell(StoredFeatures(features), targets, plan, LOGISTIC, SETTINGS)
    assert outcome.problem == ""
    assert [item.fold for item in outcome.folds] == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.sort(np.concatenate([item.test for item in outcome.folds])), np.arange(240))
    for item in outcome.folds:
        train, test = fold_split(plan, item.fold)
        np.testing.assert_array_equal(item.test, test)
        probe = LogisticProbe(3, c_grid=(1.0,), seed=3).fit(features[train], targets.values[train])
        np.testing.assert_allclose(item.proba, probe.predict_proba(features[test]), atol=1e-5)
        np.testing.assert_array_equal(item.pred, item.proba.argmax(axis=1))
        assert item.n_train == len(train)
    accuracy = np.mean([(targets.values[item.test] == item.pred).mean() for item in outcome.folds])
    assert 0.6 < accuracy < 0.95


def test_units_in_the_buffer_are_not_trained_on() -> None:
    features, targets = make_data()
    buffer = np.zeros((240, 4), bool)
    buffer[:200, 0] = True
    outcome = run_cell(StoredFeatures(features), targets, make_plan(buffer=buffer), MAJORITY, SETTINGS)
    assert [item.n_train for item in outcome.folds] == [30, 180, 180, 180]


def test_large_folds_are_drawn_the_same_for_every_arm() -> None:
    features, targets = make_data()
    few = replace(SETTINGS, max_train_units=40)
    first = run_cell(StoredFeatures(features), targets, make_plan(), LOGISTIC, few)
    again = run_cell(StoredFeatures(features.copy()), targets, make_plan(), LOGISTIC, few)
    other_seed = run_cell(StoredFeatures(features), targets, make_plan(), LOGISTIC, replace(few, seed=4))
    assert [item.n_train for item in first.folds] == [40] * 4
    for one, two in zip(first.folds, again.folds, strict=True):
        np.testing.assert_array_equal(one.proba, two.proba)
    assert any((a.proba != b.proba).any() for a, b in zip(first.folds, other_seed.folds, strict=True))


@pytest.mark.parametrize(("budget", "draws"), [(ALL, 1), (Budget("shots", 5.0), 3), (Budget("percent", 50.0), 2)])
def test_the_draw_is_of_training_units_alone(budget: Budget, draws: int) -> None:
    # label = fold: a draw that held test units would know their class
    plan = make_plan(n_folds=3)
    targets = Targets("class", plan.fold.astype(np.int16), NAMES)
    features = StoredFeatures(np.zeros((240, 1), np.float32))
    few = replace(SETTINGS, max_train_units=40, seed=0)
    outcome = run_cell(features, targets, plan, FitRule("majority", budget, n_draws=draws), few)
    assert len(outcome.folds) == 3 * draws
    for item in outcome.folds:
        assert (item.proba[:, item.fold] == 0).all()


def test_draws_and_seeds_are_told_apart() -> None:
    features, targets = make_data()
    rule = FitRule("logistic", Budget("shots", 3.0), n_draws=4)
    outcome = run_cell(StoredFeatures(features), targets, make_plan(), rule, SETTINGS)
    assert outcome.repeats() == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert {item.n_train for item in outcome.folds} == {9}
    one, two = (outcome.select(draw, 3) for draw in (0, 1))
    assert [item.fold for item in one.folds] == [item.fold for item in two.folds] == [0, 1, 2, 3]
    assert any((a.proba != b.proba).any() for a, b in zip(one.folds, two.folds, strict=True))


def test_threads_do_not_change_the_outcome() -> None:
    features, targets = make_data()
    rule = FitRule("logistic", Budget("percent", 25.0), n_draws=3)
    alone = run_cell(StoredFeatures(features), targets, make_plan(), rule, SETTINGS)
    together = run_cell(StoredFeatures(features), targets, make_plan(), rule, replace(SETTINGS, threads=2))
    for one, two in zip(alone.folds, together.folds, strict=True):
        assert (one.fold, one.draw) == (two.fold, two.draw)
        np.testing.assert_array_equal(one.proba, two.proba)


def test_a_fold_that_cannot_be_run_fails_the_cell_with_its_reason() -> None:
    features, targets = make_data()
    buffer = np.zeros((240, 4), bool)
    buffer[:, 2] = True
    outcome = run_cell(StoredFeatures(features), targets, make_plan(buffer=buffer), MAJORITY, SETTINGS)
    assert outcome.folds == ()
    assert "block fold 2" in outcome.problem
    assert "0 to train on" in outcome.problem


def test_permuted_labels_score_like_the_prior() -> None:
    features, targets = make_data(600)
    rule = FitRule("logistic", ALL, treatment="permuted_labels")
    outcome = run_cell(StoredFeatures(features), targets, make_plan(600), rule, SETTINGS)
    truth = np.concatenate([targets.values[item.test] for item in outcome.folds])
    pred = np.concatenate([item.pred for item in outcome.folds])
    assert abs((truth == pred).mean() - 1 / 3) < 0.12


def test_late_averages_are_means_of_two_probes() -> None:
    features, targets = make_data()
    other = np.random.default_rng(5).normal(size=(240, 3)).astype(np.float32)
    joined = JoinedFeatures((StoredFeatures(features), StoredFeatures(other)))
    rule = FitRule("logistic", ALL, treatment="late_average")
    averaged = run_cell(joined, targets, make_plan(), rule, SETTINGS)
    single = [run_cell(StoredFeatures(X), targets, make_plan(), LOGISTIC, SETTINGS) for X in (features, other)]
    for item, one, two in zip(averaged.folds, single[0].folds, single[1].folds, strict=True):
        np.testing.assert_allclose(item.proba, (one.proba + two.proba) / 2, atol=1e-6)


def test_joined_features_stand_side_by_side() -> None:
    features, _ = make_data()
    found = JoinedFeatures((StoredFeatures(features), StoredFeatures(-features[:, :2]))).of_fold(
        0, np.array([3, 1]), np.array([7])
    )
    parts = [features, -features[:, :2]]
    lengths = [np.sqrt((part[[3, 1]] ** 2).sum(axis=1).mean()) for part in parts]
    expected = np.hstack([part / length for part, length in zip(parts, lengths, strict=True)])
    np.testing.assert_allclose(found.train, expected[[3, 1]], rtol=1e-6)
    np.testing.assert_allclose(found.test, expected[[7]], rtol=1e-6)
    assert found.split_at == 4


def test_neither_part_of_a_joined_arm_outweighs_the_other_by_its_unit() -> None:
    features, _ = make_data()
    other = np.random.default_rng(5).normal(size=(240, 3)).astype(np.float32)
    train, test = np.arange(100), np.arange(100, 240)
    found, scaled = (
        JoinedFeatures((StoredFeatures(features), StoredFeatures(unit * other))).of_fold(0, train, test)
        for unit in (1.0, 1000.0)
    )
    np.testing.assert_allclose(scaled.test, found.test, rtol=1e-5)
    silent = JoinedFeatures((StoredFeatures(features), StoredFeatures(0 * other))).of_fold(0, train, test)
    assert (silent.test[:, 4:] == 0).all()


def test_selected_features_are_those_of_the_chosen_units() -> None:
    features, _ = make_data()
    chosen = np.array([10, 20, 30, 40])
    found = SelectedFeatures(StoredFeatures(features), chosen).of_fold(0, np.array([0, 2]), np.array([3]))
    np.testing.assert_array_equal(found.train, features[[10, 30]])
    np.testing.assert_array_equal(found.test, features[[40]])


def test_several_labels_are_predicted_at_fixed_and_at_tuned_thresholds() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 4)).astype(np.float32)
    # a rare label: at 0.5 hardly ever predicted
    labels = np.stack([features[:, 0] > 0, features[:, 1] + rng.normal(0, 1.5, 600) > 2.2], axis=1)
    outcome = run_cell(
        StoredFeatures(features), Targets("multilabel", labels, NAMES[:2]), make_plan(600), LOGISTIC, SETTINGS
    )
    assert outcome.problem == ""
    fixed, tuned = (np.concatenate([getattr(item, name) for item in outcome.folds]) for name in ("pred", "tuned"))
    truth = np.concatenate([labels[item.test] for item in outcome.folds])
    assert (fixed[:, 0] == truth[:, 0]).mean() > 0.9
    hit = [(pred[:, 1] & truth[:, 1]).sum() / truth[:, 1].sum() for pred in (fixed, tuned)]
    assert hit[1] > hit[0] + 0.1  # 0.5 hides recall


def test_thresholds_are_not_tuned_on_fewer_than_four_blocks() -> None:
    features, targets = make_data()
    plan = replace(make_plan(n_folds=2), block_id=np.arange(240) % 2)
    plan = replace(plan, fold=plan.block_id.astype(np.int8))
    labels = np.eye(3, dtype=bool)[targets.values]
    outcome = run_cell(StoredFeatures(features), Targets("multilabel", labels, NAMES), plan, LOGISTIC, SETTINGS)
    assert [item.tuned for item in outcome.folds] == [None, None]


def test_fractions_are_predicted_as_shares() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(240, 4)).astype(np.float32)
    shares = np.exp(2 * features[:, :3])
    shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    rule = FitRule("ridge", ALL)
    outcome = run_cell(StoredFeatures(features), Targets("fractions", shares, NAMES), make_plan(), rule, SETTINGS)
    for item in outcome.folds:
        np.testing.assert_allclose(item.pred.sum(axis=1), 1, atol=1e-5)
        assert item.pred.min() >= 0
        error = np.abs(item.pred - shares[item.test]).mean()
        assert error < np.abs(shares[item.test] - shares.mean(axis=0)).mean() / 2


def test_rankings_look_at_training_units_alone() -> None:
    features, targets = make_data()
    plan = make_plan(n_folds=3)
    by_fold = Targets("relevance", plan.fold.astype(np.int16), NAMES)
    outcome = run_cell(StoredFeatures(features), by_fold, plan, FitRule("cosine", ALL), SETTINGS)
    for item in outcome.folds:
        assert item.pred.shape == (len(item.test), len(RETRIEVAL_KS))
        assert (item.pred == 0).all()  # every relevant unit is in the fold that is tested
    ranked = run_cell(
        StoredFeatures(features), Targets("relevance", targets.values, NAMES), plan, FitRule("cosine", ALL), SETTINGS
    )
    assert np.concatenate([item.pred for item in ranked.folds])[:, 0].mean() > 0.5


def test_rankings_of_several_draws_are_told_apart() -> None:
    features, targets = make_data()
    few = FitRule("cosine", Budget("shots", 2.0), 3)
    by_class = Targets("relevance", targets.values, NAMES)
    outcome = run_cell(StoredFeatures(features), by_class, make_plan(), few, SETTINGS)
    assert outcome.repeats() == [(0, 3), (1, 3), (2, 3)]
    for draw, seed in outcome.repeats():
        assert sum(len(item.test) for item in outcome.select(draw, seed).folds) == 240
