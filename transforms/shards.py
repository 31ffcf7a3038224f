"""The owner rule: which shard writes a place.

Belongs here: cutting an area of interest into shards, and assigning places to them. A shard is an MGRS 100 km
square, a named region, or a source file; ownership has no overlap and no hole. Does not: what is read around a
shard's border (neighbours are read through partitions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms import lattice
from transforms.utm import EARTH_METRES_PER_DEG, SQUARE_M, mgrs_squares, project, unproject, utm_epsg, utm_zone

Bbox = tuple[float, float, float, float]
ShardRule = Literal["mgrs", "region", "file"]

#: Points per edge when a box in degrees is projected: its edges bend by metres per kilometre.
_EDGE_POINTS = 64
#: More than projecting there and back can be off, less than anything that is owned.
_ROUNDING_M = 1.0
#: Smaller parts of a square are rounding, or the bend of an edge between its points; a neighbour owns their ground.
_SLIVER_M2 = 1.0
#: Farther than this from every shard, a place is simply elsewhere.
_SLIVER_DEG = 0.001


@dataclass(frozen=True)
class Shard:
    """One unit of reading and writing.

    Attributes:
        key: partition key.
        rule: how it was cut.
        epsg: UTM zone of its centre.
        bbox: west, south, east, north in degrees, of the part inside the area of interest.
        outline: that part itself in degrees; None = the box.
    """

    key: str
    rule: ShardRule
    epsg: int
    bbox: Bbox
    outline: shapely.Polygon | None = field(default=None, compare=False)

    def polygon(self) -> shapely.Polygon:
        """Give the ground that the shard owns."""
        return shapely.box(*self.bbox) if self.outline is None else self.outline

    def reading_box(self) -> Bbox:
        """Give the box to read or enumerate from, a metre wider than `bbox`."""
        return grow(self.bbox, _ROUNDING_M)


def cut_mgrs(area: Bbox) -> list[Shard]:
    """Cut an area into the MGRS 100 km squares that it touches, by name.

    Args:
        area: west, south, east, north in degrees, between 80 S and 84 N.

    Returns:
        Shards sorted by key, each with the bounding box of its part of the area.
    """
    shards = []
    for zone, *cell in _zone_band_cells():
        west, south = max(area[0], cell[0]), max(area[1], cell[1])
        east, north = min(area[2], cell[2]), min(area[3], cell[3])
        if west < east and south < north:
            epsg = (32600 if south >= 0 else 32700) + zone
            shards += _cut_squares((west, south, east, north), epsg)
    return sorted(shards, key=lambda shard: shard.key)


def cut_regions(regions: Mapping[str, Bbox]) -> list[Shard]:
    """Make one shard of each named region, in the order given (the first one owns what lies in two)."""
    return [_from_bbox(name, "region", bbox) for name, bbox in regions.items()]


def cut_files(files: Sequence[tuple[str, Bbox]]) -> list[Shard]:
    """Make one shard of each source file, by stem."""
    return [_from_bbox(stem, "file", bbox) for stem, bbox in files]


def assign_owners(
    lon: npt.NDArray[np.float64],
    lat: npt.NDArray[np.float64],
    shards: Sequence[Shard],
    area: Bbox | None,
) -> npt.NDArray[np.str_]:
    """Name the shard that owns each place.

    Args:
        lon: float64 (n,), centroid of a patch or centre of a pixel, degrees.
        lat: float64 (n,).
        shards: all shards of the area, of one rule (`mgrs` or `region`).
        area: area of interest, or None for no limit. East and north borders are outside.

    Returns:
        str (n,): shard key, empty where the place is outside the area.
    """
    owner = np.zeros(len(lon), dtype=f"<U{max([5, *(len(s.key) for s in shards)])}")
    if not len(lon):
        return owner
    if shards and shards[0].rule == "mgrs":
        owner[:] = mgrs_squares(lon, lat)
        stray = ~np.isin(owner, [shard.key for shard in shards])
        near = stray if area is None else stray & inside_bbox(lon, lat, area)
        owner[stray] = ""
        owner[near] = _nearest_keys(lon[near], lat[near], shards)
    else:
        for shard in reversed(shards):
            west, south, east, north = shard.bbox
            # regions of files end at their outermost point, so their east and north borders are inside
            owner[(lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)] = shard.key
    if area is not None:
        owner[~inside_bbox(lon, lat, area)] = ""
    return owner


def _nearest_keys(
    lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64], shards: Sequence[Shard]
) -> npt.NDArray[np.str_]:
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


def inside_bbox(lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64], bbox: Bbox) -> npt.NDArray[np.bool_]:
    """Tell which points lie in a box; its east and north borders are outside."""
    west, south, east, north = bbox
    return (lon >= west) & (lon < east) & (lat >= south) & (lat < north)


def inside_zone(lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64], epsg: int) -> npt.NDArray[np.bool_]:
    """Tell which points lie in a UTM zone and hemisphere: rasters reach beyond both, their extra is dropped."""
    inside: npt.NDArray[np.bool_] = utm_epsg(lon, lat) == epsg
    return inside


def grow(bbox: Bbox, distance_m: float) -> Bbox:
    """Grow a box in degrees by at least a distance on the ground.

    Whatever is read or enumerated for a shard is read from a grown box, and `assign_owners` decides alone: a
    place on a border would otherwise be lost to the rounding of two projections.
    """
    west, south, east, north = bbox
    up = distance_m / EARTH_METRES_PER_DEG
    across = up / max(0.05, float(np.cos(np.radians(max(abs(south), abs(north))))))
    return west - across, max(-90.0, south - up), east + across, min(90.0, north + up)


def count_expected_patches(shard: Shard, shards: Sequence[Shard], area: Bbox | None) -> int:
    """Count the Earth Genome lattice places that a shard owns."""
    places = lattice.enumerate_places(*shard.reading_box())
    return int((assign_owners(places.lon, places.lat, shards, area) == shard.key).sum())


def shards_table(shards: Sequence[Shard], area: Bbox | None, *, on_lattice: bool, is_simulated: bool) -> pa.Table:
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
            "geometry": pa.array([shapely.to_wkb(shard.polygon()) for shard in shards], pa.binary()),
        }
    )


def area_km2(shard: Shard) -> float:
    """Give the area of a shard's ground, projected to its UTM zone (off by the scale: below 0.2 %)."""
    ring = shapely.get_coordinates(shapely.segmentize(shard.polygon(), 0.01))
    x, y = project(ring[:, 0], ring[:, 1], shard.epsg)
    return float(shapely.Polygon(np.stack([x, y], axis=1)).area / 1e6)


def _cut_squares(part: Bbox, epsg: int) -> list[Shard]:
    """Cut the part of an area that lies in one zone and latitude band."""
    west, south, east, north = part
    outline = shapely.segmentize(shapely.box(west, south, east, north), max(east - west, north - south) / _EDGE_POINTS)
    ring = np.array(outline.exterior.coords)
    x, y = project(ring[:, 0], ring[:, 1], epsg)
    projected = shapely.Polygon(np.stack([x, y], axis=1))
    shards = []
    for column in range(int(x.min() // SQUARE_M), int(x.max() // SQUARE_M) + 1):
        for row in range(int(y.min() // SQUARE_M), int(y.max() // SQUARE_M) + 1):
            square = shapely.box(*(SQUARE_M * np.array([column, row, column + 1, row + 1])))
            common = projected.intersection(square)
            if common.area > _SLIVER_M2:
                shards.append(_square_shard(common, epsg, part))
    return shards


def _square_shard(common: shapely.Polygon, epsg: int, part: Bbox) -> Shard:
    """Describe the part of an area in one square by its bounding box in degrees."""
    ring = shapely.get_coordinates(shapely.segmentize(common, 1000.0))
    lon, lat = unproject(ring[:, 0], ring[:, 1], epsg)
    centre = common.representative_point()
    name = str(mgrs_squares(*unproject([centre.x], [centre.y], epsg))[0])
    west, south, east, north = part
    box = (
        max(west, float(lon.min())),
        max(south, float(lat.min())),
        min(east, float(lon.max())),
        min(north, float(lat.max())),
    )
    return Shard(name, "mgrs", epsg, box, shapely.Polygon(np.stack([lon, lat], axis=1)))


def _zone_band_cells() -> Iterator[tuple[int, float, float, float, float]]:
    """List (zone, west, south, east, north) of all zones and bands, with the exceptions of 32V and 31X..37X."""
    for band in range(20):
        south = -80.0 + 8 * band
        north = 84.0 if band == 19 else south + 8
        lon = np.arange(-180.0, 180.0, 3.0)  # every zone border, the exceptions too, is a multiple of 3
        zones = utm_zone(lon + 1.5, np.full(len(lon), south + 4))
        starts = np.flatnonzero(np.diff(zones, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(lon)], strict=True):
            yield int(zones[start]), float(lon[start]), south, float(lon[stop - 1] + 3.0), north


def _from_bbox(name: str, rule: ShardRule, bbox: Bbox) -> Shard:
    west, south, east, north = bbox
    epsg = int(utm_epsg([(west + east) / 2], [(south + north) / 2])[0])
    return Shard(name, rule, epsg, bbox)
