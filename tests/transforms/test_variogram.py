from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from transforms.blocks import EQUAL_AREA_EPSG
from transforms.errors import ShapeError, TooFewUnitsError
from transforms.utm import unproject
from transforms.variogram import (
    PRACTICAL_SHARE,
    Variogram,
    VariogramRange,
    class_indicators,
    empirical_variogram,
    first_component,
    fit_range,
    separate_areas,
)

#: Centre in EPSG:6933 near 30 N, where the grid keeps distances.
ORIGIN_M = (9_650_000.0, 3_650_000.0)
SIDE_M = 60_000.0
#: Share of the range of a spherical model at which it reaches 95 %.
AT_95 = 0.811348


def to_degrees(xy_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return unproject(xy_m[:, 0] + ORIGIN_M[0], xy_m[:, 1] + ORIGIN_M[1], EQUAL_AREA_EPSG)


def scatter(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, SIDE_M, (n, 2))


def exponential_field(xy_m: np.ndarray, range_m: float, n_fields: int, rng: np.random.Generator) -> np.ndarray:
    """Independent fields with covariance exp(-3 h / range), by random Fourier features: its spectrum is Cauchy."""
    waves = rng.normal(size=(n_fields, 2, 400)) / np.sqrt(rng.chisquare(1, (n_fields, 1, 400)))
    phases = rng.uniform(0, 2 * np.pi, (n_fields, 1, 400))
    angles = xy_m @ waves * (-np.log(1 - PRACTICAL_SHARE) / range_m) + phases
    return np.sqrt(2 / 400) * np.cos(angles).sum(axis=2).T


def spherical_field(xy_m: np.ndarray, range_m: float, rng: np.random.Generator) -> np.ndarray:
    """Balls of random sign: two points share those that hold both, and the volume of a lens is the spherical model."""
    radius = range_m / AT_95 / 2
    n_balls = rng.poisson(30 * (SIDE_M / (2 * radius) + 1) ** 2)
    centre = rng.uniform(-radius, SIDE_M + radius, (n_balls, 2))
    height, sign = rng.uniform(-radius, radius, n_balls), rng.choice([-1.0, 1.0], n_balls)
    field = np.zeros(len(xy_m))
    inside = cKDTree(xy_m).query_ball_point(centre, np.sqrt(radius**2 - height**2))
    for units, value in zip(inside, sign, strict=True):
        field[units] += value
    return field[:, None]


def measure(xy_m: np.ndarray, values: np.ndarray) -> VariogramRange:
    return fit_range(empirical_variogram(*to_degrees(xy_m), values))


class TestKnownTruth:
    @pytest.mark.parametrize("range_m", [3000.0, 8000.0])
    @pytest.mark.parametrize("kind", ["exponential", "spherical"])
    def test_the_range_of_a_field_is_recovered(self, kind: str, range_m: float) -> None:
        found = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            xy = scatter(1500, rng)
            values = (
                exponential_field(xy, range_m, 1, rng) if kind == "exponential" else spherical_field(xy, range_m, rng)
            )
            found.append(measure(xy, values))
        assert all(one.is_found for one in found)
        assert np.median([one.range_m for one in found]) == pytest.approx(range_m, rel=0.2)
        assert sum(one.model == kind for one in found) >= 4

    def test_classes_cut_from_fields_have_a_range_of_the_same_size(self) -> None:
        rng = np.random.default_rng(2)
        xy = scatter(2000, rng)
        labels = exponential_field(xy, 6000.0, 4, rng).argmax(axis=1)
        found = measure(xy, class_indicators(labels))
        assert found.is_found
        assert 3000 < found.range_m < 8000  # classes forget faster than the fields that they are cut from

    @pytest.mark.parametrize("n_classes", [0, 5])
    def test_white_noise_has_no_range(self, n_classes: int) -> None:
        for seed in range(4):
            rng = np.random.default_rng(seed)
            xy = scatter(1500, rng)
            values = class_indicators(rng.integers(0, 5, 1500)) if n_classes else rng.normal(size=(1500, 1))
            found = measure(xy, values)
            assert found.is_found
            assert found.range_m < 1000  # neighbours are 770 m apart

    def test_no_range_is_made_up_for_a_trend(self) -> None:
        rng = np.random.default_rng(0)
        xy = scatter(1500, rng)
        found = measure(xy, xy[:, :1] / 10_000 + rng.normal(0, 0.3, (1500, 1)))
        assert not found.is_found
        assert found.range_m == pytest.approx(SIDE_M * np.sqrt(2) / 2, rel=0.05)  # a lower bound

    def test_a_constant_has_no_range(self) -> None:
        xy = scatter(300, np.random.default_rng(0))
        assert measure(xy, class_indicators(np.zeros(300, int))) == VariogramRange(0.0, True, "nugget", 1.0)

    def test_the_nugget_is_told_from_the_structure(self) -> None:
        rng = np.random.default_rng(3)
        xy = scatter(2500, rng)
        values = exponential_field(xy, 9000.0, 1, rng) + rng.normal(0, 1.0, (2500, 1))
        assert measure(xy, values).nugget_share == pytest.approx(0.5, abs=0.12)


class TestEmpirical:
    def test_equals_all_pairs_by_brute_force(self) -> None:
        rng = np.random.default_rng(1)
        xy = scatter(900, rng)  # more than one stretch of rows
        values = rng.normal(size=(900, 2)) + xy / 20_000
        found = empirical_variogram(*to_degrees(xy), values, n_bins=12)
        distance = pdist(xy)
        gamma = 0.5 * sum(pdist(column[:, None], "sqeuclidean") for column in values.T)
        for lag, semivariance, n_pairs, near, far in zip(
            found.lag_m, found.gamma, found.n_pairs, np.r_[0, found.lag_m], np.r_[found.lag_m[1:], np.inf], strict=False
        ):
            around = (distance > near) & (distance < far)
            assert 0 < n_pairs < around.sum()
            assert gamma[around].min() <= semivariance <= gamma[around].max()
            assert near < lag < far
        inside = distance <= found.max_lag_m
        assert found.n_pairs.sum() == pytest.approx(inside.sum(), rel=2e-3)  # the grid is not quite the ground
        assert (found.gamma * found.n_pairs).sum() == pytest.approx(gamma[inside].sum(), rel=5e-3)

    def test_semivariance_of_classes_is_the_share_of_pairs_that_differ(self) -> None:
        rng = np.random.default_rng(2)
        xy, labels = scatter(200, rng), rng.integers(3, 7, 200)
        found = empirical_variogram(*to_degrees(xy), class_indicators(labels))
        expected = np.mean((labels[:, None] != labels)[np.triu_indices(200, 1)])
        assert (found.gamma * found.n_pairs).sum() / found.n_pairs.sum() == pytest.approx(expected, abs=0.01)
        assert ((found.gamma >= 0) & (found.gamma <= 1)).all()

    def test_areas_that_lie_apart_make_no_pairs(self) -> None:
        rng = np.random.default_rng(4)
        lon = np.concatenate([rng.uniform(10.0, 10.2, 400), rng.uniform(30.0, 30.2, 400)])
        lat = rng.uniform(45.0, 45.2, 800)
        area = separate_areas(lon, lat)
        assert area[:400].tolist() == [area[0]] * 400
        assert area[400:].tolist() == [1 - area[0]] * 400
        found = empirical_variogram(lon, lat, np.repeat([[0.0], [9.0]], 400, axis=0) + rng.normal(size=(800, 1)))
        assert found.max_lag_m < 20_000
        assert found.gamma == pytest.approx(1.0, abs=0.3)  # the step of 9 between areas is in no pair

    def test_the_antimeridian_is_no_gap(self) -> None:
        lon = np.r_[np.linspace(179.5, 180.0, 20), np.linspace(-180.0, -179.5, 20)]
        assert set(separate_areas(lon, np.zeros(40)).tolist()) == {0}

    @pytest.mark.parametrize("n", [0, 1, 20])
    def test_too_few_pairs_are_told(self, n: int) -> None:
        with pytest.raises(TooFewUnitsError, match=r"evaluate\.block_edge_m"):
            empirical_variogram(np.linspace(0, 1, n), np.zeros(n), np.zeros((n, 1)))

    def test_units_at_one_place_are_told(self) -> None:
        with pytest.raises(TooFewUnitsError, match="apart from each other"):
            empirical_variogram(np.zeros(100), np.zeros(100), np.zeros((100, 1)))

    def test_nodata_is_refused(self) -> None:
        with pytest.raises(ShapeError, match="nodata"):
            empirical_variogram([0.0, 1.0], [0.0, 0.0], [[0.0], [np.nan]])


def test_first_component_is_that_of_an_svd() -> None:
    features = np.random.default_rng(0).normal(size=(200, 8)) * np.arange(1, 9)
    scores = first_component(features)[:, 0]
    left, values, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    expected = left[:, 0] * values[0]
    assert abs(np.corrcoef(scores, expected)[0, 1]) == pytest.approx(1.0, abs=1e-9)
    assert scores.std() == pytest.approx(1.0)
    assert not first_component(np.ones((5, 3))).any()


def test_the_range_of_an_exact_model_is_that_of_the_model() -> None:
    lag = np.linspace(200, 20_000, 25)
    gamma = 0.2 + 0.8 * (1 - np.exp(-3 * lag / 6000))
    found = fit_range(Variogram(lag, gamma, np.full(25, 1000), 30_000.0))
    assert (found.model, found.is_found) == ("exponential", True)
    assert found.range_m == pytest.approx(6000 * -np.log(0.05) / 3, rel=0.04)  # one step of the grid
    assert found.nugget_share == pytest.approx(0.2, abs=0.03)
