from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.errors import ShapeError
from transforms.multilabel_metrics import (
    LOWER_IS_BETTER,
    MULTILABEL_METRICS,
    PER_LABEL_METRICS,
    binary_counts,
    binary_counts_by_block,
    hamming_of_nothing,
    implied_labels_per_unit,
    implied_recall,
    per_class_fbeta,
    predict_labels,
    tune_thresholds,
    units_of_counts,
)

K = 4
#: Truth and prediction, (2, n, K); sparse, so that labels are absent often.
pairs = hnp.arrays(
    bool, st.tuples(st.just(2), st.integers(1, 12), st.just(K)), elements=st.sampled_from([False, False, False, True])
)
counts_arrays = hnp.arrays(np.int64, (3, 2, K, 2, 2), elements=st.integers(0, 6))


@given(pairs)
def test_counts_equal_scikit_learn(flags: np.ndarray) -> None:
    assert np.array_equal(binary_counts(*flags), sk.multilabel_confusion_matrix(*flags.astype(int)))


@settings(deadline=None)
@given(pairs)
def test_s11_metrics_equal_scikit_learn_over_the_labels_seen(flags: np.ndarray) -> None:
    truth, pred = flags
    counts = binary_counts(truth, pred)
    seen = (truth | pred).any(axis=0)
    assert float(MULTILABEL_METRICS["hamming_loss"](counts)) == pytest.approx(sk.hamming_loss(truth, pred))
    assert float(MULTILABEL_METRICS["label_density"](counts)) == pytest.approx(truth.mean())
    if not seen.any():
        assert all(np.isnan(MULTILABEL_METRICS[f"{mean}_f2"](counts)) for mean in ("macro", "micro"))
        return
    references = {
        "precision": lambda **options: sk.precision_score(truth[:, seen], pred[:, seen], zero_division=0, **options),
        "recall": lambda **options: sk.recall_score(truth[:, seen], pred[:, seen], zero_division=0, **options),
        "f1": lambda **options: sk.f1_score(truth[:, seen], pred[:, seen], zero_division=0, **options),
        "f2": lambda **options: sk.fbeta_score(truth[:, seen], pred[:, seen], beta=2, zero_division=0, **options),
    }
    # one column is read by scikit-learn as a binary task unless it is told
    columns = {"labels": range(int(seen.sum()))} if seen.sum() > 1 else {}
    for name, reference in references.items():
        per_label = PER_LABEL_METRICS[name](counts)
        assert np.array_equal(np.isnan(per_label), ~seen)
        if columns:
            assert per_label[seen] == pytest.approx(reference(average=None, **columns))
            for mean in ("macro", "micro"):
                assert float(MULTILABEL_METRICS[f"{mean}_{name}"](counts)) == pytest.approx(
                    reference(average=mean, **columns)
                )
        else:
            assert float(per_label[seen][0]) == pytest.approx(reference(average="binary"))
            assert float(MULTILABEL_METRICS[f"macro_{name}"](counts)) == pytest.approx(reference(average="binary"))
    if columns:
        assert per_class_fbeta(counts, 0.5)[seen] == pytest.approx(
            sk.fbeta_score(truth[:, seen], pred[:, seen], beta=0.5, zero_division=0, average=None)
        )


def test_absent_labels_follow_the_stated_rule() -> None:
    # seen in both; in truth alone; in prediction alone; in neither
    truth = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool)
    pred = np.array([[1, 0, 1, 0], [1, 0, 0, 0]], bool)
    counts = binary_counts(truth, pred)
    for name in ("precision", "recall", "f1", "f2"):
        assert PER_LABEL_METRICS[name](counts) == pytest.approx([1, 0, 0, np.nan], nan_ok=True), name
        assert float(MULTILABEL_METRICS[f"macro_{name}"](counts)) == pytest.approx(1 / 3)
    assert float(MULTILABEL_METRICS["micro_f1"](counts)) == pytest.approx(2 / 3)
    assert float(MULTILABEL_METRICS["hamming_loss"](counts)) == 2 / 8
    assert PER_LABEL_METRICS["prevalence"](counts) == pytest.approx([1, 0.5, 0, 0])


@given(counts_arrays)
def test_leading_axes_are_independent(stack: np.ndarray) -> None:
    for metric in MULTILABEL_METRICS.values():
        one_by_one = [[metric(stack[i, j]) for j in range(2)] for i in range(3)]
        assert metric(stack) == pytest.approx(np.array(one_by_one), nan_ok=True)
    for metric in PER_LABEL_METRICS.values():
        assert metric(stack).shape == (3, 2, K)


@given(counts_arrays, st.permutations(range(K)))
def test_renaming_labels_changes_nothing(stack: np.ndarray, order: list[int]) -> None:
    for metric in MULTILABEL_METRICS.values():
        assert metric(stack[..., order, :, :]) == pytest.approx(metric(stack), nan_ok=True)


@pytest.mark.filterwarnings("error")
def test_without_units_every_metric_is_nan_and_silent() -> None:
    empty = np.zeros((K, 2, 2), np.int64)
    assert all(np.isnan(metric(empty)) for metric in MULTILABEL_METRICS.values())
    assert binary_counts(np.zeros((0, K), bool), np.zeros((0, K), bool)).tolist() == empty.tolist()


def test_losses_are_named() -> None:
    perfect, wrong = (np.array([[[0, 0], [0, 5]]] * K), np.array([[[0, 0], [5, 0]]] * K))
    for name, metric in MULTILABEL_METRICS.items():
        if name != "label_density":  # says nothing of the prediction
            assert (metric(perfect) < metric(wrong)) == (name in LOWER_IS_BETTER)


@given(pairs, st.integers(1, 4), st.randoms())
def test_block_counts_sum_to_the_whole(flags: np.ndarray, n_blocks: int, random) -> None:  # type: ignore[no-untyped-def]
    truth, pred = flags
    ids = np.array([random.randrange(n_blocks) for _ in truth]) * 2**40 - 7
    blocks, counts = binary_counts_by_block(truth, pred, ids)
    assert blocks.tolist() == sorted(set(ids.tolist()))
    for block, of_block in zip(blocks, counts, strict=True):
        here = ids == block
        assert np.array_equal(of_block, sk.multilabel_confusion_matrix(*flags[:, here].astype(int)))
    # what all arms on these units share
    assert np.array_equal(units_of_counts(counts), units_of_counts(binary_counts_by_block(truth, ~pred, ids)[1]))


def test_bad_labels_are_refused() -> None:
    flags = np.zeros((3, K), bool)
    for truth, pred in ((flags, flags[:2]), (flags.astype(int), flags), (flags[0], flags[0]), (flags, flags * 0.5)):
        with pytest.raises(ShapeError, match="one flag per unit and label"):
            binary_counts(truth, pred)
    with pytest.raises(ShapeError, match="one block per unit"):
        binary_counts_by_block(flags, flags, [1, 2])


def f_at(truth: np.ndarray, score: np.ndarray, threshold: float, beta: float) -> float:
    pred = score >= np.float32(threshold)
    return (1 + beta**2) * (truth & pred).sum() / (beta**2 * truth.sum() + pred.sum())


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=12),
    st.sampled_from([1.0, 2.0]),
)
def test_no_threshold_beats_the_tuned_one(units: list[tuple[bool, int]], beta: float) -> None:
    truth = np.array([label for label, _ in units])
    score = np.array([tenths / 10 for _, tenths in units], np.float32)
    (threshold,) = tune_thresholds(truth[:, None], score[:, None], beta=beta)
    if not truth.any():
        assert threshold == 0.5
        return
    values = {float(t): f_at(truth, score, t, beta) for t in np.append(score, np.float32(0.5))}
    grid = [f_at(truth, score, t, beta) for t in np.linspace(-0.01, 1.01, 103)]
    assert f_at(truth, score, threshold, beta) == pytest.approx(max(values.values()))
    assert f_at(truth, score, threshold, beta) >= max(grid) - 1e-12
    # of equals, the nearest to one half
    best = [t for t, value in values.items() if value >= max(values.values()) - 1e-12]
    assert abs(threshold - 0.5) == pytest.approx(min(abs(t - 0.5) for t in best), abs=1e-7)


def test_thresholds_are_tuned_per_label_and_free_recall() -> None:
    # label 0 is scored low throughout, label 1 is calibrated, label 2 never occurs
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], bool)
    proba = np.array([[0.3, 0.9, 0.8], [0.25, 0.2, 0.8], [0.1, 0.7, 0.1], [0.05, 0.1, 0.1]])
    tuned = tune_thresholds(truth, proba)
    assert tuned == pytest.approx([0.25, 0.5, 0.5])
    assert tuned.dtype == np.float32
    assert predict_labels(proba)[:, :2].sum() == 2
    assert np.array_equal(predict_labels(proba, tuned)[:, :2], truth[:, :2])
    with pytest.raises(ShapeError, match="validation labels"):
        tune_thresholds(truth[:2], proba)
    with pytest.raises(ShapeError, match=r"outside \[0, 1\]"):
        tune_thresholds(truth, proba * 10)
    with pytest.raises(ShapeError, match=r"outside \[0, 1\]"):
        tune_thresholds(truth, proba * np.nan)


@settings(max_examples=50)
@given(pairs.filter(lambda flags: (flags[0] & flags[1]).any()))
def test_s11_what_a_table_implies_is_what_the_counts_say(flags: np.ndarray) -> None:
    counts = binary_counts(*flags)
    precision, recall, f2, hamming = (
        float(MULTILABEL_METRICS[name](counts))
        for name in ("micro_precision", "micro_recall", "micro_f2", "hamming_loss")
    )
    assert implied_recall(precision, f2) == pytest.approx(recall)
    if hamming > 0:
        assert implied_labels_per_unit(hamming, precision, recall, K) == pytest.approx(flags[0].sum(axis=1).mean())
    nothing = binary_counts(flags[0], np.zeros_like(flags[0]))
    assert hamming_of_nothing(flags[0].sum(axis=1).mean(), K) == pytest.approx(
        float(MULTILABEL_METRICS["hamming_loss"](nothing))
    )


@pytest.mark.parametrize(
    ("precision", "f2", "hamming", "recall"),
    [(0.72, 0.358, 0.123, 0.318), (0.70, 0.353, 0.124, 0.314), (0.71, 0.478, 0.113, 0.442)],
    ids=["random forest", "linear", "MLP"],
)
def test_s11_rows_of_the_dofa_seminar_agree_with_each_other(
    precision: float, f2: float, hamming: float, recall: float
) -> None:
    # BigEarthNet, 19 classes: three rows of one test set imply one number of labels a patch
    implied = implied_recall(precision, f2)
    assert implied == pytest.approx(recall, abs=5e-4)
    labels = implied_labels_per_unit(hamming, precision, implied, 19)
    assert labels == pytest.approx(2.9, abs=0.05)
    # so two of the three are hardly better than predicting nothing by this loss
    assert hamming_of_nothing(labels, 19) == pytest.approx(0.152, abs=2e-3)


def test_impossible_tables_are_refused() -> None:
    with pytest.raises(ShapeError, match="some recall gives"):
        implied_recall(0.1, 0.9)
    with pytest.raises(ShapeError, match="some recall gives"):
        implied_recall(0.1, 0.45)
