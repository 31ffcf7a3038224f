"""Laws of areas: counts equal lists, shards tile the area, wherever it lies."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.area import area_of_shapes, grow
from transforms.lattice import enumerate_places
from transforms.lattice_counts import count_places
from transforms.shards import assign_owners, cut_mgrs
from transforms.utm import mgrs_squares


@st.composite
def blobs(draw):
    """A star round a centre anywhere between 70 S and 50 N, over the antimeridian too, maybe with a hole."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    lon = draw(st.one_of(st.floats(-179, 179), st.sampled_from([-180.0, 179.99, 0.0, 102.0])))
    lat, size = draw(st.floats(-70, 50)), draw(st.floats(0.01, 0.4))
    angle = np.sort(rng.uniform(0, 2 * np.pi, 25))
    radius = rng.uniform(0.3, 1.0, 25) * size
    star = shapely.Polygon(np.stack([lon + radius * np.cos(angle), lat + radius * np.sin(angle)], axis=1))
    hole = shapely.box(lon - size / 9, lat - size / 9, lon + size / 9, lat + size / 9)
    return star.difference(hole) if draw(st.booleans()) else star


def list_places(area):
    parts = [enumerate_places(*grow(part.bounds, 1.0)) for part in shapely.get_parts(area.geometry)]
    lon, lat = (np.concatenate([getattr(part, name) for part in parts]) for name in ("lon", "lat"))
    places = np.unique(np.stack([lon, lat], axis=1), axis=0)
    return places[area.contains(places[:, 0], places[:, 1])]


@settings(max_examples=60, deadline=None)
@given(blobs())
def test_places_are_counted_as_they_are_listed(blob):
    area = area_of_shapes([blob], "blob")
    assert count_places(area.geometry) == len(list_places(area))


@settings(max_examples=40, deadline=None)
@given(blobs(), st.integers(0, 2**32 - 1))
def test_points_of_an_area_belong_to_the_shard_of_their_square(blob, seed):
    area = area_of_shapes([blob], "blob")
    shards = cut_mgrs(area)
    rng = np.random.default_rng(seed)
    for part in shapely.get_parts(area.geometry):
        west, south, east, north = part.bounds
        lon, lat = rng.uniform(west, east, 300), rng.uniform(south, north, 300)
        inside = area.contains(lon, lat)
        owner = assign_owners(lon, lat, shards, area)
        assert (owner[~inside] == "").all()
        np.testing.assert_array_equal(owner[inside], mgrs_squares(lon[inside], lat[inside]))
        for shard in shards:
            mine = owner == shard.key
            west, south, east, north = shard.reading_box()
            held = (lon[mine] >= west) & (lon[mine] <= east) & (lat[mine] >= south) & (lat[mine] <= north)
            assert held.all(), shard.key
            near = area.near(shard.reading_box())
            np.testing.assert_array_equal(near.contains(lon[mine], lat[mine]), True)


@settings(max_examples=40, deadline=None)
@given(blobs())
def test_shards_cover_the_area_once(blob):
    area = area_of_shapes([blob], "blob")
    shards = cut_mgrs(area)
    assert len({shard.key for shard in shards}) == len(shards)
    outlines = [shard.polygon() for shard in shards]
    assert all(outline.is_valid for outline in outlines)
    total = sum(outline.area for outline in outlines)
    assert abs(total - area.geometry.area) < 1e-4 * area.geometry.area
    assert abs(shapely.union_all(outlines).area - total) < 1e-4 * total
