"""Class labels as polygons or points in vector files of any CRS.

Belongs here: reading such files, checking their geometries, the feature that holds a place. Does not: the geometry
itself (`transforms/label_geometry.py`), what the classes mean (the class map of the settings).
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from transforms.label_geometry import NOWHERE, PolygonIndex, mend_polygons
from transforms.labels import NODATA_ID
from transforms.shards import Bbox
from warehouse.errors import MissingColumnsError, SourceContentError, SourceFormatError, SourceMissingError
from warehouse.sources.vector_files import read_vector_file, say_rows

FloatArray = npt.NDArray[np.float64]
Geometries = npt.NDArray[np.object_]
Ids = npt.NDArray[np.int16]

_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_POINTS = (shapely.GeometryType.POINT,)
#: Unknown class values that a message names.
_VALUES_NAMED = 5


@dataclass(frozen=True)
class LabelLayer:
    """One vector file of labels.

    Attributes:
        path: the file.
        geometry: object (n,), all polygons or all points, in `crs`; features with a class come first, in the order of
            the file.
        ids: int16 (n,), class ids; -1 = a value that the class map does not name.
        crs: as the file says.
        notes: what was repaired or left out.
    """

    path: Path
    geometry: Geometries
    ids: Ids
    crs: pyproj.CRS
    notes: tuple[str, ...] = field(default=())

    @property
    def is_points(self) -> bool:
        """Tell whether the features are points."""
        return bool(np.isin(shapely.get_type_id(self.geometry), _POINTS).all())

    @cached_property
    def _index(self) -> PolygonIndex:
        return PolygonIndex(self.geometry)

    def find(self, lon: FloatArray, lat: FloatArray) -> npt.NDArray[np.int64]:
        """Give the first polygon that holds each place, -1 where none does; polygons with a class go first.

        Polygons may run on beyond 180 degrees, or be cut there.
        """
        to_crs = pyproj.Transformer.from_crs(4326, self.crs, always_xy=True)
        x, y = (np.asarray(values) for values in to_crs.transform(lon, lat))
        found = self._index.find(x, y)
        for turn in self._turns():
            missed = np.flatnonzero(found == NOWHERE)
            found[missed] = self._index.find(x[missed] + turn, y[missed])
        return found

    def points(self) -> tuple[FloatArray, FloatArray]:
        """Give the points in degrees."""
        to_degrees = pyproj.Transformer.from_crs(self.crs, 4326, always_xy=True)
        lon, lat = to_degrees.transform(shapely.get_x(self.geometry), shapely.get_y(self.geometry))
        return np.asarray(lon), np.asarray(lat)

    def bounds(self) -> Bbox:
        """Give west, south, east, north of all features in degrees."""
        to_degrees = pyproj.Transformer.from_crs(self.crs, 4326, always_xy=True)
        west, south, east, north = to_degrees.transform_bounds(*shapely.total_bounds(self.geometry))
        return float(west), float(south), float(east), float(north)

    def _turns(self) -> list[float]:
        """List the turns around the world at which places must be looked for too."""
        if not self.crs.is_geographic:
            return []
        west, _, east, _ = shapely.total_bounds(self.geometry)
        return [*([360.0] if east > 180 else []), *([-360.0] if west < -180 else [])]


def read_label_layers(
    path: Path, column: str | None, classes: Mapping[str, int | str], inside: str | None = None
) -> list[LabelLayer]:
    """Read all vector files of a label source.

    Args:
        path: a file, or a glob pattern.
        column: column with the class; None = all features are of class `inside`.
        classes: class name -> value in the column; ids are positions.
        inside: name of the class of all features, where there is no column.

    Returns:
        The layers, by path; all polygons or all points.

    Raises:
        SourceMissingError: no file matches.
        SourceFormatError: a file is not readable, has no CRS or no rows, or no value that a class names.
        MissingColumnsError: a file lacks the column.
        SourceContentError: features without a geometry, lines, polygons without an area, or both kinds.
    """
    paths = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    if not paths:
        raise SourceMissingError(
            f"label features {path}", "no such file", "GeoParquet, GeoJSON, or a glob of them", "Set labels.*.path."
        )
    layers = [_read_layer(one, column, classes, inside) for one in paths]
    kinds = {layer.is_points for layer in layers}
    if len(kinds) > 1:
        raise SourceContentError(
            str(path), ["found files of polygons and files of points, expected one kind"], "Make two label sources."
        )
    if all((layer.ids < 0).all() for layer in layers):
        values = sorted({str(value) for one in paths for value in read_vector_file(one)[column]})[:_VALUES_NAMED]
        raise SourceFormatError(
            str(path), f"label column '{column}'", f"values {values}", list(classes.values()),
            "Correct labels.*.classes.",
        )  # fmt: skip
    return layers


def _read_layer(path: Path, column: str | None, classes: Mapping[str, int | str], inside: str | None) -> LabelLayer:
    frame = read_vector_file(path)
    geometry, notes = _check_geometry(path, shapely.force_2d(np.asarray(frame.geometry.array)))
    if column is None:
        ids = np.full(len(frame), list(classes).index(str(inside)), np.int16)
    else:
        ids, unknown = _class_ids(path, frame, column, classes)
        notes += unknown
    order = np.argsort(ids < 0, kind="stable")
    return LabelLayer(path, geometry[order], ids[order], frame.crs, tuple(notes))


def _check_geometry(path: Path, geometry: Geometries) -> tuple[Geometries, list[str]]:
    """Refuse features that label nothing, all kinds of problems at once; mend unsound rings and say so."""
    is_absent = shapely.is_missing(geometry) | shapely.is_empty(geometry)
    kinds = shapely.get_type_id(geometry)
    is_polygon, is_point = np.isin(kinds, _POLYGONS), np.isin(kinds, _POINTS)
    problems = []
    if is_absent.any():
        problems.append(f"found no geometry in {say_rows(np.flatnonzero(is_absent))}, expected one in every row")
    strangers = np.flatnonzero(~is_absent & ~is_polygon & ~is_point)
    if len(strangers):
        names = sorted({geometry[row].geom_type for row in strangers})
        problems.append(f"found {'/'.join(names)} in {say_rows(strangers)}, expected polygons or points")
    if is_polygon.any() and is_point.any():
        problems.append(f"found polygons, and points in {say_rows(np.flatnonzero(is_point))}, expected one kind")
    mended, is_mended = mend_polygons(geometry) if not problems else (geometry, np.zeros(len(geometry), bool))
    flat = np.flatnonzero(is_polygon & (shapely.area(mended) <= 0))
    if len(flat) and not problems:
        problems.append(f"found polygons without an area in {say_rows(flat)}, expected an area")
    if problems:
        raise SourceContentError(str(path), problems, "Correct these rows, or leave them out.")
    rows = np.flatnonzero(is_mended)
    if not len(rows):
        return mended, []
    reason = shapely.is_valid_reason(geometry[rows[0]])
    return mended, [f"{path.name}: unsound rings in {say_rows(rows)} were mended, the first: {reason}"]


def _class_ids(
    path: Path, frame: geopandas.GeoDataFrame, column: str, classes: Mapping[str, int | str]
) -> tuple[Ids, list[str]]:
    """Look the class of each feature up, and say which values have none."""
    if column not in frame.columns:
        raise MissingColumnsError(str(path), [column], list(frame.columns), "Correct labels.*.column.")
    by_value = {value: number for number, value in enumerate(classes.values())}
    values = frame[column].astype(object).where(frame[column].notna(), None).tolist()
    ids = np.array([by_value.get(value, NODATA_ID) for value in values], np.int16)
    strangers = {value for value, number in zip(values, ids, strict=True) if number < 0}
    unknown = sorted("NULL" if value is None else str(value) for value in strangers)
    if not unknown:
        return ids, []
    named = ", ".join(unknown[:_VALUES_NAMED]) + (", ..." if len(unknown) > _VALUES_NAMED else "")
    count = int((ids < 0).sum())
    return ids, [f"{path.name}: {count} of {len(ids)} features have a '{column}' without a class ({named}): no label"]
