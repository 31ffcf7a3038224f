"""The arms of the two questions, and the contrasts that were fixed before any result.

Belongs here: names, families and sources of arms; primary contrasts and their margins. Does not: features
(`transforms/evaluation.py` takes them), probes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["T1", "T5"]
Family = Literal["native", "pooled", "upsampled", "control"]
Side = Literal["patches", "pixels", "none"]


@dataclass(frozen=True)
class Arm:
    """One way to describe a unit.

    Attributes:
        name: key in all evidence tables.
        task: T1 classifies patches, T5 segments pixels.
        family: how its features come about.
        side: which product of the pair they come from.
        probe: key in `probes.PROBES`.
    """

    name: str
    task: Task
    family: Family
    side: Side
    probe: str = "logistic"


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


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("native_patch", "T1", "native", "patches"),
        Arm("pooled_stats", "T1", "pooled", "pixels"),
        Arm("pooled_mean", "T1", "pooled", "pixels"),
        Arm("patch_coordinates", "T1", "control", "none"),
        Arm("patch_majority", "T1", "control", "none", probe="majority"),
        Arm("native_pixel", "T5", "native", "pixels"),
        Arm("upsampled_bilinear", "T5", "upsampled", "patches"),
        Arm("upsampled_nearest", "T5", "upsampled", "patches"),
        Arm("pixel_coordinates", "T5", "control", "none"),
        Arm("pixel_majority", "T5", "control", "none", probe="majority"),
    )
}

CLAIMS: dict[Task, Claim] = {
    "T1": Claim("Q1", "T1", "native_patch", "pooled_stats", "macro_f1", 0.02),
    "T5": Claim("Q2", "T5", "native_pixel", "upsampled_bilinear", "mean_iou", 0.05),
}


def list_arms(task: Task, *, has_patches: bool, has_pixels: bool) -> list[Arm]:
    """List the arms of a task that the compared products allow, natives first.

    Args:
        task: T1 or T5.
        has_patches: a patch product is compared.
        has_pixels: a pixel product is compared.
    """
    sides = {"none": True, "patches": has_patches, "pixels": has_pixels}
    return [arm for arm in ARMS.values() if arm.task == task and sides[arm.side]]
