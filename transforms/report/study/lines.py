"""Line charts of the study: one or more panels that share the vertical axis, named at the right.

Belongs here: drawing series of points with their spread. Does not: which rows become points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transforms.report.scales import list_ticks, round_ends, tick_digits
from transforms.report.svg import Drawing
from transforms.report.wording import number

_WIDTH, _HEIGHT = 780.0, 340.0
_LEFT, _RIGHT = 56.0, 288.0
_TOP, _BOTTOM = 22.0, 42.0
_GAP = 34.0
#: Least distance between the names at the right.
_LINE = 16.0
#: Colours that series cycle through; shapes tell them apart as well.
N_SERIES = 6


@dataclass(frozen=True)
class Point:
    """One point; `lo` and `hi` are NaN where no spread is stored."""

    x: float
    y: float
    lo: float = math.nan
    hi: float = math.nan


@dataclass(frozen=True)
class Series:
    """Points of one name, from left to right.

    Attributes:
        name: in words.
        index: its colour and shape, the same in every panel.
        points: at least one; y is finite.
    """

    name: str
    index: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """One horizontal axis with its series.

    Attributes:
        caption: of the axis.
        ticks: (position, text) on the axis; positions are already on its scale (log2, rank, ...).
        series: what is drawn.
    """

    caption: str
    ticks: tuple[tuple[float, str], ...]
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Level:
    """A horizontal line across all panels."""

    name: str
    y: float
    css: str


def draw_lines(title: str, y_caption: str, panels: Sequence[Panel], levels: Sequence[Level] = ()) -> str:
    """Draw panels side by side.

    Args:
        title: spoken name of the picture.
        y_caption: of the vertical axis.
        panels: at least one, each with a series.
        levels: lines across all panels, named at the right.
    """
    spoken = "; ".join(f"{p.caption}: {s.name} {_spell(s)}" for p in panels for s in p.series)
    spoken += "".join(f"; {level.name} {number(level.y)}" for level in levels)
    picture = Drawing(_WIDTH, _HEIGHT, title, spoken)
    frame = _Frame.around(panels, levels)
    ticks = list_ticks(frame.low, frame.high)
    width = (_WIDTH - _LEFT - _RIGHT - _GAP * (len(panels) - 1)) / len(panels)
    for place, panel in enumerate(panels):
        left = _LEFT + place * (width + _GAP)
        _draw_grid(picture, frame, ticks, left, width)
        for level in levels:
            picture.line(left, frame.y(level.y), left + width, frame.y(level.y), level.css)
        _draw_panel(picture, frame, panel, left, width)
    for tick in ticks:
        picture.text(_LEFT - 8, frame.y(tick) + 4, number(tick + 0.0, tick_digits(ticks)), "tick end")
    picture.text(_LEFT - 8, 12, y_caption, "tick start")
    _write_names(picture, frame, panels, levels)
    return picture.markup()


@dataclass(frozen=True)
class _Frame:
    """The vertical scale."""

    low: float
    high: float

    @classmethod
    def around(cls, panels: Sequence[Panel], levels: Sequence[Level]) -> _Frame:
        points = [point for panel in panels for series in panel.series for point in series.points]
        values = [v for p in points for v in (p.y, p.lo, p.hi) if math.isfinite(v)] + [level.y for level in levels]
        return cls(*round_ends(min(values), max(values)))

    def y(self, value: float) -> float:
        """Give the position of a value."""
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _draw_grid(picture: Drawing, frame: _Frame, ticks: Sequence[float], left: float, width: float) -> None:
    for tick in ticks:
        picture.line(left, frame.y(tick), left + width, frame.y(tick), "zero" if abs(tick) < 1e-9 else "grid")


def _draw_panel(picture: Drawing, frame: _Frame, panel: Panel, left: float, width: float) -> None:
    positions = [position for position, _ in panel.ticks]
    positions += [point.x for series in panel.series for point in series.points]
    low, high = min(positions), max(positions)
    inset = 14.0

    def x(position: float) -> float:
        share = (position - low) / (high - low) if high > low else 0.5
        return left + inset + share * (width - 2 * inset)

    for position, text in panel.ticks:
        picture.text(x(position), _HEIGHT - _BOTTOM + 16, text, "tick")
    picture.text(left + width / 2, _HEIGHT - 6, panel.caption, "tick")
    for series in panel.series:
        css = f"series{series.index % N_SERIES}"
        picture.polyline([(x(p.x), frame.y(p.y)) for p in series.points], f"trace {css}")
        for point in series.points:
            if math.isfinite(point.lo) and math.isfinite(point.hi):
                picture.line(x(point.x), frame.y(point.lo), x(point.x), frame.y(point.hi), f"spread {css}")
            draw_mark(picture, x(point.x), frame.y(point.y), series.index)


def draw_mark(picture: Drawing, x: float, y: float, index: int) -> None:
    """Draw a point: a disc, a square or a ring, so that colour alone tells nothing apart."""
    css = f"series{index % N_SERIES}"
    match index % 3:
        case 0:
            picture.circle(x, y, 4, f"point {css}")
        case 1:
            picture.rect(x - 3.6, y - 3.6, 7.2, 7.2, f"point {css}")
        case _:
            picture.circle(x, y, 3.4, f"ring {css}")


def _write_names(picture: Drawing, frame: _Frame, panels: Sequence[Panel], levels: Sequence[Level]) -> None:
    """Name every series at the height where it ends, pushed apart where names would touch."""
    ends = {series.name: (frame.y(series.points[-1].y), series.index) for p in panels for series in p.series}
    names = [(y, name, index, "") for name, (y, index) in ends.items()]
    names += [(frame.y(level.y), level.name, -1, level.css) for level in levels]
    names.sort()
    left = _WIDTH - _RIGHT + 12
    heights = spread_out([y for y, *_ in names], _LINE, _HEIGHT - _BOTTOM)
    for height, (_, name, index, css) in zip(heights, names, strict=True):
        if index >= 0:
            draw_mark(picture, left + 4, height, index)
        else:
            picture.line(left - 4, height, left + 12, height, css)
        picture.text(left + 16, height + 4, name, "aside")


def spread_out(heights: Sequence[float], step: float, bottom: float) -> list[float]:
    """Push sorted heights apart to a least distance, and up again where the last would leave the picture."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + step) if placed else height)
    limit = bottom
    for place in range(len(placed) - 1, -1, -1):
        placed[place] = min(placed[place], limit)
        limit = placed[place] - step
    return placed


def _spell(series: Series) -> str:
    return ", ".join(number(point.y) for point in series.points)
