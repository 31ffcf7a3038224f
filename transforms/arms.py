"""The arms of the two questions, and the contrasts that were fixed before any result.

Belongs here: names, families and sources of arms; primary contrasts and their margins. Does not: features
(`warehouse/features.py` reads them), probes, the operators behind the arms (`pooling/`, `upsampling/`), tasks
(`transforms/tasks.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from transforms.pooling.operators import POOLING_OPERATORS
from transforms.tasks import TASKS, Question, Task, UnitKind
from transforms.upsampling.operators import UPSAMPLERS

Family = Literal["native", "pooled", "upsampled", "guided", "fusion", "control"]
Side = Literal["patches", "pixels", "both", "none"]
#: What is done besides reading features and handing them to a probe: draw them, move them to other blocks, permute the
#: training labels, or average two probes.
Treatment = Literal["", "random_features", "shuffled_blocks", "permuted_labels", "late_average"]
#: Those that change a fit; where nothing is fitted they mean nothing.
FIT_TREATMENTS: frozenset[Treatment] = frozenset({"permuted_labels", "late_average"})


@dataclass(frozen=True)
class Arm:
    """One way to describe a unit.

    Attributes:
        name: key in all evidence tables.
        unit: patches are classified, pixels are segmented.
        family: how its features come about.
        side: which product of the pair they come from; guided arms read the other one too.
        operator: key in `POOLING_OPERATORS` or `UPSAMPLERS`; None for arms that cross no grain.
        probe: the only probe that it is run with; None = any.
        parts: arms whose features are joined (fusion).
        treatment: what is done besides.
        is_default: scored without being asked for; others only where a study lists them.
    """

    name: str
    unit: UnitKind
    family: Family
    side: Side
    operator: str | None = None
    probe: str | None = None
    parts: tuple[str, ...] = ()
    treatment: Treatment = ""
    is_default: bool = True


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the arms of a task are compared by.

    Attributes:
        question: Q1 or Q2.
        task: where it is asked.
        reference: the native arm.
        metric: key in `out_probe__metrics`.
        margin: largest loss that still counts as comparable, in metric units.
    """

    question: Question
    task: Task
    reference: str
    metric: str
    margin: float


@dataclass(frozen=True, kw_only=True)
class Claim(Comparison):
    """A comparison that was fixed in advance (design/evidence.md).

    Attributes:
        primary_arm: the arm that answers the question; others are secondary.
    """

    primary_arm: str


def _pooled_arms() -> list[Arm]:
    return [Arm(f"pooled_{name}", "patch", "pooled", "pixels", operator=name) for name in POOLING_OPERATORS]


def _upsampled_arms() -> list[Arm]:
    return [
        Arm(f"upsampled_{name}", "pixel", "guided" if entry.uses_guide else "upsampled", "patches", operator=name)
        for name, entry in UPSAMPLERS.items()
    ]


def _fusion_arms(unit: UnitKind, parts: tuple[str, str]) -> list[Arm]:
    return [
        Arm(f"{unit}_concatenated", unit, "fusion", "both", parts=parts, is_default=False),
        Arm(f"{unit}_late_average", unit, "fusion", "both", parts=parts, treatment="late_average", is_default=False),
    ]


def _control_arms(unit: UnitKind, side: Side) -> list[Arm]:
    return [
        Arm(f"{unit}_coordinates", unit, "control", "none"),
        Arm(f"{unit}_majority", unit, "control", "none", probe="majority"),
        Arm(f"{unit}_random", unit, "control", "none", treatment="random_features", is_default=False),
        Arm(f"{unit}_shuffled_blocks", unit, "control", side, treatment="shuffled_blocks", is_default=False),
        Arm(f"{unit}_permuted_labels", unit, "control", side, treatment="permuted_labels", is_default=False),
    ]


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("native_patch", "patch", "native", "patches"),
        *_pooled_arms(),
        *_fusion_arms("patch", ("native_patch", "pooled_stats")),
        *_control_arms("patch", "patches"),
        Arm("native_pixel", "pixel", "native", "pixels"),
        *_upsampled_arms(),
        *_fusion_arms("pixel", ("native_pixel", "upsampled_bilinear")),
        *_control_arms("pixel", "pixels"),
    )
}

#: The arm that others of a unit are compared with.
NATIVE_ARM: dict[UnitKind, str] = {"patch": "native_patch", "pixel": "native_pixel"}
#: The control that knows where a unit is and nothing else.
COORDINATES_ARM: dict[UnitKind, str] = {"patch": "patch_coordinates", "pixel": "pixel_coordinates"}
#: Width of the random control: that of a pixel vector.
RANDOM_DIMS = 64
#: Arms that are always scored: what the claims compare, and the reference of every gain.
_ALWAYS = frozenset({"pooled_mean", "pooled_stats", "upsampled_nearest", "upsampled_bilinear"})

#: The two claims, fixed before any result.
CLAIMS: dict[Task, Claim] = {
    "T1": Claim(
        question="Q1", task="T1", reference="native_patch", primary_arm="pooled_stats", metric="macro_f1", margin=0.02
    ),
    "T5": Claim(
        question="Q2",
        task="T5",
        reference="native_pixel",
        primary_arm="upsampled_bilinear",
        metric="mean_iou",
        margin=0.05,
    ),
}
#: Margin of a question, also for its secondary tasks.
_MARGINS: dict[Question, float] = {claim.question: claim.margin for claim in CLAIMS.values()}
#: Every comparison: the claims, and the other tasks with the margin of their question.
COMPARISONS: dict[Task, Comparison] = {
    name: CLAIMS.get(name)
    or Comparison(
        question=rule.question,
        task=name,
        reference=NATIVE_ARM[rule.unit],
        metric=rule.metric,
        margin=_MARGINS[rule.question],
    )
    for name, rule in TASKS.items()
}


def list_arms(
    unit: UnitKind,
    *,
    has_patches: bool,
    has_pixels: bool,
    pooling: Collection[str] = (),
    upsampling: Collection[str] = (),
) -> list[Arm]:
    """List the arms of a kind of unit that the compared products allow, natives first.

    Args:
        unit: patch or pixel.
        has_patches: a patch product is compared.
        has_pixels: a pixel product is compared.
        pooling: pooling operators of the settings; those that the claims need are listed without being named.
        upsampling: upsampling operators of the settings, likewise.
    """
    sides = {"none": True, "patches": has_patches, "pixels": has_pixels, "both": has_patches and has_pixels}
    chosen = _ALWAYS | {f"pooled_{name}" for name in pooling} | {f"upsampled_{name}" for name in upsampling}

    def is_listed(arm: Arm) -> bool:
        has_guide = arm.family != "guided" or has_pixels
        return arm.unit == unit and sides[arm.side] and has_guide and (arm.operator is None or arm.name in chosen)

    return [arm for arm in ARMS.values() if is_listed(arm)]
