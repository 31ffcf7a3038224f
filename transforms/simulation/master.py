"""The master grid: the one raster on which the simulated landscape is painted.

Every other grid (two UTM zones, geographic label rasters, footprints) looks the landscape up by nearest pixel
here, so that files of different zones agree about the ground. Belongs here: the grid and the lookup.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from transforms.simulation.spec import PIXEL_M, Bbox, WorldSpec
from transforms.utm import project, transformer

FloatArray = npt.NDArray[np.float32]

#: The master grid stands in the metres of zone 48, extended past the edge of the zone: there the pixels of
#: zone 48's files are its own pixels.
MASTER_EPSG = 32648
#: Ground around the world that is painted too, so that blurs and footprints see no border, metres.
_MARGIN_M = 1_000.0
#: Distance of the points that are projected exactly; between them positions are bilinear (off by < 1 mm).
_CONTROL_PX = 32


@dataclass(frozen=True)
class MasterGrid:
    """A 10 m grid in `MASTER_EPSG`; row 0 is the southernmost.

    Attributes:
        west_m: left edge.
        south_m: lower edge.
        height: rows.
        width: columns.
    """

    west_m: float
    south_m: float
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.height, self.width

    def positions(
        self, x: npt.ArrayLike, y: npt.ArrayLike, epsg: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give fractional rows and columns of points of any CRS; floor gives the pixel."""
        px, py = transformer(epsg, MASTER_EPSG).transform(np.asarray(x, np.float64), np.asarray(y, np.float64))
        return (np.asarray(py) - self.south_m) / PIXEL_M, (np.asarray(px) - self.west_m) / PIXEL_M

    def window_positions(
        self, origin: tuple[float, float], step: tuple[float, float], shape: tuple[int, int], epsg: int
    ) -> tuple[FloatArray, FloatArray]:
        """Give the positions of all pixel centres of a raster window.

        Args:
            origin: x, y of the window's first corner.
            step: x per column, y per row (either sign), in units of `epsg`.
            shape: rows, columns.
            epsg: CRS of the window.

        Returns:
            (rows, columns) on this grid, float32 of `shape`.
        """
        control_rows = np.arange(-(-shape[0] // _CONTROL_PX) + 1) * _CONTROL_PX + 0.5
        control_cols = np.arange(-(-shape[1] // _CONTROL_PX) + 1) * _CONTROL_PX + 0.5
        x, y = np.meshgrid(origin[0] + step[0] * control_cols, origin[1] + step[1] * control_rows)
        rows, cols = self.positions(x, y, epsg)
        return _densify(rows, shape[0], shape[1]), _densify(cols, shape[0], shape[1])


def master_grid(spec: WorldSpec) -> MasterGrid:
    """Give the grid that covers a world and its margin, in whole multiples of 80 m."""
    x, y = outline(spec.bbox, MASTER_EPSG)
    cell = 8 * PIXEL_M
    west = np.floor((x.min() - _MARGIN_M) / cell) * cell
    south = np.floor((y.min() - _MARGIN_M) / cell) * cell
    width = int(np.ceil((x.max() + _MARGIN_M - west) / cell)) * 8
    height = int(np.ceil((y.max() + _MARGIN_M - south) / cell)) * 8
    return MasterGrid(float(west), float(south), height, width)


def outline(bbox: Bbox, epsg: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Project the outline of a box in degrees, 33 points an edge.

    Returns:
        (x, y) in metres of `epsg`: south, east, north, west edge.
    """
    west, south, east, north = bbox
    ramp = np.linspace(0.0, 1.0, 33)
    lon = np.concatenate(
        [west + ramp * (east - west), np.full(33, east), east + ramp * (west - east), np.full(33, west)]
    )
    lat = np.concatenate(
        [np.full(33, south), south + ramp * (north - south), np.full(33, north), north + ramp * (south - north)]
    )
    return project(lon, lat, epsg)


@nb.njit(nogil=True, cache=True)
def _densify(control: npt.NDArray[np.float64], height: int, width: int) -> FloatArray:
    """Interpolate values at control points (every 32 px) to all pixels, bilinearly."""
    out = np.empty((height, width), np.float32)
    for i in range(height):
        ci, fi = i // _CONTROL_PX, (i % _CONTROL_PX) / _CONTROL_PX
        for j in range(width):
            cj, fj = j // _CONTROL_PX, (j % _CONTROL_PX) / _CONTROL_PX
            low = control[ci, cj] * (1 - fj) + control[ci, cj + 1] * fj
            high = control[ci + 1, cj] * (1 - fj) + control[ci + 1, cj + 1] * fj
            out[i, j] = low * (1 - fi) + high * fi
    return out
