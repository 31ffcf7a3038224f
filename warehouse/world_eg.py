"""The Earth Genome side of a simulated world: one GeoParquet file per Sentinel-2 tile.

Belongs here: which patches a file holds, and its columns. Does not: vectors
(`transforms/simulation/patch_vectors.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import geoarrow.pyarrow as ga
import numpy as np
import pyarrow as pa
import shapely
from geoarrow.pyarrow import io as geoarrow_io

from transforms import geohash
from transforms.lattice import PATCH_SIDE_M, enumerate_places
from transforms.sentinel2 import sentinel2_tile_box
from transforms.simulation.landscape import Landscape
from transforms.simulation.patch_vectors import Footprints, PatchModel, build_patch_model, render_patches
from transforms.simulation.spec import TILES, Bbox, SignalStrengths
from transforms.utm import UtmBox, footprint_boxes, project, unproject

EG_ROOT = Path("earthgenome/earthindexembeddings")
#: Some published files carry no CRS; this one shows it.
TILE_WITHOUT_CRS = "48PSV"
_ROW_GROUP = 16_384
Progress = Callable[[float], None]


@dataclass(frozen=True)
class PatchCounts:
    """What was written.

    Attributes:
        n_rows: rows of all files.
        n_patches: different ids.
        n_max_copies: most files that hold one id.
    """

    n_rows: int
    n_patches: int
    n_max_copies: int


def patch_file_path(tile: str, year: int) -> Path:
    """Give the published path of a tile's file below the world's root."""
    return EG_ROOT / str(year) / f"{tile}_{year}-01-01_{year + 1}-01-01.parquet"


def write_eg_world(
    root: Path, landscape: Landscape, strengths: SignalStrengths, seed: int, progress: Progress
) -> PatchCounts:
    """Write the patch files of the full year.

    Args:
        root: the world's root.
        landscape: the ground.
        strengths: of the patch vectors.
        seed: the world's seed.
        progress: called with the share done.

    Returns:
        Counts of rows, patches and copies.
    """
    model = build_patch_model(seed)
    ids = []
    for done, tile in enumerate(TILES, start=1):
        table = _tile_table(tile, landscape, model, strengths, seed)
        path = root / patch_file_path(tile, landscape.spec.full_year)
        path.parent.mkdir(parents=True, exist_ok=True)
        geoarrow_io.write_geoparquet_table(
            table, str(path), geometry_encoding="WKB", compression="zstd", row_group_size=_ROW_GROUP
        )
        ids.append(table["id"].to_numpy())
        progress(done / len(TILES))
    _, copies = np.unique(np.concatenate(ids), return_counts=True)
    return PatchCounts(int(copies.sum()), len(copies), int(copies.max()))


def _tile_table(tile: str, landscape: Landscape, model: PatchModel, strengths: SignalStrengths, seed: int) -> pa.Table:
    box = sentinel2_tile_box(tile)
    patches = list_tile_patches(box, landscape.spec.bbox)
    vectors, _ = render_patches(landscape, model, patches, strengths, seed, tile)
    lon, lat = geohash.decode(patches.ids)
    points = ga.with_crs(ga.as_wkb(pa.array(shapely.to_wkb(shapely.points(lon, lat)))), None)
    if tile != TILE_WITHOUT_CRS:
        points = ga.with_crs(points, ga.OGC_CRS84)
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1])
    return pa.table(
        {
            "id": pa.array(patches.ids.astype(np.int64)),
            "embedding": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
            "geometry": points,
        }
    )


def list_tile_patches(box: UtmBox, bbox: Bbox) -> Footprints:
    """List the patches whose footprint lies wholly inside a tile and inside a box in degrees.

    Args:
        box: the tile; footprints are parallel to its zone's axes.
        bbox: west, south, east, north in degrees.

    Returns:
        The patches, by lattice, row, column; ids are those of the lattice's own centroids.
    """
    places = enumerate_places(*bbox)
    x, y = project(places.lon, places.lat, box.epsg)
    corners = footprint_boxes(x, y, PATCH_SIDE_M)
    inside = (
        (corners[:, 0] >= box.west)
        & (corners[:, 1] >= box.south)
        & (corners[:, 2] <= box.east)
        & (corners[:, 3] <= box.north)
    )
    for i, j in ((0, 1), (2, 1), (2, 3), (0, 3)):
        lon, lat = unproject(corners[:, i], corners[:, j], box.epsg)
        inside &= (lon >= bbox[0]) & (lon <= bbox[2]) & (lat >= bbox[1]) & (lat <= bbox[3])
    ids = geohash.encode(places.lon[inside], places.lat[inside])
    return Footprints(ids, x[inside], y[inside], box.epsg)
