"""Classification metrics, all of them functions of a confusion matrix.

Belongs here: confusion matrices (whole and per spatial block), metrics on them (vectorised over leading axes,
so that a bootstrap can pass thousands at once), log loss and calibration error on probabilities.
Does not: intervals and verdicts (`transforms/inference.py`), training (`transforms/probes/`).

Convention: rows are truth, columns are predictions; cell (i, j) counts units of class i predicted as j.

Rule for absent classes, the same in every macro average (and in scikit-learn's, over the labels seen):
a class absent in truth and in prediction is undefined (NaN) and left out of the mean; a class absent in truth
but predicted has F1 = IoU = 0 and is in the mean. Recall, hence balanced accuracy, is over classes in truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: A metric maps confusions (..., k, k) to float64 (...); NaN where it is undefined.
Metric = Callable[[npt.ArrayLike], FloatArray]

#: Probabilities are clipped to this before the logarithm: a class unseen in training has probability 0.
MIN_PROBABILITY = 1e-7


def confusion(truth: npt.ArrayLike, pred: npt.ArrayLike, n_classes: int) -> IntArray:
    """Count (truth, prediction) pairs.

    Args:
        truth: integers (n,), class ids; -1 = nodata, left out.
        pred: integers (n,), class ids; may be -1 only where `truth` is.
        n_classes: k.

    Returns:
        int64 (k, k), rows truth, columns predictions.

    Raises:
        ShapeError: lengths differ or ids are out of range.
    """
    truths, preds = _checked_ids(truth, pred, n_classes)
    kept = truths >= 0
    pairs = truths[kept] * n_classes + preds[kept]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes).astype(np.int64)


def confusion_by_block(
    truth: npt.ArrayLike, pred: npt.ArrayLike, block_id: npt.ArrayLike, n_classes: int
) -> tuple[IntArray, IntArray]:
    """Count (truth, prediction) pairs per spatial block.

    Args:
        truth: integers (n,), class ids; -1 = nodata, left out.
        pred: integers (n,), class ids; may be -1 only where `truth` is.
        block_id: integers (n,).
        n_classes: k.

    Returns:
        (blocks, confusions): int64 (b,), sorted, the blocks that hold at least one unit with truth; and
        int64 (b, k, k).

    Raises:
        ShapeError: lengths differ or ids are out of range.
    """
    truths, preds = _checked_ids(truth, pred, n_classes)
    blocks = np.asarray(block_id, np.int64)
    if blocks.shape != truths.shape:
        raise ShapeError("block_id", blocks.shape, truths.shape, "Give one block per unit.")
    kept = truths >= 0
    names, index = np.unique(blocks[kept], return_inverse=True)
    slots = (index * n_classes + truths[kept]) * n_classes + preds[kept]
    counts = np.bincount(slots, minlength=len(names) * n_classes**2)
    return names, counts.reshape(len(names), n_classes, n_classes).astype(np.int64)


def _checked_ids(truth: npt.ArrayLike, pred: npt.ArrayLike, n_classes: int) -> tuple[IntArray, IntArray]:
    truths, preds = np.asarray(truth), np.asarray(pred)
    if truths.ndim != 1 or truths.shape != preds.shape:
        raise ShapeError("truth and prediction", f"{truths.shape} and {preds.shape}", "two (n,)", "Flatten both alike.")
    if not len(truths):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    for what, ids in (("truth", truths), ("prediction", preds[truths >= 0])):
        lowest = -1 if what == "truth" else 0
        if ids.dtype.kind not in "iu" or (len(ids) and not (ids.min() >= lowest and ids.max() < n_classes)):
            raise ShapeError(
                what,
                f"{ids.dtype} {ids.min()}..{ids.max()}",
                f"integer ids {lowest}..{n_classes - 1}",
                "Pass class ids, not raw codes; -1 marks nodata in truth only.",
            )
    return truths.astype(np.int64), preds.astype(np.int64)


def _margins(confusions: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give (true positives, truth counts, prediction counts), each (..., k)."""
    counts = np.asarray(confusions, np.float64)
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)


def divide_or_nan(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Divide; NaN, without a warning, where the denominator is 0."""
    num, den = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(num, den, out=np.full(num.shape, np.nan), where=den != 0)


def mean_of_defined(values: FloatArray) -> FloatArray:
    """Average over the last axis without NaN; NaN, without a warning, where all are."""
    defined = ~np.isnan(values)
    return divide_or_nan(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def per_class_f1(confusions: npt.ArrayLike) -> FloatArray:
    """F1 of each class: ``2 TP / (2 TP + FP + FN)``.

    Args:
        confusions: (..., k, k).

    Returns:
        float64 (..., k); NaN where a class is in neither truth nor prediction.
    """
    hits, truths, preds = _margins(confusions)
    return divide_or_nan(2 * hits, truths + preds)


def per_class_iou(confusions: npt.ArrayLike) -> FloatArray:
    """Intersection over union (Jaccard index) of each class: ``TP / (TP + FP + FN)``.

    Args:
        confusions: (..., k, k).

    Returns:
        float64 (..., k); NaN where a class is in neither truth nor prediction.
    """
    hits, truths, preds = _margins(confusions)
    return divide_or_nan(hits, truths + preds - hits)


def per_class_recall(confusions: npt.ArrayLike) -> FloatArray:
    """Recall (producer's accuracy) of each class: ``TP / (TP + FN)``.

    Args:
        confusions: (..., k, k).

    Returns:
        float64 (..., k); NaN where a class is not in truth.
    """
    hits, truths, _ = _margins(confusions)
    return divide_or_nan(hits, truths)


def macro_f1(confusions: npt.ArrayLike) -> FloatArray:
    """Unweighted mean of the classes' F1; absent classes by the module's rule. (..., k, k) to (...)."""
    return mean_of_defined(per_class_f1(confusions))


def mean_iou(confusions: npt.ArrayLike) -> FloatArray:
    """Unweighted mean of the classes' IoU (mIoU); absent classes by the same rule. (..., k, k) to (...)."""
    return mean_of_defined(per_class_iou(confusions))


def balanced_accuracy(confusions: npt.ArrayLike) -> FloatArray:
    """Unweighted mean recall of the classes in truth. (..., k, k) to (...)."""
    return mean_of_defined(per_class_recall(confusions))


def overall_accuracy(confusions: npt.ArrayLike) -> FloatArray:
    """Share of units predicted right (OA). (..., k, k) to (...)."""
    hits, truths, _ = _margins(confusions)
    return divide_or_nan(hits.sum(axis=-1), truths.sum(axis=-1))


def kappa(confusions: npt.ArrayLike) -> FloatArray:
    """Cohen's kappa, ``(p_o - p_e) / (1 - p_e)`` (Cohen 1960). (..., k, k) to (...).

    NaN where chance agreement is complete (truth and prediction are one and the same class).
    """
    hits, truths, preds = _margins(confusions)
    total = truths.sum(axis=-1)
    chance = (truths * preds).sum(axis=-1)  # times total: all terms stay whole numbers, so no rounding
    return divide_or_nan(total * hits.sum(axis=-1) - chance, total**2 - chance)


def mcc(confusions: npt.ArrayLike) -> FloatArray:
    """Matthews correlation coefficient for k classes (Gorodkin 2004). (..., k, k) to (...).

    0 where truth or prediction is constant, as in scikit-learn; NaN without units.
    """
    hits, truths, preds = _margins(confusions)
    total = truths.sum(axis=-1)
    covariance = total * hits.sum(axis=-1) - (truths * preds).sum(axis=-1)
    spread = np.sqrt(total**2 - (truths**2).sum(axis=-1)) * np.sqrt(total**2 - (preds**2).sum(axis=-1))
    value = np.where(spread > 0, divide_or_nan(covariance, spread), 0.0)
    return np.where(total > 0, value, np.nan)


#: Metrics by their name in `out_probe__metrics`; each maps confusions (..., k, k) to float64 (...).
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "overall_accuracy": overall_accuracy,
        "balanced_accuracy": balanced_accuracy,
        "macro_f1": macro_f1,
        "mean_iou": mean_iou,
        "kappa": kappa,
        "mcc": mcc,
    }
)

#: Metrics with one value per class; each maps confusions (..., k, k) to float64 (..., k).
PER_CLASS_METRICS: Mapping[str, Metric] = MappingProxyType(
    {"f1": per_class_f1, "iou": per_class_iou, "recall": per_class_recall}
)


def _checked_probabilities(truth: npt.ArrayLike, proba: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], FloatArray]:
    truths, probas = np.asarray(truth), np.asarray(proba, np.float64)
    if probas.ndim != 2 or truths.shape != probas.shape[:1] or truths.dtype.kind not in "iu":
        raise ShapeError(
            "truth and probabilities",
            f"{truths.dtype} {truths.shape} and {probas.shape}",
            "integers (n,) and floats (n, k)",
            "Give one row of class probabilities per unit.",
        )
    if len(truths) and not (truths.min() >= 0 and truths.max() < probas.shape[1]):
        raise ShapeError(
            "truth", f"ids {truths.min()}..{truths.max()}", f"0..{probas.shape[1] - 1}", "Leave nodata out."
        )
    if not np.allclose(probas.sum(axis=1), 1.0, atol=1e-4):
        raise ShapeError("probabilities", "rows that do not sum to 1", "rows that do", "Pass predict_proba.")
    return truths.astype(np.int64), probas


def log_loss(truth: npt.ArrayLike, proba: npt.ArrayLike) -> float:
    """Mean negative log-likelihood of the true class, in nats.

    Args:
        truth: integers (n,), class ids.
        proba: float (n, k), rows sum to 1; clipped to [1e-7, 1]: an unseen class costs 16.1, not infinity.

    Returns:
        The loss; NaN without units.

    Raises:
        ShapeError: shapes disagree, ids are out of range, or rows do not sum to 1.
    """
    truths, probas = _checked_probabilities(truth, proba)
    if not len(truths):
        return float("nan")
    chosen = probas[np.arange(len(truths)), truths]
    return float(-np.log(np.clip(chosen, MIN_PROBABILITY, 1.0)).mean())


def ece(truth: npt.ArrayLike, proba: npt.ArrayLike, n_bins: int = 15) -> float:
    """Expected calibration error of the predicted class, equal-width bins (Guo et al. 2017, eq. 3).

    Args:
        truth: integers (n,), class ids.
        proba: float (n, k), rows sum to 1.
        n_bins: bins of confidence over [0, 1].

    Returns:
        Mean over units of |accuracy - confidence| of their bin, in [0, 1]; NaN without units.

    Raises:
        ShapeError: shapes disagree, ids are out of range, or rows do not sum to 1.
    """
    truths, probas = _checked_probabilities(truth, proba)
    if not len(truths):
        return float("nan")
    confidence = probas.max(axis=1)
    right = probas.argmax(axis=1) == truths
    # bins are (a, b], as in the paper
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(truths))
