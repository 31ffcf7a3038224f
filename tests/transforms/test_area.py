"""The area of interest: which places lie in it, and what becomes of shapes that go over the antimeridian."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import shapely.affinity

from transforms.area import Area, area_of_boxes, area_of_shapes, grow, hull_of, inside_bbox, polygonal, split_bbox
from transforms.errors import ShapeError
from transforms.lattice import enumerate_places

FIJI = [(176.0, -19.0), (183.0, -19.0), (183.0, -15.0), (176.0, -15.0)]


def random_points(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-180.0, 180.0, n), rng.uniform(-25.0, -10.0, n)


def winding_inside(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Fiji's rectangle by arithmetic alone."""
    return ((lon > 176.0) | (lon < -177.0)) & (lat > -19.0) & (lat < -15.0)


def holds(area: Area, lon: np.ndarray, lat: np.ndarray) -> None:
    np.testing.assert_array_equal(area.contains(lon, lat), winding_inside(lon, lat))


@pytest.mark.parametrize(
    "ring",
    [
        FIJI,  # longitudes go on beyond 180
        [(lon - 360.0 if lon > 180 else lon, lat) for lon, lat in FIJI],  # edges jump from 176 to -177
        [(lon - 360.0, lat) for lon, lat in FIJI],  # all of it written west of 180 W
    ],
    ids=["0 to 360", "edges that jump", "below -180"],
)
def test_shapes_over_the_antimeridian_are_cut_there(ring: list[tuple[float, float]]) -> None:
    area = area_of_shapes([shapely.Polygon(ring)], "Fiji")
    assert area.crosses_antimeridian
    assert area.geometry.area == pytest.approx(7.0 * 4.0)
    assert area.bbox == (-180.0, -19.0, 180.0, -15.0)
    holds(area, *random_points())


def test_shapes_that_are_cut_already_stay_as_they_are() -> None:
    halves = shapely.MultiPolygon([shapely.box(176.0, -19.0, 180.0, -15.0), shapely.box(-180.0, -19.0, -177.0, -15.0)])
    area = area_of_shapes([halves], "Fiji")
    assert area.geometry.equals(halves)
    holds(area, *random_points(seed=1))


def test_holes_over_the_antimeridian_stay_holes() -> None:
    hole = [(178.0, -18.0), (-179.0, -18.0), (-179.0, -16.0), (178.0, -16.0)]
    jumping = [(lon - 360.0 if lon > 180 else lon, lat) for lon, lat in FIJI]
    area = area_of_shapes([shapely.Polygon(jumping, [hole])], "Fiji")
    lon, lat = np.array([179.0, -179.5, 177.0, -178.0]), np.full(4, -17.0)
    assert area.contains(lon, lat).tolist() == [False, False, True, True]
    assert area.geometry.area == pytest.approx(7.0 * 4.0 - 3.0 * 2.0)


def test_a_ring_round_a_pole_holds_the_pole() -> None:
    lon = np.linspace(-180.0, 180.0, 37)[:-1]
    coast = np.stack([lon, -70.0 + 5.0 * np.sin(np.radians(3 * lon))], axis=1)
    for ring in (coast, coast[::-1]):
        area = area_of_shapes([shapely.Polygon(ring)], "Antarctica")
        places = np.array([0.0, 100.0, -179.9, 0.0]), np.array([-89.9, -80.0, -80.0, -60.0])
        assert area.contains(*places).tolist() == [True, True, True, False]
        assert area.bbox == (-180.0, -90.0, 180.0, pytest.approx(-65.0, abs=0.2))


def test_a_band_round_the_world_is_no_jump() -> None:
    area = area_of_shapes([shapely.box(-180.0, -10.0, 180.0, 10.0)], "tropics")
    assert area.contains([0.0, 170.0, 0.0], [0.0, 0.0, 20.0]).tolist() == [True, True, False]


def test_the_places_on_the_antimeridian_belong_to_what_crosses_it() -> None:
    places = enumerate_places(179.9, -17.1, 180.0, -17.0)
    on_line = places.lon == 180.0
    assert on_line.sum() > 10
    area = area_of_shapes([shapely.Polygon(FIJI)], "Fiji")
    assert area.contains(places.lon, places.lat).all()
    assert area_of_boxes([(176.0, -19.0, 180.0, -15.0)]).contains(places.lon, places.lat).all()
    east = area_of_boxes([(-180.0, -19.0, -177.0, -15.0)])
    assert not east.contains(places.lon, places.lat).any()


def test_boxes_hold_their_west_and_south_borders_alone() -> None:
    area = area_of_boxes([(10.0, 45.0, 12.0, 46.0)])
    lon, lat = np.array([10.0, 12.0, 11.0, 11.0, 11.0]), np.array([45.5, 45.5, 45.0, 46.0, 45.5])
    assert area.contains(lon, lat).tolist() == [True, False, True, False, True]
    assert area.bbox == (10.0, 45.0, 12.0, 46.0)
    assert area.near((10.0, 45.0, 10.1, 45.1)) is area


def test_a_box_over_the_antimeridian_is_two() -> None:
    area = area_of_boxes([(176.0, -19.0, -177.0, -15.0)])
    holds(area, *random_points(seed=2))
    assert area.crosses_antimeridian


@pytest.mark.parametrize(
    ("bbox", "parts"),
    [
        ((1.0, 2.0, 3.0, 4.0), [(1.0, 2.0, 3.0, 4.0)]),
        ((179.0, 0.0, -179.0, 1.0), [(179.0, 0.0, 180.0, 1.0), (-180.0, 0.0, -179.0, 1.0)]),
        ((179.0, 0.0, 181.0, 1.0), [(179.0, 0.0, 180.0, 1.0), (-180.0, 0.0, -179.0, 1.0)]),
        ((-181.0, 0.0, -179.0, 1.0), [(179.0, 0.0, 180.0, 1.0), (-180.0, 0.0, -179.0, 1.0)]),
        ((181.0, 0.0, 182.0, 1.0), [(-179.0, 0.0, -178.0, 1.0)]),
        ((-180.5, 0.0, 180.5, 1.0), [(-180.0, 0.0, 180.0, 1.0)]),
        ((-180.0, 0.0, 180.0, 1.0), [(-180.0, 0.0, 180.0, 1.0)]),
    ],
)
def test_boxes_are_split_at_the_antimeridian(bbox: tuple, parts: list) -> None:
    assert split_bbox(bbox) == parts


@pytest.mark.parametrize(
    ("boxes", "hull"),
    [
        ([(1.0, 2.0, 3.0, 4.0), (-5.0, 3.0, 2.0, 9.0)], (-5.0, 2.0, 3.0, 9.0)),
        (
            [(-100.0, 0.0, -90.0, 1.0), (90.0, 0.0, 100.0, 1.0)],
            (-100.0, 0.0, 100.0, 1.0),
        ),  # touches 180 on neither side
        ([(179.0, 0.0, -179.0, 1.0)], (179.0, 0.0, -179.0, 1.0)),
        ([(178.0, 0.0, 180.0, 1.0), (-180.0, -1.0, -179.4, 0.0)], (178.0, -1.0, -179.4, 1.0)),
        ([(170.0, 0.0, -170.0, 1.0), (20.0, 0.0, 60.0, 1.0), (50.0, 0.0, 70.0, 1.0)], (20.0, 0.0, -170.0, 1.0)),
        ([(170.0, 0.0, -20.0, 1.0), (60.0, 0.0, 70.0, 1.0)], (170.0, 0.0, 70.0, 1.0)),
        ([(0.0, 0.0, 180.0, 1.0), (-180.0, 0.0, 5.0, 1.0)], (-180.0, 0.0, 180.0, 1.0)),
    ],
)
def test_the_hull_goes_over_the_antimeridian_where_boxes_touch_it_on_both_sides(boxes: list, hull: tuple) -> None:
    assert hull_of(boxes) == hull


def test_points_together_are_tested_as_points_alone() -> None:
    rng = np.random.default_rng(3)
    star = shapely.Polygon(
        [
            (np.cos(a) * r, np.sin(a) * r)
            for a, r in zip(np.linspace(0, 6.2, 40), rng.uniform(1.0, 3.0, 40), strict=True)
        ]
    )
    area = area_of_shapes([star.difference(shapely.box(-0.2, -0.2, 0.2, 0.2))], "star")
    for west, south, size in [(-0.9, 0.3, 0.1), (3.5, 3.5, 0.5), (0.5, 0.5, 3.0), (-3.0, -3.0, 6.0), (-0.1, -0.1, 0.2)]:
        lon, lat = rng.uniform(west, west + size, 500), rng.uniform(south, south + size, 500)
        one_by_one = [area.geometry.contains(shapely.Point(x, y)) for x, y in zip(lon, lat, strict=True)]
        assert area.contains(lon, lat).tolist() == one_by_one
        near = area.near(grow((west, south, west + size, south + size), 1.0))
        assert near.contains(lon, lat).tolist() == one_by_one
    assert area.contains(np.empty(0), np.empty(0)).shape == (0,)


def test_files_touch_an_area_where_they_share_ground() -> None:
    area = area_of_shapes([shapely.Polygon([(0, 0), (4, 0), (0, 4)])], "triangle")
    assert area.touches((-1.0, -1.0, 0.5, 0.5))
    assert not area.touches((3.0, 3.0, 4.0, 4.0))  # inside the bounding box alone
    over = area_of_shapes([shapely.box(-180.0, -1.0, -179.0, 1.0)], "east of the line")
    assert over.touches((179.5, 0.0, -179.5, 0.5))
    assert not over.touches((178.0, 0.0, 179.5, 0.5))


def test_invalid_rings_are_mended_and_overlaps_count_once() -> None:
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    assert area_of_shapes([bow_tie], "bow tie").geometry.area == pytest.approx(2.0)
    two = area_of_shapes([shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3)], "two")
    assert two.geometry.area == pytest.approx(7.0)
    assert shapely.is_valid(two.geometry)


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ([], "nothing"),
        ([shapely.Point(1, 2)], "Point"),
        ([shapely.Polygon([(0, 0), (1, 1), (2, 2)])], "without an area"),
        ([shapely.box(400_000, 1_300_000, 500_000, 1_400_000)], "Does the file say the right CRS"),
    ],
)
def test_what_is_no_area_is_refused(shapes: list, found: str) -> None:
    with pytest.raises(ShapeError, match=found):
        area_of_shapes(shapes, "my file")


def test_polygons_alone_are_kept_of_a_collection() -> None:
    mixed = shapely.GeometryCollection([shapely.Point(0, 0), shapely.MultiPolygon([shapely.box(0, 0, 1, 1)])])
    assert polygonal(mixed).equals(shapely.box(0, 0, 1, 1))
    assert polygonal(shapely.LineString([(0, 0), (1, 1)])).is_empty


def test_inside_is_west_and_south_of_the_far_borders() -> None:
    lon, lat = np.array([0.0, 1.0, 0.5]), np.array([0.0, 0.5, 1.0])
    assert inside_bbox(lon, lat, (0.0, 0.0, 1.0, 1.0)).tolist() == [True, False, False]
