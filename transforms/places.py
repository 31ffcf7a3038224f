"""Places of patches and pixels, and the rows of the spine `core_grid__patches`.

Belongs here: value types of places, footprints, Arrow columns of patch places. Does not: vectors, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms import geohash, h3_index, lattice
from transforms.utm import UtmBox, boxes_to_polygons, footprint_boxes, project, utm_epsg

FloatArray = npt.NDArray[np.float64]
#: H3 resolutions stored with patches.
PATCH_H3 = (5, 7, 9)
#: Edge of the clusters in which footprints are read from rasters.
CLUSTER_M = 10_240.0


@dataclass(frozen=True)
class PatchPlaces:
    """Patch places with axis-parallel footprints, as parallel arrays.

    Attributes:
        patch_id: uint64 (n,) geohash keys of the centroids.
        lattice: str (n,): `primary`, `secondary`, or `own` for products with footprints of their own.
        row: int32 (n,), -1 without a lattice.
        col: int32 (n,), -1 without a lattice.
        lon: float64 (n,) centroid, degrees.
        lat: float64 (n,).
        epsg: int32 (n,) zone in which the footprint is axis-parallel.
        x_m: float64 (n,) centroid in that zone, metres.
        y_m: float64 (n,).
        side_m: float64 (n,).
    """

    patch_id: npt.NDArray[np.uint64]
    lattice: npt.NDArray[np.str_]
    row: npt.NDArray[np.int32]
    col: npt.NDArray[np.int32]
    lon: FloatArray
    lat: FloatArray
    epsg: npt.NDArray[np.int32]
    x_m: FloatArray
    y_m: FloatArray
    side_m: FloatArray

    def __len__(self) -> int:
        return len(self.patch_id)

    def take(self, chosen: npt.NDArray[np.generic]) -> PatchPlaces:
        """Give the chosen places (mask or positions)."""
        return PatchPlaces(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def boxes(self) -> FloatArray:
        """Give the footprints as (n, 4) west, south, east, north in metres of each place's zone."""
        half = self.side_m / 2
        return np.stack([self.x_m - half, self.y_m - half, self.x_m + half, self.y_m + half], axis=-1)


@dataclass(frozen=True)
class PixelPlaces:
    """Places of kept pixels, as parallel arrays.

    Attributes:
        pixel_id: uint64 (n,) geohash keys of the centres, unique.
        lon: float64 (n,), degrees.
        lat: float64 (n,).
        epsg: int32 (n,).
        x_m: float64 (n,) centre in metres of `epsg`.
        y_m: float64 (n,).
    """

    pixel_id: npt.NDArray[np.uint64]
    lon: FloatArray
    lat: FloatArray
    epsg: npt.NDArray[np.int32]
    x_m: FloatArray
    y_m: FloatArray

    def __len__(self) -> int:
        return len(self.pixel_id)

    def take(self, chosen: npt.NDArray[np.generic]) -> PixelPlaces:
        """Give the chosen places (mask or positions)."""
        return PixelPlaces(*(getattr(self, field.name)[chosen] for field in fields(self)))


def pixel_places_from_table(table: pa.Table) -> PixelPlaces:
    """Read places from rows of `core_{product}__pixels`; a place kept in several years is given once."""
    names = [field.name for field in fields(PixelPlaces)]
    places = PixelPlaces(*(table[name].to_numpy() for name in names))
    _, first = np.unique(places.pixel_id, return_index=True)
    return places.take(first)


@dataclass(frozen=True)
class TileCover:
    """What one patch file covers.

    Attributes:
        path: path in the index; ties are broken by its order.
        tile: MGRS square that the file is named after.
        box: footprints wholly inside are in the file.
    """

    path: str
    tile: str
    box: UtmBox


def place_lattice(
    places: lattice.LatticePlaces, squares: npt.NDArray[np.str_], tiles: Sequence[TileCover]
) -> PatchPlaces:
    """Build the footprints of lattice places: 320 m boxes parallel to the axes of the owning file's zone.

    The owner is the file of the square that holds the centroid; where that square has no file, the lexically
    first file that covers the patch; without any file, the zone of the centroid.

    Args:
        places: cells of the Earth Genome lattice.
        squares: str (n,) MGRS square of each centroid.
        tiles: files that may own them.
    """
    epsg = utm_epsg(places.lon, places.lat).astype(np.int32)
    have_own = np.isin(squares, [tile.tile for tile in tiles])
    open_places = ~have_own
    for tile in sorted(tiles, key=lambda tile: tile.path):
        x, y = project(places.lon, places.lat, tile.box.epsg)
        boxes = footprint_boxes(x, y, lattice.PATCH_SIDE_M)
        covered = (
            (boxes[:, 0] >= tile.box.west)
            & (boxes[:, 1] >= tile.box.south)
            & (boxes[:, 2] <= tile.box.east)
            & (boxes[:, 3] <= tile.box.north)
        )
        epsg[open_places & covered] = tile.box.epsg
        open_places &= ~covered
    x_m, y_m = project_each(places.lon, places.lat, epsg)
    return PatchPlaces(
        geohash.encode(places.lon, places.lat),
        np.where(places.is_secondary, "secondary", "primary"),
        places.row,
        places.col,
        places.lon,
        places.lat,
        epsg,
        x_m,
        y_m,
        np.full(len(places), lattice.PATCH_SIDE_M),
    )


def project_each(lon: FloatArray, lat: FloatArray, epsg: npt.NDArray[np.int32]) -> tuple[FloatArray, FloatArray]:
    """Project points, each to its own zone."""
    x, y = np.empty(len(lon)), np.empty(len(lon))
    for code in np.unique(epsg):
        chosen = epsg == code
        x[chosen], y[chosen] = project(lon[chosen], lat[chosen], int(code))
    return x, y


def footprint_polygons(places: PatchPlaces) -> npt.NDArray[np.object_]:
    """Give the footprints as WGS 84 polygons (n,)."""
    polygons = np.empty(len(places), dtype=object)
    boxes = places.boxes()
    for code in np.unique(places.epsg):
        chosen = places.epsg == code
        polygons[chosen] = boxes_to_polygons(boxes[chosen], int(code))
    return polygons


def spine_table(places: PatchPlaces, *, is_simulated: bool) -> pa.Table:
    """Give rows of `core_grid__patches`."""
    return pa.table(
        {
            "patch_id": places.patch_id,
            "lattice": pa.array(places.lattice.tolist(), pa.string()),
            "row": places.row,
            "col": places.col,
            "lon": places.lon,
            "lat": places.lat,
            "epsg": places.epsg,
            "x_m": places.x_m,
            "y_m": places.y_m,
            "side_m": places.side_m,
            **h3_index.ancestry(places.lon, places.lat, PATCH_H3),
            "is_simulated": np.full(len(places), is_simulated),
            "geometry": pa.array(shapely.to_wkb(footprint_polygons(places)), pa.binary()),
        }
    )


def places_from_table(table: pa.Table) -> PatchPlaces:
    """Read the places back from rows of `core_grid__patches` (the inverse of `spine_table`)."""
    column = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names if name != "lattice"}
    return PatchPlaces(
        column["patch_id"],
        np.array(table["lattice"].to_pylist(), dtype=np.str_),
        column["row"],
        column["col"],
        column["lon"],
        column["lat"],
        column["epsg"],
        column["x_m"],
        column["y_m"],
        column["side_m"],
    )


def cluster_boxes(boxes: FloatArray, epsg: int) -> list[UtmBox]:
    """Join footprints of one zone to few boxes that cover them all, each about 10 km.

    Reads are scheduled by these boxes: near footprints share one, lone chips over a continent get their own.

    Args:
        boxes: float64 (n, 4) west, south, east, north in metres.
        epsg: zone of all.
    """
    if not len(boxes):
        return []
    cell = np.floor(boxes[:, :2] / CLUSTER_M).astype(np.int64)
    _, inverse = np.unique(cell, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    count = int(inverse.max()) + 1
    low = np.full((count, 2), np.inf)
    high = np.full((count, 2), -np.inf)
    np.minimum.at(low, inverse, boxes[:, :2])
    np.maximum.at(high, inverse, boxes[:, 2:])
    return [UtmBox(epsg, *low[i].tolist(), *high[i].tolist()) for i in range(count)]
