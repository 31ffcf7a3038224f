"""Joining arrays by place key.

Belongs here: matching of unique keys. Does not: what may be joined (`model_alignment.py`), reading tables.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError

T = TypeVar("T", bound=np.generic)


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
