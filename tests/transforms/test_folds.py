from __future__ import annotations

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import folds
from transforms.blocks import WORLD_WIDTH_M, block_bounds, distance_to_block, pairs_within
from transforms.errors import ShapeError, TooFewUnitsError

EDGE_M = 5000.0
GEOD = pyproj.Geod(ellps="WGS84")
#: Places where the grid behaves differently: equator, true scale, north, south, antimeridian.
PLACES = [(102.0, 0.01), (10.0, 30.0), (20.0, 60.0), (-70.0, -45.0), (179.99, 12.0)]


def scatter(n: int, lon: float, lat: float, spread_deg: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lons = lon + rng.uniform(-1, 1, n) * spread_deg / np.cos(np.radians(lat))
    return (lons + 180) % 360 - 180, lat + rng.uniform(-1, 1, n) * spread_deg


def distance_by_sampling(lon: float, lat: float, block: int, edge_m: float, steps: int = 400) -> float:
    """Shortest geodesic to a dense sample of a block's outline, metres: a little too long, never short."""
    west, south, east, north = (float(bound[0]) for bound in block_bounds(np.array([block]), edge_m))
    along, up = np.linspace(west, east, steps), np.linspace(south, north, steps)
    lons = np.concatenate([along, along, np.full(steps, west), np.full(steps, east)])
    lats = np.concatenate([np.full(steps, south), np.full(steps, north), up, up])
    return float(GEOD.inv(np.full(len(lons), lon), np.full(len(lons), lat), lons, lats)[2].min())


class TestBlocks:
    def test_the_grid_is_easegrid_2(self) -> None:
        x, y = folds.equal_area_xy([180.0, 0.0], [0.0, 30.0])
        assert x[0] == pytest.approx(WORLD_WIDTH_M / 2, abs=1e-3)
        assert (x[1], y[0]) == (0.0, 0.0)
        # at the standard parallel a degree of longitude has its true length
        assert folds.equal_area_xy(1.0, 30.0)[0] == pytest.approx(
            111_319.49 * np.cos(np.radians(30)) / np.sqrt(1 - 0.00669438 * 0.25), rel=1e-6
        )

    @settings(deadline=None)
    @given(st.floats(-180, 180), st.floats(-84, 84), st.sampled_from([1000.0, 5000.0, 12_345.6]), st.booleans())
    def test_ids_decode_to_the_block_that_holds_the_unit(
        self, lon: float, lat: float, edge_m: float, as_array: bool
    ) -> None:
        block = folds.assign_blocks([lon], [lat], edge_m)
        west, south = folds.block_origin(block, edge_m)
        x, y = folds.equal_area_xy([lon], [lat])
        assert 0 <= x[0] - west[0] < edge_m + 1e-6
        assert 0 <= y[0] - south[0] < edge_m + 1e-6
        bounds = block_bounds(block, edge_m)
        assert bounds[0][0] - 1e-9 <= lon <= bounds[2][0] + 1e-9
        assert bounds[1][0] - 1e-7 <= lat <= bounds[3][0] + 1e-7

    def test_different_blocks_have_different_ids(self) -> None:
        lon, lat = scatter(3000, 0.0, 0.0, 1.0)
        ids = folds.assign_blocks(lon, lat, EDGE_M)
        x, y = folds.equal_area_xy(lon, lat)
        cells = {(int(a), int(b)) for a, b in zip(x // EDGE_M, y // EDGE_M, strict=True)}
        assert ids.dtype == np.int64
        assert len(np.unique(ids)) == len(cells)

    @pytest.mark.parametrize(("lon", "lat"), PLACES)
    def test_distance_is_the_shortest_geodesic(self, lon: float, lat: float) -> None:
        lons, lats = scatter(40, lon, lat, 0.05)
        blocks = folds.assign_blocks(*scatter(40, lon, lat, 0.05, seed=1), EDGE_M)
        found = distance_to_block(lons, lats, blocks, EDGE_M)
        own = folds.assign_blocks(lons, lats, EDGE_M)
        for i in range(40):
            if own[i] == blocks[i]:
                assert found[i] == 0.0
            else:
                sampled = distance_by_sampling(lons[i], lats[i], int(blocks[i]), EDGE_M)
                assert found[i] == pytest.approx(sampled, abs=25.0)  # sampling step 25 m at most
                assert found[i] < sampled + 1.0

    @pytest.mark.parametrize(("lon", "lat"), [(102.0, 12.5), (100.5, 55.0), (104.9, -60.0)])
    def test_kept_footprints_lie_in_one_block(self, lon: float, lat: float) -> None:
        lons, lats = scatter(4000, lon, lat, 0.1)
        crossing = folds.straddles(lons, lats, 160.0, EDGE_M)
        zone = int(np.floor((lon + 180) / 6)) + 1
        utm = pyproj.Transformer.from_crs(4326, (32600 if lat > 0 else 32700) + zone, always_xy=True)
        x, y = utm.transform(lons, lats)
        centre = folds.assign_blocks(lons, lats, EDGE_M)
        truly = np.zeros(len(lons), bool)
        for dx, dy in [(-160, -160), (-160, 160), (160, -160), (160, 160)]:
            corner = utm.transform(x + dx, y + dy, direction="INVERSE")
            truly |= folds.assign_blocks(*corner, EDGE_M) != centre
        assert not (truly & ~crossing).any()
        # and hardly more than needed is dropped
        assert 0.05 < truly.mean() <= crossing.mean() < truly.mean() + 0.02

    def test_points_never_straddle(self) -> None:
        assert not folds.straddles(*scatter(100, 102.0, 12.0, 0.1), 0.0, EDGE_M).any()

    @pytest.mark.parametrize(("lon", "lat"), [(np.nan, 0.0), (181.0, 0.0), (0.0, 89.0), (0.0, np.nan)])
    def test_impossible_coordinates_are_refused(self, lon: float, lat: float) -> None:
        with pytest.raises(ShapeError, match="first at 1"):
            folds.assign_blocks([0.0, lon], [0.0, lat], EDGE_M)

    @pytest.mark.parametrize("edge_m", [0.0, -5.0, np.nan])
    def test_impossible_edges_are_refused(self, edge_m: float) -> None:
        with pytest.raises(ShapeError, match="block edge"):
            folds.assign_blocks([0.0], [0.0], edge_m)


class TestBalance:
    def test_classes_are_spread_better_than_by_chance(self) -> None:
        rng = np.random.default_rng(0)
        blocks = rng.integers(0, 60, 6000)
        tendency = rng.dirichlet(np.full(6, 0.4), 60)
        classes = np.array([rng.choice(6, p=tendency[block]) for block in blocks])

        def imbalance(names: np.ndarray, fold: np.ndarray) -> float:
            counts = np.zeros((5, 6))
            np.add.at(counts, (fold[np.searchsorted(names, blocks)], classes), 1)
            return float((counts / counts.sum(axis=0)).std(axis=0).mean())

        names, fold = folds.balance_folds(blocks, classes, 5, np.random.default_rng(1))
        by_chance = [imbalance(names, rng.permutation(np.arange(60) % 5)) for _ in range(50)]
        assert imbalance(names, fold) < 0.5 * min(by_chance)
        sizes = np.bincount(fold[np.searchsorted(names, blocks)], minlength=5)
        assert sizes.max() < 1.2 * sizes.min()

    @given(st.integers(2, 6), st.integers(0, 30), st.integers(0, 2**32 - 1))
    def test_every_fold_gets_a_block(self, n_folds: int, more: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        names_in = np.arange(n_folds + more) * 17 - 5
        blocks = np.concatenate([names_in, rng.choice(names_in, 50)])
        classes = rng.integers(-1, 3, len(blocks))
        names, fold = folds.balance_folds(blocks, classes, n_folds, np.random.default_rng(seed))
        assert names.tolist() == names_in.tolist()
        assert set(fold.tolist()) == set(range(n_folds))

    def test_the_seed_decides_and_the_order_of_units_does_not(self) -> None:
        rng = np.random.default_rng(2)
        blocks, classes = np.arange(200) % 40, rng.integers(0, 4, 200)
        mixed = rng.permutation(200)
        one = folds.balance_folds(blocks, classes, 5, np.random.default_rng(9))[1]
        two = folds.balance_folds(blocks[mixed], classes[mixed], 5, np.random.default_rng(9))[1]
        other = folds.balance_folds(blocks, classes, 5, np.random.default_rng(10))[1]
        assert np.array_equal(one, two)
        assert not np.array_equal(one, other)

    def test_unlabelled_units_can_be_dealt(self) -> None:
        _, fold = folds.balance_folds(np.arange(10), np.full(10, -1), 5, np.random.default_rng(0))
        assert np.bincount(fold).tolist() == [2] * 5

    @pytest.mark.parametrize(("n_blocks", "n_folds"), [(4, 5), (10, 1), (300, 200)])
    def test_too_few(self, n_blocks: int, n_folds: int) -> None:
        with pytest.raises(TooFewUnitsError):
            folds.balance_folds(np.arange(n_blocks), np.zeros(n_blocks, int), n_folds, np.random.default_rng(0))


class TestBuffer:
    @pytest.mark.parametrize(("lon", "lat"), PLACES)
    @pytest.mark.parametrize("buffer_m", [1280.0, 7000.0])
    def test_equals_brute_force(self, lon: float, lat: float, buffer_m: float) -> None:
        lons, lats = scatter(150, lon, lat, 0.12)
        blocks = np.unique(folds.assign_blocks(lons, lats, EDGE_M))
        fold = np.random.default_rng(3).integers(0, 3, len(blocks)).astype(np.int8)
        found = folds.find_buffer(lons, lats, blocks, fold, EDGE_M, buffer_m, 3)
        own_fold = fold[np.searchsorted(blocks, folds.assign_blocks(lons, lats, EDGE_M))]
        expected = np.zeros((150, 3), bool)
        for block, number in zip(blocks, fold, strict=True):
            distance = distance_to_block(lons, lats, np.full(150, block), EDGE_M)
            expected[(distance < buffer_m) & (own_fold != number), number] = True
        assert np.array_equal(found, expected)
        assert 0 < found.sum() < found.size

    def test_metres_are_true_on_the_ground(self) -> None:
        # at 60 N a block is 2.9 km wide: 1 km of grid is 0.58 km of ground
        lat, buffer_m = 60.0, 1000.0
        block = folds.assign_blocks([20.0], [lat], EDGE_M)
        west, south, _, north = (float(bound[0]) for bound in block_bounds(block, EDGE_M))
        middle = (south + north) / 2
        steps = np.array([900.0, 990.0, 1010.0, 1100.0])
        lon, lat_out, _ = GEOD.fwd([west] * 4, [middle] * 4, [270.0] * 4, steps)
        blocks = np.unique(np.concatenate([block, folds.assign_blocks(lon, lat_out, EDGE_M)]))
        fold = (blocks == block[0]).astype(np.int8)
        found = folds.find_buffer(lon, lat_out, blocks, fold, EDGE_M, buffer_m, 2)
        assert found[:, 1].tolist() == [True, True, False, False]

    def test_the_antimeridian_is_no_wall(self) -> None:
        lon, lat = np.array([179.999, -179.999]), np.array([10.0, 10.0])
        blocks = np.unique(folds.assign_blocks(lon, lat, EDGE_M))
        fold = (blocks == folds.assign_blocks(lon[:1], lat[:1], EDGE_M)[0]).astype(np.int8)
        found = folds.find_buffer(lon, lat, blocks, fold, EDGE_M, 500.0, 2)
        assert found.tolist() == [[True, False], [False, True]]

    @pytest.mark.parametrize(("lon", "lat"), PLACES)
    def test_pairs_are_foreign_and_listed_once(self, lon: float, lat: float) -> None:
        lons, lats = scatter(300, lon, lat, 0.1)
        own = folds.assign_blocks(lons, lats, EDGE_M)
        blocks = np.unique(own)
        unit, position = pairs_within(lons, lats, blocks, EDGE_M, 3000.0)
        assert len(unit) > 100
        assert (own[unit] != blocks[position]).all()
        assert len(set(zip(unit.tolist(), position.tolist(), strict=True))) == len(unit)

    def test_no_buffer(self) -> None:
        lon, lat = scatter(50, 102.0, 12.0, 0.1)
        blocks = np.unique(folds.assign_blocks(lon, lat, EDGE_M))
        fold = (np.arange(len(blocks)) % 2).astype(np.int8)
        assert not folds.find_buffer(lon, lat, blocks, fold, EDGE_M, 0.0, 2).any()


class TestPlans:
    def test_patches_and_pixels_share_blocks_and_folds(self) -> None:
        lon, lat = scatter(3000, 102.0, 12.5, 0.15)
        classes = np.random.default_rng(0).integers(0, 4, 3000)
        rng = np.random.default_rng(1)
        assignment = folds.build_block_assignment(lon, lat, classes, edge_m=EDGE_M, n_folds=5, rng=rng)
        plans = {
            side: folds.plan_block_folds(
                lon, lat, classes, edge_m=EDGE_M, buffer_m=1280.0, n_folds=5, rng=rng, half_side_m=side,
                assignment=assignment,
            )
            for side in (0.0, 160.0)
        }  # fmt: skip
        pixels, patches = plans[0.0], plans[160.0]
        assert np.array_equal(pixels.block_id, patches.block_id)
        kept = patches.fold != folds.DROPPED
        assert 0 < (~kept).sum() < 0.2 * len(kept)
        assert np.array_equal(pixels.fold[kept], patches.fold[kept])
        assert (pixels.fold != folds.DROPPED).all()
        # a patch reaches farther than a pixel, so its buffer is wider
        assert (patches.in_buffer >= pixels.in_buffer).all()
        assert patches.in_buffer.sum() > pixels.in_buffer.sum()

    def test_training_footprints_stay_clear_of_test_blocks(self) -> None:
        lon, lat = scatter(2000, 102.0, 12.5, 0.12)
        plan = folds.plan_block_folds(
            lon, lat, np.zeros(2000, int), edge_m=EDGE_M, buffer_m=1280.0, n_folds=4,
            rng=np.random.default_rng(0), half_side_m=160.0,
        )  # fmt: skip
        tested = []
        for fold in range(4):
            train, test = folds.fold_split(plan, fold)
            tested.append(test)
            nearest = np.full(len(train), np.inf)
            for block in np.unique(plan.block_id[test]):
                distance = distance_to_block(lon[train], lat[train], np.full(len(train), block), EDGE_M)
                nearest = np.minimum(nearest, distance)
            assert nearest.min() >= 1280.0 + 160.0 * np.sqrt(2)
        # each kept unit is tested exactly once
        assert sorted(np.concatenate(tested)) == np.flatnonzero(plan.fold != folds.DROPPED).tolist()

    def test_an_assignment_of_other_units_or_edges_is_refused(self) -> None:
        lon, lat = scatter(500, 102.0, 12.5, 0.1)
        classes, rng = np.zeros(500, int), np.random.default_rng(0)
        assignment = folds.build_block_assignment(lon, lat, classes, edge_m=EDGE_M, n_folds=3, rng=rng)
        with pytest.raises(TooFewUnitsError, match="units of all grains"):
            folds.apply_block_assignment(assignment, lon + 1, lat, buffer_m=0.0)
        with pytest.raises(ShapeError, match="edge 10000"):
            folds.plan_block_folds(
                lon, lat, classes, edge_m=10_000, buffer_m=0, n_folds=3, rng=rng, assignment=assignment
            )

    def test_a_buffer_that_leaves_nothing_is_told(self) -> None:
        lon, lat = scatter(200, 102.0, 12.5, 0.05)
        plan = folds.plan_block_folds(
            lon, lat, np.zeros(200, int), edge_m=EDGE_M, buffer_m=50_000.0, n_folds=2,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        with pytest.raises(TooFewUnitsError, match="0 to train on"):
            folds.fold_split(plan, 0)
        with pytest.raises(TooFewUnitsError, match="fold: found 2"):
            folds.fold_split(plan, 2)

    def test_a_fold_without_whole_patches_is_told(self) -> None:
        # two blocks, all units on the border between them
        west = float(block_bounds(folds.assign_blocks([102.0], [12.5], EDGE_M), EDGE_M)[0][0])
        with pytest.raises(TooFewUnitsError, match="none in folds"):
            folds.plan_block_folds(
                [west - 1e-5, west + 1e-5], [12.5, 12.5], [0, 0], edge_m=EDGE_M, buffer_m=0.0, n_folds=2,
                rng=np.random.default_rng(0), half_side_m=160.0,
            )  # fmt: skip

    def test_random_folds_are_stratified_and_keep_spatial_blocks(self) -> None:
        lon, lat = scatter(1000, 102.0, 12.5, 0.1)
        classes = np.repeat([0, 1, 2], [700, 250, 50])
        plan = folds.plan_random_folds(
            lon, lat, classes, edge_m=EDGE_M, n_folds=5, rng=np.random.default_rng(0), region=["a"] * 1000
        )
        counts = np.zeros((5, 3), int)
        np.add.at(counts, (plan.fold, classes), 1)
        assert counts.tolist() == [[140, 50, 10]] * 5
        assert np.array_equal(plan.block_id, folds.assign_blocks(lon, lat, EDGE_M))
        assert not plan.in_buffer.any()
        assert plan.scheme == "random"
        assert plan.region is not None
        assert set(plan.region.tolist()) == {"a"}

    def test_given_folds_are_renumbered(self) -> None:
        plan = folds.plan_given_folds([3, 1, 1, -1, 7], ["c", "a", "a", "d", "b"])
        assert plan.fold.tolist() == [1, 0, 0, -1, 2]
        assert plan.block_id.tolist() == [2, 0, 0, 3, 1]
        train, test = folds.fold_split(plan, 0)
        assert (train.tolist(), test.tolist()) == ([0, 4], [1, 2])

    def test_the_test_part_of_a_published_split_is_the_only_fold(self) -> None:
        plan = folds.plan_given_folds([0, -2, -2, -1, 0], ["a", "b", "b", "c", "d"])
        assert plan.n_folds == 1
        assert plan.fold.tolist() == [0, -2, -2, -1, 0]
        train, test = folds.fold_split(plan, 0)
        assert (train.tolist(), test.tolist()) == ([1, 2], [0, 4])

    def test_the_training_part_trains_in_every_given_fold(self) -> None:
        plan = folds.plan_given_folds([5, -2, 9], ["a", "b", "c"])
        assert [[part.tolist() for part in folds.fold_split(plan, k)] for k in (0, 1)] == [[[1, 2], [0]], [[0, 1], [2]]]

    def test_a_split_without_a_test_part_is_refused(self) -> None:
        with pytest.raises(TooFewUnitsError, match="given folds"):
            folds.plan_given_folds([-2, -2], ["a", "b"])

    def test_groups_in_both_parts_of_a_split_are_refused(self) -> None:
        with pytest.raises(folds.SplitGroupError):
            folds.plan_given_folds([0, -2], ["a", "a"])

    def test_given_folds_that_split_a_group_are_refused(self) -> None:
        with pytest.raises(folds.SplitGroupError, match=r"1 groups .*first: b"):
            folds.plan_given_folds([0, 0, 1, 1], ["a", "b", "b", "c"])
        with pytest.raises(TooFewUnitsError, match="given folds"):
            folds.plan_given_folds([0, 0], ["a", "b"])
        with pytest.raises(ShapeError):
            folds.plan_given_folds([0.0, 1.0], ["a", "b"])
