"""Small warehouses whose places are real, and whose vectors vary smoothly on the ground; and ways to spoil them.

Belongs here: rows for checks that look at places and vectors. Does not: assertions (`test_checks.py`,
`test_vector_checks.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.warehouse.fake_rows import SHARDS, YEAR, demo_specs, random_rows, unit_codes, write_rows
from transforms.geohash import pixel_keys
from transforms.lattice import enumerate_places
from transforms.places import PatchPlaces, footprint_polygons, place_lattice
from transforms.utm import mgrs_squares, unproject

SPECS = demo_specs()
EPSG = 32648
BOX = (102.6, 12.5, 102.7, 12.6)
_CELLS = enumerate_places(*BOX)
PLACES: PatchPlaces = place_lattice(_CELLS, mgrs_squares(_CELLS.lon, _CELLS.lat), [])
#: Northing at which the two rasters of `split_rasters` meet.
_EDGE_Y = float(PLACES.y_m.mean())
#: Ids of a few patches and pixels, and the box of the one raster that holds the pixels.
PATCHES: list[int] = PLACES.patch_id[:6].tolist()
_CORNER_X, _CORNER_Y = 240_000.0, 1_390_000.0
RASTER = (_CORNER_X, _CORNER_Y, _CORNER_X + 1000, _CORNER_Y + 1000)


def pixel_columns(x_m: Sequence[float], y_m: Sequence[float]) -> dict[str, Any]:
    """Give the columns that say where pixels are."""
    lon, lat = unproject(np.array(x_m), np.array(y_m), EPSG)
    epsg = np.full(len(lon), EPSG, np.int32)
    return {"pixel_id": pixel_keys(lon, lat, epsg), "epsg": epsg, "x_m": x_m, "y_m": y_m, "lon": lon, "lat": lat}


_PIXELS = pixel_columns([_CORNER_X + 10 * k + 5 for k in range(6)], [_CORNER_Y + 10 * k + 5 for k in range(6)])
PIXELS: list[int] = _PIXELS["pixel_id"].tolist()


def place_columns(table: str, columns: dict[str, Any]) -> dict[str, Any]:
    """Give the columns of places that go with the ids of some rows, as far as the table has them."""
    if not table.startswith("core_"):
        return {}
    if "patch_id" in columns and set(columns["patch_id"]) <= set(_SLOT):
        slot = [_SLOT[one] for one in columns["patch_id"]]
        return patch_columns(table, PLACES.take(np.array(slot, np.int64)))
    if "pixel_id" in columns and set(columns["pixel_id"]) <= set(PIXELS):
        slot = [PIXELS.index(one) for one in columns["pixel_id"]]
        found = {name: np.asarray(values)[slot] for name, values in _PIXELS.items()}
        return {name: values for name, values in found.items() if name in SPECS[table].schema.names}
    return {}


_SLOT = {patch_id: slot for slot, patch_id in enumerate(PLACES.patch_id.tolist())}


def patch_columns(table: str, places: PatchPlaces) -> dict[str, Any]:
    """Give the columns of a table that say where patches are."""
    names = SPECS[table].schema.names
    columns = {name: getattr(places, name) for name in PatchPlaces.__dataclass_fields__ if name in names}
    if SPECS[table].geometry == "Polygon":
        corners = [shape.bounds for shape in footprint_polygons(places)]
        columns["bbox"] = [dict(zip(("xmin", "ymin", "xmax", "ymax"), corner, strict=True)) for corner in corners]
    return columns


def write(root: Path, table: str, of_shard: str = SHARDS[0], of_year: int = YEAR, **columns: Any) -> None:
    """Write one partition; ids bring their places along, vectors are random."""
    record = columns.pop("record", None)
    n = len(next(iter(columns.values())))
    rng = np.random.default_rng(1)
    if "embedding_q" in SPECS[table].schema.names and "embedding_q" not in columns:
        columns["embedding_q"] = unit_codes(n, 64, rng)
    columns = {**place_columns(table, columns), **columns}
    write_rows(
        root, SPECS[table], random_rows(SPECS[table], n, rng, **columns), record=record, year=of_year, shard=of_shard
    )


def write_index(root: Path, box: tuple[float, float, float, float] = RASTER, **columns: Any) -> None:
    """Write a release index of one raster."""
    lon, lat = unproject(np.array(box[::2]), np.array(box[1::2]), EPSG)
    metres = dict(
        zip(("utm_west_m", "utm_south_m", "utm_east_m", "utm_north_m"), ([side] for side in box), strict=True)
    )
    degrees = {"west_deg": [lon[0]], "south_deg": [lat[0]], "east_deg": [lon[1]], "north_deg": [lat[1]]}
    write(root, "raw_aef__index", **{"year": [YEAR], "epsg": [EPSG], **metres, **degrees, **columns})


def flip_coordinates(root: Path) -> None:
    """Store the pixels of a raster that was read as if its origin were the upper edge: they hang below it."""
    x_m, y_m = _PIXELS["x_m"], [2 * _CORNER_Y - y for y in _PIXELS["y_m"]]
    write(root, "core_aef__pixels", **pixel_columns(x_m[:3], y_m[:3]))


def flip_northing(root: Path) -> None:
    """Store northings that grow to the south, beside right degrees."""
    y_m = [RASTER[1] + RASTER[3] - y for y in _PIXELS["y_m"][:3]]
    write(root, "core_aef__pixels", pixel_id=PIXELS[:3], y_m=y_m)


def smooth_vectors(lon: Any, lat: Any, dims: int) -> np.ndarray:
    """Give float32 (n, dims) vectors that change over some kilometres."""
    rng = np.random.default_rng(3)
    waves, phase = rng.normal(size=(2, dims)) / 0.02, rng.uniform(0, 2 * np.pi, dims)
    return np.cos(np.stack([lon, lat], axis=1) @ waves + phase).astype(np.float32)


def field_world(root: Path, *, border: str, is_flipped: bool) -> None:
    """Write places of 11 x 11 km and smooth vectors for them: patches in two shards, pooled pixels of two rasters.

    Args:
        root: the warehouse.
        border: `lon` or `y`: what divides the shards and the rasters.
        is_flipped: the second side's vectors stand upside down, as those of a raster read from the wrong end.
    """
    values, middle = (PLACES.lon, float(PLACES.lon.mean())) if border == "lon" else (PLACES.y_m, _EDGE_Y)
    for number, shard in enumerate(SHARDS):
        mine = PLACES.take(values >= middle if number else values < middle)
        lat = mine.lat
        if is_flipped and number:
            lat = lat.min() + lat.max() - lat
        spine = patch_columns("core_grid__patches", mine)
        write(root, "core_grid__patches", shard, **spine)
        vectors = smooth_vectors(mine.lon, lat, 384)
        write(root, "core_eg__patches", shard, **patch_columns("core_eg__patches", mine), embedding=vectors.tolist())
        columns = {"mean": vectors[:, :64].tolist(), "valid_fraction": [1.0] * len(mine)}
        # pooled rows stand in the shard of their place; here one shard, so that the rasters alone make the border
        write(root, "out_patch__aef_pooled", shard, patch_id=mine.patch_id, **columns)


def split_rasters(root: Path) -> None:
    """Put the places into one shard and two rasters, one north of the other."""
    write(root, "core_grid__patches", SHARDS[0], **patch_columns("core_grid__patches", PLACES))
    write(root, "core_grid__patches", SHARDS[1], **patch_columns("core_grid__patches", PLACES.take(np.arange(0))))
    west, east = float(PLACES.x_m.min()) - 1, float(PLACES.x_m.max()) + 1
    boxes = [(west, _EDGE_Y - 20_000, east, _EDGE_Y), (west, _EDGE_Y, east, _EDGE_Y + 20_000)]
    columns = {
        f"utm_{side}_m": [box[place] for box in boxes] for place, side in enumerate(("west", "south", "east", "north"))
    }
    write(root, "raw_aef__index", year=[YEAR] * 2, epsg=[EPSG] * 2, path=["south.tiff", "north.tiff"], **columns)


def cluster_world(root: Path, table: str, **strange: Any) -> None:
    """Write 60 vectors of one kind and 20 of another, all near their kind, and replace the first by a strange one."""
    rng = np.random.default_rng(5)
    is_pixel = table.endswith("pixels")
    dims = 64 if is_pixel else 384
    kinds = rng.normal(size=(2, dims))
    vectors = kinds[[0] * 60 + [1] * 20] + 0.1 * rng.normal(size=(80, dims))
    if "vector" in strange:
        vectors[0] = strange["vector"](dims)
    columns: dict[str, Any] = {"lon": [102.6] * 80}
    if is_pixel:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        columns["embedding_q"] = np.clip(np.rint(np.sign(vectors) * np.sqrt(np.abs(vectors)) * 127.5), -127, 127)
        columns["embedding_q"] = columns["embedding_q"].astype(int).tolist()
    else:
        columns["embedding"] = vectors.tolist()
    write(root, table, **columns, **{"pixel_id" if is_pixel else "patch_id": range(1, 81)})
