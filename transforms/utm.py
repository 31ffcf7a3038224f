"""UTM zones, MGRS 100 km squares and footprints.

Belongs here: which zone or square holds a point, projection of arrays, axis-parallel boxes.
Does not: the patch lattice, rasters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

FloatArray = npt.NDArray[np.float64]

MGRS_BANDS = "CDEFGHJKLMNPQRSTUVWXX"  # 8 degrees each from 80 S; X is 12 degrees high
MGRS_COLUMN_LETTERS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")  # zones 1, 2, 3 modulo 3
MGRS_ROW_LETTERS = "ABCDEFGHJKLMNPQRSTUV"
SQUARE_M = 100_000.0
#: Metres of a degree of latitude where it is shortest (at the equator, WGS 84).
EARTH_METRES_PER_DEG = 110_574.0


@dataclass(frozen=True, order=True)
class UtmBox:
    """An axis-parallel box in one UTM zone.

    Attributes:
        epsg: 326zz (north) or 327zz (south).
        west: metres.
        south: metres.
        east: metres.
        north: metres.
    """

    epsg: int
    west: float
    south: float
    east: float
    north: float

    def buffer(self, distance_m: float) -> UtmBox:
        """Grow the box on all sides."""
        return UtmBox(
            self.epsg,
            self.west - distance_m,
            self.south - distance_m,
            self.east + distance_m,
            self.north + distance_m,
        )

    def intersects(self, other: UtmBox) -> bool:
        """Tell whether two boxes of one zone share area."""
        return (
            self.epsg == other.epsg
            and self.west < other.east
            and other.west < self.east
            and self.south < other.north
            and other.south < self.north
        )


def utm_zone(lon: npt.ArrayLike, lat: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Give the UTM zone number, with the exceptions of Norway and Svalbard.

    Args:
        lon: degrees in [-180, 180].
        lat: degrees.

    Returns:
        int64 in 1..60.
    """
    lons = np.asarray(lon, np.float64)
    lats = np.asarray(lat, np.float64)
    zone = np.clip(np.floor((lons + 180.0) / 6.0).astype(np.int64) + 1, 1, 60)
    norway = (lats >= 56) & (lats < 64) & (lons >= 3) & (lons < 12)
    zone = np.where(norway, 32, zone)
    svalbard = (lats >= 72) & (lons >= 0) & (lons < 42)
    svalbard_zone = np.select([lons < 9, lons < 21, lons < 33], [31, 33, 35], 37)
    return np.where(svalbard, svalbard_zone, zone)


def utm_epsg(lon: npt.ArrayLike, lat: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Give the EPSG code of the UTM zone that holds each point (326zz north, 327zz south)."""
    return np.where(np.asarray(lat) >= 0, 32600, 32700) + utm_zone(lon, lat)


@lru_cache(maxsize=256)
def transformer(source: int, target: int) -> pyproj.Transformer:
    """Give a cached transformer between two EPSG codes, x before y."""
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def project(lon: npt.ArrayLike, lat: npt.ArrayLike, epsg: int) -> tuple[FloatArray, FloatArray]:
    """Project WGS 84 degrees to metres of `epsg`."""
    x, y = transformer(4326, epsg).transform(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    return np.asarray(x), np.asarray(y)


def unproject(x_m: npt.ArrayLike, y_m: npt.ArrayLike, epsg: int) -> tuple[FloatArray, FloatArray]:
    """Turn metres of `epsg` into WGS 84 (lon, lat) degrees."""
    lon, lat = transformer(epsg, 4326).transform(np.asarray(x_m, np.float64), np.asarray(y_m, np.float64))
    return np.asarray(lon), np.asarray(lat)


def project_shape(shape: shapely.Geometry, epsg: int) -> shapely.Geometry:
    """Project every point of a shape from degrees to metres of `epsg`."""
    return shapely.transform(shape, lambda xy: np.stack(project(xy[:, 0], xy[:, 1], epsg), axis=1))


def unproject_shape(shape: shapely.Geometry, epsg: int) -> shapely.Geometry:
    """Turn every point of a shape from metres of a UTM zone into degrees; longitudes go on beyond the antimeridian."""
    meridian = epsg % 100 * 6 - 183

    def move(xy: FloatArray) -> FloatArray:
        lon, lat = unproject(xy[:, 0], xy[:, 1], epsg)
        return np.stack([lon - 360.0 * np.round((lon - meridian) / 360.0), lat], axis=1)

    return shapely.transform(shape, move)


def mgrs_squares(lon: npt.ArrayLike, lat: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Name the MGRS 100 km square that holds each point, e.g. ``48PVS``.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees, in [-80, 84].

    Returns:
        str (n,), five characters; zones below 10 are zero-padded as in Sentinel-2 tile names.
    """
    lons = np.atleast_1d(np.asarray(lon, np.float64))
    lats = np.atleast_1d(np.asarray(lat, np.float64))
    epsgs = utm_epsg(lons, lats)
    names = np.empty(len(lons), dtype="<U5")
    for epsg in np.unique(epsgs):
        chosen = epsgs == epsg
        x, y = project(lons[chosen], lats[chosen], int(epsg))
        names[chosen] = _square_names(int(epsg), x, y, lats[chosen])
    return names


def _square_names(epsg: int, x: FloatArray, y: FloatArray, lat: FloatArray) -> npt.NDArray[np.str_]:
    zone = epsg % 100
    bands = np.array(list(MGRS_BANDS))[np.clip(np.floor((lat + 80.0) / 8.0).astype(int), 0, len(MGRS_BANDS) - 1)]
    columns = np.array(list(MGRS_COLUMN_LETTERS[(zone - 1) % 3]))
    column = columns[np.clip(np.floor(x / SQUARE_M).astype(int) - 1, 0, 7)]
    # rows restart every 2,000 km; even zones begin five letters later
    row_index = (np.floor(y / SQUARE_M).astype(int) + (5 if zone % 2 == 0 else 0)) % 20
    row = np.array(list(MGRS_ROW_LETTERS))[row_index]
    names: npt.NDArray[np.str_] = np.char.add(np.char.add(f"{zone:02d}", bands), np.char.add(column, row))
    return names


def footprint_boxes(x_m: npt.ArrayLike, y_m: npt.ArrayLike, side_m: float) -> FloatArray:
    """Give the axis-parallel squares around centres.

    Args:
        x_m: (n,) metres.
        y_m: (n,) metres.
        side_m: side length, metres.

    Returns:
        float64 (n, 4): west, south, east, north in metres.
    """
    x = np.asarray(x_m, np.float64)
    y = np.asarray(y_m, np.float64)
    half = side_m / 2
    return np.stack([x - half, y - half, x + half, y + half], axis=-1)


def boxes_to_polygons(boxes: FloatArray, epsg: int) -> npt.NDArray[np.object_]:
    """Turn UTM boxes into WGS 84 polygons (corners only: a 320 m edge bends by less than a millimetre).

    Args:
        boxes: float64 (n, 4): west, south, east, north in metres of `epsg`.
        epsg: the zone of all boxes.

    Returns:
        object (n,) of shapely polygons, counter-clockwise.
    """
    west, south, east, north = boxes.T
    x = np.stack([west, east, east, west, west], axis=1)
    y = np.stack([south, south, north, north, south], axis=1)
    lon, lat = unproject(x.ravel(), y.ravel(), epsg)
    rings = np.stack([lon, lat], axis=-1).reshape(len(boxes), 5, 2)
    return shapely.polygons(rings)


def project_bbox(bbox: tuple[float, float, float, float], epsg: int) -> UtmBox:
    """Give the box in `epsg` that holds a box in degrees (edges are densified, so nothing is cut off)."""
    west, south, east, north = transformer(4326, epsg).transform_bounds(*bbox, densify_pts=64)
    return UtmBox(epsg, west, south, east, north)
