"""One copy per id where several files hold the same patch.

Belongs here: the choice of the copy and how much copies differ. Does not: reading files, which square owns a
patch (`transforms/utm.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError


@dataclass(frozen=True)
class CopyChoice:
    """Which row stands for each unique id.

    Attributes:
        ids: uint64 (m,), unique, ascending.
        chosen: int64 (m,), row of the chosen copy.
        group: int64 (n,), position in `ids` of each input row.
        n_copies: int16 (m,), rows that carry the id.
    """

    ids: npt.NDArray[np.uint64]
    chosen: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    n_copies: npt.NDArray[np.int16]


def choose_copies(
    ids: npt.NDArray[np.uint64], is_own: npt.NDArray[np.bool_], rank: npt.NDArray[np.integer]
) -> CopyChoice:
    """Choose one row per id: an own copy before others, then the lowest rank, then the first row.

    The choice depends only on the copies of one id, so shards that are deduplicated separately, each with all
    copies of its ids, add up to the deduplicated whole.

    Args:
        ids: uint64 (n,), keys; equal keys are copies.
        is_own: bool (n,), True where the row comes from the file of the square that owns the patch.
        rank: integer (n,), order of the files, e.g. of their sorted paths.

    Returns:
        The choice; empty for no rows.

    Raises:
        ShapeError: the arrays differ in length.
    """
    if not len(ids) == len(is_own) == len(rank):
        raise ShapeError(
            "ids, is_own, rank",
            (len(ids), len(is_own), len(rank)),
            "equal lengths",
            "Pass one value per row.",
        )
    order = np.lexsort((rank, ~is_own, ids))  # stable: equal rows keep their order
    ordered = ids[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(ids)), bool), ordered[1:] != ordered[:-1]]))
    n_copies = np.diff(np.append(starts, len(ids)))
    group = np.empty(len(ids), np.int64)
    group[order] = np.repeat(np.arange(len(starts)), n_copies)
    return CopyChoice(ordered[starts], order[starts].astype(np.int64), group, n_copies.astype(np.int16))


def cosine_distance(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Give ``1 - cos(a, b)`` row by row.

    Args:
        first: float (n, dims).
        second: float (n, dims).

    Returns:
        float64 (n,), in [0, 2]; NaN where either vector has length zero or a NaN.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    distance: npt.NDArray[np.float64] = 1.0 - np.clip(cosine, -1.0, 1.0)
    return distance
