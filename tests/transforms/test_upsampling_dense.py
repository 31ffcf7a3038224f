"""Dense windows against `transform` at the pixel centres, on both kinds of lattice; rules for holes and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from transforms import lattice
from transforms.errors import ShapeError
from transforms.upsampling.basis import encode, fit_basis, project
from transforms.upsampling.bilinear import BilinearUpsampler, bilinear_weights, interpolate
from transforms.upsampling.dense import MAX_OFFSET_M, upsample_window, upsample_window_codes, window_nodes
from transforms.upsampling.filling import place_row
from transforms.upsampling.nearest import NearestUpsampler
from transforms.upsampling.rows import eg_rows, grid_rows
from transforms.upsampling.sums import aligned_empty, is_streamable, sum_vectors
from transforms.utm import project as to_metres
from transforms.utm import unproject, utm_epsg
from transforms.windows import PixelGrid

X0, Y0 = 500_123.0, 1_400_456.0
ZONES = [(0.0, 103.0), (12.6, 105.4), (52.0, -3.2), (-33.0, 18.0), (78.0, 15.6)]


def grid_patches(rng, dims=6, n_rows=9, n_cols=11, pitch=320.0):
    row, col = np.divmod(np.arange(n_rows * n_cols), n_cols)
    rows = grid_rows(X0 + col * pitch, Y0 + row * pitch)
    return rows, rng.normal(size=(len(row), dims)).astype(np.float32)


def grid_window(height=40, width=70, west=X0 + 333.0, north=Y0 + 2000.0, pixel=10.0):
    return PixelGrid(32648, Affine(pixel, 0, west, 0, -pixel, north), height, width)


def eg_patches(rng, lat, lon, dims=6, half_deg=0.015, hole_share=0.0):
    stretch = half_deg / np.cos(np.radians(lat))
    places = lattice.enumerate_places(lon - stretch, lat - half_deg, lon + stretch, lat + half_deg)
    kept = rng.random(len(places)) >= hole_share
    rows = eg_rows(places.is_secondary[kept], places.row[kept], places.lon[kept], places.lat[kept])
    return rows, rng.normal(size=(int(kept.sum()), dims)).astype(np.float32)


def eg_window(lat, lon, height=50, width=70, pixel=10.0):
    epsg = int(utm_epsg(lon, lat))
    x, y = (float(c) for c in to_metres(lon, lat, epsg))
    return PixelGrid(epsg, Affine(pixel, 0, x - pixel * width / 2, 0, -pixel, y + pixel * height / 2), height, width)


def window_points(grid, is_geographic=True):
    x, y = (a.ravel() for a in np.meshgrid(*grid.centers()))
    return unproject(x, y, grid.epsg) if is_geographic else (x, y)


def through_transform(upsampler, grid, is_geographic=True):
    return upsampler.transform(*window_points(grid, is_geographic)).reshape(grid.height, grid.width, -1)


@pytest.mark.parametrize(("lat", "lon"), ZONES)
@pytest.mark.parametrize("hole_share", [0.0, 0.3])
@pytest.mark.parametrize("build", [BilinearUpsampler, NearestUpsampler])
def test_windows_on_both_lattices_equal_transform(build, lat, lon, hole_share):
    rows, vectors = eg_patches(np.random.default_rng(1), lat, lon, hole_share=hole_share)
    grid = eg_window(lat, lon)
    upsampler = build().fit(rows, vectors)
    found = upsample_window(upsampler, rows, grid)
    expected = through_transform(upsampler, grid)
    assert found.dtype == np.float32
    # nearest jumps, so a pixel on a border between two patches may belong to either
    same = np.isclose(found, expected, atol=1e-5, equal_nan=True).all(axis=2)
    assert same.all() if build is BilinearUpsampler else same.mean() > 0.999
    if build is BilinearUpsampler and not hole_share:
        assert np.isfinite(found).all()


@pytest.mark.parametrize("dims", [1, 3, 16, 21, 64, 100, 384])
@pytest.mark.parametrize("is_metric", [True, False])
def test_every_width_of_vectors(dims, is_metric):
    rng = np.random.default_rng(2)
    rows, vectors = grid_patches(rng, dims) if is_metric else eg_patches(rng, 12.6, 105.4, dims)
    grid = grid_window() if is_metric else eg_window(12.6, 105.4)
    upsampler = BilinearUpsampler().fit(rows, vectors)
    expected = through_transform(upsampler, grid, not is_metric)
    np.testing.assert_allclose(upsample_window(upsampler, rows, grid), expected, atol=1e-5)


def test_a_large_window_is_written_past_the_cache_with_the_same_values():
    rows, vectors = grid_patches(np.random.default_rng(3), dims=64)
    grid = grid_window(height=200, width=300, north=Y0 + 2400)
    upsampler = BilinearUpsampler().fit(rows, vectors)
    out = aligned_empty((grid.height, grid.width, 64))
    assert is_streamable(out)
    upsample_window(upsampler, rows, grid, out)
    np.testing.assert_allclose(out, through_transform(upsampler, grid, False), atol=1e-5)
    off_by_four = np.empty(out.size + 1, np.float32)[1:].reshape(out.shape)
    assert not is_streamable(off_by_four)
    np.testing.assert_array_equal(upsample_window(upsampler, rows, grid, off_by_four), out)


def test_borders_and_corners_of_the_patches():
    rows, vectors = grid_patches(np.random.default_rng(4))
    # from outside the north-west corner far into the patches
    grid = grid_window(height=120, width=150, west=X0 - 500.0, north=Y0 + 8 * 320 + 500.0)
    upsampler = BilinearUpsampler().fit(rows, vectors)
    found = upsample_window(upsampler, rows, grid)
    np.testing.assert_allclose(found, through_transform(upsampler, grid, False), atol=1e-5)
    assert 0.1 < np.isnan(found).mean() < 0.9
    # the support of a corner patch's own corner is exactly a quarter
    assert np.isfinite(found[34:, 34:]).all()


def test_a_patch_without_a_vector_is_a_hole():
    rows, vectors = grid_patches(np.random.default_rng(5))
    vectors[50, 2] = np.nan
    grid = grid_window(height=150, width=200, north=Y0 + 2500)
    upsampler = BilinearUpsampler().fit(rows, vectors)
    found = upsample_window(upsampler, rows, grid)
    np.testing.assert_allclose(found, through_transform(upsampler, grid, False), atol=1e-5)
    assert 0 < np.isnan(found).mean() < 0.1


def test_one_patch():
    rows = grid_rows([X0], [Y0], pitch_m=320.0)
    upsampler = BilinearUpsampler().fit(rows, np.full((1, 3), 7.0, np.float32))
    found = upsample_window(upsampler, rows, grid_window(64, 64, X0 - 320, Y0 + 320))
    inside = np.isfinite(found).all(axis=2)
    np.testing.assert_array_equal(found[inside], 7.0)
    np.testing.assert_array_equal(inside[16:48, 16:48], True)
    assert not inside[:3].any()


def test_all_patches_without_vectors_give_nan():
    rows, vectors = grid_patches(np.random.default_rng(6))
    upsampler = BilinearUpsampler().fit(rows, np.full_like(vectors, np.nan))
    assert np.isnan(upsample_window(upsampler, rows, grid_window())).all()


def test_a_window_across_the_antimeridian():
    rng = np.random.default_rng(7)
    east, west = (lattice.enumerate_places(*box) for box in ((179.98, 10, 180, 10.03), (-180, 10, -179.98, 10.03)))
    columns = [np.concatenate([getattr(east, k), getattr(west, k)]) for k in ("is_secondary", "row", "lon", "lat")]
    rows = eg_rows(*columns)
    upsampler = BilinearUpsampler().fit(rows, rng.normal(size=(len(columns[0]), 4)).astype(np.float32))
    x, y = to_metres(180.0, 10.015, 32660)
    grid = PixelGrid(32660, Affine(10, 0, float(x) - 400, 0, -10, float(y) + 200), 40, 80)
    found = upsample_window(upsampler, rows, grid)
    np.testing.assert_allclose(found, through_transform(upsampler, grid), atol=1e-5)
    assert np.isfinite(found).all()


def test_rows_in_metres_of_another_zone():
    rng = np.random.default_rng(8)
    rows, vectors = grid_patches(rng)
    upsampler = BilinearUpsampler().fit(rows, vectors)
    lon, lat = unproject(X0 + 1600.0, Y0 + 1200.0, 32648)
    x, y = to_metres(lon, lat, 32647)
    grid = PixelGrid(32647, Affine(10, 0, float(x) - 300, 0, -10, float(y) + 300), 60, 60)
    expected = upsampler.transform(*to_metres(*window_points(grid), 32648)).reshape(60, 60, -1)
    np.testing.assert_allclose(upsample_window(upsampler, rows, grid, rows_epsg=32648), expected, atol=1e-5)


@pytest.mark.parametrize(("lat", "lon"), [*ZONES, (83.9, 2.9), (-79.5, -63.0)])
@pytest.mark.parametrize("pixel", [1.0, 10.0, 100.0])
def test_pixel_centres_are_good_to_the_stated_bound(lat, lon, pixel):
    rng = np.random.default_rng(9)
    rows, _ = eg_patches(rng, lat, lon)
    grid = eg_window(lat, lon, 301, 333, pixel)
    nodes = window_nodes(rows, grid)
    lon_exact, lat_exact = (a.reshape(301, 333) for a in window_points(grid))
    u, v = np.empty(333), np.empty(333)
    scale = np.radians(1.0) * lattice.EARTH_RADIUS_M
    for row in range(0, 301, 7):
        place_row(nodes, row, u, v)
        off_u = (u - rows.along(lon_exact[row])) * scale * np.cos(np.radians(lat))
        np.testing.assert_array_less(np.hypot(off_u, (v - lat_exact[row]) * scale), MAX_OFFSET_M)


def test_chunks_of_rows_do_not_show():
    rows, vectors = grid_patches(np.random.default_rng(10), dims=2)
    grid = grid_window(height=200, width=200, north=Y0 + 2400)
    upsampler = NearestUpsampler().fit(rows, vectors)
    np.testing.assert_array_equal(
        upsample_window(upsampler, rows, grid), through_transform(upsampler, grid, is_geographic=False)
    )


class GuideItself(NearestUpsampler):
    """Gives what it is guided by."""

    def transform(self, points_u, points_v, guide=None):
        return guide


def test_guides_come_in_the_rows_of_their_pixels():
    rng = np.random.default_rng(11)
    rows, vectors = grid_patches(rng)
    grid = grid_window(height=180, width=190)
    guide = rng.normal(size=(180, 190, 3)).astype(np.float32)
    upsampler = GuideItself().fit(rows, vectors)
    np.testing.assert_array_equal(upsample_window(upsampler, rows, grid, guide=guide), guide)
    with pytest.raises(ShapeError, match="guide"):
        upsample_window(upsampler, rows, grid, guide=guide[1:])


@pytest.mark.parametrize("hole_share", [0.0, 0.3])
@pytest.mark.parametrize("build", [BilinearUpsampler, NearestUpsampler])
def test_code_windows_are_the_codes_of_the_vector_window(build, hole_share):
    rows, vectors = eg_patches(np.random.default_rng(12), 12.6, 105.4, dims=24, hole_share=hole_share)
    grid = eg_window(12.6, 105.4, 130, 160)
    basis = fit_basis(vectors, 8, seed=0)
    upsampler = build().fit(rows, project(vectors, basis))
    codes = upsample_window_codes(upsampler, rows, basis, grid)
    floats = upsample_window(upsampler, rows, grid)
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(codes.reshape(-1, 8), encode(floats.reshape(-1, 8), basis))
    np.testing.assert_array_equal((codes == -128).all(axis=2), np.isnan(floats).any(axis=2))


@pytest.mark.parametrize("lat", [0.0, 12.6, 52.0])
def test_reducing_first_equals_reducing_last(lat):
    rows, vectors = eg_patches(np.random.default_rng(13), lat, 105.4, dims=48, hole_share=0.2)
    grid = eg_window(lat, 105.4)
    basis = fit_basis(vectors, 16, seed=0)
    first = upsample_window(BilinearUpsampler().fit(rows, project(vectors, basis)), rows, grid)
    last = upsample_window(BilinearUpsampler().fit(rows, vectors), rows, grid)
    np.testing.assert_allclose(first.reshape(-1, 16), project(last.reshape(-1, 48), basis), atol=1e-5)


@pytest.mark.parametrize("hole_share", [0.0, 0.3])
def test_transform_equals_weights_and_interpolation(hole_share):
    rng = np.random.default_rng(14)
    rows, vectors = eg_patches(rng, 52.0, 5.0, dims=20, hole_share=hole_share)
    u, v = rng.uniform(4.97, 5.03, 3000), rng.uniform(51.984, 52.016, 3000)
    index, weight, _ = bilinear_weights(rows, u, v)
    found = BilinearUpsampler().fit(rows, vectors).transform(u, v)
    np.testing.assert_array_equal(found, interpolate(vectors, index, weight))
    assert BilinearUpsampler().fit(rows, vectors).transform([], []).shape == (0, 20)


@pytest.mark.parametrize("slots", [1, 3, 4, 5, 8, 9, 20])
@pytest.mark.parametrize("dims", [5, 16, 40])
@pytest.mark.parametrize("is_streamed", [True, False])
def test_sums_equal_numpy_for_any_number_of_slots(slots, dims, is_streamed):
    rng = np.random.default_rng(15)
    vectors = rng.normal(size=(30, dims)).astype(np.float32)
    index = rng.integers(0, 29, (50, slots)).astype(np.int32)
    weight = rng.random((50, slots)).astype(np.float32)
    weight[rng.random(weight.shape) < 0.2] = 0
    # a slot without weight is not read: its vector may be missing
    vectors[29] = np.nan
    index[weight == 0] = 29
    out = aligned_empty((50, dims))
    order = rng.permutation(50)
    sum_vectors(vectors.reshape(-1), dims, index, weight, order, out.reshape(-1), is_streamed and dims % 4 == 0)
    expected = np.einsum("mk,mkd->md", weight, np.nan_to_num(vectors)[index])
    expected[(weight == 0).all(axis=1)] = np.nan
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_a_slot_with_weight_needs_a_patch():
    vectors = np.ones((3, 4), np.float32)
    for wrong in (-1, 3):
        index = np.array([[0, 1], [2, wrong]], np.int32)
        with pytest.raises(ShapeError, match=f"found {wrong}"):
            interpolate(vectors, index, np.full((2, 2), 0.5, np.float32))
    found = interpolate(vectors, np.array([[2, -1], [-1, -1]], np.int32), np.float32([[1, 0], [0, 0]]))
    np.testing.assert_array_equal(found, [[1] * 4, [np.nan] * 4])


def test_slots_say_which_neighbour_they_are():
    row, col = np.divmod(np.arange(9), 3)
    rows = grid_rows(col * 10.0, row * 10.0)
    keep = np.ones(9, bool)
    keep[1] = False
    index, weight, _ = bilinear_weights(rows.keep(keep), [2.5, 7.5, 90.0], [5.0, 2.5, 5.0])
    np.testing.assert_array_equal(index[:2], [[0, -1, 3, 4], [0, -1, 3, 4]])
    np.testing.assert_allclose(weight[0], np.float64([0.375, 0, 0.375, 0.125]) / 0.875, atol=1e-6)
    np.testing.assert_array_equal(index[2], -1)
    np.testing.assert_array_equal(weight[2], 0)


def test_grids_without_pixels_or_with_rotation_are_refused():
    with pytest.raises(ShapeError, match="at least 1 x 1"):
        grid_window(height=0)
    with pytest.raises(ShapeError, match="north-up"):
        PixelGrid(32648, Affine(9.8, 1.7, X0, 1.7, -9.8, Y0), 5, 5)
    with pytest.raises(ShapeError, match="Flip bottom-up"):
        PixelGrid(32648, Affine(10, 0, X0, 0, 10, Y0), 5, 5)


def test_windows_away_from_the_patches_are_refused():
    rows, vectors = grid_patches(np.random.default_rng(16))
    upsampler = BilinearUpsampler().fit(rows, vectors)
    with pytest.raises(ShapeError, match="meets the patches"):
        upsample_window(upsampler, rows, grid_window(west=X0 + 9e5))
    with pytest.raises(ShapeError, match="meets the patches"):
        upsample_window(upsampler, rows, grid_window(north=Y0 - 5000))
    eg, eg_vectors = eg_patches(np.random.default_rng(16), 12.6, 105.4)
    with pytest.raises(ShapeError, match="right zone"):
        upsample_window(BilinearUpsampler().fit(eg, eg_vectors), eg, eg_window(12.6, 100.0))
    with pytest.raises(ShapeError, match="can show"):
        upsample_window(BilinearUpsampler().fit(eg, eg_vectors), eg, grid_window(west=5e7))


def test_out_arrays_that_do_not_fit_are_refused():
    rows, vectors = grid_patches(np.random.default_rng(17))
    upsampler, grid = BilinearUpsampler().fit(rows, vectors), grid_window()
    right = np.empty((40, 70, 6), np.float32)
    assert upsample_window(upsampler, rows, grid, right) is right
    read_only = right.copy()
    read_only.flags.writeable = False
    for wrong in (right[1:], right.astype(np.float64), np.empty((6, 70, 40), np.float32).T, read_only):
        with pytest.raises(ShapeError, match="out array"):
            upsample_window(upsampler, rows, grid, wrong)
    basis = fit_basis(vectors, 3, seed=0)
    with pytest.raises(ShapeError, match="6 dimensions"):
        upsample_window_codes(upsampler, rows, basis, grid)
    reduced = BilinearUpsampler().fit(rows, project(vectors, basis))
    with pytest.raises(ShapeError, match="int8"):
        upsample_window_codes(reduced, rows, basis, grid, np.empty((40, 70, 3), np.float32))


def test_rows_of_another_table_are_refused():
    rows, vectors = grid_patches(np.random.default_rng(18))
    other, _ = grid_patches(np.random.default_rng(18), n_rows=4)
    with pytest.raises(ShapeError, match="given to fit"):
        upsample_window(BilinearUpsampler().fit(rows, vectors), other, grid_window())
