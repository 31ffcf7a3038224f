"""Sentinel-2 tiles: from the name of a tile to its square in UTM.

Belongs here: decoding of MGRS letters and the extent of a tile. Does not: which square holds a point
(`transforms/utm.py`), file names that contain a tile (`warehouse/sources/`).
"""

from __future__ import annotations

import math
import re

from transforms.errors import ShapeError
from transforms.utm import (
    MGRS_BANDS,
    MGRS_COLUMN_LETTERS,
    MGRS_ROW_LETTERS,
    SQUARE_M,
    UtmBox,
    project,
)

#: Side of a tile: 10,980 pixels of 10 m on a 100 km pitch, so neighbours overlap by about 9.8 km.
TILE_SIDE_M = 109_800.0
#: Tile corners stand on multiples of 60 m, so that pixels of 10, 20 and 60 m all fit.
CORNER_STEP_M = 60.0

_NAME = re.compile(r"^\d{2}(?P<band>[C-HJ-NP-X])(?P<column>[A-HJ-NP-Z])(?P<row>[A-HJ-NP-V])$")
_FALSE_NORTHING_M = 1e7
#: Row letters repeat after 20 squares; the latitude band says which repetition is meant.
_ROW_CYCLE_M = 20 * SQUARE_M


def sentinel2_tile_epsg(tile: str) -> int:
    """Give the UTM zone of a Sentinel-2 tile from its first three characters.

    Args:
        tile: MGRS name, e.g. ``48PVS``. Its last two letters are not looked at.

    Returns:
        EPSG code 326zz (bands N..X) or 327zz (bands C..M).

    Raises:
        ShapeError: `tile` does not begin with a zone and a latitude band.
    """
    zone = int(tile[:2]) if tile[:2].isdecimal() else 0
    if not 1 <= zone <= 60 or tile[2:3] not in set(MGRS_BANDS):
        raise _bad_name(tile)
    return (32600 if tile[2] >= "N" else 32700) + zone


def sentinel2_tile_box(tile: str) -> UtmBox:
    """Give the 109.8 km square of a Sentinel-2 tile.

    The upper left corner of the tile is that of its MGRS square moved outwards to the next multiple of 60 m,
    counted from the equator: ``west = 60 floor(x / 60)``, ``north = 60 ceil(y / 60)``. All 20,430 land tiles
    of the published grid agree with this to the metre.

    Args:
        tile: MGRS name of five characters, e.g. ``48PVS``.

    Returns:
        The box in EPSG 326zz (bands N..X) or 327zz (bands C..M).

    Raises:
        ShapeError: `tile` is not the name of an MGRS 100 km square.
    """
    epsg = sentinel2_tile_epsg(tile)
    column_letters = MGRS_COLUMN_LETTERS[(epsg % 100 - 1) % 3]
    match = _NAME.match(tile)
    if match is None or match["column"] not in column_letters:
        raise _bad_name(tile)
    west = SQUARE_M * (column_letters.index(match["column"]) + 1)
    north = _square_south(epsg, match["band"], match["row"]) + SQUARE_M
    origin = _FALSE_NORTHING_M if match["band"] < "N" else 0.0
    west = CORNER_STEP_M * math.floor(west / CORNER_STEP_M)
    north = CORNER_STEP_M * math.ceil((north - origin) / CORNER_STEP_M) + origin
    return UtmBox(epsg, west, north - TILE_SIDE_M, west + TILE_SIDE_M, north)


def _square_south(epsg: int, band: str, row: str) -> float:
    """Give the northing of a square's southern edge: the repetition nearest to the middle of its band."""
    zone = epsg % 100
    first = 5 if zone % 2 == 0 else 0  # even zones begin five letters later
    offset = SQUARE_M * ((MGRS_ROW_LETTERS.index(row) - first) % 20)
    middle_lat = -80.0 + 8.0 * MGRS_BANDS.index(band) + (6.0 if band == "X" else 4.0)
    _, middle = project(zone * 6.0 - 183.0, middle_lat, epsg)
    return offset + _ROW_CYCLE_M * round((float(middle) - offset - SQUARE_M / 2) / _ROW_CYCLE_M)


def _bad_name(tile: str) -> ShapeError:
    return ShapeError(
        "Sentinel-2 tile", repr(tile), "the MGRS name of a 100 km square, e.g. '48PVS'", "Rename the file."
    )
