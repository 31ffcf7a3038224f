"""The map that an oracle of constant labels draws.

Belongs here: classes of blocks painted onto pixels. Does not: scoring maps (`transforms/map_tally.py`), choosing
classes (`constant_labels.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.alignment import take_or
from transforms.errors import ShapeError

LabelCells = npt.NDArray[np.int16]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def paint_blocks(chosen: LabelCells, patch: IntArray, across: FloatArray, up: FloatArray) -> LabelCells:
    """Give each pixel the class of the block of its patch that holds it.

    Args:
        chosen: int16 (n, s, s), class of each block of each patch, rows from south to north; s = 1: of the patch.
        patch: integers (m,), position of each pixel's patch, -1 = none.
        across: float64 (m,), place in the patch from west to east, 0 to 1; beyond that the nearest block.
        up: float64 (m,), from south to north.

    Returns:
        int16 (m,); -1 without a patch.

    Raises:
        ShapeError: shapes do not agree.
    """
    side = chosen.shape[-1]
    if chosen.ndim != 3 or chosen.shape[1] != side or not patch.shape == across.shape == up.shape:
        raise ShapeError(
            "blocks to paint", f"{chosen.shape} on {patch.shape}", "(n, s, s) on (m,)", "Give a patch per pixel."
        )
    row, col = (np.clip(np.floor(place * side), 0, side - 1).astype(np.int64) for place in (up, across))
    slot = np.where(patch >= 0, (np.asarray(patch, np.int64) * side + row) * side + col, -1)
    return take_or(chosen.reshape(-1), slot, -1)
