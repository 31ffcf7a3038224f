"""Charts of the report as inline SVG: scores, contrasts, coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from transforms.arms import ARMS
from transforms.report.data import Contrast
from transforms.report.scales import list_ticks, round_up, tick_digits
from transforms.report.scores import ArmScore
from transforms.report.svg import Drawing
from transforms.report.wording import arm_title, metric_title, number, signed

_WIDTH = 780.0
_LABELS = 300.0
_VALUES = 80.0
_ROW = 30.0
_TOP = 30.0
_BOTTOM = 34.0
#: Shades that shards cycle through in the coverage picture.
N_SHADES = 6
_COVERAGE_MAX_PX = 420.0


def draw_scores(scores: Sequence[ArmScore]) -> str:
    """Draw one bar per arm with its block interval.

    Args:
        scores: arms of one year, task and scheme, best first; at least one.
    """
    metric = metric_title(scores[0].metric)
    spoken = "; ".join(f"{arm_title(s.arm)} {number(s.value)}" for s in scores)
    height = _TOP + _ROW * len(scores) + _BOTTOM
    picture = Drawing(_WIDTH, height, f"{metric} by arm, with 95 % block intervals", spoken)
    top = max([s.value for s in scores] + [s.hi for s in scores if math.isfinite(s.hi)])
    axis = _Axis(0.0, min(1.0, round_up(top)))
    _draw_grid(picture, axis, height, metric)
    for row, score in enumerate(scores):
        middle = _TOP + _ROW * (row + 0.5)
        picture.text(_LABELS - 12, middle + 4, arm_title(score.arm), "label strong" if score.is_primary else "label")
        css = "primary" if score.is_primary else score.family
        picture.rect(axis.x(0), middle - 8, axis.x(score.value) - axis.x(0), 16, f"bar {css}")
        if math.isfinite(score.lo) and math.isfinite(score.hi):
            _draw_interval(picture, axis, score.lo, score.hi, middle)
        picture.text(_WIDTH - 4, middle + 4, number(score.value), "value")
    native = next((s for s in scores if s.family == "native"), None)
    if native is not None:
        picture.line(axis.x(native.value), _TOP - 4, axis.x(native.value), height - _BOTTOM, "reference")
    return picture.markup()


def draw_contrasts(contrasts: Sequence[Contrast]) -> str:
    """Draw each arm minus the reference with its interval, the zero line and the margin.

    Args:
        contrasts: of one question, year and scheme, from `list_drawn`; at least one.
    """
    drawn = contrasts
    first = drawn[0]
    margin = float(first.margin or 0.0)
    spoken = "; ".join(f"{arm_title(c.arm)} {signed(c.delta)}" for c in drawn)
    height = _TOP + _ROW * len(drawn) + _BOTTOM
    metric = metric_title(first.metric)
    title = f"Difference in {metric} to {arm_title(first.reference)}, with 95 % intervals"
    picture = Drawing(_WIDTH, height, title, f"{spoken}. Margin {signed(-margin, 2)}")
    ends = [v for c in drawn for v in (c.delta, c.lo, c.hi) if v is not None and math.isfinite(v)]
    axis = _Axis(-round_up(max(0.0, -min([*ends, -1.25 * margin]))), round_up(max([*ends, 0.5 * margin])))
    picture.rect(axis.x(-margin), _TOP - 4, axis.x(axis.high) - axis.x(-margin), height - _TOP - _BOTTOM + 4, "zone")
    _draw_grid(picture, axis, height, f"difference in {metric}")
    picture.line(axis.x(0), _TOP - 4, axis.x(0), height - _BOTTOM, "zero")
    picture.line(axis.x(-margin), _TOP - 4, axis.x(-margin), height - _BOTTOM, "margin")
    picture.text(axis.x(-margin), _TOP - 10, f"margin {signed(-margin, 2)}", "tick")
    for row, contrast in enumerate(drawn):
        middle = _TOP + _ROW * (row + 0.5)
        css = "label strong" if contrast.is_primary else "label"
        picture.text(_LABELS - 12, middle + 4, arm_title(contrast.arm), css)
        if contrast.lo is not None and contrast.hi is not None and math.isfinite(contrast.lo + contrast.hi):
            _draw_interval(picture, axis, contrast.lo, contrast.hi, middle)
        assert contrast.delta is not None
        picture.circle(axis.x(contrast.delta), middle, 5.5, "dot primary" if contrast.is_primary else "dot")
        picture.text(_WIDTH - 4, middle + 4, signed(contrast.delta), "value")
    return picture.markup()


def list_drawn(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Leave out what cannot be drawn, and controls: their distance would squeeze the margin to a line."""
    return [c for c in contrasts if number(c.delta) != "–" and (c.arm not in ARMS or ARMS[c.arm].family != "control")]


def draw_coverage(cells: Sequence[dict[str, Any]]) -> str:
    """Draw where the data lie, one dot per occupied cell, shaded by shard.

    Args:
        cells: rows with shard, col, row (cells from the south-west) and lon, lat; at least one.
    """
    shards = sorted({cell["shard"] for cell in cells})
    shade = {shard: index % N_SHADES for index, shard in enumerate(shards)}
    west, south = min(c["col"] for c in cells), min(c["row"] for c in cells)
    n_cols = max(c["col"] for c in cells) - west + 1
    n_rows = max(c["row"] for c in cells) - south + 1
    # a degree of longitude shrinks with the cosine of the latitude
    squeeze = math.cos(math.radians(sum(c["lat"] for c in cells) / len(cells)))
    step_y = _COVERAGE_MAX_PX / max(n_rows, n_cols * squeeze)
    step_x = step_y * squeeze
    radius = 0.42 * min(step_x, step_y)
    height = n_rows * step_y
    picture = Drawing(
        n_cols * step_x + 8, height + 8, "Where the data lie", f"{len(shards)} shards: {', '.join(shards[:12])}"
    )
    for cell in cells:
        x = 4 + (cell["col"] - west + 0.5) * step_x
        y = 4 + height - (cell["row"] - south + 0.5) * step_y
        picture.circle(x, y, max(radius, 2.0), f"shade{shade[cell['shard']]}")
    return picture.markup()


class _Axis:
    """A linear scale from values to horizontal positions."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def x(self, value: float) -> float:
        """Give the position of a value."""
        share = (value - self.low) / max(self.high - self.low, 1e-12)
        return _LABELS + share * (_WIDTH - _LABELS - _VALUES)

    def ticks(self) -> list[float]:
        """Give round values on the scale, about six."""
        return list_ticks(self.low, self.high)


def _draw_grid(picture: Drawing, axis: _Axis, height: float, caption: str) -> None:
    ticks = axis.ticks()
    digits = tick_digits(ticks)
    for tick in ticks:
        picture.line(axis.x(tick), _TOP - 4, axis.x(tick), height - _BOTTOM, "grid")
        picture.text(axis.x(tick), height - _BOTTOM + 14, number(tick + 0.0, digits), "tick")
    picture.text((axis.x(axis.low) + axis.x(axis.high)) / 2, height - 4, caption, "tick")


def _draw_interval(picture: Drawing, axis: _Axis, lo: float, hi: float, middle: float) -> None:
    picture.line(axis.x(lo), middle, axis.x(hi), middle, "whisker")
    for end in (lo, hi):
        picture.line(axis.x(end), middle - 4, axis.x(end), middle + 4, "whisker")
