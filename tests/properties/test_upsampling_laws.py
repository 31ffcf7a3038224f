"""Laws of upsampling, over random lattices, points and holes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from transforms import lattice
from transforms.upsampling.bilinear import BilinearUpsampler, bilinear_weights
from transforms.upsampling.operators import UPSAMPLERS
from transforms.upsampling.rows import eg_rows, grid_rows

seeds = st.integers(0, 2**32 - 1)
latitudes = st.floats(-70, 70)
longitudes = st.floats(-179.9, 179.9)
names = pytest.mark.parametrize("name", list(UPSAMPLERS))


def build_case(seed, lat, lon, *, hole_share=0.0):
    rng = np.random.default_rng(seed)
    stretch = 0.01 / np.cos(np.radians(lat))
    places = lattice.enumerate_places(lon - stretch, lat - 0.01, lon + stretch, lat + 0.01)
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


@names
@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes)
def test_a_constant_field_is_kept_at_holes_and_borders(name, seed, lat, lon):
    rows, vectors, points, _, _ = build_case(seed, lat, lon, hole_share=0.4)
    vectors[:] = (1.5, -2.0, 7.0)
    found = UPSAMPLERS[name].build().fit(rows, vectors).transform(*points)
    filled = ~np.isnan(found).any(axis=1)
    assume(filled.any())
    np.testing.assert_allclose(found[filled], np.broadcast_to(vectors[0], found[filled].shape), rtol=1e-5)


@names
@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes)
def test_order_of_patches_does_not_matter(name, seed, lat, lon):
    rows, vectors, points, columns, rng = build_case(seed, lat, lon, hole_share=0.2)
    order = rng.permutation(len(vectors))
    shuffled = eg_rows(*(column[order] for column in columns))
    straight = UPSAMPLERS[name].build().fit(rows, vectors).transform(*points)
    np.testing.assert_array_equal(UPSAMPLERS[name].build().fit(shuffled, vectors[order]).transform(*points), straight)


@names
@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes, st.floats(-3, 3))
def test_upsampling_is_linear_in_the_vectors(name, seed, lat, lon, scale):
    rows, a, points, _, rng = build_case(seed, lat, lon, hole_share=0.2)
    b = rng.normal(size=a.shape).astype(np.float32)

    def upsample(vectors):
        return UPSAMPLERS[name].build().fit(rows, vectors).transform(*points)

    combined = upsample((a + np.float32(scale) * b).astype(np.float32))
    np.testing.assert_allclose(combined, upsample(a) + np.float32(scale) * upsample(b), atol=1e-5)


@names
@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes)
def test_values_stay_within_those_of_the_patches(name, seed, lat, lon):
    rows, vectors, points, _, _ = build_case(seed, lat, lon, hole_share=0.3)
    found = UPSAMPLERS[name].build().fit(rows, vectors).transform(*points)
    found = found[~np.isnan(found).any(axis=1)]
    assert (found <= vectors.max(axis=0) + 1e-5).all()
    assert (found >= vectors.min(axis=0) - 1e-5).all()


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(2, 8), st.integers(2, 8), st.floats(20, 5000))
def test_a_grid_patch_centre_takes_its_own_vector(seed, n_rows, n_cols, pitch):
    rng = np.random.default_rng(seed)
    row, col = np.divmod(rng.permutation(n_rows * n_cols), n_cols)
    x, y = 400_000 + col * pitch, 6_000_000 + row * pitch
    vectors = rng.normal(size=(len(x), 3)).astype(np.float32)
    found = BilinearUpsampler().fit(grid_rows(x, y), vectors).transform(x, y)
    np.testing.assert_allclose(found, vectors, atol=1e-4)
