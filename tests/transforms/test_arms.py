from __future__ import annotations

from itertools import product

import pytest

from transforms.arms import ARMS, CLAIMS, list_arms
from transforms.inference import decide_verdict
from transforms.metrics import METRICS
from transforms.probes import PROBES


def test_arms_are_keyed_by_name_and_use_known_probes() -> None:
    assert all(name == arm.name for name, arm in ARMS.items())
    assert {arm.probe for arm in ARMS.values()} <= set(PROBES)
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
    assert {ARMS[claim.reference].task, ARMS[claim.primary_arm].task} == {task}
    assert ARMS[claim.reference].family == "native"
    # what the question compares comes from the other product
    assert {ARMS[claim.reference].side, ARMS[claim.primary_arm].side} == {"patches", "pixels"}
    assert decide_verdict(0.0, 0.01, claim.margin, 20) == "non-inferior"


@pytest.mark.parametrize(
    ("task", "has_patches", "has_pixels"), list(product(["T1", "T5"], [True, False], [True, False]))
)
def test_arms_of_absent_products_are_left_out(task: str, has_patches: bool, has_pixels: bool) -> None:
    arms = list_arms(task, has_patches=has_patches, has_pixels=has_pixels)
    sides = {"none"} | ({"patches"} if has_patches else set()) | ({"pixels"} if has_pixels else set())
    assert [arm.name for arm in arms] == [a.name for a in ARMS.values() if a.task == task and a.side in sides]
    assert {arm.family for arm in arms} >= {"control"}


@pytest.mark.parametrize("task", ["T1", "T5"])
def test_natives_come_first_and_every_control_is_there(task: str) -> None:
    arms = list_arms(task, has_patches=True, has_pixels=True)
    assert arms[0].name == CLAIMS[task].reference
    controls = [arm for arm in arms if arm.family == "control"]
    assert {arm.probe for arm in controls} == {"majority", "logistic"}
    assert all(arm.side == "none" for arm in controls)
