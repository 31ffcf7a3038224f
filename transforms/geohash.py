"""55-bit geohash keys: the identity of a patch or pixel place.

A key is the integer of a precision-11 geohash (55 bits, longitude bit first; a cell is 1.34e-6 deg, about
0.15 m). Earth Genome uses it as `id`. Keys sort along a Z-order curve, so sorting by key is spatial order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Bits of longitude and of latitude in a 55-bit key.
LON_BITS = 28
LAT_BITS = 27
#: Half a cell, the largest error of a decoded coordinate.
HALF_CELL_LON_DEG = 180.0 / 2**LON_BITS
HALF_CELL_LAT_DEG = 90.0 / 2**LAT_BITS


def _spread(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Put a zero bit between all bits of the low 32 bits (Morton spreading)."""
    v = value & np.uint64(0xFFFFFFFF)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        v = (v | (v << np.uint64(shift))) & np.uint64(mask)
    return v


def _squeeze(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Undo `_spread`."""
    v = value & np.uint64(0x5555555555555555)
    for shift, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        v = (v | (v >> np.uint64(shift))) & np.uint64(mask)
    return v


def encode(lon: npt.ArrayLike, lat: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Encode coordinates as 55-bit geohash keys.

    Args:
        lon: degrees in [-180, 180].
        lat: degrees in [-90, 90].

    Returns:
        uint64 of the same shape.
    """
    lon_cell = (np.asarray(lon, np.float64) + 180.0) / 360.0 * 2.0**LON_BITS
    lat_cell = (np.asarray(lat, np.float64) + 90.0) / 180.0 * 2.0**LAT_BITS
    lon_index = np.clip(np.floor(lon_cell), 0, 2**LON_BITS - 1).astype(np.uint64)
    lat_index = np.clip(np.floor(lat_cell), 0, 2**LAT_BITS - 1).astype(np.uint64)
    return _spread(lon_index) | (_spread(lat_index) << np.uint64(1))


def pixel_keys(lon: npt.ArrayLike, lat: npt.ArrayLike, epsg: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Encode pixel centres: the 55-bit key, and above it the parity of the UTM zone.

    Grids of neighbouring zones mirror each other at their common edge, so two centres can stand centimetres apart
    and share a cell; neighbouring zones differ in parity.

    Args:
        lon: degrees.
        lat: degrees.
        epsg: 326zz or 327zz, one for all or one each.

    Returns:
        uint64 of the same shape, below 2**56.
    """
    parity = np.asarray(epsg).astype(np.uint64) & np.uint64(1)
    return encode(lon, lat) | (parity << np.uint64(LON_BITS + LAT_BITS))


def decode(key: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Decode keys to the centres of their cells.

    Args:
        key: integers below 2**55, or pixel keys.

    Returns:
        (lon, lat) in degrees, float64, each within half a cell of what was encoded.
    """
    keys = np.asarray(key).astype(np.uint64) & np.uint64(2 ** (LON_BITS + LAT_BITS) - 1)
    lon_index = _squeeze(keys).astype(np.float64)
    lat_index = _squeeze(keys >> np.uint64(1)).astype(np.float64)
    lon = (lon_index + 0.5) / 2.0**LON_BITS * 360.0 - 180.0
    lat = (lat_index + 0.5) / 2.0**LAT_BITS * 180.0 - 90.0
    return lon, lat
