"""Counts of all oracles over the patches of an area, a batch of patches at a time.

Belongs here: which scales fit into a patch, sums per spatial block, memory bounded by the batch. Does not: scores
(`rows.py`), reading labels (`warehouse/oracles.py`).

What is kept of a patch beyond its batch is its class counts, which C1 needs of all patches at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.oracles import kernels
from transforms.oracles.constant_labels import (
    choose_for_iou,
    choose_majority,
    constant_confusions_by_group,
    count_blocks,
)

IntArray = npt.NDArray[np.int64]
LabelCells = npt.NDArray[np.int16]
Oracle = Literal["C0", "C1", "C3", "C4", "C6"]

#: Edges of the blocks of C4, metres; those smaller than the patch are asked for.
LADDER_M = (1280.0, 640.0, 320.0, 160.0, 80.0, 40.0, 20.0)
#: Largest accepted difference of a block and a whole number of cells, as a share of a cell.
_CELL_TOLERANCE = 0.01


@dataclass(frozen=True)
class PatchCells:
    """How a patch is cut into the cells at which labels are sampled.

    Attributes:
        side_m: side of a patch, metres.
        n_side: cells along a side.
    """

    side_m: float
    n_side: int

    @property
    def scales(self) -> tuple[float, ...]:
        """Scales of the ladder that are smaller than the patch, coarsest first."""
        return tuple(scale for scale in LADDER_M if scale < self.side_m)

    def block_px(self, scale_m: float) -> int | None:
        """Give the cells along a block of that size; None where blocks of two or more cells do not fill the patch."""
        exact = scale_m * self.n_side / self.side_m
        whole = round(exact)
        is_fit = whole >= 2 and abs(exact - whole) <= _CELL_TOLERANCE and self.n_side % whole == 0
        return whole if is_fit else None


@dataclass(frozen=True)
class OracleKey:
    """Which oracle.

    Attributes:
        oracle: C0 (majority), C1 (constant labels for mIoU), C3 (fractions, bilinear), C4 (majority of sub-patches), C6
            (another label source).
        scale_m: edge of what carries one class, metres; of C3 that of the patch whose fractions are known; None for C6.
        other_source: the label source that C6 compares with.
    """

    oracle: Oracle
    scale_m: float | None = None
    other_source: str | None = None


@dataclass(frozen=True)
class BlockCounts:
    """Counts per spatial block.

    Attributes:
        block_id: int64 (b,), sorted.
        counts: int64 (b, k, m): confusions (m = k), or pairs of classes of two sources.
    """

    block_id: IntArray
    counts: IntArray


@dataclass
class _Sums:
    """Counts by block id."""

    by_block: dict[int, IntArray] = field(default_factory=dict)

    def add(self, block_id: IntArray, counts: IntArray) -> None:
        for block, found in zip(block_id.tolist(), counts, strict=True):
            self.by_block[block] = self.by_block[block] + found if block in self.by_block else found

    def result(self) -> BlockCounts:
        blocks = sorted(self.by_block)
        return BlockCounts(np.array(blocks, np.int64), np.stack([self.by_block[block] for block in blocks]))


class OracleTally:
    """Counts of the oracles of one label source; give it all patches in batches, then ask for the results.

    Args:
        n_classes: k, of the label source that is scored.
        patch: how patches are cut into cells.
    """

    def __init__(self, n_classes: int, patch: PatchCells) -> None:
        self._k = n_classes
        self._patch = patch
        self._sums: dict[OracleKey, _Sums] = {}
        self._patch_counts: list[IntArray] = []
        self._patch_blocks: list[IntArray] = []

    def add(
        self,
        cells: LabelCells,
        block_id: IntArray,
        *,
        interpolated: LabelCells | None = None,
        others: Mapping[str, tuple[LabelCells, int]] | None = None,
    ) -> None:
        """Count the cells of a batch of patches.

        Args:
            cells: int16 (n, n_side**2), class ids of each patch by rows; -1 = no label.
            block_id: int64 (n,), spatial block of each patch.
            interpolated: int16 (n, n_side**2), classes of C3; -1 where it has none.
            others: label source -> (int16 (n, n_side**2), number of its classes), for C6.

        Raises:
            ShapeError: a shape or an id does not fit.
        """
        side = self._patch.n_side
        self._check(cells, block_id, "label cells", self._k)
        blocks, group = np.unique(block_id, return_inverse=True)
        grids = cells.reshape(-1, side, side)
        whole = count_blocks(grids, side, self._k)
        self._add_constant(OracleKey("C0", self._patch.side_m), whole, blocks, group)
        self._patch_counts.append(whole)
        self._patch_blocks.append(block_id)
        for scale in self._patch.scales:
            block_px = self._patch.block_px(scale)
            if block_px is not None:
                counts = count_blocks(grids, block_px, self._k)
                self._add_constant(OracleKey("C4", scale), counts, blocks, np.repeat(group, (side // block_px) ** 2))
        if interpolated is not None:
            self._check(interpolated, block_id, "interpolated classes", self._k)
            self._add_pairs(OracleKey("C3", self._patch.side_m), cells, interpolated, blocks, group, self._k)
        for name, (second, n_classes) in (others or {}).items():
            self._check(second, block_id, f"cells of {name}", n_classes)
            self._add_pairs(OracleKey("C6", other_source=name), cells, second, blocks, group, n_classes)

    def results(self) -> Iterator[tuple[OracleKey, BlockCounts]]:
        """Give the counts of each oracle, C1 last; nothing where no patch was added."""
        for key, sums in self._sums.items():
            yield key, sums.result()
        if self._patch_counts:
            blocks, group = np.unique(np.concatenate(self._patch_blocks), return_inverse=True)
            found = constant_confusions_by_group(self._counts, self._best_for_iou, group, len(blocks))
            yield OracleKey("C1", self._patch.side_m), BlockCounts(blocks, found)

    def patch_classes(self) -> dict[OracleKey, LabelCells]:
        """Give the class that C0 and C1 give to each patch, int16 (n,) in the order added; -1 without a label."""
        if not self._patch_counts:
            return {}
        is_labelled = self._counts.sum(axis=1) > 0
        majority, best = (
            np.where(is_labelled, chosen, -1).astype(np.int16)
            for chosen in (choose_majority(self._counts), self._best_for_iou)
        )
        return {OracleKey("C0", self._patch.side_m): majority, OracleKey("C1", self._patch.side_m): best}

    @cached_property
    def _counts(self) -> IntArray:
        return np.concatenate(self._patch_counts)

    @cached_property
    def _best_for_iou(self) -> IntArray:
        return choose_for_iou(self._counts)

    def _add_constant(self, key: OracleKey, counts: IntArray, blocks: IntArray, group: IntArray) -> None:
        found = constant_confusions_by_group(counts, choose_majority(counts), group, len(blocks))
        self._sums.setdefault(key, _Sums()).add(blocks, found)

    def _add_pairs(
        self, key: OracleKey, first: LabelCells, second: LabelCells, blocks: IntArray, group: IntArray, n_classes: int
    ) -> None:
        pairs = np.zeros((len(blocks), self._k, n_classes), np.int64)
        kernels.count_pairs(np.ascontiguousarray(first), np.ascontiguousarray(second), group, pairs)
        self._sums.setdefault(key, _Sums()).add(blocks, pairs)

    def _check(self, cells: LabelCells, block_id: IntArray, what: str, n_classes: int) -> None:
        expected = (len(block_id), self._patch.n_side**2)
        if cells.shape != expected or cells.dtype != np.int16:
            raise ShapeError(what, f"{cells.dtype} {cells.shape}", f"int16 {expected}", "Sample every patch alike.")
        if cells.size and not -1 <= cells.min() <= cells.max() < n_classes:
            raise ShapeError(what, f"ids {cells.min()}..{cells.max()}", f"-1..{n_classes - 1}", "Map the classes.")
