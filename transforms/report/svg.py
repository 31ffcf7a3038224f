"""Elements of an inline SVG. Colours are CSS classes, so that charts follow the reader's light or dark theme."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree


class Drawing:
    """An SVG picture with a title and a description for readers who cannot see it."""

    def __init__(self, width: float, height: float, title: str, description: str) -> None:
        self._root = ElementTree.Element(
            "svg",
            {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": f"{title}. {description}"},
        )
        ElementTree.SubElement(self._root, "title").text = title
        ElementTree.SubElement(self._root, "desc").text = description

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """Draw a line."""
        self._add("line", css, x1=x1, y1=y1, x2=x2, y2=y2)

    def rect(self, x: float, y: float, width: float, height: float, css: str) -> None:
        """Draw a box."""
        self._add("rect", css, x=x, y=y, width=max(width, 0.0), height=height)

    def circle(self, x: float, y: float, radius: float, css: str) -> None:
        """Draw a disc."""
        self._add("circle", css, cx=x, cy=y, r=radius)

    def polyline(self, points: Sequence[tuple[float, float]], css: str) -> None:
        """Draw a line through points."""
        path = " ".join(f"{round(x, 1):g},{round(y, 1):g}" for x, y in points)
        ElementTree.SubElement(self._root, "polyline", {"class": css, "points": path})

    def text(self, x: float, y: float, words: str, css: str) -> None:
        """Write words; the class decides on size and anchor."""
        self._add("text", css, x=x, y=y).text = words

    def markup(self) -> str:
        """Give the SVG as text."""
        return ElementTree.tostring(self._root, encoding="unicode")

    def _add(self, tag: str, css: str, **numbers: float) -> ElementTree.Element:
        attributes = {name: f"{round(value, 1):g}" for name, value in numbers.items()}
        return ElementTree.SubElement(self._root, tag, {"class": css, **attributes})
