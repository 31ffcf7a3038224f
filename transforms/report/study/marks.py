"""Charts of the study with one row per name, and the scatter of cost against score.

Belongs here: drawing. Does not: which rows become marks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transforms.report.scales import list_ticks, round_ends, tick_digits
from transforms.report.study.lines import N_SERIES, draw_mark, spread_out
from transforms.report.svg import Drawing
from transforms.report.wording import number

_WIDTH = 780.0
_LABELS, _VALUES = 300.0, 74.0
_ROW, _TOP, _BOTTOM = 26.0, 34.0, 40.0
_SCATTER_HEIGHT = 400.0
_SCATTER_LEFT, _SCATTER_RIGHT = 56.0, 44.0
_SCATTER_TOP = 46.0


@dataclass(frozen=True)
class MarkRow:
    """One name with a value per series; NaN where there is none.

    Attributes:
        name: in words.
        values: one per series.
        note: written at the right.
        is_strong: written bold.
    """

    name: str
    values: tuple[float, ...]
    note: str = ""
    is_strong: bool = False


@dataclass(frozen=True)
class Spot:
    """A point of the scatter.

    Attributes:
        name: in words; empty: not written.
        x: positive, for the log axis.
        y: score.
        index: colour and shape.
    """

    name: str
    x: float
    y: float
    index: int


def draw_marks(title: str, caption: str, series: Sequence[str], rows: Sequence[MarkRow]) -> str:
    """Draw a row of marks per name, joined by a line where there are several.

    Args:
        title: spoken name of the picture.
        caption: of the horizontal axis.
        series: names of the values of a row.
        rows: at least one finite value in all.
    """
    spoken = "; ".join(
        f"{row.name} " + ", ".join(f"{name} {number(v)}" for name, v in zip(series, row.values, strict=True))
        for row in rows
    )
    height = _TOP + _ROW * len(rows) + _BOTTOM
    picture = Drawing(_WIDTH, height, title, spoken)
    values = [v for row in rows for v in row.values if math.isfinite(v)]
    low, high = round_ends(min(values), max(values))

    def x(value: float) -> float:
        return _LABELS + (value - low) / (high - low) * (_WIDTH - _LABELS - _VALUES)

    ticks = list_ticks(low, high)
    for tick in ticks:
        picture.line(x(tick), _TOP - 4, x(tick), height - _BOTTOM, "zero" if abs(tick) < 1e-9 else "grid")
        picture.text(x(tick), height - _BOTTOM + 14, number(tick + 0.0, tick_digits(ticks)), "tick")
    picture.text((x(low) + x(high)) / 2, height - 6, caption, "tick")
    _write_key(picture, series)
    for place, row in enumerate(rows):
        middle = _TOP + _ROW * (place + 0.5)
        picture.text(_LABELS - 12, middle + 4, row.name, "label strong" if row.is_strong else "label")
        finite = [(index, v) for index, v in enumerate(row.values) if math.isfinite(v)]
        if len(finite) > 1:
            ends = [v for _, v in finite]
            picture.line(x(min(ends)), middle, x(max(ends)), middle, "whisker")
        for index, value in finite:
            draw_mark(picture, x(value), middle, index)
        picture.text(_WIDTH - 4, middle + 4, row.note, "value")
    return picture.markup()


def draw_scatter(title: str, x_caption: str, y_caption: str, families: Sequence[str], spots: Sequence[Spot]) -> str:
    """Draw points over a logarithmic horizontal axis.

    Args:
        title: spoken name of the picture.
        x_caption: of the horizontal axis.
        y_caption: of the vertical axis.
        families: names of the colours, by index.
        spots: at least one.
    """
    spoken = "; ".join(f"{spot.name} {number(spot.y)} at {spot.x:,.0f}" for spot in spots if spot.name)
    picture = Drawing(_WIDTH, _SCATTER_HEIGHT, title, spoken)
    low, high = round_ends(min(s.y for s in spots), max(s.y for s in spots))
    decades = [math.log10(spot.x) for spot in spots]
    first, last = math.floor(min(decades)), max(math.ceil(max(decades)), math.floor(min(decades)) + 1)

    def x(value: float) -> float:
        share = (math.log10(value) - first) / (last - first)
        return _SCATTER_LEFT + share * (_WIDTH - _SCATTER_LEFT - _SCATTER_RIGHT)

    def y(value: float) -> float:
        share = (value - low) / (high - low)
        return _SCATTER_HEIGHT - _BOTTOM - share * (_SCATTER_HEIGHT - _SCATTER_TOP - _BOTTOM)

    ticks = list_ticks(low, high)
    for tick in ticks:
        picture.line(_SCATTER_LEFT, y(tick), _WIDTH - _SCATTER_RIGHT, y(tick), "grid")
        picture.text(_SCATTER_LEFT - 8, y(tick) + 4, number(tick + 0.0, tick_digits(ticks)), "tick end")
    for decade in range(first, last + 1):
        picture.line(x(10.0**decade), _SCATTER_TOP, x(10.0**decade), _SCATTER_HEIGHT - _BOTTOM, "grid")
        picture.text(x(10.0**decade), _SCATTER_HEIGHT - _BOTTOM + 16, f"{10**decade:,}", "tick")
    picture.text(_WIDTH / 2, _SCATTER_HEIGHT - 6, x_caption, "tick")
    picture.text(_SCATTER_LEFT - 8, 36, y_caption, "tick start")
    _write_key(picture, families, left=_SCATTER_LEFT)
    for spot in spots:
        draw_mark(picture, x(spot.x), y(spot.y), spot.index)
    for is_right in (False, True):
        named = [s for s in spots if s.name and (x(s.x) > _WIDTH / 2) == is_right]
        named.sort(key=lambda spot: y(spot.y))
        heights = spread_out([y(s.y) for s in named], 15.0, _SCATTER_HEIGHT - _BOTTOM - 4)
        for height, spot in zip(heights, named, strict=True):
            place = x(spot.x) + (-9 if is_right else 9)
            picture.text(place, height + 4, spot.name, "aside end" if is_right else "aside")
    return picture.markup()


def _write_key(picture: Drawing, names: Sequence[str], left: float = 8.0) -> None:
    """Name the marks on top of the picture."""
    if len(names) > N_SERIES:
        raise AssertionError(f"{len(names)} series, but {N_SERIES} colours")
    place = left
    for index, name in enumerate(names):
        draw_mark(picture, place + 4, 9, index)
        picture.text(place + 13, 13, name, "aside")
        place += 30 + 6.7 * len(name)
