"""The simulated landscape: ten classes with structure at several scales, on the master grid.

Smooth gradients (a variogram range of some 1.7 km) place the classes; parcels of 50 to 300 m carry them;
rivers and roads 1 to 4 pixels wide, ponds and hamlets smaller than half a patch lie on top; the south is sea.
Belongs here: the true classes of each year, parcel numbers, drift. Does not: vectors, wrong labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from transforms.simulation.master import MASTER_EPSG, MasterGrid, master_grid, outline
from transforms.simulation.noise import derive_key, derive_rng, hash_place, smooth_field
from transforms.simulation.parcels import COARSE_PX, LARGE_PX, SMALL_PX, Parcels, build_parcels
from transforms.simulation.spec import (
    BUILT,
    CROP,
    GRASS,
    NO_CLASS,
    PIXEL_M,
    TREE,
    WATER,
    WETLAND,
    Bbox,
    WorldSpec,
)

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

#: Blur of the gradients in coarse cells of 80 m: a practical range of 2 sqrt(3) * 500 m = 1.7 km.
_GRADIENT_SIGMA = 500.0 / (COARSE_PX * PIXEL_M)
_RIVER_SIGMA = 800.0 / (COARSE_PX * PIXEL_M)
#: Regional drift changes over several kilometres.
_DRIFT_SIGMA = 2_500.0 / (COARSE_PX * PIXEL_M)
N_DRIFT = 4
#: Roads follow the edges of Voronoi cells of this spacing; ponds and hamlets stand in cells of this one.
_ROAD_PX = 160
_SPOT_PX = 60
_POND, _HAMLET = 1, 2
#: Share of large parcels that are divided into small ones.
_DIVIDED_SHARE = 0.5
#: Share of crop and built parcels that were something else in the early year.
_CLEARED_SHARE = 0.30
_NEWLY_BUILT_SHARE = 0.30
#: Parcel numbers are 16-bit hashes.
N_PARCEL_IDS = 65_536


@dataclass(frozen=True)
class Landscape:
    """The ground truth of a world.

    Attributes:
        spec: what it was built from.
        grid: its raster.
        classes: year -> uint8 (height, width), class index; `NO_CLASS` at sea and outside the year's extent.
        parcels: uint16 (height, width), parcel number.
        drift: float32 (N_DRIFT, height / 8, width / 8), smooth regional fields, variance 1.
    """

    spec: WorldSpec
    grid: MasterGrid
    classes: dict[int, ByteArray]
    parcels: npt.NDArray[np.uint16]
    drift: FloatArray


def build_landscape(spec: WorldSpec, seed: int) -> Landscape:
    """Paint a landscape.

    Args:
        spec: place, extent and years.
        seed: the world's seed; the same seed paints the same landscape.

    Returns:
        The landscape.
    """
    grid = master_grid(spec)
    coarse = (grid.height // COARSE_PX, grid.width // COARSE_PX)
    rng = derive_rng(seed, "gradients")
    gradients = np.stack([smooth_field(rng, coarse, _GRADIENT_SIGMA) for _ in range(3)])
    large = build_parcels(seed, grid.shape, LARGE_PX, gradients)
    small = build_parcels(seed, grid.shape, SMALL_PX, gradients)
    classes, parcels = _paint_parcels(grid, large, small, derive_key(seed, "divide"))
    _paint_lines(classes, _river_field(seed, coarse), *_road_seeds(seed, grid), derive_key(seed, "lines"))
    _paint_spots(classes, *_spots(seed, grid), derive_key(seed, "spots"))
    early = _undo_changes(classes, parcels, seed)
    land = _land_mask(grid, spec, seed)
    drift = np.stack([smooth_field(derive_rng(seed, "drift", k), coarse, _DRIFT_SIGMA) for k in range(N_DRIFT)])
    return Landscape(
        spec=spec,
        grid=grid,
        classes={
            spec.early_year: np.where(land & box_mask(grid, spec.early_bbox), early, np.uint8(NO_CLASS)),
            spec.full_year: np.where(land, classes, np.uint8(NO_CLASS)),
        },
        parcels=parcels,
        drift=drift,
    )


def box_mask(grid: MasterGrid, bbox: Bbox) -> npt.NDArray[np.bool_]:
    """Mark the master pixels whose centre lies in a box in degrees (its edges are nearly straight)."""
    x, y = outline(bbox, MASTER_EPSG)
    south, east, north, west = (slice(33 * k, 33 * (k + 1)) for k in range(4))
    column_x = grid.west_m + (np.arange(grid.width) + 0.5) * PIXEL_M
    row_y = (grid.south_m + (np.arange(grid.height) + 0.5) * PIXEL_M)[:, None]
    above = row_y >= np.interp(column_x, x[south], y[south])
    below = row_y < np.interp(column_x, x[north][::-1], y[north][::-1])
    right = column_x >= np.interp(row_y, y[west][::-1], x[west][::-1])
    left = column_x < np.interp(row_y, y[east], x[east])
    return above & below & right & left


def changed_pixels(landscape: Landscape) -> ByteArray:
    """Mark what changed between the two years.

    Returns:
        uint8 (height, width): 1 changed, 0 unchanged, `NO_CLASS` where the early year has no data.
    """
    early = landscape.classes[landscape.spec.early_year]
    changed = (early != landscape.classes[landscape.spec.full_year]).astype(np.uint8)
    return np.where(early == NO_CLASS, np.uint8(NO_CLASS), changed)


def _land_mask(grid: MasterGrid, spec: WorldSpec, seed: int) -> npt.NDArray[np.bool_]:
    """Mark land: the world's box without the sea south of a wavy coast."""
    near_m, far_m = spec.coast_m
    x, y = outline(spec.bbox, MASTER_EPSG)
    column_x = grid.west_m + (np.arange(grid.width) + 0.5) * PIXEL_M
    # one row of a smooth field, squeezed into (0, 1)
    wave = smooth_field(derive_rng(seed, "coast"), (1, grid.width), 60.0)[0]
    offset_m = near_m + (far_m - near_m) * (0.5 + 0.5 * np.tanh(wave))
    coast_y = np.interp(column_x, x[:33], y[:33]) + offset_m
    row_y = grid.south_m + (np.arange(grid.height) + 0.5) * PIXEL_M
    land: npt.NDArray[np.bool_] = box_mask(grid, spec.bbox) & (row_y[:, None] >= coast_y)
    return land


def _river_field(seed: int, coarse: tuple[int, int]) -> FloatArray:
    """Give (level, slope per pixel, width in pixels): rivers are the zero contours of the level."""
    rng = derive_rng(seed, "rivers")
    level = smooth_field(rng, coarse, _RIVER_SIGMA)
    slope = np.hypot(*np.gradient(level)) / COARSE_PX
    width = 2.5 + 1.5 * np.tanh(smooth_field(rng, coarse, 2 * _RIVER_SIGMA))
    return np.stack([level, slope, width]).astype(np.float32)


def _road_seeds(seed: int, grid: MasterGrid) -> tuple[FloatArray, FloatArray]:
    rng = derive_rng(seed, "roads")
    shape = (-(-grid.height // _ROAD_PX) + 2, -(-grid.width // _ROAD_PX) + 2)
    cells = np.meshgrid(np.arange(shape[0]) - 1, np.arange(shape[1]) - 1, indexing="ij")
    rows, cols = ((cell + rng.uniform(0.05, 0.95, shape)) * _ROAD_PX for cell in cells)
    return rows.astype(np.float32), cols.astype(np.float32)


def _spots(seed: int, grid: MasterGrid) -> tuple[FloatArray, ByteArray]:
    """Give (row, col, radius) and kind of the ponds and hamlets, one or none per cell."""
    rng = derive_rng(seed, "spots")
    shape = (-(-grid.height // _SPOT_PX), -(-grid.width // _SPOT_PX))
    cells = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    row, col = ((cell + rng.uniform(0.2, 0.8, shape)) * _SPOT_PX for cell in cells)
    radius = rng.uniform(2.5, 7.0, shape)
    kind = rng.choice(np.array([0, _POND, _HAMLET], np.uint8), size=shape, p=[0.3, 0.35, 0.35])
    return np.stack([row, col, radius]).astype(np.float32), kind


def _undo_changes(classes: ByteArray, parcels: npt.NDArray[np.uint16], seed: int) -> ByteArray:
    """Give the early year: some fields were forest, some built-up parcels were fields or grass."""
    rng = derive_rng(seed, "change")
    cleared = rng.random(N_PARCEL_IDS) < _CLEARED_SHARE
    newly_built = rng.random(N_PARCEL_IDS) < _NEWLY_BUILT_SHARE
    was_crop = rng.random(N_PARCEL_IDS) < 0.5
    early = np.where((classes == CROP) & cleared[parcels], np.uint8(TREE), classes)
    before_built = np.where(was_crop[parcels], np.uint8(CROP), np.uint8(GRASS))
    return np.where((classes == BUILT) & newly_built[parcels], before_built, early)


def _paint_parcels(
    grid: MasterGrid, large: Parcels, small: Parcels, key: int
) -> tuple[ByteArray, npt.NDArray[np.uint16]]:
    classes = np.empty(grid.shape, np.uint8)
    parcels = np.empty(grid.shape, np.uint16)
    _fill_parcels(
        classes, parcels, large.row, large.col, large.classes, small.row, small.col, small.classes, np.uint64(key)
    )
    return classes, parcels


@nb.njit(nogil=True, cache=True)
def _nearest_seeds(
    row: float, col: float, cell: int, seed_rows: FloatArray, seed_cols: FloatArray
) -> tuple[int, int, np.float32, int, int, np.float32]:
    """Find the nearest and second nearest of the seeds in the nine cells around a pixel."""
    gi, gj = int(row // cell) + 1, int(col // cell) + 1
    best = second = np.float32(np.inf)
    bi = bj = si = sj = 0
    for i in range(max(gi - 1, 0), min(gi + 2, seed_rows.shape[0])):
        for j in range(max(gj - 1, 0), min(gj + 2, seed_rows.shape[1])):
            distance = (seed_rows[i, j] - row) ** 2 + (seed_cols[i, j] - col) ** 2
            if distance < best:
                second, si, sj = best, bi, bj
                best, bi, bj = distance, i, j
            elif distance < second:
                second, si, sj = distance, i, j
    return bi, bj, best, si, sj, second


@nb.njit(nogil=True, cache=True)
def _fill_parcels(
    classes: ByteArray,
    parcels: npt.NDArray[np.uint16],
    rows_l: FloatArray,
    cols_l: FloatArray,
    classes_l: ByteArray,
    rows_s: FloatArray,
    cols_s: FloatArray,
    classes_s: ByteArray,
    key: np.uint64,
) -> None:
    """Give every pixel the class and number of its large parcel, or of its small one where that is divided."""
    for r in range(classes.shape[0]):
        for c in range(classes.shape[1]):
            i, j, _, _, _, _ = _nearest_seeds(r + 0.5, c + 0.5, LARGE_PX, rows_l, cols_l)
            name = hash_place(key, i, j)
            classes[r, c] = classes_l[i, j]
            if (name >> np.uint64(32)) < np.uint64(_DIVIDED_SHARE * 2.0**32):
                i, j, _, _, _, _ = _nearest_seeds(r + 0.5, c + 0.5, SMALL_PX, rows_s, cols_s)
                name = hash_place(name, i, j)
                classes[r, c] = classes_s[i, j]
            parcels[r, c] = np.uint16(name & np.uint64(N_PARCEL_IDS - 1))


@nb.njit(nogil=True, cache=True)
def _bilinear(field: FloatArray, row: int, col: int) -> float:
    """Interpolate a coarse field at a master pixel centre."""
    y = min(max((row + 0.5) / COARSE_PX - 0.5, 0.0), field.shape[0] - 1.001)
    x = min(max((col + 0.5) / COARSE_PX - 0.5, 0.0), field.shape[1] - 1.001)
    i, j = int(y), int(x)
    fy, fx = y - i, x - j
    return (field[i, j] * (1 - fx) + field[i, j + 1] * fx) * (1 - fy) + (
        field[i + 1, j] * (1 - fx) + field[i + 1, j + 1] * fx
    ) * fy


@nb.njit(nogil=True, cache=True)
def _paint_lines(classes: ByteArray, river: FloatArray, road_rows: FloatArray, road_cols: FloatArray, key: int) -> None:
    """Paint rivers (zero contours) and roads (edges of Voronoi cells, 1 or 2 px wide) over the parcels."""
    for r in range(classes.shape[0]):
        for c in range(classes.shape[1]):
            level, slope = _bilinear(river[0], r, c), _bilinear(river[1], r, c)
            if abs(level) < slope * 0.5 * _bilinear(river[2], r, c):
                classes[r, c] = WATER
            i, j, best, k, m, second = _nearest_seeds(r + 0.5, c + 0.5, _ROAD_PX, road_rows, road_cols)
            between = np.hypot(road_rows[i, j] - road_rows[k, m], road_cols[i, j] - road_cols[k, m])
            width = 1.0 + (hash_place(np.uint64(key), i + k, j + m) & np.uint64(1))
            # distance to the bisector of the two nearest seeds
            if (second - best) < between * width:
                classes[r, c] = BUILT


@nb.njit(nogil=True, cache=True)
def _paint_spots(classes: ByteArray, spots: FloatArray, kinds: ByteArray, key: int) -> None:
    """Paint ponds with a wet rim, and hamlets of 20 m houses among grass."""
    for i in range(kinds.shape[0]):
        for j in range(kinds.shape[1]):
            row, col, radius = spots[0, i, j], spots[1, i, j], spots[2, i, j]
            reach = int(radius) + 2 if kinds[i, j] else -1
            for r in range(max(int(row) - reach, 0), min(int(row) + reach + 1, classes.shape[0])):
                for c in range(max(int(col) - reach, 0), min(int(col) + reach + 1, classes.shape[1])):
                    distance = np.hypot(r + 0.5 - row, c + 0.5 - col)
                    if kinds[i, j] == _POND and distance < radius:
                        classes[r, c] = WATER
                    elif kinds[i, j] == _POND and distance < radius + 1.0:
                        classes[r, c] = WETLAND
                    elif kinds[i, j] == _HAMLET and distance < radius:
                        house = hash_place(np.uint64(key), r // 2, c // 2) % np.uint64(10)
                        classes[r, c] = BUILT if house < np.uint64(7) else GRASS
