from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.metrics import f1_score, fbeta_score, hamming_loss, mean_absolute_error, r2_score

from transforms.budgets import Budget
from transforms.cell_features import StoredFeatures
from transforms.cell_fits import FitFacts, FitRule, ProbeSettings
from transforms.cell_rows import confusion_rows, fill_columns, metric_rows, share_columns, sum_rows
from transforms.evaluation import CellOutcome, FoldOutcome, run_cell
from transforms.fold_plan import FoldPlan
from transforms.metrics import METRICS, confusion
from transforms.probes.registry import ProbeOptions
from transforms.targets import Targets
from transforms.tasks import RETRIEVAL_KS

NAMES = ("water", "trees", "crops")
ALL = Budget("percent", 100.0)


def fold(number: int, test: list[int], pred: np.ndarray, proba: np.ndarray | None = None, **other: Any) -> FoldOutcome:
    return FoldOutcome(number, np.array(test), pred, proba, 3, FitFacts(2, {}, True), **other)


def make_plan() -> FoldPlan:
    """Six units in three blocks and two folds; one is dropped."""
    blocks, folds = np.array([9, 9, 4, 4, 7, 7]), np.array([0, 0, 1, 1, 1, -1], np.int8)
    return FoldPlan("block", blocks, folds, np.array(["a", "a", "b", "b", "b", "b"]), np.zeros((6, 2), bool))


def make_classes() -> tuple[CellOutcome, Targets]:
    """One of five tested units is wrong."""
    pred = [np.array([0, 1], np.int16), np.array([1, 0, 0], np.int16)]
    eye = np.eye(3, dtype=np.float32)
    folds = (fold(0, [0, 1], pred[0], eye[pred[0]]), fold(1, [2, 3, 4], pred[1], eye[pred[1]]))
    return CellOutcome(folds, ""), Targets("class", np.array([0, 1, 1, 2, 0, 2], np.int16), NAMES)


def by_name(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, dict[str, Any]]:
    """Pick rows over all classes that have some values, by metric."""
    found = [row for row in rows if row["averaging"] != "none" and all(row.get(k) == v for k, v in wanted.items())]
    assert len({row["metric"] for row in found}) == len(found)
    return {row["metric"]: row for row in found}


def test_metrics_are_given_per_fold_and_once_for_the_sum() -> None:
    outcome, targets = make_classes()
    rows = metric_rows(outcome, targets, make_plan())
    tested = np.concatenate([item.test for item in outcome.folds])
    total = confusion(targets.values[tested], np.concatenate([item.pred for item in outcome.folds]), 3)
    summed = by_name(rows, fold=None)
    macro = {name for name, row in summed.items() if row["averaging"] == "macro"}
    assert macro == {"macro_f1", "balanced_accuracy", "mean_iou", "roc_auc"}
    assert set(summed) == {*METRICS, "log_loss", "ece", "roc_auc"}
    for name, score in METRICS.items():
        assert summed[name]["value"] == pytest.approx(float(score(total)), nan_ok=True)
    assert summed["overall_accuracy"]["value"] == pytest.approx(4 / 5)  # the dropped unit does not count
    assert (summed["overall_accuracy"]["n_units"], summed["overall_accuracy"]["n_blocks"]) == (5, 3)
    for number, accuracy, n_units, n_blocks in ((0, 1.0, 2, 1), (1, 2 / 3, 3, 2)):
        here = by_name(rows, fold=number)
        assert here["overall_accuracy"]["value"] == pytest.approx(accuracy)
        assert (here["overall_accuracy"]["n_units"], here["overall_accuracy"]["n_blocks"]) == (n_units, n_blocks)


def test_metrics_per_class() -> None:
    outcome, targets = make_classes()
    rows = [row for row in metric_rows(outcome, targets, make_plan()) if row["averaging"] == "none"]
    truth, pred = np.array([0, 1, 1, 2, 0]), np.array([0, 1, 1, 0, 0])
    f1 = [row for row in rows if row["metric"] == "f1"]
    assert [row["class_name"] for row in f1] == list(NAMES)
    assert [row["class_id"] for row in f1] == [0, 1, 2]
    assert [row["support"] for row in f1] == [2, 2, 1]
    np.testing.assert_allclose([row["value"] for row in f1], f1_score(truth, pred, average=None))
    np.testing.assert_allclose([row["value"] for row in rows if row["metric"] == "iou"], [2 / 3, 1, 0])


def test_draws_are_scored_one_by_one() -> None:
    outcome, targets = make_classes()
    other = tuple(
        fold(item.fold, item.test.tolist(), (item.pred + 1) % 3, item.proba, draw=1) for item in outcome.folds
    )
    rows = metric_rows(CellOutcome((*outcome.folds, *other), ""), targets, make_plan())
    assert by_name(rows, fold=None, draw=0)["overall_accuracy"]["value"] == pytest.approx(4 / 5)
    assert by_name(rows, fold=None, draw=1)["overall_accuracy"]["value"] == pytest.approx(0)


def test_transfers_are_scored_by_test_region() -> None:
    plan = FoldPlan(
        "transfer",
        np.arange(6),
        np.array([0, 0, 1, 1, 2, 2], np.int8),
        np.array(list("aabbcc")),
        np.zeros((6, 3), bool),
    )
    targets = Targets("class", np.array([0, 1, 0, 1, 0, 1], np.int16), NAMES)
    proba = np.eye(3, dtype=np.float32)
    folds = tuple(
        fold(number, [i for i in range(6) if i // 2 != number], np.zeros(4, np.int16), proba[np.zeros(4, int)])
        for number in range(3)
    )
    rows = metric_rows(CellOutcome(folds, ""), targets, plan)
    pairs = {(r["region"], r["stratum_value"]) for r in rows if r.get("stratum") == "test_region"}
    assert pairs == {(a, b) for a in "abc" for b in "abc" if a != b}
    one = by_name(rows, region="a", stratum_value="b")
    assert (one["overall_accuracy"]["value"], one["overall_accuracy"]["n_units"]) == (0.5, 2)


def test_confusions_are_counted_per_fold_and_block() -> None:
    outcome, targets = make_classes()
    table = confusion_rows(outcome, targets, make_plan())
    rows = sorted(tuple(row.values()) for row in table.select(["fold", "block_id", "truth", "pred", "n"]).to_pylist())
    assert rows == [(0, 9, 0, 0, 1), (0, 9, 1, 1, 1), (1, 4, 1, 1, 1), (1, 4, 2, 0, 1), (1, 7, 0, 0, 1)]
    assert table.schema.field("truth").type == pa.int16()
    assert table["class_id"].null_count == table.num_rows
    assert sum_rows(outcome, targets, make_plan()).num_rows == 0


def test_a_cell_without_folds_has_no_rows() -> None:
    empty = CellOutcome((), "why")
    table = confusion_rows(empty, make_classes()[1], make_plan())
    assert table.num_rows == 0
    assert table.schema.field("pred").type == pa.int16()
    assert metric_rows(empty, make_classes()[1], make_plan()) == []


def make_labels() -> tuple[CellOutcome, Targets, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.random((6, 3)) < 0.5
    proba = np.where(labels, 0.7, 0.4).astype(np.float32)
    proba[1] = 1 - proba[1]
    tuned = proba > 0.65
    folds = tuple(
        fold(number, test, proba[test] >= 0.5, proba[test], tuned=tuned[test])
        for number, test in ((0, [0, 1]), (1, [2, 3, 4]))
    )
    return CellOutcome(folds, ""), Targets("multilabel", labels, NAMES), labels[:5], proba[:5]


def test_labels_are_scored_as_scikit_learn_scores_them() -> None:
    outcome, targets, truth, proba = make_labels()
    rows = metric_rows(outcome, targets, make_plan())
    seen = truth.any(axis=0) | (proba >= 0.5).any(axis=0)
    found = by_name(rows, fold=None, threshold_rule="0.5")
    pred = proba >= 0.5
    for average in ("macro", "micro"):
        expected = fbeta_score(truth[:, seen], pred[:, seen], beta=2, average=average, zero_division=0)
        assert found[f"{average}_f2"]["value"] == pytest.approx(expected)
        assert found[f"{average}_f2"]["averaging"] == average
    assert found["hamming_loss"]["value"] == pytest.approx(hamming_loss(truth, pred))
    assert found["label_density"]["value"] == pytest.approx(truth.mean())
    assert {row.get("threshold_rule") for row in rows} == {None, "0.5", "tuned"}
    per_label = [row for row in rows if row["metric"] == "f2" and row["threshold_rule"] == "tuned"]
    assert [row["class_name"] for row in per_label] == list(NAMES)


def test_labels_are_counted_per_block_label_and_threshold_rule() -> None:
    outcome, targets, truth, proba = make_labels()
    table = confusion_rows(outcome, targets, make_plan())
    for rule in ("0.5", "tuned"):
        here = table.filter(pc.field("threshold_rule") == rule)
        assert sum(here["n"].to_pylist()) == truth.size
        for label in range(3):
            mine = here.filter(pc.field("class_id") == label)
            assert sum(mine.filter(pc.field("truth") == 1)["n"].to_pylist()) == truth[:, label].sum()
    fixed = table.filter((pc.field("threshold_rule") == "0.5") & (pc.field("pred") == 1))
    assert sum(fixed["n"].to_pylist()) == (proba >= 0.5).sum()


def test_untuned_thresholds_leave_a_row_that_says_so() -> None:
    outcome, targets, _, _ = make_labels()
    untuned = tuple(fold(i.fold, i.test.tolist(), i.pred, i.proba) for i in outcome.folds)
    rows = metric_rows(CellOutcome(untuned, ""), targets, make_plan())
    (row,) = [row for row in rows if row.get("threshold_rule") == "tuned" and row["fold"] is None]
    assert row["status"].startswith("skipped: too few training blocks")
    assert row.get("value") is None


def test_thresholds_that_one_fold_could_not_tune_are_counted_in_none() -> None:
    outcome, targets, _, _ = make_labels()
    first, second = outcome.folds
    table = confusion_rows(CellOutcome((first, replace(second, tuned=None)), ""), targets, make_plan())
    assert set(table["threshold_rule"].to_pylist()) == {"0.5"}
    assert set(table["fold"].to_pylist()) == {0, 1}


def test_numbers_are_scored_and_summed_per_block() -> None:
    rng = np.random.default_rng(0)
    truth, pred = rng.normal(size=(6, 2)).astype(np.float32), rng.normal(size=(6, 2)).astype(np.float32)
    targets = Targets("values", truth, ("VV", "VH"))
    folds = (fold(0, [0, 1], pred[:2]), fold(1, [2, 3, 4], pred[2:5]))
    outcome = CellOutcome(folds, "")
    rows = metric_rows(outcome, targets, make_plan())
    found = by_name(rows, fold=None)
    assert found["r2"]["value"] == pytest.approx(r2_score(truth[:5], pred[:5]), rel=1e-6)
    assert found["mae"]["value"] == pytest.approx(mean_absolute_error(truth[:5], pred[:5]), rel=1e-6)
    assert [row["class_name"] for row in rows if row["metric"] == "r2" and row["averaging"] == "none"] == ["VV", "VH"]
    sums = sum_rows(outcome, targets, make_plan())
    assert confusion_rows(outcome, targets, make_plan()).num_rows == 0
    vh = sums.filter((pc.field("class_id") == 1) & (pc.field("block_id") == 4))
    assert vh["n"].to_pylist() == [2]
    assert vh["sum_abs_error"].to_pylist()[0] == pytest.approx(np.abs(pred - truth)[2:4, 1].sum())
    assert sums["k"].null_count == sums.num_rows


def test_rankings_are_averaged_over_queries() -> None:
    precision = np.array([[1.0, 0.5, 0.2], [0.0, 0.5, 0.2], [1.0, 1.0, 0.2], [1.0, 0.0, 0.2], [0.0, 0.0, 0.2]])
    folds = (fold(0, [0, 1], precision[:2]), fold(1, [2, 3, 4], precision[2:]))
    targets = Targets("relevance", np.zeros(6, np.int16), NAMES)
    rows = metric_rows(CellOutcome(folds, ""), targets, make_plan())
    found = {row["k"]: row["value"] for row in rows if row["fold"] is None}
    assert found == pytest.approx(dict(zip(RETRIEVAL_KS, (0.6, 0.4, 0.2), strict=True)))
    sums = sum_rows(CellOutcome(folds, ""), targets, make_plan())
    first = sums.filter((pc.field("k") == RETRIEVAL_KS[0]) & (pc.field("block_id") == 9))
    assert (first["n"].to_pylist(), first["sum_precision"].to_pylist()) == ([2], [1.0])


def test_confusions_sum_to_the_tested_units() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 240).astype(np.int16)
    block = np.arange(240) // 10
    plan = FoldPlan("block", block, (block % 4).astype(np.int8), None, np.zeros((240, 4), bool))
    targets = Targets("class", labels, NAMES)
    settings = ProbeSettings(ProbeOptions(), 1000, 0)
    features = StoredFeatures(rng.normal(size=(240, 3)).astype(np.float32))
    table = confusion_rows(run_cell(features, targets, plan, FitRule("logistic", ALL), settings), targets, plan)
    assert sum(table["n"].to_pylist()) == 240
    assert min(table["n"].to_pylist()) > 0
    for c, count in enumerate(np.bincount(labels, minlength=3)):
        assert sum(table.filter(pc.field("truth") == c)["n"].to_pylist()) == count


def test_columns_are_filled_from_rows_then_shared_values_then_null() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())])
    table = fill_columns([{"a": 1, "b": "own"}, {"a": None}], {"b": "shared", "a": 9}, schema)
    assert table.schema == schema
    assert table.to_pylist() == [{"a": 1, "b": "own", "c": None}, {"a": None, "b": "shared", "c": None}]
    assert fill_columns([], {"b": "x"}, schema).num_rows == 0
    shared = share_columns(pa.table({"a": pa.array([1, 2], pa.int32())}), {"b": "shared", "a": 9}, schema)
    assert shared.to_pylist() == [{"a": 1, "b": "shared", "c": None}, {"a": 2, "b": "shared", "c": None}]
