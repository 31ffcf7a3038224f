"""The study of pre-training: which arms there are, and what each does in every region.

Belongs here: cells, their training ground and starts, confusions per block. Does not: storage
(`warehouse/adapters.py`), intervals (`transforms/inference.py`), clocks.

A cell is trained in one region and tested in all. Seed s holds out fold s (modulo the number of folds), so that five
seeds of five folds test every block once. Arms are paired: at one seed they share fold, label draw, initial
classifier and order of pixels, and differ in the start of the adapter alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.errors import TooFewUnitsError
from transforms.metrics import confusion_by_block
from transforms.pretraining.chips import Chips, Int64Array, TrainingGround, training_ground
from transforms.pretraining.contrastive import ContrastiveOptions, pretrain
from transforms.pretraining.fine_tuning import (
    FineTuningOptions,
    FittedHead,
    LabelDraw,
    draw_labels,
    fine_tune,
    predict_chips,
)
from transforms.pretraining.head import HeadName, Weights

#: How the adapter starts. `random_init` is what the others are compared with.
Init = Literal["random_init", "pretrained", "shuffled_positives", "supervised_elsewhere"]


@dataclass(frozen=True)
class StudyOptions:
    """What all cells share.

    Attributes:
        n_classes: k.
        width: of the adapter.
        max_labels: labelled pixels of the 100 % budget, at most.
        contrastive: of pre-training.
        fine_tuning: of training on labels.
    """

    n_classes: int
    width: int = 32
    max_labels: int = 2_000
    contrastive: ContrastiveOptions = field(default_factory=ContrastiveOptions)
    fine_tuning: FineTuningOptions = field(default_factory=FineTuningOptions)


@dataclass(frozen=True)
class AdapterCell:
    """One training: tested in every region.

    Attributes:
        region: where the adapter is pre-trained and fine-tuned.
        head: which network.
        init: how the adapter starts.
        budget_pct: share of the label draw, per cent.
        seed: of everything random; also chooses the fold.
    """

    region: str
    head: HeadName
    init: Init
    budget_pct: float
    seed: int


@dataclass(frozen=True)
class RegionScore:
    """What a cell did in one region.

    Attributes:
        region: where it was tested.
        block_id: int64 (b,), blocks of the held-out fold with labels, sorted.
        confusions: int64 (b, k, k).
        problem: why there are none; empty where there are.
    """

    region: str
    block_id: Int64Array
    confusions: npt.NDArray[np.int64]
    problem: str = ""


@dataclass(frozen=True)
class CellScores:
    """All regions of a cell.

    Attributes:
        fold: the fold that was held out.
        n_labels: labelled pixels trained on.
        regions: one entry a region.
    """

    fold: int
    n_labels: int
    regions: tuple[RegionScore, ...]


def list_adapter_cells(
    regions: Sequence[str], heads: Sequence[HeadName], inits: Sequence[Init], budgets: Sequence[float], seeds: int
) -> list[AdapterCell]:
    """List the cells so that those with one start follow each other."""
    return [
        AdapterCell(region, head, init, float(budget), seed)
        for region in regions
        for seed in range(seeds)
        for head in heads
        for init in inits
        for budget in budgets
    ]


class AdapterStudy:
    """Runs cells on chips; keeps the ground and the start of the last ones.

    Args:
        chips: all chips of a year.
        options: what all cells share.
    """

    def __init__(self, chips: Chips, options: StudyOptions) -> None:
        self._chips = chips
        self._options = options
        self._ground: tuple[tuple[tuple[str, ...], int], TrainingGround] | None = None
        self._start: tuple[tuple[object, ...], Weights | None] | None = None

    def fold_of(self, seed: int) -> int:
        """Give the fold that a seed holds out."""
        return seed % self._chips.n_folds

    def prepare(self, cell: AdapterCell) -> Weights | None:
        """Give the start of a cell's adapter: None = random, as the seed draws it.

        Starts do not depend on the budget; the last one is kept.

        Raises:
            TooFewUnitsError: there is no ground, or for `supervised_elsewhere` no other region with labels.
        """
        key = (cell.region, cell.head, cell.init, cell.seed)
        if self._start is None or self._start[0] != key:
            self._start = (key, self._make_start(cell))
        return self._start[1]

    def run(self, cell: AdapterCell) -> CellScores:
        """Train a cell and test it in every region.

        Raises:
            TooFewUnitsError: there is too little ground, or the labels of the budget are of one class.
        """
        start = self.prepare(cell)
        ground = self._ground_of((cell.region,), cell.seed)
        draw = self._draw(ground, cell.seed).take(cell.budget_pct)
        options = self._options
        fitted = fine_tune(
            ground, draw, cell.head, options.width, options.n_classes, options.fine_tuning, cell.seed, start
        )
        return CellScores(self.fold_of(cell.seed), len(draw), tuple(self._test(cell, ground, fitted)))

    def _make_start(self, cell: AdapterCell) -> Weights | None:
        options = self._options
        if cell.init == "random_init":
            return None
        if cell.init == "supervised_elsewhere":
            return self._train_elsewhere(cell)
        ground = self._ground_of((cell.region,), cell.seed)
        return pretrain(
            ground,
            self._chips.ground_m[ground.chips],
            cell.head,
            options.width,
            options.contrastive,
            cell.seed,
            is_shuffled=cell.init == "shuffled_positives",
        )

    def _train_elsewhere(self, cell: AdapterCell) -> Weights:
        """Train the adapter with all labels of the other regions, outside the held-out fold."""
        others = tuple(region for region in self._chips.regions if region != cell.region)
        if not others:
            raise TooFewUnitsError("regions", "one", "two or more", "Name regions in adapter.regions.")
        ground = self._ground_of(others, cell.seed)
        options = self._options
        fitted = fine_tune(
            ground,
            self._draw(ground, cell.seed),
            cell.head,
            options.width,
            options.n_classes,
            options.fine_tuning,
            cell.seed,
        )
        # a linear head is one map and has no adapter to hand on: its start is the seed's, its optimum the same
        return fitted.adapter()

    def _ground_of(self, regions: tuple[str, ...], seed: int) -> TrainingGround:
        key = (regions, self.fold_of(seed))
        if self._ground is None or self._ground[0] != key:
            self._ground = (key, training_ground(self._chips, *key))
        return self._ground[1]

    def _draw(self, ground: TrainingGround, seed: int) -> LabelDraw:
        rng = np.random.default_rng([seed, 0])
        return draw_labels(ground, self._chips.labels[ground.chips], self._options.max_labels, rng)

    def _test(self, cell: AdapterCell, ground: TrainingGround, fitted: FittedHead) -> Iterator[RegionScore]:
        chips, fold = self._chips, self.fold_of(cell.seed)
        for region in chips.regions:
            if cell.init == "supervised_elsewhere" and region != cell.region:
                yield self._untested(region, "its adapter was trained with labels of this region")
                continue
            tested = np.flatnonzero((chips.region == region) & (chips.fold == fold))
            truth = np.where(chips.is_valid[tested], chips.labels[tested], np.int16(-1))
            if not (truth >= 0).any():
                yield self._untested(region, f"no labelled pixel in fold {fold}")
                continue
            pred = predict_chips(fitted, ground.standardise(chips.vectors[tested]))
            blocks = np.broadcast_to(chips.block_id[tested, None, None], truth.shape)
            found = confusion_by_block(truth.ravel(), pred.ravel(), blocks.ravel(), self._options.n_classes)
            yield RegionScore(region, *found)

    def _untested(self, region: str, problem: str) -> RegionScore:
        k = self._options.n_classes
        return RegionScore(region, np.empty(0, np.int64), np.empty((0, k, k), np.int64), problem)
