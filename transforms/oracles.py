"""Oracles: the best that labels allow when a whole block must carry one class.

Belongs here: C0 (majority purity), C1 (constant labels chosen for mIoU) and C4 (majority of sub-patches) on label
grids, as confusions that `metrics.py` scores. Does not: arms, probes. A one-label oracle is no bound for upsampled
arms: they may change inside a patch (`design/evidence.md`, Oracles).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.metrics import mean_iou

IntArray = npt.NDArray[np.int64]
LabelGrid = npt.NDArray[np.int16]


def count_blocks(labels: LabelGrid, block_px: int, n_classes: int) -> IntArray:
    """Count the classes in square blocks of a label grid.

    Args:
        labels: int16 (height, width), class ids; -1 = no label. Sides are multiples of `block_px`.
        block_px: side of a block.
        n_classes: k.

    Returns:
        int64 (blocks, k), blocks by rows.

    Raises:
        ShapeError: the sides are no multiples of the block, or an id is out of range.
    """
    height, width = labels.shape
    if block_px < 1 or height % block_px or width % block_px:
        raise ShapeError("label grid", labels.shape, f"multiples of {block_px}", "Cut it to whole blocks.")
    if labels.size and not -1 <= labels.min() <= labels.max() < n_classes:
        raise ShapeError("class ids", f"{labels.min()}..{labels.max()}", f"-1..{n_classes - 1}", "Map the classes.")
    blocks = labels.reshape(height // block_px, block_px, width // block_px, block_px).swapaxes(1, 2)
    flat = blocks.reshape(-1, block_px * block_px)
    counts = np.zeros((len(flat), n_classes), np.int64)
    block, pixel = np.nonzero(flat >= 0)
    np.add.at(counts, (block, flat[block, pixel]), 1)
    return counts


def choose_majority(counts: IntArray) -> IntArray:
    """Give the most frequent class of each block, int64 (blocks,); ties: the lowest id. C0, and C4 of sub-patches."""
    return np.asarray(counts.argmax(axis=1), np.int64)


def choose_for_iou(counts: IntArray, max_rounds: int = 100) -> IntArray:
    """Give one class per block that makes mIoU as high as coordinate ascent from the majority finds it (C1).

    Each step gives one block the class with the highest mIoU over all blocks; rounds end when no block changes. mIoU
    never falls, so the result is at least that of the majority. It is a local optimum.

    Args:
        counts: int64 (blocks, k), from `count_blocks`.
        max_rounds: rounds over all blocks, at most.

    Returns:
        int64 (blocks,).
    """
    chosen = choose_majority(counts)
    confusions = constant_confusions(counts, chosen)
    best = float(mean_iou(confusions))
    for _ in range(max_rounds):
        changed = False
        for block in np.flatnonzero(counts.sum(axis=1)):
            for candidate in range(counts.shape[1]):
                moved = confusions.copy()
                moved[:, chosen[block]] -= counts[block]
                moved[:, candidate] += counts[block]
                value = float(mean_iou(moved))
                if value > best + 1e-12:
                    best, confusions, changed = value, moved, True
                    chosen[block] = candidate
        if not changed:
            break
    return chosen


def constant_confusions(counts: IntArray, chosen: IntArray) -> IntArray:
    """Give the confusions (k, k), rows truth, of blocks that carry one class each."""
    confusions = np.zeros((counts.shape[1], counts.shape[1]), np.int64)
    np.add.at(confusions.T, chosen, counts)
    return confusions
