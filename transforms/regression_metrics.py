"""Regression metrics (tasks T3 and T6, continuous labels) on sums per output.

Belongs here: the sums, whole and per spatial block; MAE, RMSE, R2 and bias on them (vectorised over leading axes).
Does not: intervals (`transforms/inference.py`), class fractions of maps (`transforms/segmentation_metrics.py`).

Sums are float64 (..., m, 6) for m outputs: n, truth, truth^2, |error|, error^2, error; error = prediction - truth.
They add up over blocks and folds, so R2 is about the mean of all the truth that was summed, never of one block.

Nodata rule: a unit whose truth is NaN in an output does not count there. An output without units is NaN and left out
of the mean over outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.metrics import FloatArray, IntArray, divide_or_nan, mean_of_defined

#: A metric maps sums (..., m, 6) to float64 (...); NaN where it is undefined.
SumMetric = Callable[[npt.ArrayLike], FloatArray]

#: Spread of truth over its mean square below which it is a constant: it cannot be told from rounding.
_MIN_RELATIVE_SPREAD = 1e-10


def regression_sums_by_block(
    truth: npt.ArrayLike, pred: npt.ArrayLike, block_id: npt.ArrayLike
) -> tuple[IntArray, FloatArray]:
    """Add up truth and errors per spatial block.

    Args:
        truth: float (n, m), NaN = nodata.
        pred: float (n, m), finite where truth is given.
        block_id: integers (n,).

    Returns:
        (blocks, sums): int64 (b,), sorted, the blocks with at least one truth; float64 (b, m, 6) by the module's
        layout.

    Raises:
        ShapeError: shapes differ, truth is infinite, or a prediction is missing where truth is given.
    """
    truths, preds, ids = np.asarray(truth, np.float64), np.asarray(pred, np.float64), np.asarray(block_id, np.int64)
    if truths.ndim != 2 or truths.shape != preds.shape or ids.shape != truths.shape[:1]:
        raise ShapeError(
            "truth, prediction and blocks",
            f"{truths.shape}, {preds.shape} and {ids.shape}",
            "(n, m), (n, m) and (n,)",
            "Give one row per unit and one column per output.",
        )
    known = ~np.isnan(truths)
    missing = known & ~(np.isfinite(preds) & np.isfinite(truths))
    if missing.any():
        raise ShapeError(
            "predictions", f"{int(missing.sum())} not finite", "finite where truth is given", "Score the units covered."
        )
    blocks, slot = np.unique(ids[known.any(axis=1)], return_inverse=True)
    terms = _terms(truths, preds, known)[known.any(axis=1)]
    sums = np.zeros((len(blocks), *terms.shape[1:]))
    np.add.at(sums, slot, terms)
    return blocks, sums


def _terms(truth: FloatArray, pred: FloatArray, known: npt.NDArray[np.bool_]) -> FloatArray:
    """Give what each unit adds, float64 (n, m, 6); zeros without truth."""
    error = pred - truth
    terms = np.stack([np.ones_like(truth), truth, truth**2, np.abs(error), error**2, error], axis=-1)
    return np.where(known[..., None], terms, 0.0)


def units_of_sums(sums: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    """Give what sums say of the units alone, for `contrast_sums`: n and truth^2, (..., m, 6) to (..., m, 2).

    The sum of truth is left out: where it is near 0, rounding would make it differ.
    """
    return sums[..., [0, 2]]


def _columns(sums: npt.ArrayLike) -> tuple[FloatArray, ...]:
    """Give n, truth, truth^2, |error|, error^2 and error, each (..., m)."""
    return tuple(np.moveaxis(np.asarray(sums, np.float64), -1, 0))


def per_output_mae(sums: npt.ArrayLike) -> FloatArray:
    """Mean absolute error of each output, in its unit. (..., m, 6) to (..., m)."""
    n, _, _, absolute, _, _ = _columns(sums)
    return divide_or_nan(absolute, n)


def per_output_rmse(sums: npt.ArrayLike) -> FloatArray:
    """Root mean squared error of each output, in its unit. (..., m, 6) to (..., m)."""
    n, _, _, _, squared, _ = _columns(sums)
    return np.sqrt(divide_or_nan(squared, n))


def per_output_r2(sums: npt.ArrayLike) -> FloatArray:
    """Coefficient of determination of each output, ``1 - SSE / SST``. (..., m, 6) to (..., m).

    SST is about the mean of the truth summed, ``sum t^2 - (sum t)^2 / n``. NaN where truth is constant: below 1e-10
    of its mean square its variance cannot be told from rounding, so centre truth whose mean dwarfs its spread.
    """
    n, total, total_squared, _, squared, _ = _columns(sums)
    spread = total_squared - divide_or_nan(total**2, n)
    varied = spread > _MIN_RELATIVE_SPREAD * total_squared
    return 1.0 - divide_or_nan(squared, np.where(varied, spread, 0.0))


def per_output_bias(sums: npt.ArrayLike) -> FloatArray:
    """Mean error, prediction - truth, of each output, in its unit. (..., m, 6) to (..., m)."""
    n, _, _, _, _, signed = _columns(sums)
    return divide_or_nan(signed, n)


def mae(sums: npt.ArrayLike) -> FloatArray:
    """Unweighted mean of the outputs' MAE. (..., m, 6) to (...)."""
    return mean_of_defined(per_output_mae(sums))


def rmse(sums: npt.ArrayLike) -> FloatArray:
    """Unweighted mean of the outputs' RMSE. (..., m, 6) to (...)."""
    return mean_of_defined(per_output_rmse(sums))


def r2(sums: npt.ArrayLike) -> FloatArray:
    """Unweighted mean of the outputs' R2, over those whose truth varies. (..., m, 6) to (...)."""
    return mean_of_defined(per_output_r2(sums))


def bias(sums: npt.ArrayLike) -> FloatArray:
    """Unweighted mean of the outputs' bias. (..., m, 6) to (...). Best at 0, so it has no contrast.

    Over all class fractions it is 0 by algebra where predicted fractions sum to 1: read it per output.
    """
    return mean_of_defined(per_output_bias(sums))


#: Metrics by their name in `out_probe__metrics`; each maps sums (..., m, 6) to float64 (...).
REGRESSION_METRICS: Mapping[str, SumMetric] = MappingProxyType({"mae": mae, "rmse": rmse, "r2": r2, "bias": bias})

#: Metrics with one value per output; each maps sums (..., m, 6) to float64 (..., m).
PER_OUTPUT_METRICS: Mapping[str, SumMetric] = MappingProxyType(
    {"mae": per_output_mae, "rmse": per_output_rmse, "r2": per_output_r2, "bias": per_output_bias}
)

#: Metrics that rank arms, and whether higher is better (`higher_is_better` in `contrast_sums`).
HIGHER_IS_BETTER: Mapping[str, bool] = MappingProxyType({"mae": False, "rmse": False, "r2": True})
