"""Polygons of a user's own: GeoParquet, GeoJSON, or any vector file that GDAL reads, in any CRS.

Belongs here: reading such a file and saying what is wrong with it, row by row. Does not: patch products
(`patch_geoparquet.py`), what the polygons are used for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio.errors
import pyproj
import shapely

from warehouse.errors import SourceContentError, SourceFormatError, SourceMissingError
from warehouse.sections import Bbox
from warehouse.sources.files import parquet_errors

Geometries = npt.NDArray[np.object_]

_PARQUET_SUFFIXES = (".parquet", ".geoparquet", ".pq")
#: Looked for in this order where no column is named.
_ID_NAMES = ("id", "ID", "Id", "fid", "FID")
#: Edges are split this finely before they are projected; a parallel of 1 km bends by 2 cm at 45 degrees.
_DENSIFY_DEG, _DENSIFY_M = 0.01, 1_000.0
#: UTM ends there.
_SOUTH_DEG, _NORTH_DEG = -80.0, 84.0
#: Wider polygons have no zone that could measure them.
_MAX_WIDTH_DEG = 12.0
#: So many bad rows are named, the rest counted.
_ROWS_NAMED = 3


@dataclass(frozen=True)
class UserGeometries:
    """Polygons as the user has them, and in degrees.

    Attributes:
        path: the file.
        ids: the id column, or None where there is none.
        id_name: its name.
        geometry: object (n,), sound Polygons and MultiPolygons in `crs`.
        crs: as the file says.
        lonlat: object (n,), the same in EPSG:4326 with dense edges. A polygon across the antimeridian runs on beyond
            180 degrees.
    """

    path: Path
    ids: pa.Array | None
    id_name: str
    geometry: Geometries
    crs: pyproj.CRS
    lonlat: Geometries

    def __len__(self) -> int:
        return len(self.geometry)

    def bbox(self) -> Bbox | None:
        """Give west, south, east, north of all; None where they reach across the antimeridian."""
        west, south, east, north = (float(side) for side in shapely.total_bounds(self.lonlat))
        return (west, south, east, north) if west >= -180 and east <= 180 else None

    def names(self) -> list[str]:
        """Say what each row is called in messages."""
        if self.ids is None:
            return [f"{self.path}: row {k}" for k in range(len(self))]
        return [f"{self.path}: row {k} ({self.id_name} {value})" for k, value in enumerate(self.ids.to_pylist())]


def read_user_geometries(path: Path, id_column: str | None = None) -> UserGeometries:
    """Read a file of polygons.

    Args:
        path: `.parquet` / `.geoparquet`, or what GDAL reads, such as `.geojson`.
        id_column: column that names the rows; None = `id` or `fid` where there is one.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: it is not readable, or has no geometry, no CRS or no rows.
        SourceContentError: rows without a geometry, of another type, that are not sound, or out of reach of UTM.
    """
    if not path.is_file():
        raise SourceMissingError(str(path), "no such file", "GeoParquet or GeoJSON with polygons", "Correct the path.")
    frame = _read_parquet(path) if path.suffix.lower() in _PARQUET_SUFFIXES else _read_ogr(path)
    if not len(frame):
        raise SourceFormatError(str(path), "rows", 0, "at least one polygon", "Was the file filtered to nothing?")
    column = str(frame.geometry.name)
    if frame.crs is None:
        raise SourceFormatError(
            str(path), f"CRS of column '{column}'", "none", "any CRS",
            "Say which it is, e.g. geopandas: frame.set_crs(4326).to_parquet(...).",
        )  # fmt: skip
    geometry = shapely.force_2d(np.asarray(frame.geometry.array))
    _check_rows(path, column, geometry)
    lonlat = _to_degrees(geometry, frame.crs)
    _check_reach(path, column, lonlat)
    name = _find_id(path, frame, id_column)
    ids = None if name is None else pa.array(frame[name], from_pandas=True)
    return UserGeometries(path, ids, name or "", geometry, frame.crs, lonlat)


def _read_parquet(path: Path) -> geopandas.GeoDataFrame:
    with parquet_errors(path):
        footer = pq.read_metadata(path)
        if b"geo" not in (footer.metadata or {}):
            raise SourceFormatError(
                str(path), "footer", "no 'geo' record", "GeoParquet, which says the CRS",
                "Write it with geopandas: GeoDataFrame(..., crs=...).to_parquet(...).",
            )  # fmt: skip
        try:
            return geopandas.read_parquet(path)
        except (ValueError, shapely.errors.GEOSException) as error:
            raise SourceFormatError(
                str(path), "GeoParquet", f"a file that geopandas refuses ({error})", "GeoParquet 1.x",
                "Write it again with geopandas.",
            ) from error  # fmt: skip


def _read_ogr(path: Path) -> geopandas.GeoDataFrame:
    try:
        frame = geopandas.read_file(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise SourceFormatError(
            str(path), "vector file", f"{path.stat().st_size} bytes that GDAL refuses ({error})",
            "GeoParquet (.parquet) or GeoJSON", "Is it complete? Open it in a GIS and save it again.",
        ) from error  # fmt: skip
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise SourceFormatError(
            str(path), "geometry", f"none among columns {list(frame.columns)}", "polygons", "Is this the right file?"
        )
    return frame


def _check_rows(path: Path, column: str, geometry: Geometries) -> None:
    """Refuse rows that are no sound polygons, all kinds of problems at once."""
    is_absent = shapely.is_missing(geometry) | shapely.is_empty(geometry)
    is_polygon = np.isin(
        shapely.get_type_id(geometry), [shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON]
    )
    is_sound = shapely.is_valid(geometry) & (shapely.area(geometry) > 0)
    problems, fixes = [], []
    absent = np.flatnonzero(is_absent)
    if len(absent):
        problems.append(f"column '{column}': found no geometry in {_say_rows(absent)}, expected a polygon in every row")
        fixes.append("Drop rows without a geometry.")
    strangers = np.flatnonzero(~is_absent & ~is_polygon)
    if len(strangers):
        kinds = sorted({geometry[k].geom_type for k in strangers})
        problems.append(f"column '{column}': found {'/'.join(kinds)} in {_say_rows(strangers)}, expected polygons")
        fixes.append("Points and lines have no area: buffer them first, e.g. frame.buffer(160) in metres.")
    broken = np.flatnonzero(~is_absent & is_polygon & ~is_sound)
    if len(broken):
        reason = shapely.is_valid_reason(geometry[broken[0]])
        reason = "no area" if reason == "Valid Geometry" else reason
        problems.append(
            f"column '{column}': found unsound rings in {_say_rows(broken)}, the first: {reason}, expected sound ones"
        )
        fixes.append("Mend rings with geopandas: frame.geometry.make_valid().")
    if problems:
        raise SourceContentError(str(path), problems, " ".join(fixes))


def _to_degrees(geometry: Geometries, crs: pyproj.CRS) -> Geometries:
    """Bring polygons to longitude and latitude; those across the antimeridian run on beyond 180 degrees."""
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    if crs.is_geographic:
        dense = shapely.segmentize(_close_up(geometry), _DENSIFY_DEG)
    else:
        dense = shapely.segmentize(geometry, _DENSIFY_M / crs.axis_info[0].unit_conversion_factor)
    return _close_up(shapely.transform(dense, lambda xy: np.column_stack(to_degrees.transform(*xy.T))))


def _close_up(lonlat: Geometries) -> Geometries:
    """Let polygons that are cut at the antimeridian, or jump there, run on beyond 180 degrees.

    No field is wider than half the world, but these look as if they were.
    """
    west, _, east, _ = shapely.bounds(lonlat).T
    across = np.flatnonzero(east - west > 180)
    closed: Geometries = lonlat.copy()
    closed[across] = shapely.transform(lonlat[across], lambda xy: xy + np.where(xy[:, :1] < 0, [[360.0, 0.0]], 0.0))
    return closed


def _check_reach(path: Path, column: str, lonlat: Geometries) -> None:
    west, south, east, north = shapely.bounds(lonlat).T
    finite = np.isfinite([west, south, east, north]).all(axis=0)
    is_near = finite & (west >= -360) & (east <= 540) & (south >= _SOUTH_DEG) & (north <= _NORTH_DEG)
    far = np.flatnonzero(~is_near)
    if len(far):
        where = f"{west[far[0]]:.4g}..{east[far[0]]:.4g}, {south[far[0]]:.4g}..{north[far[0]]:.4g} degrees"
        raise SourceContentError(
            str(path),
            [
                f"column '{column}': found {_say_rows(far)} beyond the reach of UTM, the first at {where}, "
                f"expected latitudes from {_SOUTH_DEG:.0f} to {_NORTH_DEG:.0f}"
            ],
            "Is the CRS of the file the right one?",
        )
    wide = np.flatnonzero(east - west > _MAX_WIDTH_DEG)
    if len(wide):
        raise SourceContentError(
            str(path),
            [
                f"column '{column}': found {_say_rows(wide)} wider than {_MAX_WIDTH_DEG:.0f} degrees "
                f"(the first: {east[wide[0]] - west[wide[0]]:.1f}), expected polygons within two UTM zones"
            ],
            "Split them, e.g. with geopandas.overlay and a grid.",
        )


def _find_id(path: Path, frame: geopandas.GeoDataFrame, wanted: str | None) -> str | None:
    if wanted is not None and wanted not in frame.columns:
        raise SourceFormatError(
            str(path), f"id column '{wanted}'", f"columns {list(frame.columns)}", "one of them", "Correct --id-column."
        )
    return wanted or next((name for name in _ID_NAMES if name in frame.columns), None)


def _say_rows(rows: Sequence[int] | npt.NDArray[np.int64]) -> str:
    """Name the first rows and count the rest."""
    named = ", ".join(str(int(row)) for row in rows[:_ROWS_NAMED])
    more = f" and {len(rows) - _ROWS_NAMED} more" if len(rows) > _ROWS_NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {named}{more}"
