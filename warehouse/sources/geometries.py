"""Geometry columns of (Geo)Parquet tables as shapely arrays in longitude and latitude.

Belongs here: the `geo` footer, CRS, WKB. Does not: what a geometry stands for (the client of its format).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyproj
import shapely

from warehouse.errors import MissingColumnsError, SourceContentError, SourceFormatError

Geometries = npt.NDArray[np.object_]
_FALLBACK_NAMES = ("geometry", "geom")


def find_geometry_column(schema: pa.Schema, path: str, wanted: str | None) -> str:
    """Name the geometry column: the wanted one, the primary one of the footer, or `geometry` / `geom`.

    Raises:
        MissingColumnsError: there is none.
    """
    candidates = [wanted] if wanted else [_geo_footer(schema).get("primary_column"), *_FALLBACK_NAMES]
    for name in candidates:
        if name in schema.names:
            return str(name)
    raise MissingColumnsError(
        path, [wanted or "geometry"], schema.names, "Set geometry_column in the product's registry entry."
    )


def read_geometries(table: pa.Table, column: str, path: str) -> Geometries:
    """Decode a WKB column and bring it to EPSG:4326, x = longitude.

    A footer without a CRS, or none at all, means longitude and latitude, as GeoParquet 1.1 says; values
    outside the degrees then are an error.

    Args:
        table: with the schema metadata of the file.
        column: WKB column.
        path: for messages.

    Returns:
        object (n,) of shapely geometries.

    Raises:
        SourceFormatError: not WKB.
        SourceContentError: rows without a geometry, or coordinates outside the degrees.
    """
    data = _storage(table[column])
    if not (pa.types.is_binary(data.type) or pa.types.is_large_binary(data.type)):
        raise SourceFormatError(
            path,
            f"geometry column '{column}'",
            data.type,
            "WKB (binary)",
            "Write it with geopandas as GeoParquet 1.x.",
        )
    try:
        geometries: Geometries = shapely.from_wkb(data.to_numpy(zero_copy_only=False))
    except shapely.errors.GEOSException as error:
        raise SourceFormatError(
            path,
            f"geometry column '{column}'",
            f"bytes that are no WKB ({error})",
            "WKB",
            "Download it again.",
        ) from error
    absent = int((shapely.is_missing(geometries) | shapely.is_empty(geometries)).sum())
    if absent:
        raise SourceContentError(
            path,
            [f"geometry column '{column}': found {absent} of {len(table)} rows without one, expected none"],
            "Drop these rows.",
        )
    crs = _crs_of(table.schema, column)
    if crs is not None:
        to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
        geometries = shapely.transform(geometries, lambda xy: np.column_stack(to_degrees.transform(*xy.T)))
    _check_degrees(geometries, column, path)
    return geometries


def _check_degrees(geometries: Geometries, column: str, path: str) -> None:
    if not len(geometries):
        return
    west, south, east, north = shapely.total_bounds(geometries)
    if max(-west, east) > 180 or max(-south, north) > 90:
        raise SourceContentError(
            path,
            [
                f"geometry column '{column}': found coordinates {west:.1f}..{east:.1f}, "
                f"{south:.1f}..{north:.1f}, expected degrees"
            ],
            "Does the file lack its CRS? Write it with the CRS in the GeoParquet footer.",
        )


def _geo_footer(schema: pa.Schema) -> dict[str, Any]:
    footer: dict[str, Any] = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    return footer


def _crs_of(schema: pa.Schema, column: str) -> pyproj.CRS | None:
    """Give the CRS of a column where it is another than longitude and latitude on WGS 84."""
    stated = _geo_footer(schema).get("columns", {}).get(column, {}).get("crs")
    if stated is None:
        return None
    crs = pyproj.CRS.from_user_input(stated)
    # axis order does not matter: GeoParquet always stores x before y
    return None if crs.equals(pyproj.CRS.from_epsg(4326), ignore_axis_order=True) or _is_crs84(crs) else crs


def _is_crs84(crs: pyproj.CRS) -> bool:
    return bool(crs.is_geographic and crs.to_authority() == ("OGC", "CRS84"))


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give the bytes of a column that names an extension type.

    The same file gives plain binary or `geoarrow.wkb`, depending on whether anything in this process has imported
    geoarrow; the CRS is read from the footer in both cases.
    """
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
