"""Graded numbers of question 2: how much of the gap an arm closes, and at which resolution it works.

Belongs here: effective resolution and gap closed. Does not: the scores of the ladder
(`tally.py`, `rows.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError


@dataclass(frozen=True)
class EffectiveResolution:
    """The block size at which labels of one class a block score what an arm scores.

    Attributes:
        scale_m: metres; NaN where the arm has no score.
        beyond: `<` where the arm is better than the finest scale of the ladder (then `scale_m` is that scale), `>`
            where it is worse than the coarsest, empty between them.
    """

    scale_m: float
    beyond: Literal["", "<", ">"] = ""

    def __str__(self) -> str:
        """Spell it for a report: `57 m`, `< 20 m`, `> 320 m`."""
        if math.isnan(self.scale_m):
            return "undefined"
        return f"{self.beyond} {self.scale_m:.0f} m".strip()


def effective_resolution(scores_by_scale: Mapping[float, float], arm_score: float) -> EffectiveResolution:
    """Find the s whose sub-patch oracle C4(s) equals the arm's score.

    log2(s) is interpolated linearly between the scores of neighbouring scales. mIoU of a ladder can fall a little where
    blocks get smaller; it is made monotone first, each scale taking the best score of the coarser ones. Where several
    scales have the arm's score, the coarsest counts: the arm is never flattered.

    Args:
        scores_by_scale: scale in metres -> score of C4 there, of the whole patch (C0) too; higher is better.
        arm_score: the same metric of the arm on the same ground; NaN gives an undefined resolution.

    Returns:
        The resolution, flagged where it lies beyond the ladder.

    Raises:
        ShapeError: fewer than two scales, a scale that is not positive, or a score that is not finite.
    """
    scales = np.array(sorted(scores_by_scale, reverse=True), np.float64)
    scores = np.array([scores_by_scale[scale] for scale in sorted(scores_by_scale, reverse=True)], np.float64)
    if len(scales) < 2 or not (scales > 0).all() or not np.isfinite(scores).all():
        raise ShapeError(
            "resolution ladder", dict(scores_by_scale), "two or more positive scales with finite scores",
            "Take the rows of resolution_ladder with status 'ok'.",
        )  # fmt: skip
    if math.isnan(arm_score):
        return EffectiveResolution(float("nan"))
    rising = np.maximum.accumulate(scores)
    if arm_score < rising[0]:
        return EffectiveResolution(float(scales[0]), ">")
    if arm_score > rising[-1]:
        return EffectiveResolution(float(scales[-1]), "<")
    after = int(np.searchsorted(rising, arm_score, side="left"))
    if rising[after] == arm_score:
        return EffectiveResolution(float(scales[after]))
    share = (arm_score - rising[after - 1]) / (rising[after] - rising[after - 1])
    log_scale = (1 - share) * np.log2(scales[after - 1]) + share * np.log2(scales[after])
    return EffectiveResolution(float(2.0**log_scale))


def gap_closed(arm: npt.ArrayLike, nearest: npt.ArrayLike, native: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Give the share of the gap that an arm closes: ``(arm - nearest) / (native - nearest)``.

    Below 0 the arm is worse than nearest, above 1 better than native.

    Args:
        arm: scores of one metric, higher is better.
        nearest: of the nearest-neighbour arm, on the same units.
        native: of the native arm, on the same units.

    Returns:
        float64 of the broadcast shape; NaN where `native <= nearest` (there is no gap) or a score is NaN.
    """
    arms, low, high = np.broadcast_arrays(*(np.asarray(side, np.float64) for side in (arm, nearest, native)))
    gap = high - low
    return np.divide(arms - low, gap, out=np.full(gap.shape, np.nan), where=gap > 0)
