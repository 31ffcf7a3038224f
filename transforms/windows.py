"""Value types for pixel embeddings in memory: a raster window, its grid alone, and a list of points.

Belongs here: the one contract that every pixel source delivers and every transform takes; the grid of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine

from transforms.errors import ShapeError
from transforms.quantization import dequantize
from transforms.utm import UtmBox


@dataclass(frozen=True)
class PixelGrid:
    """Where the pixels of a north-up window are.

    Attributes:
        epsg: CRS of `affine`, metres.
        affine: pixel corner to metres, north-up (a > 0, e < 0), no rotation.
        height: image rows, at least 1.
        width: pixels of an image row, at least 1.
    """

    epsg: int
    affine: Affine
    height: int
    width: int

    def __post_init__(self) -> None:
        """Raise ShapeError for a window without pixels, or one that is not north-up."""
        if self.height < 1 or self.width < 1:
            raise ShapeError(
                "pixel grid", f"{self.height} x {self.width} pixels", "at least 1 x 1", "Does the window miss the area?"
            )
        a, b, d, e = self.affine.a, self.affine.b, self.affine.d, self.affine.e
        if b != 0 or d != 0 or not a > 0 or not e < 0:
            raise ShapeError(
                "affine of the pixel grid",
                f"a = {a}, b = {b}, d = {d}, e = {e}",
                "a > 0, e < 0, b = d = 0 (north-up, no rotation)",
                "Flip bottom-up rasters, or sample rotated ones at their pixel centres.",
            )

    def centers(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give x of the columns (width,) and y of the rows (height,), pixel centres in metres."""
        return _centers(self.affine, self.height, self.width)


def _centers(affine: Affine, height: int, width: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    x = (affine.c + affine.a * (np.arange(width) + 0.5)).astype(np.float64)
    y = (affine.f + affine.e * (np.arange(height) + 0.5)).astype(np.float64)
    return x, y


@dataclass(frozen=True)
class PixelWindow:
    """A north-up window of pixel vectors.

    Attributes:
        values: (band, height, width); int8 codes (-128 = nodata) or float32 (NaN = nodata). Of a file that is stored
            bottom-up it is a view with rows reversed, so not contiguous.
        valid: bool (height, width); False at nodata; likewise.
        affine: pixel corner to metres, north-up (a > 0, e < 0), no rotation.
        epsg: CRS of `affine`.
        source: path of the file that it was read from.
    """

    values: npt.NDArray[np.int8] | npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    affine: Affine
    epsg: int
    source: str

    @property
    def bounds(self) -> UtmBox:
        """Outer edges of the window."""
        height, width = self.valid.shape
        west, north = self.affine.c, self.affine.f
        return UtmBox(self.epsg, west, north + self.affine.e * height, west + self.affine.a * width, north)

    def centers(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give x of the columns (width,) and y of the rows (height,), pixel centres in metres."""
        return _centers(self.affine, *self.valid.shape)

    def vectors(self) -> npt.NDArray[np.float32]:
        """Give float32 (height, width, band) vectors, NaN at nodata."""
        if self.values.dtype == np.int8:
            values = dequantize(self.values.astype(np.int8, copy=False))
        else:
            values = self.values.astype(np.float32, copy=False)
        vectors = np.moveaxis(values, 0, -1)
        return np.where(self.valid[..., None], vectors, np.float32(np.nan))


@dataclass(frozen=True)
class PixelPoints:
    """Pixel vectors at listed places, as exported tables hold them.

    Attributes:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        x_m: float64 (n,), pixel centre in metres of `epsg`.
        y_m: float64 (n,).
        epsg: int32 (n,).
        vectors: float32 (n, dims); NaN = nodata.
    """

    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]
    x_m: npt.NDArray[np.float64]
    y_m: npt.NDArray[np.float64]
    epsg: npt.NDArray[np.int32]
    vectors: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.lon)
