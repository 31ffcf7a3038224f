"""Warehouses and places for the tests of label sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from transforms import geohash
from transforms.places import PatchPlaces, PixelPlaces
from transforms.shards import Shard, shards_table
from transforms.utm import project, unproject
from warehouse.layout import ALL
from warehouse.settings import Settings
from warehouse.store import Warehouse

EPSG = 32648
YEAR = 2024
IDENTITY = dict.fromkeys(("title", "producer", "model", "grid_version", "licence", "attribution"), "x")
PRODUCTS = {
    "chips": {**IDENTITY, "grain": "patch", "layout": "patch_geoparquet", "dims": 2, "patch_m": 320.0},
    "points": {**IDENTITY, "grain": "pixel", "layout": "pixel_table", "dims": 2, "pixel_m": 10.0},
}
PRODUCTS["points"]["vector_columns"] = "A{:02d}"
CLASSES = {"water": 80, "tree": 10, "crop": 40}
#: Around the places of the tests.
AREA = (102.5, 12.0, 104.0, 13.0)
RASTER = {"kind": "geotiff", "path": "labels/*.tif", "classes": CLASSES, "years": {YEAR: 2021}}


def open_warehouse(root: Path, label: dict[str, Any], files: dict[str, list[str]] | None = None) -> Warehouse:
    """Open a warehouse of chips and points, one shard large, whose indexes list the given files."""
    label = {**label, "path": root / label["path"]} if "path" in label else label
    settings = Settings(
        name="tiny",
        years=(YEAR,),
        area={"shard_rule": "region"},
        sources={name: {"root": root / name} for name in PRODUCTS},
        compare={"pixels": "points", "patches": "chips"},
        labels={"cover": label},
        warehouse={"root": root / "wh"},
        dagster={"instance": root / "dagster"},
        products=PRODUCTS,
        limits={"min_free_mb": 0},
    )
    warehouse = Warehouse(settings)
    rows = shards_table([Shard("all", "region", EPSG, AREA)], AREA, on_lattice=False, is_simulated=False)
    warehouse.write("core_grid__shards", ALL, rows, PROVENANCE)
    for product, paths in (files or {}).items():
        write_index(warehouse, product, paths)
    return warehouse


def write_index(warehouse: Warehouse, product: str, paths: list[str]) -> None:
    """Write the index of a product that lists these files."""
    spec = warehouse.specs[f"raw_{product}__index"]
    rows = declared_rows(spec, len(paths), np.random.default_rng(0))
    columns = {"path": paths, "etag": ["e"] * len(paths), "is_simulated": [False] * len(paths)}
    for name, values in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))
    warehouse.write(spec.name, ALL, rows, PROVENANCE)


def pixels_at(lon: list[float], lat: list[float]) -> PixelPlaces:
    x, y = project(lon, lat, EPSG)
    return PixelPlaces(
        geohash.pixel_keys(lon, lat, EPSG), np.array(lon), np.array(lat), np.full(len(lon), EPSG, np.int32), x, y
    )


def places_of(x_m: list[float], y_m: list[float]) -> tuple[PixelPlaces, PatchPlaces]:
    x, y = np.array(x_m, float), np.array(y_m, float)
    lon, lat = unproject(x, y, EPSG)
    return pixels_at(lon.tolist(), lat.tolist()), patches_at(lon.tolist(), lat.tolist())


def patches_at(lon: list[float], lat: list[float]) -> PatchPlaces:
    n = len(lon)
    x, y = project(lon, lat, EPSG)
    nowhere, codes = np.full(n, -1, np.int32), np.full(n, EPSG, np.int32)
    ids, own, side = geohash.encode(lon, lat), np.full(n, "own"), np.full(n, 320.0)
    return PatchPlaces(ids, own, nowhere, nowhere, np.array(lon), np.array(lat), codes, x, y, side)
