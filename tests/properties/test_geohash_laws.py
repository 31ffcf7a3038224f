"""Laws of geohash keys, over random places and keys."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.geohash import HALF_CELL_LAT_DEG, HALF_CELL_LON_DEG, decode, encode

keys_any = st.lists(st.integers(0, 2**55 - 1), min_size=1, max_size=50)
places_any = st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=1, max_size=50)
#: A key has 28 bits of longitude and 27 of latitude.
cells_any = st.tuples(st.integers(0, 2**28 - 1), st.integers(0, 2**27 - 1))


@given(keys_any)
def test_encoding_a_decoded_key_is_the_identity(keys):
    assert encode(*decode(np.array(keys, np.uint64))).tolist() == keys


@given(places_any)
def test_decoded_places_are_within_half_a_cell(places):
    lon, lat = np.array(places).T
    found_lon, found_lat = decode(encode(lon, lat))
    # one rounding of a longitude near 180 is 3e-14
    assert (np.abs(found_lon - lon) <= HALF_CELL_LON_DEG + 1e-12).all()
    assert (np.abs(found_lat - lat) <= HALF_CELL_LAT_DEG + 1e-12).all()


@given(cells_any, cells_any)
def test_keys_are_unique_to_cells(first, second):
    keys = [int(encode((x + 0.5) / 2**28 * 360 - 180, (y + 0.5) / 2**27 * 180 - 90)) for x, y in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)


@given(places_any, st.floats(1e-5, 1.0))
def test_keys_never_fall_towards_the_north_east(places, step):
    # a Z-order curve is monotone in both coordinates together
    lon, lat = np.array(places).T
    moved = encode(np.minimum(lon + step, 180), np.minimum(lat + step, 90))
    assert (moved >= encode(lon, lat)).all()


@given(keys_any, st.integers(1, 54))
def test_a_shared_prefix_is_a_shared_box(keys, n_bits):
    # all places of one prefix lie in its box, which halves with every bit
    array = np.array(keys, np.uint64)
    prefix = array >> np.uint64(55 - n_bits)
    lon, lat = decode(array)
    same = prefix == prefix[0]
    assert np.ptp(lon[same]) < 360 / 2 ** ((n_bits + 1) // 2)
    assert np.ptp(lat[same]) < 180 / 2 ** (n_bits // 2)
