"""Section on pre-trained adapters: what a start gains over a random one, by label budget.

Belongs here: the figure and table of gains. Does not: the matrix from region to region (`schemes.py`).
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
    current_rows,
    group_rows,
    is_number,
    make_section,
    simulated_mark,
)
from transforms.report.wording import arm_title, metric_title, number, signed

_EVERY_REGION = "all"


def gains_section(data: ReportData) -> Section:
    """Draw the gain of every start of the adapter over a random one."""
    rows = [row for row in current_rows(data, "adapter_gains") if is_number(row["delta"])]
    return make_section(
        "adapters",
        "Gains of a pre-trained adapter",
        "Each start of the adapter minus a random one, by the share of labels, with the paired 95 % block interval. "
        "The line at zero is the random start. Shuffled positives are the negative control: what they gain is not "
        "knowledge.",
        _gain_parts(rows),
        "No adapter was trained: the settings have no [adapter] section, or it has not run.",
        ("adapter_gains",),
    )


def _gain_parts(rows: Sequence[Row]) -> Iterator[Figure | Table]:
    for (arm, probe, metric), same in group_rows(rows, "arm", "probe", "metric").items():
        title = f"Adapter {probe} on {arm_title(arm)}: gain in {metric_title(metric)}"
        scopes = group_rows(_at_home(same), "train_region")
        for (region,), mine in scopes.items():
            where = "all regions, each tested at home" if region == _EVERY_REGION else f"region {region}"
            chart = draw_lines(f"{title}, {where}", "gain", [_panel(mine)])
            blocks = max(row["n_blocks"] or 0 for row in mine)
            notes = " Diagnostic, never a verdict." if any(row["status"] == "diagnostic" for row in mine) else ""
            yield Figure(Markup(chart), f"{title}, {where}, {blocks} blocks{simulated_mark(mine)}.{notes}")
        yield _gain_table(title, same)


def _at_home(rows: Sequence[Row]) -> list[Row]:
    """Keep the sum over all regions; without one, each region tested at home."""
    together = [row for row in rows if row["train_region"] == _EVERY_REGION]
    return together or [row for row in rows if row["train_region"] == row["test_region"]]


def _panel(rows: Sequence[Row]) -> Panel:
    series = []
    # starts stand beside each other, or their intervals would hide one another
    groups = group_rows(rows, "init")
    for index, ((init,), mine) in enumerate(groups.items()):
        shift = 0.035 * (index - (len(groups) - 1) / 2)
        points = tuple(
            Point(math.log10(row["budget"]) + shift, row["delta"], _end(row["lo"]), _end(row["hi"]))
            for row in sorted(mine, key=lambda row: float(row["budget"]))
        )
        series.append(Series(str(init).replace("_", " "), index, points))
    ticks = tuple((math.log10(budget), f"{budget:g}") for budget in sorted({row["budget"] for row in rows}))
    unit = "% of the training labels" if rows[0]["budget_kind"] == "percent" else "labels per class"
    return Panel(f"{unit} (log)", ticks, tuple(series))


def _end(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _gain_table(title: str, rows: Sequence[Row]) -> Table:
    cells = tuple(
        (
            Cell(str(row["init"]).replace("_", " ")),
            Cell(f"{row['train_region']} → {row['test_region']}"),
            Cell(f"{row['budget']:g}{' %' if row['budget_kind'] == 'percent' else ''}", "num"),
            Cell(signed(row["delta"]), "num"),
            Cell(f"{signed(row['lo'])} to {signed(row['hi'])}", "num"),
            Cell(number(row["p_holm"]), "num"),
            Cell(f"{row['n_blocks']}", "num"),
            Cell(str(row["verdict"]) + ("" if row["status"] == "ok" else f" ({row['status']})")),
        )
        for row in rows
    )
    header = ("start", "trained → tested", "labels", "gain", "95 % interval", "p, Holm", "blocks", "verdict")
    return Table(f"{title}: every pair of regions{simulated_mark(rows)}", header, cells)
