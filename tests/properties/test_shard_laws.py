"""Laws of ownership, over random areas of the world."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.area import area_of_boxes, inside_bbox
from transforms.shards import assign_owners, cut_mgrs, cut_regions
from transforms.utm import mgrs_squares, utm_epsg

seeds = st.integers(0, 2**32 - 1)


def off_grid(low, high, offset):
    """Degrees that are never whole: borders on a zone's central meridian have a test of their own."""
    return st.integers(low * 1000, high * 1000).map(lambda k: (k + offset) / 1000)


#: Everywhere south of Norway, and more often where zones, bands and the hemispheres meet.
corners_lon = st.one_of(off_grid(-180, 177, 0.5), st.sampled_from([-180.0, -6.0, 0.0, 6.0, 102.0, 174.0]))
corners_lat = st.one_of(off_grid(-80, 52, 0.5), st.sampled_from([-80.0, -8.0, -1.0, 0.0, 8.0, 48.0]))
widths = off_grid(0, 3, 0.25)


@st.composite
def areas_any(draw):
    west, south = draw(corners_lon), draw(corners_lat)
    return west, south, min(west + draw(widths), 180.0), south + draw(widths)


def points_in(area, seed, n=300):
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(area[0], area[2], n), rng.uniform(area[1], area[3], n)
    kept = inside_bbox(lon, lat, area)
    return lon[kept], lat[kept]


@settings(max_examples=40, deadline=None)
@given(areas_any(), seeds)
def test_points_of_an_area_belong_to_one_shard_whose_box_holds_them(area, seed):
    shards = cut_mgrs(area_of_boxes([area]))
    lon, lat = points_in(area, seed)
    owner = assign_owners(lon, lat, shards, area_of_boxes([area]))
    boxes = {shard.key: shard.bbox for shard in shards}
    assert len(boxes) == len(shards)
    assert set(owner) <= set(boxes)
    np.testing.assert_array_equal(owner, mgrs_squares(lon, lat))
    west, south, east, north = np.array([boxes[key] for key in owner]).T
    assert ((west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)).all()


@settings(max_examples=40, deadline=None)
@given(areas_any(), seeds)
def test_shards_of_a_part_of_an_area_are_shards_of_the_area(area, seed):
    # adding an area adds shards, and never renames any
    west, south, east, north = area
    part = (west, south, west + (east - west) / 2, south + (north - south) / 2)
    lon, lat = points_in(part, seed)
    few, all_ = area_of_boxes([part]), area_of_boxes([area])
    np.testing.assert_array_equal(
        assign_owners(lon, lat, cut_mgrs(few), few), assign_owners(lon, lat, cut_mgrs(all_), all_)
    )


@settings(max_examples=40, deadline=None)
@given(areas_any())
def test_the_zone_of_a_shard_is_that_of_its_places(area):
    for shard in cut_mgrs(area_of_boxes([area])):
        west, south, east, north = shard.bbox
        assert utm_epsg([(west + east) / 2], [(south + north) / 2])[0] == shard.epsg
        assert shard.epsg % 100 == int(shard.key[:2])


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=5), seeds)
def test_regions_own_by_their_order(corners, seed):
    regions = {f"r{i}": (x, y, x + 1.0, y + 1.0) for i, (x, y) in enumerate(corners)}
    lon, lat = points_in((0.0, 0.0, 10.0, 10.0), seed)
    owner = assign_owners(lon, lat, cut_regions(regions), None)
    for x, y, found in zip(lon, lat, owner, strict=True):
        holders = [name for name, (w, s, e, n) in regions.items() if w <= x <= e and s <= y <= n]
        assert found == (holders[0] if holders else "")
