"""Polygons of a user's own: GeoParquet, GeoJSON, or any vector file that GDAL reads, in any CRS.

Belongs here: saying what is wrong with such a file, row by row. Does not: opening it (`vector_files.py`), patch
products (`patch_geoparquet.py`), what the polygons are used for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyproj
import shapely

from warehouse.errors import SourceContentError, SourceFormatError
from warehouse.sections import Bbox
from warehouse.sources.vector_files import read_vector_file, say_rows

Geometries = npt.NDArray[np.object_]

#: Looked for in this order where no column is named.
_ID_NAMES = ("id", "ID", "Id", "fid", "FID")
#: Edges are split this finely before they are projected; a parallel of 1 km bends by 2 cm at 45 degrees.
_DENSIFY_DEG, _DENSIFY_M = 0.01, 1_000.0
#: UTM ends there.
_SOUTH_DEG, _NORTH_DEG = -80.0, 84.0
#: Wider polygons have no zone that could measure them.
_MAX_WIDTH_DEG = 12.0


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
    frame = read_vector_file(path)
    column = str(frame.geometry.name)
    geometry = shapely.force_2d(np.asarray(frame.geometry.array))
    _check_rows(path, column, geometry)
    lonlat = _to_degrees(geometry, frame.crs)
    _check_reach(path, column, lonlat)
    name = _find_id(path, frame, id_column)
    ids = None if name is None else pa.array(frame[name], from_pandas=True)
    return UserGeometries(path, ids, name or "", geometry, frame.crs, lonlat)


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
        problems.append(f"column '{column}': found no geometry in {say_rows(absent)}, expected a polygon in every row")
        fixes.append("Drop rows without a geometry.")
    strangers = np.flatnonzero(~is_absent & ~is_polygon)
    if len(strangers):
        kinds = sorted({geometry[k].geom_type for k in strangers})
        problems.append(f"column '{column}': found {'/'.join(kinds)} in {say_rows(strangers)}, expected polygons")
        fixes.append("Points and lines have no area: buffer them first, e.g. frame.buffer(160) in metres.")
    broken = np.flatnonzero(~is_absent & is_polygon & ~is_sound)
    if len(broken):
        reason = shapely.is_valid_reason(geometry[broken[0]])
        reason = "no area" if reason == "Valid Geometry" else reason
        problems.append(
            f"column '{column}': found unsound rings in {say_rows(broken)}, the first: {reason}, expected sound ones"
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
                f"column '{column}': found {say_rows(far)} beyond the reach of UTM, the first at {where}, "
                f"expected latitudes from {_SOUTH_DEG:.0f} to {_NORTH_DEG:.0f}"
            ],
            "Is the CRS of the file the right one?",
        )
    wide = np.flatnonzero(east - west > _MAX_WIDTH_DEG)
    if len(wide):
        raise SourceContentError(
            str(path),
            [
                f"column '{column}': found {say_rows(wide)} wider than {_MAX_WIDTH_DEG:.0f} degrees "
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
