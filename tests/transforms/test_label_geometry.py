from __future__ import annotations

import numpy as np
import pytest
import shapely

from transforms.label_geometry import PolygonIndex, count_points, mend_polygons

SQUARE = shapely.box(0, 0, 2, 2)
BOW_TIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


def test_the_first_polygon_that_holds_a_point_wins() -> None:
    index = PolygonIndex(np.array([SQUARE, shapely.box(1, 1, 3, 3), shapely.box(10, 10, 11, 11)], object))
    x, y = np.array([0.5, 1.5, 2.5, 5.0, 10.5]), np.array([0.5, 1.5, 2.5, 5.0, 10.5])
    assert index.find(x, y).tolist() == [0, 0, 1, -1, 2]


def test_borders_belong_to_a_polygon_and_holes_to_none() -> None:
    ring = shapely.Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(1, 1), (3, 1), (3, 3), (1, 3)]])
    index = PolygonIndex(np.array([ring, shapely.box(4, 0, 5, 4)], object))
    assert index.find(np.array([4.0, 2.0, 0.5]), np.array([2.0, 2.0, 2.0])).tolist() == [0, -1, 0]


def test_points_that_no_crs_can_express_are_nowhere() -> None:
    index = PolygonIndex(np.array([SQUARE], object))
    assert index.find(np.array([np.inf, np.nan, 1.0]), np.array([1.0, 1.0, 1.0])).tolist() == [-1, -1, 0]
    assert index.find(np.empty(0), np.empty(0)).tolist() == []


def test_points_are_tested_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 12, (2, 500))
    index = PolygonIndex(np.array([SQUARE, shapely.box(1, 1, 9, 3), shapely.Point(6, 6).buffer(3)], object))
    whole = index.find(x, y)
    monkeypatch.setattr("transforms.label_geometry._POINTS_AT_ONCE", 7)
    np.testing.assert_array_equal(index.find(x, y), whole)
    assert set(whole.tolist()) == {-1, 0, 1, 2}


def test_points_are_counted_by_class_and_edges_once() -> None:
    boxes = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 2.0, 1.0]])
    x, y = np.array([0.5, 0.6, 1.0, 2.0, 0.5, 0.1]), np.array([0.5, 0.5, 0.5, 0.5, 0.0, 0.2])
    ids = np.array([1, 1, 0, 0, 0, -1], np.int16)
    # x = 1 is the west edge of the second box, y = 0 the south edge of both
    assert count_points(boxes, x, y, ids, 2).tolist() == [[0, 2], [1, 0]]


def test_counts_equal_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 10, (40, 2))
    boxes = np.hstack([corner, corner + 2.5])  # they overlap, as lattices do
    x, y = rng.uniform(0, 12, (2, 200))
    ids = rng.integers(-1, 3, 200).astype(np.int16)
    monkeypatch.setattr("transforms.label_geometry._BOXES_AT_ONCE", 9)
    found = count_points(boxes, x, y, ids, 3)
    for row, (west, south, east, north) in enumerate(boxes):
        inside = (x >= west) & (x < east) & (y > south) & (y <= north)
        expected = [int((ids[inside] == k).sum()) for k in range(3)]
        assert found[row].tolist() == expected
    assert found.sum() > 100


def test_crossed_rings_are_mended_without_losing_ground() -> None:
    mended, is_mended = mend_polygons(np.array([SQUARE, BOW_TIE], object))
    assert is_mended.tolist() == [False, True]
    assert shapely.is_valid(mended).all()
    assert mended[1].area == pytest.approx(2.0)  # two triangles of area 1
    assert PolygonIndex(mended[1:]).find(np.array([1.0, 0.2]), np.array([0.2, 1.0])).tolist() == [-1, 0]


def test_what_has_no_area_after_mending_is_empty() -> None:
    spike = shapely.Polygon([(0, 0), (2, 0), (1, 0)])
    mended, is_mended = mend_polygons(np.array([spike], object))
    assert is_mended.tolist() == [True]
    assert mended[0].is_empty
