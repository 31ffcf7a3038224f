"""Paired intervals over spatial blocks, verdicts, and Holm's correction.

Belongs here: the interval of metric(arm) - metric(reference) and the verdict that it supports.
Does not: metrics (`transforms/metrics.py`), folds.

The block is the unit of resampling, always: neighbouring units share their errors, and an interval that
treats them as independent covers far less than it claims. That is why nothing here takes units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.metrics import METRICS, FloatArray, IntArray, Metric

Verdict = Literal["superior", "non-inferior", "inferior", "inconclusive"]
Method = Literal["block_bootstrap", "block_jackknife_t"]

#: Coverage that intervals claim.
LEVEL = 0.95
#: Bootstrap replicates.
N_REPLICATES = 2_000
#: Below this many blocks a percentile bootstrap is too narrow: the jackknife t interval takes over.
MIN_BLOCKS_BOOTSTRAP = 30
#: Below this many blocks there is no verdict.
MIN_BLOCKS_VERDICT = 20


@dataclass(frozen=True)
class Contrast:
    """A paired comparison of an arm with a reference, in units of the metric (0.02 = 2 points).

    Attributes:
        delta: metric(arm) - metric(reference) on confusions summed over all blocks.
        lo: lower end of the 95 % interval.
        hi: upper end.
        p: two-sided p value of delta = 0.
        n_blocks: blocks with data.
        block_wins: blocks in which the arm alone scores higher; ties are nobody's.
        verdict: what the interval supports, see `decide_verdict`.
        method: how the interval was made.
    """

    delta: float
    lo: float
    hi: float
    p: float
    n_blocks: int
    block_wins: int
    verdict: Verdict
    method: Method


def decide_verdict(lo: float, hi: float, margin: float, n_blocks: int) -> Verdict:
    """Read a verdict off an interval of metric(arm) - metric(reference).

    The first that holds: superior if ``lo > 0``; non-inferior if ``lo > -margin``; inferior if
    ``hi < -margin``; else inconclusive. Under 20 blocks, or with a NaN end: inconclusive.

    Args:
        lo: lower end of the interval, metric units.
        hi: upper end.
        margin: largest loss that still counts as comparable, metric units, positive.
        n_blocks: blocks behind the interval.

    Returns:
        The verdict.

    Raises:
        ShapeError: the margin is not in (0, 1).
    """
    if not 0.0 < margin < 1.0:
        raise ShapeError("margin", margin, "in (0, 1), metric units", "Write 2 points as 0.02.")
    if n_blocks < MIN_BLOCKS_VERDICT:
        return "inconclusive"
    if lo > 0:
        return "superior"
    if lo > -margin:
        return "non-inferior"
    if hi < -margin:
        return "inferior"
    return "inconclusive"


def contrast_arms(
    arm: npt.NDArray[np.integer],
    reference: npt.NDArray[np.integer],
    *,
    metric: str,
    margin: float,
    rng: np.random.Generator,
    n_replicates: int = N_REPLICATES,
) -> Contrast:
    """Compare two arms on the same test units, with the spatial block as the unit of resampling.

    The statistic is metric(arm) - metric(reference), each on its confusion matrix summed over blocks. From
    30 blocks its interval is the paired percentile bootstrap (Efron & Tibshirani 1993, ch. 13): one draw of
    blocks serves both arms. Under 30 it is ``delta +- t(n - 1) * se`` with the delete-one-block jackknife
    standard error of the same statistic (ibid., ch. 11).

    Args:
        arm: integers (b, k, k), confusions per block, rows truth; blocks without units are left out.
        reference: integers (b, k, k), the same blocks in the same order.
        metric: a name in `METRICS`.
        margin: non-inferiority margin, metric units (0.02 for 2 points).
        rng: draws the bootstrap; unused under 30 blocks.
        n_replicates: bootstrap replicates.

    Returns:
        The contrast; interval ends and p are NaN where the metric is undefined on a resample.

    Raises:
        ShapeError: the arms do not cover the same units, or the metric or margin is unknown or out of range.
        TooFewUnitsError: fewer than two blocks hold units.
    """
    arm_counts, reference_counts = _paired_blocks(arm, reference)
    score = _metric_named(metric)
    n_blocks = len(arm_counts)
    delta = float(score(arm_counts.sum(axis=0)) - score(reference_counts.sum(axis=0)))
    method: Method
    if n_blocks >= MIN_BLOCKS_BOOTSTRAP:
        method = "block_bootstrap"
        weights = rng.multinomial(n_blocks, np.full(n_blocks, 1.0 / n_blocks), size=n_replicates)
        lo, hi, p = _percentile_interval(_reweighted_deltas(weights, arm_counts, reference_counts, metric))
    else:
        method = "block_jackknife_t"
        weights = 1 - np.eye(n_blocks, dtype=np.int64)
        lo, hi, p = _jackknife_interval(delta, _reweighted_deltas(weights, arm_counts, reference_counts, metric))
    wins = int((score(arm_counts) > score(reference_counts)).sum())
    return Contrast(delta, lo, hi, p, n_blocks, wins, decide_verdict(lo, hi, margin, n_blocks), method)


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Correct p values for multiple comparisons within a family (Holm 1979, step-down).

    Args:
        p_values: float (m,), in [0, 1]; NaN = no test, left out of the count.

    Returns:
        float64 (m,), adjusted p values in [0, 1]; NaN where there was no test.

    Raises:
        ShapeError: not a list, or values outside [0, 1].
    """
    raw = np.asarray(p_values, np.float64)
    tested = np.flatnonzero(~np.isnan(raw))
    if raw.ndim != 1 or ((raw[tested] < 0) | (raw[tested] > 1)).any():
        raise ShapeError("p values", raw, "a list in [0, 1] or NaN", "Pass the p of the family's contrasts.")
    order = tested[np.argsort(raw[tested], kind="stable")]
    steps = raw[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(raw.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted


def _metric_named(metric: str) -> Metric:
    if metric not in METRICS:
        raise ShapeError("metric", metric, f"one of {', '.join(METRICS)}", "Correct the name.")
    return METRICS[metric]


def _paired_blocks(arm: npt.NDArray[np.integer], reference: npt.NDArray[np.integer]) -> tuple[IntArray, IntArray]:
    """Check that both arms were scored on the same units; drop blocks without any."""
    if arm.shape != reference.shape or arm.ndim != 3 or arm.shape[1] != arm.shape[2]:
        raise ShapeError(
            "confusions per block",
            f"{arm.shape} and {reference.shape}",
            "two (b, k, k)",
            "Align both arms on the same blocks and classes.",
        )
    differs = np.flatnonzero((arm.sum(axis=2) != reference.sum(axis=2)).any(axis=1))
    if len(differs):
        raise ShapeError(
            "truth counts of arm and reference",
            f"{len(differs)} of {len(arm)} blocks differ (first at position {differs[0]})",
            "the same units in both",
            "Score both arms on the units that both cover.",
        )
    filled = arm.sum(axis=(1, 2)) > 0
    if filled.sum() < 2:
        raise TooFewUnitsError(
            "blocks with test units", int(filled.sum()), "at least 2", "Enlarge the area of interest."
        )
    return arm[filled].astype(np.int64), reference[filled].astype(np.int64)


def _reweighted_deltas(weights: npt.NDArray[np.integer], arm: IntArray, reference: IntArray, metric: str) -> FloatArray:
    """Give the statistic under block weights: (r, b) weights to float64 (r,)."""
    n_blocks, n_classes, _ = arm.shape
    score = METRICS[metric]
    factors = weights.astype(np.float64)  # BLAS multiplies floats; counts stay exact below 2**53

    def scored(counts: IntArray) -> FloatArray:
        sums = factors @ counts.reshape(n_blocks, n_classes**2).astype(np.float64)
        return score(sums.reshape(-1, n_classes, n_classes))

    return scored(arm) - scored(reference)


def _percentile_interval(deltas: FloatArray) -> tuple[float, float, float]:
    """Give (lo, hi, p) of bootstrap replicates; NaN where a replicate is."""
    if np.isnan(deltas).any():
        return float("nan"), float("nan"), float("nan")
    lo, hi = np.quantile(deltas, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # one is added to both counts: a p of 0 cannot be known from finitely many replicates
    tail = int(min((deltas <= 0).sum(), (deltas >= 0).sum()))
    p = min(1.0, 2.0 * (tail + 1) / (len(deltas) + 1))
    return float(lo), float(hi), p


def _jackknife_interval(delta: float, left_out: FloatArray) -> tuple[float, float, float]:
    """Give (lo, hi, p) of delete-one values; a statistic that never moves has an interval of length 0."""
    n_blocks = len(left_out)
    se = float(np.sqrt((n_blocks - 1) / n_blocks * ((left_out - left_out.mean()) ** 2).sum()))
    half_width = float(stats.t.ppf((1 + LEVEL) / 2, n_blocks - 1)) * se
    p = float(delta == 0.0) if se == 0.0 else float(2.0 * stats.t.sf(abs(delta) / se, n_blocks - 1))
    return delta - half_width, delta + half_width, p
