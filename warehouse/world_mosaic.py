"""The mosaic of a simulated world: a Zarr v3 store in degrees, resampled from the world's own AlphaEarth rasters.

Belongs here: the store and the resampling. Does not: the rasters (`world_aef.py`), reading a mosaic
(`sources/aef_zarr.py`).

The layout is the published one, with smaller shards so that a world needs little memory. The published store's rule of
resampling is not documented by its producer. The tool that is said to have written it takes the pixel that holds each
centre, and where files of two zones overlap the mean of their codes; so does this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.area import Bbox, area_of_boxes
from transforms.degree_grid import DegreeGrid
from transforms.quantization import NODATA
from transforms.simulation.pixel_vectors import DIMS
from transforms.simulation.spec import WorldSpec
from transforms.utm import UtmBox, project
from warehouse.products import Product, load_registry
from warehouse.source_settings import SourceSettings
from warehouse.sources.aef_cog import AefCogSource
from warehouse.sources.bounds import row_box
from warehouse.sources.index import read_index
from warehouse.sources.mosaic_store import ARRAY, TIME, import_zarr
from warehouse.world_aef import AEF_ROOT

CodeArray = npt.NDArray[np.int8]
Float64Array = npt.NDArray[np.float64]
Progress = Callable[[float], None]

MOSAIC_ROOT = Path("aef-mosaic")
#: The published grid: the whole globe, so that rows and columns are those of the published store.
GRID = DegreeGrid(-180.0, 83.68570533713473, 8.983111749910169e-05, 1_859_584, 4_009_984)
CHUNK_PX = 256
#: Published: 4,096.
SHARD_PX = 1_024
_ZSTD_LEVEL = 3
_PIXEL_M = 10.0


def write_mosaic_world(root: Path, spec: WorldSpec, progress: Progress) -> None:
    """Resample the rasters of a world, which must be there, into a store beside them.

    Args:
        root: the world's root.
        spec: its years and extent.
        progress: called with the share done.

    Raises:
        MissingPackageError: `zarr` is not installed.
    """
    array = create_store(root / MOSAIC_ROOT, GRID, spec.years, shard_px=SHARD_PX, chunk_px=CHUNK_PX)
    product = load_registry()["aef"]
    steps = [(year, place) for year in spec.years for place in _list_shards(spec.year_bbox(year))]
    for done, (year, (rows, cols)) in enumerate(steps):
        codes = resample_codes(product, root / AEF_ROOT.parent, year, GRID, rows, cols)
        array[spec.years.index(year), :, rows, cols] = codes
        progress((done + 1) / len(steps))


def create_store(root: Path, grid: DegreeGrid, years: Sequence[int], *, shard_px: int, chunk_px: int) -> Any:
    """Create an empty store in the published layout.

    Args:
        root: folder of the Zarr group.
        grid: its pixels.
        years: in the order of the first axis.
        shard_px: edge of a stored file, a multiple of `chunk_px`.
        chunk_px: edge of what is compressed together.

    Returns:
        The `zarr` array (time, band, y, x), nodata all over.
    """
    zarr = import_zarr(f"the mosaic {root}")
    group = zarr.create_group(store=zarr.storage.LocalStore(root), zarr_format=3)
    affine = [grid.pixel_deg, 0.0, grid.west, 0.0, -grid.pixel_deg, grid.north]
    array = group.create_array(
        ARRAY,
        shape=(len(years), DIMS, grid.height, grid.width),
        dtype="int8",
        chunks=(1, DIMS, chunk_px, chunk_px),
        shards=(1, DIMS, shard_px, shard_px),
        compressors=zarr.codecs.ZstdCodec(level=_ZSTD_LEVEL),
        fill_value=NODATA,
        dimension_names=("time", "band", "y", "x"),
        attributes={"proj:code": "EPSG:4326", "spatial:transform": affine},
    )
    time = group.create_array(TIME, shape=(len(years),), dtype="int32", dimension_names=("time",))
    time[:] = np.array(years, np.int32)
    return array


def resample_codes(product: Product, root: Path, year: int, grid: DegreeGrid, rows: slice, cols: slice) -> CodeArray:
    """Take the code of the UTM pixel that holds each centre; the mean of codes where files of two zones overlap.

    Args:
        product: registry entry of the rasters.
        root: of the rasters.
        year: calendar year.
        grid: pixels in degrees.
        rows: of the grid.
        cols: of the grid.

    Returns:
        int8 (64, height, width), nodata where no raster has data.
    """
    lon, lat = (axis.ravel() for axis in np.meshgrid(*grid.centers(rows, cols)))
    index = read_index(product, SourceSettings(root=root), [year], area_of_boxes([grid.bbox(rows, cols)]))
    source = AefCogSource(product, root, index)
    total = np.zeros((product.dims, len(lon)), np.int16)
    count = np.zeros(len(lon), np.int16)
    for row in index.to_pylist():
        box = row_box(row)
        assert box is not None  # the published index says bounds
        x, y = project(lon, lat, box.epsg)
        inside = np.flatnonzero((x >= box.west) & (x < box.east) & (y > box.south) & (y <= box.north))
        if len(inside):
            _add_codes(source, row["path"], box.epsg, x[inside], y[inside], inside, total, count)
    mean = np.sign(total) * ((np.abs(total) + count // 2) // np.maximum(count, 1))
    codes = np.where(count > 0, mean, NODATA).astype(np.int8)
    return codes.reshape(product.dims, rows.stop - rows.start, cols.stop - cols.start)


def _add_codes(
    source: AefCogSource,
    path: str,
    epsg: int,
    x: Float64Array,
    y: Float64Array,
    inside: npt.NDArray[np.int64],
    total: npt.NDArray[np.int16],
    count: npt.NDArray[np.int16],
) -> None:
    """Add the codes of one file at places inside it."""
    window = source.read_window(path, UtmBox(epsg, x.min(), y.min(), x.max() + _PIXEL_M, y.max() + _PIXEL_M))
    height, width = window.valid.shape
    col = np.clip(np.floor((x - window.affine.c) / _PIXEL_M).astype(np.int64), 0, width - 1)
    row = np.clip(np.floor((window.affine.f - y) / _PIXEL_M).astype(np.int64), 0, height - 1)
    is_valid = window.valid[row, col]
    at = inside[is_valid]
    total[:, at] += window.values[:, row[is_valid], col[is_valid]].astype(np.int16)
    count[at] += 1


def _list_shards(bbox: Bbox) -> list[tuple[slice, slice]]:
    """List the pixels (rows, columns) of the shards that a box touches."""
    size = (SHARD_PX, SHARD_PX)
    return [GRID.block(*place, size) for place in GRID.list_blocks(bbox, size)]
