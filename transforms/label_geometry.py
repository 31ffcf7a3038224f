"""Which polygon holds a place, and which points a footprint holds.

Belongs here: sampling polygons at points, counting points in boxes, mending rings. Does not: reading vector files
(`warehouse/sources/label_vectors.py`), what a polygon's class is (`transforms/labels.py`).

Polygons are sampled at the same cell centres as rasters, so a share of a footprint means the same whatever the labels
come from, and the fractions of a patch are the mean of its pixels' labels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

FloatArray = npt.NDArray[np.float64]
Geometries = npt.NDArray[np.object_]
#: No polygon holds the point.
NOWHERE = -1
#: Points tested at once; bounds memory at about 200 bytes each.
_POINTS_AT_ONCE = 262_144
#: Boxes searched at once.
_BOXES_AT_ONCE = 65_536


class PolygonIndex:
    """Polygons that can be asked which of them holds a point; the first one wins.

    Args:
        polygons: object (m,), sound polygons in any plane.
    """

    def __init__(self, polygons: Geometries) -> None:
        self._polygons = polygons
        self._tree = shapely.STRtree(polygons)

    def find(self, x: FloatArray, y: FloatArray) -> npt.NDArray[np.int64]:
        """Give the position of the first polygon that holds each point; its border belongs to it.

        Args:
            x: float64 (n,), in the plane of the polygons; points that are not finite are nowhere.
            y: float64 (n,).

        Returns:
            int64 (n,), -1 where no polygon holds the point.
        """
        parts = range(0, len(x), _POINTS_AT_ONCE)
        found = [self._find(x[i : i + _POINTS_AT_ONCE], y[i : i + _POINTS_AT_ONCE]) for i in parts]
        return np.concatenate([np.empty(0, np.int64), *found])

    def _find(self, x: FloatArray, y: FloatArray) -> npt.NDArray[np.int64]:
        first = np.full(len(x), len(self._polygons), np.int64)
        usable = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if len(usable):
            xs, ys = x[usable], y[usable]
            near = np.sort(self._tree.query(shapely.box(xs.min(), ys.min(), xs.max(), ys.max())))
            # GEOS prepares the geometry that asks, so polygons ask for their points: fast for coasts of any length
            polygon, point = shapely.STRtree(shapely.points(xs, ys)).query(self._polygons[near], predicate="intersects")
            np.minimum.at(first, usable[point], near[polygon])
        return np.where(first < len(self._polygons), first, NOWHERE)


def count_points(
    boxes: FloatArray, x: FloatArray, y: FloatArray, ids: npt.NDArray[np.int16], n_classes: int
) -> npt.NDArray[np.int64]:
    """Count the points of each class in boxes; west and north edges belong to a box, as for cells of a raster.

    Args:
        boxes: float64 (n, 4) west, south, east, north.
        x: float64 (m,), in the plane of the boxes; points that are not finite are in none.
        y: float64 (m,).
        ids: int16 (m,), class ids; -1 = not counted.
        n_classes: k.

    Returns:
        int64 (n, k).
    """
    counts = np.zeros((len(boxes), n_classes), np.int64)
    usable = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & (ids >= 0))
    if not len(usable):
        return counts
    tree = shapely.STRtree(shapely.points(x[usable], y[usable]))
    for start in range(0, len(boxes), _BOXES_AT_ONCE):
        box, point = tree.query(shapely.box(*boxes[start : start + _BOXES_AT_ONCE].T))
        box, point = box + start, usable[point]
        inside = (x[point] < boxes[box, 2]) & (y[point] > boxes[box, 1])
        np.add.at(counts, (box[inside], ids[point[inside]]), 1)
    return counts


def mend_polygons(geometry: Geometries) -> tuple[Geometries, npt.NDArray[np.bool_]]:
    """Mend unsound rings and keep what has an area.

    Rings that cross themselves are split at the crossing, so that no ground is lost or counted twice; what is left of
    them as lines or points is dropped.

    Args:
        geometry: object (n,), polygons and multipolygons.

    Returns:
        (object (n,) sound geometries, empty where nothing with an area is left; bool (n,) True where one was mended).
    """
    is_unsound = ~shapely.is_valid(geometry)
    mended: Geometries = geometry.copy()
    for row in np.flatnonzero(is_unsound):
        parts = shapely.get_parts(shapely.make_valid(geometry[row]))
        # lines and points have no area
        mended[row] = shapely.union_all(parts[shapely.area(parts) > 0])
    return mended, is_unsound
