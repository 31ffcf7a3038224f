"""Files of geometries with columns: GeoParquet, GeoJSON, or any vector file that GDAL reads, in any CRS.

Belongs here: opening such a file, and how messages name its rows. Does not: which geometries are good
(`user_geometries.py`, `label_vectors.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pyogrio
import pyogrio.errors
import shapely

from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.sources.files import parquet_errors

_PARQUET_SUFFIXES = (".parquet", ".geoparquet", ".pq")
#: So many bad rows are named, the rest counted.
_ROWS_NAMED = 3


def read_vector_file(
    path: Path, *, layer: str | None = None, default_epsg: int | None = None
) -> geopandas.GeoDataFrame:
    """Read a file of geometries.

    Args:
        path: `.parquet` / `.geoparquet`, or what GDAL reads, such as `.geojson`.
        layer: which layer, where the file has one of that name; else its first.
        default_epsg: CRS of files of a kind that cannot say theirs; None = each must say it.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: it is not readable, or has no geometry, no CRS or no rows.
    """
    if not path.is_file():
        raise SourceMissingError(str(path), "no such file", "GeoParquet or GeoJSON", "Correct the path.")
    frame = _read_parquet(path) if path.suffix.lower() in _PARQUET_SUFFIXES else _read_ogr(path, layer)
    if not len(frame):
        raise SourceFormatError(str(path), "rows", 0, "at least one geometry", "Was the file filtered to nothing?")
    if frame.crs is None and default_epsg is not None:
        frame = frame.set_crs(default_epsg)
    if frame.crs is None:
        raise SourceFormatError(
            str(path), f"CRS of column '{frame.geometry.name}'", "none", "any CRS",
            "Say which it is, e.g. geopandas: frame.set_crs(4326).to_parquet(...).",
        )  # fmt: skip
    return frame


def say_rows(rows: Sequence[int] | npt.NDArray[np.int64]) -> str:
    """Name the first rows and count the rest."""
    named = ", ".join(str(int(row)) for row in rows[:_ROWS_NAMED])
    more = f" and {len(rows) - _ROWS_NAMED} more" if len(rows) > _ROWS_NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {named}{more}"


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


def _read_ogr(path: Path, layer: str | None) -> geopandas.GeoDataFrame:
    try:
        layers = [] if layer is None else list(pyogrio.list_layers(path)[:, 0])
        frame = geopandas.read_file(path, layer=layer if layer in layers else None)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise SourceFormatError(
            str(path), "vector file", f"{path.stat().st_size} bytes that GDAL refuses ({error})",
            "GeoParquet (.parquet) or GeoJSON", "Is it complete? Open it in a GIS and save it again.",
        ) from error  # fmt: skip
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise SourceFormatError(
            str(path), "geometry", f"none among columns {list(frame.columns)}", "geometries", "Is this the right file?"
        )
    return frame
