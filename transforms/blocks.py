"""Square blocks of the equal-area grid EPSG:6933: the spatial unit of folds and of intervals.

Belongs here: block ids, block rectangles, ground distances between units and blocks.
Does not: which fold a block is in (`transforms/folds.py`).

EPSG:6933 is a cylindrical projection: x depends on longitude alone and y on latitude alone, so a block is
a rectangle of longitude and latitude. One grid spans all UTM zones. It keeps areas, not distances (a 5 km
block is 5 km x 5 km at 30 degrees, 5.8 x 4.3 km at the equator, 2.9 x 8.6 km at 60), so distances here are
geodesic.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj

from transforms.errors import ShapeError
from transforms.utm import project, unproject

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The grid's CRS: WGS 84 / NSIDC EASE-Grid 2.0 Global.
EQUAL_AREA_EPSG = 6933
#: Metres of x once around the globe at `EQUAL_AREA_EPSG`.
WORLD_WIDTH_M = 2 * 17_367_530.445161372
#: y just short of the pole, so that it can be unprojected.
_POLE_Y_M = 7_342_230.0
#: Units stand in UTM (80 S to 84 N); nearer the poles a buffer would reach around the globe.
MAX_LATITUDE_DEG = 85.0
#: A packed id holds column and row, each shifted by this to be positive, in 31 bits.
_OFFSET = 2**30
_ROW_BITS = 31
#: Lower bound of the length of a degree of latitude, and of one of longitude over cos(latitude), metres.
_MIN_M_PER_DEG_LAT = 110_500.0
#: Largest angle between UTM north and true north is about this times sin(latitude): half a zone, and overlap.
_MAX_CONVERGENCE_DEG = 3.5


@lru_cache(maxsize=1)
def _geod() -> pyproj.Geod:
    return pyproj.Geod(ellps="WGS84")


def equal_area_xy(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Project to EPSG:6933.

    Args:
        lon: degrees in [-180, 180].
        lat: degrees in [-85, 85].

    Returns:
        (x, y), float64 metres, of the same shape.

    Raises:
        ShapeError: a coordinate is NaN or out of range.
    """
    lons, lats = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    # negated, so that NaN is caught as well
    bad = ~((np.abs(lons) <= 180.0) & (np.abs(lats) <= MAX_LATITUDE_DEG))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ShapeError(
            "unit coordinates",
            f"{bad.sum()} out of range (first at {first}: {lons.ravel()[first]}, {lats.ravel()[first]})",
            f"lon in [-180, 180] and lat within {MAX_LATITUDE_DEG} degrees",
            "Give WGS 84 degrees, longitude first.",
        )
    return project(lons, lats, EQUAL_AREA_EPSG)


def assign_blocks(lon: npt.ArrayLike, lat: npt.ArrayLike, edge_m: float) -> IntArray:
    """Give the block that holds each unit.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        edge_m: block edge in EPSG:6933, metres.

    Returns:
        int64 (n,), ids that depend on place and edge alone; `block_origin` decodes them.

    Raises:
        ShapeError: a coordinate is NaN or out of range, or the edge is not positive.
    """
    _check_edge(edge_m)
    x, y = equal_area_xy(lon, lat)
    return _pack(np.floor(x / edge_m).astype(np.int64), np.floor(y / edge_m).astype(np.int64))


def block_origin(block_id: npt.ArrayLike, edge_m: float) -> tuple[FloatArray, FloatArray]:
    """Give the lower left corner of blocks in EPSG:6933.

    Args:
        block_id: int64 (b,), from `assign_blocks`.
        edge_m: the edge that they were made with, metres.

    Returns:
        (x, y), float64 (b,), metres; the block is [x, x + edge) by [y, y + edge).
    """
    col, row = _unpack(np.asarray(block_id, np.int64))
    return np.multiply(col, edge_m, dtype=np.float64), np.multiply(row, edge_m, dtype=np.float64)


def block_bounds(block_id: npt.ArrayLike, edge_m: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Give blocks as rectangles in degrees.

    Args:
        block_id: int64 (b,), from `assign_blocks`.
        edge_m: the edge that they were made with, metres.

    Returns:
        (west, south, east, north), float64 (b,) degrees, cut at the antimeridian and the poles.
    """
    x, y = block_origin(block_id, edge_m)
    # longitude by hand: PROJ may answer -180 for the eastern end of the world
    west = np.maximum(x / WORLD_WIDTH_M * 360.0, -180.0)
    east = np.minimum((x + edge_m) / WORLD_WIDTH_M * 360.0, 180.0)
    _, south = unproject(np.zeros_like(x), np.maximum(y, -_POLE_Y_M), EQUAL_AREA_EPSG)
    _, north = unproject(np.zeros_like(x), np.minimum(y + edge_m, _POLE_Y_M), EQUAL_AREA_EPSG)
    return west, south, east, north


def distance_to_block(lon: npt.ArrayLike, lat: npt.ArrayLike, block_id: npt.ArrayLike, edge_m: float) -> FloatArray:
    """Measure the ground distance from units to blocks, pair by pair.

    The nearest point of a block is found by clamping longitude and latitude, which is off by less than a
    metre for distances up to some kilometres; the distance to it is geodesic.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        block_id: int64 (n,), the block to measure to.
        edge_m: block edge, metres.

    Returns:
        float64 (n,), metres; 0 inside the block.
    """
    lons, lats = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    # bounds once per block: projecting them for every pair would cost more than the distance
    blocks, index = np.unique(np.asarray(block_id, np.int64), return_inverse=True)
    west, south, east, north = (bound[index] for bound in block_bounds(blocks, edge_m))
    # signed degrees beyond the western and eastern edges, the short way round
    beyond_west = (west - lons + 180.0) % 360.0 - 180.0
    beyond_east = (lons - east + 180.0) % 360.0 - 180.0
    inside = (beyond_west <= 0) & (beyond_east <= 0)
    nearest = np.where(inside, lons, np.where(np.abs(beyond_west) <= np.abs(beyond_east), west, east))
    distance = _geod().inv(lons, lats, nearest, np.clip(lats, south, north))[2]
    return np.asarray(distance, np.float64)


def straddles(lon: npt.ArrayLike, lat: npt.ArrayLike, half_side_m: float, edge_m: float) -> npt.NDArray[np.bool_]:
    """Tell which square footprints cross the border of their centre's block.

    Footprints are axis-parallel in UTM, so they stand a little askew on the block grid; the angle is
    bounded from above, which drops a few metres' worth of patches too many rather than too few.

    Args:
        lon: float64 (n,), centre, degrees.
        lat: float64 (n,), centre, degrees.
        half_side_m: half the side of the footprint, metres on the ground; 0 for points.
        edge_m: block edge, metres.

    Returns:
        bool (n,).

    Raises:
        ShapeError: a coordinate is NaN or out of range, or the edge is not positive.
    """
    lons, lats = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    blocks, index = np.unique(assign_blocks(lons, lats, edge_m), return_inverse=True)
    west, south, east, north = (bound[index] for bound in block_bounds(blocks, edge_m))
    skew = np.radians(_MAX_CONVERGENCE_DEG) * np.abs(np.sin(np.radians(lats)))
    reach = half_side_m * (np.cos(skew) + np.sin(skew))
    nearest_lon = np.where(lons - west < east - lons, west, east)
    nearest_lat = np.where(lats - south < north - lats, south, north)
    aside = _geod().inv(lons, lats, nearest_lon, lats)[2]
    along = _geod().inv(lons, lats, lons, nearest_lat)[2]
    return np.minimum(aside, along) < reach


def pairs_within(
    lon: npt.ArrayLike, lat: npt.ArrayLike, block_ids: IntArray, edge_m: float, buffer_m: float
) -> tuple[IntArray, IntArray]:
    """List the pairs of a unit and a foreign block that lie nearer than a distance.

    Only the blocks around each unit's own are looked at: the cost grows with units, not units x blocks.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        block_ids: int64 (b,), sorted, the blocks that count.
        edge_m: block edge, metres.
        buffer_m: metres on the ground.

    Returns:
        (unit, block): int64 (p,), positions in `lon` and in `block_ids`; a unit's own block is never listed.
    """
    lons, lats = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    if buffer_m <= 0 or not len(lons) or not len(block_ids):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    x, y = equal_area_xy(lons, lats)
    reach_x, reach_y = _reach_in_grid(lats, y, buffer_m)
    own = _pack(np.floor(x / edge_m).astype(np.int64), np.floor(y / edge_m).astype(np.int64))
    index, x = _repeat_across_antimeridian(x, reach_x)
    y, reach_x, reach_y = y[index], reach_x[index], reach_y[index]
    col, row = np.floor(x / edge_m).astype(np.int64), np.floor(y / edge_m).astype(np.int64)
    pairs: list[IntArray] = []
    n_cols, n_rows = (int(np.ceil(reach.max() / edge_m)) for reach in (reach_x, reach_y))
    for d_row, d_col in itertools.product(range(-n_rows, n_rows + 1), range(-n_cols, n_cols + 1)):
        near_row = _gap(y, row + d_row, edge_m) <= reach_y
        chosen = np.flatnonzero(near_row & (_gap(x, col + d_col, edge_m) <= reach_x))
        wanted = _pack(col[chosen] + d_col, row[chosen] + d_row)
        position = np.minimum(np.searchsorted(block_ids, wanted), len(block_ids) - 1)
        unit = index[chosen]
        foreign = (block_ids[position] == wanted) & (own[unit] != wanted)
        pairs.append(np.stack([unit[foreign], position[foreign]]))
    unit, position = np.concatenate(pairs, axis=1)
    near = distance_to_block(lons[unit], lats[unit], block_ids[position], edge_m) < buffer_m
    return unit[near], position[near]


def _check_edge(edge_m: float) -> None:
    if not 1.0 <= edge_m <= WORLD_WIDTH_M:
        raise ShapeError("block edge", edge_m, "metres, 1 or more", "Use at least 5000.")


def _pack(col: IntArray, row: IntArray) -> IntArray:
    return ((col + _OFFSET) << _ROW_BITS) | (row + _OFFSET)


def _unpack(block_id: IntArray) -> tuple[IntArray, IntArray]:
    return (block_id >> _ROW_BITS) - _OFFSET, (block_id & (2**_ROW_BITS - 1)) - _OFFSET


def _gap(value: FloatArray, cell: IntArray, edge_m: float) -> FloatArray:
    """Distance along one axis from a coordinate to a cell; 0 or less inside it."""
    return np.maximum(cell * edge_m - value, value - (cell + 1) * edge_m)


def _reach_in_grid(lat: FloatArray, y: FloatArray, distance_m: float) -> tuple[FloatArray, FloatArray]:
    """Give the extents in x and y, grid metres, that hold all points within a ground distance."""
    d_lat = distance_m / _MIN_M_PER_DEG_LAT
    poleward = np.minimum(np.abs(lat) + d_lat, 89.0)
    d_lon = distance_m / (_MIN_M_PER_DEG_LAT * np.cos(np.radians(poleward)))
    _, north = project(np.zeros_like(lat), np.minimum(lat + d_lat, 90.0), EQUAL_AREA_EPSG)
    _, south = project(np.zeros_like(lat), np.maximum(lat - d_lat, -90.0), EQUAL_AREA_EPSG)
    return d_lon / 360.0 * WORLD_WIDTH_M, np.maximum(north - y, y - south)


def _repeat_across_antimeridian(x: FloatArray, reach_x: FloatArray) -> tuple[IntArray, FloatArray]:
    """Add a copy, one world further, of each unit that can see across the antimeridian."""
    half = WORLD_WIDTH_M / 2
    western = np.flatnonzero(x - reach_x < -half)
    eastern = np.flatnonzero(x + reach_x > half)
    index = np.concatenate([np.arange(len(x)), western, eastern])
    return index, np.concatenate([x, x[western] + WORLD_WIDTH_M, x[eastern] - WORLD_WIDTH_M])
