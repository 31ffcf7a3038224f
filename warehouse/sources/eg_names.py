"""Names of Earth Genome files: what they say, and which there may be for an area.

Belongs here: `{year}/{MGRS}_{start}_{stop}.parquet` below a root. Does not: what is in the files (`eg_geoparquet.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from transforms.area import Area, area_of_boxes, grow
from transforms.sentinel2 import sentinel2_tile_box
from transforms.shards import cut_mgrs
from warehouse.errors import ListingRefusedError
from warehouse.file_access import find_files
from warehouse.file_paths import FilePath
from warehouse.sources.bounds import box_columns, touches
from warehouse.sources.files import list_files

#: `stop` is exclusive.
EG_NAME = re.compile(r"^(?P<mgrs>\d{2}[A-Z]{3})_(?P<start>\d{4}-\d{2}-\d{2})_(?P<stop>\d{4}-\d{2}-\d{2})\.parquet$")
_TILE = re.compile(r"^(\d{2}[A-Z]{3})(?=[_.]|$)")
#: A tile reaches so far beyond its square at most, where squares are cut at the edge of their zone.
_REACH_M = 110_000.0
#: With more years than this, all folders are listed at once, and no file is asked for by a made-up name.
_FEW_YEARS = 12


def parse_eg_name(name: str) -> tuple[str, int] | None:
    """Give (tile, year) of an Earth Genome file name; None for other names and spans that are no year."""
    match = EG_NAME.match(name)
    if match is None:
        return None
    year = int(match["start"][:4])
    is_year = match["start"] == f"{year:04d}-01-01" and match["stop"] == f"{year + 1:04d}-01-01"
    return (match["mgrs"], year) if is_year else None


def parse_tile(name: str) -> str | None:
    """Give the tile that a file name begins with; None for other names. Files from elsewhere may name no span."""
    match = _TILE.match(name)
    return match[1] if match is not None else None


def list_eg_names(root: FilePath, years: Collection[int], area: Area | None) -> list[str]:
    """List the Parquet files of some years, as paths below the root.

    A server without a listing is asked for each file that the area would have.

    Raises:
        SourceMissingError: the root is no folder.
        ListingRefusedError: the server has no listing, and there is no area or no choice of years.
        SourceForbiddenError: a server says no to each of these files.
    """
    patterns = [f"{year}/*.parquet" for year in sorted(years)] if len(years) <= _FEW_YEARS else ["*/*.parquet"]
    try:
        return [name for pattern in patterns for name in list_files(root, pattern)]
    except ListingRefusedError:
        if area is None or len(years) > _FEW_YEARS:
            raise
    names = [f"{y}/{tile}_{y}-01-01_{y + 1}-01-01.parquet" for y in sorted(years) for tile in _tiles_of(area)]
    found = find_files([root / name for name in names])
    return [name for name, facts in zip(names, found, strict=True) if facts is not None]


def list_all_names(root: FilePath) -> list[str]:
    """List the Parquet files of all years; none where the server has no listing."""
    try:
        return list_files(root, "*/*.parquet")
    except ListingRefusedError:
        return []


def _tiles_of(area: Area) -> list[str]:
    """List the Sentinel-2 tiles that touch an area."""
    squares = cut_mgrs(area_of_boxes([grow(area.bbox, _REACH_M)]))
    return [square.key for square in squares if touches(box_columns(sentinel2_tile_box(square.key)), area)]
