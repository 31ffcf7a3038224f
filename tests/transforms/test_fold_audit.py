from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from tests.transforms.test_evidence_units import make_units
from transforms.evidence_units import FoldRules, Units, plan_schemes
from transforms.fold_audit import AuditRow, audit_plan, audit_sizes, least_distance_m
from transforms.fold_plan import FoldPlan
from transforms.utm import project
from transforms.variogram import VariogramRange

RULES = FoldRules(edge_m=2000.0, buffer_m=300.0, n_folds=3, seed=5)
NAMES = ("water", "trees", "crops")
EPSG = 32648  # the units stand 300 km from its middle, so squares are a little askew


def plan_of(units: Units, scheme: str, rules: FoldRules = RULES) -> FoldPlan:
    return plan_schemes([units], [scheme], rules).plans[units.kind, scheme]


def make_vectors(n: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)


def audit(units: Units, plan: FoldPlan, features: np.ndarray | None, buffer_m: float = 300.0) -> list[AuditRow]:
    return audit_plan(units, plan, features, NAMES, buffer_m=buffer_m, seed=0)


def find(rows: list[AuditRow], name: str) -> list[AuditRow]:
    found = [row for row in rows if row.check_name == name]
    assert found, name
    return found


class TestDistance:
    @pytest.mark.parametrize("half_side_m", [0.0, 160.0])
    def test_equals_the_distance_of_drawn_squares(self, half_side_m: float) -> None:
        units = make_units(half_side_m=half_side_m)
        rng = np.random.default_rng(1)
        for _ in range(20):
            one, other = np.split(rng.permutation(300)[: rng.integers(5, 60)], [4])
            x, y = project(units.lon, units.lat, EPSG - 1)
            squares = shapely.box(x - half_side_m, y - half_side_m, x + half_side_m, y + half_side_m)
            expected = min(shapely.distance(squares[one], squares[i]).min() for i in other)
            found = least_distance_m(units, one, other)
            assert found == pytest.approx(expected, rel=1.5e-3, abs=25.0 if half_side_m else 1e-3)  # UTM is askew

    def test_corners_may_be_nearer_than_centres_say(self) -> None:
        # the tested unit: one neighbour due north whose square is 330 m off, one to the north-east, farther by its
        # centre and nearer by its corner
        lat = np.array([0.0, 650.0, 480.0]) / 110_574
        lon = np.array([0.0, 0.0, 480.0]) / 111_320
        units = make_units(n=3, lon=lon, lat=lat)
        found = least_distance_m(units, np.array([0]), np.array([1, 2]))
        assert found == pytest.approx(np.hypot(160, 160), abs=1.0)

    @pytest.mark.parametrize("scheme", ["block", "longitude", "region", "transfer"])
    def test_buffered_schemes_pass_at_their_buffer_and_fail_above(self, scheme: str) -> None:
        units = make_units()
        plan = plan_of(units, scheme)
        assert {row.status for row in find(audit(units, plan, None), "least_distance_m")} == {"ok"}
        assert "failed" in {row.status for row in find(audit(units, plan, None, 2500.0), "least_distance_m")}

    def test_random_folds_are_not_judged(self) -> None:
        units = make_units()
        rows = find(audit(units, plan_of(units, "random"), None), "least_distance_m")
        assert {(row.status, row.threshold) for row in rows} == {("info", None)}


class TestDuplicates:
    def test_counts_equal_vectors_across_the_fold(self) -> None:
        units, features = make_units(), make_vectors()
        plan = plan_of(units, "block")
        clean = find(audit(units, plan, features), "equal_vectors")
        assert {(row.value, row.status) for row in clean} == {(0.0, "ok")}
        test, train = np.flatnonzero(plan.tests(0))[:4], np.flatnonzero(plan.trains(0))[:1]
        features[test] = features[train]
        row = find(audit(units, plan, features), "equal_vectors")[0]
        assert (row.fold, row.value, row.status) == (0, 4.0, "warn")
        share = find(audit(units, plan, features), "near_duplicate_share")[0]
        assert share.value == pytest.approx(4 / plan.tests(0).sum())

    def test_near_duplicates_are_found_by_cosine_and_nodata_is_none(self) -> None:
        units, features = make_units(), make_vectors()
        plan = plan_of(units, "block")
        test, train = np.flatnonzero(plan.tests(1))[:3], np.flatnonzero(plan.trains(1))[:1]
        features[test] = 3 * features[train] + 1e-3
        features[np.flatnonzero(plan.tests(1))[3:5]] = np.nan
        features[np.flatnonzero(plan.trains(1))[3:5]] = np.nan
        rows = audit(units, plan, features)
        assert find(rows, "near_duplicate_share")[1].value == pytest.approx(3 / (plan.tests(1).sum() - 2))
        assert find(rows, "equal_vectors")[1].value == 0

    def test_a_unit_that_is_tested_and_trained_on_fails(self) -> None:
        units = make_units()
        plan = plan_of(units, "block")
        ids = units.unit_id.copy()
        ids[np.flatnonzero(plan.tests(2))[0]] = ids[np.flatnonzero(plan.trains(2))[0]]
        rows = find(audit(replace(units, unit_id=ids), plan, None), "shared_unit_ids")
        assert [(row.value, row.status) for row in rows] == [(0.0, "ok"), (0.0, "ok"), (1.0, "failed")]


class TestGround:
    def test_coordinates_win_only_where_labels_follow_the_place(self) -> None:
        units = make_units()
        by_place = replace(units, label=np.digitize(units.lat, [12.6, 12.65]).astype(np.int16))
        for one, wins in ((by_place, True), (units, False)):
            rows = find(audit(one, plan_of(one, "random"), None), "coordinates_macro_f1")
            assert all(row.value is not None and row.threshold is not None for row in rows)
            gain = np.mean([row.value - row.threshold for row in rows])
            assert gain > 0.5 if wins else gain < 0.25

    def test_the_adversary_tells_ground_apart_only_where_vectors_do(self) -> None:
        units, features = make_units(n=900), make_vectors(900)
        plan = plan_of(units, "longitude")
        blind = [row.value for row in find(audit(units, plan, features), "adversarial_auc")]
        assert np.abs(np.array(blind) - 0.5).max() < 0.15
        features[:, 0] += 40 * (units.lon - units.lon.mean()).astype(np.float32) * 10
        seeing = [row.value for row in find(audit(units, plan, features), "adversarial_auc")]
        assert seeing[0] > 0.9
        assert seeing[2] > 0.9

    def test_the_adversary_needs_two_blocks_a_side(self) -> None:
        units = make_units(n=40)
        plan = FoldPlan(
            "block", np.arange(40) // 20, (np.arange(40) // 20).astype(np.int8), None, np.zeros((40, 2), bool)
        )
        rows = find(audit(units, plan, make_vectors(40), 0.0), "adversarial_auc")
        assert {(row.value, row.status) for row in rows} == {(None, "info")}
        assert "fewer than two blocks" in rows[0].detail


class TestClassesAndBlocks:
    def test_a_class_that_a_fold_lacks_is_named(self) -> None:
        units = make_units()
        plan = plan_of(units, "block")
        units = replace(units, label=np.where(plan.tests(0), 2, units.label % 2).astype(np.int16))
        rows = audit(units, plan, None)
        training, test = (find(rows, f"classes_absent_in_{side}")[0] for side in ("training", "test"))
        assert (training.value, training.status) == (1.0, "warn")
        assert training.detail.endswith("crops")
        assert test.value == 2.0
        assert "water" in test.detail
        assert find(rows, "class_share_gap")[0].value == pytest.approx(1.0)

    def test_few_blocks_warn(self) -> None:
        units = make_units()
        for edge_m, status in ((2000.0, "ok"), (5000.0, "warn")):
            row = find(audit(units, plan_of(units, "block", replace(RULES, edge_m=edge_m)), None), "n_blocks")[0]
            assert (row.fold, row.threshold, row.status) == (None, 20.0, status)

    def test_shares_of_buffered_and_dropped_units(self) -> None:
        units = make_units()
        plan = plan_of(units, "block")
        rows = audit(units, plan, None)
        assert find(rows, "dropped_share")[0].value == pytest.approx((plan.fold == -1).mean())
        assert [row.value for row in find(rows, "buffered_share")] == pytest.approx(
            plan.in_buffer.mean(axis=0).tolist()
        )

    def test_a_fold_with_nothing_left_to_train_on_fails(self) -> None:
        units = make_units()
        rows = audit(units, plan_of(units, "block", replace(RULES, buffer_m=50_000.0)), make_vectors(), 50_000.0)
        assert [(row.fold, row.status) for row in find(rows, "units")] == [(0, "failed"), (1, "failed"), (2, "failed")]
        assert "0 units to train on" in find(rows, "units")[0].detail


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_units_of_several_classes_are_in_no_check_of_classes(share: float) -> None:
    units = make_units()
    is_several = np.arange(len(units)) < share * len(units)
    mixed = replace(units, label=np.where(is_several, -1, units.label).astype(np.int16))
    plan = plan_of(mixed, "random")
    rows = audit(mixed, plan, None)
    if share == 1.0:
        for name in ("class_share_gap", "coordinates_macro_f1"):
            assert {(row.value, row.status) for row in find(rows, name)} == {(None, "info")}
        return
    tested = plan.tests(0) & ~is_several
    shares = np.bincount(units.label[tested], minlength=len(NAMES)) / tested.sum()
    row = next(row for row in find(rows, "class_share_gap") if row.fold == 0)
    assert f"{NAMES[0]} {shares[0]:.3f} tested" in row.detail


def test_sizes_are_held_against_the_larger_range() -> None:
    ranges = {
        "label": VariogramRange(900.0, True, "spherical", 0.0),
        "feature": VariogramRange(2000.0, True, "spherical", 0.0),
    }
    edge, buffer = audit_sizes(5000.0, 1280.0, ranges, has_buffer=True)
    assert (edge.check_name, edge.threshold, edge.status) == ("edge_m", 4000.0, "ok")
    assert (buffer.check_name, buffer.threshold, buffer.status) == ("buffer_m", 2000.0, "warn")
    assert "feature" in edge.detail
    ranges["label"] = VariogramRange(2100.0, False, "spherical", 0.0)
    (edge,) = audit_sizes(5000.0, 0.0, ranges, has_buffer=False)
    assert edge.status == "warn"
    assert "no range of label" in edge.detail
    assert audit_sizes(5000.0, 0.0, {}, has_buffer=True)[0].status == "info"
