"""Patch vectors of any model in GeoParquet: one vector column, footprints as polygons or points.

Belongs here: files that only their registry entry describes (Clay, Major TOM, users' own). Does not: Earth
Genome's ids and lattice (`eg_geoparquet.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms.utm import boxes_to_polygons, footprint_boxes, project, transformer, unproject, utm_epsg
from warehouse.errors import MissingColumnsError, SourceContentError
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.sources.files import open_parquet, read_parquet
from warehouse.sources.geometries import Geometries, find_geometry_column, read_geometries
from warehouse.sources.model_statement import check_statement, read_statement
from warehouse.sources.vectors import FloatMatrix, stack_list_column

FloatArray = npt.NDArray[np.float64]
_POINT, _POLYGON, _MULTIPOLYGON = 0, 3, 6
_EPSG_COLUMN = "epsg"


@dataclass(frozen=True)
class Footprints:
    """Ground that patches stand for, as parallel arrays.

    Attributes:
        polygons: object (n,), shapely polygons in EPSG:4326.
        epsg: int32 (n,), the table's `epsg` column, or the UTM zone of the centre.
        x_m: float64 (n,), centroid in metres of `epsg`.
        y_m: float64 (n,).
        lon: float64 (n,), the same centroid in degrees.
        lat: float64 (n,).
        side_m: float64 (n,), square root of the footprint's area in its zone.
    """

    polygons: Geometries
    epsg: npt.NDArray[np.int32]
    x_m: FloatArray
    y_m: FloatArray
    lon: FloatArray
    lat: FloatArray
    side_m: FloatArray

    def __len__(self) -> int:
        return len(self.lon)


@dataclass(frozen=True)
class PatchFile:
    """One file of a patch product.

    Attributes:
        path: the file.
        source_id: str (n,), the id column, or the row number.
        vectors: float32 (n, dims).
        footprints: where the patches are.
        extra: all other columns, in the order of the file.
    """

    path: FilePath
    source_id: npt.NDArray[np.str_]
    vectors: FloatMatrix
    footprints: Footprints
    extra: pa.Table

    def __len__(self) -> int:
        return len(self.source_id)


def read_patch_file(path: FilePath, product: Product) -> PatchFile:
    """Read one file.

    Args:
        path: GeoParquet, or Parquet with WKB in degrees.
        product: names the vector, id and geometry columns; `patch_m` is the side of point footprints.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: it is not Parquet, or the geometry is no WKB.
        MissingColumnsError: vector, id or geometry column are not there.
        AnotherProductError: the file states another model or length.
        SourceContentError: vectors of another length or with NaN, or rows without a footprint.
    """
    table = read_parquet(path)
    geometry = _check_columns(table.schema, path, product)
    check_statement(path, product, None, read_statement(table.schema.metadata, path))
    vectors, problems = stack_list_column(table[product.vector_column], product.dims, product.vector_column)
    if problems:
        raise SourceContentError(
            str(path), problems, "Is this another product? Set dims and vector_column in its registry entry."
        )
    if product.id_column is not None:
        source_id = table[product.id_column].cast(pa.string()).to_numpy().astype(np.str_)
    else:
        source_id = np.arange(len(table)).astype(np.str_)
    used = {product.vector_column, product.id_column, geometry}
    extra = table.select([name for name in table.column_names if name not in used])
    footprints = _build_footprints(table, geometry, path, product)
    return PatchFile(path, source_id, vectors, footprints, extra.replace_schema_metadata(None))


def read_footprints(path: FilePath, product: Product) -> Footprints:
    """Read only where the patches of a file are, for its bounds.

    Raises:
        SourceMissingError, SourceFormatError, MissingColumnsError, SourceContentError: see `read_patch_file`.
    """
    with open_parquet(path) as file:
        schema = file.schema_arrow
        geometry = _check_columns(schema, path, product)
        table = file.read(columns=[geometry, *([_EPSG_COLUMN] if _EPSG_COLUMN in schema.names else [])])
    return _build_footprints(table, geometry, path, product)


def _check_columns(schema: pa.Schema, path: FilePath, product: Product) -> str:
    """Give the name of the geometry column after checking that the declared columns are there."""
    declared = [product.vector_column, *([product.id_column] if product.id_column else [])]
    missing = [name for name in declared if name not in schema.names]
    if missing:
        raise MissingColumnsError(
            str(path), missing, schema.names, f"Set vector_column and id_column of product '{product.name}'."
        )
    return find_geometry_column(schema, str(path), product.geometry_column)


def _build_footprints(table: pa.Table, geometry: str, path: FilePath, product: Product) -> Footprints:
    shapes = read_geometries(table, geometry, str(path))
    kinds = shapely.get_type_id(shapes)
    is_point = kinds == _POINT
    others = sorted(
        {shapely.GeometryType(int(k)).name for k in kinds[~np.isin(kinds, (_POINT, _POLYGON, _MULTIPOLYGON))]}
    )
    if others:
        raise SourceContentError(
            str(path), [f"geometry column '{geometry}': found {others}, expected polygons or points"],
            "Write footprints, or their centres.",
        )  # fmt: skip
    epsg = _find_zones(table, shapes)
    n = len(shapes)
    polygons = np.array(shapes, dtype=object)
    x, y, lon, lat, side = (np.empty(n, np.float64) for _ in range(5))
    for code in np.unique(epsg):
        chosen = epsg == code
        points = np.flatnonzero(chosen & is_point)
        if len(points):
            centre_x, centre_y = project(shapely.get_x(shapes[points]), shapely.get_y(shapes[points]), int(code))
            boxes = footprint_boxes(centre_x, centre_y, product.patch_m or 0.0)
            polygons[points] = boxes_to_polygons(boxes, int(code))
        metric = shapely.transform(polygons[chosen], _to_zone(int(code)))
        centroids = shapely.centroid(metric)
        x[chosen], y[chosen] = shapely.get_x(centroids), shapely.get_y(centroids)
        lon[chosen], lat[chosen] = unproject(x[chosen], y[chosen], int(code))
        side[chosen] = np.sqrt(shapely.area(metric))
    return Footprints(polygons, epsg, x, y, lon, lat, side)


def _find_zones(table: pa.Table, shapes: Geometries) -> npt.NDArray[np.int32]:
    """Take the zone that the table states, else that of each shape's centre."""
    if _EPSG_COLUMN in table.column_names and pa.types.is_integer(table[_EPSG_COLUMN].type):
        stated: npt.NDArray[np.int32] = table[_EPSG_COLUMN].to_numpy().astype(np.int32)
        return stated
    centres = shapely.centroid(shapes)
    return utm_epsg(shapely.get_x(centres), shapely.get_y(centres)).astype(np.int32)


def _to_zone(epsg: int) -> Callable[[FloatArray], FloatArray]:
    to_metres = transformer(4326, epsg)
    return lambda xy: np.column_stack(to_metres.transform(xy[:, 0], xy[:, 1]))
