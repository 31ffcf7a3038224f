"""How polygons lie on the pixels of a window: exact area shares, and which pixel centres are inside.

Belongs here: coverage of pixels by polygons of any shape. Does not: sums (`power_sums.py`), which polygons a window
touches (`polygons.py`), boxes (`sums.py` has their closed form).

Rules, stated once:

* Vertices are rounded to 2^-16 of a pixel, and so are the shares. A share depends on polygon and pixel grid alone:
  it is computed in tiles of the pixel grid, whatever the window, so sums are the same for any cut into windows.
* A pixel centre on an edge counts as if it stood a hair (2^-20 pixel) to the north-east: of polygons that share an
  edge exactly one has it. For axis-parallel boxes that is `[west, east) x [south, north)`.

Source: exactextract (https://isciences.github.io/exactextract), which follows the boundary through every cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
import shapely.geometry
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

from transforms.pooling.kernels import ONE
from transforms.windows import PixelWindow

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Polygons = npt.NDArray[np.object_]

#: Edge of a tile of the pixel grid. Sums of one polygon in one tile fit 64 bits (`power_sums.py`).
TILE_PX = 512
#: Origins of pixel grids are rounded to this part of a metre, so that two windows of one grid agree.
_ORIGINS_PER_M = 2.0**12
#: Centres are moved by this much to the north and east: half the unit of the vertices would be a tie again.
_NUDGE_PX = 2.0**-20
#: Polygons with more vertices are cut to each tile first.
_MANY_VERTICES = 1_000
_CANVAS = np.zeros((TILE_PX, TILE_PX), np.float32)


@dataclass(frozen=True)
class CoveredPixels:
    """The pixels of one window that polygons cover, polygon by polygon, rows from the north.

    Attributes:
        polygon: int64 (n,), which polygon.
        row: int64 (n,), row in the window.
        col: int64 (n,), column in the window.
        share: int64 (n,), covered area in 2^-16 pixels, 1 to 2^16.
        is_inside: bool (n,), True where the pixel's centre is inside.
    """

    polygon: Int64Array
    row: Int64Array
    col: Int64Array
    share: Int64Array
    is_inside: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.polygon)

    def take(self, chosen: npt.NDArray[np.generic]) -> CoveredPixels:
        """Give the chosen pixels (mask or positions)."""
        return CoveredPixels(
            self.polygon[chosen], self.row[chosen], self.col[chosen], self.share[chosen], self.is_inside[chosen]
        )


@dataclass(frozen=True)
class EndlessGrid:
    """The endless pixel grid that a window is cut from; pixel (0, 0) has its corner at the rounded origin.

    Attributes:
        pixel_x_m: pixel width.
        pixel_y_m: pixel height, positive.
        origin_x_m: in [-width / 2, width / 2].
        origin_y_m: likewise.
        col: column of the window's west edge.
        row: row of the window's north edge, counted to the south.
    """

    pixel_x_m: float
    pixel_y_m: float
    origin_x_m: float
    origin_y_m: float
    col: int
    row: int

    def to_pixels(self, polygons: Polygons) -> Polygons:
        """Turn metres into columns and rows (to the north) of the grid, rounded to 2^-16."""
        size = np.array([self.pixel_x_m, self.pixel_y_m])
        origin = np.array([self.origin_x_m, self.origin_y_m])
        scaled: Polygons = shapely.transform(polygons, lambda xy: np.rint((xy - origin) / size * ONE) / ONE)
        return scaled


def grid_of(window: PixelWindow) -> EndlessGrid:
    """Give the pixel grid of a north-up window."""
    a, e = float(window.affine.a), -float(window.affine.e)
    col, row = round(window.affine.c / a), round(-window.affine.f / e)
    x, y = window.affine.c - col * a, window.affine.f + row * e
    return EndlessGrid(
        a, e, round(x * _ORIGINS_PER_M) / _ORIGINS_PER_M, round(y * _ORIGINS_PER_M) / _ORIGINS_PER_M, col, row
    )


def cover_pixels(polygons: Polygons, window: PixelWindow) -> Iterator[CoveredPixels]:
    """Find the pixels of a window, valid or not, that polygons cover.

    Args:
        polygons: object (n,), shapely Polygon or MultiPolygon in metres of the window's CRS, sound.
        window: north-up.

    Yields:
        Tile by tile of the pixel grid, pixels with a share of at least 2^-16; a polygon comes once a tile.
    """
    grid = grid_of(window)
    height, width = window.valid.shape
    scaled = grid.to_pixels(polygons)
    tree = shapely.STRtree(scaled)
    for tile_row in range(grid.row // TILE_PX, (grid.row + height - 1) // TILE_PX + 1):
        for tile_col in range(grid.col // TILE_PX, (grid.col + width - 1) // TILE_PX + 1):
            west, north = tile_col * TILE_PX, -tile_row * TILE_PX
            chosen = np.sort(tree.query(shapely.box(west, north - TILE_PX, west + TILE_PX, north)))
            if len(chosen):
                covered = _cover_tile(scaled[chosen], chosen, west, north)
                row = covered.row + tile_row * TILE_PX - grid.row
                col = covered.col + tile_col * TILE_PX - grid.col
                seen = (row >= 0) & (row < height) & (col >= 0) & (col < width)
                yield CoveredPixels(covered.polygon, row, col, covered.share, covered.is_inside).take(seen)


def _cover_tile(polygons: Polygons, numbers: Int64Array, west: int, north: int) -> CoveredPixels:
    """Cover the pixels of one tile; rows and columns count from its north-west corner."""
    corner = np.array([west, north - TILE_PX], np.float64)  # whole numbers: the shift is exact
    local = shapely.transform(polygons, lambda xy: xy - corner)
    answers = _extract(local)
    counts = [len(cells) for cells, _ in answers]
    if not sum(counts):
        empty = np.empty(0, np.int64)
        return CoveredPixels(empty, empty, empty, empty, empty.astype(bool))
    cell = np.concatenate([cells for cells, _ in answers]).astype(np.int64)
    share = np.rint(np.concatenate([shares for _, shares in answers]) * ONE).astype(np.int64)
    which = np.repeat(np.arange(len(local)), counts)
    kept = share > 0
    cell, share, which = cell[kept], np.minimum(share[kept], ONE), which[kept]
    row, col = np.divmod(cell, TILE_PX)
    is_inside = share == ONE
    border = np.flatnonzero(~is_inside)
    if len(border):
        x, y = col[border] + 0.5 + _NUDGE_PX, TILE_PX - row[border] - 0.5 + _NUDGE_PX / 2
        shapely.prepare(local)
        is_inside[border] = shapely.contains_xy(local[which[border]], x, y)
    return CoveredPixels(numbers[which], row, col, share, is_inside)


def _extract(polygons: Polygons) -> list[tuple[Int64Array, Float64Array]]:
    """Give (cell numbers from the north-west, covered shares in [0, 1]) on a tile, for each polygon."""
    many = np.flatnonzero(shapely.get_num_coordinates(polygons) > _MANY_VERTICES)
    if len(many):
        polygons = polygons.copy()
        tile = shapely.box(-1, -1, TILE_PX + 1, TILE_PX + 1)
        polygons[many] = [_only_polygons(shape) for shape in shapely.intersection(polygons[many], tile)]
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(polygon)} for polygon in polygons
    ]
    source = NumPyRasterSource(_CANVAS, 0, 0, TILE_PX, TILE_PX)
    answers: Sequence[dict[str, dict[str, npt.NDArray[np.generic]]]] = exact_extract(
        source, features, ["cell_id", "coverage"]
    )
    return [(answer["properties"]["cell_id"], answer["properties"]["coverage"]) for answer in answers]  # type: ignore[misc]


def _only_polygons(shape: shapely.Geometry) -> shapely.Geometry:
    """Drop the points and lines that a cut leaves behind."""
    parts = shapely.get_parts(shape)
    return shapely.multipolygons(parts[shapely.get_dimensions(parts) == 2])
