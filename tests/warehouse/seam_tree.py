"""A small source tree in two UTM zones: codes are a function of the ground, files end a little past the zone edge.

Belongs here: rasters, index and settings file. Does not: assertions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import rasterio
from affine import Affine

from tests.tiny import write_settings

EDGE_LON, LAT = 102.0, 12.65
ZONES = (32647, 32648)
SIZE_PX = 256
PIXEL_M = 10.0
YEAR = 2024


def codes_at(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Codes int8 (64, ...) of places: smooth, so that two zones' pixels of one ground agree within a step or two."""
    band = np.arange(64).reshape(64, *[1] * lon.ndim)
    wave = np.sin(300 * (lon - EDGE_LON) * (1 + band % 5) + band) + np.cos(400 * (lat - LAT) + 2 * band)
    return np.rint(45 * wave).astype(np.int8)


def corner(epsg: int) -> tuple[float, float]:
    """West and south edge of a zone's raster: 2.56 x 2.56 km around the zone edge."""
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(EDGE_LON, LAT)
    half = SIZE_PX * PIXEL_M / 2
    return round(x / 10) * 10.0 - half, round(y / 10) * 10.0 - half


def write_tree(root: Path, *, overlap_deg: float, overviews: bool = False) -> Path:
    """Write both rasters, bottom-up as published, and the index; pixels farther past the zone edge are nodata."""
    rows = []
    for epsg, sign in zip(ZONES, (1, -1), strict=True):
        west, south = corner(epsg)
        centres = PIXEL_M * (np.arange(SIZE_PX) + 0.5)
        to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
        lon, lat = to_degrees.transform(*np.meshgrid(west + centres, south + centres))
        codes = codes_at(lon, lat)
        codes[:, sign * (lon - EDGE_LON) > overlap_deg] = -128
        path = f"annual/{YEAR}/{epsg % 100}N/seam.tiff"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        profile = {
            "driver": "GTiff", "dtype": "int8", "count": 64, "width": SIZE_PX, "height": SIZE_PX, "tiled": True,
            "blockxsize": 64, "blockysize": 64, "interleave": "band", "compress": "zstd", "nodata": -128,
            "crs": f"EPSG:{epsg}", "transform": Affine(PIXEL_M, 0, west, 0, PIXEL_M, south),
        }  # fmt: skip
        with rasterio.open(root / path, "w", **profile) as file:
            file.write(codes)
        if overviews:
            with rasterio.open(root / path, "r+") as file:
                file.build_overviews([2, 4, 8, 16, 32], rasterio.enums.Resampling.average)
        span = SIZE_PX * PIXEL_M
        metres = (west, south, west + span, south + span)
        degrees = to_degrees.transform_bounds(*metres)
        sides = ("west", "south", "east", "north")
        rows.append(
            {"fid": 1, "crs": f"EPSG:{epsg}", "year": YEAR, "utm_zone": f"{epsg % 100}N", "path": path}
            | {f"utm_{side}": value for side, value in zip(sides, metres, strict=True)}
            | {f"wgs84_{side}": value for side, value in zip(sides, degrees, strict=True)}
        )
    pq.write_table(pa.Table.from_pylist(rows), root / "annual" / "aef_index.parquet")
    return root


def write_config(folder: Path, root: Path) -> Path:
    """Write a settings file on such a tree."""
    settings = {
        "name": "seam",
        "years": [YEAR],
        "area": {"shard_rule": "region"},
        "sources": {"aef": {"root": str(root)}},
        "compare": {"pixels": "aef"},
        "warehouse": {"root": "warehouse"},
        "dagster": {"instance": "dagster"},
        "limits": {"block_px": 64, "min_free_mb": 10},
    }
    return write_settings(folder / "seam.toml", settings)
