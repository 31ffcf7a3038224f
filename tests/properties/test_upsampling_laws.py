"""Laws of upsampling, over random lattices, points and holes.

Of every operator that needs no labels and no guide; those that do have theirs beside their own tests.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from transforms import lattice
from transforms.upsampling.bilinear import BilinearUpsampler, bilinear_weights
from transforms.upsampling.footprints import footprint_points, holding_cells
from transforms.upsampling.kriging import KrigingUpsampler
from transforms.upsampling.mass_preserving import MassPreservingUpsampler
from transforms.upsampling.operators import UPSAMPLERS
from transforms.upsampling.rows import eg_rows, grid_rows

M_PER_DEG = np.radians(1.0) * lattice.EARTH_RADIUS_M
seeds = st.integers(0, 2**32 - 1)
latitudes = st.floats(-70, 70)
longitudes = st.floats(-179.9, 179.9)
UNGUIDED = [name for name, operator in UPSAMPLERS.items() if operator.needs in ("nothing", "patches")]
unguided = pytest.mark.parametrize("name", UNGUIDED)
linear = pytest.mark.parametrize("name", [name for name in UNGUIDED if UPSAMPLERS[name].is_linear])
#: How far an impulse response reaches, and the step along rows and across that measures its centroid to a metre.
RESPONSES = {
    "nearest": (320.0, 2.0, 2.0),
    "bilinear": (660.0, 10.0, 10.0),
    "bicubic": (980.0, 10.0, 10.0),
    "mass_preserving": (1000.0, 2.0, 8.0),
    "two_lattice_deblending": (1900.0, 12.0, 12.0),
    "area_to_point_kriging": (1500.0, 24.0, 24.0),
}


def enumerate_around(lat, lon, half_deg):
    stretch = half_deg / np.cos(np.radians(lat))
    return lattice.enumerate_places(lon - stretch, lat - half_deg, lon + stretch, lat + half_deg)


def rows_of(places, kept=slice(None)):
    return eg_rows(*(column[kept] for column in (places.is_secondary, places.row, places.lon, places.lat)))


def build_case(seed, lat, lon, *, hole_share=0.0):
    rng = np.random.default_rng(seed)
    places = enumerate_around(lat, lon, 0.01)
    stretch = 0.01 / np.cos(np.radians(lat))
    kept = rng.random(len(places)) >= hole_share
    columns = [column[kept] for column in (places.is_secondary, places.row, places.lon, places.lat)]
    points = rng.uniform(lon - stretch, lon + stretch, 100), rng.uniform(lat - 0.01, lat + 0.01, 100)
    return eg_rows(*columns), rng.normal(size=(int(kept.sum()), 3)).astype(np.float32), points, columns, rng


@settings(deadline=None, max_examples=50)
@given(seeds, latitudes, longitudes)
def test_weights_sum_to_one_or_nothing(seed, lat, lon):
    rows, _, points, _, _ = build_case(seed, lat, lon, hole_share=0.4)
    index, weight, support = bilinear_weights(rows, *points)
    has_support = support >= 0.25 - 1e-6
    np.testing.assert_allclose(weight.sum(axis=1), has_support, atol=1e-5)
    assert (weight >= 0).all()
    assert (weight[index < 0] == 0).all()
    assert ((support >= 0) & (support <= 1 + 1e-6)).all()


@unguided
@settings(deadline=None, max_examples=20)
@given(seeds, latitudes, longitudes)
def test_a_constant_field_is_kept_at_holes_and_borders(name, seed, lat, lon):
    rows, vectors, points, _, _ = build_case(seed, lat, lon, hole_share=0.4)
    vectors[:] = (1.5, -2.0, 7.0)
    found = UPSAMPLERS[name].build().fit(rows, vectors).transform(*points)
    filled = ~np.isnan(found).any(axis=1)
    assume(filled.any())
    np.testing.assert_allclose(found[filled], np.broadcast_to(vectors[0], found[filled].shape), rtol=1e-5)


@unguided
@settings(deadline=None, max_examples=15)
@given(seeds, latitudes, longitudes)
def test_order_of_patches_does_not_matter(name, seed, lat, lon):
    rows, vectors, points, columns, rng = build_case(seed, lat, lon, hole_share=0.2)
    order = rng.permutation(len(vectors))
    shuffled = eg_rows(*(column[order] for column in columns))
    straight = UPSAMPLERS[name].build().fit(rows, vectors).transform(*points)
    found = UPSAMPLERS[name].build().fit(shuffled, vectors[order]).transform(*points)
    np.testing.assert_allclose(found, straight, rtol=0, atol=1e-5 if name == "mass_preserving" else 0)


@linear
@settings(deadline=None, max_examples=15)
@given(seeds, latitudes, longitudes, st.floats(-3, 3))
def test_upsampling_is_linear_in_the_vectors(name, seed, lat, lon, scale):
    rows, a, points, _, rng = build_case(seed, lat, lon, hole_share=0.2)
    b = rng.normal(size=a.shape).astype(np.float32)

    def upsample(vectors):
        return UPSAMPLERS[name].build().fit(rows, vectors).transform(*points)

    combined = upsample((a + np.float32(scale) * b).astype(np.float32))
    np.testing.assert_allclose(combined, upsample(a) + np.float32(scale) * upsample(b), atol=5e-5)


@settings(deadline=None, max_examples=10)
@given(seeds, latitudes, longitudes, st.floats(0.2, 3))
def test_kriging_is_linear_once_its_length_is_given(seed, lat, lon, sides):
    rows, a, points, _, rng = build_case(seed, lat, lon, hole_share=0.2)
    b = rng.normal(size=a.shape).astype(np.float32)

    def upsample(vectors):
        return KrigingUpsampler(320.0 * sides).fit(rows, vectors).transform(*points)

    np.testing.assert_allclose(upsample(a + b), upsample(a) + upsample(b), atol=5e-5)


@pytest.mark.parametrize("name", ["nearest", "bilinear"])
@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes)
def test_values_stay_within_those_of_the_patches(name, seed, lat, lon):
    rows, vectors, points, _, _ = build_case(seed, lat, lon, hole_share=0.3)
    found = UPSAMPLERS[name].build().fit(rows, vectors).transform(*points)
    found = found[~np.isnan(found).any(axis=1)]
    assert (found <= vectors.max(axis=0) + 1e-5).all()
    assert (found >= vectors.min(axis=0) - 1e-5).all()


@unguided
@settings(deadline=None, max_examples=5, phases=[Phase.generate])
@given(seeds, latitudes, longitudes)
def test_impulse_responses_are_centred_to_half_a_pixel(name, seed, lat, lon):
    check_impulse_centroid(UPSAMPLERS[name].build(), name, seed, lat, lon)


@settings(deadline=None, max_examples=5, phases=[Phase.generate])
@given(seeds, latitudes, longitudes, st.floats(0.2, 8.0))
def test_kriging_is_centred_at_any_length(seed, lat, lon, sides):
    check_impulse_centroid(KrigingUpsampler(320.0 * sides), "area_to_point_kriging", seed, lat, lon)


def check_impulse_centroid(upsampler, name, seed, lat, lon):
    rng = np.random.default_rng(seed)
    reach, *steps = RESPONSES[name]
    places = enumerate_around(lat, lon, (reach + 700) / M_PER_DEG)
    scale = M_PER_DEG * np.cos(np.radians(lat))
    centre = int(np.argmin(np.hypot((places.lon - lon) * scale, (places.lat - lat) * M_PER_DEG)))
    impulse = np.zeros((len(places), 1), np.float32)
    impulse[centre] = 1.0
    # a grid of points that has nothing to do with the patch
    x, y = (np.arange(-reach, reach, step) + rng.uniform(0, step) for step in steps)
    x, y = (axis.ravel() for axis in np.meshgrid(x, y))
    lons = places.lon[centre] + x / (M_PER_DEG * np.cos(np.radians(places.lat[centre])))
    lats = places.lat[centre] + y / M_PER_DEG
    response = upsampler.fit(rows_of(places), impulse).transform(lons, lats)[:, 0].astype(np.float64)
    # a patch of two lattices stands for half its ground
    assert response.sum() * steps[0] * steps[1] == pytest.approx(lattice.PATCH_SIDE_M**2 / 2, rel=0.03)
    assert abs(response @ x / response.sum()) < 6.0
    assert abs(response @ y / response.sum()) < 6.0


@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes, st.booleans())
def test_pooling_gives_the_patch_vectors_back_on_one_lattice(seed, lat, lon, has_holes):
    rng = np.random.default_rng(seed)
    places = enumerate_around(lat, lon, 0.008)
    rows = rows_of(places, ~places.is_secondary & (rng.random(len(places)) >= 0.3 * has_holes))
    vectors = rng.normal(size=(rows.n_patches, 3)).astype(np.float32)
    u, v = footprint_points(rows, 16)
    found = MassPreservingUpsampler().fit(rows, vectors).transform(u.ravel(), v.ravel())
    pooled = np.nanmean(found.reshape(*u.shape, 3), axis=1, dtype=np.float64)
    np.testing.assert_allclose(pooled, vectors[rows.patch], atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(2, 7), st.integers(2, 7), st.sampled_from([2, 4, 8, 10, 32]), st.floats(20, 5000))
def test_pooling_gives_the_patch_vectors_back_on_grids_by_any_even_points(seed, n_rows, n_cols, n, pitch):
    rng = np.random.default_rng(seed)
    row, col = np.divmod(rng.permutation(n_rows * n_cols), n_cols)
    rows = grid_rows(400_000 + col * pitch, 6_000_000 + row * pitch)
    vectors = rng.normal(size=(len(row), 3)).astype(np.float32)
    u, v = footprint_points(rows, n)
    found = MassPreservingUpsampler().fit(rows, vectors).transform(u.ravel(), v.ravel())
    pooled = found.reshape(*u.shape, 3).mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(pooled, vectors[rows.patch], atol=1e-5)


@unguided
@settings(deadline=None, max_examples=20)
@given(seeds, latitudes, longitudes)
def test_patches_of_nan_are_as_absent_ones(name, seed, lat, lon):
    rng = np.random.default_rng(seed)
    places = enumerate_around(lat, lon, 0.008)
    gone = rng.random(len(places)) < 0.3
    assume(not gone.all())
    vectors = rng.normal(5.0, 0.1, (len(places), 2)).astype(np.float32)
    points = lon + rng.uniform(-0.01, 0.01, 80) / np.cos(np.radians(lat)), lat + rng.uniform(-0.01, 0.01, 80)
    absent = UPSAMPLERS[name].build().fit(rows_of(places, ~gone), vectors[~gone]).transform(*points)
    vectors[gone, 1] = np.nan
    found = UPSAMPLERS[name].build().fit(rows_of(places), vectors).transform(*points)
    np.testing.assert_allclose(found, absent, atol=1e-4)
    # never zeros: all patches are near 5
    assert (np.isnan(found) | (np.abs(found - 5.0) < 3.0)).all()


@unguided
@settings(deadline=None, max_examples=30)
@given(seeds, st.floats(20, 5000))
def test_one_patch_gives_its_vector_or_nothing(name, seed, side):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(1, 3)).astype(np.float32)
    x, y = rng.uniform(-2, 2, (2, 200)) * side
    rows = grid_rows([400_000.0], [6_000_000.0], pitch_m=side)
    found = UPSAMPLERS[name].build().fit(rows, vectors).transform(400_000 + x, 6_000_000 + y)
    inside = np.maximum(np.abs(x), np.abs(y)) < side / 2
    outside = np.maximum(np.abs(x), np.abs(y)) > side
    np.testing.assert_allclose(found[inside], np.broadcast_to(vectors, (inside.sum(), 3)), rtol=1e-5)
    assert np.isnan(found[outside]).all()
    has_vector = ~np.isnan(found).any(axis=1)
    np.testing.assert_allclose(found[has_vector], np.broadcast_to(vectors, (has_vector.sum(), 3)), rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes)
def test_each_point_inside_lies_in_one_cell_of_each_lattice(seed, lat, lon):
    rng = np.random.default_rng(seed)
    places = enumerate_around(lat, lon, 0.012)
    points = lon + rng.uniform(-0.008, 0.008, 100) / np.cos(np.radians(lat)), lat + rng.uniform(-0.008, 0.008, 100)
    cells = holding_cells(rows_of(places), *points)
    for slot, is_secondary in enumerate((False, True)):
        dx = (places.lon - points[0][:, None]) * lattice.count_columns(places.row) / 360.0
        dy = (places.lat - points[1][:, None]) / lattice.ROW_HEIGHT_DEG
        holds = (np.abs(dx) < 0.5) & (np.abs(dy) < 0.5) & (places.is_secondary == is_secondary)
        # none where a point lies on the line between two cells
        expected = np.where(holds.sum(axis=1) == 1, holds.argmax(axis=1), cells[:, slot])
        np.testing.assert_array_equal(cells[:, slot], expected)
        assert (cells[:, slot] >= 0).all()


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(2, 8), st.integers(2, 8), st.floats(20, 5000))
def test_a_grid_patch_centre_takes_its_own_vector(seed, n_rows, n_cols, pitch):
    rng = np.random.default_rng(seed)
    row, col = np.divmod(rng.permutation(n_rows * n_cols), n_cols)
    x, y = 400_000 + col * pitch, 6_000_000 + row * pitch
    vectors = rng.normal(size=(len(x), 3)).astype(np.float32)
    found = BilinearUpsampler().fit(grid_rows(x, y), vectors).transform(x, y)
    np.testing.assert_allclose(found, vectors, atol=1e-4)
