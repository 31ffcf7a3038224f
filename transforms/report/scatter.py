"""Pictures of the page of labels: one class against the rest on a plane, and F2 against prevalence.

Belongs here: dots. Does not: where they stand (`transforms/projection.py`), which numbers they are (`labels.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.report.maps import encode_png
from transforms.report.svg import Drawing
from transforms.report.wording import number

_SIDE_PX, _MARGIN_PX, _RADIUS_PX = 340, 10, 3
_REST, _CLASS = (168, 168, 162, 90), (213, 94, 0, 255)

_WIDTH, _HEIGHT = 540.0, 380.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 18.0, 28.0, 46.0
#: Room that a class name takes, for leaving out those that would lie on another.
_LETTER_PX, _LINE_PX = 6.2, 13.0


@dataclass(frozen=True)
class Dot:
    """One class of one probe.

    Attributes:
        name: of the class.
        prevalence: share of the patches that have it, above 0.
        f2: in [0, 1].
    """

    name: str
    prevalence: float
    f2: float


def draw_one_vs_rest(xy: npt.NDArray[np.float32], is_class: npt.NDArray[np.bool_]) -> str:
    """Draw units on a plane, those of a class in colour above the grey of the rest.

    Args:
        xy: float32 (n, 2).
        is_class: bool (n,).

    Returns:
        A PNG on a transparent ground, as a data URI.
    """
    picture = np.zeros((_SIDE_PX, _SIDE_PX, 4), np.uint8)
    middle, span = (xy.min(axis=0) + xy.max(axis=0)) / 2, max(float(np.ptp(xy, axis=0).max()), 1e-12)
    room = _SIDE_PX - 2 * _MARGIN_PX - 1
    # one scale for both axes, so that distances are comparable
    place = _MARGIN_PX + np.rint(((xy - middle) / span + 0.5) * room).astype(np.int64)
    dy, dx = np.mgrid[-_RADIUS_PX : _RADIUS_PX + 1, -_RADIUS_PX : _RADIUS_PX + 1]
    disc = np.hypot(dy, dx) <= _RADIUS_PX
    for chosen, color in ((~is_class, _REST), (is_class, _CLASS)):
        rows = (_SIDE_PX - 1 - place[chosen, 1])[:, None] + dy[disc]
        picture[rows, place[chosen, 0][:, None] + dx[disc]] = color
    return encode_png(picture)


def draw_f2_by_prevalence(dots: Mapping[str, Sequence[Dot]], title: str) -> str:
    """Draw F2 of every class against its prevalence (log scale), one mark per probe.

    Args:
        dots: by CSS class of the probe's mark: `rf`, `linear`, `mlp`; at least one dot in all.
        title: for readers who cannot see it.

    Returns:
        SVG.
    """
    every = [dot for series in dots.values() for dot in series]
    decades = max(1, math.ceil(-math.log10(min(dot.prevalence for dot in every)) - 1e-9))
    spoken = "; ".join(f"{dot.name} {dot.prevalence:.1%} {number(dot.f2, 2)}" for dot in every)
    picture = Drawing(_WIDTH, _HEIGHT, title, spoken)
    _draw_axes(picture, decades)
    for css, series in dots.items():
        for dot in series:
            _draw_mark(picture, _x(dot.prevalence, decades), _y(dot.f2), css)
    _write_names(picture, every, decades)
    return picture.markup()


def _x(prevalence: float, decades: int) -> float:
    return _LEFT + (1 + math.log10(prevalence) / decades) * (_WIDTH - _LEFT - _RIGHT)


def _y(f2: float) -> float:
    return _TOP + (1 - f2) * (_HEIGHT - _TOP - _BOTTOM)


def _draw_axes(picture: Drawing, decades: int) -> None:
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        picture.line(_LEFT, _y(tick), _WIDTH - _RIGHT, _y(tick), "grid")
        picture.text(_LEFT - 18, _y(tick) + 4, number(tick, 1), "tick")
    between = (1.0, 0.5, 0.2) if decades <= 2 else (1.0,)
    shares = [step * 10.0**-decade for decade in range(decades) for step in between]
    for share in [*shares, 10.0**-decades]:
        x = _x(share, decades)
        picture.line(x, _TOP, x, _HEIGHT - _BOTTOM, "grid")
        picture.text(x, _HEIGHT - _BOTTOM + 16, f"{100 * share:g} %", "tick")
    picture.text((_LEFT + _WIDTH) / 2, _HEIGHT - 6, "prevalence: share of patches with the class", "tick")
    picture.text(_LEFT - 18, _TOP - 14, "F2", "tick")


def _draw_mark(picture: Drawing, x: float, y: float, css: str) -> None:
    """Draw a disc, a square or a ring: probes differ in shape, not by colour alone."""
    if css == "linear":
        picture.rect(x - 4, y - 4, 8, 8, f"probe {css}")
    else:
        picture.circle(x, y, 4.5, f"probe {css}")


def _write_names(picture: Drawing, dots: Sequence[Dot], decades: int) -> None:
    """Write each class name beside its highest mark; one that fits on no side is left out, the table has it."""
    highest: dict[str, Dot] = {}
    for dot in dots:
        if dot.name not in highest or dot.f2 > highest[dot.name].f2:
            highest[dot.name] = dot
    taken = [_Box(_x(dot.prevalence, decades), _y(dot.f2), 5.0, 5.0) for dot in dots]
    for dot in sorted(highest.values(), key=lambda one: (-one.prevalence, one.name)):
        x, y, half = _x(dot.prevalence, decades), _y(dot.f2), _LETTER_PX * len(dot.name) / 2
        for dx, dy in ((0.0, -13.0), (half + 8, 0.0), (-half - 8, 0.0), (0.0, 13.0)):
            box = _Box(x + dx, y + dy, half, _LINE_PX / 2)
            if box.is_inside() and not any(box.meets(other) for other in taken):
                picture.text(box.x, box.y + 4, dot.name, "tick name")
                taken.append(box)
                break


@dataclass(frozen=True)
class _Box:
    """Ground that a mark or a name takes: its middle and half of its extent, pixels."""

    x: float
    y: float
    half_width: float
    half_height: float

    def meets(self, other: _Box) -> bool:
        """Tell whether two boxes overlap."""
        is_aside = abs(self.x - other.x) >= self.half_width + other.half_width
        return not is_aside and abs(self.y - other.y) < self.half_height + other.half_height

    def is_inside(self) -> bool:
        """Tell whether the box lies between the axes; it may reach above the top."""
        return self.x - self.half_width >= _LEFT and self.x + self.half_width <= _WIDTH - 2
