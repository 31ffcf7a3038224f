"""Where the rows of an exported table are: the spellings of a place that users' tables have.

Belongs here: lon/lat columns, x/y/epsg, WKT, Earth Engine's `.geo`, WKB points. Does not: the vectors.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms.utm import project, unproject, utm_epsg
from warehouse.errors import SourceContentError, SourceFormatError
from warehouse.sources.geometries import read_geometries

FloatArray = npt.NDArray[np.float64]

LONLAT_NAMES = (("lon", "lat"), ("longitude", "latitude"))
METRIC_NAMES = (("x_m", "y_m", "epsg"), ("x", "y", "epsg"))
WKT_NAMES = ("WKT", "wkt", "geometry", "geom")
GEOJSON_NAME = ".geo"
#: All names that this module reads, for readers that pick columns.
PLACE_NAMES = frozenset([n for group in (*LONLAT_NAMES, *METRIC_NAMES) for n in group] + [*WKT_NAMES, GEOJSON_NAME])


@dataclass(frozen=True)
class Places:
    """Places of table rows.

    Attributes:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        x_m: float64 (n,), metres of `epsg`.
        y_m: float64 (n,), metres of `epsg`.
        epsg: int32 (n,), the table's own or the UTM zone of the point.
    """

    lon: FloatArray
    lat: FloatArray
    x_m: FloatArray
    y_m: FloatArray
    epsg: npt.NDArray[np.int32]


def read_places(table: pa.Table, path: str) -> Places:
    """Find the places of a table's rows.

    Degrees come from lon/lat columns, else from WKT, `.geo` or WKB points, else from x, y, epsg. Metres come
    from x, y, epsg where the table has them, else they are computed in each point's own UTM zone.

    Args:
        table: rows with at least one spelling of a place.
        path: for messages.

    Raises:
        SourceFormatError: no spelling is there, or it does not parse.
        SourceContentError: rows without a place, or outside the degrees.
    """
    metric = next((names for names in METRIC_NAMES if set(names) <= set(table.column_names)), None)
    lonlat = _read_lonlat(table, path)
    if metric is not None:
        x, y, epsg_values = (_numbers(table, name, path) for name in metric)
        _check_finite(path, metric, x, y, epsg_values)
        epsg = epsg_values.astype(np.int32)
        lon, lat = lonlat if lonlat is not None else _by_zone(unproject, x, y, epsg)
    elif lonlat is not None:
        lon, lat = lonlat
        epsg = utm_epsg(lon, lat).astype(np.int32)
        x, y = _by_zone(project, lon, lat, epsg)
    else:
        raise SourceFormatError(
            path,
            "place columns",
            table.column_names[:12],
            f"one of {[*LONLAT_NAMES, *METRIC_NAMES, *WKT_NAMES, GEOJSON_NAME]}",
            "Export the table with its coordinates.",
        )
    return Places(lon, lat, x, y, epsg)


def _read_lonlat(table: pa.Table, path: str) -> tuple[FloatArray, FloatArray] | None:
    names = next((pair for pair in LONLAT_NAMES if set(pair) <= set(table.column_names)), None)
    if names is not None:
        lon, lat = (_numbers(table, name, path) for name in names)
    else:
        points = _read_points(table, path)
        if points is None:
            return None
        names, (lon, lat) = ("lon", "lat"), (shapely.get_x(points), shapely.get_y(points))
    _check_finite(path, names, lon, lat)
    if len(lon) and (np.abs(lon).max() > 180 or np.abs(lat).max() > 90):
        raise SourceContentError(
            path,
            [f"{names}: found up to {np.abs(lon).max():.1f}, {np.abs(lat).max():.1f}, expected degrees"],
            "Are these metres? Name the columns x, y, epsg.",
        )
    return lon, lat


def _read_points(table: pa.Table, path: str) -> npt.NDArray[np.object_] | None:
    """Parse a column of points: WKT or WKB under a usual name, or GeoJSON in `.geo`."""
    name = next((n for n in (*WKT_NAMES, GEOJSON_NAME) if n in table.column_names), None)
    if name is None:
        return None
    column = table[name]
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        points = read_geometries(table, name, path)
    else:
        parse = shapely.from_geojson if name == GEOJSON_NAME else shapely.from_wkt
        try:
            points = parse(column.cast(pa.string()).to_numpy(zero_copy_only=False))
        except (shapely.errors.GEOSException, json.JSONDecodeError, pa.ArrowInvalid) as error:
            raise SourceFormatError(
                path, f"column '{name}'", f"text that does not parse ({error})", "points as WKT or GeoJSON",
                "Export points, or add lon and lat columns.",
            ) from error  # fmt: skip
    is_point = shapely.get_type_id(points) == 0
    if not is_point.all() or shapely.is_empty(points).any():
        row = int(np.argmin(is_point & ~shapely.is_empty(points)))
        raise SourceContentError(
            path, [f"column '{name}': found {points[row]} at row {row}, expected a point in every row"],
            "Export points (for polygons and chips use a patch product), or add lon and lat columns.",
        )  # fmt: skip
    return points


def _numbers(table: pa.Table, name: str, path: str) -> FloatArray:
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise SourceFormatError(path, f"column '{name}'", column.type, "numbers", "Export it as numbers.")
    values: FloatArray = column.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    return values


def _check_finite(path: str, names: tuple[str, ...], *columns: FloatArray) -> None:
    bad = np.flatnonzero(~np.isfinite(np.stack(columns)).all(axis=0))
    if len(bad):
        raise SourceContentError(
            path, [f"{names}: found {len(bad)} rows without a place, first row {bad[0]}, expected none"],
            "Drop these rows.",
        )  # fmt: skip


def _by_zone(
    function: Callable[[FloatArray, FloatArray, int], tuple[FloatArray, FloatArray]],
    first: FloatArray,
    second: FloatArray,
    epsg: npt.NDArray[np.int32],
) -> tuple[FloatArray, FloatArray]:
    """Apply `project` or `unproject` zone by zone."""
    out = np.empty_like(first), np.empty_like(second)
    for code in np.unique(epsg):
        chosen = epsg == code
        out[0][chosen], out[1][chosen] = function(first[chosen], second[chosen], int(code))
    return out
