"""A source tree with the structure of a country: 36 overlapping Sentinel-2 tiles, and the pixel files under them.

Belongs here: making the tree in minutes. Does not: what is measured (`country.py`). Everything is simulated: patch
vectors are noise around the field of their place, pixel files hold one block again and again (stored once, so that 280
GB of pixels take 3 GB of disk and as long to decode as others). They mean nothing; places, ids, overlaps, layouts and
block structure are those of the published files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geoarrow.pyarrow as ga
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from geoarrow.pyarrow import io as geoarrow_io

from benchmarks.pooling_rasters import simulate_block, write_raster
from transforms import geohash
from transforms.sentinel2 import sentinel2_tile_box
from transforms.utm import UtmBox
from warehouse.sources.bounds import lonlat_bounds
from warehouse.world import MARK
from warehouse.world_aef import AEF_ROOT
from warehouse.world_eg import EG_ROOT, list_tile_patches, patch_file_path

YEAR = 2024
#: The 33 tiles whose box touches Cambodia in Natural Earth's 1:110m countries, and three beside them.
TILES = (
    "47PRP", "47PRQ", "47PRR", "48PTA", "48PTT", "48PTU", "48PTV", "48PUA", "48PUB", "48PUS", "48PUT", "48PUU",
    "48PUV", "48PVA", "48PVB", "48PVS", "48PVT", "48PVU", "48PVV", "48PWA", "48PWB", "48PWS", "48PWT", "48PWU",
    "48PWV", "48PXA", "48PXB", "48PXS", "48PXT", "48PXU", "48PXV", "48PYA", "48PYB", "48PYT", "48PYU", "48PYV",
)  # fmt: skip
FILE_PX, PIXEL_M = 8192, 10.0
FILE_M = FILE_PX * PIXEL_M
#: Rows of a row group: that of the demo's world.
_ROW_GROUP = 16_384
#: Ground beyond the tiles that border patches reach.
_MARGIN_M = 640.0


@dataclass(frozen=True)
class CountryTree:
    """What was written.

    Attributes:
        aef: root of the pixel product.
        eg: root of the patch product.
        n_patch_rows: rows of all patch files, copies among them.
        n_pixel_files: files of pixels.
    """

    aef: Path
    eg: Path
    n_patch_rows: int
    n_pixel_files: int


def write_tree(root: Path, tiles: Sequence[str], dims: int) -> CountryTree:
    """Write a tree, or find it written.

    Args:
        root: folder for it.
        tiles: Sentinel-2 tiles.
        dims: width of patch vectors.
    """
    done = root / "tree.json"
    if not done.is_file():
        root.mkdir(parents=True, exist_ok=True)
        (root / MARK).write_text(json.dumps({"what": "a country for benchmarks/country.py"}))
        n_rows = sum(_write_patches(root, tile, dims) for tile in tiles)
        n_files = _write_pixels(root, tiles)
        done.write_text(json.dumps({"n_patch_rows": n_rows, "n_pixel_files": n_files}))
    return CountryTree(root / AEF_ROOT.parent, root / EG_ROOT, **json.loads(done.read_text()))


def _write_patches(root: Path, tile: str, dims: int) -> int:
    """Write the file of a tile; a place has the same field in all files, and noise of its own in each."""
    box = sentinel2_tile_box(tile)
    patches = list_tile_patches(box, _degrees(box))
    rng = np.random.default_rng(TILES.index(tile))
    field = np.random.default_rng(0).standard_normal((2, dims), np.float32)
    lon, lat = geohash.decode(patches.ids)
    waves = np.sin(np.stack([lon, lat], axis=1) * 40.0).astype(np.float32)
    vectors = waves @ field + np.float32(0.1) * rng.standard_normal((len(lon), dims), np.float32)
    points = ga.with_crs(ga.as_wkb(pa.array(shapely.to_wkb(shapely.points(lon, lat)))), ga.OGC_CRS84)
    offsets = pa.array(np.arange(len(lon) + 1, dtype=np.int32) * dims)
    table = pa.table(
        {
            "id": pa.array(patches.ids.astype(np.int64)),
            "embedding": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
            "geometry": points,
        }
    )
    path = root / patch_file_path(tile, YEAR)
    path.parent.mkdir(parents=True, exist_ok=True)
    geoarrow_io.write_geoparquet_table(
        table, str(path), geometry_encoding="WKB", compression="zstd", row_group_size=_ROW_GROUP
    )
    return len(table)


def _write_pixels(root: Path, tiles: Sequence[str]) -> int:
    """Write the files of 81.92 km that the tiles touch in their own zone, and the index."""
    block = simulate_block(np.random.default_rng(0))
    cells = sorted({cell for tile in tiles for cell in _cells(sentinel2_tile_box(tile))})
    rows = []
    for epsg, west, south in cells:
        zone = f"{epsg % 100}N"
        path = AEF_ROOT / str(YEAR) / zone / f"x{west:07.0f}{south:07.0f}-0000000000-0000000000.tiff"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_raster(root / path, FILE_PX, west, south, block, epsg=epsg)
        rows.append(_index_row(UtmBox(epsg, west, south, west + FILE_M, south + FILE_M), zone, path))
    pq.write_table(pa.Table.from_pylist(rows), root / AEF_ROOT / "aef_index.parquet")
    return len(rows)


def _cells(box: UtmBox) -> list[tuple[int, float, float]]:
    """List (EPSG, west, south) of the files that a tile and its border patches touch."""
    ranges = [
        range(math.floor((low - _MARGIN_M) / FILE_M), math.ceil((high + _MARGIN_M) / FILE_M))
        for low, high in ((box.west, box.east), (box.south, box.north))
    ]
    return [(box.epsg, i * FILE_M, j * FILE_M) for i in ranges[0] for j in ranges[1]]


def _index_row(box: UtmBox, zone: str, path: Path) -> dict[str, object]:
    west, south, east, north = _degrees(box)
    return {
        "crs": f"EPSG:{box.epsg}",
        "year": YEAR,
        "utm_zone": zone,
        "utm_west": box.west,
        "utm_south": box.south,
        "utm_east": box.east,
        "utm_north": box.north,
        "wgs84_west": west,
        "wgs84_south": south,
        "wgs84_east": east,
        "wgs84_north": north,
        "path": f"s3://example/{path.as_posix()}",
    }


def _degrees(box: UtmBox) -> tuple[float, float, float, float]:
    """Give the bounds of a box in degrees, with a margin."""
    west, south, east, north = lonlat_bounds(box)
    return west - 1e-3, south - 1e-3, east + 1e-3, north + 1e-3
