"""The owner rule: which shard writes a place.

Belongs here: cutting an area of interest into shards, and assigning places to them. A shard is an MGRS 100 km
square, a named region, or a source file; ownership has no overlap and no hole. Does not: what is read around a
shard's border (neighbours are read through partitions).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms import lattice
from transforms.area import Area, Bbox, area_of_boxes, grow, polygonal, split_bbox
from transforms.errors import ShapeError
from transforms.sentinel2 import sentinel2_tile_box
from transforms.utm import (
    SQUARE_M,
    mgrs_squares,
    project_shape,
    unproject,
    unproject_shape,
    utm_epsg,
    utm_zone,
)

FloatArray = npt.NDArray[np.float64]
ShardRule = Literal["mgrs", "region", "file"]

#: Longest part of an edge when ground in degrees is projected, as a share of its extent and in degrees: over a
#: kilometre a straight edge bends by centimetres.
_EDGE_POINTS, _EDGE_DEG = 64, 0.01
#: More than projecting there and back can be off, less than anything that is owned.
_ROUNDING_M = 1.0
#: Smaller parts of a square are rounding, or the bend of an edge between its points; a neighbour owns their ground.
_SLIVER_M2 = 1.0
#: Farther than this from every shard, a place is simply elsewhere.
_SLIVER_DEG = 0.001
#: More than the edges of a square bow between its corners.
_TILE_MARGIN_M = 5_000.0
#: What is added to the name of a box across the antimeridian, for its part in the eastern, in the western hemisphere.
_HALVES = ("-e", "-w")
#: Cylindrical equal area, metres.
_EQUAL_AREA_EPSG = 6933


@dataclass(frozen=True)
class Shard:
    """One unit of reading and writing.

    Attributes:
        key: partition key.
        rule: how it was cut.
        epsg: UTM zone of its centre.
        bbox: west, south, east, north in degrees, of the part inside the area of interest.
        outline: that part itself in degrees, polygon or multipolygon; None = the box.
    """

    key: str
    rule: ShardRule
    epsg: int
    bbox: Bbox
    outline: shapely.Geometry | None = field(default=None, compare=False)

    def polygon(self) -> shapely.Geometry:
        """Give the ground that the shard owns."""
        return shapely.box(*self.bbox) if self.outline is None else self.outline

    def zones(self) -> list[int]:
        """Give the EPSG codes of the UTM zones that its ground lies in; a square lies in one."""
        return [self.epsg] if self.rule == "mgrs" else touched_zones(self.bbox)

    def reading_box(self) -> Bbox:
        """Give the box to read or enumerate from, a metre wider than `bbox`."""
        return grow(self.bbox, _ROUNDING_M)


def cut_mgrs(area: Area) -> list[Shard]:
    """Cut an area into the MGRS 100 km squares that it touches, by name.

    Args:
        area: between 80 S and 84 N; what lies beyond is in no square.

    Returns:
        Shards sorted by key, each with its part of the area; none where the whole area is smaller than 1 m2.
    """
    pieces = shapely.get_parts(area.geometry)
    bounds = shapely.bounds(pieces)
    shards = []
    for epsg, west, south, east, north in _zone_band_cells():
        near = (bounds[:, 0] < east) & (bounds[:, 2] > west) & (bounds[:, 1] < north) & (bounds[:, 3] > south)
        parts = shapely.clip_by_rect(pieces[near], west, south, east, north)
        part = polygonal(shapely.geometrycollections(parts)) if len(parts) else None
        if part is not None and not part.is_empty:
            shards += _cut_squares(part, epsg)
    named = [shard for shard in shards if not area.tiles or shard.key in area.tiles]
    return sorted(named, key=lambda shard: shard.key)


def area_of_tiles(tiles: Iterable[str]) -> Area:
    """Make an area of whole MGRS 100 km squares.

    Args:
        tiles: names of squares, e.g. ``48PVS``.

    Raises:
        ShapeError: a name is not that of a square, or the square has no ground: its zone ends before it.
    """
    names = frozenset(tiles)
    outlines = []
    for name in sorted(names):
        box = sentinel2_tile_box(name)
        square = shapely.box(box.west, box.south, box.east, box.north)
        around = grow(shapely.bounds(unproject_shape(square, box.epsg)), _TILE_MARGIN_M)
        found = [shard for shard in cut_mgrs(area_of_boxes([around])) if shard.key == name]
        if not found:
            raise ShapeError("tile", repr(name), "an MGRS square with ground", "Look the name up on a map of the grid.")
        outlines.append(found[0].polygon())
    return Area(polygonal(shapely.union_all(outlines)), tiles=names)


def cut_regions(regions: Mapping[str, Bbox]) -> list[Shard]:
    """Make one shard of each named region, in the order given (the first one owns what lies in two).

    A region across the antimeridian (west > east) becomes two: `{name}-e` in the eastern hemisphere, then `{name}-w`.

    Raises:
        ShapeError: another region has the name of such a half.
    """
    return _cut_boxes(regions.items(), "region")


def cut_files(files: Sequence[tuple[str, Bbox]]) -> list[Shard]:
    """Make one shard of each source file, by stem; two, as of regions, where its box is across the antimeridian.

    Raises:
        ShapeError: another file has the name of such a half.
    """
    return _cut_boxes(files, "file")


def assign_owners(
    lon: FloatArray,
    lat: FloatArray,
    shards: Sequence[Shard],
    area: Area | None,
) -> npt.NDArray[np.str_]:
    """Name the shard that owns each place.

    Args:
        lon: float64 (n,), centroid of a patch or centre of a pixel, degrees.
        lat: float64 (n,).
        shards: all shards of the area, of one rule (`mgrs` or `region`).
        area: area of interest, or None for no limit.

    Returns:
        str (n,): shard key, empty where the place is outside the area.
    """
    owner = np.zeros(len(lon), dtype=f"<U{max([5, *(len(s.key) for s in shards)])}")
    if not len(lon):
        return owner
    inside = np.ones(len(lon), bool) if area is None else area.contains(lon, lat)
    if shards and shards[0].rule == "mgrs":
        owner[inside] = mgrs_squares(lon[inside], lat[inside])
        stray = inside & ~np.isin(owner, [shard.key for shard in shards])
        owner[stray] = _nearest_keys(lon[stray], lat[stray], shards)
    else:
        for shard in reversed(shards):
            west, south, east, north = shard.bbox
            # regions of files end at their outermost point, so their east and north borders are inside
            owner[(lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)] = shard.key
    owner[~inside] = ""
    return owner


def _nearest_keys(lon: FloatArray, lat: FloatArray, shards: Sequence[Shard]) -> npt.NDArray[np.str_]:
    """Name the nearest shard of places whose own square was not cut, because the area enters it by a sliver.

    Returns:
        str (n,): empty where no shard is near enough for that.
    """
    boxes = np.array([shard.bbox for shard in shards])
    dx = np.maximum(0, np.maximum(boxes[:, 0] - lon[:, None], lon[:, None] - boxes[:, 2]))
    dy = np.maximum(0, np.maximum(boxes[:, 1] - lat[:, None], lat[:, None] - boxes[:, 3]))
    away = dx + dy
    keys = np.array([shard.key for shard in shards])[np.argmin(away, axis=1)]
    return np.where(away.min(axis=1) <= _SLIVER_DEG, keys, "")


def inside_zone(lon: FloatArray, lat: FloatArray, epsg: int) -> npt.NDArray[np.bool_]:
    """Tell which points lie in a UTM zone and hemisphere: rasters reach beyond both, their extra is dropped."""
    inside: npt.NDArray[np.bool_] = utm_epsg(lon, lat) == epsg
    return inside


def touched_zones(bbox: Bbox) -> list[int]:
    """Give the EPSG codes of the UTM zones that a box in degrees touches, ascending; none beyond 80 S and 84 N."""
    zones = set()
    for west, south, east, north in split_bbox(bbox):
        for epsg, cell_west, cell_south, cell_east, cell_north in _zone_band_cells():
            if west < cell_east and cell_west < east and south < cell_north and cell_south < north:
                zones.add(epsg)
    return sorted(zones)


def count_expected_patches(shard: Shard, shards: Sequence[Shard], area: Area | None) -> int:
    """Count the Earth Genome lattice places that a shard owns."""
    places = lattice.enumerate_places(*shard.reading_box())
    return int((assign_owners(places.lon, places.lat, shards, area) == shard.key).sum())


def shards_table(shards: Sequence[Shard], area: Area | None, *, on_lattice: bool, is_simulated: bool) -> pa.Table:
    """Give rows of `core_grid__shards`.

    Args:
        shards: all shards of the area, of one rule.
        area: area of interest, or None.
        on_lattice: count the places of the Earth Genome lattice as expected patches (else NULL).
        is_simulated: goes into the column of that name.
    """
    sizes = [area_km2(shard) for shard in shards]
    expected = [count_expected_patches(shard, shards, area) if on_lattice else None for shard in shards]
    return pa.table(
        {
            "shard": pa.array([shard.key for shard in shards], pa.string()),
            "rule": pa.array([shard.rule for shard in shards], pa.string()),
            "epsg": pa.array([shard.epsg for shard in shards], pa.int32()),
            "area_km2": pa.array(sizes, pa.float64()),
            "expected_patches": pa.array(expected, pa.int64()),
            "expected_pixels": pa.array([round(size * 1e4) for size in sizes], pa.int64()),
            "lon": pa.array([(shard.bbox[0] + shard.bbox[2]) / 2 for shard in shards], pa.float64()),
            "lat": pa.array([(shard.bbox[1] + shard.bbox[3]) / 2 for shard in shards], pa.float64()),
            "is_simulated": pa.array([is_simulated] * len(shards), pa.bool_()),
            "geometry": pa.array([_multipolygon_wkb(shard) for shard in shards], pa.binary()),
        }
    )


def area_km2(shard: Shard) -> float:
    """Give the area of a shard's ground, on the ellipsoid."""
    return ground_km2(shard.polygon())


def ground_km2(geometry: shapely.Geometry) -> float:
    """Give the area of polygons in degrees, on the ellipsoid."""
    flat = project_shape(shapely.segmentize(geometry, 0.01), _EQUAL_AREA_EPSG)
    return float(flat.area / 1e6)


def clip_outlines(shards: Sequence[Shard], area: Area) -> list[Shard]:
    """Give shards of boxes the ground that they have inside an area; what they own is decided by the area anyway."""
    parts = [polygonal(shapely.clip_by_rect(area.geometry, *shard.bbox)) for shard in shards]
    return [shard if part.is_empty else replace(shard, outline=part) for shard, part in zip(shards, parts, strict=True)]


def _multipolygon_wkb(shard: Shard) -> bytes:
    return bytes(shapely.to_wkb(shapely.MultiPolygon(list(shapely.get_parts(shard.polygon())))))


def _cut_squares(part: shapely.Geometry, epsg: int) -> list[Shard]:
    """Cut the part of an area that lies in one zone and latitude band."""
    west, south, east, north = shapely.bounds(part)
    step = min(max(east - west, north - south) / _EDGE_POINTS, _EDGE_DEG)
    projected = polygonal(project_shape(shapely.segmentize(part, step), epsg))
    if projected.is_empty:
        return []
    x0, y0, x1, y1 = shapely.bounds(projected) // SQUARE_M
    corners = np.stack(np.meshgrid(np.arange(x0, x1 + 1), np.arange(y0, y1 + 1), indexing="ij"), axis=-1).reshape(-1, 2)
    squares = shapely.box(*(SQUARE_M * np.concatenate([corners, corners + 1], axis=1)).T)
    shapely.prepare(projected)
    squares = squares[shapely.intersects(projected, squares)]
    crossed = ~shapely.contains(projected, squares)
    squares[crossed] = [polygonal(part) for part in shapely.intersection(projected, squares[crossed])]
    return [_square_shard(common, epsg, (west, south, east, north)) for common in squares if common.area > _SLIVER_M2]


def _square_shard(common: shapely.Geometry, epsg: int, part: Bbox) -> Shard:
    """Describe the part of an area in one square by its bounding box and its outline in degrees."""
    outline = unproject_shape(shapely.segmentize(common, 1000.0), epsg)
    centre = common.representative_point()
    name = str(mgrs_squares(*unproject([centre.x], [centre.y], epsg))[0])
    found, limits = shapely.bounds(outline), np.array(part)
    # what is left of rounding at the limits of the part goes
    box = np.concatenate([np.maximum(found, limits)[:2], np.minimum(found, limits)[2:]])
    return Shard(name, "mgrs", epsg, (float(box[0]), float(box[1]), float(box[2]), float(box[3])), outline)


def _zone_band_cells() -> Iterator[tuple[int, float, float, float, float]]:
    """List (EPSG, west, south, east, north) of all zones and bands, with the exceptions of 32V and 31X..37X."""
    for band in range(20):
        south = -80.0 + 8 * band
        north = 84.0 if band == 19 else south + 8
        lon = np.arange(-180.0, 180.0, 3.0)  # every zone border, the exceptions too, is a multiple of 3
        zones = utm_zone(lon + 1.5, np.full(len(lon), south + 4))
        starts = np.flatnonzero(np.diff(zones, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(lon)], strict=True):
            epsg = (32600 if south >= 0 else 32700) + int(zones[start])
            yield epsg, float(lon[start]), south, float(lon[stop - 1] + 3.0), north


def _cut_boxes(boxes: Iterable[tuple[str, Bbox]], rule: ShardRule) -> list[Shard]:
    """Make shards of named boxes: no box of a shard crosses the antimeridian."""
    shards = []
    for name, bbox in boxes:
        parts = split_bbox(bbox)
        halves = zip(_HALVES, parts, strict=True) if len(parts) > 1 else [("", parts[0])]
        shards += [_from_bbox(f"{name}{half}", rule, part) for half, part in halves]
    keys = [shard.key for shard in shards]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ShapeError(
            "area", f"two shards named {twice}, one of them the half of what crosses the antimeridian",
            "different names", "Rename the region or the file.",
        )  # fmt: skip
    return shards


def _from_bbox(name: str, rule: ShardRule, bbox: Bbox) -> Shard:
    west, south, east, north = bbox
    epsg = int(utm_epsg([(west + east) / 2], [(south + north) / 2])[0])
    return Shard(name, rule, epsg, bbox)
