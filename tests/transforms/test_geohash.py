from __future__ import annotations

import numpy as np
import pytest

from transforms.geohash import HALF_CELL_LAT_DEG, HALF_CELL_LON_DEG, decode, encode, pixel_keys

BASE32 = "0123456789bcdefghjkmnpqrstuvwxyz"


def bisect(lon: float, lat: float) -> int:
    """Halve intervals 55 times, longitude first, as geohash is defined."""
    spans = [[-180.0, 180.0], [-90.0, 90.0]]
    key = 0
    for bit in range(55):
        span, value = spans[bit % 2], (lon, lat)[bit % 2]
        middle = sum(span) / 2
        upper = value >= middle
        key = 2 * key + upper
        span[0 if upper else 1] = middle
    return key


def as_text(key: int) -> str:
    return "".join(BASE32[(key >> shift) & 31] for shift in range(50, -1, -5))


@pytest.mark.parametrize(
    ("key", "lon", "lat"),
    [(31646144126408287, 104.090287, 9.862659), (31736946848215620, 101.915459, 12.004216)],
)
def test_published_ids_decode_to_their_places(key: int, lon: float, lat: float) -> None:
    found_lon, found_lat = decode([key])
    assert found_lon[0] == pytest.approx(lon, abs=6e-7)
    assert found_lat[0] == pytest.approx(lat, abs=6e-7)
    assert encode(found_lon, found_lat).tolist() == [key]


def test_the_well_known_example() -> None:
    # https://en.wikipedia.org/wiki/Geohash: 57.64911, 10.40744 is u4pruydqqvj
    assert as_text(int(encode(10.40744, 57.64911))) == "u4pruydqqvj"


def test_keys_equal_bisection() -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-180, 180, 500), rng.uniform(-90, 90, 500)
    keys = encode(lon, lat)
    assert keys.dtype == np.uint64
    assert keys.tolist() == [bisect(x, y) for x, y in zip(lon, lat, strict=True)]


def test_the_corners_of_the_world_have_keys() -> None:
    lon, lat = np.array([-180.0, -180.0, 180.0, 180.0]), np.array([-90.0, 90.0, -90.0, 90.0])
    keys = encode(lon, lat)
    assert (keys < 2**55).all()
    assert len(set(keys.tolist())) == 4
    assert keys[0] == 0
    assert keys[3] == 2**55 - 1
    found_lon, found_lat = decode(keys)
    assert np.abs(found_lon - lon).max() <= HALF_CELL_LON_DEG
    assert np.abs(found_lat - lat).max() <= HALF_CELL_LAT_DEG


def test_a_cell_is_about_fifteen_centimetres() -> None:
    assert pytest.approx(1.34e-6, rel=0.01) == 2 * HALF_CELL_LON_DEG
    assert pytest.approx(0.15, abs=0.01) == 2 * HALF_CELL_LON_DEG * 111_320


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_shapes_are_kept(shape: tuple[int, ...]) -> None:
    keys = encode(np.full(shape, 102.0), np.full(shape, 12.5))
    assert keys.shape == shape
    assert decode(keys)[0].shape == shape
    assert decode(keys)[1].shape == shape


def test_signed_integers_decode_alike() -> None:
    # Earth Genome stores int64
    keys = encode([101.9, 104.1], [12.0, 9.9])
    assert [a.tolist() for a in decode(keys.astype(np.int64))] == [a.tolist() for a in decode(keys)]


def test_pixel_keys_tell_mirrored_pixels_of_two_zones_apart() -> None:
    lon, lat = np.array([102.0]), np.array([12.65])  # two centres in one 0.15 m cell
    west, east = pixel_keys(lon, lat, 32647), pixel_keys(lon, lat, 32648)
    assert west != east
    assert decode(west) == decode(east)
    assert max(west[0], east[0]) < 2**56
