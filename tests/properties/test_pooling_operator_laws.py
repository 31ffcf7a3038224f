"""Laws of the pooling operators, over random pixels, shares and places, and of pooled windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.pooling.operators import POOLING_OPERATORS, features, find_operator
from transforms.pooling.pixels import Codebook, PatchPixels, PoolingParameters
from transforms.pooling.points import pool_points

BASE = [name for name, operator in POOLING_OPERATORS.items() if operator.define is not None]
#: Linear in the values, and for split shares in the weights.
MEAN_LIKE = ("mean", "centre_weighted", "pyramid_2x2", "pyramid_4x4")
#: Give c back for pixels that all are c; GeM up to rounding of the power.
KEEP_CONSTANT = {"mean": 1, "min": 1, "max": 1, "gem": 1, "centre_weighted": 1, "pyramid_2x2": 5, "pyramid_4x4": 21}
SPREADS = ("std", "covariance")

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 60)
dims = st.integers(1, 6)


def make_pixels(seed, n, d, values=None):
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(n, d)) if values is None else np.broadcast_to(values, (n, d))
    share = np.where(rng.random(n) < 0.5, 1.0, rng.integers(1, 65_537, n) / 65_536)
    return PatchPixels(np.array(drawn), share, rng.random(n) < 0.8, rng.uniform(-0.05, 1.05, (n, 2)))


def take(pixels, rows):
    return PatchPixels(pixels.values[rows], pixels.share[rows], pixels.is_inside[rows], pixels.at[rows])


def with_values(pixels, values):
    return PatchPixels(values, pixels.share, pixels.is_inside, pixels.at)


def make_parameters(d):
    rng = np.random.default_rng(d)
    books = {name: Codebook(rng.normal(size=(3, d)).astype(np.float32), name) for name in ("vlad", "bow")}
    return PoolingParameters(codebooks=books)


def define(name, pixels):
    return find_operator(name).define(pixels, make_parameters(pixels.values.shape[1]))


@pytest.mark.parametrize("name", BASE)
@settings(deadline=None, max_examples=25)
@given(seeds, sizes, dims)
def test_the_order_of_pixels_does_not_matter(name, seed, n, d):
    pixels = make_pixels(seed, n, d)
    order = np.random.default_rng(seed).permutation(n)
    # the root of VLAD makes 1e-8 of a rounding of 1e-16
    np.testing.assert_allclose(define(name, take(pixels, order)), define(name, pixels), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", MEAN_LIKE)
@settings(deadline=None, max_examples=25)
@given(seeds, sizes, dims, st.floats(-5, 5), st.floats(-5, 5))
def test_means_are_linear_in_the_values(name, seed, n, d, a, b):
    x = make_pixels(seed, n, d)
    y = with_values(x, np.random.default_rng(seed + 1).normal(size=(n, d)))
    joined = with_values(x, a * x.values + b * y.values)
    np.testing.assert_allclose(define(name, joined), a * define(name, x) + b * define(name, y), atol=1e-9)


@pytest.mark.parametrize("name", MEAN_LIKE)
@settings(deadline=None, max_examples=25)
@given(seeds, st.integers(2, 60), dims)
def test_means_are_linear_in_the_weights(name, seed, n, d):
    """With fixed places, weight times result adds up over a split of each pixel's share."""
    pixels = make_pixels(seed, n, d)
    part = np.random.default_rng(seed).uniform(0.1, 0.9, n)
    first, second = (
        PatchPixels(pixels.values, pixels.share * s, pixels.is_inside, pixels.at) for s in (part, 1 - part)
    )
    mass = [_mass(name, p) for p in (first, second, pixels)]
    total = mass[0] * define(name, first) + mass[1] * define(name, second)
    np.testing.assert_allclose(total, mass[2] * define(name, pixels), atol=1e-9)


def _mass(name, pixels):
    """The weight that each element of a mean-like result stands on; 0 where the cell is empty."""
    d = pixels.values.shape[1]
    if name == "mean":
        return np.full(d, pixels.share.sum())
    if name == "centre_weighted":
        return np.full(d, (pixels.share * np.exp(-(((pixels.at - 0.5) * 6) ** 2).sum(axis=1) / 2)).sum())
    masses = [np.full(1, pixels.share.sum())]
    for side in (2,) if name == "pyramid_2x2" else (2, 4):
        col, row = (
            np.clip((place * side).astype(int), 0, side - 1) for place in (pixels.at[:, 0], 1 - pixels.at[:, 1])
        )
        masses.append(np.bincount(row * side + col, pixels.share, side**2))
    return np.repeat(np.concatenate(masses), d)


@settings(deadline=None, max_examples=50)
@given(seeds, sizes, dims, st.floats(-1, 1))
def test_a_constant_field_is_kept(seed, n, d, level):
    constant = level * np.linspace(0.5, 1, d)
    pixels = make_pixels(seed, n, d, constant)
    for name, times in KEEP_CONSTANT.items():
        expected = np.tile(constant, times)
        if name in ("min", "max") and not pixels.is_inside.any():
            expected = np.full(d, np.nan)
        np.testing.assert_allclose(define(name, pixels), expected, rtol=1e-9, atol=1e-12, err_msg=name)
    for name in SPREADS:
        np.testing.assert_allclose(define(name, pixels), 0, atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(define("median_iqr", pixels), np.concatenate([constant, 0 * constant]))
    np.testing.assert_array_equal(define("percentiles", pixels), np.tile(constant, 5))
    assert np.isclose(define("bow", pixels).max(), 1)


@pytest.mark.parametrize("name", ["mean", "std", "gem", "median_iqr", "percentiles", "covariance", "bow", "vlad"])
@settings(deadline=None, max_examples=15)
@given(seeds, sizes, dims)
def test_orderless_operators_do_not_look_at_places(name, seed, n, d):
    pixels = make_pixels(seed, n, d)
    moved = PatchPixels(pixels.values, pixels.share, pixels.is_inside, pixels.at[::-1])
    np.testing.assert_array_equal(define(name, moved), define(name, pixels))


@settings(deadline=None, max_examples=25)
@given(seeds, sizes, dims)
def test_results_lie_where_they_must(seed, n, d):
    pixels = make_pixels(seed, n, d)
    low, high = pixels.values.min(axis=0) - 1e-12, pixels.values.max(axis=0) + 1e-12
    for name, times in KEEP_CONSTANT.items():
        inside = define(name, pixels)
        ok = (np.tile(low, times) <= inside) & (inside <= np.tile(high, times))
        assert (ok | np.isnan(inside)).all(), name
    quantiles = define("percentiles", pixels).reshape(5, d)
    assert (np.diff(quantiles, axis=0) >= 0).all()
    assert (define("median_iqr", pixels)[d:] >= 0).all()
    area = define("bow", pixels)
    assert (area >= 0).all()
    assert np.isclose(area.sum(), 1)
    assert np.isclose(np.linalg.norm(define("vlad", pixels)), 1)
    matrix = np.zeros((d, d))
    matrix[np.triu_indices(d)] = define("covariance", pixels)
    assert np.linalg.eigvalsh(matrix, UPLO="U").min() > -1e-12


@settings(deadline=None, max_examples=25)
@given(seeds, st.integers(1, 40), dims)
def test_nodata_never_leaks(seed, n, d):
    """Points with NaN pool as if they were not there, whatever stands in their other dimensions."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, d)).astype(np.float32)
    index, at = rng.integers(0, 3, n), rng.uniform(0, 1, (n, 2))
    spoiled = rng.normal(scale=1e6, size=(9, d)).astype(np.float32)
    spoiled[np.arange(9), rng.integers(0, d, 9)] = np.nan
    order = rng.permutation(n + 9)
    given_all = np.concatenate([vectors, spoiled])[order], np.concatenate([index, rng.integers(0, 3, 9)])[order]
    places = np.concatenate([at, rng.uniform(0, 1, (9, 2))])[order]
    names = list(POOLING_OPERATORS)
    clean = pool_points(vectors, index, 3, at=at, columns=names, parameters=make_parameters(d))
    dirty = pool_points(*given_all, 3, at=places, columns=names, parameters=make_parameters(d))
    np.testing.assert_array_equal(dirty.n_pixels, clean.n_pixels)
    for name in names:
        left, right = features(dirty.columns, name), features(clean.columns, name)
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.isfinite(left[clean.n_pixels > 0]).all()
