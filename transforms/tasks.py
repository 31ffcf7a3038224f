"""The tasks of the protocol: what is predicted for which kind of unit, and the number that sums it up.

Belongs here: names, targets and primary metrics of tasks. Does not: arms and claims (`transforms/arms.py`), labels
(`transforms/labels.py`), metrics themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Task = Literal["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8"]
Question = Literal["Q1", "Q2"]
UnitKind = Literal["patch", "pixel"]
#: `relevance` is retrieval: nothing is fitted, neighbours are ranked. `fractions` are shares that sum to 1.
TargetKind = Literal["class", "multilabel", "fractions", "values", "relevance"]


@dataclass(frozen=True)
class TaskRule:
    """One task.

    Attributes:
        name: T1 to T8.
        question: which of the two questions it speaks to.
        unit: what is predicted for: patches or pixels.
        target: what is predicted.
        metric: the number that sums it up; key of `out_probe__metrics.metric`.
        title: in words.
        of_maps: read off the dense maps of T5 instead of having cells of its own.
    """

    name: Task
    question: Question
    unit: UnitKind
    target: TargetKind
    metric: str
    title: str
    of_maps: bool = False


TASKS: Mapping[Task, TaskRule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            TaskRule("T1", "Q1", "patch", "class", "macro_f1", "classify patches"),
            TaskRule("T2", "Q1", "patch", "multilabel", "macro_f1", "several labels per patch"),
            TaskRule("T3", "Q1", "patch", "fractions", "r2", "class fractions of patches"),
            TaskRule("T4", "Q1", "patch", "relevance", "precision_at_k", "retrieve patches of the same class"),
            TaskRule("T5", "Q2", "pixel", "class", "mean_iou", "segment pixels"),
            TaskRule("T6", "Q2", "pixel", "fractions", "r2", "class fractions of small cells", of_maps=True),
            TaskRule("T7", "Q1", "patch", "class", "macro_f1", "find patches that changed between years"),
            # not in the protocol's list: numeric targets at pixels, such as radar backscatter
            TaskRule("T8", "Q2", "pixel", "values", "r2", "predict measured values at pixels"),
        )
    }
)

#: k of precision@k; the first is the primary one.
RETRIEVAL_KS = (10, 50, 250)
#: The probe of a target where nothing else is asked for.
PRIMARY_PROBES: Mapping[TargetKind, str] = MappingProxyType(
    {"class": "logistic", "multilabel": "logistic", "fractions": "ridge", "values": "ridge", "relevance": "cosine"}
)


def primary_probe(task: Task) -> str:
    """Give the probe that a task is answered with."""
    return PRIMARY_PROBES[TASKS[task].target]
