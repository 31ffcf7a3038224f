"""Upsampling against brute force, scipy on regular grids, and the rules for holes and borders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import map_coordinates

from transforms import lattice
from transforms.errors import LatticeError, ShapeError
from transforms.upsampling.bilinear import BilinearUpsampler, bilinear_weights, interpolate
from transforms.upsampling.footprints import holding_cells
from transforms.upsampling.nearest import NearestUpsampler, nearest_index
from transforms.upsampling.operators import UPSAMPLERS
from transforms.upsampling.rows import eg_rows, grid_rows

LATITUDES = [0.0, 12.6, 52.0, -33.0]
M_PER_DEG = np.radians(1.0) * lattice.EARTH_RADIUS_M
X0, Y0 = 500_123.0, 1_400_456.0
unguided = pytest.mark.parametrize(
    "name", [name for name, operator in UPSAMPLERS.items() if operator.needs in ("nothing", "patches")]
)


def eg_case(lat, lon=103.0, half_deg=0.02):
    stretch = half_deg / np.cos(np.radians(lat))
    places = lattice.enumerate_places(lon - stretch, lat - half_deg, lon + stretch, lat + half_deg)
    return places, eg_rows(places.is_secondary, places.row, places.lon, places.lat)


def eg_points(rng, lat, lon=103.0, half_deg=0.012, n=400):
    stretch = half_deg / np.cos(np.radians(lat))
    return rng.uniform(lon - stretch, lon + stretch, n), rng.uniform(lat - half_deg, lat + half_deg, n)


def grid_case(n_rows=7, n_cols=9, pitch=80.0):
    row, col = np.divmod(np.arange(n_rows * n_cols), n_cols)
    return X0 + col * pitch, Y0 + row * pitch


def weigh_by_loops(places, lon, lat):
    """Bilinear weights of all patches at one point by the definition, inside a full lattice."""
    weights = np.zeros(len(places))
    for secondary in (False, True):
        rows = np.unique(places.row[places.is_secondary == secondary])
        v = {r: places.lat[(places.row == r) & (places.is_secondary == secondary)][0] for r in rows}
        south = max(r for r in rows if v[r] <= lat)
        share = (lat - v[south]) / (v[south + 1] - v[south])
        for r, row_weight in ((south, 1 - share), (south + 1, share)):
            cells = np.flatnonzero((places.row == r) & (places.is_secondary == secondary))
            lons = places.lon[cells]
            west = cells[lons <= lon][-1]
            east = cells[lons > lon][0]
            t = (lon - places.lon[west]) / (places.lon[east] - places.lon[west])
            weights[west] += row_weight * (1 - t) / 2
            weights[east] += row_weight * t / 2
    return weights


@pytest.mark.parametrize("lat", LATITUDES)
def test_eg_weights_equal_loops(lat):
    places, rows = eg_case(lat)
    lon, lats = eg_points(np.random.default_rng(5), lat, n=60)
    index, weight, support = bilinear_weights(rows, lon, lats)
    assert index.shape == (60, 8)
    np.testing.assert_allclose(support, 1.0, atol=1e-6)
    for m in range(60):
        dense = np.zeros(len(places))
        np.add.at(dense, index[m][weight[m] > 0], weight[m][weight[m] > 0])
        np.testing.assert_allclose(dense, weigh_by_loops(places, lon[m], lats[m]), atol=1e-6)


@pytest.mark.parametrize("lat", LATITUDES)
def test_a_linear_field_is_reproduced_inside(lat):
    places, rows = eg_case(lat)

    def field(lon, lat_):
        return np.stack([0.3 * (lon - 103) / 0.02 - 0.7 * (lat_ - lat) / 0.02 + 0.1, (lon - 103) / 0.02], axis=1)

    lon, lats = eg_points(np.random.default_rng(6), lat)
    vectors = field(places.lon, places.lat).astype(np.float32)
    found = BilinearUpsampler().fit(rows, vectors).transform(lon, lats)
    np.testing.assert_allclose(found, field(lon, lats), atol=3e-6)


def test_bilinear_impulse_is_symmetric():
    places, rows = eg_case(12.6)
    center = int(np.argmin(np.hypot(places.lon - 103.0, places.lat - 12.6)))
    impulse = np.zeros((len(places), 1), np.float32)
    impulse[center] = 1.0
    rng = np.random.default_rng(8)
    du, dv = rng.uniform(-0.003, 0.003, 300), rng.uniform(-0.003, 0.003, 300)
    upsampler = BilinearUpsampler().fit(rows, impulse)
    lon, lat = places.lon[center], places.lat[center]
    response = upsampler.transform(lon + du, lat + dv)
    np.testing.assert_allclose(upsampler.transform(lon - du, lat + dv), response, atol=1e-5)
    np.testing.assert_allclose(upsampler.transform(lon + du, lat - dv), response, atol=1e-5)
    assert response.max() > 0.1


def test_regular_grid_equals_scipy_inside_the_hull():
    rng = np.random.default_rng(1)
    x, y = grid_case()
    values = rng.normal(size=(7, 9, 3)).astype(np.float32)
    order = rng.permutation(len(x))
    u, v = rng.uniform(X0, X0 + 8 * 80, 500), rng.uniform(Y0, Y0 + 6 * 80, 500)
    expected = RegularGridInterpolator((Y0 + 80.0 * np.arange(7), X0 + 80.0 * np.arange(9)), values)((v, u))
    upsampler = BilinearUpsampler().fit(grid_rows(x[order], y[order]), values.reshape(-1, 3)[order])
    np.testing.assert_allclose(upsampler.transform(u, v), expected, atol=1e-5)


def test_regular_grid_takes_the_border_value_in_the_outer_half_patch():
    rng = np.random.default_rng(2)
    x, y = grid_case()
    values = rng.normal(size=(7, 9)).astype(np.float32)
    u, v = rng.uniform(X0 - 40, X0 + 680, 800), rng.uniform(Y0 - 40, Y0 + 520, 800)
    expected = map_coordinates(values, [(v - Y0) / 80, (u - X0) / 80], order=1, mode="nearest")
    found = BilinearUpsampler().fit(grid_rows(x, y), values.reshape(-1, 1)).transform(u, v)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)


def test_support_says_how_much_was_there():
    x, y = grid_case()
    u = np.array([X0 + 100, X0 - 40, X0 - 40, X0 - 60, X0 - 100])
    v = np.array([Y0 + 100, Y0 + 100, Y0 - 40, Y0 - 60, Y0 + 100])
    _, weight, support = bilinear_weights(grid_rows(x, y), u, v)
    np.testing.assert_allclose(support, [1.0, 0.5, 0.25, 0.0625, 0.0], atol=1e-6)
    np.testing.assert_allclose(weight.sum(axis=1), [1, 1, 1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("missing", ["absent row of the table", "vector of NaN"])
def test_missing_patches_never_give_zeros(missing):
    rng = np.random.default_rng(3)
    places, _ = eg_case(12.6)
    gone = rng.random(len(places)) < 0.3
    vectors = np.full((len(places), 4), 5.0, np.float32)
    vectors[gone] = np.nan
    if missing == "vector of NaN":
        rows = eg_rows(places.is_secondary, places.row, places.lon, places.lat)
    else:
        kept = ~gone
        rows = eg_rows(places.is_secondary[kept], places.row[kept], places.lon[kept], places.lat[kept])
        vectors = vectors[kept]
    lon, lat = eg_points(rng, 12.6, n=2000)
    found = BilinearUpsampler().fit(rows, vectors).transform(lon, lat)
    has_vector = ~np.isnan(found).any(axis=1)
    assert 0.9 < has_vector.mean() < 1.0
    np.testing.assert_allclose(found[has_vector], 5.0, rtol=1e-6)
    assert np.isnan(found[~has_vector]).all()


def test_a_hole_is_not_bridged():
    x, y = grid_case(n_rows=3, n_cols=5)
    values = np.repeat(np.array([0.0, 0, 9, 1, 1], np.float32)[None], 3, axis=0).reshape(-1, 1)
    values[values == 9] = np.nan
    upsampler = BilinearUpsampler().fit(grid_rows(x, y), values)
    u = X0 + np.array([80.0, 120.0, 159.0, 201.0, 240.0])
    found = upsampler.transform(u, np.full(5, Y0 + 80.0))[:, 0]
    # one pitch on either side of the hole keeps its own side's value; the middle of the hole has none
    np.testing.assert_array_equal(found, [0.0, 0.0, np.nan, 1.0, 1.0])


def test_a_missing_row_is_not_bridged():
    x, y = grid_case(n_rows=5, n_cols=3)
    there = y != Y0 + 160
    values = np.where(y < Y0 + 160, 0.0, 1.0).astype(np.float32)[:, None]
    rows = grid_rows(x[there], y[there])
    v = Y0 + np.array([80.0, 120.0, 160.0, 200.0, 240.0])
    found = BilinearUpsampler().fit(rows, values[there]).transform(np.full(5, X0 + 80), v)[:, 0]
    np.testing.assert_array_equal(found, [0.0, 0.0, np.nan, 1.0, 1.0])


@pytest.mark.parametrize("lat", LATITUDES)
def test_nearest_is_the_nearest_patch_of_the_nearest_row(lat):
    places, rows = eg_case(lat)
    lon, lats = eg_points(np.random.default_rng(9), lat, n=300)
    found = nearest_index(rows, lon, lats)
    row_gap = np.abs(lats[:, None] - places.lat)
    is_nearest_row = row_gap < row_gap.min(axis=1, keepdims=True) + 1e-9
    along = np.where(is_nearest_row, np.abs(lon[:, None] - places.lon), np.inf)
    np.testing.assert_array_equal(found, along.argmin(axis=1))
    # so the point lies in the footprint
    assert (row_gap[np.arange(300), found] * M_PER_DEG <= 80.01).all()
    assert (along.min(axis=1) * M_PER_DEG * np.cos(np.radians(lats)) <= 160.1).all()


def test_nearest_on_a_grid_is_the_nearest_centroid():
    rng = np.random.default_rng(10)
    x, y = grid_case()
    u, v = rng.uniform(X0 - 40, X0 + 680, 500), rng.uniform(Y0 - 40, Y0 + 520, 500)
    distance = np.hypot(u[:, None] - x, v[:, None] - y)
    np.testing.assert_array_equal(nearest_index(grid_rows(x, y), u, v), distance.argmin(axis=1))


@pytest.mark.parametrize("lat", LATITUDES)
def test_nearest_at_a_missing_patch_is_the_other_lattice_then_the_nearest_centroid(lat):
    places, rows = eg_case(lat)
    lon, lats = eg_points(np.random.default_rng(11), lat, n=300)
    first = nearest_index(rows, lon, lats)
    n_none = 0
    for m in range(0, 300, 20):
        cells = holding_cells(rows, lon[m : m + 1], lats[m : m + 1])[0]
        assert first[m] in cells
        present = np.ones(len(places), bool)
        present[first[m]] = False
        left = holding_cells(rows.keep(present), lon[m : m + 1], lats[m : m + 1])[0]
        assert nearest_index(rows.keep(present), lon[m], lats[m])[0] in left
        present[cells] = False
        if (holding_cells(rows.keep(present), lon[m : m + 1], lats[m : m + 1]) >= 0).any():
            continue  # on the line between two cells
        n_none += 1
        dx = (places.lon - lon[m]) * M_PER_DEG * np.cos(np.radians((places.lat + lats[m]) / 2))
        distance = np.where(present, np.hypot(dx, (places.lat - lats[m]) * M_PER_DEG), np.inf)
        assert nearest_index(rows.keep(present), lon[m], lats[m], 400.0)[0] == distance.argmin()
    assert n_none > 10


def test_nearest_beyond_the_footprint_is_none():
    x, y = grid_case()
    rows = grid_rows(x, y)
    u, v = np.array([X0 - 39.0, X0 - 39.0, X0 - 70.0]), np.array([Y0 - 39.0, Y0, Y0])
    np.testing.assert_array_equal(nearest_index(rows, u, v), [0, 0, -1])
    np.testing.assert_array_equal(nearest_index(rows, u, v, max_distance_m=45.0), [-1, 0, -1])
    found = NearestUpsampler().fit(rows, np.ones((len(x), 2), np.float32)).transform(u, v)
    np.testing.assert_array_equal(np.isnan(found[:, 0]), [False, False, True])


def test_nearest_leaves_out_patches_without_a_vector():
    x, y = grid_case(n_rows=1, n_cols=3)
    vectors = np.array([[1.0], [np.nan], [3.0]], np.float32)
    found = NearestUpsampler(max_distance_m=100.0).fit(grid_rows(x, y), vectors).transform(x + 1.0, y)
    np.testing.assert_array_equal(found[:, 0], [1.0, 3.0, 3.0])


@unguided
def test_all_patches_without_vectors_give_nan(name):
    x, y = grid_case()
    vectors = np.full((len(x), 2), np.nan, np.float32)
    assert np.isnan(UPSAMPLERS[name].build().fit(grid_rows(x, y), vectors).transform(x, y)).all()


@unguided
def test_patches_across_the_antimeridian_are_neighbours(name):
    east = lattice.enumerate_places(179.98, 10.0, 180.0, 10.03)
    west = lattice.enumerate_places(-180.0, 10.0, -179.98, 10.03)
    columns = [
        np.concatenate([getattr(east, key), getattr(west, key)]) for key in ("is_secondary", "row", "lon", "lat")
    ]
    rows = eg_rows(*columns)
    lon = np.array([179.9995, -179.9995, 179.99, -179.99])
    vectors = np.where(columns[2] > 0, 1.0, 2.0).astype(np.float32)[:, None]
    found = UPSAMPLERS[name].build().fit(rows, vectors).transform(lon, np.full(4, 10.015))[:, 0]
    # operators with negative lobes swing a little beside the step
    is_convex = name in ("nearest", "bilinear")
    np.testing.assert_allclose(found[2:], [1.0, 2.0], rtol=1e-6 if is_convex else 0.05)
    assert np.isfinite(found).all()
    if name == "bilinear":
        assert 1.0 < found[0] < found[1] < 2.0


def test_grid_rows_forgive_noise_below_tolerance():
    rng = np.random.default_rng(4)
    x, y = grid_case(n_rows=100, n_cols=120)
    rows = grid_rows(x + rng.uniform(-0.4, 0.4, len(x)), y + rng.uniform(-0.4, 0.4, len(x)))
    assert len(rows.row_v) == 100
    assert rows.pitch_v == pytest.approx(80.0, abs=0.01)
    assert rows.row_pitch_u[0] == pytest.approx(80.0, abs=0.01)


def test_grid_rows_bridge_wide_gaps():
    x, y = grid_case(n_rows=2, n_cols=60)
    kept = (x < X0 + 3 * 80) | (x > X0 + 50 * 80)
    assert grid_rows(x[kept], y[kept]).row_pitch_u[0] == pytest.approx(80.0)


def test_scattered_patches_are_no_grid():
    rng = np.random.default_rng(4)
    with pytest.raises(LatticeError, match="off a grid"):
        grid_rows(rng.uniform(0, 1000, 50), rng.uniform(0, 1000, 50))


def test_one_patch_needs_a_pitch():
    with pytest.raises(LatticeError, match="pitch_m"):
        grid_rows([X0], [Y0])
    rows = grid_rows([X0], [Y0], pitch_m=80.0)
    found = BilinearUpsampler().fit(rows, np.ones((1, 2), np.float32)).transform([X0 + 30, X0 + 90], [Y0, Y0])
    np.testing.assert_array_equal(found[:, 0], [1.0, np.nan])


def test_two_patches_in_one_cell_are_refused():
    places, _ = eg_case(12.6)
    twice = np.r_[np.arange(len(places)), 0]
    with pytest.raises(LatticeError, match="two patches in one cell"):
        eg_rows(places.is_secondary[twice], places.row[twice], places.lon[twice], places.lat[twice])


def test_rows_that_disagree_with_centroids_are_refused():
    places, _ = eg_case(12.6)
    row = places.row.copy()
    row[3] += 1
    with pytest.raises(LatticeError, match="row"):
        eg_rows(places.is_secondary, row, places.lon, places.lat)


def test_bad_shapes_are_refused():
    x, y = grid_case()
    rows = grid_rows(x, y)
    with pytest.raises(ShapeError, match="points"):
        bilinear_weights(rows, [X0, X0], [Y0])
    with pytest.raises(ShapeError, match="NaN"):
        nearest_index(rows, [np.nan], [Y0])
    with pytest.raises(ShapeError, match="min_support"):
        bilinear_weights(rows, [X0], [Y0], min_support=0.0)
    with pytest.raises(ShapeError, match="patch vectors"):
        BilinearUpsampler().fit(rows, np.ones((3, 2), np.float32))
    with pytest.raises(ShapeError, match="patch index"):
        interpolate(np.ones((2, 3), np.float32), np.array([[2]], np.int32), np.ones((1, 1), np.float32))
    with pytest.raises(ShapeError, match="centroids"):
        grid_rows([], [])


def test_interpolate_equals_numpy():
    rng = np.random.default_rng(12)
    vectors = rng.normal(size=(50, 384)).astype(np.float32)
    index = rng.integers(0, 50, (300, 8)).astype(np.int32)
    weight = rng.random((300, 8)).astype(np.float32)
    weight[::3, 2:5] = 0
    weight[7] = 0
    expected = np.einsum("mk,mkd->md", weight, vectors[index])
    expected[7] = np.nan
    np.testing.assert_allclose(interpolate(vectors, index, weight), expected, atol=1e-5)


def test_registry_entries_are_whole():
    for name, operator in UPSAMPLERS.items():
        assert operator.name == name
        assert operator.reference
        assert {"fit", "transform"} <= set(dir(operator.build()))
