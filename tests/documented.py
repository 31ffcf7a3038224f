"""The table of `docs/bad_input.md`: what it promises is what tests expect.

Belongs here: reading the table. Does not: damage (`tests/assets/bad_files.py`), assertions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bad_input.md"


@dataclass(frozen=True)
class Promise:
    """One row of the page.

    Attributes:
        outcome: first word of what happens: `refused` or `accepted`, for input.
        message: the message as a regular expression; `...` of the page stands for anything.
    """

    outcome: str
    message: str

    def is_kept_by(self, text: str) -> bool:
        """Tell whether a text says what the page promises, line breaks counting as spaces."""
        return re.search(self.message, " ".join(text.split())) is not None


@cache
def read_promises() -> dict[str, Promise]:
    """Give the rows of all tables of the page, by their first column."""
    promises = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and not set(cells[0]) <= {"-"} and cells[0] != "input":
            name, what, message = cells
            assert name not in promises, f"{PAGE.name}: '{name}' stands twice"
            parts = message.strip("`").split("...")
            promises[name] = Promise(what.split()[0].strip(",.;"), ".*".join(re.escape(p.strip()) for p in parts))
    return promises


def documented(name: str) -> Promise:
    """Give a row of the page."""
    return read_promises()[name]
