"""Where the area of interest is: a box, a country, a file of polygons or MGRS squares.

Belongs here: from `[area]` of the settings to a geometry. Does not: the geometry's rules (`transforms/area.py`), the
file of country borders (`boundaries.py`), cutting it into shards (`area.py`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import geopandas
import numpy as np
import shapely

from transforms.area import Area, area_of_boxes, area_of_shapes
from transforms.shards import area_of_tiles
from warehouse.boundaries import find_boundaries, read_country
from warehouse.errors import SourceFormatError
from warehouse.file_access import stat_file
from warehouse.sections import AreaSettings
from warehouse.sources.vector_files import read_vector_file, say_rows

LONLAT_EPSG = 4326
#: Longest part of an edge when it leaves its projection: within it a straight edge bends by centimetres.
_EDGE_M = 1_000.0


def read_area(settings: AreaSettings) -> Area | None:
    """Give the area of interest.

    Args:
        settings: `[area]`.

    Returns:
        The area; None where the settings name none: then it is wherever the sources have data.

    Raises:
        UnknownCountryError: no country has this name or code.
        SourceMissingError: a file is not there.
        SourceFormatError: a file is not readable, or holds other things than polygons.
        ShapeError: no ground, or coordinates that are no degrees.
    """
    if settings.bbox is not None:
        return area_of_boxes([settings.bbox])
    if settings.tiles:
        return _tiles_area(settings.tiles)
    if settings.geometry is not None:
        return _file_area(settings.geometry, _version(settings.geometry))
    if settings.country is not None:
        file = settings.boundaries or find_boundaries()
        return _country_area(settings.country, file, _version(file))
    return None


def describe_area(settings: AreaSettings) -> str:
    """Say in a few words where the area is."""
    if settings.bbox is not None:
        return "bbox " + " ".join(f"{side:g}" for side in settings.bbox)
    if settings.tiles:
        return f"tiles {', '.join(settings.tiles[:6])}" + (", ..." if len(settings.tiles) > 6 else "")
    if settings.geometry is not None:
        return f"geometry {settings.geometry.name}"
    return f"country {settings.country}" if settings.country is not None else "wherever the sources have data"


def _version(path: Path) -> str:
    facts = stat_file(path)
    return "" if facts is None else facts.etag


# A run opens the warehouse once per partition; a file that has not changed is read once per process.
_cached = lru_cache(maxsize=8)


@_cached
def _tiles_area(tiles: tuple[str, ...]) -> Area:
    return area_of_tiles(tiles)


@_cached
def _country_area(country: str, file: Path, _version: str) -> Area:
    return area_of_shapes([read_country(file, country)], f"country '{country}'")


@_cached
def _file_area(path: Path, _version: str) -> Area:
    frame = read_vector_file(path)
    shapes = np.asarray(_in_degrees(frame.geometry).array)
    strangers = ~np.isin(shapely.get_type_id(shapes), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    if strangers.any():
        rows = np.flatnonzero(strangers)
        kinds = sorted({"none" if shapes[row] is None else shapes[row].geom_type for row in rows})
        raise SourceFormatError(
            str(path), f"geometry of {say_rows(rows)}", kinds, "Polygon or MultiPolygon",
            "An area is made of polygons: buffer points and lines first, or leave these rows out.",
        )  # fmt: skip
    return area_of_shapes(list(shapes), str(path))


def _in_degrees(shapes: geopandas.GeoSeries) -> geopandas.GeoSeries:
    """Give polygons in degrees; edges that are straight in a projection get points first, for only points move."""
    if shapes.crs is not None and shapes.crs.is_projected:
        shapes = shapes.segmentize(_EDGE_M / shapes.crs.axis_info[0].unit_conversion_factor)
    return shapes.to_crs(LONLAT_EPSG)
