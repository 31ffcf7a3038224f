"""Files of a world, damaged: each function changes a copy of a world (`copy_world`) and gives the file it spoiled.

Belongs here: damage. Does not: what is said about it (`docs/bad_input.md`), tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

from tests.assets.brute_force import NODATA
from tests.tiny import replace_file
from transforms.geohash import decode
from transforms.utm import project

#: The two squares of `quick_settings`, on either side of the zone edge.
WEST, EAST = "47PRQ", "48PSV"
GEOHASH = "0123456789bcdefghjkmnpqrstuvwxyz"
_BLOCK_PX = 1024


def find_cog(world: Path, zone: str = "47N", year: int = 2024) -> Path:
    (path,) = (world / f"aef/v1/annual/{year}/{zone}").glob("*.tiff")
    return path


def find_eg(world: Path, tile: str = WEST) -> Path:
    (path,) = world.glob(f"earthgenome/*/2024/{tile}_*.parquet")
    return path


def find_index(world: Path) -> Path:
    return world / "aef/v1/annual/aef_index.parquet"


# -- rasters -----------------------------------------------------------------------------------------------


def truncate_cog(world: Path) -> Path:
    path = find_cog(world)
    content = path.read_bytes()
    replace_file(path, content[: len(content) * 6 // 10])
    return path


def change_header(world: Path, **profile: Any) -> Path:
    """Give a raster another header, and no data."""
    path = find_cog(world)
    with rasterio.open(path) as raster:
        settings = raster.profile | {"sparse_ok": True} | profile
    path.unlink()
    with rasterio.open(path, "w", **{name: value for name, value in settings.items() if value is not None}):
        pass
    return path


def drop_a_band(world: Path) -> Path:
    return change_header(world, count=63)


def widen_integers(world: Path) -> Path:
    return change_header(world, dtype="int16")


def store_floats(world: Path) -> Path:
    return change_header(world, dtype="float32", nodata=None)


def drop_crs(world: Path) -> Path:
    return change_header(world, crs=None)


def shift_zone(world: Path) -> Path:
    return change_header(world, crs="EPSG:32648")


def mix_nodata(world: Path) -> Path:
    path = find_cog(world)
    replace_file(path, path.read_bytes())
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        window = Window(0, 0, _BLOCK_PX, _BLOCK_PX)
        band = raster.read(6, window=window)
        rows, cols = np.nonzero(band != NODATA)
        band[rows[-3:], cols[-3:]] = NODATA
        raster.write(band, 6, window=window)
    return path


def delete_cog(world: Path) -> Path:
    path = find_cog(world)
    path.unlink()
    return path


def turn_top_down(world: Path) -> Path:
    """Store the same ground with row 0 the northernmost, as most tools write it."""
    path = find_cog(world)
    content = path.read_bytes()
    path.unlink()
    with rasterio.MemoryFile(content) as memory, memory.open() as old:
        a, c, e, f = old.transform.a, old.transform.c, old.transform.e, old.transform.f
        profile = old.profile | {"transform": Affine(a, 0, c, 0, -e, f + e * old.height), "sparse_ok": True}
        with rasterio.open(path, "w", **profile) as new:
            for (row, col), window in old.block_windows(1):
                if old.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1) is not None:
                    top = old.height - window.row_off - window.height
                    target = Window(window.col_off, top, window.width, window.height)
                    new.write(old.read(window=window)[:, ::-1], window=target)
    return path


# -- the index ---------------------------------------------------------------------------------------------


def rewrite_index(world: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    path = find_index(world)
    table = change(pq.read_table(path))
    path.unlink()
    pq.write_table(table, path)
    return path


def drop_index_column(world: Path) -> Path:
    return rewrite_index(world, lambda table: table.drop_columns(["utm_west"]))


def write_index_as_text(world: Path) -> Path:
    return rewrite_index(world, lambda table: _replace_column(table, "utm_west", table["utm_west"].cast(pa.string())))


def lose_index_values(world: Path) -> Path:
    def lose(table: pa.Table) -> pa.Table:
        return _replace_column(table, "path", pa.array([None] * table.num_rows, pa.string()))

    return rewrite_index(world, lose)


# -- patches -----------------------------------------------------------------------------------------------


def rewrite_eg(
    world: Path,
    change: Callable[[dict[str, Any]], Mapping[str, Any]],
    metadata: Mapping[bytes, bytes] | None = None,
    tile: str = WEST,
) -> Path:
    """Rewrite a patch file in the published layout.

    Args:
        world: the copy.
        change: from id (int64 array), vectors (float32 matrix) and geometry (WKB array) to columns; a matrix is stored
            as lists.
        metadata: added to the footer.
        tile: which file.
    """
    path = find_eg(world, tile)
    table = pq.read_table(path)
    geometry = table["geometry"].combine_chunks()
    columns = {
        "id": table["id"].to_numpy().copy(),
        "embedding": np.array(table["embedding"].to_pylist(), np.float32),
        "geometry": geometry.storage if isinstance(geometry, pa.ExtensionArray) else geometry,
    }
    changed = {name: _as_lists(values) for name, values in change(columns).items()}
    path.unlink()
    pq.write_table(
        pa.table(changed).replace_schema_metadata({**(table.schema.metadata or {}), **(metadata or {})}), path
    )
    return path


def shorten_vectors(world: Path) -> Path:
    return rewrite_eg(world, lambda old: old | {"embedding": old["embedding"][:, :383]})


def _put(world: Path, value: float, rows: slice) -> Path:
    def put(old: dict[str, Any]) -> dict[str, Any]:
        old["embedding"][rows, 7] = value
        return old

    return rewrite_eg(world, put)


def spoil_vectors(world: Path) -> Path:
    return _put(world, np.nan, slice(None))


def overflow_vectors(world: Path) -> Path:
    return _put(world, np.inf, slice(None))


def shift_ids(world: Path) -> Path:
    return rewrite_eg(world, lambda old: old | {"id": np.roll(old["id"], 1)})


def store_doubles(world: Path) -> Path:
    return rewrite_eg(world, lambda old: old | {"embedding": old["embedding"].astype(np.float64)})


def store_text(world: Path) -> Path:
    return rewrite_eg(
        world, lambda old: old | {"embedding": pa.array([json.dumps(row) for row in old["embedding"][:, :2].tolist()])}
    )


def rename_vectors(world: Path) -> Path:
    return rewrite_eg(world, lambda old: {"id": old["id"], "vector": old["embedding"], "geometry": old["geometry"]})


def store_ids_as_floats(world: Path) -> Path:
    return rewrite_eg(world, lambda old: old | {"id": old["id"].astype(np.float64)})


def store_metres_without_crs(world: Path) -> Path:
    def to_metres(old: dict[str, Any]) -> dict[str, Any]:
        x, y = project(*decode(old["id"].astype(np.uint64)), 32647)
        return old | {"geometry": pa.array(shapely.to_wkb(shapely.points(x, y)), pa.binary())}

    return rewrite_eg(world, to_metres, {b"geo": b"{}"})


def state_model(world: Path, model: str, year: int, tile: str = WEST, **record: Any) -> Path:
    """Let a patch file state the model of its vectors, as the files of 2023 do."""
    span = {"start_datetime": f"{year}-01-01T00:00:00Z", "end_datetime": f"{year + 1}-01-01T00:00:00Z"}
    text = json.dumps({"model": {"id": model}, "embedding": {"dim": 384, "quantization": "None"}, **span, **record})
    return rewrite_eg(world, lambda old: old, {b"emb": text.encode()}, tile)


def store_as_2023(world: Path, model: str) -> Path:
    """Write a patch file as in 2023: text ids, lists of fixed length, footprints as polygons, a record of the model."""

    def change(old: dict[str, Any]) -> dict[str, Any]:
        texts = ["".join(GEOHASH[(key >> (5 * (10 - i))) & 31] for i in range(11)) for key in old["id"].tolist()]
        lists = pa.FixedSizeListArray.from_arrays(pa.array(old["embedding"].ravel()), 384)
        lon, lat = decode(old["id"].astype(np.uint64))
        boxes = shapely.box(lon - 0.001, lat - 0.001, lon + 0.001, lat + 0.001)
        return {"id": pa.array(texts), "embedding": lists, "geometry": pa.array(shapely.to_wkb(boxes), pa.binary())}

    span = {"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2025-01-01T00:00:00Z"}
    record = {"version": "0.0.1", "model": {"id": model}, **span, "embedding": {"dim": 384, "quantization": "None"}}
    return rewrite_eg(world, change, {b"emb": json.dumps(record).encode()})


def take_another_model(world: Path) -> Path:
    """Give the patches of one file vectors of another model: the same places, another space."""

    def turn(old: dict[str, Any]) -> dict[str, Any]:
        rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(384, 384)))
        return old | {"embedding": (old["embedding"] @ rotation).astype(np.float32)}

    return rewrite_eg(world, turn)


def empty_patches(world: Path) -> Path:
    return rewrite_eg(world, lambda old: {name: values[:0] for name, values in old.items()})


# -- labels ------------------------------------------------------------------------------------------------

#: Polygons around the squares of `quick_settings`, in degrees.
FIELD = shapely.box(101.98, 12.60, 102.02, 12.655)
WOOD = shapely.box(101.98, 12.655, 102.02, 12.70)
#: A ring that crosses itself, in the wood.
BOW_TIE = shapely.Polygon([(101.99, 12.656), (102.01, 12.668), (102.01, 12.656), (101.99, 12.668)])
FLAT = shapely.Polygon([(102.0, 12.65), (102.01, 12.65), (102.005, 12.65)])


def write_polygons(world: Path, name: str, shapes: list[Any], kinds: list[Any], crs: str | None = "EPSG:4326") -> Path:
    path = world / "labels" / name
    path.parent.mkdir(exist_ok=True)
    frame = geopandas.GeoDataFrame({"kind": kinds}, geometry=shapes, crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path, driver="GeoJSON")
    return path


def write_codes(world: Path, codes: np.ndarray, west: float, north: float, step: float = 0.0005) -> Path:
    """Write a class raster in degrees."""
    path = world / "labels" / "cover.tif"
    path.parent.mkdir(exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "height": codes.shape[0], "width": codes.shape[1], "dtype": codes.dtype}
    with rasterio.open(
        path, "w", crs="EPSG:4326", transform=Affine(step, 0, west, 0, -step, north), nodata=0, **profile
    ) as file:
        file.write(codes[None])
    return path


def _replace_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def _as_lists(values: Any) -> Any:
    """Store a matrix as lists of variable length, as published."""
    if not isinstance(values, np.ndarray) or values.ndim == 1:
        return pa.array(values) if isinstance(values, np.ndarray) else values
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))
