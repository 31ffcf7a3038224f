"""Retrieval (task T4): for a query, the nearest vectors of a database, and how many of them are relevant.

Belongs here: exact cosine ranking, precision at k, its sums per spatial block. Does not: indexes for approximate
search, which units are queries (test units of a fold) and which are the database (its training units: so a query never
finds itself or what its fold forbids), intervals (`transforms/inference.py`).

Relevant is a unit of the same class (single-label: integers (n,)) or one that shares at least one label (multi-label:
bool (n, k)). A query without any label has no relevant unit by definition; it is left out (NaN).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.metrics import FloatArray, IntArray, divide_or_nan

#: Class ids (n,) or flags (n, k).
Labels = npt.NDArray[np.integer] | npt.NDArray[np.bool_]

#: Similarities held at once: bounds memory at about 24 bytes each, whatever the database.
_CELLS_PER_BLOCK = 4_000_000
#: Steps in which cosines are compared, to one: below 2^31, so that a step and a position share an int64.
_STEPS = 2.0**30


def rank_database(queries: npt.ArrayLike, database: npt.ArrayLike, k_max: int) -> IntArray:
    """Find the rows of a database with the highest cosine to each query, best first; exact.

    Cosines are computed in float64 and compared in steps of 2^-30, so that copies of one vector tie whatever the order
    in which a BLAS adds; ties go to the lower position. A zero vector has cosine 0 with all, as in scikit-learn.

    Args:
        queries: float (q, d).
        database: float (n, d), n > 0.
        k_max: rows wanted for each query, positive.

    Returns:
        int64 (q, min(k_max, n)), positions in the database.

    Raises:
        ShapeError: widths differ, values are not finite, or `k_max` is not positive.
        TooFewUnitsError: the database is empty.
    """
    rows, columns = _unit_rows("queries", queries), _unit_rows("database", database)
    if rows.shape[1] != columns.shape[1]:
        raise ShapeError("queries", rows.shape, f"(q, {columns.shape[1]})", "Describe both by one arm.")
    if k_max < 1:
        raise ShapeError("k_max", k_max, "at least 1", "Pass the largest k.")
    if not len(columns):
        raise TooFewUnitsError("database of a retrieval", 0, "at least 1 unit", "Enlarge the area of interest.")
    found = np.empty((len(rows), min(k_max, len(columns))), np.int64)
    step = max(1, _CELLS_PER_BLOCK // len(columns))
    for start in range(0, len(rows), step):
        found[start : start + step] = _nearest(rows[start : start + step] @ columns.T, k_max)
    return found


def precision_at(ranking: IntArray, query_labels: Labels, database_labels: Labels, ks: Sequence[int]) -> FloatArray:
    """Share of relevant units among the first k of each ranking.

    Where the database has fewer than k units the share is of all of them: dividing by k would punish an arm for the
    size of the fold.

    Args:
        ranking: int64 (q, w), from `rank_database`.
        query_labels: integers (q,) class ids, or bool (q, k) flags.
        database_labels: the same of the database, (n,) or (n, k).
        ks: numbers of units looked at, positive.

    Returns:
        float64 (q, len(ks)), in [0, 1]; NaN for a query without any label.

    Raises:
        ShapeError: labels do not fit each other or the ranking, or the ranking is shorter than a k needs.
    """
    flags = _packed_flags(query_labels, database_labels)
    needed = min(max(ks, default=0), len(flags[1]))
    if ranking.ndim != 2 or len(ranking) != len(flags[0]) or ranking.shape[1] < needed or min(ks, default=0) < 1:
        raise ShapeError(
            "ranking",
            f"{ranking.shape} for k = {list(ks)}",
            f"({len(flags[0])}, {needed} or more), k positive",
            "Rank with k_max = max(ks), and pass the labels of the same queries.",
        )
    relevant = np.zeros(ranking.shape, bool)
    for byte in range(flags[0].shape[1]):
        relevant |= (flags[0][:, byte, None] & flags[1][ranking, byte]) > 0
    hits = np.cumsum(relevant, axis=1)
    depth = np.minimum(np.asarray(ks), ranking.shape[1])
    precision = hits[:, depth - 1] / depth
    precision[~flags[0].any(axis=1)] = np.nan
    return precision


def retrieval_sums_by_block(precision: FloatArray, block_id: npt.ArrayLike) -> tuple[IntArray, FloatArray]:
    """Add up precisions per spatial block of the query.

    Args:
        precision: float64 (q, m), from `precision_at`; rows of NaN are left out.
        block_id: integers (q,).

    Returns:
        (blocks, sums): int64 (b,), sorted, the blocks with at least one query; float64 (b, m, 2): number of queries,
        sum of their precision.

    Raises:
        ShapeError: lengths differ.
    """
    ids = np.asarray(block_id, np.int64)
    if precision.ndim != 2 or ids.shape != precision.shape[:1]:
        raise ShapeError("block_id", ids.shape, precision.shape[:1], "Give one block per query.")
    kept = ~np.isnan(precision).any(axis=1)
    blocks, slot = np.unique(ids[kept], return_inverse=True)
    sums = np.zeros((len(blocks), precision.shape[1], 2))
    np.add.at(sums, slot, np.stack([np.ones_like(precision[kept]), precision[kept]], axis=-1))
    return blocks, sums


def mean_precision(sums: npt.ArrayLike) -> FloatArray:
    """Mean precision over queries, (..., m, 2) to float64 (..., m); NaN without queries."""
    values = np.asarray(sums, np.float64)
    return divide_or_nan(values[..., 1], values[..., 0])


def units_of_queries(sums: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    """Give what sums say of the queries alone, for `contrast_sums`: their number, (..., m, 2) to (..., m)."""
    return sums[..., 0]


def _unit_rows(what: str, vectors: npt.ArrayLike) -> FloatArray:
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        found = rows.shape if rows.ndim != 2 else f"{int((~np.isfinite(rows)).any(axis=1).sum())} rows not finite"
        raise ShapeError(what, found, "finite floats (n, d)", "Leave units without a vector out.")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def _nearest(cosine: FloatArray, k_max: int) -> IntArray:
    """Give the positions of the highest values of each row, falling; ties by position. Overwrites `cosine`."""
    n = cosine.shape[1]
    k = min(k_max, n)
    # one whole number holds value and position, so that no two are equal and the lower position wins
    cosine *= -_STEPS
    keys = np.rint(cosine, out=cosine).astype(np.int64)
    keys <<= 32
    keys += np.arange(n)
    first = np.argpartition(keys, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(keys, first, axis=1), axis=1)
    return np.take_along_axis(first, order, axis=1).astype(np.int64)


def _packed_flags(queries: Labels, database: Labels) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Turn labels into flags, eight to a byte: (q, bytes) and (n, bytes)."""
    bools, ids = ([labels.dtype.kind in kinds for labels in (queries, database)] for kinds in ("b", "iu"))
    multi = all(bools) and queries.ndim == database.ndim == 2 and queries.shape[1] == database.shape[1]
    single = all(ids) and queries.ndim == database.ndim == 1
    if not (multi or single):
        raise ShapeError(
            "labels of queries and database",
            f"{queries.dtype} {queries.shape} and {database.dtype} {database.shape}",
            "integers (q,) and (n,), or bool (q, k) and (n, k)",
            "Pass class ids or flags of both.",
        )
    if multi:
        return np.packbits(queries.astype(bool), axis=1), np.packbits(database.astype(bool), axis=1)
    if any(len(labels) and labels.min() < 0 for labels in (queries, database)):
        raise ShapeError("class ids", "negative ones", "0 or more", "Leave nodata out.")
    classes = np.union1d(queries, database)
    return np.packbits(queries[:, None] == classes, axis=1), np.packbits(database[:, None] == classes, axis=1)
