"""Metrics of scores without a threshold: average precision and the area under the ROC curve.

Belongs here: both per label, and their macro and micro means. Does not: metrics at a threshold
(`transforms/multilabel_metrics.py`, `transforms/metrics.py`), retrieval (`transforms/retrieval.py`).

Both depend on the order of all units, so they are no function of sums over blocks and carry no block interval.

Rule for labels without a contrast: average precision is NaN without a positive unit, the area under the curve
without a positive or without a negative one; macro means leave NaN out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from transforms.errors import ShapeError
from transforms.metrics import FloatArray, divide_or_nan, mean_of_defined


def average_precision(truth: npt.NDArray[np.bool_], score: npt.ArrayLike) -> FloatArray:
    """Average precision of each label, ``sum_n (R_n - R_(n-1)) P_n`` over distinct scores, falling.

    The definition of scikit-learn's `average_precision_score`: no interpolation, units with one score enter
    together. A random order scores the label's prevalence.

    Args:
        truth: bool (n, k).
        score: float (n, k), higher means more likely.

    Returns:
        float64 (k,); NaN without a positive unit.

    Raises:
        ShapeError: shapes differ, truth is not bool, or a score is NaN.
    """
    scores = _checked_scores(truth, score)
    columns = zip(truth.T, scores.T, strict=True)
    return np.array([_average_precision(label, values) for label, values in columns], np.float64)


def macro_average_precision(truth: npt.NDArray[np.bool_], score: npt.ArrayLike) -> float:
    """Unweighted mean of the labels' average precision (mAP); arguments as in `average_precision`."""
    return float(mean_of_defined(average_precision(truth, score)))


def micro_average_precision(truth: npt.NDArray[np.bool_], score: npt.ArrayLike) -> float:
    """Average precision of all (unit, label) flags as one label; arguments as in `average_precision`."""
    scores = _checked_scores(truth, score)
    return _average_precision(truth.ravel(), scores.ravel())


def roc_auc(truth: npt.NDArray[np.bool_], score: npt.ArrayLike) -> FloatArray:
    """Area under the ROC curve of each label, by ranks (Mann-Whitney U; ties count half).

    Args:
        truth: bool (n, k).
        score: float (n, k), higher means more likely.

    Returns:
        float64 (k,), in [0, 1]; .5 for a random order; NaN without positive or negative units.

    Raises:
        ShapeError: shapes differ, truth is not bool, or a score is NaN.
    """
    scores = _checked_scores(truth, score)
    positives = truth.sum(axis=0).astype(np.float64)
    ranks = rankdata(scores, axis=0)
    above = np.where(truth, ranks, 0.0).sum(axis=0) - positives * (positives + 1) / 2
    return divide_or_nan(above, positives * (len(truth) - positives))


def macro_roc_auc(truth: npt.NDArray[np.bool_], score: npt.ArrayLike) -> float:
    """Unweighted mean of the labels' areas; for classes as flags this is one-vs-rest. Arguments as in `roc_auc`."""
    return float(mean_of_defined(roc_auc(truth, score)))


def class_flags(ids: npt.NDArray[np.integer], n_classes: int) -> npt.NDArray[np.bool_]:
    """Turn class ids into one flag per class, for one-vs-rest metrics.

    Args:
        ids: integers (n,), in 0..k-1.
        n_classes: k.

    Returns:
        bool (n, k), one True a row.

    Raises:
        ShapeError: an id is out of range.
    """
    if len(ids) and not (ids.min() >= 0 and ids.max() < n_classes):
        raise ShapeError("class ids", f"{ids.min()}..{ids.max()}", f"0..{n_classes - 1}", "Leave nodata out.")
    flags: npt.NDArray[np.bool_] = ids[:, None] == np.arange(n_classes)
    return flags


def _checked_scores(truth: npt.NDArray[np.bool_], score: npt.ArrayLike) -> FloatArray:
    scores = np.asarray(score, np.float64)
    if truth.ndim != 2 or truth.shape != scores.shape or truth.dtype != bool:
        raise ShapeError(
            "truth and scores",
            f"{truth.dtype} {truth.shape} and {scores.shape}",
            "bool (n, k) and floats (n, k)",
            "Give one flag and one score per unit and label; class ids become flags by `class_flags`.",
        )
    if np.isnan(scores).any():
        raise ShapeError("scores", f"{int(np.isnan(scores).sum())} NaN", "numbers", "Leave those units out.")
    return scores


def _average_precision(truth: npt.NDArray[np.bool_], score: FloatArray) -> float:
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    # the last unit of each distinct score: units that tie are retrieved together
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(truth[order])[last]
    precision = hits / (last + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])
