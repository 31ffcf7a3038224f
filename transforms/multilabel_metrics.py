"""Multi-label classification metrics on counts per class (task T2), and the algebra of published tables.

Belongs here: counts of (truth, prediction) per label, whole and per spatial block; precision, recall, F-beta,
Hamming loss and label density on them (vectorised over leading axes); thresholds tuned on validation data; what
published precision, F-beta and Hamming loss imply.
Does not: metrics of one label per unit (`transforms/metrics.py`), metrics of scores without a threshold
(`transforms/ranking_metrics.py`), intervals (`transforms/inference.py`).

Counts have the layout of scikit-learn's `multilabel_confusion_matrix`: (..., k, 2, 2), rows truth, columns
prediction, so [1, 1] are true positives, [0, 1] false positives, [1, 0] misses.

Rule for absent labels, the same for precision, recall and F-beta: a label in neither truth nor prediction is
undefined (NaN) and left out of the macro mean; in all other cases 0 / 0 is 0. This is scikit-learn with
``zero_division=0`` over the labels seen. So precision, recall and F-beta are means over the same labels. Micro
averages add up the counts of all labels first. Hamming loss and label density are over all k labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.metrics import FloatArray, IntArray, divide_or_nan, mean_of_defined

BoolArray = npt.NDArray[np.bool_]
#: A metric maps counts (..., k, 2, 2) to float64 (...); NaN where it is undefined.
CountMetric = Callable[[npt.ArrayLike], FloatArray]

#: The threshold of a label that was not tuned.
DEFAULT_THRESHOLD = 0.5


def binary_counts(truth: npt.NDArray[np.bool_], pred: npt.NDArray[np.bool_]) -> IntArray:
    """Count (truth, prediction) pairs of each label.

    Args:
        truth: bool (n, k), True where a unit has the label.
        pred: bool (n, k).

    Returns:
        int64 (k, 2, 2), rows truth, columns prediction.

    Raises:
        ShapeError: shapes differ or dtypes are not bool.
    """
    _check_labels(truth, pred)
    return binary_counts_by_block(truth, pred, np.zeros(len(truth), np.int64))[1].sum(axis=0)


def binary_counts_by_block(
    truth: npt.NDArray[np.bool_], pred: npt.NDArray[np.bool_], block_id: npt.ArrayLike
) -> tuple[IntArray, IntArray]:
    """Count (truth, prediction) pairs of each label per spatial block.

    Args:
        truth: bool (n, k), True where a unit has the label. Units without labels at all count (a unit may have
            none); units whose labels are unknown are left out by the caller.
        pred: bool (n, k).
        block_id: integers (n,).

    Returns:
        (blocks, counts): int64 (b,), sorted; int64 (b, k, 2, 2), rows truth, columns prediction.

    Raises:
        ShapeError: shapes differ or dtypes are not bool.
    """
    _check_labels(truth, pred)
    ids = np.asarray(block_id, np.int64)
    if ids.shape != truth.shape[:1]:
        raise ShapeError("block_id", ids.shape, truth.shape[:1], "Give one block per unit.")
    blocks, slot = np.unique(ids, return_inverse=True)
    n_labels = truth.shape[1]
    pairs = (slot[:, None] * n_labels + np.arange(n_labels)) * 4 + 2 * truth + pred
    counts = np.bincount(pairs.ravel(), minlength=len(blocks) * n_labels * 4)
    return blocks, counts.reshape(len(blocks), n_labels, 2, 2).astype(np.int64)


def units_of_counts(counts: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    """Give what counts say of the units alone, for `contrast_sums`: (..., k, 2, 2) to (..., k, 2)."""
    truths: npt.NDArray[np.number] = counts.sum(axis=-1)
    return truths


def _check_labels(truth: npt.NDArray[np.bool_], pred: npt.NDArray[np.bool_]) -> None:
    if truth.ndim != 2 or truth.shape != pred.shape or truth.dtype != bool or pred.dtype != bool:
        raise ShapeError(
            "truth and predicted labels",
            f"{truth.dtype} {truth.shape} and {pred.dtype} {pred.shape}",
            "two bool (n, k)",
            "Pass one flag per unit and label; turn probabilities into flags by `predict_labels`.",
        )


def _margins(counts: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give (true positives, positives in truth, positives in prediction), each (..., k)."""
    cells = np.asarray(counts, np.float64)
    return cells[..., 1, 1], cells[..., 1, :].sum(axis=-1), cells[..., 1].sum(axis=-1)


def _micro(counts: npt.ArrayLike) -> FloatArray:
    """Add up the labels, (..., k, 2, 2) to (..., 2, 2)."""
    total: FloatArray = np.asarray(counts, np.float64).sum(axis=-3)
    return total


def _share(numerator: FloatArray, denominator: FloatArray, seen: BoolArray) -> FloatArray:
    """Divide by the module's rule: 0 / 0 is 0 for a label that is seen, NaN for one that is not."""
    share: FloatArray = np.where(seen, np.nan_to_num(divide_or_nan(numerator, denominator)), np.nan)
    return share


def per_class_precision(counts: npt.ArrayLike) -> FloatArray:
    """Precision (user's accuracy) of each label, ``TP / (TP + FP)``; absent labels by the module's rule.

    Args:
        counts: (..., k, 2, 2).

    Returns:
        float64 (..., k).
    """
    hits, truths, preds = _margins(counts)
    return _share(hits, preds, truths + preds > 0)


def per_class_recall(counts: npt.ArrayLike) -> FloatArray:
    """Recall (producer's accuracy) of each label, ``TP / (TP + FN)``; absent labels by the module's rule.

    Args:
        counts: (..., k, 2, 2).

    Returns:
        float64 (..., k).
    """
    hits, truths, preds = _margins(counts)
    return _share(hits, truths, truths + preds > 0)


def per_class_fbeta(counts: npt.ArrayLike, beta: float) -> FloatArray:
    """F-beta of each label, ``(1 + b^2) TP / (b^2 (TP + FN) + TP + FP)`` (van Rijsbergen 1979).

    Beta 2 counts recall four times as much as precision.

    Args:
        counts: (..., k, 2, 2).
        beta: weight of recall, positive.

    Returns:
        float64 (..., k); absent labels by the module's rule.
    """
    hits, truths, preds = _margins(counts)
    return divide_or_nan((1 + beta**2) * hits, beta**2 * truths + preds)


def per_class_f1(counts: npt.ArrayLike) -> FloatArray:
    """F1 of each label. (..., k, 2, 2) to (..., k)."""
    return per_class_fbeta(counts, 1.0)


def per_class_f2(counts: npt.ArrayLike) -> FloatArray:
    """F2 of each label. (..., k, 2, 2) to (..., k)."""
    return per_class_fbeta(counts, 2.0)


def prevalence(counts: npt.ArrayLike) -> FloatArray:
    """Share of the units that have each label. (..., k, 2, 2) to (..., k); NaN without units."""
    _, truths, _ = _margins(counts)
    return divide_or_nan(truths, np.asarray(counts, np.float64).sum(axis=(-2, -1)))


def _macro_of(per_class: CountMetric) -> CountMetric:
    return lambda counts: mean_of_defined(per_class(counts))


def _micro_of(per_class: CountMetric) -> CountMetric:
    return lambda counts: per_class(_micro(counts)[..., None, :, :])[..., 0]


def hamming_loss(counts: npt.ArrayLike) -> FloatArray:
    """Share of (unit, label) flags that are wrong, over all k labels. Lower is better. (..., k, 2, 2) to (...)."""
    total = _micro(counts)
    return divide_or_nan(total[..., 0, 1] + total[..., 1, 0], total.sum(axis=(-2, -1)))


def label_density(counts: npt.ArrayLike) -> FloatArray:
    """Share of (unit, label) flags that are set in truth (Tsoumakas & Katakis 2007). (..., k, 2, 2) to (...).

    Times k it is the number of labels a unit. It is also the Hamming loss of predicting nothing.
    """
    total = _micro(counts)
    return divide_or_nan(total[..., 1, :].sum(axis=-1), total.sum(axis=(-2, -1)))


#: Metrics with one value per label; each maps counts (..., k, 2, 2) to float64 (..., k).
PER_LABEL_METRICS: Mapping[str, CountMetric] = MappingProxyType(
    {
        "precision": per_class_precision,
        "recall": per_class_recall,
        "f1": per_class_f1,
        "f2": per_class_f2,
        "prevalence": prevalence,
    }
)

#: Metrics by their name in `out_probe__metrics`; each maps counts (..., k, 2, 2) to float64 (...).
MULTILABEL_METRICS: Mapping[str, CountMetric] = MappingProxyType(
    {
        **{f"macro_{name}": _macro_of(PER_LABEL_METRICS[name]) for name in ("precision", "recall", "f1", "f2")},
        **{f"micro_{name}": _micro_of(PER_LABEL_METRICS[name]) for name in ("precision", "recall", "f1", "f2")},
        "hamming_loss": hamming_loss,
        "label_density": label_density,
    }
)

#: Of these a lower value is better (`higher_is_better=False` in `contrast_sums`).
LOWER_IS_BETTER = frozenset({"hamming_loss"})


def predict_labels(proba: npt.ArrayLike, thresholds: npt.ArrayLike = DEFAULT_THRESHOLD) -> BoolArray:
    """Turn scores into flags: a label is predicted where its score is at least its threshold.

    Compared as float32, as `tune_thresholds` does.

    Args:
        proba: float (n, k).
        thresholds: float (k,), or one for all.

    Returns:
        bool (n, k).
    """
    flags: BoolArray = np.asarray(proba, np.float32) >= np.asarray(thresholds, np.float32)
    return flags


def tune_thresholds(
    truth: npt.NDArray[np.bool_], proba: npt.ArrayLike, *, beta: float = 1.0
) -> npt.NDArray[np.float32]:
    """Choose the threshold of each label that gives the highest F-beta on validation data.

    Candidates are 0.5 and every score of the label, so no threshold at all does better. Among equals the one
    nearest 0.5 is taken, then the lower. A label that validation data never have keeps 0.5.

    Args:
        truth: bool (n, k), of validation units: part of the training fold, never the test fold.
        proba: float (n, k), in [0, 1].
        beta: weight of recall.

    Returns:
        float32 (k,), for `predict_labels`.

    Raises:
        ShapeError: shapes differ, truth is not bool, or scores are not in [0, 1].
    """
    scores = np.asarray(proba, np.float32)
    if truth.dtype != bool or truth.ndim != 2 or truth.shape != scores.shape:
        raise ShapeError("validation labels", f"{truth.dtype} {truth.shape}", f"bool {scores.shape}", "Align them.")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ShapeError("probabilities", "values outside [0, 1]", "values in [0, 1]", "Pass predict_proba.")
    columns = zip(truth.T, scores.T, strict=True)
    return np.array([_best_threshold(label, score, beta) for label, score in columns], np.float32)


def _best_threshold(truth: BoolArray, score: npt.NDArray[np.float32], beta: float) -> float:
    if not truth.any():
        return DEFAULT_THRESHOLD
    candidates = np.unique(np.append(score, np.float32(DEFAULT_THRESHOLD)))
    # units at or above a candidate: all less those that sort before it
    hits = truth.sum() - np.searchsorted(np.sort(score[truth]), candidates, side="left")
    preds = len(score) - np.searchsorted(np.sort(score), candidates, side="left")
    value = (1 + beta**2) * hits / (beta**2 * truth.sum() + preds)
    best = candidates[value == value.max()]
    return float(best[np.abs(best - np.float32(DEFAULT_THRESHOLD)).argmin()])


def implied_recall(precision: float, fbeta: float, beta: float = 2.0) -> float:
    """Solve F-beta for recall: ``R = b^2 P F / ((1 + b^2) P - F)``.

    Tables that print micro precision and micro F2 alone tell micro recall by this.

    Args:
        precision: in (0, 1].
        fbeta: in [0, 1], of the same average; at most the value at recall 1.
        beta: of that F.

    Returns:
        Recall, in [0, 1].

    Raises:
        ShapeError: no recall gives this pair.
    """
    denominator = (1 + beta**2) * precision - fbeta
    recall = beta**2 * precision * fbeta / denominator if denominator > 0 else float("nan")
    if not 0.0 <= recall <= 1.0 + 1e-12:
        raise ShapeError("precision and F", (precision, fbeta), "a pair that some recall gives", "Compare one average.")
    return min(recall, 1.0)


def implied_labels_per_unit(hamming: float, precision: float, recall: float, n_labels: int) -> float:
    """Solve Hamming loss for the labels a unit: ``L = k H / (1 - R + R (1 - P) / P)``.

    Of L labels a unit ``(1 - R) L`` are missed and ``R L (1 - P) / P`` are false alarms; both over k are the loss.

    Args:
        hamming: Hamming loss.
        precision: micro precision, in (0, 1].
        recall: micro recall, in [0, 1]; not both 1.
        n_labels: k.

    Returns:
        Mean number of labels a unit.
    """
    return n_labels * hamming / (1 - recall + recall * (1 - precision) / precision)


def hamming_of_nothing(labels_per_unit: float, n_labels: int) -> float:
    """Hamming loss of an arm that predicts no label: every label of a unit is missed, ``L / k``."""
    return labels_per_unit / n_labels
