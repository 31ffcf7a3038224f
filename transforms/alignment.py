"""Joining arrays by place key.

Belongs here: matching of unique keys. Does not: reading tables.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError


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
