"""What of a task is compared between arms, as functions of counts or sums per spatial block.

Belongs here: turning stored rows of `out_probe__confusions` and `out_probe__sums` into paired arrays, and the
statistics of each kind of target. Does not: intervals (`transforms/inference.py`), which arms are compared
(`warehouse/contrasts.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import multilabel_metrics, regression_metrics, retrieval
from transforms.cell_rows import FIXED, TUNED
from transforms.inference import Score, Units
from transforms.metrics import METRICS
from transforms.tasks import RETRIEVAL_KS, TargetKind

Sums = npt.NDArray[Any]
Source = Literal["out_probe__confusions", "out_probe__sums"]


@dataclass(frozen=True)
class BlockStatistic:
    """One number that two arms are compared by.

    Attributes:
        metric: name in `out_probe__contrasts`.
        source: table with its counts or sums.
        score: sums (..., *trailing) to (...).
        units: what sums say of the units alone, see `inference.contrast_sums`.
        higher_is_better: False for losses.
        threshold_rule: of labels; None where there is none.
        k: of precision at k; None for others.
    """

    metric: str
    source: Source
    score: Score
    units: Units
    higher_is_better: bool = True
    threshold_rule: str | None = None
    k: int | None = None


def truth_counts(confusions: Sums) -> Sums:
    """Give what confusions say of the units alone: (..., k, k) to (..., k)."""
    return np.asarray(confusions.sum(axis=-1))


def _of_confusions(metric: str) -> BlockStatistic:
    return BlockStatistic(metric, "out_probe__confusions", METRICS[metric], truth_counts)


def _of_labels(metric: str, rule: str) -> BlockStatistic:
    score, units = multilabel_metrics.MULTILABEL_METRICS[metric], multilabel_metrics.units_of_counts
    is_better = metric not in multilabel_metrics.LOWER_IS_BETTER
    return BlockStatistic(metric, "out_probe__confusions", score, units, is_better, threshold_rule=rule)


def _of_errors(metric: str) -> BlockStatistic:
    score, units = regression_metrics.REGRESSION_METRICS[metric], regression_metrics.units_of_sums
    return BlockStatistic(metric, "out_probe__sums", score, units, regression_metrics.HIGHER_IS_BETTER[metric])


def _of_rankings(k: int) -> BlockStatistic:
    def score(sums: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return retrieval.mean_precision(sums)[..., 0]

    return BlockStatistic("precision_at_k", "out_probe__sums", score, retrieval.units_of_queries, k=k)


#: Statistics of each kind of target; the first is the task's own.
STATISTICS: Mapping[TargetKind, tuple[BlockStatistic, ...]] = MappingProxyType(
    {
        "multilabel": (
            _of_labels("macro_f1", FIXED),
            _of_labels("macro_f1", TUNED),
            _of_labels("macro_f2", FIXED),
            _of_labels("macro_f2", TUNED),
            _of_labels("hamming_loss", FIXED),
        ),
        "fractions": (_of_errors("r2"), _of_errors("mae")),
        # an error in units of its own has no margin
        "values": (_of_errors("r2"),),
        "relevance": tuple(_of_rankings(k) for k in RETRIEVAL_KS),
    }
)


def statistics_of(kind: TargetKind, metric: str) -> tuple[BlockStatistic, ...]:
    """List the statistics of a kind of target, the task's own metric first, then overall accuracy for classes."""
    if kind == "class":
        return tuple(_of_confusions(name) for name in dict.fromkeys((metric, "overall_accuracy")))
    return STATISTICS[kind]


def pair_blocks(arm: pa.Table, reference: pa.Table, statistic: BlockStatistic, n_outputs: int) -> tuple[Sums, Sums]:
    """Turn stored rows of two arms into paired arrays, summed over folds, draws and seeds.

    Args:
        arm: rows of the statistic's source.
        reference: likewise.
        statistic: says which rows and columns count.
        n_outputs: classes, labels or values.

    Returns:
        Two arrays (b, ...) of the layout that the statistic's score takes: the same blocks in the same order.
    """
    mine, other = (_rows_of(table, statistic) for table in (arm, reference))
    blocks = np.union1d(mine["block_id"].to_numpy(), other["block_id"].to_numpy())
    return stack_blocks(mine, statistic, blocks, n_outputs), stack_blocks(other, statistic, blocks, n_outputs)


def stack_blocks(rows: pa.Table, statistic: BlockStatistic, blocks: npt.NDArray[np.int64], n_outputs: int) -> Sums:
    """Put rows into an array by block.

    Args:
        rows: of one arm.
        statistic: says the layout: (b, k, k) for classes, (b, k, 2, 2) for labels, (b, m, 6) for numbers, (b, 1, 2) for
            rankings at one k.
        blocks: int64 (b,), sorted.
        n_outputs: k or m.
    """
    slot = np.searchsorted(blocks, rows["block_id"].to_numpy())
    if statistic.source == "out_probe__sums":
        return _stack_sums(rows, statistic, slot, (len(blocks), n_outputs))
    cell = (rows["truth"].to_numpy(), rows["pred"].to_numpy())
    if statistic.threshold_rule is None:
        counts = np.zeros((len(blocks), n_outputs, n_outputs), np.int64)
        np.add.at(counts, (slot, *cell), rows["n"].to_numpy())
        return counts
    labels = np.zeros((len(blocks), n_outputs, 2, 2), np.int64)
    np.add.at(labels, (slot, rows["class_id"].to_numpy(), *cell), rows["n"].to_numpy())
    return labels


def _stack_sums(rows: pa.Table, statistic: BlockStatistic, slot: npt.NDArray[np.intp], shape: tuple[int, int]) -> Sums:
    """Put sums into an array (b, m, 6), or (b, 1, 2) of rankings at one k."""
    n_blocks, n_outputs = shape
    if statistic.k is not None:
        names: tuple[str, ...] = ("n", "sum_precision")
        n_outputs, output = 1, np.zeros(rows.num_rows, np.int64)
    else:
        names, output = _ERROR_COLUMNS, rows["class_id"].to_numpy()
    sums = np.zeros((n_blocks, n_outputs, len(names)))
    np.add.at(sums, (slot, output), np.stack([rows[name].to_numpy() for name in names], axis=1))
    return sums


_ERROR_COLUMNS = ("n", "sum_truth", "sum_truth_squared", "sum_abs_error", "sum_squared_error", "sum_error")


def _rows_of(table: pa.Table, statistic: BlockStatistic) -> pa.Table:
    if statistic.threshold_rule is not None:
        return table.filter(pc.field("threshold_rule") == statistic.threshold_rule)
    return table.filter(pc.field("k") == statistic.k) if statistic.k is not None else table
