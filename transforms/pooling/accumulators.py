"""What is kept per open patch while windows stream by: the one contract of sums and of gathered pixels.

Belongs here: `WindowBoxes` (how boxes lie on one window) and the protocol that `sums.py` (additive operators) and
`gathered.py` (the others) keep. Does not: which patches are open (`pooler.py`), arithmetic.

A *slot* is a place for one open patch. The pooler deals slots out, and hands them out again once a patch is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from affine import Affine

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
PixelArray = npt.NDArray[np.int8] | Float32Array


@dataclass(frozen=True)
class WindowBoxes:
    """The boxes that share area with one window.

    Attributes:
        target: int64 (n,), slot of each box; no slot twice.
        rows: int64 (n, 8) spans along y (layout: `kernels.py`).
        cols: int64 (n, 8) spans along x.
        valid: bool (height, width), True = valid pixel; may be a view with rows reversed.
        weight: int64 (n,), valid shared area in 2^-16 pixels.
        count: int64 (n,), valid pixels whose centre is inside.
        is_whole: uint8 (n,), 1 where every touched pixel is valid.
        bounds: float64 (n, 4), the whole boxes, beyond the window too: west, south, east, north in metres.
        affine: pixel corner of the window to metres, north-up.
    """

    target: Int64Array
    rows: Int64Array
    cols: Int64Array
    valid: npt.NDArray[np.bool_]
    weight: Int64Array
    count: Int64Array
    is_whole: npt.NDArray[np.uint8]
    bounds: Float64Array
    affine: Affine

    def __len__(self) -> int:
        return len(self.target)


class Accumulator(Protocol):
    """Keeps what some stored columns need of the pixels seen so far, for every open patch.

    What it gives must not depend on the order of windows nor on how the ground was cut into windows.
    """

    def reserve(self, n_slots: int) -> None:
        """Make room for slots 0 to `n_slots` - 1, keeping what is there; never shrinks."""
        ...

    def add(self, values: PixelArray, boxes: WindowBoxes) -> None:
        """Add one window.

        Args:
            values: (dims, height, width), int8 codes (vector value ``v|v| / 127.5^2``) or float32; north-up, may be
                a view with rows reversed (so not contiguous). Values where `boxes.valid` is False mean nothing.
            boxes: the boxes that touch it; at least one.
        """
        ...

    def columns(self, slots: Int64Array, weight: Int64Array) -> dict[str, Float32Array]:
        """Give the stored columns of some patches.

        Args:
            slots: int64 (n,).
            weight: int64 (n,), valid shared area of all windows in 2^-16 pixels, above 0.

        Returns:
            float32 (n, width) or (n,) by the name of the stored column; NaN where it is undefined (e.g. no pixel
            centre inside).
        """
        ...

    def clear(self, slots: Int64Array) -> None:
        """Forget some patches: their slots may be handed out again."""
        ...
