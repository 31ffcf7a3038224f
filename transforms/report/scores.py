"""Scores of arms with intervals, from confusion counts per block.

Belongs here: arranging counts and asking `transforms/inference.py` for intervals. Does not: drawing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from transforms.arms import ARMS, CLAIMS
from transforms.errors import TooFewUnitsError
from transforms.inference import interval_of_score
from transforms.metrics import METRICS, IntArray
from transforms.report.data import ReportData
from transforms.tasks import Task


@dataclass(frozen=True)
class ArmScore:
    """One arm under one fold scheme.

    Attributes:
        year: embedding year.
        task: T1 or T5.
        scheme: fold scheme.
        arm: name.
        metric: primary metric of the task.
        value: its value on summed confusions.
        lo: lower end of the 95 % block interval, NaN where there is none.
        hi: upper end.
        accuracy: overall accuracy.
        n_units: scored units.
        n_blocks: blocks that hold them.
    """

    year: int
    task: Task
    scheme: str
    arm: str
    metric: str
    value: float
    lo: float
    hi: float
    accuracy: float
    n_units: int
    n_blocks: int

    @property
    def family(self) -> str:
        """Family of the arm; `other` for arms that `arms.py` does not declare."""
        return ARMS[self.arm].family if self.arm in ARMS else "other"

    @property
    def is_primary(self) -> bool:
        """Tell whether this arm answers the task's question."""
        return CLAIMS[self.task].primary_arm == self.arm


def score_arms(data: ReportData) -> list[ArmScore]:
    """Score every arm of the settings' label source, best first within year, task and scheme."""
    scores = [_score(data, key, rows) for key, rows in _grouped(data)]
    order = {scheme: rank for rank, scheme in enumerate(data.schemes)}
    return sorted(scores, key=lambda s: (-s.year, s.task, order.get(s.scheme, len(order)), -s.value, s.arm))


def score_interval(confusions: IntArray, metric: str, rng: np.random.Generator) -> tuple[float, float]:
    """Give the 95 % block interval of one arm's score.

    Args:
        confusions: int64 (b, k, k) per block, rows truth.
        metric: a name in `METRICS`.
        rng: draws the bootstrap.

    Returns:
        (lo, hi) within [0, 1]; NaN where fewer than two blocks hold units.
    """
    try:
        lo, hi = interval_of_score(confusions, METRICS[metric], rng=rng)
    except TooFewUnitsError:
        return float("nan"), float("nan")
    return float(np.clip(lo, 0, 1)), float(np.clip(hi, 0, 1))


def _grouped(data: ReportData) -> Iterator[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    names = ("year", "task", "scheme", "arm")
    rows = [r for r in data.rows("confusions_by_block") if data.is_current(r) and r["task"] in CLAIMS]
    rows.sort(key=lambda row: tuple(row[name] for name in names))
    for key, group in groupby(rows, key=lambda row: tuple(row[name] for name in names)):
        yield key, list(group)


def _score(data: ReportData, key: tuple[Any, ...], rows: list[dict[str, Any]]) -> ArmScore:
    year, task, scheme, arm = key
    metric = CLAIMS[task].metric
    confusions = _stack(rows, len(data.class_names))
    total = confusions.sum(axis=0)
    lo, hi = score_interval(confusions, metric, np.random.default_rng(data.seed))
    return ArmScore(
        year=year,
        task=task,
        scheme=scheme,
        arm=arm,
        metric=metric,
        value=float(METRICS[metric](total)),
        lo=lo,
        hi=hi,
        accuracy=float(METRICS["overall_accuracy"](total)),
        n_units=int(total.sum()),
        n_blocks=len(confusions),
    )


def _stack(rows: list[dict[str, Any]], n_classes: int) -> IntArray:
    columns = {name: np.array([row[name] for row in rows]) for name in ("block_id", "truth", "pred", "n")}
    blocks, slot = np.unique(columns["block_id"], return_inverse=True)
    confusions = np.zeros((len(blocks), n_classes, n_classes), np.int64)
    np.add.at(confusions, (slot, columns["truth"], columns["pred"]), columns["n"])
    return confusions
