"""Sections on what the two claims leave open: dense maps, and the other tasks.

Belongs here: boundaries, objects and fractions of cells; tables of T2, T3, T4, T7 and T8. Does not: the claims.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from transforms.report.data import ReportData
from transforms.report.study.lines import Panel, Point, Series, draw_lines
from transforms.report.study.marks import MarkRow, draw_marks
from transforms.report.study.parts import (
    DRAWN_ARMS,
    Cell,
    Figure,
    Row,
    Section,
    Table,
    answering_rows,
    by_rank,
    group_rows,
    make_section,
    primary_arm,
    simulated_mark,
    task_title,
)
from transforms.report.wording import arm_title, metric_title, number, scheme_title, signed


def maps_section(data: ReportData) -> Section:
    """Draw boundary F, recall by object size, and fractions by cell size."""
    rows = answering_rows(data, "map_scores")
    return make_section(
        "dense",
        "Dense maps",
        "Read off the maps of the kept windows, where every pixel was predicted by a fold that held it out. Windows "
        "are few: these numbers describe them and carry no interval. Lines are drawn of arms chosen beforehand; "
        "tables have all.",
        [*_boundary_parts(rows), *_object_parts(rows), *_cell_parts(rows)],
        "No dense map is scored: no window is kept (section [keep] of the settings), or task T5 has not run.",
        ("map_scores",),
    )


def _boundary_parts(rows: Sequence[Row]) -> Iterator[Figure]:
    mine = [row for row in rows if row["metric"] == "boundary_f"]
    tolerances = sorted({row["tolerance_px"] for row in mine})
    if not mine:
        return
    values = {(row["arm"], row["tolerance_px"]): row["value"] for row in mine}
    finest = tolerances[0]
    arms = sorted({row["arm"] for row in mine}, key=lambda arm: -values.get((arm, finest), -math.inf))
    marks = [
        MarkRow(
            arm_title(arm),
            tuple(values.get((arm, t), math.nan) for t in tolerances),
            number(values.get((arm, finest))),
            arm == primary_arm("T5"),
        )
        for arm in arms
    ]
    title = "T5: boundary F by arm"
    names = tuple(f"within {t:g} px" for t in tolerances)
    chart = draw_marks(title, "boundary F, mean over classes", names, marks)
    yield Figure(Markup(chart), f"{title}. At the right: within {finest:g} px{simulated_mark(mine)}.")


def _object_parts(rows: Sequence[Row]) -> Iterator[Figure | Table]:
    mine = [row for row in rows if row["metric"] == "object_recall"]
    sizes = sorted({row["stratum_value"] for row in mine}, key=_first_number)
    places = {size: float(rank) for rank, size in enumerate(sizes)}
    ticks = tuple((place, size.replace(" px", "")) for size, place in places.items())
    panel = Panel("object size in the labels, pixels", ticks, _series(mine, places))
    yield from _line_parts("T5: recall by object size", "recall", panel, mine, sizes)


def _cell_parts(rows: Sequence[Row]) -> Iterator[Figure | Table]:
    mine = [row for row in rows if row["task"] == "T6" and row["metric"] == "r2"]
    sizes = sorted({row["stratum_value"] for row in mine}, key=_first_number)
    places = {size: math.log2(_first_number(size)) for size in sizes}
    panel = Panel("side of a cell, metres (log)", tuple((places[s], s) for s in sizes), _series(mine, places))
    yield from _line_parts("T6: R² of class fractions by cell size", "R²", panel, mine, sizes)


def _line_parts(
    title: str, y_caption: str, panel: Panel, rows: Sequence[Row], columns: Sequence[str]
) -> Iterator[Figure | Table]:
    if panel.series:
        yield Figure(Markup(draw_lines(title, y_caption, [panel])), f"{title}{simulated_mark(rows)}.")
    if rows:
        values = {(row["arm"], row["stratum_value"]): row["value"] for row in rows}
        cells = tuple(
            (Cell(arm_title(arm)), *(Cell(number(values.get((arm, column))), "num") for column in columns))
            for arm in by_rank({row["arm"] for row in rows})
        )
        yield Table(f"{title}, every arm{simulated_mark(rows)}", ("arm", *columns), cells)


def _series(rows: Sequence[Row], places: dict[str, float]) -> tuple[Series, ...]:
    drawn = [arm for arm in DRAWN_ARMS if any(row["arm"] == arm for row in rows)]
    return tuple(
        Series(
            arm_title(arm),
            index,
            tuple(
                sorted(
                    (Point(places[row["stratum_value"]], row["value"]) for row in rows if row["arm"] == arm),
                    key=lambda point: point.x,
                )
            ),
        )
        for index, arm in enumerate(drawn)
    )


def _first_number(text: str) -> float:
    digits = "".join(letter if letter.isdigit() or letter == "." else " " for letter in text).split()
    # ">= 2048 px" comes after "512 to 2047 px"
    return float(digits[0]) if digits else math.inf


def other_section(data: ReportData) -> Section:
    """Show the tasks beside the claims as tables."""
    rows = answering_rows(data, "other_tasks")
    return make_section(
        "other",
        "Other tasks",
        "Tasks beside the two claims are secondary: their p values are corrected together within a task (Holm). "
        "Differences are to the native arm of the task; a dash where nothing was compared.",
        [_task_table(mine) for mine in group_rows(rows, "task", "metric").values()],
        "No task beside the two claims was run.",
        ("other_tasks",),
    )


def _task_table(rows: Sequence[Row]) -> Table:
    first = rows[0]
    cells = tuple(
        (
            Cell(arm_title(row["arm"])),
            Cell(str(row["probe"]).replace("_", " ")),
            Cell("–" if row["threshold_rule"] in (None, "argmax") else row["threshold_rule"]),
            Cell(number(row["value"]), "num"),
            Cell(signed(row["delta"]), "num"),
            Cell(f"{signed(row['lo'])} to {signed(row['hi'])}", "num"),
            Cell(number(row["p_holm"]), "num"),
            Cell(f"{row['verdict'] or '–'}{' (diagnostic)' if row['status'] == 'diagnostic' else ''}"),
            Cell(f"{row['n_blocks'] or 0}", "num"),
        )
        for row in rows
    )
    metric = metric_title(first["metric"])
    at = " at 10" if first["metric"] == "precision_at_k" else ""
    header = ("arm", "probe", "thresholds", metric + at, "difference", "95 % interval", "p, Holm", "verdict", "blocks")
    caption = f"{task_title(first['task'])}, folds: {scheme_title(first['scheme'])}{simulated_mark(rows)}"
    return Table(caption, header, cells, is_open=True)
