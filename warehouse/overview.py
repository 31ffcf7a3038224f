"""`isthmus preview`: the 320 m overviews of the pixel product as an approximate pooled table, with its error.

Belongs here: rows of overview pixels, the sample that is pooled exactly, the file that comes out. Does not: reading
overviews (`sources/overviews.py`), exact pooling (`transforms/pooling/pooler.py`).

A producer's overview pixel is the renormalised mean of the 32 x 32 pixels below it: what `mean_renormalised` is for a
patch on that grid. A file's overview is read in a moment where its full resolution takes minutes; how near it comes
is measured on a random sample of its own cells.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.area import Area, area_of_boxes
from transforms.h3_index import ancestry
from transforms.keeping import vector_array
from transforms.places import PATCH_H3, cluster_boxes
from transforms.pooling.pooler import PatchPooler
from transforms.shards import inside_zone
from transforms.utm import unproject
from transforms.windows import PixelWindow
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.sources import open_pixel_source
from warehouse.sources.files import locate
from warehouse.sources.overviews import read_overview
from warehouse.sources.raster_source import RasterSource
from warehouse.store import Warehouse
from warehouse.table_spec import TableSpec, vector_type
from warehouse.writer import open_partition
from warehouse.year_files import choose_pixel_product, list_year_files

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]

#: Pixels of full resolution along the edge of an overview pixel: 320 m, the side of an Earth Genome patch.
FACTOR = 32
#: The same cells are compared every time.
SAMPLE_SEED = 0
#: Key of the error in the file's footer.
ERROR_KEY = "isthmus_preview_error"


@dataclass(frozen=True)
class PreviewError:
    """How far overview vectors are from exact pooling, on a random sample of cells.

    Attributes:
        n_cells: cells compared.
        cosine_mean: mean cosine similarity; NaN without a cell.
        cosine_min: least cosine similarity.
        max_abs_difference: largest difference of any element.
        mean_abs_difference: mean difference of all elements.
        seed: of the sample.
    """

    n_cells: int
    cosine_mean: float
    cosine_min: float
    max_abs_difference: float
    mean_abs_difference: float
    seed: int


@dataclass(frozen=True)
class PreviewSummary:
    """What came out.

    Attributes:
        output: the file.
        rows: overview pixels with data.
        files: rasters that were read.
        product: product name.
        year: its year.
        is_simulated: True if any raster was simulated.
        error: against exact pooling.
    """

    output: FilePath
    rows: int
    files: int
    product: str
    year: int
    is_simulated: bool
    error: PreviewError


@dataclass(frozen=True)
class _Cells:
    """Overview pixels with data, as parallel arrays."""

    epsg: npt.NDArray[np.int32]
    x_m: Float64Array
    y_m: Float64Array
    side_m: Float64Array
    vectors: Float32Array

    def __len__(self) -> int:
        return len(self.epsg)

    def take(self, chosen: npt.NDArray[np.generic]) -> _Cells:
        """Give the chosen cells (mask or positions)."""
        return _Cells(self.epsg[chosen], self.x_m[chosen], self.y_m[chosen], self.side_m[chosen], self.vectors[chosen])

    def boxes(self) -> Float64Array:
        """Give west, south, east, north (n, 4) in metres."""
        half = self.side_m / 2
        return np.stack([self.x_m - half, self.y_m - half, self.x_m + half, self.y_m + half], axis=1)


def _wanted_area(warehouse: Warehouse) -> Area | None:
    """Give the area to look at: the regions, or the area of interest; None where it is everywhere."""
    regions = warehouse.settings.area.regions
    return area_of_boxes(list(regions.values())) if regions else warehouse.area


class _Sample:
    """A uniform sample of cells that come in pieces: those with the least random keys."""

    def __init__(self, size: int, dims: int) -> None:
        self._size = size
        self._rng = np.random.default_rng(SAMPLE_SEED)
        self._keys = np.empty(0)
        nothing = np.empty(0)
        self.cells = _Cells(nothing.astype(np.int32), nothing, nothing, nothing, np.empty((0, dims), np.float32))

    def add(self, cells: _Cells) -> None:
        """Let some of these cells take the place of others."""
        keys = np.concatenate([self._keys, self._rng.random(len(cells))])
        chosen = np.sort(np.argsort(keys)[: self._size])
        kept, come = chosen[chosen < len(self._keys)], chosen[chosen >= len(self._keys)] - len(self._keys)
        parts = [self.cells.take(kept), cells.take(come)]
        self.cells = _Cells(*(np.concatenate([getattr(p, n) for p in parts]) for n in _Cells.__dataclass_fields__))
        self._keys = keys[chosen]


def write_preview(
    warehouse: Warehouse, year: int, product_name: str | None, output: Path | None, n_sample: int, progress: Progress
) -> PreviewSummary:
    """Write the overview table of a year, one raster at a time, and measure its error.

    Args:
        warehouse: its settings say where the product is, and which area.
        year: calendar year.
        product_name: an `aef_cog` product; None = the compared one.
        output: file to write; None = `overview_{product}_{year}.parquet` in the warehouse's folder.
        n_sample: cells to pool exactly; each may cost the decoding of a block.
        progress: called with the share done and a text.

    Raises:
        IsthmusError: no such product or year, or a raster without this overview.
    """
    product = choose_pixel_product(warehouse, product_name, ["aef_cog"])
    index = list_year_files(warehouse, product, year, _wanted_area(warehouse))
    is_simulated = warehouse.is_simulated(product, index)
    target = output or warehouse.root / f"overview_{product.name}_{year}.parquet"
    provenance = warehouse.product_provenance(product, warehouse.source_files(index), is_simulated=is_simulated)
    sample = _Sample(n_sample, product.dims)
    files = index.to_pylist()
    with open_partition(target, _preview_spec(product), provenance) as writer:
        for number, row in enumerate(files):
            progress(number / (len(files) + 1), f"overview {Path(row['path']).name}")
            window = read_overview(locate(warehouse.source(product.name).root, row), product, FACTOR)
            cells, table = _list_cells(window, warehouse, product, year, is_simulated=is_simulated)
            writer.write(table)
            sample.add(cells)
        progress(len(files) / (len(files) + 1), f"exact pooling of {len(sample.cells)} cells")
        error = _measure(warehouse, product, index, year, sample.cells)
        writer.file.add_key_value_metadata({ERROR_KEY: json.dumps(asdict(error))})
    return PreviewSummary(target, writer.rows, len(files), product.name, year, is_simulated, error)


def _preview_spec(product: Product) -> TableSpec:
    """Declare the table: one row per overview pixel with data."""
    schema = pa.schema(
        [
            pa.field("lon", pa.float64()),
            pa.field("lat", pa.float64()),
            pa.field("epsg", pa.int32()),
            pa.field("x_m", pa.float64()),
            pa.field("y_m", pa.float64()),
            *[pa.field(f"h3_r{resolution}", pa.uint64()) for resolution in PATCH_H3],
            pa.field("product", pa.string()),
            pa.field("year", pa.int32()),
            pa.field("mean_renormalised", vector_type(product.dims)),
            pa.field("is_simulated", pa.bool_()),
        ]
    )
    text = "Overview pixels: approximate renormalised means of 320 m cells."
    return TableSpec("overview_preview", schema, (), ("h3_r5", "epsg", "y_m", "x_m"), None, text)


def _list_cells(
    window: PixelWindow, warehouse: Warehouse, product: Product, year: int, *, is_simulated: bool
) -> tuple[_Cells, pa.Table]:
    """Give the pixels of an overview that hold data, in the area and in their own zone, with their rows."""
    x, y = (axis.ravel() for axis in np.meshgrid(*window.centers()))
    lon, lat = unproject(x, y, window.epsg)
    chosen = window.valid.ravel() & inside_zone(lon, lat, window.epsg)
    area = _wanted_area(warehouse)
    if area is not None:
        chosen[chosen] = area.contains(lon[chosen], lat[chosen])
    vectors = window.vectors().reshape(-1, product.dims)[chosen]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    # codes round the length of a unit vector away by some 1e-3
    vectors /= np.where(length > 0, length, np.nan)
    n = int(chosen.sum())
    cells = _Cells(np.full(n, window.epsg, np.int32), x[chosen], y[chosen], np.full(n, float(window.affine.a)), vectors)
    columns = {
        "lon": lon[chosen],
        "lat": lat[chosen],
        "epsg": cells.epsg,
        "x_m": cells.x_m,
        "y_m": cells.y_m,
        **ancestry(lon[chosen], lat[chosen], PATCH_H3),
        "product": pa.array([product.name] * n, pa.string()),
        "year": np.full(n, year, np.int32),
        "mean_renormalised": vector_array(vectors),
        "is_simulated": np.full(n, is_simulated),
    }
    return cells, pa.table(columns)


def _measure(warehouse: Warehouse, product: Product, index: pa.Table, year: int, cells: _Cells) -> PreviewError:
    """Pool the sampled cells exactly, from full resolution, and compare."""
    source = open_pixel_source(product, warehouse.source(product.name), index)
    assert isinstance(source, RasterSource)  # the layout was checked
    exact = np.full(cells.vectors.shape, np.nan, np.float32)
    for epsg in np.unique(cells.epsg):
        chosen = np.flatnonzero(cells.epsg == epsg)
        boxes = cells.boxes()[chosen]
        pooler = PatchPooler(boxes, int(epsg), product.dims, ["mean_renormalised"], min_coverage=0.0)
        for window in source.iter_blocks(year, cluster_boxes(boxes, int(epsg)), warehouse.settings.limits.block_px):
            pooler.add(window)
        pooled = pooler.finish()
        exact[chosen[pooled.index]] = pooled.columns["mean_renormalised"]
    usable = np.isfinite(exact).all(axis=1) & np.isfinite(cells.vectors).all(axis=1)
    if not usable.any():
        return PreviewError(0, np.nan, np.nan, np.nan, np.nan, SAMPLE_SEED)
    found, expected = cells.vectors[usable].astype(np.float64), exact[usable].astype(np.float64)
    cosine, difference = (found * expected).sum(axis=1), np.abs(found - expected)
    return PreviewError(
        int(usable.sum()), float(cosine.mean()), float(cosine.min()), float(difference.max()),
        float(difference.mean()), SAMPLE_SEED,
    )  # fmt: skip
