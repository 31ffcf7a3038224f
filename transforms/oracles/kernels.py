"""Compiled loops over label cells.

Belongs here: counts of classes in blocks, counts of pairs, the ascent of C1. Does not: checks, what the counts mean
(`constant_labels.py`, `agreement.py`). All loops release the GIL and run on one thread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

IntArray = npt.NDArray[np.int64]
LabelCells = npt.NDArray[np.int16]

#: A step of the ascent must gain more than this: below it is rounding, and the rounds would not end.
MIN_GAIN = 1e-12


@njit(nogil=True, cache=True)
def count_blocks(cells: LabelCells, block_px: int, counts: IntArray) -> None:
    """Add the classes of square blocks of grids (n, height, width) to counts (n * blocks, k), blocks by rows."""
    n, height, width = cells.shape
    across = width // block_px
    per_grid = (height // block_px) * across
    for grid in range(n):
        for i in range(height):
            first = grid * per_grid + (i // block_px) * across
            for j in range(width):
                label = cells[grid, i, j]
                if label >= 0:
                    counts[first + j // block_px, label] += 1


@njit(nogil=True, cache=True)
def add_constants(counts: IntArray, chosen: IntArray, group: IntArray, confusions: IntArray) -> None:
    """Add counts (b, k) of blocks that carry one class each to the confusions (g, k, k) of their groups."""
    n, k = counts.shape
    for block in range(n):
        for truth in range(k):
            confusions[group[block], truth, chosen[block]] += counts[block, truth]


@njit(nogil=True, cache=True)
def count_pairs(first: LabelCells, second: LabelCells, group: IntArray, pairs: IntArray) -> None:
    """Add pairs of classes of cells (n, c) to pairs (g, k_first, k_second); cells without either are left out."""
    n, width = first.shape
    for row in range(n):
        for j in range(width):
            if first[row, j] >= 0 and second[row, j] >= 0:
                pairs[group[row], first[row, j], second[row, j]] += 1


@njit(nogil=True, cache=True)
def _mean_iou(hits: IntArray, preds: IntArray, truths: IntArray) -> float:
    """Give mIoU over the classes that are in truth or prediction; 0 without any."""
    total, n = 0.0, 0
    for c in range(len(hits)):
        union = preds[c] + truths[c] - hits[c]
        if union > 0:
            total += hits[c] / union
            n += 1
    return total / n if n else 0.0


@njit(nogil=True, cache=True)
def ascend_iou(counts: IntArray, chosen: IntArray, max_rounds: int) -> None:
    """Change `chosen` (b,) block by block while mIoU rises; only two classes change at a step, so a step costs k."""
    n, k = counts.shape
    hits, preds, truths = np.zeros(k, np.int64), np.zeros(k, np.int64), np.zeros(k, np.int64)
    sizes = np.zeros(n, np.int64)
    for block in range(n):
        for c in range(k):
            truths[c] += counts[block, c]
            sizes[block] += counts[block, c]
        hits[chosen[block]] += counts[block, chosen[block]]
        preds[chosen[block]] += sizes[block]
    best = _mean_iou(hits, preds, truths)
    for _ in range(max_rounds):
        is_changed = False
        for block in range(n):
            if sizes[block] == 0:
                continue
            for candidate in range(k):
                now = chosen[block]
                _move(counts[block], sizes[block], now, candidate, hits, preds)
                value = _mean_iou(hits, preds, truths)
                if value > best + MIN_GAIN:
                    best, is_changed = value, True
                    chosen[block] = candidate
                else:
                    _move(counts[block], sizes[block], candidate, now, hits, preds)
        if not is_changed:
            return


@njit(nogil=True, cache=True)
def _move(block: IntArray, size: int, old: int, new: int, hits: IntArray, preds: IntArray) -> None:
    """Give a block another class."""
    hits[old] -= block[old]
    preds[old] -= size
    hits[new] += block[new]
    preds[new] += size
