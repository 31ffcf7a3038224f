from __future__ import annotations

from itertools import product

import pytest

from transforms.arms import ARMS, CLAIMS, COMPARISONS, list_arms
from transforms.inference import decide_verdict
from transforms.metrics import METRICS
from transforms.pooling.operators import POOLING_OPERATORS
from transforms.probes.registry import PROBES
from transforms.tasks import TASKS
from transforms.upsampling.operators import UPSAMPLERS


def test_arms_are_keyed_by_name_and_use_known_probes() -> None:
    assert all(name == arm.name for name, arm in ARMS.items())
    assert {arm.probe for arm in ARMS.values()} - {None} <= set(PROBES)
    assert all(set(arm.parts) <= set(ARMS) for arm in ARMS.values())
    assert set(ARMS) >= {
        "native_patch", "pooled_stats", "pooled_mean", "native_pixel", "upsampled_nearest", "upsampled_bilinear",
    }  # fmt: skip


def test_claims_are_those_that_were_fixed() -> None:
    # design/evidence.md, "Claims, fixed before any result"
    found = {task: (c.question, c.reference, c.primary_arm, c.metric, c.margin) for task, c in CLAIMS.items()}
    assert found == {
        "T1": ("Q1", "native_patch", "pooled_stats", "macro_f1", 0.02),
        "T5": ("Q2", "native_pixel", "upsampled_bilinear", "mean_iou", 0.05),
    }


@pytest.mark.parametrize("task", ["T1", "T5"])
def test_claims_can_be_tested(task: str) -> None:
    claim = CLAIMS[task]
    assert claim.task == task
    assert claim.metric in METRICS
    assert {ARMS[claim.reference].unit, ARMS[claim.primary_arm].unit} == {TASKS[task].unit}
    assert ARMS[claim.reference].family == "native"
    # what the question compares comes from the other product
    assert {ARMS[claim.reference].side, ARMS[claim.primary_arm].side} == {"patches", "pixels"}
    assert decide_verdict(0.0, 0.01, claim.margin, 20) == "non-inferior"


@pytest.mark.parametrize(
    ("unit", "has_patches", "has_pixels"), list(product(["patch", "pixel"], [True, False], [True, False]))
)
def test_arms_of_absent_products_are_left_out(unit: str, has_patches: bool, has_pixels: bool) -> None:
    arms = list_arms(
        unit, has_patches=has_patches, has_pixels=has_pixels, pooling=POOLING_OPERATORS, upsampling=UPSAMPLERS
    )
    sides = {"none"} | ({"patches"} if has_patches else set()) | ({"pixels"} if has_pixels else set())
    sides |= {"both"} if has_patches and has_pixels else set()
    expected = [a.name for a in ARMS.values() if a.unit == unit and a.side in sides]
    if not has_pixels:
        expected = [name for name in expected if ARMS[name].family != "guided"]
    assert [arm.name for arm in arms] == expected
    assert {arm.family for arm in arms} >= {"control"}


def test_operators_of_the_settings_become_arms_and_those_of_the_claims_are_always_there() -> None:
    names = [arm.name for arm in list_arms("patch", has_patches=True, has_pixels=True, pooling=["gem"])]
    assert {name for name in names if name.startswith("pooled_")} == {"pooled_mean", "pooled_stats", "pooled_gem"}
    names = [arm.name for arm in list_arms("pixel", has_patches=True, has_pixels=True)]
    assert {name for name in names if name.startswith("upsampled_")} == {"upsampled_nearest", "upsampled_bilinear"}


def test_every_operator_is_an_arm() -> None:
    pooled = {arm.operator for arm in ARMS.values() if arm.family == "pooled"}
    upsampled = {arm.operator for arm in ARMS.values() if arm.family in ("upsampled", "guided")}
    assert (pooled, upsampled) == (set(POOLING_OPERATORS), set(UPSAMPLERS))
    assert {arm.operator for arm in ARMS.values() if arm.family == "guided"} == {
        name for name, entry in UPSAMPLERS.items() if entry.uses_guide
    }


@pytest.mark.parametrize("task", ["T1", "T5"])
def test_natives_come_first_and_every_control_is_there(task: str) -> None:
    arms = list_arms(TASKS[task].unit, has_patches=True, has_pixels=True)
    assert arms[0].name == CLAIMS[task].reference
    controls = [arm for arm in arms if arm.family == "control"]
    assert len(controls) == 5
    assert [arm.name for arm in controls if arm.is_default] == [
        f"{TASKS[task].unit}_coordinates", f"{TASKS[task].unit}_majority",
    ]  # fmt: skip


def test_secondary_tasks_are_compared_with_the_margin_of_their_question() -> None:
    assert set(COMPARISONS) == set(TASKS)
    for task, comparison in COMPARISONS.items():
        assert comparison.reference == f"native_{TASKS[task].unit}"
        assert comparison.margin == {"Q1": 0.02, "Q2": 0.05}[comparison.question]
        assert comparison.metric == TASKS[task].metric
