"""Paired intervals over spatial blocks, verdicts, and Holm's correction.

Belongs here: the interval of metric(arm) - metric(reference) and the verdict that it supports.
Does not: metrics (`transforms/metrics.py`), folds.

The block is the unit of resampling, always: neighbouring units share their errors, and an interval that
treats them as independent covers far less than it claims. That is why nothing here takes units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.metrics import METRICS, FloatArray

Verdict = Literal["superior", "non-inferior", "inferior", "inconclusive"]
Method = Literal["block_bootstrap", "block_jackknife_t"]
#: A metric maps sums (..., *trailing) to float64 (...); NaN where it is undefined.
Score = Callable[[npt.NDArray[np.number]], FloatArray]
#: What arms on the same units share, per block.
Units = Callable[[npt.NDArray[np.number]], npt.NDArray[np.number]]

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
        delta: metric(arm) - metric(reference) on counts summed over all blocks.
        lo: lower end of the 95 % interval.
        hi: upper end.
        p: two-sided p value of delta = 0.
        n_blocks: blocks with data.
        block_wins: blocks in which the arm alone scores better; ties are nobody's.
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


def contrast_sums(
    arm: npt.NDArray[np.number],
    reference: npt.NDArray[np.number],
    score: Score,
    *,
    units: Units,
    margin: float,
    rng: np.random.Generator,
    higher_is_better: bool = True,
    n_replicates: int = N_REPLICATES,
) -> Contrast:
    """Compare two arms on the same test units by any metric of summed counts; the spatial block is resampled.

    The statistic is score(arm) - score(reference), each on its sums over blocks. From 30 blocks its interval is
    the paired percentile bootstrap (Efron & Tibshirani 1993, ch. 13) at expanded levels (Hesterberg 2014, arXiv
    1411.5279): one draw of blocks serves both arms. Under 30 it is ``delta +- t(n - 1) * se`` with the
    delete-one-block jackknife standard error of the same statistic (Efron & Tibshirani 1993, ch. 11).

    Where lower is better (MAE, Hamming loss) `delta`, `lo` and `hi` keep the sign of the metric, so a better arm
    has a negative delta; the verdict is read off the gain, ``-delta`` in ``[-hi, -lo]``, and `block_wins` counts
    blocks in which the arm is lower.

    Args:
        arm: numbers (b, ...), summable counts per block; blocks without units are left out.
        reference: numbers (b, ...), the same blocks in the same order.
        score: the metric, sums (..., *trailing) to float64 (...), vectorised over leading axes.
        units: what sums say of the units alone, which arms on the same units share: sums (b, *trailing) to
            numbers (b, ...), all zero where a block has no unit, and nowhere else. Whole numbers must be equal,
            floats to 1e-9.
        margin: non-inferiority margin, metric units (0.02 for 2 points), in (0, 1); a metric with a unit of its
            own (MAE in dB) is divided by a scale first.
        rng: draws the bootstrap; unused under 30 blocks.
        higher_is_better: False for losses and errors.
        n_replicates: bootstrap replicates.

    Returns:
        The contrast; interval ends and p are NaN where the metric is undefined on a resample.

    Raises:
        ShapeError: the arms do not cover the same units, or the margin is out of range.
        TooFewUnitsError: fewer than two blocks hold units.
    """
    arm_sums, reference_sums = _paired_blocks(arm, reference, units)
    n_blocks = len(arm_sums)
    delta = float(score(arm_sums.sum(axis=0)) - score(reference_sums.sum(axis=0)))
    weights, method = _block_weights(n_blocks, rng, n_replicates)
    deltas = _reweighted(weights, arm_sums, score) - _reweighted(weights, reference_sums, score)
    lo, hi, p = _interval(delta, deltas, n_blocks, method)
    gains = score(arm_sums) - score(reference_sums)
    if higher_is_better:
        wins, verdict = gains > 0, decide_verdict(lo, hi, margin, n_blocks)
    else:
        wins, verdict = gains < 0, decide_verdict(-hi, -lo, margin, n_blocks)
    return Contrast(delta, lo, hi, p, n_blocks, int(wins.sum()), verdict, method)


def contrast_arms(
    arm: npt.NDArray[np.integer],
    reference: npt.NDArray[np.integer],
    *,
    metric: str,
    margin: float,
    rng: np.random.Generator,
    n_replicates: int = N_REPLICATES,
) -> Contrast:
    """Compare two arms by a metric of their confusion matrices: `contrast_sums` on confusions per block.

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
    if arm.ndim != 3 or arm.shape[1] != arm.shape[2]:
        raise ShapeError("confusions per block", arm.shape, "(b, k, k)", "Count pairs by `confusion_by_block`.")
    if metric not in METRICS:
        raise ShapeError("metric", metric, f"one of {', '.join(METRICS)}", "Correct the name.")
    return contrast_sums(
        arm, reference, METRICS[metric], units=_truth_counts, margin=margin, rng=rng, n_replicates=n_replicates
    )


def interval_of_score(
    sums: npt.NDArray[np.number], score: Score, *, rng: np.random.Generator, n_replicates: int = N_REPLICATES
) -> tuple[float, float]:
    """Give the 95 % block interval of one arm's score, by the procedure of `contrast_sums`.

    Args:
        sums: numbers (b, ...), summable counts per block; blocks of zeros alone are left out.
        score: the metric, sums (..., *trailing) to float64 (...).
        rng: draws the bootstrap; unused under 30 blocks.
        n_replicates: bootstrap replicates.

    Returns:
        (lo, hi); NaN where the metric is undefined on a resample. A t interval may reach over the metric's range.

    Raises:
        TooFewUnitsError: fewer than two blocks hold units.
    """
    filled = _filled_blocks(sums, sums)
    kept = sums[filled]
    weights, method = _block_weights(len(kept), rng, n_replicates)
    lo, hi, _ = _interval(float(score(kept.sum(axis=0))), _reweighted(weights, kept, score), len(kept), method)
    return lo, hi


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


def _truth_counts(confusions: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    counts: npt.NDArray[np.number] = confusions.sum(axis=-1)
    return counts


def _paired_blocks(
    arm: npt.NDArray[np.number], reference: npt.NDArray[np.number], units: Units
) -> tuple[npt.NDArray[np.number], npt.NDArray[np.number]]:
    """Check that both arms were scored on the same units; drop blocks without any."""
    if arm.shape != reference.shape or arm.ndim < 2:
        raise ShapeError(
            "sums per block",
            f"{arm.shape} and {reference.shape}",
            "two (b, ...), alike",
            "Align both arms on the same blocks and classes.",
        )
    of_arm, of_reference = units(arm), units(reference)
    exact = np.issubdtype(of_arm.dtype, np.integer) and np.issubdtype(of_reference.dtype, np.integer)
    same = of_arm == of_reference if exact else np.isclose(of_arm, of_reference, rtol=1e-9, atol=0.0)
    differs = np.flatnonzero(~same.reshape(len(arm), -1).all(axis=1))
    if len(differs):
        raise ShapeError(
            "test units of arm and reference",
            f"{len(differs)} of {len(arm)} blocks differ (first at position {differs[0]})",
            "the same units in both",
            "Score both arms on the units that both cover.",
        )
    filled = _filled_blocks(arm, of_arm)
    return arm[filled], reference[filled]


def _filled_blocks(sums: npt.NDArray[np.number], units: npt.NDArray[np.number]) -> npt.NDArray[np.bool_]:
    """Tell which blocks hold units, bool (b,)."""
    filled: npt.NDArray[np.bool_] = (units.reshape(len(sums), -1) != 0).any(axis=1)
    if filled.sum() < 2:
        raise TooFewUnitsError(
            "blocks with test units", int(filled.sum()), "at least 2", "Enlarge the area of interest."
        )
    return filled


def _block_weights(
    n_blocks: int, rng: np.random.Generator, n_replicates: int
) -> tuple[npt.NDArray[np.integer], Method]:
    """Say how often each replicate takes each block, (r, b), and the name of the procedure."""
    if n_blocks < MIN_BLOCKS_BOOTSTRAP:
        return 1 - np.eye(n_blocks, dtype=np.int64), "block_jackknife_t"
    return rng.multinomial(n_blocks, np.full(n_blocks, 1.0 / n_blocks), size=n_replicates), "block_bootstrap"


def _reweighted(weights: npt.NDArray[np.integer], sums: npt.NDArray[np.number], score: Score) -> FloatArray:
    """Score each replicate: weights (r, b) and sums (b, ...) to float64 (r,)."""
    # BLAS multiplies floats; counts stay exact below 2**53
    replicates = weights.astype(np.float64) @ sums.reshape(len(sums), -1).astype(np.float64)
    return score(replicates.reshape(-1, *sums.shape[1:]))


def _interval(value: float, replicates: FloatArray, n_blocks: int, method: Method) -> tuple[float, float, float]:
    """Give (lo, hi, p) of a statistic from its replicates."""
    if method == "block_bootstrap":
        return _percentile_interval(value, replicates, n_blocks)
    return _jackknife_interval(value, replicates)


def _percentile_interval(value: float, deltas: FloatArray, n_blocks: int) -> tuple[float, float, float]:
    """Give (lo, hi, p) of bootstrap replicates; NaN where a replicate is.

    Replicates spread by sqrt((n - 1) / n) too little, and normal quantiles know the spread too well. So quantiles are
    taken at ``Phi(-+ t(n - 1) sqrt(n / (n - 1)))``: for a mean of symmetric blocks this is the t interval. The p value
    is that at which an interval made so would end at 0. Where no replicate reaches 0, counting says no more than
    "under 1 in r"; Student's t of value / (expansion * spread) goes on from there. Without it Holm's correction of a
    family of more than r / 40 contrasts could reject nothing.
    """
    if np.isnan(deltas).any():
        return float("nan"), float("nan"), float("nan")
    expansion = np.sqrt(n_blocks / (n_blocks - 1))
    level = stats.norm.cdf(-expansion * stats.t.ppf((1 + LEVEL) / 2, n_blocks - 1))
    lo, hi = np.quantile(deltas, [level, 1 - level])
    # one is added to both counts: a p of 0 cannot be known from finitely many replicates
    n_beyond = min((deltas <= 0).sum(), (deltas >= 0).sum())
    tail = (n_beyond + 1) / (len(deltas) + 1)
    p = min(1.0, 2.0 * float(stats.t.sf(stats.norm.isf(min(tail, 0.5)) / expansion, n_blocks - 1)))
    spread = float(expansion * deltas.std(ddof=1))
    if n_beyond == 0 and spread > 0.0:
        p = min(p, 2.0 * float(stats.t.sf(abs(value) / spread, n_blocks - 1)))
    return float(lo), float(hi), p


def _jackknife_interval(delta: float, left_out: FloatArray) -> tuple[float, float, float]:
    """Give (lo, hi, p) of delete-one values; a statistic that never moves has an interval of length 0."""
    n_blocks = len(left_out)
    se = float(np.sqrt((n_blocks - 1) / n_blocks * ((left_out - left_out.mean()) ** 2).sum()))
    half_width = float(stats.t.ppf((1 + LEVEL) / 2, n_blocks - 1)) * se
    p = float(delta == 0.0) if se == 0.0 else float(2.0 * stats.t.sf(abs(delta) / se, n_blocks - 1))
    return delta - half_width, delta + half_width, p
