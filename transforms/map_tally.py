"""What only maps show, added up over windows: boundaries and objects.

Belongs here: counts of windows and their rows, for maps of arms and of oracles alike. Does not: the metrics
(`transforms/segmentation_metrics.py`), where maps come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.segmentation_metrics import (
    SIZE_EDGES_PX,
    boundary_counts_by_block,
    boundary_f,
    recall_by_size,
    size_counts_by_block,
)

LabelGrid = npt.NDArray[np.int16]
Row = dict[str, Any]

#: Tolerances of boundary F, pixels.
TOLERANCES_PX = (1, 3)
#: Names of the ground and of the size bins in `stratum`.
WINDOWS, OBJECT_SIZE = "kept windows", "object size"


class MapTally:
    """What maps of one source show, summed over windows; objects end at the edge of a window.

    Args:
        n_classes: k.
    """

    def __init__(self, n_classes: int) -> None:
        self._k = n_classes
        self._boundary = {tolerance: np.zeros((n_classes, 4), np.int64) for tolerance in TOLERANCES_PX}
        self._sizes = np.zeros((len(SIZE_EDGES_PX) + 1, 2), np.int64)
        self._blocks: set[int] = set()

    def add(self, truth: LabelGrid, pred: LabelGrid, block_id: npt.NDArray[np.int64]) -> None:
        """Count one window.

        Args:
            truth: int16 (h, w), -1 = no label.
            pred: int16 (h, w), -1 = not predicted.
            block_id: int64 (h, w).

        Raises:
            ShapeError: grids differ or ids are out of range.
        """
        for tolerance, total in self._boundary.items():
            total += boundary_counts_by_block(truth, pred, block_id, self._k, tolerance)[1].sum(axis=0)
        blocks, sizes = size_counts_by_block(truth, pred, block_id, self._k)
        self._sizes += sizes.sum(axis=(0, 1))
        self._blocks.update(blocks.tolist())

    def rows(self) -> Iterator[Row]:
        """Score boundaries and objects.

        Yields:
            Rows with the keys metric, averaging, tolerance_px, stratum, stratum_value, value (None where undefined),
            support (pixels of the boundary, of objects of that size), n_units, n_blocks; none without a scored pixel.
        """
        n_units = int(self._sizes[:, 1].sum())
        if not n_units:
            return
        shared = {"n_units": n_units, "n_blocks": len(self._blocks)}
        for tolerance, counts in self._boundary.items():
            scored = _valued("boundary_f", "macro", float(boundary_f(counts)), int(counts[:, 3].sum()))
            yield shared | scored | {"tolerance_px": float(tolerance), "stratum": WINDOWS}
        ends = zip([0, *SIZE_EDGES_PX], [*SIZE_EDGES_PX, None], strict=True)
        for (low, high), value, n in zip(ends, recall_by_size(self._sizes), self._sizes[:, 1], strict=True):
            name = f">= {low} px" if high is None else f"{low} to {high - 1} px"
            scored = _valued("object_recall", "micro", float(value), int(n))
            yield shared | scored | {"stratum": OBJECT_SIZE, "stratum_value": name}


def _valued(metric: str, averaging: str, value: float, support: int) -> Row:
    return {
        "metric": metric,
        "averaging": averaging,
        "value": None if np.isnan(value) else value,
        "support": support,
    }
