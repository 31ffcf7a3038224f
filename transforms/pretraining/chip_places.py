"""Where chips are cut: one a spatial block, around labelled ground.

Belongs here: the choice of centres, pixel grids of chips, pasting windows into them. Does not: reading
(`warehouse/chips.py`), training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine

from transforms.errors import ShapeError
from transforms.places import PixelPlaces
from transforms.pretraining.chips import Float32Array, Float64Array
from transforms.utm import UtmBox, unproject
from transforms.windows import PixelGrid, PixelWindow

#: Share of a pixel by which a chip and a raster may be out of step: rounding of corners, not another grid.
_STEP_TOLERANCE = 0.01
#: By how much of a pixel a box stays inside the pixels that it names.
_INSET = 0.25


@dataclass(frozen=True)
class ChipPlace:
    """Where one chip is.

    Attributes:
        block_id: its spatial block.
        fold: the fold that tests on it.
        shard: owner of the pixel in its middle.
        grid: its pixels, on the grid of the product.
    """

    block_id: int
    fold: int
    shard: str
    grid: PixelGrid

    @property
    def box(self) -> UtmBox:
        """The whole chip, less a quarter of a pixel on each side: it touches its own pixels and no others."""
        return self._cover(0, 0, self.grid.width, self.grid.height)

    @property
    def middle(self) -> UtmBox:
        """The pixel that the chip was put around, less a quarter of a pixel on each side."""
        col, row = self.grid.width // 2, self.grid.height // 2
        return self._cover(col, row, col + 1, row + 1)

    def lonlat(self) -> tuple[Float64Array, Float64Array]:
        """Give pixel centres in degrees, float64 (height, width) each."""
        x, y = self.centers()
        lon, lat = unproject(x.ravel(), y.ravel(), self.grid.epsg)
        return lon.reshape(x.shape), lat.reshape(x.shape)

    def centers(self) -> tuple[Float64Array, Float64Array]:
        """Give x and y of pixel centres, float64 (height, width) each, metres."""
        x, y = np.meshgrid(*self.grid.centers())
        return x, y

    def _cover(self, left: int, top: int, right: int, bottom: int) -> UtmBox:
        west, north = self.grid.affine @ (left + _INSET, top + _INSET)
        east, south = self.grid.affine @ (right - _INSET, bottom - _INSET)
        return UtmBox(self.grid.epsg, west, south, east, north)


def place_chips(
    places: PixelPlaces,
    shard: npt.NDArray[np.str_],
    block_id: npt.NDArray[np.int64],
    fold_of_block: Mapping[int, int],
    size_px: int,
    pitch_m: tuple[float, float],
) -> list[ChipPlace]:
    """Put one chip into each block: around the labelled pixel that is nearest to the mean of the block's.

    Args:
        places: labelled, sampled pixels (n).
        shard: str (n,), owner of each.
        block_id: int64 (n,).
        fold_of_block: test fold of the blocks to use.
        size_px: edge of a chip.
        pitch_m: width and height of a pixel of the product.

    Returns:
        The chips by block; blocks without a pixel have none.
    """
    chips = []
    half_x, half_y = ((size_px // 2 + 0.5) * pitch for pitch in pitch_m)
    for block in np.unique(block_id):
        if int(block) not in fold_of_block:
            continue
        mine = np.flatnonzero(block_id == block)
        lon, lat = places.lon[mine], places.lat[mine]
        east = (lon - lon.mean()) * np.cos(np.radians(lat.mean()))
        nearest = mine[np.argmin(east**2 + (lat - lat.mean()) ** 2)]
        west, north = float(places.x_m[nearest] - half_x), float(places.y_m[nearest] + half_y)
        affine = Affine(pitch_m[0], 0.0, west, 0.0, -pitch_m[1], north)
        grid = PixelGrid(int(places.epsg[nearest]), affine, size_px, size_px)
        chips.append(ChipPlace(int(block), fold_of_block[int(block)], str(shard[nearest]), grid))
    return chips


def paste_window(place: ChipPlace, window: PixelWindow) -> Float32Array:
    """Put the vectors of a window onto the grid of a chip.

    Args:
        place: the chip.
        window: pixels that touch its box, maybe fewer than it has at the edge of a file.

    Returns:
        float32 (d, height, width), NaN where the window has nothing.

    Raises:
        ShapeError: the window's pixels are not those of the chip: another CRS, pitch or offset.
    """
    grid, affine = place.grid, window.affine
    col, row = ~grid.affine @ (affine.c, affine.f)
    left, top = round(col), round(row)
    # over the whole chip: two grids may agree at a corner and drift apart
    drift_x, drift_y = (affine.a / grid.affine.a - 1) * grid.width, (affine.e / grid.affine.e - 1) * grid.height
    off = max(abs(part) for part in (col - left, row - top, drift_x, drift_y))
    if window.epsg != grid.epsg or off > _STEP_TOLERANCE:
        raise ShapeError(
            f"pixels of {window.source}",
            f"EPSG:{window.epsg}, {affine.a:g} x {-affine.e:g} m, {off:.2f} pixels off the chip's grid",
            f"EPSG:{grid.epsg}, {grid.affine.a:g} x {-grid.affine.e:g} m, on the same grid",
            "Do all files and years of the product share one grid?",
        )
    vectors = np.moveaxis(window.vectors(), -1, 0)
    out = np.full((len(vectors), grid.height, grid.width), np.nan, np.float32)
    height, width = vectors.shape[1:]
    out[:, top : top + height, left : left + width] = vectors
    return out


def earth_centred(lon: Float64Array, lat: Float64Array) -> Float64Array:
    """Give places on the ellipsoid as Earth-centred metres, float64 (..., 3): one system over all zones."""
    to_xyz = pyproj.Transformer.from_crs(4979, 4978, always_xy=True)
    return np.stack(to_xyz.transform(lon, lat, np.zeros_like(lon)), axis=-1)
