"""C0, C1 and C4: the best that labels allow when a whole block must carry one class.

Belongs here: majority labels of blocks (C0 of patches, C4 of parts of them), labels chosen for mIoU (C1), as confusions
that `metrics.py` scores. Does not: arms, probes. A one-label oracle is no bound for upsampled arms: they may change
inside a patch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.oracles import kernels

IntArray = npt.NDArray[np.int64]
LabelCells = npt.NDArray[np.int16]


def count_blocks(labels: LabelCells, block_px: int, n_classes: int) -> IntArray:
    """Count the classes in square blocks of label grids.

    Args:
        labels: int16 (height, width), or a stack (n, height, width); class ids, -1 = no label. Sides are multiples of
            `block_px`.
        block_px: side of a block, cells.
        n_classes: k.

    Returns:
        int64 (blocks, k), blocks by grids, then by rows.

    Raises:
        ShapeError: the sides are no multiples of the block, or an id is out of range.
    """
    if labels.ndim not in (2, 3):
        raise ShapeError("label grid", labels.shape, "(height, width) or (n, height, width)", "Pass grids.")
    stack = np.ascontiguousarray(labels, np.int16).reshape(-1, *labels.shape[-2:])
    n, height, width = stack.shape
    if block_px < 1 or height % block_px or width % block_px:
        raise ShapeError("label grid", labels.shape, f"multiples of {block_px}", "Cut it to whole blocks.")
    if labels.size and not -1 <= labels.min() <= labels.max() < n_classes:
        raise ShapeError("class ids", f"{labels.min()}..{labels.max()}", f"-1..{n_classes - 1}", "Map the classes.")
    counts = np.zeros((n * (height // block_px) * (width // block_px), n_classes), np.int64)
    kernels.count_blocks(stack, block_px, counts)
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
    kernels.ascend_iou(np.ascontiguousarray(counts, np.int64), chosen, max_rounds)
    return chosen


def constant_confusions(counts: IntArray, chosen: IntArray) -> IntArray:
    """Give the confusions (k, k), rows truth, of blocks that carry one class each."""
    return constant_confusions_by_group(counts, chosen, np.zeros(len(counts), np.int64), 1)[0]


def constant_confusions_by_group(counts: IntArray, chosen: IntArray, group: IntArray, n_groups: int) -> IntArray:
    """Give the confusions of blocks that carry one class each, summed within groups of blocks.

    Args:
        counts: int64 (blocks, k).
        chosen: int64 (blocks,), the class of each block.
        group: int64 (blocks,), 0..n_groups - 1.
        n_groups: g.

    Returns:
        int64 (g, k, k), rows truth, columns predictions.

    Raises:
        ShapeError: lengths differ, or a class or group is out of range.
    """
    n, k = counts.shape
    is_sound = chosen.shape == group.shape == (n,)
    if not is_sound or (
        n and not (min(chosen.min(), group.min()) >= 0 and chosen.max() < k and group.max() < n_groups)
    ):
        raise ShapeError(
            "constant labels",
            f"counts {counts.shape}, chosen {chosen.shape}, group {group.shape}",
            f"one class 0..{k - 1} and one group 0..{n_groups - 1} per block",
            "Give each block its class and its group.",
        )
    confusions = np.zeros((n_groups, k, k), np.int64)
    kernels.add_constants(np.ascontiguousarray(counts, np.int64), chosen, group, confusions)
    return confusions
