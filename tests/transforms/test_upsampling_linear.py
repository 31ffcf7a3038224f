"""Bicubic, mass-preserving, deblending and kriging against slow references, and their own rules."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import dblquad

from transforms import lattice
from transforms.errors import ShapeError
from transforms.upsampling import kriging_loops
from transforms.upsampling.bicubic import BicubicUpsampler, bicubic_weights
from transforms.upsampling.bilinear import BilinearUpsampler
from transforms.upsampling.deblending import DeblendingUpsampler, footprint_shares, solve_cells
from transforms.upsampling.footprints import footprint_points, holding_cells, patch_v
from transforms.upsampling.kriging import KrigingUpsampler, estimate_length_m
from transforms.upsampling.mass_preserving import MassPreservingUpsampler
from transforms.upsampling.nearest import nearest_index
from transforms.upsampling.operators import UPSAMPLERS
from transforms.upsampling.rows import eg_rows, grid_rows
from transforms.upsampling.tiles import plan_tiles
from transforms.upsampling.training import TrainingData

M_PER_DEG = np.radians(1.0) * lattice.EARTH_RADIUS_M
LAT, LON = 52.0, 103.0
SCALE = M_PER_DEG * np.cos(np.radians(LAT))
X0, Y0, PITCH = 500_123.0, 1_400_456.0, 80.0


def eg_case(half_deg=0.015, *, both=True):
    stretch = half_deg / np.cos(np.radians(LAT))
    places = lattice.enumerate_places(LON - stretch, LAT - half_deg, LON + stretch, LAT + half_deg)
    kept = ~places.is_secondary | both
    columns = [column[kept] for column in (places.is_secondary, places.row, places.lon, places.lat)]
    return eg_rows(*columns), columns[2], columns[3]


def eg_points(rng, n, half_deg=0.01):
    stretch = half_deg / np.cos(np.radians(LAT))
    return rng.uniform(LON - stretch, LON + stretch, n), rng.uniform(LAT - half_deg, LAT + half_deg, n)


def grid_case(n_rows=8, n_cols=9):
    row, col = np.divmod(np.arange(n_rows * n_cols), n_cols)
    return X0 + col * PITCH, Y0 + row * PITCH


def waves(lon, lat, seed, length_m, n_dims=32, n_waves=300):
    """A squared-exponential Gaussian field of variance 1 by random waves."""
    rng = np.random.default_rng(seed)
    wave = rng.normal(0, 1 / length_m, (2, n_waves))
    phase, amplitude = rng.uniform(0, 2 * np.pi, n_waves), rng.normal(size=(n_waves, n_dims)) / np.sqrt(n_waves / 2)
    argument = np.multiply.outer((lon - LON) * SCALE, wave[0]) + np.multiply.outer((lat - LAT) * M_PER_DEG, wave[1])
    return np.cos(argument + phase) @ amplitude


class TestBicubic:
    @staticmethod
    def keys(distance):
        s = np.abs(distance)
        inner, outer = 1.5 * s**3 - 2.5 * s**2 + 1, -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2
        return np.where(s < 1, inner, np.where(s < 2, outer, 0.0))

    def test_a_grid_equals_keys_kernel(self):
        rng = np.random.default_rng(0)
        x, y = grid_case()
        values = rng.normal(size=(len(x), 3)).astype(np.float32)
        u, v = rng.uniform(X0 + 80, X0 + 7 * 80, 300), rng.uniform(Y0 + 80, Y0 + 6 * 80, 300)
        expected = (self.keys((u[:, None] - x) / PITCH) * self.keys((v[:, None] - y) / PITCH)) @ values
        found = BicubicUpsampler().fit(grid_rows(x, y), values).transform(u, v)
        np.testing.assert_allclose(found, expected, atol=2e-6)

    def test_rows_with_phases_equal_keys_kernel_row_by_row(self):
        rng = np.random.default_rng(1)
        rows, lon, lat = eg_case(half_deg=0.02, both=False)
        values = rng.normal(size=len(lon))
        points = eg_points(rng, 100)
        expected = np.zeros(100)
        for v in rows.row_v:
            row = np.abs(lat - v) < 1e-6
            pitch = np.diff(np.sort(lon[row]))[0]
            along = self.keys((points[0][:, None] - lon[row]) / pitch) @ values[row]
            expected += self.keys((points[1] - v) / rows.pitch_v) * along
        found = BicubicUpsampler().fit(rows, values[:, None].astype(np.float32)).transform(*points)
        np.testing.assert_allclose(found[:, 0], expected, atol=2e-6)

    def test_a_linear_field_is_kept_to_the_outer_centroids(self):
        rng = np.random.default_rng(2)
        x, y = grid_case()

        def field(u, v):
            return np.stack([(u - X0) / 300, 0.3 * (u - X0) / 300 - (v - Y0) / 200], axis=1)

        u, v = rng.uniform(X0, X0 + 8 * PITCH, 300), rng.uniform(Y0, Y0 + 7 * PITCH, 300)
        found = BicubicUpsampler().fit(grid_rows(x, y), field(x, y).astype(np.float32)).transform(u, v)
        np.testing.assert_allclose(found, field(u, v), atol=3e-6)

    def test_around_a_hole_it_is_bilinear(self):
        rng = np.random.default_rng(3)
        x, y = grid_case()
        values = rng.normal(size=(len(x), 2)).astype(np.float32)
        values[4 * 9 + 4] = np.nan
        u, v = X0 + rng.uniform(3, 5, 200) * PITCH, Y0 + rng.uniform(3, 5, 200) * PITCH
        bilinear = BilinearUpsampler().fit(grid_rows(x, y), values).transform(u, v)
        found = BicubicUpsampler().fit(grid_rows(x, y), values).transform(u, v)
        assert 0 < np.isnan(found).sum() < found.size
        np.testing.assert_allclose(found, bilinear, atol=1e-6)

    def test_one_lattice_may_be_cubic_beside_a_bilinear_one(self):
        rows, lon, _ = eg_case()
        rng = np.random.default_rng(4)
        present = rng.random(len(lon)) > 0.15
        holed = rows.keep(present)
        index, weight = bicubic_weights(holed, *eg_points(rng, 500))
        has_vector = weight.any(axis=1)
        np.testing.assert_allclose(weight[has_vector].sum(axis=1), 1.0, atol=1e-5)
        assert present[index[weight != 0]].all()
        # the first eight slots are bilinear: some points use both
        is_mixed = weight[:, :8].any(axis=1) & weight[:, 8:].any(axis=1)
        assert 0.05 < is_mixed.mean() < 0.95
        assert has_vector.mean() > 0.9


class TestMassPreserving:
    def test_one_lattice_equals_bilinear_plus_what_it_lacks(self):
        rng = np.random.default_rng(0)
        rows, lon, _ = eg_case(both=False)
        vectors = rng.normal(size=(len(lon), 4)).astype(np.float32)
        bilinear = BilinearUpsampler().fit(rows, vectors)
        u, v = footprint_points(rows, 16)
        means = bilinear.transform(u.ravel(), v.ravel()).reshape(*u.shape, 4).mean(axis=1)
        lacking = np.empty_like(vectors)
        lacking[rows.patch] = vectors[rows.patch] - means
        points = eg_points(rng, 300)
        expected = bilinear.transform(*points) + lacking[holding_cells(rows, *points)[:, 0]]
        found = MassPreservingUpsampler().fit(rows, vectors).transform(*points)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_repetition_brings_two_lattices_nearer_to_their_patches(self):
        rows, lon, _ = eg_case()
        u, v = footprint_points(rows, 8)
        vectors = np.empty((len(lon), 32), np.float32)
        vectors[rows.patch] = waves(u, v, 1, 200.0).mean(axis=1)
        inside = np.hypot((rows.u - LON) * SCALE, (patch_v(rows) - LAT) * M_PER_DEG) < 800
        errors = []
        for n_iterations in (1, 2, 4, 8):
            upsampler = MassPreservingUpsampler(n_iterations=n_iterations).fit(rows, vectors)
            pooled = upsampler.transform(u[inside].ravel(), v[inside].ravel()).reshape(-1, 64, 32).mean(axis=1)
            errors.append(np.abs(pooled - vectors[rows.patch[inside]]).mean())
        assert errors[3] < 0.6 * errors[2] < 0.6 * 0.75 * errors[1] < 0.6 * 0.75 * 0.75 * errors[0]

    @pytest.mark.parametrize("options", [{"n_iterations": 0}, {"points_per_side": 0}])
    def test_bad_parameters_are_refused(self, options):
        x, y = grid_case()
        with pytest.raises(ShapeError, match=next(iter(options))):
            MassPreservingUpsampler(**options).fit(grid_rows(x, y), np.ones((len(x), 1), np.float32))


class TestDeblending:
    def test_the_dual_solution_is_that_of_least_squares(self):
        rng = np.random.default_rng(0)
        n_cells, c, smoothness = 14, 3, 1e-3
        low = rng.uniform(0, n_cells - c, (12, 2))
        along, across = (footprint_shares(low[:, axis], low[:, axis] + c, n_cells) for axis in range(2))
        across[4:8] = across[4]
        means = (across[:, :, None] * along[:, None, :]).reshape(12, -1)
        vectors = rng.normal(size=(12, 2)).astype(np.float32)
        second = np.diag([1.0] + [2.0] * (n_cells - 2) + [1.0])
        second -= np.eye(n_cells, k=1) + np.eye(n_cells, k=-1)
        laplacian = np.kron(second, np.eye(n_cells)) + np.kron(np.eye(n_cells), second)
        system = np.concatenate([means, np.sqrt(smoothness) * c * laplacian])
        known = np.concatenate([vectors, np.zeros((n_cells**2, 2))])
        expected = np.linalg.lstsq(system, known, rcond=None)[0]
        found = solve_cells(along, across, vectors, smoothness, c)
        np.testing.assert_allclose(found.reshape(-1, 2), expected, atol=1e-7)

    def test_shares_are_overlaps(self):
        low = np.array([0.25, 3.0, 4.5])
        shares = footprint_shares(low, low + np.array([2.0, 2.0, 1.5]), 6)
        expected = [[0.375, 0.5, 0.125, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0], [0, 0, 0, 0, 1 / 3, 2 / 3]]
        np.testing.assert_allclose(shares, expected)

    @pytest.mark.parametrize("tile_side", [8, 16])
    def test_a_wider_halo_changes_nothing(self, tile_side):
        rows, lon, lat = eg_case(half_deg=0.06)
        vectors = waves(lon, lat, 2, 250.0, n_dims=2).astype(np.float32)
        # inside: at the border of the data it counts how far away the mirrored border of a tile is
        points = eg_points(np.random.default_rng(1), 2000, half_deg=0.03)
        wide = DeblendingUpsampler(tile_side=tile_side, halo=16).fit(rows, vectors)
        found = DeblendingUpsampler(tile_side=tile_side).fit(rows, vectors)
        assert found.plan_.n_tiles > 5
        np.testing.assert_allclose(found.transform(*points), wide.transform(*points), atol=1e-3)

    def test_a_value_does_not_depend_on_where_the_area_is_cut(self):
        rows, lon, lat = eg_case(half_deg=0.12)
        vectors = waves(lon, lat, 2, 250.0, n_dims=2).astype(np.float32)
        margin = UPSAMPLERS["two_lattice_deblending"].margin * 320.0 / M_PER_DEG
        points = eg_points(np.random.default_rng(1), 300, half_deg=0.02)
        near = (np.abs(lat - LAT) < 0.02 + margin) & (np.abs(lon - LON) < (0.02 + margin) * M_PER_DEG / SCALE)
        assert near.sum() < 0.8 * len(near)
        cut = DeblendingUpsampler().fit(rows.keep(near), vectors).transform(*points)
        np.testing.assert_allclose(cut, DeblendingUpsampler().fit(rows, vectors).transform(*points), atol=1e-5)

    def test_patches_are_explained(self):
        rows, lon, _ = eg_case()
        u, v = footprint_points(rows, 12)
        vectors = np.empty((len(lon), 32), np.float32)
        vectors[rows.patch] = waves(u, v, 3, 250.0).mean(axis=1)
        found = DeblendingUpsampler().fit(rows, vectors).transform(u.ravel(), v.ravel()).reshape(*u.shape, 32)
        inside = np.hypot((rows.u - LON) * SCALE, (patch_v(rows) - LAT) * M_PER_DEG) < 1000
        off = found.mean(axis=1)[inside] - vectors[rows.patch[inside]]
        assert np.sqrt((off**2).mean()) < 0.03 * vectors.std()

    def test_tiles_that_no_patch_is_near_are_left_out(self):
        x, y = grid_case()
        rows = grid_rows(np.r_[x, x + 400 * PITCH], np.r_[y, y + 300 * PITCH])
        plan = plan_tiles(rows, 4, 16, 4)
        assert plan.n_tiles <= 8 < len(plan.number)
        vectors = np.random.default_rng(0).normal(size=(rows.n_patches, 1)).astype(np.float32)
        upsampler = DeblendingUpsampler().fit(rows, vectors)
        assert np.isfinite(upsampler.transform(rows.u, patch_v(rows))).all()
        assert np.isnan(upsampler.transform([X0 + 200 * PITCH], [Y0 + 150 * PITCH])).all()

    def test_points_past_a_seam_of_tiles_go_on_smoothly(self):
        rows, lon, lat = eg_case(half_deg=0.03)
        upsampler = DeblendingUpsampler(tile_side=8).fit(rows, waves(lon, lat, 4, 250.0, n_dims=2).astype(np.float32))
        line = np.linspace(-0.02, 0.02, 4000)
        found = upsampler.transform(LON + line, np.full(4000, LAT + 0.003))
        assert np.abs(np.diff(found, axis=0)).max() < 0.05

    @pytest.mark.parametrize("options", [{"smoothness": 0.0}, {"cells_per_side": 0}, {"tile_side": 0}, {"halo": 0}])
    def test_bad_parameters_are_refused(self, options):
        x, y = grid_case()
        with pytest.raises(ShapeError, match=next(iter(options))):
            DeblendingUpsampler(**options).fit(grid_rows(x, y), np.ones((len(x), 1), np.float32))


class TestKriging:
    @staticmethod
    def blocks(dx, dy, side, length):
        """Covariance of a block at the origin and one at (dx, dy), as lag integrals with triangular weights."""

        def along(d):
            lag, step = np.linspace(-side, side, 20001, retstep=True)
            weight = (side - np.abs(lag)) / side**2
            return float((weight * np.exp(-((d + lag) ** 2) / (2 * length**2))).sum() * step)

        return along(dx) * along(dy)

    @pytest.mark.parametrize(("dx", "dy", "length"), [(0, 0, 100.0), (320, 160, 100.0), (-250, 90, 700.0)])
    def test_block_covariances_equal_quadrature(self, dx, dy, length):
        found = np.empty(1)
        kriging_loops.fill_block_covariances(np.array([1.0 * dx]), np.array([1.0 * dy]), 320.0, length, found)
        assert found[0] == pytest.approx(self.blocks(dx, dy, 320.0, length), rel=1e-6)

    def test_point_covariances_equal_quadrature(self):
        expected, _ = dblquad(
            lambda y, x: np.exp(-(x**2 + y**2) / (2 * 150.0**2)) / 320.0**2, 40 - 160, 40 + 160, -30 - 160, -30 + 160
        )
        found = kriging_loops.point_block(40.0, 320.0, 150.0) * kriging_loops.point_block(-30.0, 320.0, 150.0)
        assert found == pytest.approx(expected, rel=1e-7)

    def test_weights_solve_the_kriging_system(self):
        rows, lon, lat = eg_case()
        points = eg_points(np.random.default_rng(0), 20)
        upsampler = KrigingUpsampler(200.0, nugget=0.05, edge_noise=0.0).fit(rows, np.ones((len(lon), 1), np.float32))
        index, weight = upsampler.weigh(*points)
        anchor = nearest_index(rows, *points)
        for m in range(20):
            a = anchor[m]
            scale = M_PER_DEG * np.cos(np.radians(lat[a]))
            pitch = 360.0 / lattice.count_columns(np.rint((lat + 90) / lattice.ROW_HEIGHT_DEG - 0.75).astype(int))
            near = (np.abs(lon - lon[a]) < 3.499 * pitch) & (np.abs(lat - lat[a]) < 3.499 * lattice.ROW_HEIGHT_DEG)
            patch = np.flatnonzero(near)
            x, y = (lon[patch] - lon[a]) * scale, (lat[patch] - lat[a]) * M_PER_DEG
            matrix = np.empty((len(patch), len(patch)))
            for i in range(len(patch)):
                kriging_loops.fill_block_covariances(x - x[i], y - y[i], 320.0, 200.0, matrix[i])
            matrix[np.diag_indices_from(matrix)] *= 1.05
            px, py = (points[0][m] - lon[a]) * scale, (points[1][m] - lat[a]) * M_PER_DEG
            known = [
                kriging_loops.point_block(px - x[i], 320.0, 200.0) * kriging_loops.point_block(py - y[i], 320.0, 200.0)
                for i in range(len(patch))
            ]
            ones = np.ones((len(patch), 1))
            system = np.block([[matrix, ones], [ones.T, np.zeros((1, 1))]])
            expected = np.linalg.solve(system, np.append(known, 1.0))[:-1]
            used = index[m] >= 0
            found = np.zeros(len(lon))
            found[index[m][used]] = weight[m][used]
            np.testing.assert_allclose(found[patch], expected, atol=2e-5)
            assert used.sum() == len(patch)

    def test_pooling_gives_the_patches_back_without_noise(self):
        rng = np.random.default_rng(2)
        x, y = grid_case()
        vectors = rng.normal(size=(len(x), 3)).astype(np.float32)
        rows = grid_rows(x, y)
        u, v = footprint_points(rows, 40)
        # neighbourhoods that hold all patches, so that all points of a footprint solve one system
        upsampler = KrigingUpsampler(60.0, nugget=1e-7, edge_noise=0.0, reach=9).fit(rows, vectors)
        pooled = upsampler.transform(u.ravel(), v.ravel()).reshape(*u.shape, 3).mean(axis=1)
        np.testing.assert_allclose(pooled, vectors[rows.patch], atol=5e-3)

    @pytest.mark.parametrize("sides", [0.35, 0.7, 1.5])
    @pytest.mark.parametrize("both", [True, False])
    def test_the_length_of_a_known_field_is_found(self, sides, both):
        rows, lon, _ = eg_case(half_deg=0.04, both=both)
        u, v = footprint_points(rows, 6)
        vectors = np.empty((len(lon), 32), np.float32)
        vectors[rows.patch] = waves(u, v, 5, 320.0 * sides).mean(axis=1)
        assert estimate_length_m(rows, vectors) == pytest.approx(320.0 * sides, rel=0.3)

    def test_the_length_is_estimated_on_training_ground(self):
        rows, lon, lat = eg_case(half_deg=0.03)
        smooth, rough = waves(lon, lat, 6, 900.0), np.random.default_rng(7).normal(size=(len(lon), 32))
        is_training = lat < LAT
        vectors = np.where(is_training[:, None], smooth, rough).astype(np.float32)
        none = np.empty(0)
        training = TrainingData(none, none, none.astype(np.int16), 2, is_training_patch=is_training)
        found = KrigingUpsampler().fit(rows, vectors, training).correlation_length_m_
        assert found == estimate_length_m(rows.keep(is_training), vectors)
        assert found > 2 * estimate_length_m(rows.keep(~is_training), vectors)

    def test_patches_that_do_not_vary_have_the_length_of_a_side(self):
        rows, lon, _ = eg_case()
        assert estimate_length_m(rows, np.ones((len(lon), 2), np.float32)) == 320.0
        assert estimate_length_m(grid_rows([X0], [Y0], pitch_m=80.0), np.ones((1, 2), np.float32)) == 80.0

    @pytest.mark.parametrize(
        "options", [{"nugget": 0.0}, {"reach": 0}, {"correlation_length_m": -1.0}, {"edge_noise": -0.1}]
    )
    def test_bad_parameters_are_refused(self, options):
        x, y = grid_case()
        with pytest.raises(ShapeError, match=next(iter(options))):
            KrigingUpsampler(**options).fit(grid_rows(x, y), np.ones((len(x), 1), np.float32))

    def test_points_in_parts_equal_all_at_once(self, monkeypatch):
        rng = np.random.default_rng(8)
        rows, lon, _ = eg_case()
        points = eg_points(rng, 200)
        upsampler = KrigingUpsampler(300.0).fit(rows, rng.normal(size=(len(lon), 2)).astype(np.float32))
        whole = upsampler.transform(*points)
        monkeypatch.setattr("transforms.upsampling.kriging._POINTS_AT_ONCE", 7)
        np.testing.assert_array_equal(upsampler.transform(*points), whole)


@pytest.mark.parametrize("name", ["bicubic", "mass_preserving", "two_lattice_deblending", "area_to_point_kriging"])
def test_vectors_come_where_bilinear_has_them(name):
    rng = np.random.default_rng(9)
    rows, lon, _ = eg_case()
    vectors = rng.normal(size=(len(lon), 2)).astype(np.float32)
    vectors[rng.random(len(lon)) < 0.4] = np.nan
    points = eg_points(rng, 1000, half_deg=0.02)
    expected = np.isnan(BilinearUpsampler().fit(rows, vectors).transform(*points))
    found = np.isnan(UPSAMPLERS[name].build().fit(rows, vectors).transform(*points))
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(found, expected)
