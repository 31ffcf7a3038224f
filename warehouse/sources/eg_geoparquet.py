"""Earth Genome / Earth Index embeddings: one GeoParquet per Sentinel-2 tile and year, 320 m patches.

Source: Earth Genome on Source Cooperative; CC-BY-4.0. Layout: `design/formats.md`, 2. Ids are the 55 bits of
the centroid's geohash, so they say where a patch is before its vector is read, and are the key of duplicates:
neighbouring tiles overlap by 9.8 km. Belongs here: reading one file, one copy per id. Does not: the listing
of files (`index.py`), the lattice (`transforms/lattice.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from transforms.dedup import choose_copies, cosine_distance
from transforms.errors import LatticeError
from transforms.geohash import decode, encode
from transforms.lattice import EARTH_RADIUS_M, LatticePlaces, recover
from transforms.sentinel2 import sentinel2_tile_epsg
from transforms.utm import mgrs_squares
from warehouse.errors import MissingColumnsError, SourceContentError, SourceFormatError
from warehouse.products import Product
from warehouse.sections import Bbox
from warehouse.source_paths import SourcePath
from warehouse.sources.files import open_parquet
from warehouse.sources.geometries import Geometries, find_geometry_column, read_geometries
from warehouse.sources.vectors import FloatMatrix, stack_list_column

#: An id and its geometry are one place: largest accepted distance, metres (the geohash cell is 0.15 m).
ID_TOLERANCE_M = 1.0
_ID_COLUMN = "id"
#: Rows copied at a time: indexing makes a temporary copy.
_GATHER_ROWS = 16_384
_TILE = re.compile(r"^(\d{2}[A-Z]{3})(?=[_.]|$)")
_GEOHASH_LENGTH = 11
_GEOHASH_ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"

Ids = npt.NDArray[np.uint64]


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
    """

    path: SourcePath
    tile: str
    epsg: int
    patch_id: Ids
    source_id: Ids
    places: LatticePlaces
    vectors: FloatMatrix

    def __len__(self) -> int:
        return len(self.patch_id)


@dataclass(frozen=True)
class EgPatches:
    """Unique patches of several files, ascending by id.

    Attributes:
        patch_id: uint64 (m,), unique.
        source_id: uint64 (m,), published id of the chosen copy.
        places: lattice, row, column and centroid.
        vectors: float32 (m, dims), of the chosen copy.
        n_copies: int16 (m,), rows that carry the id.
        copies_max_cosine_distance: float32 (m,), largest ``1 - cos`` of a copy to the chosen one; 0 for one
            copy.
        epsg: int32 (m,), zone of the chosen copy's tile.
        tile: str (m,), tile of the chosen copy.
        path: str (m,), file of the chosen copy.
    """

    patch_id: Ids
    source_id: Ids
    places: LatticePlaces
    vectors: FloatMatrix
    n_copies: npt.NDArray[np.int16]
    copies_max_cosine_distance: npt.NDArray[np.float32]
    epsg: npt.NDArray[np.int32]
    tile: npt.NDArray[np.str_]
    path: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.patch_id)


def read_patches(path: SourcePath, product: Product, *, area: Bbox | None = None) -> EgFile:
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
        SourceFormatError: not Parquet, or its name does not begin with a tile.
        MissingColumnsError: id, vector or geometry column are not there.
        SourceContentError: vectors of another length or with NaN, ids that disagree with their geometry by 1
            m or more, or patches off the lattice.
    """
    tile = _parse_tile(path)
    with open_parquet(path) as file:
        geometry = _check_columns(file.schema_arrow, path, product)
        groups = [_read_group_ids(file, number, path, area) for number in range(file.num_row_groups)]
        ids = np.concatenate([np.empty(0, np.uint64), *(ids[inside] for ids, inside in groups)])
        # filled in place: a file holds 360 MB of vectors, which should not be in memory twice
        vectors = np.empty((len(ids), product.dims), np.float32)
        problems: list[str] = []
        start = 0
        for number, (group_ids, inside) in enumerate(groups):
            if not inside.any():
                continue
            table = file.read_row_group(number, columns=[product.vector_column, geometry])
            if not inside.all():
                table = table.filter(pa.array(inside))
            points = read_geometries(table.replace_schema_metadata(file.schema_arrow.metadata), geometry, str(path))
            stacked, found = stack_list_column(table[product.vector_column], product.dims)
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
    places = _recover(ids, path)
    # ids may be off by rounding within the tolerance; the lattice's own key joins and finds copies
    return EgFile(path, tile, sentinel2_tile_epsg(tile), encode(places.lon, places.lat), ids, places, vectors)


def parse_ids(column: pa.ChunkedArray, path: SourcePath) -> Ids:
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


def resolve_duplicates(files: Sequence[EgFile]) -> EgPatches:
    """Keep one copy per id: that of the tile whose MGRS square holds the centroid, else of the first path.

    Args:
        files: all files, or parts of files, that hold copies of the patches wanted.

    Returns:
        The unique patches; the choice for one id does not depend on the other ids.
    """
    ordered = sorted(files, key=lambda file: str(file.path))
    ids = np.concatenate([np.empty(0, np.uint64), *(file.patch_id for file in ordered)])
    rank = np.repeat(np.arange(len(ordered)), [len(file) for file in ordered])
    tiles = np.array([file.tile for file in ordered], np.str_).reshape(-1)
    lon, lat = decode(ids)
    is_own = mgrs_squares(lon, lat) == tiles[rank] if len(ids) else np.empty(0, bool)
    choice = choose_copies(ids, is_own, rank)
    owner = rank[choice.chosen]
    vectors, distance = _gather(ordered, rank, choice.chosen, choice.group)
    lon, lat = decode(choice.ids)
    published = np.concatenate([np.empty(0, np.uint64), *(file.source_id for file in ordered)])
    return EgPatches(
        choice.ids,
        published[choice.chosen],
        recover(lon, lat),
        vectors,
        choice.n_copies,
        distance,
        np.array([file.epsg for file in ordered], np.int32)[owner],
        tiles[owner],
        np.array([str(file.path) for file in ordered], np.str_).reshape(-1)[owner],
    )


def _gather(
    files: Sequence[EgFile],
    rank: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    group: npt.NDArray[np.int64],
) -> tuple[FloatMatrix, npt.NDArray[np.float32]]:
    """Collect the chosen vectors and compare the other copies with them, one file at a time.

    Files are never stacked: only the chosen vectors are held a second time.
    """
    dims = files[0].vectors.shape[1] if files else 0
    vectors = np.empty((len(chosen), dims), np.float32)
    distance = np.zeros(len(chosen), np.float32)
    starts = np.searchsorted(rank, np.arange(len(files)))
    for number, file in enumerate(files):
        mine = np.flatnonzero(rank[chosen] == number)
        for few in np.array_split(mine, len(mine) // _GATHER_ROWS + 1):
            vectors[few] = file.vectors[chosen[few] - starts[number]]
    is_chosen = np.zeros(len(rank), bool)
    is_chosen[chosen] = True
    for number, file in enumerate(files):
        others = np.flatnonzero(~is_chosen[starts[number] : starts[number] + len(file)])
        target = group[others + starts[number]]
        np.maximum.at(distance, target, cosine_distance(file.vectors[others], vectors[target]).astype(np.float32))
    return vectors, distance


def _check_columns(schema: pa.Schema, path: SourcePath, product: Product) -> str:
    """Give the name of the geometry column after checking that ids and vectors are there."""
    missing = [name for name in (_ID_COLUMN, product.vector_column) if name not in schema.names]
    if missing:
        raise MissingColumnsError(
            str(path), missing, schema.names, "Is this another product? Set its layout in the registry."
        )
    return find_geometry_column(schema, str(path), product.geometry_column)


def _read_group_ids(
    file: pq.ParquetFile, number: int, path: SourcePath, area: Bbox | None
) -> tuple[Ids, npt.NDArray[np.bool_]]:
    """Read the ids of a row group, and which of them lie in the area."""
    ids = parse_ids(file.read_row_group(number, columns=[_ID_COLUMN])[_ID_COLUMN], path)
    return ids, np.ones(len(ids), bool) if area is None else _is_inside(ids, area)


def _is_inside(ids: Ids, area: Bbox) -> npt.NDArray[np.bool_]:
    lon, lat = decode(ids)
    west, south, east, north = area
    inside: npt.NDArray[np.bool_] = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
    return inside


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


def _recover(ids: Ids, path: SourcePath) -> LatticePlaces:
    lon, lat = decode(ids)
    try:
        return recover(lon, lat)
    except LatticeError as error:
        raise SourceContentError(str(path), [str(error)], "Otherwise download it again.") from error


def _parse_tile(path: SourcePath) -> str:
    match = _TILE.match(path.name)
    if match is None:
        raise SourceFormatError(
            str(path),
            "file name",
            path.name,
            "{MGRS}_{start}_{stop}.parquet",
            "Give the file its published name.",
        )
    return match[1]


def _parse_text_id(text: str, path: SourcePath) -> int:
    if len(text) == _GEOHASH_LENGTH and all(letter in _GEOHASH_ALPHABET for letter in text):
        value = 0
        for letter in text:
            value = value * 32 + _GEOHASH_ALPHABET.index(letter)
        return value
    if text.isdecimal() and int(text) < 2**64:
        return int(text)
    raise _bad_ids(path, repr(text))


def _bad_ids(path: SourcePath, found: str) -> SourceContentError:
    return SourceContentError(
        str(path),
        [f"ids: found {found}, expected 55-bit geohash numbers or {_GEOHASH_LENGTH}-letter geohashes"],
        "Is this another product? Set its layout to 'patch_geoparquet' in the registry.",
    )
