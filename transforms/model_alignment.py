"""What must hold before vectors of two years, grids or models meet.

Belongs here: the named alignments. Does not: joining arrays by key (`alignment.py`), refusing (`warehouse/reader.py`).
Without numpy: messages need it, and `isthmus --help` must not wait for arrays.
"""

from __future__ import annotations

from typing import Literal

#: How two sets of vectors may be brought together: rows that share a key; footprints that share ground; or only the
#: scores that a probe of each reaches on the same blocks.
Alignment = Literal["place", "footprint", "scores"]

_HOW: dict[Alignment, str] = {
    "place": "align by place: join rows on their id",
    "footprint": "align by footprint: pool or upsample one of them to the places of the other first, never join on ids",
    "scores": "align by scores: train a probe on each and compare what they reach on the same blocks; "
    "the vectors share no space",
}


def choose_alignment(one: str, other: str) -> Alignment:
    """Name what brings the vectors of two releases together.

    Args:
        one: model and grid, `"{model}; {grid version}"`, as footers carry them; several are joined by `" + "`.
        other: the same of the other vectors.

    Returns:
        `place` where both are the same, `footprint` where only the grid differs, `scores` where the model does. Two
        years of one release align by place: ids name places, and files are never joined by name.
    """
    if one == other:
        return "place"
    return "footprint" if _models(one) == _models(other) else "scores"


def explain_alignment(one: str, other: str) -> str:
    """Say in words how the vectors of two releases may be brought together (see `choose_alignment`)."""
    return _HOW[choose_alignment(one, other)]


def _models(release: str) -> list[str]:
    return [part.rpartition("; ")[0] or part for part in release.split(" + ")]
