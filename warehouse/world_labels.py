"""The label side of a simulated world: WorldCover-like rasters with errors, and the truth.

Belongs here: geographic rasters of classes. Does not: which labels are wrong
(`transforms/simulation/label_errors.py`).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine

from transforms.simulation.label_errors import mislabel
from transforms.simulation.landscape import Landscape, changed_pixels
from transforms.simulation.spec import CLASS_CODES, NO_CLASS, Bbox

ByteArray = npt.NDArray[np.uint8]

WORLDCOVER_ROOT = Path("worldcover")
TRUTH_ROOT = Path("truth")
CHANGE_PATH = TRUTH_ROOT / "change.tif"
#: WorldCover has 12,000 pixels per degree, in files of 3 x 3 degrees.
_PER_DEG = 12_000
_TILE_DEG = 3
_TILE_PX = 512
#: Nodata of class rasters, as in WorldCover, and of the change raster, where 0 means unchanged.
NO_LABEL = 0
NO_CHANGE_DATA = NO_CLASS

#: Stored value of each class index.
_CODES = np.full(256, NO_LABEL, np.uint8)
_CODES[: len(CLASS_CODES)] = CLASS_CODES


def write_label_world(root: Path, landscape: Landscape, seed: int) -> float:
    """Write labels with errors, the true classes of each year, and where they changed.

    Args:
        root: the world's root.
        landscape: the ground.
        seed: the world's seed.

    Returns:
        Share of labelled pixels of the written rasters that differ from the truth.
    """
    spec = landscape.spec
    truth = landscape.classes[spec.full_year]
    labels = mislabel(truth, spec.label_error_rate, seed)
    wrong = total = 0
    for name, bbox in _worldcover_tiles(spec.bbox):
        found, transform = _to_degrees(landscape, labels, bbox)
        true, _ = _to_degrees(landscape, truth, bbox)
        path = WORLDCOVER_ROOT / f"ESA_WorldCover_10m_2021_v200_{name}_Map.tif"
        _write_raster(root / path, _CODES[found], transform, NO_LABEL)
        wrong += int((found != true).sum())
        total += int((true != NO_CLASS).sum())
    for year, classes in landscape.classes.items():
        found, transform = _to_degrees(landscape, classes, spec.year_bbox(year))
        _write_raster(root / TRUTH_ROOT / f"{year}_classes.tif", _CODES[found], transform, NO_LABEL)
    change, transform = _to_degrees(landscape, changed_pixels(landscape), spec.early_bbox)
    _write_raster(root / CHANGE_PATH, change, transform, NO_CHANGE_DATA)
    return wrong / total


def _worldcover_tiles(bbox: Bbox) -> list[tuple[str, Bbox]]:
    """Cut a box (north and east of 0, 0) at the edges of the 3 degree tiles: (name, part)."""
    west, south, east, north = bbox
    tiles = []
    for lat in range(math.floor(south / _TILE_DEG) * _TILE_DEG, math.ceil(north), _TILE_DEG):
        for lon in range(math.floor(west / _TILE_DEG) * _TILE_DEG, math.ceil(east), _TILE_DEG):
            part = (max(west, lon), max(south, lat), min(east, lon + _TILE_DEG), min(north, lat + _TILE_DEG))
            tiles.append((f"N{lat:02d}E{lon:03d}", part))
    return tiles


def _to_degrees(landscape: Landscape, raster: ByteArray, bbox: Bbox) -> tuple[ByteArray, Affine]:
    """Look a master raster up on the WorldCover grid: nearest pixel; `NO_CLASS` off the master grid."""
    # a whole pixel must not grow by one through rounding
    west, south = (math.floor(round(bound * _PER_DEG, 6)) for bound in bbox[:2])
    east, north = (math.ceil(round(bound * _PER_DEG, 6)) for bound in bbox[2:])
    step = 1.0 / _PER_DEG
    rows, cols = landscape.grid.window_positions(
        (west * step, north * step), (step, -step), (north - south, east - west), 4326
    )
    height, width = landscape.grid.shape
    i, j = np.floor(rows).astype(np.int32), np.floor(cols).astype(np.int32)
    on_grid = (i >= 0) & (i < height) & (j >= 0) & (j < width)
    found = raster[np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)]
    return np.where(on_grid, found, np.uint8(NO_CLASS)), Affine(step, 0, west * step, 0, -step, north * step)


def _write_raster(path: Path, values: ByteArray, transform: Affine, nodata: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": "uint8",
        "crs": "EPSG:4326", "transform": transform, "nodata": nodata, "compress": "deflate",
        "tiled": True, "blockxsize": _TILE_PX, "blockysize": _TILE_PX,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(values, 1)
