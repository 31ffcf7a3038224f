from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.fake_chips import make_chips
from transforms.errors import ShapeError, TooFewUnitsError
from transforms.places import PixelPlaces
from transforms.pretraining.chip_places import ChipPlace, earth_centred, paste_window, place_chips
from transforms.pretraining.chips import training_ground
from transforms.utm import unproject
from transforms.windows import PixelGrid, PixelWindow

EPSG = 32647


@given(st.integers(0, 2**32 - 1), st.sampled_from([("a",), ("b",), ("a", "b")]), st.integers(0, 2))
def test_training_sees_nothing_of_test_blocks_buffers_other_regions_or_nodata(
    seed: int, regions: tuple[str, ...], fold: int
) -> None:
    rng = np.random.default_rng(seed)
    chips = make_chips(rng, n_chips=9, px=6, n_folds=3, regions=("a", "b"))
    vectors = chips.vectors.copy()
    vectors[np.broadcast_to(rng.random((9, 1, 6, 6)) < 0.1, vectors.shape)] = np.nan
    chips = replace(chips, vectors=vectors, other_year=vectors + 1, in_buffer=rng.random((9, 6, 6, 3)) < 0.3)
    ground = training_ground(chips, regions, fold)
    allowed = ~chips.in_buffer[..., fold] & np.isfinite(vectors).all(axis=1)
    allowed &= ((chips.fold != fold) & np.isin(chips.region, regions))[:, None, None]
    assert np.array_equal(ground.may_train, allowed[ground.chips])
    assert allowed.sum() == ground.may_train.sum()
    for seen in (ground.seen, ground.seen_other):
        assert (np.moveaxis(seen, 1, -1)[~ground.may_train] == 0).all()
    kept = np.moveaxis(ground.seen, 1, -1)[ground.may_train]
    np.testing.assert_allclose(kept.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(kept.std(axis=0), 1, atol=1e-4)


def test_the_other_year_is_in_the_units_of_the_year_and_falls_back_to_it() -> None:
    rng = np.random.default_rng(0)
    chips = make_chips(rng, n_chips=4)
    other = chips.vectors + 2
    other[:, :, :, :3] = np.nan
    ground = training_ground(replace(chips, other_year=other), ("a",), 0)
    np.testing.assert_array_equal(ground.seen_other[..., :3], ground.seen[..., :3])
    difference = (ground.seen_other - ground.seen)[..., 3:]
    expected = np.broadcast_to(2 * ground.scale[:, None, None], difference.shape)
    np.testing.assert_allclose(difference, expected, rtol=1e-3)


def test_test_chips_are_put_into_the_units_of_training() -> None:
    chips = make_chips(np.random.default_rng(0))
    ground = training_ground(chips, ("a",), 1)
    np.testing.assert_array_equal(ground.standardise(chips.vectors[ground.chips]), ground.seen)


def test_chips_that_do_not_belong_together_are_refused() -> None:
    chips = make_chips(np.random.default_rng(0))
    with pytest.raises(ShapeError, match="chips: found"):
        replace(chips, labels=chips.labels[:, 1:])
    with pytest.raises(ShapeError, match="a block twice"):
        replace(chips, block_id=np.zeros(len(chips), np.int64))


def test_a_region_without_training_ground_is_refused_by_name() -> None:
    chips = make_chips(np.random.default_rng(0), n_chips=2, n_folds=2, regions=("a",))
    with pytest.raises(TooFewUnitsError, match="chips of a outside fold 0 and its buffer"):
        training_ground(replace(chips, in_buffer=np.ones_like(chips.in_buffer)), ("a",), 0)


def make_places(n: int, seed: int = 0) -> PixelPlaces:
    rng = np.random.default_rng(seed)
    x, y = 600_005 + 10.0 * rng.integers(0, 500, n), 1_400_005 + 10.0 * rng.integers(0, 500, n)
    lon, lat = unproject(x, y, EPSG)
    return PixelPlaces(np.arange(n, dtype=np.uint64), lon, lat, np.full(n, EPSG, np.int32), x, y)


@pytest.mark.parametrize("size", [7, 8])
def test_each_block_has_one_chip_around_its_most_central_pixel(size: int) -> None:
    places = make_places(60)
    block = np.arange(60) % 4
    shard = np.array(["s", "t"])[np.arange(60) % 2]
    chips = place_chips(places, shard, block, {0: 2, 1: 0, 3: 1}, size, (10.0, 10.0))
    assert [(chip.block_id, chip.fold) for chip in chips] == [(0, 2), (1, 0), (3, 1)]
    for chip in chips:
        mine = np.flatnonzero(block == chip.block_id)
        x, y = chip.centers()
        middle = x[size // 2, size // 2], y[size // 2, size // 2]
        off = np.hypot(places.x_m[mine] - places.x_m[mine].mean(), places.y_m[mine] - places.y_m[mine].mean())
        nearest = mine[np.argmin(off)]
        assert middle == (places.x_m[nearest], places.y_m[nearest])
        assert chip.shard == shard[nearest]
        assert chip.middle.west < middle[0] < chip.middle.east
        assert chip.middle.south < middle[1] < chip.middle.north
        lon, lat = chip.lonlat()
        assert (lon[size // 2, size // 2], lat[size // 2, size // 2]) == pytest.approx(
            (places.lon[nearest], places.lat[nearest])
        )


def make_place(pitch: tuple[float, float] = (10.0, 10.0)) -> ChipPlace:
    affine = Affine(pitch[0], 0, 600_000, 0, -pitch[1], 1_400_000)
    return ChipPlace(1, 0, "s", PixelGrid(EPSG, affine, 6, 6))


def make_window(affine: Affine, height: int, width: int, epsg: int = EPSG) -> PixelWindow:
    values = np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width)
    return PixelWindow(values, np.ones((height, width), bool), affine, epsg, "here.tif")


def test_a_window_is_pasted_where_it_is_and_the_rest_is_nodata() -> None:
    window = make_window(Affine(10, 0, 600_020, 0, -10, 1_399_990), 5, 4)
    chip = paste_window(make_place(), window)
    np.testing.assert_array_equal(chip[:, 1:, 2:], window.values)
    assert np.isnan(chip[:, 0]).all()
    assert np.isnan(chip[:, :, :2]).all()


@pytest.mark.parametrize(
    ("affine", "epsg"),
    [
        (Affine(10, 0, 600_003, 0, -10, 1_400_000), EPSG),
        (Affine(10, 0, 600_000, 0, -10, 1_400_000), EPSG + 1),
        (Affine(9.9, 0, 600_000, 0, -10, 1_400_000), EPSG),
    ],
)
def test_a_window_on_another_grid_is_refused(affine: Affine, epsg: int) -> None:
    with pytest.raises(ShapeError, match=r"pixels of here\.tif: .*on the same grid"):
        paste_window(make_place(), make_window(affine, 6, 6, epsg))


def test_a_product_may_have_pixels_that_are_not_square() -> None:
    place = make_place((9.99, 10.01))
    window = make_window(place.grid.affine, 6, 6)
    np.testing.assert_array_equal(paste_window(place, window), window.values)
    assert place.box.east - place.box.west == pytest.approx(9.99 * 5.5)


def test_chords_are_ground_distances_over_a_zone_edge() -> None:
    lon = np.array([[101.999, 102.001]])
    lat = np.full((1, 2), 12.6)
    xyz = earth_centred(lon, lat)
    assert np.linalg.norm(xyz[0, 0] - xyz[0, 1]) == pytest.approx(217.3, abs=0.5)  # geodesic of 0.002 degrees
