from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from transforms.block_statistics import STATISTICS, pair_blocks, statistics_of
from transforms.metrics import macro_f1
from transforms.multilabel_metrics import MULTILABEL_METRICS, binary_counts_by_block
from transforms.regression_metrics import REGRESSION_METRICS, regression_sums_by_block

COLUMNS = ("n", "sum_truth", "sum_truth_squared", "sum_abs_error", "sum_squared_error", "sum_error")


def test_paired_confusions_stand_on_the_same_blocks_and_sum_over_folds() -> None:
    names = ("block_id", "truth", "pred", "n")
    arm = pa.table(dict(zip(names, ([30, 10, 30], [0, 1, 0], [1, 1, 1], [2, 5, 4]), strict=True)))
    reference = pa.table(dict(zip(names, ([20, 30], [1, 0], [0, 0], [7, 6]), strict=True)))
    statistic, accuracy = statistics_of("class", "macro_f1")
    left, right = pair_blocks(arm, reference, statistic, 2)
    assert left.tolist() == [[[0, 0], [0, 5]], [[0, 0], [0, 0]], [[0, 6], [0, 0]]]  # blocks 10, 20, 30
    assert right.tolist() == [[[0, 0], [0, 0]], [[0, 0], [7, 0]], [[6, 0], [0, 0]]]
    assert statistic.score(left.sum(axis=0)) == macro_f1(left.sum(axis=0))
    assert statistic.units(left).tolist() == [[0, 5], [0, 0], [6, 0]]
    assert accuracy.metric == "overall_accuracy"


def test_accuracy_is_compared_once() -> None:
    assert [s.metric for s in statistics_of("class", "overall_accuracy")] == ["overall_accuracy"]


def test_labels_go_there_and_back() -> None:
    rng = np.random.default_rng(0)
    truth, pred, block = rng.random((60, 3)) < 0.4, rng.random((60, 3)) < 0.4, rng.integers(0, 4, 60)
    names, counts = binary_counts_by_block(truth, pred, block)
    slot, label, t, p = np.nonzero(counts)
    rows = pa.table(
        {"block_id": names[slot], "class_id": label, "truth": t, "pred": p, "n": counts[slot, label, t, p],
         "threshold_rule": ["0.5"] * len(slot)}
    )  # fmt: skip
    (statistic, *_) = STATISTICS["multilabel"]
    stacked, _ = pair_blocks(rows, rows, statistic, 3)
    np.testing.assert_array_equal(stacked, counts)
    total = counts.sum(axis=0)
    assert float(statistic.score(stacked.sum(axis=0))) == pytest.approx(float(MULTILABEL_METRICS["macro_f1"](total)))
    tuned = STATISTICS["multilabel"][1]
    assert tuned.threshold_rule == "tuned"
    assert len(pair_blocks(rows, rows, tuned, 3)[0]) == 0


def test_numbers_go_there_and_back() -> None:
    rng = np.random.default_rng(1)
    truth, pred, block = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)), rng.integers(0, 5, 40)
    names, sums = regression_sums_by_block(truth, pred, block)
    flat = sums.reshape(-1, 6)
    columns = {name: flat[:, i] for i, name in enumerate(COLUMNS)}
    rows = pa.table({"block_id": np.repeat(names, 2), "class_id": np.tile([0, 1], len(names)), **columns})
    for statistic in STATISTICS["fractions"]:
        stacked, _ = pair_blocks(rows, rows, statistic, 2)
        np.testing.assert_allclose(stacked, sums)
        expected = float(REGRESSION_METRICS[statistic.metric](sums.sum(axis=0)))
        assert float(statistic.score(stacked.sum(axis=0))) == pytest.approx(expected)
    assert {s.metric: s.higher_is_better for s in STATISTICS["fractions"]} == {"r2": True, "mae": False}


def test_rankings_are_taken_at_one_k() -> None:
    rows = pa.table(
        {"block_id": [1, 1, 2, 2], "k": [10, 50, 10, 50], "n": [4, 4, 6, 6], "sum_precision": [2.0, 1.0, 6.0, 3.0]}
    )
    first, second, _ = STATISTICS["relevance"]
    stacked, _ = pair_blocks(rows, rows, first, 7)
    assert stacked.tolist() == [[[4, 2]], [[6, 6]]]
    assert float(first.score(stacked.sum(axis=0))) == pytest.approx(0.8)
    assert float(second.score(pair_blocks(rows, rows, second, 7)[0].sum(axis=0))) == pytest.approx(0.4)
