"""Sections on folds: the leakage gap, and what is trained in one region and tested in another.

Belongs here: figures and tables of these. Does not: the audit of the folds (`audit.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from transforms.report.data import ReportData
from transforms.report.study.marks import MarkRow, draw_marks
from transforms.report.study.parts import (
    Cell,
    Figure,
    Row,
    Section,
    Table,
    by_rank,
    current_rows,
    group_rows,
    heat_class,
    is_number,
    make_section,
    own_rows,
    simulated_mark,
    task_title,
)
from transforms.report.wording import arm_title, metric_title, number, scheme_title, signed


def leakage_section(data: ReportData) -> Section:
    """Draw scores under random folds beside those under strict ones."""
    rows = [row for row in own_rows(current_rows(data, "leakage_gap")) if is_number(row["gap"])]
    return make_section(
        "leakage",
        "Leakage gap",
        "Random folds train on neighbours of what they test. The gap between the two marks is what they overstate; "
        "it is a diagnostic, never evidence. The control of shuffled blocks (in bold, where it was run) is smooth "
        "and knows nothing of the labels: what it scores under random folds beyond its strict score is leakage "
        "alone.",
        _leakage_parts(rows),
        "No arm was scored under random folds as well as under strict ones, so how much they would overstate is not "
        "known.",
        ("leakage_gap",),
    )


def _leakage_parts(rows: Sequence[Row]) -> Iterator[Figure | Table]:
    for (task, scheme, rule, metric), mine in group_rows(rows, "task", "scheme", "threshold_rule", "metric").items():
        ordered = sorted(mine, key=lambda row: -row["strict_value"])
        title = f"{task_title(task)}: random folds against folds by {scheme_title(scheme)}"
        title += "" if rule in (None, "argmax") else f", thresholds {rule}"
        marks = [
            MarkRow(
                arm_title(row["arm"]),
                (row["strict_value"], row["random_value"]),
                signed(row["gap"]),
                row["arm"].endswith("shuffled_blocks"),
            )
            for row in ordered
        ]
        chart = draw_marks(title, metric_title(metric), (scheme_title(scheme), "random"), marks)
        yield Figure(Markup(chart), f"{title}. At the right: random minus strict{simulated_mark(mine)}.")


def regions_section(data: ReportData) -> Section:
    """Show probes and adapters that were trained in one region and tested in another."""
    rows = own_rows(row for row in current_rows(data, "region_matrix") if is_number(row["value"]))
    adapters = [row for row in current_rows(data, "transfer_matrix") if is_number(row["mean_iou"])]
    return make_section(
        "regions",
        "From region to region",
        "Rows: the region trained in. Columns: the region tested in. The diagonal is tested at home. As many "
        "regions as there are, so many independent places: read a difference between two regions as an example, not "
        "as a law.",
        [*_region_tables(rows), *_transfer_tables(adapters)],
        "No score of a probe or an adapter that was trained in one region and tested in another is stored.",
        ("region_matrix", "transfer_matrix"),
    )


def _region_tables(rows: Sequence[Row]) -> Iterator[Table]:
    for (task, metric, rule), same in group_rows(rows, "task", "metric", "threshold_rule").items():
        values = [row["value"] for row in same]
        for arm in by_rank({row["arm"] for row in same}):
            mine = [row for row in same if row["arm"] == arm]
            caption = f"{task_title(task)}: {metric_title(metric)} of {arm_title(arm)}"
            caption += "" if rule in (None, "argmax") else f", thresholds {rule}"
            cells = {(row["train_region"], row["test_region"]): row["value"] for row in mine}
            yield _matrix(f"{caption}{simulated_mark(mine)}", cells, (min(values), max(values)))


def _transfer_tables(rows: Sequence[Row]) -> Iterator[Table]:
    for (arm, probe), same in group_rows(rows, "arm", "probe").items():
        values, least = [row["mean_iou"] for row in same], min(row["budget"] for row in same)
        for (init, kind, budget), mine in group_rows(same, "init", "budget_kind", "budget").items():
            unit = "% of the labels" if kind == "percent" else "labels per class"
            caption = f"Adapter {probe} on {arm_title(arm)}, start {init.replace('_', ' ')}, {budget:g} {unit}: mIoU"
            cells = {(row["train_region"], row["test_region"]): row["mean_iou"] for row in mine}
            ends = min(values), max(values)
            yield _matrix(f"{caption}{simulated_mark(mine)}", cells, ends, is_open=budget == least)


def _matrix(
    caption: str, cells: dict[tuple[str, str], float], ends: tuple[float, float], *, is_open: bool = True
) -> Table:
    """Make a heat table; pairs that were not run are dashes."""
    trained = sorted({str(pair[0]) for pair in cells})
    tested = sorted({str(pair[1]) for pair in cells})
    rows = tuple(
        (
            Cell(home),
            *(Cell(number(cells.get((home, away))), heat_class(cells.get((home, away)), *ends)) for away in tested),
        )
        for home in trained
    )
    return Table(caption, ("trained in", *tested), rows, is_open)
