"""Earth Genome / Earth Index embeddings: one GeoParquet per Sentinel-2 tile and year, 320 m patches.

Source: Earth Genome on Source Cooperative; CC-BY-4.0. Layout: `design/formats.md`, 2. Ids are the 55 bits of
the centroid's geohash, so they say where a patch is before its vector is read, and are the key of duplicates:
neighbouring tiles overlap by 9.8 km. Belongs here: reading one file. Does not: one copy per id (`eg_copies.py`), the
listing of files (`index.py`), the lattice (`transforms/lattice.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from transforms.area import inside_bbox
from transforms.errors import LatticeError
from transforms.geohash import decode, encode
from transforms.lattice import EARTH_RADIUS_M, LatticePlaces, recover
from transforms.sentinel2 import sentinel2_tile_epsg
from warehouse.errors import MissingColumnsError, SourceContentError, SourceFormatError
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.sections import Bbox
from warehouse.sources.eg_names import parse_eg_name, parse_tile
from warehouse.sources.files import open_parquet
from warehouse.sources.geometries import Geometries, find_geometry_column, read_geometries
from warehouse.sources.model_statement import check_statement, read_statement
from warehouse.sources.vectors import FloatMatrix, stack_list_column

#: An id and its geometry are one place: largest accepted distance, metres (the geohash cell is 0.15 m).
ID_TOLERANCE_M = 1.0
_ID_COLUMN = "id"
_GEOHASH_LENGTH = 11
_GEOHASH_ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"

Ids = npt.NDArray[np.uint64]
#: Ids of a row group, and which of them lie inside.
_GroupIds = tuple[Ids, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class EgFile:
    """One file, or the part of it inside an area.

    Attributes:
        path: the file.
        tile: MGRS name of its Sentinel-2 tile.
        epsg: UTM zone of the tile, in which its footprints are axis-parallel.
        patch_id: uint64 (n,), key of the lattice's own centroid.
        source_id: uint64 (n,), the published id.
        places: lattice, row, column and centroid of each patch.
        vectors: float32 (n, dims), not unit length.
        is_empty: True where the file has no rows at all, inside the area or outside.
    """

    path: FilePath
    tile: str
    epsg: int
    patch_id: Ids
    source_id: Ids
    places: LatticePlaces
    vectors: FloatMatrix
    is_empty: bool = False

    def __len__(self) -> int:
        return len(self.patch_id)


def read_patches(path: FilePath, product: Product, *, area: Bbox | None = None) -> EgFile:
    """Read one file, 2024 form (int64 ids, lists) or 2023 form (string ids, fixed-size lists).

    Args:
        path: file whose name begins with its MGRS tile.
        product: registry entry; `dims` is the length of a vector.
        area: west, south, east, north in degrees: keep patches whose centroid, decoded from the id, lies
            inside; the vectors of row groups without one are not read.

    Returns:
        The patches in the order of the file; an empty file gives none.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: not Parquet, its name does not begin with a tile, or its vectors are no lists of float32.
        MissingColumnsError: id, vector or geometry column are not there.
        AnotherProductError: the file states another model, year or length.
        SourceContentError: vectors of another length or with NaN, ids that disagree with their geometry by 1
            m or more, or patches off the lattice.
    """
    tile, year = _parse_name(path)
    with open_parquet(path) as file:
        geometry = _check_columns(file.schema_arrow, path, product)
        check_statement(path, product, year, read_statement(file.schema_arrow.metadata, path))
        groups = [_read_group_ids(file, number, path, area) for number in range(file.num_row_groups)]
        vectors = _read_vectors(file, path, product, geometry, groups)
    ids = np.concatenate([np.empty(0, np.uint64), *(ids[inside] for ids, inside in groups)])
    places = _recover(ids, path)
    # ids may be off by rounding within the tolerance; the lattice's own key joins and finds copies
    key, is_empty = encode(places.lon, places.lat), not any(len(inside) for _, inside in groups)
    return EgFile(path, tile, sentinel2_tile_epsg(tile), key, ids, places, vectors, is_empty)


def parse_ids(column: pa.ChunkedArray, path: FilePath) -> Ids:
    """Turn an id column into 55-bit keys.

    Args:
        column: integers, or strings: geohashes of 11 characters (2023 form), else decimal numbers.
        path: for messages.

    Returns:
        uint64 (n,).

    Raises:
        SourceContentError: ids that are absent, negative, wider than 55 bits or no ids at all.
    """
    kind = column.type
    if column.null_count:
        raise _bad_ids(path, f"{column.null_count} rows without an id")
    if pa.types.is_integer(kind):
        ids = column.to_numpy()
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = column.to_numpy().astype(np.str_)
        ids = np.array([_parse_text_id(text, path) for text in texts], np.uint64)
    else:
        raise _bad_ids(path, f"type {kind}")
    if len(ids) and (ids.min() < 0 or int(ids.max()) >= 2**55):
        raise _bad_ids(path, f"values {ids.min()}..{ids.max()}")
    return ids.astype(np.uint64)


def _read_vectors(
    file: pq.ParquetFile, path: FilePath, product: Product, geometry: str, groups: Sequence[_GroupIds]
) -> FloatMatrix:
    """Read the vectors of the ids inside, and check them and their geometry; row groups without one are left alone.

    Raises:
        SourceContentError: all that is wrong in the file.
    """
    # filled in place: a file holds 360 MB of vectors, which should not be in memory twice
    vectors = np.empty((sum(int(inside.sum()) for _, inside in groups), product.dims), np.float32)
    problems: list[str] = []
    start, first_row = 0, 0
    for number, (group_ids, inside) in enumerate(groups):
        rows, first_row = first_row + np.flatnonzero(inside), first_row + len(inside)
        if not len(rows):
            continue
        table = file.read_row_group(number, columns=[product.vector_column, geometry])
        if not inside.all():
            table = table.filter(pa.array(inside))
        points = read_geometries(table.replace_schema_metadata(file.schema_arrow.metadata), geometry, str(path))
        stacked, found = stack_list_column(table[product.vector_column], product.dims, product.vector_column, rows)
        problems += found + _find_misplaced(group_ids[inside], points)
        if len(stacked) == len(table):
            vectors[start : start + len(table)] = stacked
        start += len(table)
    if problems:
        raise SourceContentError(
            str(path),
            problems,
            "Is this another product or release? Give it a registry entry of its own, or download it again.",
        )
    return vectors


def _check_columns(schema: pa.Schema, path: FilePath, product: Product) -> str:
    """Give the name of the geometry column after checking that ids and vectors are there."""
    missing = [name for name in (_ID_COLUMN, product.vector_column) if name not in schema.names]
    if missing:
        raise MissingColumnsError(
            str(path), missing, schema.names, "Is this another product? Set its layout in the registry."
        )
    kind = schema.field(product.vector_column).type
    if not _is_float_list(kind):
        raise SourceFormatError(
            str(path), f"column '{product.vector_column}'", kind, f"list<float> of {product.dims}, as published",
            "Was the file written again by a tool? Download it again, or cast the column to float32 lists.",
        )  # fmt: skip
    return find_geometry_column(schema, str(path), product.geometry_column)


def _is_float_list(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_float32(kind.value_type))


def _read_group_ids(file: pq.ParquetFile, number: int, path: FilePath, area: Bbox | None) -> _GroupIds:
    """Read the ids of a row group, and which of them lie in the area."""
    ids = parse_ids(file.read_row_group(number, columns=[_ID_COLUMN])[_ID_COLUMN], path)
    return ids, np.ones(len(ids), bool) if area is None else inside_bbox(*decode(ids), area)


def _find_misplaced(ids: Ids, points: Geometries) -> list[str]:
    """Say how many ids disagree with the geometry of their row, and the worst one."""
    centres = points if (shapely.get_type_id(points) == 0).all() else shapely.centroid(points)
    lon, lat = decode(ids)
    dx = np.radians((shapely.get_x(centres) - lon + 180.0) % 360.0 - 180.0) * np.cos(np.radians(lat))
    off_m = EARTH_RADIUS_M * np.hypot(dx, np.radians(shapely.get_y(centres) - lat))
    n_bad = int((off_m >= ID_TOLERANCE_M).sum())
    if n_bad == 0:
        return []
    worst = int(np.argmax(off_m))
    return [
        f"ids against geometry: found {n_bad} of {len(ids)} ids elsewhere than their geometry, the worst id "
        f"{ids[worst]} by {off_m[worst]:.1f} m, expected less than {ID_TOLERANCE_M:g} m"
    ]


def _recover(ids: Ids, path: FilePath) -> LatticePlaces:
    lon, lat = decode(ids)
    try:
        return recover(lon, lat)
    except LatticeError as error:
        raise SourceContentError(str(path), [str(error)], "Otherwise download it again.") from error


def _parse_name(path: FilePath) -> tuple[str, int | None]:
    """Give the tile of a file, and the year where its name spans one."""
    tile, published = parse_tile(path.name), parse_eg_name(path.name)
    if tile is None:
        raise SourceFormatError(
            str(path),
            "file name",
            path.name,
            "{MGRS}_{start}_{stop}.parquet",
            "Give the file its published name.",
        )
    return tile, published[1] if published is not None else None


def _parse_text_id(text: str, path: FilePath) -> int:
    if len(text) == _GEOHASH_LENGTH and all(letter in _GEOHASH_ALPHABET for letter in text):
        value = 0
        for letter in text:
            value = value * 32 + _GEOHASH_ALPHABET.index(letter)
        return value
    if text.isdecimal() and int(text) < 2**64:
        return int(text)
    raise _bad_ids(path, repr(text))


def _bad_ids(path: FilePath, found: str) -> SourceContentError:
    return SourceContentError(
        str(path),
        [f"column '{_ID_COLUMN}': found {found}, expected 55-bit geohash numbers or 11-letter geohashes"],
        "Is this another product? Set its layout to 'patch_geoparquet' in the registry.",
    )
