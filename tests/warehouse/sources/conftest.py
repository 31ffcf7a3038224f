"""Tiny source trees in the published layouts, written into `tmp_path`.

Pixel values are a function of the ground (`code_at`), so that a flip or a shift of the reader shows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine

from transforms.geohash import encode
from transforms.lattice import LatticePlaces
from warehouse.products import Product, load_registry


def _code_at(x_m: np.ndarray, y_m: np.ndarray, bands: int = 64) -> np.ndarray:
    """Code int8 (band, height, width) of 10 m pixels with these centres; never nodata."""
    col = np.floor(np.asarray(x_m) / 10).astype(np.int64)
    row = np.floor(np.asarray(y_m) / 10).astype(np.int64)
    band = np.arange(bands)[:, None, None]
    return ((col[None, None, :] * 7 + row[None, :, None] * 13 + band * 3) % 255 - 127).astype(np.int8)


@pytest.fixture(scope="session")
def code_at() -> Callable[..., np.ndarray]:
    return _code_at


@pytest.fixture
def products() -> dict[str, Product]:
    return load_registry()


@pytest.fixture
def make_product() -> Callable[..., Product]:
    def make(**fields: Any) -> Product:
        identity = dict.fromkeys(("title", "producer", "model", "grid_version", "licence", "attribution"), "test")
        return Product(**{"name": "test", **identity, **fields})

    return make


@pytest.fixture
def write_tiff() -> Callable[..., Path]:
    """Write a band-separate raster of `code_at`, bottom-up as published unless told otherwise."""

    def write(
        path: Path, *, epsg: int = 32648, west: float = 200_000.0, south: float = 1_400_000.0, size: int = 96,
        bands: int = 64, is_bottom_up: bool = True, change: Callable[[np.ndarray], None] | None = None,
        **profile: Any,
    ) -> Path:  # fmt: skip
        centres = (np.arange(size) + 0.5) * 10
        values = _code_at(west + centres, south + centres, bands)  # row 0 is the southernmost
        if change is not None:
            change(values)
        affine = Affine(10, 0, west, 0, 10, south)
        if not is_bottom_up:
            values, affine = values[:, ::-1], Affine(10, 0, west, 0, -10, south + size * 10)
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = {
            "driver": "GTiff", "dtype": "int8", "count": bands, "width": size, "height": size, "tiled": True,
            "blockxsize": 32, "blockysize": 32, "interleave": "band", "compress": "zstd", "nodata": -128,
            "crs": f"EPSG:{epsg}", "transform": affine,
        }  # fmt: skip
        with rasterio.open(path, "w", **(settings | profile)) as file:
            file.write(values.astype(settings["dtype"] if "dtype" not in profile else profile["dtype"]))
        return path

    return write


def _aef_row(path: str, *, year: int = 2024, epsg: int = 32648, west: float = 200_000.0,
            south: float = 1_400_000.0, size: int = 96) -> dict[str, Any]:  # fmt: skip
    """One row of the published index for a raster of `write_tiff`."""
    east, north = west + size * 10, south + size * 10
    to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    degrees = to_degrees.transform_bounds(west, south, east, north)
    zone = f"{epsg % 100}{'N' if epsg < 32700 else 'S'}"
    sides = ("west", "south", "east", "north")
    return {
        "fid": 1,
        "crs": f"EPSG:{epsg}",
        "year": year,
        "utm_zone": zone,
        **dict(zip((f"utm_{s}" for s in sides), (west, south, east, north), strict=True)),
        **dict(zip((f"wgs84_{s}" for s in sides), degrees, strict=True)),
        "path": path,
    }


@pytest.fixture
def make_aef_row() -> Callable[..., dict[str, Any]]:
    return _aef_row


@pytest.fixture
def write_index() -> Callable[..., Path]:
    """Write the release index, as the table form or as STAC GeoParquet."""

    def write(
        path: Path, rows: list[dict[str, Any]], *, geometry: str = "geometry", drop: tuple[str, ...] = ()
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes = [shapely.box(*(r[f"wgs84_{s}"] for s in ("west", "south", "east", "north"))) for r in rows]
        table = pa.Table.from_pylist(rows).append_column(geometry, pa.array(shapely.to_wkb(shapes), pa.binary()))
        pq.write_table(table.drop_columns(list(drop)), path)
        return path

    return write


@pytest.fixture
def write_stac_index() -> Callable[..., Path]:
    def write(path: Path, rows: list[dict[str, Any]], *, with_grid: bool, crs: str = "proj:epsg") -> Path:
        items = []
        for row in rows:
            west, south, east, north = (row[f"utm_{s}"] for s in ("west", "south", "east", "north"))
            keys = ("xmin", "ymin", "xmax", "ymax")
            degrees = (row[f"wgs84_{s}"] for s in ("west", "south", "east", "north"))
            item: dict[str, Any] = {
                "id": Path(row["path"]).stem,
                "bbox": dict(zip(keys, degrees, strict=True)),
                "datetime": np.datetime64(f"{row['year']}-01-01T00:00:00", "ms").item(),
                crs: row["crs"] if crs == "proj:code" else row["crs"].removeprefix("EPSG:"),
                "assets": {"data": {"href": row["path"]}},
            }
            if "collection" in row:
                item["collection"] = row["collection"]
            if with_grid:
                item["proj:shape"] = [round((north - south) / 10), round((east - west) / 10)]
                item["proj:transform"] = [10.0, 0.0, west, 0.0, 10.0, south]
            items.append(item)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(items), path)
        return path

    return write


@pytest.fixture
def write_eg() -> Callable[..., Path]:
    """Write an Earth Genome file: int64 ids, variable-size lists, WKB points, no CRS in the footer."""

    def write(path: Path, places: LatticePlaces, vectors: np.ndarray, **columns: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = encode(places.lon, places.lat).astype(np.int64)
        data = {
            "id": pa.array(ids),
            "embedding": pa.array(list(vectors.astype(np.float32)), pa.list_(pa.float32())),
            "geometry": pa.array(shapely.to_wkb(shapely.points(places.lon, places.lat)), pa.binary()),
        }
        pq.write_table(pa.table(data | columns), path, row_group_size=50)
        return path

    return write
