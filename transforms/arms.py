"""The arms of the two questions, and the contrasts that were fixed before any result.

Belongs here: names, families and sources of arms; primary contrasts and their margins. Does not: features
(`transforms/evaluation.py` takes them), probes, the operators behind the arms (`pooling/`, `upsampling/`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from transforms.pooling.operators import POOLING_OPERATORS
from transforms.upsampling.operators import UPSAMPLERS

Task = Literal["T1", "T5"]
Family = Literal["native", "pooled", "upsampled", "guided", "control"]
Side = Literal["patches", "pixels", "none"]


@dataclass(frozen=True)
class Arm:
    """One way to describe a unit.

    Attributes:
        name: key in all evidence tables.
        task: T1 classifies patches, T5 segments pixels.
        family: how its features come about.
        side: which product of the pair they come from; guided arms read the other one too.
        probe: key in `probes.registry.PROBES`.
        operator: key in `POOLING_OPERATORS` or `UPSAMPLERS`; None for arms that cross no grain.
    """

    name: str
    task: Task
    family: Family
    side: Side
    probe: str = "logistic"
    operator: str | None = None


@dataclass(frozen=True)
class Claim:
    """A comparison that was fixed in advance (design/evidence.md).

    Attributes:
        question: Q1 or Q2.
        task: where it is asked.
        reference: the native arm.
        primary_arm: the arm that answers the question; others are secondary.
        metric: key in `metrics.METRICS`.
        margin: largest loss that still counts as comparable, in metric units.
    """

    question: str
    task: Task
    reference: str
    primary_arm: str
    metric: str
    margin: float


def _pooled_arms() -> list[Arm]:
    return [Arm(f"pooled_{name}", "T1", "pooled", "pixels", operator=name) for name in POOLING_OPERATORS]


def _upsampled_arms() -> list[Arm]:
    return [
        Arm(f"upsampled_{name}", "T5", "guided" if entry.uses_guide else "upsampled", "patches", operator=name)
        for name, entry in UPSAMPLERS.items()
    ]


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("native_patch", "T1", "native", "patches"),
        *_pooled_arms(),
        Arm("patch_coordinates", "T1", "control", "none"),
        Arm("patch_majority", "T1", "control", "none", probe="majority"),
        Arm("native_pixel", "T5", "native", "pixels"),
        *_upsampled_arms(),
        Arm("pixel_coordinates", "T5", "control", "none"),
        Arm("pixel_majority", "T5", "control", "none", probe="majority"),
    )
}

#: Arms that are always scored: what the claims compare, and the reference of every gain.
_ALWAYS = frozenset({"pooled_mean", "pooled_stats", "upsampled_nearest", "upsampled_bilinear"})

CLAIMS: dict[Task, Claim] = {
    "T1": Claim("Q1", "T1", "native_patch", "pooled_stats", "macro_f1", 0.02),
    "T5": Claim("Q2", "T5", "native_pixel", "upsampled_bilinear", "mean_iou", 0.05),
}


def list_arms(
    task: Task, *, has_patches: bool, has_pixels: bool, pooling: Collection[str] = (), upsampling: Collection[str] = ()
) -> list[Arm]:
    """List the arms of a task that the compared products allow, natives first.

    Args:
        task: T1 or T5.
        has_patches: a patch product is compared.
        has_pixels: a pixel product is compared.
        pooling: pooling operators of the settings; those that the claims need are listed without being named.
        upsampling: upsampling operators of the settings, likewise.
    """
    sides = {"none": True, "patches": has_patches, "pixels": has_pixels}
    chosen = _ALWAYS | {f"pooled_{name}" for name in pooling} | {f"upsampled_{name}" for name in upsampling}

    def is_listed(arm: Arm) -> bool:
        has_guide = arm.family != "guided" or has_pixels
        return arm.task == task and sides[arm.side] and has_guide and (arm.operator is None or arm.name in chosen)

    return [arm for arm in ARMS.values() if is_listed(arm)]
