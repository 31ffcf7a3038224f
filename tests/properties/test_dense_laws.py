"""Laws of dense windows and of the basis, over random places, pixel sizes, window sizes, holes and vectors."""

from __future__ import annotations

import numpy as np
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import lattice
from transforms.errors import ShapeError
from transforms.upsampling.basis import basis_from_table, basis_table, decode, encode, fit_basis, project, reconstruct
from transforms.upsampling.bilinear import BilinearUpsampler, bilinear_weights, interpolate
from transforms.upsampling.dense import upsample_window
from transforms.upsampling.rows import eg_rows, grid_rows
from transforms.utm import project as to_metres
from transforms.utm import unproject, utm_epsg
from transforms.windows import PixelGrid

seeds = st.integers(0, 2**32 - 1)
latitudes = st.floats(-75, 78)
longitudes = st.floats(-179.9, 179.9)
shares = st.sampled_from([0.0, 0.2, 0.6])


def build_case(seed, lat, lon, hole_share, *, one_lattice=False):
    """Patches, some of them missing, and a window of random size and offset that may reach beyond them."""
    rng = np.random.default_rng(seed)
    stretch = 0.01 / np.cos(np.radians(lat))
    places = lattice.enumerate_places(lon - stretch, lat - 0.01, lon + stretch, lat + 0.01)
    kept = rng.random(len(places)) >= hole_share
    if one_lattice:
        kept &= ~places.is_secondary
    kept[0] = True
    rows = eg_rows(places.is_secondary[kept], places.row[kept], places.lon[kept], places.lat[kept])
    vectors = rng.normal(size=(int(kept.sum()), 5)).astype(np.float32)
    epsg = int(utm_epsg(lon, lat))
    x, y = to_metres(lon, lat, epsg)
    pixel = float(rng.choice([3.0, 10.0, 30.0]))
    height, width = (int(n) for n in rng.integers(1, 90, 2))
    corner = float(x) + rng.uniform(-900, 500), float(y) + rng.uniform(-500, 900)
    return rows, vectors, PixelGrid(epsg, Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), height, width)


def window_points(grid):
    x, y = (a.ravel() for a in np.meshgrid(*grid.centers()))
    return unproject(x, y, grid.epsg)


@settings(deadline=None, max_examples=80)
@given(seeds, latitudes, longitudes, shares, st.booleans())
def test_a_window_is_transform_at_its_pixel_centres(seed, lat, lon, hole_share, one_lattice):
    rows, vectors, grid = build_case(seed, lat, lon, hole_share, one_lattice=one_lattice)
    upsampler = BilinearUpsampler().fit(rows, vectors)
    found = upsample_window(upsampler, rows, grid).reshape(-1, 5)
    points = window_points(grid)
    _, _, support = bilinear_weights(rows, *points)
    # where support is the limit to a rounding, either answer is right
    clear = np.abs(support - 0.25) > 1e-5
    # at a hole weights are not small numbers of a sum of 1: they are renormalised, by 4 at most
    np.testing.assert_allclose(found[clear], upsampler.transform(*points)[clear], atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 6), st.integers(1, 6), st.floats(30, 700), shares)
def test_a_window_on_a_metric_grid_is_transform(seed, n_rows, n_cols, pitch, hole_share):
    rng = np.random.default_rng(seed)
    row, col = np.divmod(rng.permutation(n_rows * n_cols), n_cols)
    rows = grid_rows(4e5 + col * pitch, 6e6 + row * pitch, pitch_m=pitch)
    vectors = rng.normal(size=(len(row), 3)).astype(np.float32)
    vectors[rng.random(len(row)) < hole_share, 1] = np.nan
    affine = Affine(7.0, 0, 4e5 - pitch * rng.random(), 0, -9.0, 6e6 + n_rows * pitch * rng.random())
    grid = PixelGrid(32631, affine, *(int(n) for n in rng.integers(1, 120, 2)))
    upsampler = BilinearUpsampler().fit(rows, vectors)
    x, y = (a.ravel() for a in np.meshgrid(*grid.centers()))
    clear = np.abs(bilinear_weights(upsampler.rows_, x, y)[2] - 0.25) > 1e-5
    found = upsample_window(upsampler, rows, grid).reshape(-1, 3)
    np.testing.assert_allclose(found[clear], upsampler.transform(x, y)[clear], atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes, shares)
def test_parts_of_a_window_are_the_window(seed, lat, lon, hole_share):
    rows, vectors, grid = build_case(seed, lat, lon, hole_share)
    upsampler = BilinearUpsampler().fit(rows, vectors)
    whole = upsample_window(upsampler, rows, grid)
    top, left = grid.height // 3, grid.width // 2
    part = PixelGrid(grid.epsg, grid.affine @ Affine.translation(left, top), grid.height - top, grid.width - left)
    try:
        found = upsample_window(upsampler, rows, part)
    except ShapeError:
        # only parts away from all patches are refused
        assert np.isnan(whole[top:, left:]).all()
        return
    differs = ~np.isclose(found, whole[top:, left:], atol=2e-5, equal_nan=True).all(axis=2)
    # only a pixel whose support is the limit to a rounding may fall on the other side
    assert np.isnan(found[differs]).any(axis=1).sum() + np.isnan(whole[top:, left:][differs]).any(axis=1).sum() >= (
        differs.sum()
    )
    assert differs.mean() < 0.01


@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes, shares)
def test_transform_is_weights_and_interpolation(seed, lat, lon, hole_share):
    rows, vectors, grid = build_case(seed, lat, lon, hole_share)
    points = window_points(grid)
    index, weight, _ = bilinear_weights(rows, *points)
    found = BilinearUpsampler().fit(rows, vectors).transform(*points)
    np.testing.assert_array_equal(found, interpolate(vectors, index, weight))


@settings(deadline=None, max_examples=30)
@given(seeds, latitudes, longitudes, shares, st.integers(1, 5))
def test_reducing_commutes_with_upsampling(seed, lat, lon, hole_share, k):
    rows, vectors, grid = build_case(seed, lat, lon, hole_share)
    basis = fit_basis(vectors, k, seed=0)
    first = upsample_window(BilinearUpsampler().fit(rows, project(vectors, basis)), rows, grid).reshape(-1, k)
    last = project(upsample_window(BilinearUpsampler().fit(rows, vectors), rows, grid).reshape(-1, 5), basis)
    np.testing.assert_allclose(first, last, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 40), st.integers(1, 12), st.data())
def test_codes_of_decoded_codes_are_the_codes(seed, n, dims, data):
    k = data.draw(st.integers(1, dims))
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(n, dims)) * rng.uniform(0.01, 9)).astype(np.float32)
    basis = fit_basis(vectors, k, seed=0)
    codes = rng.integers(-127, 128, (n, k)).astype(np.int8)
    codes[rng.random(n) < 0.2] = -128
    np.testing.assert_array_equal(encode(decode(codes, basis), basis), codes)
    again = basis_from_table(basis_table(basis))
    assert again.version == basis.version
    # projecting what was reconstructed changes nothing: components are orthonormal or zero
    projected = project(vectors, basis)
    size = np.abs(vectors).max()
    np.testing.assert_allclose(project(reconstruct(projected, basis), basis), projected, atol=1e-5 * size)
