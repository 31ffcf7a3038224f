"""The resolution ladder: what labels alone score by block size, and where the arms stand on it.

Belongs here: the section, and the graded numbers of question 2 as the report states them. Does not: their formulas
(`transforms/oracles/ladder.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from transforms.arms import CLAIMS
from transforms.oracles.ladder import effective_resolution, gap_closed
from transforms.report.data import ReportData
from transforms.report.study.lines import Level, Panel, Point, Series, draw_lines
from transforms.report.study.parts import (
    DRAWN_ARMS,
    Cell,
    Figure,
    Row,
    Section,
    Table,
    answering_rows,
    by_rank,
    current_rows,
    is_number,
    make_section,
    simulated_mark,
)
from transforms.report.wording import arm_title, number

_NEAREST = "upsampled_nearest"
_ORACLES = {
    "C0": "one class a patch, the majority",
    "C1": "one class a patch, best mIoU",
    "C3": "true fractions, bilinear",
    "C4": "one class a block",
    "C6": "another label source",
}


@dataclass(frozen=True)
class Graded:
    """One arm on the ladder.

    Attributes:
        arm: name.
        value: mIoU.
        gap_closed: share of the gap between nearest and native; NaN where it is undefined or a side is not stored.
        resolution: effective resolution in words; empty without a ladder.
    """

    arm: str
    value: float
    gap_closed: float
    resolution: str


def ladder_section(data: ReportData) -> Section:
    """Draw the oracles by scale with the arms as lines; effective resolution and gap closed in a table."""
    oracles = [row for row in current_rows(data, "resolution_ladder") if _is_scored(row)]
    arms = dense_scores(data)
    parts: list[Figure | Table] = []
    if ladder_of(oracles):
        parts.append(_figure(oracles, arms))
    if arms:
        parts.append(_graded_table(data, arms))
    if oracles:
        parts.append(_oracle_table(oracles))
    return make_section(
        "ladder",
        "Resolution ladder",
        "What labels alone score when one class stands for a block of a size. An arm as good as the oracle at s "
        "metres maps like perfect labels of s metres: its effective resolution. Gap closed is (arm − nearest) / "
        "(native − nearest). Both are single numbers without an interval. Oracles are counted on all labelled "
        "ground, arms on the tested pixels of every fold, so the place of an arm on the ladder is approximate. No "
        "oracle bounds an upsampled arm.",
        parts,
        "Neither an oracle nor a segmentation arm is stored.",
        ("resolution_ladder", "probe_scores"),
    )


def grade_arms(data: ReportData) -> list[Graded]:
    """Give value, gap closed and effective resolution of segmentation arms, in the registry's order; no controls."""
    arms = {row["arm"]: float(row["value"]) for row in dense_scores(data) if row["arm_family"] != "control"}
    ladder = ladder_of([row for row in current_rows(data, "resolution_ladder") if _is_scored(row)])
    nearest, native = arms.get(_NEAREST, math.nan), arms.get(CLAIMS["T5"].reference, math.nan)
    return [
        Graded(
            arm,
            arms[arm],
            float(gap_closed(arms[arm], nearest, native)),
            str(effective_resolution(ladder, arms[arm])) if len(ladder) > 1 else "",
        )
        for arm in by_rank(arms)
    ]


def ladder_of(oracles: Sequence[Row]) -> dict[float, float]:
    """Give mIoU by scale: C4, and C0 at the size of the patch."""
    return {float(row["scale_m"]): float(row["mean_iou"]) for row in oracles if row["oracle"] in ("C0", "C4")}


def dense_scores(data: ReportData) -> list[Row]:
    """Give the answering rows of T5 with the task's own probe and all labels."""
    return [row for row in answering_rows(data, "probe_scores") if row["task"] == "T5" and row["is_default"]]


def _is_scored(row: Row) -> bool:
    return row["status"] == "ok" and is_number(row["mean_iou"])


def _figure(oracles: Sequence[Row], arms: Sequence[Row]) -> Figure:
    ladder = ladder_of(oracles)

    def x(scale_m: float) -> float:
        return -math.log2(scale_m)  # finer to the right

    series = [Series("C4: " + _ORACLES["C4"], 0, tuple(Point(x(s), ladder[s]) for s in sorted(ladder, reverse=True)))]
    for index, name in ((1, "C1"), (2, "C3")):
        points = tuple(Point(x(row["scale_m"]), row["mean_iou"]) for row in oracles if row["oracle"] == name)
        if points:
            series.append(Series(f"{name}: {_ORACLES[name]}", index, points))
    ticks = tuple((x(scale), f"{scale:g}") for scale in sorted(ladder))
    scores = {row["arm"]: row["value"] for row in arms}
    css = {CLAIMS["T5"].reference: "level native", CLAIMS["T5"].primary_arm: "level primary"}
    levels = [
        Level(arm_title(arm), scores[arm], css.get(arm, "level"))
        for arm in DRAWN_ARMS
        if arm in scores and not arm.endswith("coordinates")
    ]
    title = "T5: mIoU of label oracles by block size, and of arms"
    chart = draw_lines(
        title, "mIoU", [Panel("size of a block with one class, metres (log)", ticks, tuple(series))], levels
    )
    return Figure(Markup(chart), f"{title}, as horizontal lines{simulated_mark([*oracles, *arms])}.")


def _graded_table(data: ReportData, arms: Sequence[Row]) -> Table:
    rows = tuple(
        (
            Cell(arm_title(graded.arm)),
            Cell(number(graded.value), "num"),
            Cell(_percent(graded.gap_closed), "num"),
            Cell(graded.resolution or "–", "num"),
        )
        for graded in grade_arms(data)
    )
    return Table(
        f"Every segmentation arm on the ladder{simulated_mark(arms)}",
        ("arm", "mIoU", "gap closed", "effective resolution"),
        rows,
        is_open=True,
    )


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f} %".replace("-", "−")


def _oracle_table(oracles: Sequence[Row]) -> Table:
    rows = tuple(
        (
            Cell(row["oracle"]),
            Cell(_ORACLES.get(row["oracle"], "") + (f": {row['other_source']}" if row["other_source"] else "")),
            Cell("–" if row["scale_m"] is None else f"{row['scale_m']:g} m", "num"),
            Cell(number(row["mean_iou"]), "num"),
            Cell(number(row["overall_accuracy"]), "num"),
            Cell(row["bound_for"]),
        )
        for row in oracles
    )
    header = ("oracle", "what carries one class", "size", "mIoU", "accuracy", "bounds")
    return Table(f"The oracles{simulated_mark(oracles)}", header, rows)
