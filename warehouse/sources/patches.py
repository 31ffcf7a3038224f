"""Unique patches of any patch product, from the files of one year.

Belongs here: the one way from files of either patch layout to unique vectors and to places. Does not: the
formats themselves (`eg_geoparquet.py`, `patch_geoparquet.py`), ownership.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms import geohash
from transforms.area import Bbox
from transforms.dedup import choose_copies, cosine_distance
from transforms.patch_rows import UniquePatches
from transforms.places import PatchPlaces, TileCover
from transforms.sentinel2 import sentinel2_tile_box
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources.eg_copies import resolve_duplicates
from warehouse.sources.eg_geoparquet import EgFile, read_patches
from warehouse.sources.files import locate
from warehouse.sources.patch_geoparquet import PatchFile, read_patch_file


@dataclass(frozen=True)
class PatchReading:
    """What the files of one year gave.

    Attributes:
        patches: unique patches, ascending by key.
        notes: what a reader of the rows must know of the files.
    """

    patches: UniquePatches
    notes: tuple[str, ...]


def read_unique_patches(product: Product, source: SourceSettings, index: pa.Table, bbox: Bbox) -> PatchReading:
    """Read all patches of some files, one copy of each.

    Args:
        product: registry entry of a patch product.
        source: its root.
        index: rows of `raw_{product}__index` of one year.
        bbox: patches outside may be left out (they are where that saves reading).

    Returns:
        The patches; files without rows are noted.

    Raises:
        AnotherProductError: a file is of another model or year than the product.
        SourceMissingError, SourceFormatError, MissingColumnsError, SourceContentError: see `read_patches` and
            `read_patch_file`.
    """
    paths = file_paths(source, index)
    if product.layout != "eg_geoparquet":
        files = [read_patch_file(path, product) for path in paths]
        return PatchReading(_resolve_files(files, product.dims), ())
    tiles = [read_patches(path, product, area=bbox) for path in paths]
    notes = tuple(f"{tile.path.name}: the file has no rows" for tile in tiles if tile.is_empty)
    return PatchReading(_resolve_tiles(tiles, product.dims), notes)


def read_footprint_places(product: Product, source: SourceSettings, index: pa.Table) -> PatchPlaces:
    """Read the places of a product with footprints of its own, each once."""
    files = [read_patch_file(path, product) for path in file_paths(source, index)]
    column = {name: _join(files, name) for name in ("lon", "lat", "epsg", "x_m", "y_m", "side_m")}
    ids = geohash.encode(column["lon"], column["lat"])
    _, first = np.unique(ids, return_index=True)
    nowhere = np.full(len(ids), -1, np.int32)
    places = PatchPlaces(ids, np.full(len(ids), "own"), nowhere, nowhere, **column)
    return places.take(first)


def tile_covers(index: pa.Table) -> list[TileCover]:
    """Describe what the files of an Earth Genome index cover."""
    tiles = dict(zip(index["path"].to_pylist(), index["tile"].to_pylist(), strict=True))
    return [TileCover(path, tile, sentinel2_tile_box(tile)) for path, tile in tiles.items()]


def _resolve_tiles(tiles: Sequence[EgFile], dims: int) -> UniquePatches:
    """Keep the copy of the tile that owns each patch."""
    found = resolve_duplicates(tiles)
    return UniquePatches(
        found.patch_id,
        found.source_id.astype(np.str_),
        found.vectors.reshape(-1, dims),
        found.n_copies,
        found.copies_max_cosine_distance,
        found.places.lon,
        found.places.lat,
    )


def _resolve_files(files: Sequence[PatchFile], dims: int) -> UniquePatches:
    """Keep the first copy of each place, by path."""
    lon, lat = _join(files, "lon"), _join(files, "lat")
    ids = geohash.encode(lon, lat)
    vectors = np.concatenate([np.empty((0, dims), np.float32), *(file.vectors for file in files)])
    source_ids = np.concatenate([np.empty(0, np.str_), *(file.source_id for file in files)])
    rank = np.repeat(np.arange(len(files)), [len(file) for file in files])
    choice = choose_copies(ids, np.zeros(len(ids), bool), rank)
    distance = np.zeros(len(choice.ids), np.float32)
    apart = cosine_distance(vectors, vectors[choice.chosen][choice.group]) if len(ids) else np.empty(0)
    np.maximum.at(distance, choice.group, np.nan_to_num(apart).astype(np.float32))
    distance[choice.n_copies == 1] = 0.0
    return UniquePatches(
        choice.ids,
        source_ids[choice.chosen],
        vectors[choice.chosen],
        choice.n_copies,
        distance,
        lon[choice.chosen],
        lat[choice.chosen],
    )


def _join(files: Sequence[PatchFile], name: str) -> np.ndarray:
    kind = np.int32 if name == "epsg" else np.float64
    return np.concatenate([np.empty(0, kind), *(getattr(file.footprints, name) for file in files)])


def file_paths(source: SourceSettings, index: pa.Table) -> list[FilePath]:
    """Give the files of an index, sorted, each once."""
    rows = {row["path"]: row for row in index.select(["path", "size_bytes", "etag"]).to_pylist()}
    return [locate(source.root, rows[path]) for path in sorted(rows)]
