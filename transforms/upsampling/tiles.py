"""An area as square tiles of square cells, for fields that are solved tile by tile.

Belongs here: where tiles and cells lie, which patches a tile sees, which cells are around a point. Does not: what is
solved in a tile (`deblending.py`).

Tiles come in bands across rows. A band has its own cell width in units of u, so that cells are square on the sphere
too. Bands and tiles are counted from the origin of u and v, not from the patches at hand: wherever an area is cut, a
piece of ground is in the same tile. Tiles that no patch is near are left out. A tile keeps its own cells and one ring,
so that points between it and the next one are interpolated without asking the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.upsampling.footprints import patch_v, u_scale_m, v_scale_m
from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TilePart:
    """What one tile sees.

    Attributes:
        patch: int64 (n,), positions in `rows.patch` of patches whose footprints lie in tile and halo.
        low: float64 (n, 2), lower corners of footprints (along, across), in cells of tile and halo.
        high: float64 (n, 2), upper corners.
        n_cells: cells along the side of tile and halo.
        core: those cells along a side that the tile keeps.
    """

    patch: Int64Array
    low: Float64Array
    high: Float64Array
    n_cells: int
    core: slice


@dataclass(frozen=True)
class TilePlan:
    """Where tiles and cells lie.

    Attributes:
        west: float64 (n_bands,), u of the western border of each band.
        south: v of the southern border of the first band.
        cell_u: float64 (n_bands,), width of a cell.
        cell_v: height of a cell.
        band_start: int64 (n_bands + 1,), bounds of the bands in `number`.
        number: int64, for each place of a tile, band by band, its number, or -1 where it is left out.
        tile_cells: cells along the side of a tile.
        halo_cells: cells of the halo on either side.
        cells_per_side: cells along the side of a patch.
    """

    west: Float64Array
    south: float
    cell_u: Float64Array
    cell_v: float
    band_start: Int64Array
    number: Int64Array
    tile_cells: int
    halo_cells: int
    cells_per_side: int

    @property
    def n_tiles(self) -> int:
        """Number of tiles that are solved."""
        return int((self.number >= 0).sum())

    @property
    def n_cells(self) -> int:
        """Number of cells that are kept, rings included."""
        return self.n_tiles * (self.tile_cells + 2) ** 2

    def slots(self, tile: int) -> slice:
        """Give where the cells of a tile stand among all, across first."""
        size = (self.tile_cells + 2) ** 2
        return slice(tile * size, (tile + 1) * size)

    def part(self, rows: RowLattice, tile: int) -> TilePart:
        """Give what a tile sees.

        Args:
            rows: the lattice that the plan was made for.
            tile: number of the tile.

        Returns:
            Its patches and their footprints.
        """
        place = int(np.flatnonzero(self.number == tile)[0])
        band = int(np.searchsorted(self.band_start, place, side="right")) - 1
        column = place - int(self.band_start[band])
        v = patch_v(rows)
        x = (rows.u - self.west[band]) / self.cell_u[band] - column * self.tile_cells + self.halo_cells
        y = (v - self.south) / self.cell_v - band * self.tile_cells + self.halo_cells
        # on the sphere a footprint north of the middle of its band is a little wider than its cells
        half_x = rows.side_m / (2 * u_scale_m(rows, v) * self.cell_u[band])
        half_y = np.full_like(y, self.cells_per_side / 2)
        n_cells = self.tile_cells + 2 * self.halo_cells
        inside = (x >= half_x) & (x <= n_cells - half_x) & (y >= half_y) & (y <= n_cells - half_y)
        patch = np.flatnonzero(inside)
        centre, half = np.stack([x, y], axis=1)[patch], np.stack([half_x, half_y], axis=1)[patch]
        core = slice(self.halo_cells - 1, n_cells - self.halo_cells + 1)
        return TilePart(patch, centre - half, centre + half, n_cells, core)

    def cells_around(self, points_u: Float64Array, points_v: Float64Array) -> tuple[Int32Array, Float32Array]:
        """Give the four cells around points and their bilinear weights.

        Args:
            points_u: float64 (m,), as `RowLattice.along` gives it.
            points_v: float64 (m,).

        Returns:
            (index int32 (m, 4), weight float32 (m, 4)); index -1 and weight 0 where no tile lies.
        """
        if not len(self.number):
            return np.full((len(points_u), 4), -1, np.int32), np.zeros((len(points_u), 4), np.float32)
        y = (points_v - self.south) / self.cell_v
        band = np.clip(y // self.tile_cells, 0, len(self.cell_u) - 1).astype(np.int64)
        x = (points_u - self.west[band]) / self.cell_u[band]
        n_columns = np.diff(self.band_start)[band]
        column = np.clip(x // self.tile_cells, 0, n_columns - 1).astype(np.int64)
        tile = self.number[self.band_start[band] + column]
        col, share_x = self._between(x - column * self.tile_cells)
        row, share_y = self._between(y - band * self.tile_cells)
        side = self.tile_cells + 2
        corner = tile * side**2 + row * side + col
        index = corner[:, None] + np.array([0, 1, side, side + 1])
        weight = np.stack(
            [(1 - share_x) * (1 - share_y), share_x * (1 - share_y), (1 - share_x) * share_y, share_x * share_y], axis=1
        )
        is_there = (tile >= 0)[:, None]
        return np.where(is_there, index, -1).astype(np.int32), (weight * is_there).astype(np.float32)

    def _between(self, position: Float64Array) -> tuple[Int64Array, Float64Array]:
        """Give the kept cell before a position, counted in cells from the tile's border, and the next one's share."""
        from_centre = np.clip(position + 0.5, 0.0, self.tile_cells + 1.0)
        before = np.minimum(np.floor(from_centre), self.tile_cells).astype(np.int64)
        return before, from_centre - before


def plan_tiles(rows: RowLattice, cells_per_side: int, tile_side: int, halo: int) -> TilePlan:
    """Cut the ground of a lattice into tiles.

    Args:
        rows: the lattice.
        cells_per_side: cells along the side of a patch.
        tile_side: side of a tile in patches.
        halo: patches around a tile that it sees.

    Returns:
        The plan.

    Raises:
        ShapeError: a number is below 1.
    """
    for name, count in (("cells_per_side", cells_per_side), ("tile_side", tile_side), ("halo", halo)):
        if count < 1:
            raise ShapeError(name, count, "at least 1", "Leave it out to take the default.")
    cell_m = rows.side_m / cells_per_side
    cell_v = cell_m / v_scale_m(rows)
    v = patch_v(rows)
    if not len(v):
        empty = np.zeros(0, np.int64)
        return TilePlan(np.zeros(0), 0.0, np.zeros(0), cell_v, np.zeros(1, np.int64), empty, 1, 1, cells_per_side)
    # bilinear reaches at most one pitch beyond the outer centroids
    margin_v = max(rows.pitch_v, cells_per_side * cell_v)
    margin_u = max(float(rows.row_pitch_u.max()), float((rows.side_m / u_scale_m(rows, v)).max()))
    tile_cells = tile_side * cells_per_side
    tile_v = tile_cells * cell_v
    first = int(np.floor((float(v.min()) - margin_v) / tile_v))
    n_bands = int(np.ceil((float(v.max()) + margin_v) / tile_v)) - first
    south = first * tile_v
    middle = south + (np.arange(n_bands) + 0.5) * tile_v
    # a band that reaches over a pole has its middle clipped: no lattice has patches there
    cell_u = cell_m / u_scale_m(rows, np.clip(middle, -89.0, 89.0) if rows.is_geographic else middle)
    tile_u = tile_cells * cell_u
    first_column = np.floor((float(rows.u.min()) - margin_u) / tile_u)
    n_columns = (np.ceil((float(rows.u.max()) + margin_u) / tile_u) - first_column).astype(np.int64)
    west = first_column * tile_u
    band_start = np.concatenate([[0], np.cumsum(n_columns)])
    is_near = _places_near_patches(rows, west, south, cell_u, cell_v, band_start, tile_cells, margin_u, margin_v)
    number = np.where(is_near, np.cumsum(is_near) - 1, -1)
    return TilePlan(west, south, cell_u, cell_v, band_start, number, tile_cells, halo * cells_per_side, cells_per_side)


def _places_near_patches(
    rows: RowLattice,
    west: Float64Array,
    south: float,
    cell_u: Float64Array,
    cell_v: float,
    band_start: Int64Array,
    tile_cells: int,
    margin_u: float,
    margin_v: float,
) -> npt.NDArray[np.bool_]:
    """Tell which places of tiles have a patch inside or within a margin."""
    v = patch_v(rows)
    is_near = np.zeros(int(band_start[-1]), np.bool_)
    for across in (-margin_v, 0.0, margin_v):
        band = np.clip((v + across - south) // (tile_cells * cell_v), 0, len(cell_u) - 1).astype(np.int64)
        for along in (-margin_u, 0.0, margin_u):
            column = (rows.u + along - west[band]) // (tile_cells * cell_u[band])
            last = band_start[band + 1] - band_start[band] - 1
            is_near[band_start[band] + np.clip(column, 0, last).astype(np.int64)] = True
    return is_near
