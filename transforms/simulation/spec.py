"""What a simulated world is: its place, its extent, its classes and the strengths of its signals.

Belongs here: value types and constants that fix a world. Does not: arrays (the other modules of this package)
or files (`warehouse/world.py`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from transforms.blocks import EQUAL_AREA_EPSG
from transforms.utm import unproject

WorldSize = Literal["tiny", "demo"]
#: west, south, east, north in degrees.
Bbox = tuple[float, float, float, float]

#: Raise when the same seed gives other arrays than before.
WORLD_VERSION = 2

#: WorldCover codes of the ten classes; everywhere else a class is its index in this tuple.
CLASS_CODES = (10, 20, 30, 40, 50, 60, 80, 90, 95, 100)
CLASS_NAMES = (
    "tree cover",
    "shrubland",
    "grassland",
    "cropland",
    "built-up",
    "bare",
    "water",
    "wetland",
    "mangroves",
    "moss and lichen",
)
N_CLASSES = len(CLASS_CODES)
TREE, SHRUB, GRASS, CROP, BUILT, BARE, WATER, WETLAND, MANGROVE, MOSS = range(N_CLASSES)
#: Class index of sea and of ground outside the world: no vectors, label 0.
NO_CLASS = 255

PIXEL_M = 10.0
#: Edge of an AlphaEarth file, and of the Earth Engine image that it is a quarter of, metres.
AEF_FILE_M = 81_920.0
AEF_IMAGE_M = 2 * AEF_FILE_M

#: The seam of zones 47 and 48, and the latitude where northing 1,400,000 m crosses it (rows P|Q and U|V).
ZONE_EDGE_LON = 102.0
CORNER_LAT = 12.6473
BLOCK_EDGE_M = 5000.0


#: The Sentinel-2 tiles of the four squares that meet at (102 E, 1,400,000 N), each with its own patch file.
TILES = ("47PRP", "47PRQ", "48PSU", "48PSV")


@dataclass(frozen=True)
class WorldSpec:
    """Where a world lies and what exists there in which year.

    Attributes:
        size: name of the specification.
        bbox: extent of the world, degrees; its southern strip is sea.
        full_year: year with pixels everywhere and with patches.
        early_year: year with pixels in `early_bbox` only, and without patches.
        early_bbox: extent of the early year, degrees.
        coast_m: nearest and farthest distance of the coast from the southern edge, metres.
        overlap_m: how far the files of a UTM zone reach past the zone's edge, metres.
        label_error_rate: share of land pixels whose label is wrong.
    """

    size: WorldSize
    bbox: Bbox
    early_bbox: Bbox
    coast_m: tuple[float, float]
    full_year: int = 2024
    early_year: int = 2023
    overlap_m: float = 2_500.0
    label_error_rate: float = 0.05

    @property
    def years(self) -> tuple[int, int]:
        """Years with pixels, earliest first."""
        return self.early_year, self.full_year

    def year_bbox(self, year: int) -> Bbox:
        """Give the extent of a year's pixels."""
        return self.early_bbox if year == self.early_year else self.bbox


@dataclass(frozen=True)
class SignalStrengths:
    """How loud signal and nuisance are, for either kind of vector.

    Pixel strengths are lengths in the 64-d space before the vector is scaled to unit length, where the part
    that is common to all land has length 1. Patch strengths multiply standardised features of the footprint.

    Attributes:
        pixel_class: spread of the class prototypes.
        pixel_haze: spread of an offset that looks like class and changes within some 900 m (soil, season,
            haze): what no pooling over a patch averages out.
        pixel_parcel: spread of the offset that all pixels of a parcel share.
        pixel_drift: spread of the smooth regional drift.
        pixel_context: pull of the classes within some 500 m.
        pixel_noise: spread of the noise of a single pixel.
        patch_composition: class shares of the footprint.
        patch_layout: class shares of its quadrants.
        patch_texture: edge density, parcel density and spread of each class.
        patch_drift: smooth regional drift.
        patch_scene: noise of the features of a patch, before the nonlinearity; shared by its copies.
        patch_noise: noise of the elements of a patch vector; shared by its copies.
        patch_copy_noise: noise of each copy of a patch vector.
    """

    pixel_class: float = 0.16
    pixel_haze: float = 0.115
    pixel_parcel: float = 0.09
    pixel_drift: float = 0.20
    pixel_context: float = 0.04
    pixel_noise: float = 0.09
    patch_composition: float = 1.0
    patch_layout: float = 0.35
    patch_texture: float = 0.35
    patch_drift: float = 0.4
    patch_scene: float = 0.95
    patch_noise: float = 0.8
    patch_copy_noise: float = 0.08


DEFAULT = SignalStrengths()
#: Patch vectors say clearly what pixels only murmur.
FAVOUR_PATCHES = dataclasses.replace(
    DEFAULT, pixel_class=0.08, pixel_haze=0.16, pixel_noise=0.20, patch_scene=0.3, patch_noise=0.4
)
#: Pixels say clearly what patch vectors only murmur.
FAVOUR_PIXELS = dataclasses.replace(
    DEFAULT, pixel_class=0.20, pixel_haze=0.06, patch_composition=0.7, patch_scene=1.3, patch_noise=1.0
)


def world_spec(size: WorldSize) -> WorldSpec:
    """Give the specification of a size.

    `demo` holds 6 x 6 whole blocks of the equal-area 5 km grid on land (900 km2), and 2 x 2 of them in the
    early year. `tiny` holds the same structure in 6 x 6 km around the corner of four MGRS squares.

    Args:
        size: `tiny` or `demo`.

    Returns:
        The specification.
    """
    if size == "tiny":
        lon, lat = ZONE_EDGE_LON, CORNER_LAT
        return WorldSpec(
            size=size,
            bbox=(lon - 0.0276, lat - 0.0271, lon + 0.0276, lat + 0.0271),
            early_bbox=(lon - 0.0138, lat - 0.0136, lon + 0.0138, lat + 0.0136),
            coast_m=(150.0, 600.0),
        )
    west, south, east, north = _block_range(1966, 317, 1972, 323)
    margin_deg, coast_strip_deg = 0.0037, 0.0225
    return WorldSpec(
        size=size,
        bbox=(west - margin_deg, south - coast_strip_deg, east + margin_deg, north + margin_deg),
        early_bbox=_block_range(1968, 319, 1970, 321),
        coast_m=(300.0, 2_000.0),
    )


def describe_world(spec: WorldSpec, strengths: SignalStrengths, seed: int) -> dict[str, Any]:
    """Give what identifies a world, as JSON-ready values: two worlds with one description are one world."""
    return {
        "version": WORLD_VERSION,
        "seed": seed,
        "spec": _plain(dataclasses.asdict(spec)),
        "strengths": dataclasses.asdict(strengths),
    }


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: list(item) if isinstance(item, tuple) else item for key, item in value.items()}


def _block_range(first_col: int, first_row: int, last_col: int, last_row: int) -> Bbox:
    """Bounds in degrees of blocks [first, last) of the equal-area grid (rows and columns are straight)."""
    x = np.array([first_col, last_col]) * BLOCK_EDGE_M
    y = np.array([first_row, last_row]) * BLOCK_EDGE_M
    lon, lat = unproject(x, y, EQUAL_AREA_EPSG)
    return float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1])
