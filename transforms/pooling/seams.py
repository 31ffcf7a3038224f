"""Ground of polygons that one UTM zone's rasters do not show, carried over to the next zone.

Belongs here: polygons minus the squares of valid pixels, polygons from one zone to another. Does not: coverage of
pixels (`coverage.py`), sums (`power_sums.py`), which zones a footprint has to do with (`transforms/utm.py`).

A raster of one zone ends a little past the edge of the zone; a footprint that reaches further is whole only together
with its neighbour. Ground belongs to the first zone that has a valid pixel there, so no ground counts twice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from transforms.pooling.coverage import CoveredPixels, EndlessGrid
from transforms.utm import transformer

Polygons = npt.NDArray[np.object_]

#: Edges are split this finely before they are projected: a straight edge of one zone bends by 0.3 mm in the next.
DENSIFY_M = 100.0
#: What is left of a polygon and thinner than twice this is rounding, not ground.
_SLIVER_M = 0.001


def squares_of_valid(pixels: CoveredPixels, is_valid: npt.NDArray[np.bool_], grid: EndlessGrid) -> Polygons:
    """Give boxes that cover the valid pixels of one polygon in one window and none of its other pixels.

    Args:
        pixels: pixels of one polygon; rows and columns in the window, row by row.
        is_valid: bool (n,).
        grid: the window's.

    Returns:
        Boxes in metres; one if every pixel is valid, else one per run of valid pixels in a row.
    """
    if not len(pixels) or not is_valid.any():
        return np.empty(0, object)
    if is_valid.all():
        edges = np.array([[pixels.col.min(), pixels.row.min(), pixels.col.max() + 1, pixels.row.max() + 1]])
    else:
        row, col = pixels.row[is_valid], pixels.col[is_valid]
        first = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(col, prepend=-2) != 1))
        last = np.append(first[1:], len(row)) - 1
        edges = np.stack([col[first], row[first], col[last] + 1, row[first] + 1], axis=1)
    west, east = (grid.origin_x_m + (grid.col + edges[:, k]) * grid.pixel_x_m for k in (0, 2))
    north, south = (grid.origin_y_m - (grid.row + edges[:, k]) * grid.pixel_y_m for k in (1, 3))
    boxes: Polygons = shapely.box(west, south, east, north)
    return boxes


def subtract(polygon: shapely.Geometry, squares: Polygons) -> shapely.Geometry:
    """Give the part of a polygon outside some squares: a (multi)polygon, empty where nothing but slivers is left."""
    if not len(squares):
        return polygon
    parts = shapely.get_parts(shapely.difference(polygon, shapely.union_all(squares)))
    parts = parts[shapely.get_dimensions(parts) == 2]
    return shapely.multipolygons(parts[~shapely.is_empty(shapely.buffer(parts, -_SLIVER_M))])


def project_polygons(polygons: Polygons, source_epsg: int, target_epsg: int) -> Polygons:
    """Bring sound polygons from one metric CRS to another, with edges split so finely that they stay in place.

    Args:
        polygons: object (n,) of (multi)polygons in metres of `source_epsg`.
        source_epsg: their CRS.
        target_epsg: a metric CRS.

    Returns:
        object (n,) of sound (multi)polygons in metres of `target_epsg`.
    """
    project = transformer(source_epsg, target_epsg)
    dense = shapely.segmentize(polygons, DENSIFY_M)
    moved: Polygons = shapely.transform(dense, lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1])))
    broken = np.flatnonzero(~shapely.is_valid(moved))
    for k in broken:
        parts = shapely.get_parts(shapely.make_valid(moved[k]))
        moved[k] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    return moved
