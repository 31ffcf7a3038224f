"""AlphaEarth rasters read the plain way, as a reference: rasterio, flipped by hand, no code of Isthmus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from rasterio.windows import Window

NODATA = -128
PIXEL_M = 10.0


@dataclass(frozen=True)
class Codes:
    """The part of a raster that holds data, north-up.

    Attributes:
        values: int8 (64, height, width), row 0 the northernmost.
        west: x of the left edge, metres.
        north: y of the upper edge, metres.
        epsg: UTM zone.
    """

    values: np.ndarray
    west: float
    north: float
    epsg: int

    @property
    def valid(self) -> np.ndarray:
        """bool (height, width)."""
        valid: np.ndarray = (self.values != NODATA).all(axis=0)
        return valid

    @property
    def x(self) -> np.ndarray:
        """x of the column centres."""
        return self.west + (np.arange(self.values.shape[2]) + 0.5) * PIXEL_M

    @property
    def y(self) -> np.ndarray:
        """y of the row centres, falling."""
        return self.north - (np.arange(self.values.shape[1]) + 0.5) * PIXEL_M

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude of the pixel centres, (height, width)."""
        transformer = pyproj.Transformer.from_crs(self.epsg, 4326, always_xy=True)
        lon, lat = transformer.transform(*np.meshgrid(self.x, self.y))
        return lon, lat


@lru_cache(maxsize=4)
def read_codes(world: Path, year: int, zone: str) -> Codes:
    """Read the data of one year and zone of a tiny world (it has one file a zone)."""
    (path,) = (world / f"aef/v1/annual/{year}/{zone}").glob("*.tiff")
    with rasterio.open(path) as raster:
        assert raster.transform.e > 0  # bottom-up: row 0 is the southernmost
        rows, cols = np.nonzero(raster.read(1) != NODATA)
        window = Window(cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1)
        values = raster.read(window=window)[:, ::-1]
        west = raster.transform.c + PIXEL_M * window.col_off
        north = raster.transform.f + PIXEL_M * (window.row_off + window.height)
        return Codes(values, west, north, raster.crs.to_epsg())


def dequantise(codes: np.ndarray) -> np.ndarray:
    """x = sign(v) * (v / 127.5)^2, float64."""
    v = codes.astype(np.float64)
    return np.asarray(np.sign(v) * (v / 127.5) ** 2)


def shares(low: float, high: float, centres: np.ndarray) -> np.ndarray:
    """Share of each 10 m cell that an interval covers."""
    covered = np.minimum(high, centres + PIXEL_M / 2) - np.maximum(low, centres - PIXEL_M / 2)
    return np.clip(covered / PIXEL_M, 0.0, 1.0)
