from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms import metrics
from transforms.errors import ShapeError

K = 5
ids = st.lists(st.tuples(st.integers(0, K - 1), st.integers(0, K - 1)), min_size=1, max_size=40)


def split(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    truth, pred = np.array(pairs).T
    return truth, pred


@settings(deadline=None)
@given(ids)
@pytest.mark.filterwarnings("ignore")
def test_metrics_equal_scikit_learn_over_the_labels_seen(pairs: list[tuple[int, int]]) -> None:
    truth, pred = split(pairs)
    counts = metrics.confusion(truth, pred, K)
    assert np.array_equal(counts, sk.confusion_matrix(truth, pred, labels=range(K)))
    assert metrics.overall_accuracy(counts) == pytest.approx(sk.accuracy_score(truth, pred))
    assert metrics.balanced_accuracy(counts) == pytest.approx(sk.balanced_accuracy_score(truth, pred))
    # without `labels`, scikit-learn averages over the union of truth and prediction: the module's rule
    assert metrics.macro_f1(counts) == pytest.approx(sk.f1_score(truth, pred, average="macro"))
    assert metrics.mean_iou(counts) == pytest.approx(sk.jaccard_score(truth, pred, average="macro"))
    assert metrics.mcc(counts) == pytest.approx(sk.matthews_corrcoef(truth, pred), abs=1e-12)
    if len(set(truth) | set(pred)) > 1:
        assert metrics.kappa(counts) == pytest.approx(sk.cohen_kappa_score(truth, pred), abs=1e-12)
    seen = np.unique(np.concatenate([truth, pred]))
    assert metrics.per_class_f1(counts)[seen] == pytest.approx(sk.f1_score(truth, pred, average=None, labels=seen))
    assert metrics.per_class_iou(counts)[seen] == pytest.approx(
        sk.jaccard_score(truth, pred, average=None, labels=seen)
    )


def test_absent_classes_follow_the_stated_rule() -> None:
    # class 0 right twice, class 1 never in truth but predicted once, class 2 nowhere
    counts = np.array([[2, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert metrics.per_class_f1(counts) == pytest.approx([0.8, 0.0, np.nan], nan_ok=True)
    assert metrics.per_class_iou(counts) == pytest.approx([2 / 3, 0.0, np.nan], nan_ok=True)
    assert metrics.macro_f1(counts) == pytest.approx(0.4)
    assert metrics.mean_iou(counts) == pytest.approx(1 / 3)
    assert metrics.balanced_accuracy(counts) == pytest.approx(2 / 3)


@given(hnp.arrays(np.int64, (3, 4, K, K), elements=st.integers(0, 9)))
def test_leading_axes_are_independent(stack: np.ndarray) -> None:
    for metric in metrics.METRICS.values():
        one_by_one = [[metric(stack[i, j]) for j in range(4)] for i in range(3)]
        assert metric(stack) == pytest.approx(np.array(one_by_one), nan_ok=True)
    for metric in metrics.PER_CLASS_METRICS.values():
        assert metric(stack).shape == (3, 4, K)


@given(hnp.arrays(np.int64, (K, K), elements=st.integers(0, 9)), st.permutations(range(K)))
def test_renaming_classes_changes_nothing(counts: np.ndarray, order: list[int]) -> None:
    for metric in metrics.METRICS.values():
        assert metric(counts[np.ix_(order, order)]) == pytest.approx(float(metric(counts)), nan_ok=True)


@pytest.mark.filterwarnings("error")
def test_without_units_every_metric_is_nan_and_silent() -> None:
    empty = np.zeros((K, K), np.int64)
    assert all(np.isnan(metric(empty)) for metric in metrics.METRICS.values())


def test_degenerate_agreement() -> None:
    one_class = np.zeros((K, K), np.int64)
    one_class[2, 2] = 7
    assert np.isnan(metrics.kappa(one_class))
    assert metrics.mcc(one_class) == 0.0
    assert metrics.macro_f1(one_class) == 1.0


@given(ids, st.integers(1, 4), st.randoms())
def test_block_confusions_sum_to_the_whole(pairs: list[tuple[int, int]], n_blocks: int, random) -> None:  # type: ignore[no-untyped-def]
    truth, pred = split(pairs)
    blocks = np.array([random.randrange(n_blocks) for _ in truth]) * 2**40 - 7
    names, by_block = metrics.confusion_by_block(truth, pred, blocks, K)
    assert names.tolist() == sorted(set(blocks.tolist()))
    assert np.array_equal(by_block.sum(axis=0), metrics.confusion(truth, pred, K))
    for name, counts in zip(names, by_block, strict=True):
        assert np.array_equal(counts, metrics.confusion(truth[blocks == name], pred[blocks == name], K))


def test_nodata_truth_is_left_out() -> None:
    truth, pred, blocks = np.array([0, -1, 1]), np.array([0, -1, 0]), np.array([5, 6, 7])
    assert metrics.confusion(truth, pred, 2).tolist() == [[1, 0], [1, 0]]
    names, by_block = metrics.confusion_by_block(truth, pred, blocks, 2)
    assert names.tolist() == [5, 7]
    assert by_block.shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("truth", "pred"),
    [
        ([0, 1], [0]),
        ([0, K], [0, 0]),
        ([0, 1], [0, K]),
        ([0, 1], [0, -1]),
        ([0, -2], [0, 0]),
        ([0.0, 1.0], [0, 1]),
        ([[0]], [[0]]),
    ],
)
def test_bad_ids_are_refused(truth: list, pred: list) -> None:
    with pytest.raises(ShapeError):
        metrics.confusion(np.array(truth), np.array(pred), K)


def test_blocks_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="one block per unit"):
        metrics.confusion_by_block([0, 1], [0, 1], [1], K)


def test_log_loss_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(K), 200)
    truth = rng.integers(0, K, 200)
    assert metrics.log_loss(truth, proba) == pytest.approx(sk.log_loss(truth, proba, labels=range(K)))


def test_log_loss_of_an_unseen_class_is_finite() -> None:
    assert metrics.log_loss([1], [[1.0, 0.0]]) == pytest.approx(-np.log(1e-7))


def test_ece_equals_the_sum_over_bins() -> None:
    rng = np.random.default_rng(1)
    proba = rng.dirichlet(np.ones(3), 500)
    truth = rng.integers(0, 3, 500)
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == truth
    expected = 0.0
    for low in np.arange(10) / 10:
        chosen = (confidence > low) & (confidence <= low + 0.1)
        if chosen.any():
            expected += chosen.mean() * abs(right[chosen].mean() - confidence[chosen].mean())
    assert metrics.ece(truth, proba, n_bins=10) == pytest.approx(expected)


def test_ece_is_small_when_calibrated_and_large_when_sure_and_wrong() -> None:
    rng = np.random.default_rng(2)
    proba = rng.dirichlet(np.ones(3), 20_000)
    truth = (rng.random((20_000, 1)) > proba.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert metrics.ece(truth, proba) < 0.03
    assert metrics.ece([1, 1], [[1.0, 0.0], [1.0, 0.0]]) == 1.0


@pytest.mark.parametrize("score", [metrics.log_loss, metrics.ece])
def test_bad_probabilities_are_refused(score) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ShapeError, match="sum to 1"):
        score([0], [[0.2, 0.2]])
    with pytest.raises(ShapeError, match="Leave nodata out"):
        score([-1], [[0.5, 0.5]])
    with pytest.raises(ShapeError, match="one row of class probabilities"):
        score([0, 1], [[0.5, 0.5]])
    assert np.isnan(score(np.empty(0, int), np.empty((0, 2))))
