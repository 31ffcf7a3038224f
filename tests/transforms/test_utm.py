from __future__ import annotations

import mgrs
import numpy as np
import pyproj
import pytest
import shapely

from transforms.utm import (
    UtmBox,
    boxes_to_polygons,
    footprint_boxes,
    mgrs_squares,
    project,
    project_bbox,
    unproject,
    utm_epsg,
    utm_zone,
)

LIBRARY = mgrs.MGRS()
GEOD = pyproj.Geod(ellps="WGS84")


def name_by_library(lon: float, lat: float) -> str:
    return str(LIBRARY.toMGRS(lat, lon, MGRSPrecision=0)).zfill(5)


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (-180.0, 0.0, 1),
        (179.999, 0.0, 60),
        (180.0, 0.0, 60),
        (101.9999, 12.5, 47),
        (102.0, 12.5, 48),
        (2.9999, 60.0, 31),
        (3.0, 60.0, 32),  # Norway
        (3.0, 55.9999, 31),
        (3.0, 64.0, 31),
        (8.9999, 75.0, 31),  # Svalbard
        (9.0, 75.0, 33),
        (21.0, 75.0, 35),
        (33.0, 75.0, 37),
        (42.0, 75.0, 38),
        (9.0, 71.9999, 32),
        (-0.0001, 75.0, 30),
    ],
)
def test_zones_with_their_exceptions(lon: float, lat: float, zone: int) -> None:
    assert utm_zone([lon], [lat]).tolist() == [zone]


def test_hemispheres_have_their_own_codes() -> None:
    assert utm_epsg([104.0, 104.0, 104.0], [0.0, -1e-9, 12.0]).tolist() == [32648, 32748, 32648]


@pytest.mark.parametrize(
    "box",
    [
        (-180, -80, 180, 84),
        (101.5, 11, 102.5, 14),
        (-1, 55, 13, 65),
        (-1, 71, 43, 84),
        (30, -1, 40, 1),
        (-72, -56, -66, -20),
    ],
)
def test_squares_agree_with_the_mgrs_library(box: tuple[float, float, float, float]) -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(box[0], box[2], 400), rng.uniform(box[1], box[3], 400)
    found = mgrs_squares(lon, lat)
    assert found.tolist() == [name_by_library(x, y) for x, y in zip(lon, lat, strict=True)]


def test_published_squares() -> None:
    assert mgrs_squares([104.0902, 101.9155], [9.8627, 12.0042]).tolist() == ["48PVR", "47PRP"]


def test_projection_equals_pyproj_and_comes_back() -> None:
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(102, 108, 100), rng.uniform(0, 80, 100)
    x, y = project(lon, lat, 32648)
    reference = pyproj.Proj(proj="utm", zone=48, ellps="WGS84")(lon, lat)
    np.testing.assert_allclose([x, y], reference, atol=1e-6)
    np.testing.assert_allclose(unproject(x, y, 32648), [lon, lat], atol=1e-10)


def test_footprints_are_squares_around_their_centres() -> None:
    boxes = footprint_boxes([500_000.0, 1000.0], [1_400_000.0, 0.0], 320.0)
    assert boxes.tolist() == [[499_840.0, 1_399_840.0, 500_160.0, 1_400_160.0], [840.0, -160.0, 1160.0, 160.0]]
    assert footprint_boxes([], [], 320.0).shape == (0, 4)


def test_polygons_of_boxes_are_counter_clockwise_and_of_their_size() -> None:
    boxes = footprint_boxes([300_000.0, 700_000.0], [1_400_000.0, 1_500_000.0], 320.0)
    for polygon, box in zip(boxes_to_polygons(boxes, 32648), boxes, strict=True):
        assert polygon.exterior.is_ccw
        area_m2, _ = GEOD.geometry_area_perimeter(polygon)
        assert area_m2 == pytest.approx(320.0**2, rel=1e-3)  # scale of UTM
        lon, lat = unproject([box[0], box[2]], [box[1], box[3]], 32648)
        assert polygon.intersects(shapely.points(lon, lat)).all()
    assert len(boxes_to_polygons(np.empty((0, 4)), 32648)) == 0


def test_projected_boxes_cut_nothing_off() -> None:
    # the parallel bends: its lowest point lies between the corners
    bbox = (102.5, 59.0, 107.5, 60.0)
    box = project_bbox(bbox, 32648)
    rng = np.random.default_rng(2)
    edge = rng.uniform(0, 1, 4000)
    lon = np.concatenate([102.5 + 5 * edge, 102.5 + 5 * edge, np.full(4000, 102.5), np.full(4000, 107.5)])
    lat = np.concatenate([np.full(4000, 59.0), np.full(4000, 60.0), 59 + edge, 59 + edge])
    x, y = project(lon, lat, 32648)
    slack_m = 1.0  # of the densified edges
    assert box.west - slack_m <= x.min() < box.west + 50
    assert box.south - slack_m <= y.min() < box.south + 50
    assert box.east - 50 < x.max() <= box.east + slack_m
    assert box.north - 50 < y.max() <= box.north + slack_m


def test_boxes_grow_and_touch() -> None:
    box = UtmBox(32648, 0.0, 0.0, 10.0, 10.0)
    beside = UtmBox(32648, 10.0, 0.0, 20.0, 10.0)
    assert box.buffer(5.0) == UtmBox(32648, -5.0, -5.0, 15.0, 15.0)
    assert not box.intersects(beside)  # a shared border is no shared area
    assert box.buffer(0.1).intersects(beside)
    assert not box.buffer(0.1).intersects(UtmBox(32647, 0.0, 0.0, 10.0, 10.0))
    assert not box.intersects(UtmBox(32648, 0.0, 10.0, 10.0, 20.0))
