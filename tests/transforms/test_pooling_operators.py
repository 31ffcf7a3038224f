"""The registry of pooling operators, and each definition against an independent peer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import pairwise_distances_argmin

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.pooling.codebook import fit_codebook
from transforms.pooling.operators import (
    MOMENT_COLUMNS,
    POOLING_OPERATORS,
    UnknownOperatorError,
    column_dims,
    empty_columns,
    features,
    find_operator,
    stored_columns,
)
from transforms.pooling.pixels import Codebook, MissingCodebookError, PatchPixels, PoolingParameters
from transforms.pooling.points import pool_points

BASE = [name for name, operator in POOLING_OPERATORS.items() if operator.define is not None]
MISSING_CENTRES = ("min", "max")


def make_pixels(seed=0, n=50, dims=5, *, whole=False):
    rng = np.random.default_rng(seed)
    share = np.ones(n) if whole else rng.integers(1, 65_537, n) / 65_536
    is_inside = np.ones(n, np.bool_) if whole else rng.random(n) < 0.8
    return PatchPixels(rng.normal(size=(n, dims)), share, is_inside, rng.uniform(0, 1, (n, 2)))


def make_parameters(dims=5, **changes):
    rng = np.random.default_rng(1)
    books = {"vlad": rng.normal(size=(4, dims)), "bow": rng.normal(size=(3, dims))}
    books = {name: Codebook(centers.astype(np.float32), name) for name, centers in books.items()}
    return PoolingParameters(codebooks=books, **changes)


def define(name, pixels, parameters=None):
    return find_operator(name).define(pixels, parameters or make_parameters(pixels.values.shape[1]))


# Registry


@pytest.mark.parametrize("dims", [64, 5, 1])
@pytest.mark.parametrize("name", POOLING_OPERATORS)
def test_output_dims_are_what_comes_out(name, dims):
    parameters = make_parameters(dims, percentiles=(5, 50, 95))
    pixels = make_pixels(dims=dims, whole=True)
    pooled = pool_points(
        pixels.values.astype(np.float32),
        np.repeat([0, 1], 25),
        3,
        at=pixels.at,
        columns=[name],
        parameters=parameters,
    )
    operator = find_operator(name)
    matrix = features(pooled.columns, name)
    assert matrix.shape == (3, operator.output_dims(dims, parameters))
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix[:2]).all()
    assert np.isnan(matrix[2]).all()
    for column in operator.columns:
        width = column_dims(column, dims, parameters)
        assert pooled.columns[column].shape == ((3, width) if width else (3,))
        assert empty_columns([column], 7, dims, parameters)[column].shape == ((7, width) if width else (7,))


def test_every_entry_says_what_a_user_needs_to_choose():
    for name, operator in POOLING_OPERATORS.items():
        assert operator.name == name
        assert operator.when.endswith(".")
        assert operator.reference
        assert operator.is_fitted == (operator.cost == "codebook")
        assert operator.columns == (name,) or operator.define is None
        assert all(find_operator(column).define for column in operator.columns)
    sentences = [operator.when for operator in POOLING_OPERATORS.values()]
    assert len(set(sentences)) == len(sentences)


def test_the_registry_holds_the_arms_of_the_design():
    assert set(POOLING_OPERATORS) == {
        "mean", "mean_renormalised", "mean_length", "std", "min", "max", "gem", "median_iqr", "percentiles", "mean_std",
        "mean_max", "stats", "centre_weighted", "covariance", "pyramid_2x2", "pyramid_4x4", "vlad", "bow",
    }  # fmt: skip


def test_joined_operators_are_stored_as_their_columns_once():
    assert stored_columns(["mean_std", "stats", "mean"]) == ("mean", "std", "min", "max")
    assert stored_columns(["bow", "mean_length"]) == ("mean_length", "bow")
    assert stored_columns([]) == ()
    assert set(stored_columns(POOLING_OPERATORS)) == set(BASE)
    assert set(MOMENT_COLUMNS) < set(BASE)


def test_stats_are_joined_in_the_order_of_the_claim():
    columns = {name: np.full((2, 3), k, np.float32) for k, name in enumerate(("min", "max", "mean", "std"))}
    np.testing.assert_array_equal(features(columns, "stats")[0], np.repeat([0, 1, 2, 3], 3))


@pytest.mark.parametrize(("typo", "meant"), [("gmm", "gem"), ("covarience", "covariance"), ("piramid_2x2", "pyramid")])
def test_an_unknown_operator_names_the_nearest(typo, meant):
    with pytest.raises(UnknownOperatorError, match=f"found '{typo}'.*Did you mean.*{meant}"):
        find_operator(typo)
    with pytest.raises(UnknownOperatorError):
        stored_columns(["mean", typo])
    with pytest.raises(UnknownOperatorError):
        features({}, typo)


def test_features_without_a_column_say_which():
    with pytest.raises(ShapeError, match="'std'"):
        features({"mean": np.zeros((2, 3), np.float32)}, "mean_std")


# Parameters


@pytest.mark.parametrize("p", [0.0, -1.0, np.inf, np.nan])
def test_a_gem_exponent_must_be_above_0(p):
    with pytest.raises(ShapeError, match="gem_p"):
        PoolingParameters(gem_p=p)


@pytest.mark.parametrize("percentiles", [(), (-1.0,), (50.0, 101.0), (50.0, 25.0), (50.0, 50.0), (np.nan,)])
def test_percentiles_must_ascend_within_0_and_100(percentiles):
    with pytest.raises(ShapeError, match="percentiles"):
        PoolingParameters(percentiles=percentiles)


@pytest.mark.parametrize("name", ["vlad", "bow"])
def test_a_fitted_operator_wants_its_codebook(name):
    with pytest.raises(MissingCodebookError, match=name):
        define(name, make_pixels(), PoolingParameters())
    with pytest.raises(MissingCodebookError, match=name):
        column_dims(name, 5, PoolingParameters())
    with pytest.raises(ShapeError, match=r"\(k, 7\)"):
        define(name, make_pixels(dims=7), make_parameters(dims=5))


# Definitions against peers


def test_moments_equal_numpy():
    pixels = make_pixels()
    mean = np.average(pixels.values, axis=0, weights=pixels.share)
    np.testing.assert_allclose(define("mean", pixels), mean, rtol=1e-12)
    np.testing.assert_allclose(define("mean_length", pixels), [np.sqrt((mean**2).sum())], rtol=1e-12)
    np.testing.assert_allclose(define("mean_renormalised", pixels), mean / np.linalg.norm(mean), rtol=1e-12)
    spread = np.sqrt(np.diag(np.cov(pixels.values.T, aweights=pixels.share, ddof=0)))
    np.testing.assert_allclose(define("std", pixels), spread, rtol=1e-12)
    np.testing.assert_array_equal(define("min", pixels), pixels.values[pixels.is_inside].min(axis=0))
    np.testing.assert_array_equal(define("max", pixels), pixels.values[pixels.is_inside].max(axis=0))


def test_gem_equals_scipy_where_all_is_positive():
    pixels = make_pixels()
    positive = PatchPixels(np.abs(pixels.values), pixels.share, pixels.is_inside, pixels.at)
    for p in (0.5, 1.0, 3.0, 12.0):
        expected = stats.pmean(positive.values, p, axis=0, weights=pixels.share[:, None])
        np.testing.assert_allclose(define("gem", positive, make_parameters(gem_p=p)), expected, rtol=1e-10)


def test_gem_of_power_1_is_the_mean_and_keeps_signs():
    pixels = make_pixels()
    parameters = make_parameters(gem_p=1.0)
    np.testing.assert_allclose(define("gem", pixels, parameters), define("mean", pixels), rtol=1e-12)
    turned = PatchPixels(-pixels.values, pixels.share, pixels.is_inside, pixels.at)
    np.testing.assert_allclose(define("gem", turned), -define("gem", pixels), rtol=1e-12)


@pytest.mark.parametrize("whole", [True, False])
def test_quantiles_equal_numpy(whole):
    pixels = make_pixels(n=40, whole=whole)

    def quantile(q):
        return np.quantile(pixels.values, q, axis=0, weights=pixels.share, method="inverted_cdf")

    percentiles = (0.0, 10.0, 25.0, 33.3, 50.0, 90.0, 100.0)
    expected = quantile([q / 100 for q in percentiles]).ravel()
    np.testing.assert_array_equal(define("percentiles", pixels, make_parameters(percentiles=percentiles)), expected)
    low, middle, high = quantile([0.25, 0.5, 0.75])
    np.testing.assert_array_equal(define("median_iqr", pixels), np.concatenate([middle, high - low]))


@pytest.mark.parametrize(("n", "dims"), [(50, 5), (12, 30), (400, 3), (2, 4)])
def test_covariance_equals_sklearn_where_all_shares_are_1(n, dims):
    pixels = make_pixels(n=n, dims=dims, whole=True)
    expected, _ = ledoit_wolf(pixels.values)
    np.testing.assert_allclose(define("covariance", pixels), expected[np.triu_indices(dims)], rtol=1e-10, atol=1e-14)


def test_covariance_of_one_dimension_is_the_variance():
    pixels = make_pixels(dims=1)
    np.testing.assert_allclose(define("covariance", pixels), define("std", pixels) ** 2, rtol=1e-12)


def test_covariance_shrinks_the_weighted_covariance_towards_its_mean_variance():
    drawn = make_pixels(n=30)
    correlated = drawn.values @ np.random.default_rng(2).normal(size=(5, 5))
    pixels = PatchPixels(correlated, drawn.share, drawn.is_inside, drawn.at)
    raw = np.cov(pixels.values.T, aweights=pixels.share, ddof=0)
    shrunk = np.zeros((5, 5))
    shrunk[np.triu_indices(5)] = define("covariance", pixels)
    off = np.triu_indices(5, 1)
    kept = shrunk[off] / raw[off]
    np.testing.assert_allclose(kept, kept[0], rtol=1e-10)  # one shrinkage for all
    assert 0 < kept[0] < 1
    mu = np.trace(raw) / 5
    np.testing.assert_allclose(np.diag(shrunk), kept[0] * np.diag(raw) + (1 - kept[0]) * mu, rtol=1e-10)


def test_the_centring_prior_is_a_gaussian_of_the_place():
    pixels = make_pixels()
    prior = stats.norm(0.5, 1 / 6).pdf(pixels.at).prod(axis=1)
    expected = np.average(pixels.values, axis=0, weights=pixels.share * prior)
    np.testing.assert_allclose(define("centre_weighted", pixels), expected, rtol=1e-12)


def test_the_centring_prior_survives_a_footprint_with_nothing_near_its_centre():
    pixels = make_pixels(n=1)
    far = PatchPixels(pixels.values, pixels.share, pixels.is_inside, np.array([[30.0, 0.5]]))
    np.testing.assert_allclose(define("centre_weighted", far), pixels.values[0])


@pytest.mark.parametrize(("name", "sides"), [("pyramid_2x2", (1, 2)), ("pyramid_4x4", (1, 2, 4))])
def test_pyramids_equal_binned_statistics(name, sides):
    pixels = make_pixels(n=400)
    x, north_down = pixels.at[:, 0], 1 - pixels.at[:, 1]
    expected = []
    for side in sides:
        edges = [np.linspace(0, 1, side + 1)] * 2
        weight = stats.binned_statistic_2d(north_down, x, pixels.share, "sum", edges).statistic
        for dim in range(5):
            total = stats.binned_statistic_2d(north_down, x, pixels.share * pixels.values[:, dim], "sum", edges)
            expected.append((total.statistic / weight).ravel())
    blocks = [np.stack(expected[5 * k : 5 * k + 5], axis=1).ravel() for k in range(len(sides))]
    np.testing.assert_allclose(define(name, pixels), np.concatenate(blocks), rtol=1e-10)


def test_an_empty_cell_takes_the_mean_of_its_parent():
    # two pixels in the north-west quarter: one in its north-west cell, one in its south-east cell
    at = np.array([[0.1, 0.9], [0.4, 0.6]])
    pixels = PatchPixels(np.array([[1.0], [3.0]]), np.array([1.0, 0.5]), np.ones(2, np.bool_), at)
    whole = (1.0 + 0.5 * 3.0) / 1.5
    sixteen = np.full((4, 4), whole)
    sixteen[0, 0], sixteen[1, 1] = 1.0, 3.0
    expected = np.concatenate([[whole], np.full(4, whole), sixteen.ravel()])
    np.testing.assert_allclose(define("pyramid_4x4", pixels), expected)


def test_a_border_pixel_belongs_to_the_nearest_cell():
    at = np.array([[-0.01, 0.9], [0.9, 1.01], [0.2, -0.01], [1.01, 0.1]])
    pixels = PatchPixels(np.arange(4.0)[:, None], np.full(4, 0.2), np.zeros(4, np.bool_), at)
    np.testing.assert_allclose(define("pyramid_2x2", pixels)[1:], [0, 1, 2, 3])


def test_words_equal_sklearn():
    pixels, parameters = make_pixels(), make_parameters()
    centers = parameters.codebooks["bow"].centers.astype(np.float64)
    word = pairwise_distances_argmin(pixels.values, centers)
    area = [pixels.share[word == c].sum() for c in range(3)]
    np.testing.assert_allclose(define("bow", pixels, parameters), area / pixels.share.sum(), rtol=1e-12)
    centers = parameters.codebooks["vlad"].centers.astype(np.float64)
    word = pairwise_distances_argmin(pixels.values, centers)
    rows = [(pixels.share[word == c, None] * (pixels.values[word == c] - centers[c])).sum(axis=0) for c in range(4)]
    vector = np.concatenate(rows)
    vector = np.sign(vector) * np.sqrt(np.abs(vector))
    np.testing.assert_allclose(define("vlad", pixels, parameters), vector / np.linalg.norm(vector), rtol=1e-10)


def test_vlad_of_a_patch_of_centres_is_zero():
    parameters = make_parameters()
    centers = parameters.codebooks["vlad"].centers.astype(np.float64)
    pixels = PatchPixels(centers, np.ones(4), np.ones(4, np.bool_), np.full((4, 2), 0.5))
    assert (define("vlad", pixels, parameters) == 0).all()


# Edges that all share


@pytest.mark.parametrize("name", BASE)
def test_a_patch_without_a_pixel_has_no_result(name):
    pixels = make_pixels(n=0)
    result = define(name, pixels)
    assert result.shape == (find_operator(name).output_dims(5, make_parameters()),)
    assert np.isnan(result).all()


@pytest.mark.parametrize("name", BASE)
def test_a_patch_without_a_centre_inside_has_all_but_extremes(name):
    pixels = make_pixels(n=6)
    outside = PatchPixels(pixels.values, pixels.share, np.zeros(6, np.bool_), pixels.at)
    assert np.isnan(define(name, outside)).all() == (name in MISSING_CENTRES)


@pytest.mark.parametrize("dims", [1, 5])
@pytest.mark.parametrize("name", BASE)
def test_a_patch_of_one_pixel_pools_to_a_number(name, dims):
    pixels = make_pixels(n=1, dims=dims, whole=True)
    result = define(name, pixels)
    assert np.isfinite(result).all()
    x = pixels.values[0]
    same = {"mean": x, "min": x, "max": x, "gem": x, "centre_weighted": x, "std": 0 * x}
    same |= {"median_iqr": np.concatenate([x, 0 * x]), "percentiles": np.tile(x, 5), "pyramid_2x2": np.tile(x, 5)}
    same |= {"pyramid_4x4": np.tile(x, 21), "covariance": np.zeros(dims * (dims + 1) // 2)}
    if name in same:
        np.testing.assert_allclose(result, same[name], rtol=1e-12)


def test_a_mean_of_no_length_has_no_direction():
    pixels = PatchPixels(np.array([[1.0], [-1.0]]), np.ones(2), np.ones(2, np.bool_), np.full((2, 2), 0.5))
    assert np.isnan(define("mean_renormalised", pixels)).all()
    assert define("mean_length", pixels) == 0


# Listed pixels


def test_points_pool_through_the_definitions():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(90, 4)).astype(np.float32)
    vectors[rng.random(90) < 0.1] = np.nan
    index, at = rng.integers(-1, 5, 90), rng.uniform(0, 1, (90, 2))
    parameters = make_parameters(dims=4)
    pooled = pool_points(vectors, index, 6, at=at, columns=list(POOLING_OPERATORS), parameters=parameters)
    assert list(pooled.columns) == list(stored_columns(POOLING_OPERATORS))
    np.testing.assert_array_equal(pooled.index, np.arange(6))
    for patch in range(5):
        own = (index == patch) & ~np.isnan(vectors).any(axis=1)
        n = own.sum()
        assert pooled.n_pixels[patch] == n
        pixels = PatchPixels(vectors[own].astype(np.float64), np.ones(n), np.ones(n, np.bool_), at[own])
        for name, column in pooled.columns.items():
            expected = define(name, pixels, parameters)
            np.testing.assert_allclose(np.atleast_1d(column[patch]), expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert all(np.isnan(column[5]).all() for column in pooled.columns.values())


def test_points_without_places_cannot_be_pooled_by_place():
    vectors, index = np.zeros((3, 2), np.float32), np.zeros(3, np.int64)
    with pytest.raises(ShapeError, match="pyramid_2x2"):
        pool_points(vectors, index, 1, columns=["mean", "pyramid_2x2"])
    with pytest.raises(ShapeError, match="places of points"):
        pool_points(vectors, index, 1, columns=["pyramid_2x2"], at=np.zeros((2, 2)))
    assert set(pool_points(vectors, index, 1, columns=["gem"]).columns) == {"gem"}


# Codebooks


def test_a_codebook_finds_the_groups_it_was_made_from():
    rng = np.random.default_rng(4)
    centers = np.eye(4, 6)
    vectors = (centers.repeat(50, axis=0) + rng.normal(0, 0.01, (200, 6))).astype(np.float32)
    book = fit_codebook(vectors, 4, seed=0)
    assert book.centers.dtype == np.float32
    np.testing.assert_allclose(book.centers[np.argsort(book.centers.argmax(axis=1))], centers, atol=0.01)


def test_a_codebook_is_the_same_for_the_same_seed_and_pixels():
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(300, 6)).astype(np.float32)
    with_nodata = np.concatenate([vectors, np.full((9, 6), np.nan, np.float32)])
    first, again, other = (fit_codebook(v, 5, seed) for v, seed in ((vectors, 1), (with_nodata, 1), (vectors, 2)))
    assert first.version == again.version != other.version
    np.testing.assert_array_equal(first.centers, again.centers)


def test_a_large_sample_is_capped(monkeypatch):
    monkeypatch.setattr("transforms.pooling.codebook.MAX_SAMPLE", 100)
    rng = np.random.default_rng(6)
    vectors = rng.normal(size=(1000, 2)).astype(np.float32)
    first, again = (fit_codebook(vectors, 3, seed=0) for _ in range(2))
    assert first.version == again.version


def test_too_few_pixels_make_no_codebook():
    with pytest.raises(TooFewUnitsError, match=r"2 different pixels.*at least k = 3"):
        fit_codebook(np.repeat(np.eye(2, dtype=np.float32), 10, axis=0), 3, seed=0)
    with pytest.raises(ShapeError, match="at least 1"):
        fit_codebook(np.eye(2, dtype=np.float32), 0, seed=0)
    with pytest.raises(ShapeError, match=r"\(n, d\)"):
        fit_codebook(np.zeros(3, np.float32), 1, seed=0)
