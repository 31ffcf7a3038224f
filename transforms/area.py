"""The area of interest: a geometry in degrees, and which places and files it takes in.

Belongs here: making an area of boxes, of any polygons or of MGRS squares; cutting at the antimeridian; the test of
places. Does not: cutting into shards (`transforms/shards.py`), where a geometry comes from
(`warehouse/area_of_interest.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import shapely

from transforms.errors import ShapeError
from transforms.utm import EARTH_METRES_PER_DEG, mgrs_squares

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Bbox = tuple[float, float, float, float]

#: The last longitude of the world: places on 180 E belong to what ends there, and to nothing that begins at 180 W.
_EASTMOST = math.nextafter(180.0, 0.0)
#: An edge that spans more than half of the world went over the antimeridian.
_HALF, _WHOLE = 180.0, 360.0
#: So few points are tested one by one: their span may be no polygon.
_FEW = 64
_WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True, eq=False)
class Area:
    """Ground, and the test whether a place lies on it. Made by `area_of_boxes`, `area_of_shapes` or `area_of_tiles`.

    Attributes:
        geometry: polygon or multipolygon in degrees, inside 180 W to 180 E, cut at the antimeridian.
        boxes: the same ground as boxes, where it is made of boxes: then east and north borders are outside, exactly.
        tiles: names of MGRS squares, where it is made of squares: then a place's own square decides, exactly.
    """

    geometry: shapely.Geometry
    boxes: tuple[Bbox, ...] = ()
    tiles: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        shapely.prepare(self.geometry)

    @property
    def bbox(self) -> Bbox:
        """West, south, east, north of all ground; from 180 W to 180 E where the area crosses the antimeridian."""
        west, south, east, north = shapely.bounds(self.geometry)
        return float(west), float(south), float(east), float(north)

    @property
    def crosses_antimeridian(self) -> bool:
        """Tell whether the area has ground on both sides of the antimeridian and touches it."""
        west, _, east, _ = self.bbox
        return west <= -180.0 and east >= 180.0

    def contains(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> BoolArray:
        """Tell which places lie in the area.

        Places on the border of a polygon are outside. Points are tested one by one only where the border passes
        between them: a block of pixels inside or outside costs one test.

        Args:
            lon: float64 (n,), degrees.
            lat: float64 (n,).

        Returns:
            bool (n,).
        """
        lons, lats = np.minimum(np.asarray(lon, np.float64), _EASTMOST), np.asarray(lat, np.float64)
        if self.boxes:
            inside = np.zeros(lons.shape, bool)
            for box in self.boxes:
                inside |= inside_bbox(lons, lats, box)
            return inside
        if self.tiles:
            return np.isin(mgrs_squares(lons, lats), list(self.tiles)) if len(lons) else np.zeros(0, bool)
        return _contains(self.geometry, lons, lats)

    def near(self, bbox: Bbox) -> Area:
        """Give what of the area lies in a box, so that many places in that box are tested fast."""
        if self.boxes or self.tiles:
            return self
        return Area(shapely.clip_by_rect(self.geometry, *bbox))

    def touches(self, bbox: Bbox) -> bool:
        """Tell whether a box in degrees shares ground with the area; west > east is across the antimeridian."""
        return any(self.geometry.intersects(shapely.box(*part)) for part in split_bbox(bbox))


def area_of_boxes(boxes: Sequence[Bbox]) -> Area:
    """Make an area of boxes (west, south, east, north in degrees; west > east is across the antimeridian)."""
    parts = tuple(part for box in boxes for part in split_bbox(box))
    shapes = [shapely.box(*part) for part in parts]
    return Area(shapes[0] if len(shapes) == 1 else shapely.union_all(shapes), boxes=parts)


def area_of_shapes(shapes: Sequence[shapely.Geometry], what: str) -> Area:
    """Make an area of polygons in degrees.

    Invalid rings are mended; overlaps count once. An edge of more than 180 degrees is taken the short way round, over
    the antimeridian, and longitudes from 180 to 540 are those of the western hemisphere: the result is cut at 180.

    Args:
        shapes: polygons and multipolygons in EPSG:4326; other geometries have no area and are left out.
        what: where they come from, for messages.

    Returns:
        The area.

    Raises:
        ShapeError: no polygon with an area, or coordinates that are no degrees.
    """
    polygons = [part for shape in shapes for part in _polygons(shape)]
    if not polygons:
        kinds = sorted({shape.geom_type for shape in shapes}) or "nothing"
        raise ShapeError(what, kinds, "at least one polygon with an area", "Buffer points and lines first.")
    west, south, east, north = shapely.total_bounds(polygons)
    if not (west >= -_WHOLE and east <= 540.0 and south >= -90.0 and north <= 90.0):
        found = f"coordinates from {west:g} {south:g} to {east:g} {north:g}"
        raise ShapeError(what, found, "degrees (EPSG:4326)", "Does the file say the right CRS?")
    pieces = [piece for polygon in polygons for piece in _cut_polygon(polygon)]
    if not pieces:
        raise ShapeError(what, "polygons without an area", "at least one polygon with an area", "Correct the rings.")
    return Area(_join(pieces))


def split_bbox(bbox: Bbox) -> list[Bbox]:
    """Cut a box at the antimeridian: one box or two, each with west < east inside 180 W to 180 E.

    Args:
        bbox: west > east, or a side beyond 180 degrees (as when a box is grown), is across the antimeridian.
    """
    west, south, east, north = bbox
    if west > east:
        east += _WHOLE
    if east - west >= _WHOLE:
        return [(-180.0, south, 180.0, north)]
    if west < -180.0:
        west, east = west + _WHOLE, east + _WHOLE
    if east <= 180.0:
        return [(west, south, east, north)]
    if west >= 180.0:
        return [(west - _WHOLE, south, east - _WHOLE, north)]
    return [(west, south, 180.0, north), (-180.0, south, east - _WHOLE, north)]


def hull_of(boxes: Sequence[Bbox]) -> Bbox:
    """Give the box around boxes.

    Where they touch the antimeridian on both sides it goes across it (west > east), and leaves out the widest gap
    between them; without a gap it goes round the world.

    Args:
        boxes: at least one; west > east is across the antimeridian.
    """
    west, south, east, north = zip(*(part for box in boxes for part in split_bbox(box)), strict=True)
    if min(west) > -180.0 or max(east) < 180.0:
        return min(west), min(south), max(east), max(north)
    gap, reach = (-180.0, -180.0), -180.0
    for begin, end in sorted(zip(west, east, strict=True)):
        if begin - reach > gap[1] - gap[0]:
            gap = (reach, begin)
        reach = max(reach, end)
    across = (gap[1], gap[0]) if gap[1] > gap[0] else (-180.0, 180.0)
    return across[0], min(south), across[1], max(north)


def boxes_touch(a: Bbox, b: Bbox) -> bool:
    """Tell whether two boxes share ground or a border; west > east is across the antimeridian."""
    return any(
        p[0] <= q[2] and q[0] <= p[2] and p[1] <= q[3] and q[1] <= p[3] for p in split_bbox(a) for q in split_bbox(b)
    )


def inside_bbox(lon: FloatArray, lat: FloatArray, bbox: Bbox) -> BoolArray:
    """Tell which points lie in a box; its east and north borders are outside."""
    west, south, east, north = bbox
    return (lon >= west) & (lon < east) & (lat >= south) & (lat < north)


def grow(bbox: Bbox, distance_m: float) -> Bbox:
    """Grow a box in degrees by at least a distance on the ground.

    Whatever is read or enumerated for a shard is read from a grown box, and `assign_owners` decides alone: a
    place on a border would otherwise be lost to the rounding of two projections.
    """
    west, south, east, north = bbox
    up = distance_m / EARTH_METRES_PER_DEG
    across = up / max(0.05, float(np.cos(np.radians(max(abs(south), abs(north))))))
    return west - across, max(-90.0, south - up), east + across, min(90.0, north + up)


def polygonal(shape: shapely.Geometry) -> shapely.Geometry:
    """Give the polygons of a geometry alone, mended where rings cross; a multipolygon unless it is one polygon."""
    parts = _polygons(shape if shapely.is_valid(shape) else shapely.make_valid(shape))
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _contains(geometry: shapely.Geometry, lon: FloatArray, lat: FloatArray) -> BoolArray:
    """Test points against a prepared geometry, all at once where they lie together."""
    if len(lon) < _FEW:
        return np.asarray(shapely.contains_xy(geometry, lon, lat))
    span = shapely.box(float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    if shapely.contains_properly(geometry, span):
        return np.ones(len(lon), bool)
    if not shapely.intersects(geometry, span):
        return np.zeros(len(lon), bool)
    inside = np.zeros(len(lon), bool)
    near = np.flatnonzero(inside_bbox(lon, lat, grow(tuple(shapely.bounds(geometry)), 1.0)))
    inside[near] = shapely.contains_xy(geometry, lon[near], lat[near])
    return inside


def _join(pieces: Sequence[shapely.Geometry]) -> shapely.Geometry:
    """Join pieces to one geometry; only those that touch each other are merged, for that is slow."""
    tree = shapely.STRtree(pieces)
    left, right = tree.query(pieces, predicate="intersects")
    if (left == right).all():
        return pieces[0] if len(pieces) == 1 else shapely.MultiPolygon(list(pieces))
    return polygonal(shapely.union_all(pieces))


def _polygons(shape: shapely.Geometry) -> list[shapely.Polygon]:
    if isinstance(shape, shapely.Polygon):
        return [] if shape.is_empty else [shape]
    return [polygon for part in getattr(shape, "geoms", ()) for polygon in _polygons(part)]


def _cut_polygon(polygon: shapely.Polygon) -> list[shapely.Polygon]:
    """Mend a polygon and cut it at the antimeridian."""
    polygon = shapely.force_2d(polygon)
    lon = shapely.get_coordinates(polygon)[:, 0]
    if lon.min() >= -180.0 and lon.max() <= 180.0 and not _jumps(polygon):
        return [part for part in _polygons(polygonal(polygon)) if part.area > 0]
    shell = _unroll(shapely.get_coordinates(polygon.exterior))
    holes = [_shift_into(_unroll(shapely.get_coordinates(ring)), shell) for ring in polygon.interiors]
    whole = polygonal(shapely.Polygon(shell, holes))
    if not whole.area:  # its edges do go round the world: a band from 180 W to 180 E
        return [part for part in _polygons(polygonal(polygon)) if part.area > 0]
    west, _, east, _ = shapely.bounds(whole)
    turns = range(math.floor((west + 180.0) / _WHOLE), math.ceil((east + 180.0) / _WHOLE))
    pieces = [shapely.transform(whole, lambda xy, k=turn: xy - np.array([k * _WHOLE, 0.0])) for turn in turns]
    cut = [polygonal(shapely.intersection(piece, _WORLD)) for piece in pieces]
    return [part for piece in cut for part in _polygons(piece) if part.area > 0]


def _jumps(polygon: shapely.Polygon) -> bool:
    return any(_steps(shapely.get_coordinates(ring)).any() for ring in (polygon.exterior, *polygon.interiors))


def _steps(ring: FloatArray) -> FloatArray:
    """Give -360, 0 or 360 for each edge: what its end must be moved by so that it goes the short way round."""
    step = np.diff(ring[:, 0])
    return np.where(np.abs(step) > _HALF, -np.sign(step) * _WHOLE, 0.0)


def _unroll(ring: FloatArray) -> FloatArray:
    """Give a ring whose longitudes go on beyond 180; one that goes round a pole is closed along that pole."""
    lon = ring[:, 0] + np.concatenate([[0.0], np.cumsum(_steps(ring))])
    unrolled = np.stack([lon, ring[:, 1]], axis=1)
    if abs(lon[-1] - lon[0]) < _HALF:
        return unrolled
    pole = math.copysign(90.0, float(ring[:, 1].mean()))
    return np.concatenate([unrolled, [[lon[-1], pole], [lon[0], pole]], unrolled[:1]])


def _shift_into(hole: FloatArray, shell: FloatArray) -> FloatArray:
    """Move a hole by whole turns to where its shell is."""
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2 - (hole[:, 0].min() + hole[:, 0].max()) / 2
    return hole + np.array([_WHOLE * round(middle / _WHOLE), 0.0])
