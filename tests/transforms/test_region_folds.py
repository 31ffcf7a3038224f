from __future__ import annotations

import numpy as np
import pyproj
import pytest

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.fold_plan import FoldPlan, fold_split
from transforms.region_folds import plan_region_folds, plan_transfer_folds

EDGE_M = 5000.0
BUFFER_M = 1500.0
GEOD = pyproj.Geod(ellps="WGS84")


@pytest.fixture
def units() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three regions that touch, from west to east."""
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(102.0, 102.3, 600), rng.uniform(12.5, 12.6, 600)
    return lon, lat, np.array(["a", "b", "c"])[np.digitize(lon, [102.1, 102.2])]


def least_distance(lon: np.ndarray, lat: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    pairs = np.broadcast_arrays(lon[one][:, None], lat[one][:, None], lon[other], lat[other])
    return float(GEOD.inv(*(values.ravel() for values in pairs))[2].min())


def test_leave_one_region_out(units: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    lon, lat, region = units
    plan = plan_region_folds(lon, lat, region, edge_m=EDGE_M, buffer_m=BUFFER_M)
    assert (plan.scheme, plan.n_folds, plan.trains_on_one) == ("region", 3, False)
    for fold, name in enumerate("abc"):
        train, test = fold_split(plan, fold)
        assert plan.region_of(fold) == name
        assert test.tolist() == np.flatnonzero(region == name).tolist()
        assert least_distance(lon, lat, test, train) >= BUFFER_M - 1e-3
        assert 0 < plan.in_buffer[:, fold].sum() < 200


def test_transfer_trains_on_one_region_and_tests_on_each_other(
    units: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    lon, lat, region = units
    plan = plan_transfer_folds(lon, lat, region, edge_m=EDGE_M, buffer_m=BUFFER_M)
    assert (plan.scheme, plan.n_folds, plan.trains_on_one) == ("transfer", 3, True)
    times = np.zeros(len(lon), int)
    for fold, name in enumerate("abc"):
        train, test = fold_split(plan, fold)
        assert plan.region_of(fold) == name
        assert train.tolist() == np.flatnonzero(region == name).tolist()
        assert set(region[test]) == set("abc") - {name}
        assert least_distance(lon, lat, test, train) >= BUFFER_M - 1e-3
        times[test] += 1
    # R - 1 times, less what lies within the buffer of the region that was trained on
    assert (times == 2 - plan.in_buffer.sum(axis=1)).all()
    assert set(times.tolist()) == {1, 2}


def test_regions_far_apart_are_tested_by_all_others() -> None:
    lon, lat = np.repeat([0.0, 10.0, 20.0], 4), np.tile([1.0, 1.01, 1.02, 1.03], 3)
    plan = plan_transfer_folds(lon, lat, np.repeat(["x", "y", "z"], 4), edge_m=EDGE_M, buffer_m=BUFFER_M)
    assert sum(plan.tests(fold) for fold in range(3)).tolist() == [2] * 12
    assert sum(plan.trains(fold) for fold in range(3)).tolist() == [1] * 12


@pytest.mark.parametrize("make", [plan_region_folds, plan_transfer_folds])
def test_regions_that_cannot_be_planned_are_refused(make) -> None:
    with pytest.raises(TooFewUnitsError, match="regions"):
        make([0.0, 1.0], [0.0, 0.0], ["a", "a"], edge_m=EDGE_M, buffer_m=0.0)
    with pytest.raises(ShapeError, match="empty names"):
        make([0.0, 1.0], [0.0, 0.0], ["a", ""], edge_m=EDGE_M, buffer_m=0.0)


def test_a_region_that_lies_within_the_buffer_of_all_others_cannot_be_used() -> None:
    plan = plan_transfer_folds([0.0, 0.001], [0.0, 0.0], ["a", "b"], edge_m=EDGE_M, buffer_m=BUFFER_M)
    with pytest.raises(TooFewUnitsError, match="transfer fold 0: found 1 to train on, 0 to test on"):
        fold_split(plan, 0)


def test_only_folds_of_regions_have_a_region() -> None:
    region = np.array(["a", "b"])
    plan = FoldPlan("block", np.arange(2), np.array([0, 1], np.int8), region, np.zeros((2, 2), bool))
    assert plan.region_of(0) is None
    left = FoldPlan("region", np.arange(1), np.array([1], np.int8), region[1:], np.zeros((1, 2), bool))
    assert (left.region_of(0), left.region_of(1)) == (None, "b")
