from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import TooFewUnitsError
from transforms.evidence_units import (
    FoldRules,
    Units,
    fold_of_blocks,
    folds_table,
    plan_from_table,
    plan_schemes,
    take_plan,
    units_from_labels,
)
from transforms.folds import FoldPlan

RULES = FoldRules(edge_m=2000.0, buffer_m=300.0, n_folds=3, seed=5)


def make_units(kind: str = "patch", n: int = 300, seed: int = 0, *, half_side_m: float = 160.0, **columns) -> Units:
    """Units over about 15 x 15 km."""
    rng = np.random.default_rng(seed)
    defaults = {
        "unit_id": rng.permutation(10_000)[:n].astype(np.uint64),
        "shard": np.where(rng.random(n) < 0.5, "47PRQ", "48PSV").astype(np.str_),
        "lon": rng.uniform(101.93, 102.07, n),
        "lat": rng.uniform(12.55, 12.69, n),
        "label": rng.integers(0, 3, n).astype(np.int16),
        "given_fold": rng.integers(0, 4, n).astype(np.int16),
        "given_group": np.arange(n, dtype=np.int32),
    }
    return Units(kind=kind, half_side_m=half_side_m, **(defaults | columns))


def assert_same(found: FoldPlan, expected: FoldPlan) -> None:
    assert found.scheme == expected.scheme
    np.testing.assert_array_equal(found.block_id, expected.block_id)
    np.testing.assert_array_equal(found.fold, expected.fold)
    np.testing.assert_array_equal(found.region, expected.region)
    np.testing.assert_array_equal(found.in_buffer, expected.in_buffer)


def test_units_are_the_rows_with_minus_one_for_what_is_missing() -> None:
    rows = pa.table(
        {
            "patch_id": pa.array([4, 5, 6], pa.uint64()),
            "shard": ["a", "b", "c"],
            "lon": [1.0, 2.0, 3.0],
            "lat": [4.0, 5.0, 6.0],
            "label": pa.array([1, None, 0], pa.int16()),
            "given_fold": pa.array([None, 2, 3], pa.int16()),
            "given_group": pa.array([7, None, None], pa.int32()),
        }
    )
    units = units_from_labels("patch", rows, 160.0)
    assert units.unit_id.tolist() == [4, 5, 6]
    assert units.shard.tolist() == ["a", "b", "c"]
    assert units.label.tolist() == [1, -1, 0]
    assert units.given_fold.tolist() == [-1, 2, 3]
    assert units.given_group.tolist() == [7, -1, -1]
    assert (units.kind, units.half_side_m) == ("patch", 160.0)


@pytest.mark.parametrize("scheme", ["block", "random", "given", "region", "longitude", "transfer"])
def test_a_stored_plan_is_read_back_as_it_was(scheme: str) -> None:
    units = make_units()
    plan = plan_schemes([units], [scheme], RULES).plans["patch", scheme]
    table = folds_table(units, plan, "cover", is_simulated=True)
    ids, found = plan_from_table(table, scheme)
    assert ids.tolist() == units.unit_id.tolist()
    assert_same(found, plan)
    # also from a slice of a larger table, whose lists begin elsewhere
    joined = pa.concat_tables([table, table]).slice(150, 300)
    ids, found = plan_from_table(joined, scheme)
    turned = np.roll(np.arange(300), -150)
    assert ids.tolist() == units.unit_id[turned].tolist()
    assert_same(found, take_plan(plan, turned))


def test_rows_of_folds() -> None:
    units = make_units(n=4)
    buffer = np.array([[0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)
    plan = FoldPlan("block", np.array([7, 7, 8, 9]), np.array([0, 1, -1, 2], np.int8), units.shard, buffer)
    table = folds_table(units, plan, "cover", is_simulated=False)
    assert table["in_buffer_of"].to_pylist() == [[], [0, 2], [1], []]
    assert table["fold"].to_pylist() == [0, 1, -1, 2]
    assert table["block_id"].to_pylist() == [7, 7, 8, 9]
    assert table["unit"].to_pylist() == ["patch"] * 4
    assert table["scheme"].to_pylist() == ["block"] * 4
    assert table["region"].to_pylist() == table["shard"].to_pylist() == units.shard.tolist()
    assert table["is_simulated"].to_pylist() == [False] * 4


@pytest.mark.parametrize("scheme", ["block", "longitude"])
def test_blocks_are_dealt_once_for_both_grains(scheme: str) -> None:
    patches, pixels = make_units("patch"), make_units("pixel", 500, seed=1, half_side_m=0.0)
    pixels = replace(pixels, lon=101.93 + (pixels.lon - 101.93) ** 2 / 0.14)  # more in the west than patches
    plans = plan_schemes([patches, pixels], [scheme], RULES).plans
    by_block = [fold_of_blocks(plans[kind, scheme]) for kind in ("patch", "pixel")]
    shared = set(by_block[0]) & set(by_block[1])
    assert len(shared) > 20
    assert all(by_block[0][block] == by_block[1][block] for block in shared)
    # a deal of pixels alone is another one, so sharing is no accident
    alone = fold_of_blocks(plan_schemes([pixels], [scheme], RULES).plans["pixel", scheme])
    assert any(alone[block] != by_block[1][block] for block in alone)


def test_patches_that_straddle_a_border_are_dropped_and_pixels_are_not() -> None:
    patches, pixels = make_units("patch", 600), make_units("pixel", 600, half_side_m=0.0)
    plans = plan_schemes([patches, pixels], ["block"], RULES).plans
    share = (plans["patch", "block"].fold == -1).mean()
    assert share == pytest.approx(1 - (1 - 320 / 2000) ** 2, abs=0.06)
    assert (plans["pixel", "block"].fold >= 0).all()


def test_schemes_are_planned_for_every_kind() -> None:
    units = [make_units("patch"), make_units("pixel", 200, half_side_m=0.0)]
    plans = plan_schemes(units, ["block", "random", "region"], RULES).plans
    assert set(plans) == {(kind, scheme) for kind in ("patch", "pixel") for scheme in ("block", "random", "region")}
    assert all(plan.scheme == scheme for (_, scheme), plan in plans.items())
    assert plans["patch", "random"].in_buffer.sum() == 0
    assert plans["patch", "block"].in_buffer.sum() > 0
    assert plans["patch", "region"].n_folds == 2
    assert {len(plan) for (kind, _), plan in plans.items() if kind == "pixel"} == {200}


def test_given_folds_are_kept_and_groups_are_blocks() -> None:
    group = np.repeat(np.arange(100, dtype=np.int32), 3)
    units = make_units(given_fold=(group % 4).astype(np.int16), given_group=group)
    plan = plan_schemes([units], ["given"], RULES).plans["patch", "given"]
    assert plan.fold.tolist() == (group % 4).tolist()
    assert plan.block_id.tolist() == group.tolist()


def test_the_training_part_of_a_published_split_survives_storing() -> None:
    fold = np.where(np.arange(300) < 200, -2, 0).astype(np.int16)
    units = make_units(given_fold=fold, given_group=np.full(300, -1, np.int32))
    plan = plan_schemes([units], ["given"], RULES).plans["patch", "given"]
    _, stored = plan_from_table(folds_table(units, plan, "cover", is_simulated=False), "given")
    assert stored.n_folds == plan.n_folds == 1
    assert stored.fold.tolist() == fold.tolist()
    assert np.flatnonzero(stored.trains(0)).tolist() == list(range(200))
    assert np.flatnonzero(stored.tests(0)).tolist() == list(range(200, 300))


def test_given_folds_without_groups_are_kept() -> None:
    units = make_units(given_group=np.full(300, -1, np.int32))
    plan = plan_schemes([units], ["given"], RULES).plans["patch", "given"]
    assert plan.fold.tolist() == units.given_fold.tolist()
    assert len(np.unique(plan.block_id)) > 1


def test_the_seed_decides_the_deal() -> None:
    units = make_units()
    same = [plan_schemes([units], ["block", "random"], RULES).plans for _ in range(2)]
    other = plan_schemes([units], ["random"], FoldRules(2000.0, 300.0, 3, 6)).plans
    for key in same[0]:
        assert_same(same[1][key], same[0][key])
    assert (other["patch", "random"].fold != same[0]["patch", "random"].fold).any()


def test_kinds_without_units_have_no_plan() -> None:
    empty = make_units("pixel", 0)
    assert set(plan_schemes([make_units(), empty], ["block", "random"], RULES).plans) == {
        ("patch", "block"),
        ("patch", "random"),
    }


def test_a_scheme_that_cannot_be_planned_leaves_its_reason_and_the_others_alone() -> None:
    patches, pixels = make_units("patch"), make_units("pixel", half_side_m=0.0, given_fold=np.zeros(300, np.int16))
    schemes = ["block", "longitude", "random", "region", "given"]
    found = plan_schemes([patches, pixels], schemes, FoldRules(100_000.0, 0.0, 5, 0))
    kinds = ("patch", "pixel")
    planned = {(kind, scheme) for kind in kinds for scheme in ("random", "region")} | {("patch", "given")}
    assert set(found.plans) == planned
    assert set(found.problems) == {(kind, scheme) for kind in kinds for scheme in schemes} - planned
    assert "expected at least 5" in found.problems["patch", "block"]
    assert "columns of blocks" in found.problems["pixel", "longitude"]
    assert "given folds: found 1" in found.problems["pixel", "given"]


def test_without_units_there_is_neither_plan_nor_problem() -> None:
    found = plan_schemes([make_units(n=0)], ["block"], RULES)
    assert (found.plans, found.problems) == ({}, {})


def test_plans_are_taken_by_position() -> None:
    units = make_units()
    plan = plan_schemes([units], ["block"], RULES).plans["patch", "block"]
    chosen = np.array([5, 2, 200])
    taken = take_plan(plan, chosen)
    assert taken.fold.tolist() == plan.fold[chosen].tolist()
    assert taken.block_id.tolist() == plan.block_id[chosen].tolist()
    np.testing.assert_array_equal(taken.in_buffer, plan.in_buffer[chosen])
    no_region = FoldPlan("block", plan.block_id, plan.fold, None, plan.in_buffer)
    assert take_plan(no_region, chosen).region is None


def test_units_without_a_fold_are_refused() -> None:
    plan = plan_schemes([make_units()], ["block"], RULES).plans["patch", "block"]
    with pytest.raises(TooFewUnitsError):
        take_plan(plan, np.array([3, -1]))


def test_dropped_units_do_not_name_a_fold_for_their_block() -> None:
    plan = FoldPlan("block", np.array([1, 1, 2]), np.array([-1, 2, -1], np.int8), None, np.zeros((3, 3), bool))
    assert fold_of_blocks(plan) == {1: 2}
