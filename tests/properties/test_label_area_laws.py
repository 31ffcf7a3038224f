"""Shares of polygons in footprints, against their exact areas and against each cell taken by itself."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from transforms.label_geometry import PolygonIndex
from transforms.labels import summarize_patches

SIDE, CELL = 320.0, 10.0
OFFSET = np.arange(CELL / 2, SIDE, CELL)

coordinate = st.floats(-400, 720, allow_nan=False)
triangles = st.lists(st.tuples(*[st.tuples(coordinate, coordinate)] * 3), min_size=1, max_size=4)


def sound(corners: list) -> np.ndarray:
    shapes = np.array([shapely.convex_hull(shapely.MultiPoint(three)) for three in corners], object)
    return shapes[(shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON) & (shapely.area(shapes) > 1)]


@given(triangles)
def test_shares_are_those_of_the_cells_and_near_the_exact_areas(corners: list) -> None:
    polygons = sound(corners)
    if not len(polygons):
        return
    across, up = np.meshgrid(OFFSET, OFFSET)
    found = PolygonIndex(polygons).find(across.ravel(), up.ravel())
    labels = summarize_patches((found[None] >= 0).astype(np.int16), 2)
    # each cell by itself, with another predicate on single geometries
    cells = [
        any(polygon.covers(shapely.Point(x, y)) for polygon in polygons)
        for x, y in zip(across.ravel(), up.ravel(), strict=True)
    ]
    assert labels.fractions[0, 1] == pytest.approx(np.mean(cells), abs=1e-6)
    # a cell errs only where the border crosses it: at most two rows of cells along the border
    ground, covered = shapely.box(0, 0, SIDE, SIDE), shapely.union_all(polygons)
    border = shapely.intersection(covered.boundary, ground).length
    assert (
        abs(labels.fractions[0, 1] - covered.intersection(ground).area / SIDE**2)
        <= (border * 2 * CELL + 4 * CELL**2) / SIDE**2
    )


@given(triangles, st.integers(0, 2**32 - 1))
def test_the_first_polygon_wins_in_any_order(corners: list, seed: int) -> None:
    polygons = sound(corners)
    if not len(polygons):
        return
    x, y = np.random.default_rng(seed).uniform(-400, 720, (2, 50))
    found = PolygonIndex(polygons).find(x, y)
    holds = np.array([[polygon.covers(shapely.Point(a, b)) for polygon in polygons] for a, b in zip(x, y, strict=True)])
    np.testing.assert_array_equal(found, np.where(holds.any(axis=1), holds.argmax(axis=1), -1))
