"""Plain words for numbers: names of arms and metrics, and the sentence of each verdict.

Belongs here: text that depends on results. Does not: fixed prose of the page (`template.html`).
No sentence claims more than its interval: the verdict is derived again from the interval, and a stored verdict
that says something else is not repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from transforms.arms import ARMS, Claim
from transforms.inference import MIN_BLOCKS_VERDICT, decide_verdict
from transforms.report.data import Contrast, ReportData

Tone = Literal["better", "comparable", "worse", "open", "absent"]

ARM_TITLES = {
    "native_patch": "native patch vectors",
    "pooled_stats": "pooled pixels: min, max, mean, std",
    "native_pixel": "native pixel vectors",
    "patch_coordinates": "coordinates only",
    "patch_majority": "majority class",
    "pixel_coordinates": "coordinates only",
    "pixel_majority": "majority class",
}
#: Operators whose names the field spells with capitals.
_OPERATOR_TITLES = {
    "gem": "GeM",
    "vlad": "VLAD",
    "bow": "bag of words",
    "area_to_point_kriging": "area-to-point kriging",
    "median_iqr": "median + IQR",
    "mean_std": "mean + std",
    "mean_max": "mean + max",
}
_FAMILY_TITLES = {"pooled": "pooled pixels", "upsampled": "upsampled patches", "guided": "guided by pixels"}
TASK_TITLES = {"T1": "Patch classification (one class per patch)", "T5": "Segmentation (one class per pixel)"}
METRIC_TITLES = {
    "macro_f1": "macro-F1",
    "mean_iou": "mIoU",
    "overall_accuracy": "overall accuracy",
    "balanced_accuracy": "balanced accuracy",
    "r2": "R²",
    "precision_at_k": "precision",
}
SCHEME_TITLES = {
    "block": "spatial blocks with a buffer",
    "random": "random (leaks between neighbours)",
    "region": "leave one region out",
    "longitude": "bands of longitude with a buffer",
    "transfer": "trained on one region, tested on each other",
    "given": "given by the data set",
}
QUESTION_TITLES = {
    "Q1": "Can pooled pixel embeddings classify patches as well as native patch embeddings?",
    "Q2": "Can upsampled patch embeddings segment pixels as well as native pixel embeddings?",
}


@dataclass(frozen=True)
class Answer:
    """What the evidence says about one question.

    Attributes:
        question: Q1 or Q2.
        title: the question in words.
        headline: the verdict in a few words.
        sentence: the numbers, and what they allow to say.
        tone: for the colour of the mark; `open` has no verdict, `absent` was not asked.
        contrast: the primary contrast, if there is one.
    """

    question: str
    title: str
    headline: str
    sentence: str
    tone: Tone
    contrast: Contrast | None


def arm_title(arm: str) -> str:
    """Name an arm in words: its family, then its operator as the field names it."""
    entry = ARMS.get(arm)
    if arm in ARM_TITLES or entry is None or entry.operator is None:
        return ARM_TITLES.get(arm, arm.replace("_", " "))
    title = _OPERATOR_TITLES.get(entry.operator, entry.operator.replace("_", " "))
    return f"{_FAMILY_TITLES[entry.family]}: {title}"


def metric_title(metric: str) -> str:
    """Name a metric as the field does."""
    return METRIC_TITLES.get(metric, metric.replace("_", " "))


def scheme_title(scheme: str) -> str:
    """Say what a fold scheme does."""
    return SCHEME_TITLES.get(scheme, scheme)


def number(value: float | None, digits: int = 3) -> str:
    """Spell a score; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """Spell a difference with its sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    words = f"{value:+.{digits}f}".replace("-", "−")
    # a rounded zero has no sign
    return words if float(f"{value:.{digits}f}") != 0 else words[1:]


def bytes_title(n_bytes: int) -> str:
    """Spell a size in decimal units."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def answer_question(data: ReportData, claim: Claim, contrasts: list[Contrast]) -> Answer:
    """Say what the evidence says about a question.

    Args:
        data: the report's data.
        claim: the question as it was fixed beforehand.
        contrasts: all contrasts of the report.
    """
    title = QUESTION_TITLES[claim.question]
    primary = pick_primary(data, claim, contrasts)
    if primary is None:
        text = f"Nothing was compared for this question: {_why_absent(data, claim)}."
        return Answer(claim.question, title, "Not asked", text, "absent", None)
    if not _is_scored(primary):
        text = f"The comparison could not be scored: {primary.note or 'no reason is recorded'}."
        return Answer(claim.question, title, "No answer", text, "open", primary)
    headline, meaning, tone = _interpret(data, primary)
    return Answer(claim.question, title, headline, f"{_figures(primary)} {meaning}", tone, primary)


def pick_primary(data: ReportData, claim: Claim, contrasts: list[Contrast]) -> Contrast | None:
    """Pick the contrast that answers a question: primary, of the first fold scheme that may answer, latest year."""
    scheme = data.answering_scheme
    found = [c for c in contrasts if c.question == claim.question and c.is_primary and c.scheme == scheme]
    return max(found, key=lambda c: c.year, default=None)


def honest_verdict(contrast: Contrast) -> str:
    """Give the verdict that the interval supports; `inconclusive` where the stored one says something else."""
    if not _has_interval(contrast) or contrast.margin is None:
        return "inconclusive"
    assert contrast.lo is not None
    assert contrast.hi is not None
    derived = decide_verdict(contrast.lo, contrast.hi, contrast.margin, contrast.n_blocks or 0)
    return derived if derived == contrast.verdict else "inconclusive"


def _why_absent(data: ReportData, claim: Claim) -> str:
    grains = {product.grain for product in data.products}
    missing = sorted({"patch", "pixel"} - grains)
    if missing:
        return f"the settings compare no {missing[0]} product"
    return f"there is no primary contrast of task {claim.task} in the warehouse"


def _is_scored(contrast: Contrast) -> bool:
    return contrast.status in ("ok", "diagnostic") and number(contrast.delta) != "–"


def _has_interval(contrast: Contrast) -> bool:
    return number(contrast.lo) != "–" and number(contrast.hi) != "–"


def _figures(contrast: Contrast) -> str:
    """State scores, difference and interval, and nothing else."""
    arm, reference = arm_title(contrast.arm), arm_title(contrast.reference)
    scores = (
        f"“{arm[0].upper()}{arm[1:]}” scores {metric_title(contrast.metric)} {number(contrast.arm_value)}, "
        f"“{reference}” {number(contrast.reference_value)}: a difference of {signed(contrast.delta)}"
    )
    if not _has_interval(contrast):
        return f"{scores}; no interval could be computed."
    blocks = f"{contrast.n_blocks} spatial block{'' if contrast.n_blocks == 1 else 's'}"
    if contrast.scheme == "given":
        blocks = f"{contrast.n_blocks} groups"
    return f"{scores} (95 % interval {signed(contrast.lo)} to {signed(contrast.hi)}, over {blocks})."


def _interpret(data: ReportData, contrast: Contrast) -> tuple[str, str, Tone]:
    """Give headline, meaning and tone of a scored contrast."""
    if contrast.status == "diagnostic":
        why = contrast.note or data.diagnostic or "the set-up does not allow one"
        text = f"A diagnostic is reported to check the machinery, never as a verdict. Here: {why.rstrip('.')}."
        return "Diagnostic only: no verdict", text, "open"
    margin = number(contrast.margin, 2)
    match honest_verdict(contrast):
        case "superior":
            return "Yes, and better", "The whole interval lies above zero.", "better"
        case "non-inferior":
            return "Yes, within the margin", _non_inferior(contrast, margin), "comparable"
        case "inferior":
            text = f"The whole interval lies below −{margin}, the largest loss that counts as comparable."
            return "No: the loss exceeds the margin", text, "worse"
    return "Undecided", _inconclusive(contrast, margin), "open"


def _non_inferior(contrast: Contrast, margin: str) -> str:
    assert contrast.hi is not None
    loss = f"−{margin}, the largest loss that counts as comparable (fixed before any result)"
    if contrast.hi < 0:
        return f"There is a loss, for the interval lies below zero, but it stays above {loss}."
    return f"The interval stays above {loss}; it does not show that either is better."


def _inconclusive(contrast: Contrast, margin: str) -> str:
    if (contrast.n_blocks or 0) < MIN_BLOCKS_VERDICT:
        return f"Under {MIN_BLOCKS_VERDICT} blocks no verdict is given, whatever the numbers."
    if not _has_interval(contrast):
        return "Without an interval there is no verdict."
    assert contrast.lo is not None
    assert contrast.hi is not None
    if contrast.lo <= -float(contrast.margin or 0) <= contrast.hi:
        return (
            f"The interval holds −{margin}, the largest loss that counts as comparable: the data fit a smaller "
            "loss as well as a larger one."
        )
    return "The stored verdict does not follow from the interval, so none is repeated here."
