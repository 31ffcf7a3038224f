"""k nearest neighbours by cosine: what can be found in an embedding without training anything.

Belongs here: this probe, exact search in memory. Does not: search in the warehouse, retrieval metrics.
"""

from __future__ import annotations

import numpy as np

from transforms.errors import ShapeError
from transforms.probes.base import BaseProbe, FloatArray, IntArray, Target, TargetArray, list_seen_classes

#: Similarities held at once; bounds memory.
_BLOCK_SIMILARITIES = 4_000_000


class KnnProbe(BaseProbe):
    """The k training rows with the greatest cosine similarity vote, each with the same weight.

    Probabilities are shares of votes, values are means. Exact: all similarities are computed, block by block. Of rows
    that are equally similar at the border of the k, the first in training order vote. A zero vector has similarity 0
    to everything. With fewer than k training rows, all vote.

    Features are taken as they are: cosine is what native vectors are compared by, and it does not change with an
    orthonormal map of them.

    Args:
        n_outputs: k classes, k labels or m values.
        target: what is predicted.
        n_neighbours: how many rows vote.
        seed: unused; every probe takes one.
    """

    name = "knn"

    def __init__(self, n_outputs: int, target: Target = "class", *, n_neighbours: int = 5, seed: int = 0) -> None:
        super().__init__(n_outputs, target, seed=seed)
        if n_neighbours < 1:
            raise ShapeError("n_neighbours", n_neighbours, "at least 1", "The protocol uses 1, 3, 5 and 20.")
        self.n_neighbours = n_neighbours
        self.hp_ = {"n_neighbours": n_neighbours}

    def _fit(self, X: FloatArray, y: TargetArray, groups: IntArray | None) -> None:
        if self.target == "class":
            list_seen_classes(y)
            y = y[:, None] == np.arange(self.n_outputs)
        self._rows = _normalise(X)
        self._votes = y.astype(np.float32)

    def _outputs(self, X: FloatArray) -> FloatArray:
        query = _normalise(X)
        step = max(1, _BLOCK_SIMILARITIES // len(self._rows))
        parts = []
        for start in range(0, len(query), step):
            nearest = find_largest(query[start : start + step] @ self._rows.T, self.n_neighbours)
            parts.append(self._votes[nearest].mean(axis=1, dtype=np.float64))
        return np.concatenate(parts).astype(np.float32)


def find_largest(similarity: FloatArray, count: int) -> IntArray:
    """Find the columns with the largest values of each row.

    Args:
        similarity: float32 (n, m), no NaN.
        count: how many; all m where there are fewer.

    Returns:
        int64 (n, min(count, m)), rising; of equal values at the border, the first columns.
    """
    n_rows, n_columns = similarity.shape
    if count >= n_columns:
        return np.tile(np.arange(n_columns), (n_rows, 1))
    if count == 1:
        return similarity.argmax(axis=1)[:, None]
    border = np.partition(similarity, n_columns - count, axis=1)[:, n_columns - count, None]
    chosen = similarity >= border
    for row in np.flatnonzero(chosen.sum(axis=1) > count):
        ties = np.flatnonzero(similarity[row] == border[row])
        n_above = int((similarity[row] > border[row]).sum())
        chosen[row, ties[count - n_above :]] = False
    return np.nonzero(chosen)[1].reshape(n_rows, count)


def _normalise(X: FloatArray) -> FloatArray:
    """Give rows of length 1; zero rows stay zero."""
    length = np.sqrt(np.einsum("nd,nd->n", X, X, dtype=np.float64))[:, None]
    return np.divide(X, length, out=np.zeros_like(X), where=length > 0, casting="same_kind")
