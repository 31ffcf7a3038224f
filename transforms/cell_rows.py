"""Rows that a cell leaves: metrics per fold and over all folds, and counts or sums per spatial block.

Belongs here: which metrics a kind of target has, and their rows. Does not: the metrics themselves, running cells
(`transforms/evaluation.py`), columns that all rows of a cell share (`warehouse/study.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.evaluation import CellOutcome, FoldOutcome
from transforms.fold_plan import FoldPlan
from transforms.metrics import METRICS, PER_CLASS_METRICS, confusion, confusion_by_block, ece, log_loss
from transforms.multilabel_metrics import (
    MULTILABEL_METRICS,
    PER_LABEL_METRICS,
    binary_counts,
    binary_counts_by_block,
    predict_labels,
)
from transforms.ranking_metrics import (
    average_precision,
    class_flags,
    macro_average_precision,
    macro_roc_auc,
    micro_average_precision,
    roc_auc,
)
from transforms.regression_metrics import PER_OUTPUT_METRICS, REGRESSION_METRICS, regression_sums_by_block
from transforms.retrieval import retrieval_sums_by_block
from transforms.targets import Targets
from transforms.tasks import RETRIEVAL_KS

Row = dict[str, Any]
#: What of a metric's name is an average over classes.
_AVERAGES = {"macro_f1": "macro", "balanced_accuracy": "macro", "mean_iou": "macro"}
#: Threshold rules of several labels.
FIXED, TUNED = "0.5", "tuned"


def metric_rows(outcome: CellOutcome, targets: Targets, plan: FoldPlan) -> list[Row]:
    """Score a cell: for each draw and seed per fold, and once over all folds (`fold` NULL).

    Returns:
        Rows with draw, seed, fold, region, stratum, stratum_value, metric, averaging, threshold_rule, k, value,
        n_units, n_blocks, support, class_id, class_name (those that apply).
    """
    rows = []
    for draw, seed in outcome.repeats():
        once = outcome.select(draw, seed)
        for where, folds in _parts(once, plan):
            found = _SCORERS[targets.kind](folds, targets, plan, is_whole=where["fold"] is None)
            rows += [{"draw": draw, "seed": seed, **where, **row} for row in found]
    return rows


def confusion_rows(outcome: CellOutcome, targets: Targets, plan: FoldPlan) -> pa.Table:
    """Count (truth, prediction) pairs per fold and spatial block; zero counts are left out.

    Of several labels each has its own pairs of 0 and 1 (`class_id`), at 0.5 and at tuned thresholds.

    Returns:
        Arrow table with draw, seed, fold, block_id, class_id, threshold_rule, truth, pred, n; empty for targets that
        are numbers.
    """
    parts = []
    for draw, seed in outcome.repeats():
        once = outcome.select(draw, seed).folds
        is_tuned = all(item.tuned is not None for item in once)
        # counts of some folds alone would pass for those of all: the metrics say that there are none
        kept = once if is_tuned else [replace(item, tuned=None) for item in once]
        parts += [part for item in kept for part in _count(item, targets, plan)]
    return _stack(parts, _CONFUSION_TYPES)


def sum_rows(outcome: CellOutcome, targets: Targets, plan: FoldPlan) -> pa.Table:
    """Sum errors, or the precision of rankings, per fold and spatial block.

    Returns:
        Arrow table with draw, seed, fold, block_id, class_id or k, n and the sums; empty for classes and labels.
    """
    parts = [part for item in outcome.folds for part in _sum(item, targets, plan)]
    return _stack(parts, _SUM_TYPES)


def _parts(outcome: CellOutcome, plan: FoldPlan) -> Iterator[tuple[Row, Sequence[FoldOutcome]]]:
    """Give what is scored together: each fold, all folds, and each pair of regions of a transfer."""
    for item in outcome.folds:
        yield {"fold": item.fold, "region": plan.region_of(item.fold)}, [item]
        if plan.trains_on_one and plan.region is not None:
            there = plan.region[item.test]
            for name in np.unique(there):
                where = {"fold": item.fold, "region": plan.region_of(item.fold)}
                where |= {"stratum": "test_region", "stratum_value": str(name)}
                yield where, [item.take(there == name)]
    yield {"fold": None}, outcome.folds


# -- scores by kind of target ---------------------------------------------------------------------------------


def _score_classes(folds: Sequence[FoldOutcome], targets: Targets, plan: FoldPlan, *, is_whole: bool) -> list[Row]:
    k = targets.n_outputs
    truth, pred = _joined(folds, targets)
    counts = confusion(truth, pred, k)
    size = _size(folds, plan)
    shared = {**size, "threshold_rule": "argmax"}
    rows = [_row(name, float(score(counts)), shared, _AVERAGES.get(name)) for name, score in METRICS.items()]
    proba = np.concatenate([item.proba for item in folds if item.proba is not None])
    flags = class_flags(truth, k)
    rows += [
        _row("log_loss", log_loss(truth, proba), shared),
        _row("ece", ece(truth, proba), shared),
        _row("roc_auc", macro_roc_auc(flags, proba), shared, "macro"),
    ]
    if is_whole:
        support = counts.sum(axis=1)
        for name, score in PER_CLASS_METRICS.items():
            rows += _per_class(name, score(counts), targets.names, shared, support)
    return rows


def _score_labels(folds: Sequence[FoldOutcome], targets: Targets, plan: FoldPlan, *, is_whole: bool) -> list[Row]:
    truth = np.concatenate([targets.values[item.test] for item in folds])
    proba = np.concatenate([item.proba for item in folds if item.proba is not None])
    size = _size(folds, plan)
    rows = [
        _row("average_precision", macro_average_precision(truth, proba), size, "macro"),
        _row("average_precision", micro_average_precision(truth, proba), size, "micro"),
        _row("roc_auc", macro_roc_auc(truth, proba), size, "macro"),
    ]
    support = truth.sum(axis=0)
    if is_whole:
        rows += _per_class("average_precision", average_precision(truth, proba), targets.names, size, support)
        rows += _per_class("roc_auc", roc_auc(truth, proba), targets.names, size, support)
    predictions = _label_predictions(folds)
    for rule, pred in predictions:
        shared = {**size, "threshold_rule": rule}
        counts = binary_counts(truth, pred)
        for name, score in MULTILABEL_METRICS.items():
            average = name.split("_")[0] if name.startswith(("macro_", "micro_")) else None
            rows.append(_row(name, float(score(counts)), shared, average))
        if is_whole:
            for name, score in PER_LABEL_METRICS.items():
                rows += _per_class(name, score(counts), targets.names, shared, support)
    if all(rule != TUNED for rule, _ in predictions):
        reason = "skipped: too few training blocks to tune thresholds on"
        rows.append({"metric": "macro_f1", "averaging": "macro", "threshold_rule": TUNED, **size, "status": reason})
    return rows


def _score_numbers(folds: Sequence[FoldOutcome], targets: Targets, plan: FoldPlan, *, is_whole: bool) -> list[Row]:
    truth, pred = _joined(folds, targets)
    sums = regression_sums_by_block(truth, pred, np.zeros(len(truth), np.int64))[1].sum(axis=0)
    size = _size(folds, plan)
    rows = [_row(name, float(score(sums)), size, "macro") for name, score in REGRESSION_METRICS.items()]
    if is_whole:
        support = np.full(targets.n_outputs, len(truth))
        for name, score in PER_OUTPUT_METRICS.items():
            rows += _per_class(name, score(sums), targets.names, size, support)
    return rows


def _score_rankings(folds: Sequence[FoldOutcome], targets: Targets, plan: FoldPlan, *, is_whole: bool) -> list[Row]:
    precision = np.concatenate([item.pred for item in folds])
    size = _size(folds, plan)
    mean = precision.mean(axis=0, dtype=np.float64)
    return [{**_row("precision_at_k", float(value), size), "k": k} for k, value in zip(RETRIEVAL_KS, mean, strict=True)]


class _Scorer(Protocol):
    """Scores folds together; `is_whole` adds rows by class: all folds of a cell, be it one."""

    def __call__(
        self, folds: Sequence[FoldOutcome], targets: Targets, plan: FoldPlan, *, is_whole: bool
    ) -> list[Row]: ...


_SCORERS: Mapping[str, _Scorer] = {
    "class": _score_classes,
    "multilabel": _score_labels,
    "fractions": _score_numbers,
    "values": _score_numbers,
    "relevance": _score_rankings,
}


# -- counts and sums per block --------------------------------------------------------------------------------


def _count(item: FoldOutcome, targets: Targets, plan: FoldPlan) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
    """Give the non-zero counts of one fit as columns."""
    truth, block = targets.values[item.test], plan.block_id[item.test]
    if targets.kind == "class":
        blocks, counts = confusion_by_block(truth, item.pred, block, targets.n_outputs)
        slot, t, p = np.nonzero(counts)
        yield _columns(item, blocks[slot], truth=t, pred=p, n=counts[slot, t, p], threshold_rule="argmax")
    if targets.kind == "multilabel":
        for rule, pred in _label_predictions([item]):
            blocks, counts = binary_counts_by_block(truth, pred, block)
            slot, label, t, p = np.nonzero(counts)
            n = counts[slot, label, t, p]
            yield _columns(item, blocks[slot], truth=t, pred=p, n=n, class_id=label, threshold_rule=rule)


def _sum(item: FoldOutcome, targets: Targets, plan: FoldPlan) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
    """Give the sums of one fit as columns."""
    block = plan.block_id[item.test]
    if targets.is_continuous:
        blocks, sums = regression_sums_by_block(targets.values[item.test], item.pred, block)
        output = np.tile(np.arange(targets.n_outputs), len(blocks))
        parts = dict(zip(_ERROR_SUMS, sums.reshape(-1, sums.shape[-1]).T, strict=True))
        yield _columns(item, np.repeat(blocks, targets.n_outputs), class_id=output, **parts)
    if targets.kind == "relevance":
        blocks, sums = retrieval_sums_by_block(item.pred, block)
        ks = np.tile(np.array(RETRIEVAL_KS), len(blocks))
        n, total = sums.reshape(-1, 2).T
        yield _columns(item, np.repeat(blocks, len(RETRIEVAL_KS)), k=ks, n=n, sum_precision=total)


#: Columns of the last axis of `regression_sums_by_block`.
_ERROR_SUMS = ("n", "sum_truth", "sum_truth_squared", "sum_abs_error", "sum_squared_error", "sum_error")
_KEY_TYPES = {"draw": pa.int64(), "seed": pa.int64(), "fold": pa.int64(), "block_id": pa.int64()}
_CONFUSION_TYPES = {
    **_KEY_TYPES,
    "class_id": pa.int64(),
    "threshold_rule": pa.string(),
    "truth": pa.int16(),
    "pred": pa.int16(),
    "n": pa.int64(),
}
_SUM_TYPES = {
    **_KEY_TYPES,
    "class_id": pa.int64(),
    "k": pa.int64(),
    "n": pa.int64(),
    **{name: pa.float64() for name in (*_ERROR_SUMS[1:], "sum_precision")},
}


def _columns(item: FoldOutcome, block: npt.NDArray[np.int64], **values: Any) -> Mapping[str, npt.NDArray[Any]]:
    shared = {"draw": item.draw, "seed": item.seed, "fold": item.fold}
    return {
        name: np.broadcast_to(value, block.shape) for name, value in {**shared, "block_id": block, **values}.items()
    }


def _stack(parts: Sequence[Mapping[str, npt.NDArray[Any]]], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Put parts with the same columns below each other; columns that none of them has are NULL."""
    count = sum(len(part["block_id"]) for part in parts)
    columns = {}
    for name, kind in types.items():
        if parts and name in parts[0]:
            columns[name] = pa.array(np.concatenate([part[name] for part in parts])).cast(kind)
        else:
            columns[name] = pa.nulls(count, kind)
    return pa.table(columns)


# -- tables -----------------------------------------------------------------------------------------------------


def fill_columns(rows: Sequence[Mapping[str, Any]], shared: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Make a table of a declared schema from rows and values that they share; the rest is NULL."""
    columns = {}
    for column in schema:
        values = [row.get(column.name, shared.get(column.name)) for row in rows]
        columns[column.name] = pa.array(values, column.type)
    return pa.table(columns, schema=schema)


def share_columns(rows: pa.Table, shared: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Add shared columns to a table and put it into a declared schema; the rest is NULL."""
    columns = []
    for column in schema:
        if column.name in rows.column_names:
            columns.append(rows[column.name].cast(column.type))
        else:
            columns.append(pa.array([shared.get(column.name)] * rows.num_rows, column.type))
    return pa.table(columns, schema=schema)


# -- pieces ----------------------------------------------------------------------------------------------------


def _joined(folds: Sequence[FoldOutcome], targets: Targets) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    truth = np.concatenate([targets.values[item.test] for item in folds])
    return truth, np.concatenate([item.pred for item in folds])


def _label_predictions(folds: Sequence[FoldOutcome]) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Give predicted labels at 0.5 and, where every fold could tune them, at tuned thresholds."""
    proba = np.concatenate([item.proba for item in folds if item.proba is not None])
    found = [(FIXED, predict_labels(proba))]
    tuned = [item.tuned for item in folds if item.tuned is not None]
    if len(tuned) == len(folds):
        found.append((TUNED, np.concatenate(tuned)))
    return found


def _size(folds: Sequence[FoldOutcome], plan: FoldPlan) -> Row:
    test = np.concatenate([item.test for item in folds])
    return {"n_units": len(test), "n_blocks": len(np.unique(plan.block_id[test]))}


def _row(metric: str, value: float, shared: Mapping[str, Any], averaging: str | None = None) -> Row:
    return {"metric": metric, "averaging": averaging, "value": value, **shared}


def _per_class(
    metric: str,
    values: npt.NDArray[np.float64],
    names: Sequence[str],
    shared: Mapping[str, Any],
    support: npt.NDArray[np.generic],
) -> list[Row]:
    return [
        {**_row(metric, float(value), shared, "none"), "class_id": i, "class_name": name, "support": int(support[i])}
        for i, (name, value) in enumerate(zip(names, values, strict=True))
    ]
