"""Curves of the study: score against labels, and score against the purity of patches.

Belongs here: the sections on label budgets and purity. Does not: drawing (`lines.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from transforms.report.data import ReportData
from transforms.report.study.lines import Panel, Point, Series, draw_lines
from transforms.report.study.parts import (
    Cell,
    Figure,
    Row,
    Section,
    Table,
    answering_rows,
    by_prominence,
    group_rows,
    make_section,
    own_rows,
    simulated_mark,
    task_title,
)
from transforms.report.wording import arm_title, metric_title, number

_KINDS = {"shots": "labels per class (log)", "percent": "% of the training labels (log)"}


def learning_section(data: ReportData) -> Section:
    """Draw how scores grow with labels: shots and percents on two axes, spread over draws."""
    rows = own_rows(answering_rows(data, "learning_curves"))
    return make_section(
        "learning",
        "Learning curves",
        "Score against the labels that a fold may train on. Budgets are nested, and every arm learns from the same "
        "draws. Vertical lines: one standard deviation over draws to either side; budgets that were drawn once have "
        "none.",
        _learning_parts(rows),
        "No cell with fewer than all labels is stored under the folds that answer the questions, so there is no curve.",
        ("learning_curves",),
    )


def purity_section(data: ReportData) -> Section:
    """Draw how scores depend on the purity that patches must have, and the share of patches left."""
    rows = own_rows(answering_rows(data, "purity_curve"))
    return make_section(
        "purity",
        "Purity of patches",
        "A patch has one class only as far as one class covers it. Left: the score when patches must be at least so "
        "pure. Right: the share of patches that is left, of those at the lowest purity that was run. A score at "
        "high purity speaks of fewer and easier patches. No spread is stored.",
        _purity_parts(rows),
        "No arm was scored at more than one purity, so there is no curve.",
        ("purity_curve",),
    )


def _learning_parts(rows: Sequence[Row]) -> Iterator[Figure | Table]:
    for (task, rule, metric), mine in group_rows(rows, "task", "threshold_rule", "metric").items():
        arms = by_prominence({row["arm"] for row in mine})
        panels = [_budget_panel(kind, mine, arms) for kind in _KINDS]
        title = f"{task_title(task)}: {metric_title(metric)} against labels{_rule_words(rule)}"
        chart = draw_lines(title, metric_title(metric), [p for p in panels if p.series])
        probe = mine[0]["probe"].replace("_", " ")
        caption = f"{title}, probe {probe}, over all test blocks{simulated_mark(mine)}."
        yield Figure(Markup(chart), caption)
        cells = tuple(
            (
                Cell(arm_title(row["arm"])),
                Cell(_spell_budget(row)),
                Cell(number(row["value"]), "num"),
                Cell(number(row["sd_over_draws"]), "num"),
                Cell(str(row["n_draws"]), "num"),
            )
            for row in mine
        )
        header = ("arm", "labels", metric_title(metric), "sd over draws", "draws")
        yield Table(f"{title}: the same as a table{simulated_mark(mine)}", header, cells)


def _budget_panel(kind: str, rows: Sequence[Row], arms: Sequence[str]) -> Panel:
    mine = [row for row in rows if row["budget_kind"] == kind]
    series = []
    for index, arm in enumerate(arms):
        points = tuple(_learning_point(row) for row in mine if row["arm"] == arm)
        if points:
            series.append(Series(arm_title(arm), index, tuple(sorted(points, key=lambda point: point.x))))
    ticks = tuple((math.log10(budget), f"{budget:g}") for budget in sorted({row["budget"] for row in mine}))
    return Panel(_KINDS[kind], ticks, tuple(series))


def _learning_point(row: Row) -> Point:
    spread = row["sd_over_draws"] if row["sd_over_draws"] is not None else math.nan
    return Point(math.log10(row["budget"]), row["value"], row["value"] - spread, row["value"] + spread)


def _spell_budget(row: Row) -> str:
    return f"{row['budget']:g} %" if row["budget_kind"] == "percent" else f"{row['budget']:g} per class"


def _rule_words(rule: str | None) -> str:
    return "" if rule in (None, "argmax") else f", thresholds {rule}"


def _purity_parts(rows: Sequence[Row]) -> Iterator[Figure | Table]:
    for (task, metric), mine in group_rows(rows, "task", "metric").items():
        arms = by_prominence({row["arm"] for row in mine})
        title = f"{task_title(task)}: {metric_title(metric)} against least purity"
        ticks = tuple((purity, f"{purity:g}") for purity in sorted({row["purity_min"] for row in mine}))
        panels = (
            Panel(f"least purity: {metric_title(metric)}", ticks, _purity_series(mine, arms, "value")),
            Panel("least purity: share of patches left", ticks, _purity_series(mine, arms, "share_retained")),
        )
        yield Figure(Markup(draw_lines(title, "value", panels)), f"{title}{simulated_mark(mine)}.")
        cells = tuple(
            (
                Cell(arm_title(row["arm"])),
                Cell(f"{row['purity_min']:g}", "num"),
                Cell(number(row["value"]), "num"),
                Cell(f"{row['share_retained']:.1%}", "num"),
                Cell(f"{row['n_units']:,}", "num"),
            )
            for row in mine
        )
        header = ("arm", "least purity", metric_title(metric), "share left", "patches")
        yield Table(f"{title}: the same as a table{simulated_mark(mine)}", header, cells)


def _purity_series(rows: Sequence[Row], arms: Sequence[str], column: str) -> tuple[Series, ...]:
    found = []
    for index, arm in enumerate(arms):
        points = tuple(Point(row["purity_min"], row[column]) for row in rows if row["arm"] == arm)
        if points:
            found.append(Series(arm_title(arm), index, points))
    return tuple(found)
