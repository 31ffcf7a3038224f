"""The squares of regular grids that an area touches: tiles, raster files, blocks.

Belongs here: counting and listing them, from the grids alone. Does not: places of the lattice (`lattice_counts.py`),
our own shards (`shards.py`), what files really exist (a release index).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from transforms.area import Area, area_of_boxes, area_of_shapes, polygonal
from transforms.lattice import PATCH_SIDE_M
from transforms.lattice_counts import count_places
from transforms.sentinel2 import CORNER_STEP_M, TILE_SIDE_M
from transforms.utm import SQUARE_M, UtmBox, project, project_shape, unproject, unproject_shape, utm_epsg

FloatArray = npt.NDArray[np.float64]

#: Longest part of an edge that is projected, degrees, and longest edge that is taken back, metres.
_EDGE_DEG, _EDGE_M = 0.05, 2_000.0
#: More than an edge of `_EDGE_DEG` bends.
_BOW_M = 10.0
#: How far a tile reaches beyond its square, in degrees of longitude at 84 degrees north at most.
_OVERLAP_DEG = 1.0
#: x of a zone's central meridian, metres.
_CENTRAL_M = 500_000.0
#: Points along an edge of a square at which its zone is looked up.
_PROBES = 9


@dataclass(frozen=True)
class TileCount:
    """Sentinel-2 tiles that touch an area.

    Attributes:
        n_tiles: their number; the grid does not know which of them hold no land.
        n_patches: patches that their files hold together, copies counted as often as they stand.
    """

    n_tiles: int
    n_patches: int


def count_tiles(area: Area) -> TileCount:
    """Count the Sentinel-2 tiles (109.8 km, in their own UTM zone) that share ground with an area."""
    boxes: list[tuple[int, FloatArray]] = []
    for epsg, ground in _zone_parts(area, _OVERLAP_DEG):
        corners = _touched(ground, SQUARE_M, _tile_boxes)
        if len(corners):
            corners = corners[_has_ground(corners, epsg) & ~_is_covered(corners, epsg)]
            boxes.append((epsg, _tile_boxes(corners)))
    n_patches = sum(_count_inside(epsg, tiles) for epsg, tiles in boxes)
    return TileCount(sum(len(tiles) for _, tiles in boxes), n_patches)


def count_cells(area: Area, edge_m: float) -> int:
    """Count the squares of a grid of UTM metres, counted from 0 in each zone, that share ground with an area.

    Args:
        area: the area.
        edge_m: edge of a square.
    """
    return sum(
        len(_touched(ground, edge_m, lambda xy: np.concatenate([xy, xy + edge_m], axis=1)))
        for _, ground in _zone_parts(area, 0.0)
    )


def touched_boxes(area: Area, box: UtmBox, edge_m: float) -> list[UtmBox]:
    """Cut a box into grid squares and give those that share ground with an area, so that no other ground is read.

    Args:
        area: the area, or what of it is near the box.
        box: in UTM.
        edge_m: edge of a square.

    Returns:
        Boxes in the zone of `box`, inside it.
    """
    ground = polygonal(project_shape(shapely.segmentize(area.geometry, _EDGE_DEG), box.epsg))
    inside = polygonal(shapely.clip_by_rect(ground, box.west, box.south, box.east, box.north))
    corners = _touched(inside, edge_m, lambda xy: np.concatenate([xy - _BOW_M, xy + edge_m + _BOW_M], axis=1))
    low = np.maximum(corners, [box.west, box.south])
    high = np.minimum(corners + edge_m, [box.east, box.north])
    return [UtmBox(box.epsg, *low[i].tolist(), *high[i].tolist()) for i in range(len(corners))]


def _zone_parts(area: Area, margin_deg: float) -> Iterator[tuple[int, shapely.Geometry]]:
    """Give the part of an area in each UTM zone and hemisphere, and some degrees around, in metres of the zone."""
    for zone in range(1, 61):
        west = 6.0 * zone - 186.0
        for hemisphere, south, north in ((32600, -margin_deg, 84.0), (32700, -80.0, 0.0)):
            strip = area_of_boxes([(west - margin_deg, south, west + 6.0 + margin_deg, north)])
            parts = [polygonal(shapely.clip_by_rect(area.geometry, *box)) for box in strip.boxes]
            ground = polygonal(shapely.geometrycollections([_unroll(part, west) for part in parts]))
            if not ground.is_empty:
                yield (
                    hemisphere + zone,
                    polygonal(project_shape(shapely.segmentize(ground, _EDGE_DEG), hemisphere + zone)),
                )


def _unroll(part: shapely.Geometry, west: float) -> shapely.Geometry:
    """Move what lies on the far side of the antimeridian beside a zone."""
    return shapely.transform(part, lambda xy: xy - np.array([360.0, 0.0]) * np.round((xy[:, :1] - west) / 360.0))


def _touched(ground: shapely.Geometry, edge_m: float, to_boxes: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Give the lower left corners (n, 2) of the grid squares whose boxes share ground with a geometry."""
    if ground.is_empty:
        return np.empty((0, 2))
    x0, y0, x1, y1 = np.array(shapely.bounds(ground)) // edge_m
    columns, rows = np.arange(x0 - 1, x1 + 2), np.arange(y0 - 1, y1 + 2)
    corners = np.stack(np.meshgrid(columns, rows, indexing="ij"), axis=-1).reshape(-1, 2) * edge_m
    shapely.prepare(ground)
    touched: FloatArray = corners[shapely.intersects(ground, shapely.box(*to_boxes(corners).T))]
    return touched


def _tile_boxes(corners: FloatArray) -> FloatArray:
    """Give the boxes (n, 4) of the tiles whose squares have these lower left corners (see `sentinel2_tile_box`)."""
    west = CORNER_STEP_M * np.floor(corners[:, 0] / CORNER_STEP_M)
    north = CORNER_STEP_M * np.ceil((corners[:, 1] + SQUARE_M) / CORNER_STEP_M)
    return np.stack([west, north - TILE_SIDE_M, west + TILE_SIDE_M, north], axis=1)


def _has_ground(corners: FloatArray, epsg: int) -> npt.NDArray[np.bool_]:
    """Tell which squares hold ground of their own zone: only those give their name to a tile."""
    steps = np.linspace(0.01, 0.99, _PROBES) * SQUARE_M
    probes = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    points = (corners[:, None, :] + probes).reshape(-1, 2)
    places = shapely.get_coordinates(unproject_shape(shapely.multipoints(points), epsg))
    inside = (utm_epsg(np.clip(places[:, 0], -180.0, 180.0), places[:, 1]) == epsg) & (np.abs(places[:, 0]) <= 180.0)
    return np.asarray(inside.reshape(len(corners), -1).any(axis=1))


def _is_covered(corners: FloatArray, epsg: int) -> npt.NDArray[np.bool_]:
    """Tell which squares hold so thin a strip of their zone that the last tiles of the zone before cover it.

    The published grid has no tiles for them.
    """
    centre_x = np.full(len(corners), _CENTRAL_M)
    _, lat = unproject(centre_x, corners[:, 1] + SQUARE_M / 2, epsg)
    west_edge, _ = project(np.full(len(corners), epsg % 100 * 6.0 - 186.0), lat, epsg)
    strip = corners[:, 0] + SQUARE_M - west_edge
    east_edge = 2 * _CENTRAL_M - west_edge
    reach = SQUARE_M * np.floor(east_edge / SQUARE_M) + TILE_SIDE_M - east_edge
    covered: npt.NDArray[np.bool_] = (corners[:, 0] <= west_edge) & (strip <= reach)
    return covered


def _count_inside(epsg: int, tiles: FloatArray) -> int:
    """Count the patches whose boxes lie wholly inside tiles, each tile for itself."""
    half = PATCH_SIDE_M / 2
    inner = shapely.segmentize(shapely.box(*(tiles + np.array([half, half, -half, -half])).T), _EDGE_M)
    polygons = np.array([unproject_shape(box, epsg) for box in inner])
    is_over = np.abs(shapely.bounds(polygons)[:, [0, 2]]).max(axis=1) > 180.0
    total = count_places(shapely.MultiPolygon(list(polygons[~is_over])))
    return total + sum(count_places(area_of_shapes([tile], "tile").geometry) for tile in polygons[is_over])
