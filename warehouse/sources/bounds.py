"""Bounds of files, as columns of a release index.

Belongs here: degrees from metres and back, the test against an area. Does not: finding the files
(`index.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.area import Area
from transforms.utm import UtmBox, transformer
from warehouse.sections import Bbox

SIDES = ("west", "south", "east", "north")
_DENSIFY = 21


def lonlat_bounds(box: UtmBox) -> Bbox:
    """Give west, south, east, north in degrees around a box; west > east across the antimeridian."""
    west, south, east, north = transformer(box.epsg, 4326).transform_bounds(
        box.west, box.south, box.east, box.north, densify_pts=_DENSIFY
    )
    return float(west), float(south), float(east), float(north)


def utm_bounds(bbox: Bbox, epsg: int) -> UtmBox:
    """Give the smallest box of a zone around a box in degrees."""
    bounds = transformer(4326, epsg).transform_bounds(*bbox, densify_pts=_DENSIFY)
    return UtmBox(epsg, *(float(side) for side in bounds))


def box_columns(box: UtmBox, lonlat: Bbox | None = None) -> dict[str, Any]:
    """Give the bounds columns of an index row.

    Args:
        box: in metres.
        lonlat: in degrees where the index says it; None = computed from `box`.
    """
    degrees = lonlat_bounds(box) if lonlat is None else lonlat
    metres = (box.west, box.south, box.east, box.north)
    return {
        "epsg": box.epsg,
        **{f"utm_{side}_m": value for side, value in zip(SIDES, metres, strict=True)},
        **{f"{side}_deg": value for side, value in zip(SIDES, degrees, strict=True)},
    }


def span_columns(degrees: Bbox, metres: Bbox, epsg: npt.NDArray[np.int32]) -> dict[str, Any]:
    """Give the bounds columns of listed places.

    Args:
        degrees: west, south, east, north of all places.
        metres: the same in metres; left out where the places are in several zones.
        epsg: (n,), zone of each place (at least one).
    """
    columns: dict[str, Any] = {f"{s}_deg": float(v) for s, v in zip(SIDES, degrees, strict=True)}
    if (epsg == epsg[0]).all():
        columns |= {f"utm_{s}_m": float(v) for s, v in zip(SIDES, metres, strict=True)}
        columns["epsg"] = int(epsg[0])
    return columns


def row_box(row: Mapping[str, Any]) -> UtmBox | None:
    """Give the box of an index row; None where its bounds are unknown."""
    if row.get("epsg") is None or row.get("utm_west_m") is None:
        return None
    return UtmBox(row["epsg"], *(row[f"utm_{side}_m"] for side in SIDES))


def touches(row: Mapping[str, Any], area: Area) -> bool:
    """Tell whether an index row shares ground with an area; rows without bounds might, so they do."""
    if row.get("west_deg") is None:
        return True
    west, south, east, north = (row[f"{side}_deg"] for side in SIDES)
    return area.touches((west, south, east, north))
