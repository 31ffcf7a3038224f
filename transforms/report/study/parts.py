"""What a section of the study is made of, and which rows it is about.

Belongs here: figures, tables, sections; picking rows of the settings' labels, latest year and answering folds. Does
not: what a section shows (`curves.py`, `schemes.py`, ...), the page (`page.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from markupsafe import Markup

from transforms.arms import ARMS, CLAIMS, COMPARISONS, NATIVE_ARM
from transforms.report.data import ReportData
from transforms.report.wording import TASK_TITLES
from transforms.tasks import TASKS, Task, TaskRule, primary_probe

Row = dict[str, Any]
#: Arms that lines are drawn of, chosen before any result; tables have all.
DRAWN_ARMS = (
    "native_patch",
    "native_pixel",
    "pooled_stats",
    "upsampled_bilinear",
    "pooled_mean",
    "upsampled_nearest",
    "upsampled_area_to_point_kriging",
    "upsampled_attention",
    "patch_coordinates",
    "pixel_coordinates",
)
#: Shades of a heat table.
N_HEATS = 6


@dataclass(frozen=True)
class Figure:
    """A chart with its caption."""

    chart: Markup
    caption: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table; `css` aligns and shades it."""

    text: str
    css: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption.

    Attributes:
        caption: what it shows.
        header: one per column.
        rows: cells.
        is_open: shown without being asked for.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_open: bool = False


@dataclass(frozen=True)
class Section:
    """One plot of the protocol.

    Attributes:
        key: anchor.
        title: of the section.
        lead: what is shown, and how to read it.
        figures: charts.
        tables: tables.
        absent: why there is nothing to show; empty where there is.
        queries: names of the SQL behind the numbers.
    """

    key: str
    title: str
    lead: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    absent: str
    queries: tuple[str, ...]

    @property
    def is_drawn(self) -> bool:
        """Tell whether anything is shown."""
        return bool(self.figures or self.tables)


def make_section(
    key: str,
    title: str,
    lead: str,
    shown: Iterable[Figure | Table],
    absent: str,
    queries: Sequence[str],
) -> Section:
    """Put figures and tables together; `absent` is kept only where there are none."""
    parts = list(shown)
    figures = tuple(part for part in parts if isinstance(part, Figure))
    tables = tuple(part for part in parts if isinstance(part, Table))
    return Section(key, title, lead, figures, tables, "" if parts else absent, tuple(queries))


def current_rows(data: ReportData, name: str) -> list[Row]:
    """Give the rows of a query that are about the settings' labels, in their latest year."""
    rows = [row for row in data.rows(name) if data.is_current(row)]
    latest = max((row["year"] for row in rows), default=None)
    return [row for row in rows if row["year"] == latest]


def answering_rows(data: ReportData, name: str) -> list[Row]:
    """Give the current rows under the fold scheme that answers the questions, with a finite value."""
    scheme = data.answering_scheme
    return [row for row in current_rows(data, name) if row["scheme"] == scheme and is_number(row["value"])]


def is_number(value: float | None) -> bool:
    """Tell whether a value can be drawn."""
    return value is not None and math.isfinite(value)


def group_rows(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Group rows by columns, in the order in which groups appear."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def rule_of(task: str) -> TaskRule:
    """Give the rule of a task of a stored row."""
    return TASKS[cast(Task, task)]


def own_rows(rows: Iterable[Row]) -> list[Row]:
    """Keep rows of each task's own probe; the majority control has its own."""
    return [row for row in rows if row["probe"] in (_own_probe(row["task"]), "majority")]


def _own_probe(task: str) -> str:
    return primary_probe(rule_of(task).name)


def primary_arm(task: str) -> str | None:
    """Give the arm that answers a task's question; None where the task has no claim."""
    return getattr(COMPARISONS.get(rule_of(task).name), "primary_arm", None)


def task_title(task: str) -> str:
    """Name a task: its number and what is done."""
    words = TASK_TITLES.get(task) or rule_of(task).title
    return f"{task}, {words[0].lower()}{words[1:]}"


def simulated_mark(rows: Iterable[Row]) -> str:
    """Say in a caption that rows derive from simulated data."""
    return " (simulated)" if any(row["is_simulated"] for row in rows) else ""


def by_rank(arms: Iterable[str]) -> list[str]:
    """Sort arms as the registry has them: natives, pooled, ..., controls; unknown ones last."""
    order = {name: rank for rank, name in enumerate(ARMS)}
    return sorted(arms, key=lambda arm: (order.get(arm, len(order)), arm))


def by_prominence(arms: Iterable[str]) -> list[str]:
    """Sort arms so that native ones have the first colour and arms that answer a question the second."""
    primary = {claim.primary_arm for claim in CLAIMS.values()}
    return sorted(by_rank(arms), key=lambda arm: (arm not in NATIVE_ARM.values(), arm not in primary))


def heat_class(value: float | None, low: float, high: float) -> str:
    """Shade a number by its place between the ends of its table."""
    if value is None or not math.isfinite(value):
        return "num"
    share = (value - low) / (high - low) if high > low else 0.0
    return f"num heat{min(N_HEATS - 1, max(0, int(share * N_HEATS)))}"
