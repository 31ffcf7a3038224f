"""Laws of the patch lattice, over random cells and boxes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import geohash
from transforms.lattice import N_ROWS, ROW_HEIGHT_DEG, count_columns, enumerate_places, locate, recover

#: Land and sea between the polar circles and beyond; rows within 4 degrees of a pole have few columns.
rows_any = st.integers(int(4 / ROW_HEIGHT_DEG), N_ROWS - int(4 / ROW_HEIGHT_DEG))
cells_any = st.lists(st.tuples(st.booleans(), rows_any, st.floats(0, 1, exclude_max=True)), min_size=1, max_size=30)
boxes_any = st.tuples(st.floats(-179, 178), st.floats(-80, 80), st.floats(0.0001, 0.05), st.floats(0.0001, 0.05))


def locate_cells(cells):
    secondary, rows, share = (np.array(column) for column in zip(*cells, strict=True))
    # the last secondary cell stands on the antimeridian, which has a test of its own
    return locate(secondary, rows, np.floor(share * (count_columns(rows) - 1)).astype(np.int64))


def keys_of(places):
    return list(zip(places.is_secondary.tolist(), places.row.tolist(), places.col.tolist(), strict=True))


@given(cells_any)
def test_cells_come_back_from_their_centroids(cells):
    places = locate_cells(cells)
    found = recover(places.lon, places.lat, tolerance_m=1e-3)
    assert keys_of(found) == keys_of(places)
    np.testing.assert_array_equal(found.lon, places.lon)
    np.testing.assert_array_equal(found.lat, places.lat)


@given(cells_any)
def test_cells_come_back_from_their_ids(cells):
    places = locate_cells(cells)
    found = recover(*geohash.decode(geohash.encode(places.lon, places.lat)))
    assert keys_of(found) == keys_of(places)


@given(cells_any)
def test_ids_are_unique(cells):
    places = locate_cells(cells)
    ids = geohash.encode(places.lon, places.lat)
    assert len(set(ids.tolist())) == len(set(keys_of(places)))


@settings(max_examples=50, deadline=None)
@given(boxes_any)
def test_enumerated_centroids_lie_in_the_box(box):
    west, south, width, height = box
    places = enumerate_places(west, south, west + width, south + height)
    rounding = 1e-9  # columns are found by division, centroids by multiplication
    assert ((places.lon >= west - rounding) & (places.lon < west + width + rounding)).all()
    assert ((places.lat >= south - rounding) & (places.lat < south + height + rounding)).all()
    assert len(set(keys_of(places))) == len(places)


@settings(max_examples=50, deadline=None)
@given(boxes_any, st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_parts_of_a_box_hold_what_the_box_holds(box, across, up):
    west, south, width, height = box
    east, north, x, y = west + width, south + height, west + across * width, south + up * height
    parts = [
        enumerate_places(*part)
        for part in ((west, south, x, y), (x, south, east, y), (west, y, x, north), (x, y, east, north))
    ]
    whole = enumerate_places(west, south, east, north)
    assert sorted(key for part in parts for key in keys_of(part)) == sorted(keys_of(whole))


@given(cells_any, st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_a_shift_below_the_tolerance_does_not_change_the_cell(cells, east_m, north_m):
    places = locate_cells(cells)
    scale = 0.7 / 111_320
    lon = places.lon + east_m * scale / np.cos(np.radians(places.lat))
    assert keys_of(recover(lon, places.lat + north_m * scale)) == keys_of(places)
