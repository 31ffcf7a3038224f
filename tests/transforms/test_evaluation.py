from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.metrics import f1_score

from transforms.evaluation import (
    CellOutcome,
    FoldOutcome,
    ProbeSettings,
    StoredFeatures,
    confusion_rows,
    fill_columns,
    metric_rows,
    run_cell,
    stack_confusions,
)
from transforms.folds import FoldPlan, fold_split
from transforms.metrics import METRICS, confusion
from transforms.probes.logistic import LogisticProbe
from transforms.probes.majority import MajorityProbe

NAMES = ("water", "trees", "crops")
SETTINGS = ProbeSettings(c_grid=(1.0,), max_train_units=1000, seed=3)


def make_plan(n: int = 240, n_folds: int = 4, *, buffer: np.ndarray | None = None) -> FoldPlan:
    block = np.arange(n) // 10
    in_buffer = np.zeros((n, n_folds), bool) if buffer is None else buffer
    return FoldPlan("block", block, (block % n_folds).astype(np.int8), None, in_buffer)


def make_data(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that a linear probe can tell apart, but not without error."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.int16)
    features = rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[labels]
    return features.astype(np.float32), labels


def hand_made() -> tuple[CellOutcome, np.ndarray, FoldPlan]:
    """Six units in three blocks and two folds; one is wrong, one is dropped."""
    labels = np.array([0, 1, 1, 2, 0, 2], np.int16)
    plan = FoldPlan(
        "block", np.array([9, 9, 4, 4, 7, 7]), np.array([0, 0, 1, 1, 1, -1], np.int8), None, np.zeros((6, 2), bool)
    )
    probe = MajorityProbe(3)
    pred = [np.array([0, 1], np.int16), np.array([1, 0, 0], np.int16)]
    folds = [
        FoldOutcome(f, np.flatnonzero(plan.fold == f), pred[f], np.eye(3, dtype=np.float32)[pred[f]], 3, probe)
        for f in (0, 1)
    ]
    return CellOutcome(tuple(folds), ""), labels, plan


def test_every_unit_is_tested_once_by_a_probe_that_did_not_see_its_fold() -> None:
    features, labels = make_data()
    plan = make_plan()
    outcome = run_cell(StoredFeatures(features), labels, plan, "logistic", 3, SETTINGS)
    assert outcome.problem == ""
    assert [item.fold for item in outcome.folds] == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.sort(np.concatenate([item.test for item in outcome.folds])), np.arange(240))
    for item in outcome.folds:
        train, test = fold_split(plan, item.fold)
        np.testing.assert_array_equal(item.test, test)
        probe = LogisticProbe(3, c_grid=(1.0,), seed=3).fit(features[train], labels[train], groups=plan.block_id[train])
        np.testing.assert_allclose(item.proba, probe.predict_proba(features[test]), atol=1e-5)
        np.testing.assert_array_equal(item.pred, item.proba.argmax(axis=1))
        assert item.n_train == len(train)
    accuracy = np.mean([(labels[item.test] == item.pred).mean() for item in outcome.folds])
    assert 0.6 < accuracy < 0.95


def test_units_in_the_buffer_are_not_trained_on() -> None:
    features, labels = make_data()
    buffer = np.zeros((240, 4), bool)
    buffer[:200, 0] = True
    outcome = run_cell(StoredFeatures(features), labels, make_plan(buffer=buffer), "majority", 3, SETTINGS)
    assert [item.n_train for item in outcome.folds] == [30, 180, 180, 180]


def test_large_folds_are_drawn_the_same_for_every_arm() -> None:
    features, labels = make_data()
    few = ProbeSettings((1.0,), 40, 3)
    first = run_cell(StoredFeatures(features), labels, make_plan(), "logistic", 3, few)
    again = run_cell(StoredFeatures(features.copy()), labels, make_plan(), "logistic", 3, few)
    other_seed = run_cell(StoredFeatures(features), labels, make_plan(), "logistic", 3, ProbeSettings((1.0,), 40, 4))
    assert [item.n_train for item in first.folds] == [40] * 4
    for one, two in zip(first.folds, again.folds, strict=True):
        np.testing.assert_array_equal(one.proba, two.proba)
    assert any((a.proba != b.proba).any() for a, b in zip(first.folds, other_seed.folds, strict=True))


def test_the_draw_is_of_training_units_alone() -> None:
    # label = fold: a draw that held test units would know their class
    plan = make_plan(n_folds=3)
    labels = plan.fold.astype(np.int16)
    outcome = run_cell(
        StoredFeatures(np.zeros((240, 1), np.float32)), labels, plan, "majority", 3, ProbeSettings((1.0,), 20, 0)
    )
    for item in outcome.folds:
        assert (item.proba[:, item.fold] == 0).all()


def test_a_fold_that_cannot_be_run_fails_the_cell_with_its_reason() -> None:
    features, labels = make_data()
    buffer = np.zeros((240, 4), bool)
    buffer[:, 2] = True
    outcome = run_cell(StoredFeatures(features), labels, make_plan(buffer=buffer), "majority", 3, SETTINGS)
    assert outcome.folds == ()
    assert "block fold 2" in outcome.problem
    assert "0 to train on" in outcome.problem


def test_metrics_are_given_per_fold_and_once_for_the_sum() -> None:
    outcome, labels, plan = hand_made()
    rows = metric_rows(outcome, labels, plan, NAMES)
    tested = np.concatenate([item.test for item in outcome.folds])
    total = confusion(labels[tested], np.concatenate([item.pred for item in outcome.folds]), 3)
    summed = {row["metric"]: row for row in rows if row["fold"] is None and row["averaging"] != "none"}
    macro = {name for name, row in summed.items() if row["averaging"] == "macro"}
    assert macro == {"macro_f1", "balanced_accuracy", "mean_iou"}
    assert set(summed) == set(METRICS)
    for name, score in METRICS.items():
        assert summed[name]["value"] == pytest.approx(float(score(total)), nan_ok=True)
    assert summed["overall_accuracy"]["value"] == pytest.approx(4 / 5)  # the dropped unit does not count
    assert (summed["overall_accuracy"]["n_units"], summed["overall_accuracy"]["n_blocks"]) == (5, 3)
    for fold, accuracy, n_units, n_blocks in ((0, 1.0, 2, 1), (1, 2 / 3, 3, 2)):
        here = {row["metric"]: row for row in rows if row["fold"] == fold}
        assert set(here) == {*METRICS, "log_loss", "ece"}
        assert here["overall_accuracy"]["value"] == pytest.approx(accuracy)
        assert (here["overall_accuracy"]["n_units"], here["overall_accuracy"]["n_blocks"]) == (n_units, n_blocks)


def test_metrics_per_class() -> None:
    outcome, labels, plan = hand_made()
    rows = [row for row in metric_rows(outcome, labels, plan, NAMES) if row["averaging"] == "none"]
    truth = np.array([0, 1, 1, 2, 0])
    pred = np.array([0, 1, 1, 0, 0])
    f1 = [row for row in rows if row["metric"] == "f1"]
    assert [row["class_name"] for row in f1] == list(NAMES)
    assert [row["class_id"] for row in f1] == [0, 1, 2]
    assert [row["support"] for row in f1] == [2, 2, 1]
    np.testing.assert_allclose([row["value"] for row in f1], f1_score(truth, pred, average=None))
    iou = [row["value"] for row in rows if row["metric"] == "iou"]
    np.testing.assert_allclose(iou, [2 / 3, 1, 0])


def test_confusions_are_counted_per_fold_and_block() -> None:
    outcome, labels, plan = hand_made()
    table = confusion_rows(outcome, labels, plan, 3)
    rows = sorted(tuple(row.values()) for row in table.to_pylist())
    assert table.column_names == ["fold", "block_id", "truth", "pred", "n"]
    assert rows == [(0, 9, 0, 0, 1), (0, 9, 1, 1, 1), (1, 4, 1, 1, 1), (1, 4, 2, 0, 1), (1, 7, 0, 0, 1)]
    assert table.schema.field("truth").type == pa.int16()


def test_confusions_sum_to_the_tested_units() -> None:
    features, labels = make_data()
    outcome = run_cell(StoredFeatures(features), labels, make_plan(), "logistic", 3, SETTINGS)
    table = confusion_rows(outcome, labels, make_plan(), 3)
    assert sum(table["n"].to_pylist()) == 240
    assert min(table["n"].to_pylist()) > 0
    per_class = np.bincount(labels, minlength=3)
    for c in range(3):
        assert sum(table.filter(pc.equal(table["truth"], c))["n"].to_pylist()) == per_class[c]


def test_a_cell_without_folds_has_no_confusions() -> None:
    table = confusion_rows(CellOutcome((), "why"), np.empty(0, np.int16), make_plan(), 3)
    assert table.num_rows == 0
    assert table.schema.field("pred").type == pa.int16()


def test_paired_confusions_stand_on_the_same_blocks() -> None:
    columns = ("block_id", "truth", "pred", "n")
    arm = pa.table(dict(zip(columns, ([30, 10, 30], [0, 1, 0], [1, 1, 1], [2, 5, 4]), strict=True)))
    reference = pa.table(dict(zip(columns, ([20, 30], [1, 0], [0, 0], [7, 6]), strict=True)))
    left, right = stack_confusions(arm, reference, 2)
    assert left.tolist() == [[[0, 0], [0, 5]], [[0, 0], [0, 0]], [[0, 6], [0, 0]]]  # blocks 10, 20, 30; folds summed
    assert right.tolist() == [[[0, 0], [0, 0]], [[0, 0], [7, 0]], [[6, 0], [0, 0]]]


def test_columns_are_filled_from_rows_then_shared_values_then_null() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())])
    table = fill_columns([{"a": 1, "b": "own"}, {"a": None}], {"b": "shared", "a": 9}, schema)
    assert table.schema == schema
    assert table.to_pylist() == [{"a": 1, "b": "own", "c": None}, {"a": None, "b": "shared", "c": None}]
    assert fill_columns([], {"b": "x"}, schema).num_rows == 0
