"""Which zones and raster files a user's polygons have to do with, and in which batches they are pooled.

Belongs here: polygons against the bounds of files, the zone that measures a polygon, batches of near polygons. Does
not: reading either (`sources/`), pooling (`transforms/pooling/`).

A polygon's *home* is the UTM zone of its centroid where a file there touches it; otherwise the lowest EPSG among the
files that touch it, so that products in another CRS work; without any file, the UTM zone again. Other zones whose files
touch it continue it, in ascending order, where its home has no valid pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms.places import CLUSTER_M
from transforms.pooling.seams import project_polygons
from transforms.utm import utm_epsg
from warehouse.sources.bounds import SIDES

Geometries = npt.NDArray[np.object_]
Int64Array = npt.NDArray[np.int64]

#: Polygons pooled at once.
_BATCH_POLYGONS = 2_000


@dataclass(frozen=True)
class PolygonZones:
    """Which rasters polygons have to do with.

    Attributes:
        home: int64 (n,), EPSG in which each polygon is measured and looked for first.
        others: per polygon, the other zones whose files touch it, ascending.
        touched: int64, index rows that touch any polygon, ascending.
    """

    home: Int64Array
    others: list[tuple[int, ...]]
    touched: Int64Array


def find_zones(lonlat: Geometries, index: pa.Table) -> PolygonZones:
    """Find the zones and files of polygons.

    Args:
        lonlat: object (n,), degrees; polygons across the antimeridian run on beyond 180.
        index: rows of `raw_{product}__index` of one year.
    """
    zones, touched = _touch_files(lonlat, index)
    center = shapely.get_coordinates(shapely.centroid(lonlat))
    utm = utm_epsg((center[:, 0] + 180.0) % 360.0 - 180.0, center[:, 1])
    home = np.array([z if z in near or not near else min(near) for z, near in zip(utm, zones, strict=True)], np.int64)
    others = [tuple(sorted(near - {int(z)})) for z, near in zip(home, zones, strict=True)]
    return PolygonZones(home, others, touched)


def other_zones(lonlat: Geometries, epsg: npt.NDArray[np.integer], index: pa.Table) -> dict[int, npt.NDArray[np.bool_]]:
    """Tell which polygons are touched by files of which zones beside their own.

    Args:
        lonlat: object (n,), degrees.
        epsg: int (n,), their own zones.
        index: rows of `raw_{product}__index` of one year.

    Returns:
        By EPSG, bool (n,).
    """
    zones, _ = _touch_files(lonlat, index)
    masks = {other: np.array([other in near for near in zones]) & (epsg != other) for other in set().union(*zones)}
    return {other: mask for other, mask in sorted(masks.items()) if mask.any()}


def _touch_files(lonlat: Geometries, index: pa.Table) -> tuple[list[set[int]], Int64Array]:
    """Give (per polygon, EPSG of the files whose bounds touch its own; index rows that touch any, ascending)."""
    files = _list_bounds(index)
    tree = shapely.STRtree([box for box, _ in files])
    polygon, which = tree.query(shapely.box(*shapely.bounds(lonlat).T), predicate="intersects")
    row = np.array([number for _, number in files], np.int64)[which]
    epsg = index["epsg"].to_pylist()
    zones: list[set[int]] = [set() for _ in lonlat]
    for k, number in zip(polygon, row, strict=True):
        if epsg[number] is not None:
            zones[k].add(epsg[number])
    return zones, np.unique(row)


def project_home(lonlat: Geometries, home: Int64Array) -> Geometries:
    """Give polygons in metres, each in its home zone."""
    polygons = np.empty(len(lonlat), object)
    for epsg in np.unique(home):
        chosen = home == epsg
        polygons[chosen] = project_polygons(lonlat[chosen], 4326, int(epsg))
    return polygons


def cut_batches(polygons: Geometries, home: Int64Array, max_area_m2: float) -> Iterator[Int64Array]:
    """Cut polygons into batches of one zone that lie near each other, so that few blocks are read twice.

    Args:
        polygons: object (n,), metres of their home zones.
        home: int64 (n,).
        max_area_m2: of a batch; a polygon that is larger comes alone.

    Yields:
        Positions of polygons; each once.
    """
    bounds, area = shapely.bounds(polygons), shapely.area(polygons)
    cell = np.floor(bounds[:, :2] / CLUSTER_M)
    order = np.lexsort([cell[:, 0], cell[:, 1], home])
    batch: list[int] = []
    total = 0.0
    for k in order.tolist():
        is_full = len(batch) == _BATCH_POLYGONS or total + area[k] > max_area_m2
        if batch and (is_full or home[k] != home[batch[0]]):
            yield np.array(batch)
            batch, total = [], 0.0
        batch.append(k)
        total += area[k]
    if batch:
        yield np.array(batch)


def _list_bounds(index: pa.Table) -> list[tuple[shapely.Polygon, int]]:
    """Give (bounds, index row) of files whose place is known, thrice: for longitudes around -360, 0 and 360."""
    boxes = []
    columns = (index[f"{side}_deg"].to_pylist() for side in SIDES)
    for number, (west, south, east, north) in enumerate(zip(*columns, strict=True)):
        if west is not None:
            east += 360.0 if east < west else 0.0
            boxes += [(shapely.box(west + turn, south, east + turn, north), number) for turn in (-360.0, 0.0, 360.0)]
    return boxes
