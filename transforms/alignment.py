"""What must hold before rows of two years, grids or models meet, and joining arrays by place key.

Belongs here: the named alignments, matching of unique keys. Does not: reading tables.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError

T = TypeVar("T", bound=np.generic)
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


def match_keys(wanted: npt.NDArray[np.uint64], available: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Find each wanted key among the available ones.

    Args:
        wanted: uint64 (m,).
        available: uint64 (n,), unique.

    Returns:
        int64 (m,): position in `available`, -1 where it is not there.

    Raises:
        ShapeError: `available` holds a key twice, so a join would be ambiguous.
    """
    if not len(available):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(available, kind="stable")
    ordered = available[order]
    if (ordered[1:] == ordered[:-1]).any():
        repeated = int(ordered[1:][ordered[1:] == ordered[:-1]][0])
        raise ShapeError("place keys", f"key {repeated} twice", "unique keys", "Resolve duplicates before joining.")
    slot = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.where(ordered[slot] == wanted, order[slot], -1)


def take_or(values: npt.NDArray[T], slot: npt.NDArray[np.int64], missing: object) -> npt.NDArray[T]:
    """Take rows by position, with a stand-in where the position is -1.

    Args:
        values: (n, ...), may be empty.
        slot: int64 (m,), from `match_keys`.
        missing: value of the rows that are not there.

    Returns:
        (m, ...) of the dtype of `values`.
    """
    taken = np.full((len(slot), *values.shape[1:]), missing, dtype=values.dtype)
    known = slot >= 0
    taken[known] = values[slot[known]]
    return taken
