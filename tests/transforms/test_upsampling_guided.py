"""Guided operators against their definitions, and the rules for guides and patches that are missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from transforms import lattice
from transforms.errors import ShapeError
from transforms.upsampling.attention import SPATIAL_SIGMAS, AttentionUpsampler
from transforms.upsampling.bilinear import BilinearUpsampler, interpolate
from transforms.upsampling.hidden_patches import (
    hide_patches,
    hold_out,
    is_as_low,
    number_squares,
    reconstruction_errors,
    says_something,
)
from transforms.upsampling.joint_bilateral import JointBilateralUpsampler
from transforms.upsampling.neighbours import find_neighbours, guided_weights
from transforms.upsampling.operators import UPSAMPLERS
from transforms.upsampling.rows import eg_rows, grid_rows
from transforms.upsampling.standardisation import find_scaling
from transforms.upsampling.torch_training import MissingTorchError
from transforms.upsampling.training import TrainingData

GUIDED = ("joint_bilateral", "attention")
PITCH = 320.0
seeds = st.integers(0, 2**32 - 1)
latitudes = st.floats(-70, 70)
longitudes = st.floats(-179.9, 179.9)


def guide_training(patch_guide, seed=0, **known):
    none = np.empty(0)
    return TrainingData(none, none, none.astype(np.int16), 2, patch_guide=patch_guide, seed=seed, **known)


def eg_case(seed, lat=12.6, lon=103.0, *, half_deg=0.01, hole_share=0.0, n_guide=3):
    """Patches of both lattices with holes; guides of patches and points at random, vectors that follow the guides."""
    rng = np.random.default_rng(seed)
    stretch = half_deg / np.cos(np.radians(lat))
    places = lattice.enumerate_places(lon - stretch, lat - half_deg, lon + stretch, lat + half_deg)
    kept = rng.random(len(places)) >= hole_share
    columns = [column[kept] for column in (places.is_secondary, places.row, places.lon, places.lat)]
    points = rng.uniform(lon - stretch, lon + stretch, 60), rng.uniform(lat - half_deg, lat + half_deg, 60)
    patch_guide = rng.normal(size=(kept.sum(), n_guide)).astype(np.float32)
    lifted = patch_guide @ rng.normal(size=(n_guide, 4))
    vectors = (lifted + 0.3 * rng.normal(size=lifted.shape)).astype(np.float32)
    return eg_rows(*columns), columns, vectors, patch_guide, points, rng.normal(size=(60, n_guide)).astype(np.float32)


def offsets_by_loops(columns, u, v):
    """Offsets of all patches from one point in pitches of their row, (n, 2)."""
    _, row, lon, lat = columns
    return np.stack([(lon - u) / (360.0 / lattice.count_columns(row)), (lat - v) / lattice.ROW_HEIGHT_DEG], axis=1)


def weigh_by_loops(columns, u, v, query, keys, spatial_sigma):
    """Kopf et al. 2007, eq. 3, for one point: spatial times range Gaussian over all patches within 1.5 pitches."""
    offset = offsets_by_loops(columns, u, v)
    near = (np.abs(offset) <= 1.5).all(axis=1) & np.isfinite(keys).all(axis=1)
    spatial = np.exp(-(offset**2).sum(axis=1) / (2 * spatial_sigma**2))
    weight = np.where(near, spatial * np.exp(-((query - keys) ** 2).sum(axis=1) / 2), 0)
    return weight / weight.sum()


def fit_guided(name, rows, vectors, patch_guide, **options):
    if name == "attention":
        # the rules hold however short the training
        options = {"max_steps": 20} | options
    entry = UPSAMPLERS[name].build().set_params(**options)
    return entry.fit(rows, vectors, guide_training(patch_guide))


@settings(deadline=None, max_examples=40)
@given(seeds, latitudes, longitudes)
def test_neighbours_equal_brute_force(seed, lat, lon):
    rows, columns, *_, points, _ = eg_case(seed, lat, lon, hole_share=0.3)
    index, offset = find_neighbours(rows, *points)
    for m in range(0, 60, 6):
        expected = offsets_by_loops(columns, points[0][m], points[1][m])
        near = np.flatnonzero((np.abs(expected) <= 1.5).all(axis=1))
        found = index[m][index[m] >= 0]
        assert sorted(found) == list(near)
        assert (index[m][len(found) :] == -1).all()
        np.testing.assert_allclose(offset[m, : len(found)], expected[found], atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes)
def test_joint_bilateral_equals_its_definition(seed, lat, lon):
    rows, columns, vectors, patch_guide, points, guide = eg_case(seed, lat, lon, hole_share=0.2)
    patch_guide[::7] = np.nan
    assume(np.isfinite(patch_guide).any())
    fitted = fit_guided("joint_bilateral", rows, vectors, patch_guide, range_sigma=0.8)
    found = fitted.transform(*points, guide)
    for m in np.flatnonzero(np.isfinite(found).all(axis=1))[::6]:
        if not np.isfinite(patch_guide[find_neighbours(rows, points[0][m], points[1][m])[0][0]]).all(axis=1).any():
            continue
        weight = weigh_by_loops(columns, points[0][m], points[1][m], guide[m] / 0.8, patch_guide / 0.8, 0.5)
        np.testing.assert_allclose(found[m], weight @ vectors, atol=1e-4)


def test_attention_equals_the_softmax_of_its_encoder():
    rows, columns, vectors, patch_guide, points, guide = eg_case(3)
    fitted = fit_guided("attention", rows, vectors, patch_guide)
    first, first_offset, second, second_offset = fitted.layers_

    def encode(values):
        standard = (values - fitted.guide_mean_) * fitted.guide_scale_
        code = np.maximum(standard @ first + first_offset, 0) @ second + second_offset
        return code / np.linalg.norm(code, axis=1, keepdims=True)

    found = fitted.transform(*points, guide)
    for m in range(60):
        offset = offsets_by_loops(columns, points[0][m], points[1][m])
        near = np.flatnonzero((np.abs(offset) <= 1.5).all(axis=1))
        if np.isnan(found[m]).any() or not len(near):
            continue
        exponent = fitted.temperature_ * encode(patch_guide[near]) @ encode(guide[m : m + 1])[0]
        exponent = exponent - (offset[near] ** 2).sum(axis=1) / (2 * fitted.spatial_sigma_**2)
        weight = np.exp(exponent - exponent.max())
        np.testing.assert_allclose(found[m], weight / weight.sum() @ vectors[near], atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(seeds, latitudes, longitudes, st.floats(1e-3, 1e3), st.floats(0.2, 3))
def test_weights_sum_to_one_exactly_where_bilinear_has_support(seed, lat, lon, guide_scale, spatial_sigma):
    rows, _, vectors, patch_guide, points, guide = eg_case(seed, lat, lon, hole_share=0.4)
    # far guides: unnormalised range weights would underflow to 0
    index, weight = guided_weights(
        rows, *points, guide * guide_scale, patch_guide * np.float32(guide_scale), spatial_sigma=spatial_sigma
    )
    has_support = np.isfinite(BilinearUpsampler().fit(rows, vectors).transform(*points)).all(axis=1)
    np.testing.assert_allclose(weight.sum(axis=1), has_support, atol=1e-5)
    assert (weight >= 0).all()
    assert (weight[index < 0] == 0).all()


@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, st.floats(1e-2, 1e2))
def test_joint_bilateral_stays_inside_the_range_of_its_patches(seed, lat, range_sigma):
    rows, _, vectors, patch_guide, points, guide = eg_case(seed, lat, hole_share=0.2)
    vectors[:, 0] = 1.5
    found = fit_guided("joint_bilateral", rows, vectors, patch_guide, range_sigma=range_sigma).transform(*points, guide)
    inside = np.isfinite(found).all(axis=1)
    np.testing.assert_allclose(found[inside, 0], 1.5, rtol=1e-5)
    assert (found[inside] <= vectors.max(axis=0) + 1e-5).all()
    assert (found[inside] >= vectors.min(axis=0) - 1e-5).all()


def test_attention_keeps_a_constant_field_and_serves_any_width():
    rows, _, vectors, patch_guide, points, guide = eg_case(5)
    fitted = fit_guided("attention", rows, vectors, patch_guide)
    index, weight = fitted.weigh(*points, guide)
    wide = np.full((len(vectors), 700), 3.0, np.float32)
    found = interpolate(wide, index, weight)
    inside = weight.any(axis=1)
    np.testing.assert_allclose(found[inside], 3.0, rtol=1e-5)
    np.testing.assert_array_equal(fitted.transform(*points, guide), interpolate(vectors, index, weight))
    assert SPATIAL_SIGMAS[0] <= fitted.spatial_sigma_ <= SPATIAL_SIGMAS[1]


@pytest.mark.parametrize("name", GUIDED)
def test_the_same_seed_gives_the_same_bits_in_any_chunks(name, monkeypatch):
    rows, _, vectors, patch_guide, points, guide = eg_case(6)
    first = fit_guided(name, rows, vectors, patch_guide).transform(*points, guide)
    monkeypatch.setattr("transforms.upsampling.neighbours.CHUNK_POINTS", 7)
    again = fit_guided(name, rows, vectors, patch_guide).transform(*points, guide)
    assert first.dtype == np.float32
    assert first.shape == (60, UPSAMPLERS[name].output_dims(4, 2))
    np.testing.assert_allclose(again, first, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", GUIDED)
def test_missing_guides_and_patches(name):
    rows, _, vectors, patch_guide, points, guide = eg_case(7)
    plain = BilinearUpsampler()
    dark = guide.copy()
    dark[::3, 1] = np.nan
    fitted = fit_guided(name, rows, vectors, patch_guide)
    served = np.isfinite(plain.fit(rows, vectors).transform(*points)).all(axis=1)
    found = fitted.transform(*points, dark)
    # NaN guide: NaN; the others do not see it
    expected = fitted.transform(*points, guide)
    expected[::3] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(found[::3]).all()
    assert np.isfinite(found[1::3][served[1::3]]).all()
    # patches without a vector are left out, never read
    holed = vectors.copy()
    holed[::5] = np.nan
    served = np.isfinite(plain.fit(rows, holed).transform(*points)).all(axis=1)
    found = fit_guided(name, rows, holed, patch_guide).transform(*points, guide)
    np.testing.assert_array_equal(np.isfinite(found).all(axis=1), served)


@pytest.mark.parametrize("name", GUIDED)
def test_where_no_patch_around_has_a_guide_it_is_bilinear(name):
    rows, columns, vectors, patch_guide, points, guide = eg_case(8, half_deg=0.02)
    is_west = columns[2] < 103.0
    patch_guide[~is_west] = np.nan
    found = fit_guided(name, rows, vectors, patch_guide).transform(*points, guide)
    plain = BilinearUpsampler().fit(rows, vectors).transform(*points)
    is_far = points[0] > 103.0 + 2 * 360.0 / lattice.count_columns(columns[1]).min()
    assert 5 < is_far.sum() < 55
    np.testing.assert_array_equal(found[is_far], plain[is_far])
    assert not np.allclose(found[points[0] < 102.995], plain[points[0] < 102.995], equal_nan=True)


@pytest.mark.parametrize("name", GUIDED)
def test_all_patches_without_a_guide_are_refused(name):
    rows, _, vectors, patch_guide, *_ = eg_case(8)
    with pytest.raises(ShapeError, match=f"{name}.*NaN in every row"):
        fit_guided(name, rows, vectors, np.full_like(patch_guide, np.nan))


def edge_world(seed=0, side=16, n=3000):
    """Ground of two kinds with a sharp border in each column of patches; the guide sees which kind a pixel is."""
    rng = np.random.default_rng(seed)
    row, col = np.divmod(np.arange(side * side), side)
    x, y = col * PITCH, row * PITCH
    border = rng.uniform(-0.5, side - 0.5, side) * PITCH

    def kind(u, v):
        return (u > border[np.clip(np.rint(v / PITCH), 0, side - 1).astype(int)]).astype(float)

    inside = ((np.arange(8) + 0.5) / 8 - 0.5) * PITCH
    share = np.mean([[kind(x + dx, y + dy) for dx in inside] for dy in inside], axis=(0, 1))
    axis = rng.normal(size=6)
    vectors = (np.multiply.outer(share, axis) + 0.05 * rng.normal(size=(len(x), 6))).astype(np.float32)
    # two of four guide dimensions are noise that varies more than what tells
    patch_guide = np.stack([share, 1 - share, *rng.normal(size=(2, len(x)))], axis=1).astype(np.float32)
    u, v = rng.uniform(PITCH, (side - 2) * PITCH, (2, n))
    seen = kind(u, v)
    guide = np.stack([seen, 1 - seen, *rng.normal(size=(2, n))], axis=1).astype(np.float32)
    return grid_rows(x, y), vectors, patch_guide, u, v, guide, np.multiply.outer(seen, axis)


def test_guided_operators_sharpen_edges_that_their_guide_shows():
    rows, vectors, patch_guide, u, v, guide, truth = edge_world()

    def error_of(found):
        return ((found - truth) ** 2).mean()

    plain = error_of(BilinearUpsampler().fit(rows, vectors).transform(u, v))
    clean = fit_guided("joint_bilateral", rows, vectors, patch_guide[:, :2]).transform(u, v, guide[:, :2])
    given = fit_guided("joint_bilateral", rows, vectors, patch_guide).transform(u, v, guide)
    learned = fit_guided("attention", rows, vectors, patch_guide, max_steps=400).transform(u, v, guide)
    assert error_of(clean) < 0.7 * plain
    # half of the guide is noise: as given it hardly helps, a learned one finds what tells
    assert error_of(learned) < 0.7 * plain
    assert error_of(learned) < error_of(given)


def test_a_guide_that_says_nothing_is_not_used():
    rows, vectors, patch_guide, u, v, guide, _ = edge_world(1)
    noise = np.random.default_rng(2).normal(size=patch_guide.shape).astype(np.float32)
    assert np.isfinite(fit_guided("joint_bilateral", rows, vectors, patch_guide).range_sigma_)
    assert fit_guided("attention", rows, vectors, patch_guide).temperature_ > 0
    plain = BilinearUpsampler().fit(rows, vectors).transform(u, v)
    plain[0] = np.nan
    guide[0, 3] = np.nan
    for name in GUIDED:
        fitted = fit_guided(name, rows, vectors, noise)
        np.testing.assert_array_equal(fitted.transform(u, v, guide), plain)


def test_a_smooth_guide_of_its_own_rarely_passes_for_one_that_says_something():
    rows, _, _, _, _, _ = eg_case(1, half_deg=0.025)
    place = np.zeros((rows.n_patches, 2))
    place[rows.patch] = np.stack([rows.u, rows.v], axis=1)
    said = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        turn, phase = rng.normal(size=(2, 2, 5, 8)) / 0.004, rng.uniform(0, 7, (2, 5, 8))
        waves = np.cos(np.einsum("np,pasw->nasw", place - place.mean(axis=0), turn) + phase).sum(axis=3)
        vectors, guide = waves.astype(np.float32).transpose(1, 0, 2)
        hidden = hide_patches(rows, guide)
        said.append(says_something(hidden, vectors, guide))
        assert says_something(hidden, vectors, vectors + guide)
    assert sum(said) <= 2


def test_hidden_patches_are_reconstructed_by_the_weights_of_the_operator():
    rows, _, vectors, patch_guide, _, _ = eg_case(11, hole_share=0.1)
    patch_guide[::9] = np.nan
    hidden = hide_patches(rows, patch_guide)
    assert np.isfinite(patch_guide[hidden.patch]).all()
    errors = reconstruction_errors(hidden, vectors, 0.5, patch_guide)
    for unit in range(0, len(hidden), 7):
        patch = hidden.patch[unit]
        others = rows.keep(np.arange(len(vectors)) != patch)
        at = np.flatnonzero(rows.patch == patch)
        index, weight = guided_weights(
            others, rows.u[at], rows.v[at], patch_guide[patch][None], patch_guide, spatial_sigma=0.5, min_support=1e-6
        )
        expected = ((interpolate(vectors, index, weight)[0] - vectors[patch]) ** 2).mean()
        assert errors[unit] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", GUIDED)
def test_only_patches_on_training_ground_are_learned_from(name):
    rows, vectors, patch_guide, u, v, guide, _ = edge_world(3)
    is_training = np.arange(256) < 160
    training = guide_training(patch_guide, is_training_patch=is_training)
    shaken = vectors.copy()
    shaken[~is_training] *= -7
    options = {"max_steps": 20} if name == "attention" else {}
    fitted = [
        UPSAMPLERS[name].build().set_params(**options).fit(rows, values, training) for values in (vectors, shaken)
    ]
    (index, weight), (_, again) = (upsampler.weigh(u, v, guide) for upsampler in fitted)
    np.testing.assert_array_equal(weight, again)
    # the patches elsewhere still go up
    assert (weight[index >= 160] > 0).any()
    with pytest.raises(ShapeError, match=r"is_training_patch.*One mark per patch"):
        UPSAMPLERS[name].build().fit(rows, vectors, guide_training(patch_guide, is_training_patch=is_training[:9]))
    with pytest.raises(ShapeError, match=r"is_training_patch.*no patch"):
        UPSAMPLERS[name].build().fit(rows, vectors, guide_training(patch_guide, is_training_patch=is_training & False))


def test_errors_are_compared_over_squares():
    rng = np.random.default_rng(1)
    square = np.repeat(np.arange(20), 20)
    shared = np.repeat(rng.normal(size=20), 20)
    base = rng.random(400)
    # one draw a square: 20 independent numbers, not 400
    assert is_as_low(base + 0.3 * (shared - shared.mean()) + 0.03, base, square)
    assert not is_as_low(base + 0.01 * (shared - shared.mean()) + 0.03, base, square)
    assert is_as_low(base - 0.1, base, square)
    assert is_as_low(base + 5.0, base, np.zeros(400, int))


@pytest.mark.parametrize("n", [2, 3, 400])
def test_hold_out_takes_whole_squares_and_leaves_some(n):
    rows = edge_world()[0]
    rng = np.random.default_rng(3)
    u, v = rng.uniform(0, 15 * PITCH, (2, n))
    square = number_squares(rows, u, v)
    assert set(square) == set(range(square.max() + 1))
    held = hold_out(square, 0.15, rng)
    assert 0 < held.sum() < n
    if n == 400:
        assert 0.15 <= held.mean() <= 0.5
        assert not set(square[held]) & set(square[~held])
        edge = [np.ptp(axis[square == number]) for axis in (u, v) for number in set(square)]
        assert max(edge) <= 4 * PITCH


def test_scaling_leaves_constant_dimensions_out():
    vectors = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    vectors[:, 1] = 7.1
    mean, scale = find_scaling(vectors)
    np.testing.assert_allclose(((vectors - mean) * scale).std(axis=0), [1, 0, 1], atol=1e-5)


@pytest.mark.parametrize("name", GUIDED)
def test_missing_guides_are_named(name):
    rows, _, vectors, patch_guide, points, guide = eg_case(9)
    build = UPSAMPLERS[name].build
    with pytest.raises(ShapeError, match=f"{name}, patch guide.*no training data"):
        build().fit(rows, vectors)
    with pytest.raises(ShapeError, match=f"{name}, patch guide.*patch_guide None.*Pass TrainingData"):
        build().fit(rows, vectors, guide_training(None))
    with pytest.raises(ShapeError, match=f"{name}, patch guide.*One row per patch"):
        build().fit(rows, vectors, guide_training(patch_guide[:5]))
    fitted = build().fit(rows, vectors, guide_training(patch_guide))
    with pytest.raises(ShapeError, match=f"{name}, guide: found None.*Pass the guiding product"):
        fitted.transform(*points)
    with pytest.raises(ShapeError, match=f"{name}, guide.*patch_guide was pooled"):
        fitted.transform(*points, guide[:, :2])


def test_one_patch():
    rows = grid_rows([0.0], [0.0], pitch_m=PITCH)
    vectors, training = np.ones((1, 4), np.float32), guide_training(np.ones((1, 3), np.float32))
    guide = np.zeros((2, 3), np.float32)
    found = JointBilateralUpsampler().fit(rows, vectors, training).transform([100.0, 900.0], [0.0, 0.0], guide)
    np.testing.assert_array_equal(found, [[1.0] * 4, [np.nan] * 4])
    with pytest.raises(ShapeError, match=r"attention.*at least 2 to learn from.*Use bilinear"):
        AttentionUpsampler().fit(rows, vectors, training)


@pytest.mark.parametrize("options", [{"range_sigma": 0.0}, {"spatial_sigma": -1.0}, {"range_sigma": float("nan")}])
def test_bandwidths_must_be_positive(options):
    rows, _, vectors, patch_guide, *_ = eg_case(9)
    with pytest.raises(ShapeError, match="a number above 0"):
        fit_guided("joint_bilateral", rows, vectors, patch_guide, **options)


def test_without_torch_the_extra_is_named(monkeypatch):
    rows, vectors, patch_guide, *_ = edge_world()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingTorchError, match=r"attention.*isthmus\[torch\]"):
        fit_guided("attention", rows, vectors, patch_guide)
