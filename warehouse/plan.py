"""What an area and some years would take: files, rows, bytes to read and to keep, time. Nothing is downloaded.

Belongs here: putting the counts of the grids, a local index and the rates of this machine together. Does not: the
counts (`transforms/area_grids.py`, `transforms/lattice_counts.py`), the measurement (`rates.py`), printing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import shapely

from transforms.area import Area, polygonal
from transforms.area_grids import TileCount, count_cells, count_tiles
from transforms.lattice_counts import count_places
from transforms.shards import Shard, area_km2, ground_km2
from transforms.upsampled_rows import stored_methods
from warehouse.area import cut_squares
from warehouse.errors import SourceMissingError
from warehouse.plan_request import PlanRequest
from warehouse.products import Product
from warehouse.rates import MachineRates
from warehouse.sections import KeepSettings
from warehouse.source_settings import SourceSettings
from warehouse.sources.index import read_index

#: Published AlphaEarth files have 8192 pixels a side in blocks of 1024; where a zone's grid begins is not published, so
#: it is counted from 0.
FILE_PX, BLOCK_PX = 8192, 1024
#: Share of the plain vectors that is left in a file: 2,880 real AlphaEarth pixels and simulated patches (ADR 3).
PIXEL_SHARE, PATCH_SHARE = 0.883, 0.924
#: Bytes of id and point beside a published patch vector.
PATCH_PLACE_BYTES = 38
#: Bytes of place, key and method beside an upsampled vector.
UPSAMPLED_PLACE_BYTES = 40
#: Rates are measured with patches of this many dimensions and pixels of these.
_MEASURED_DIMS = {"patch": 384, "pixel": 64}
_M2 = 1e6
#: Waiting programs a core above which rates are too low to trust.
_BUSY = 0.7
How = Literal["counted", "enumerated", "estimated", "none"]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ReadPlan:
    """What is read of a product and year.

    Attributes:
        product: its name.
        year: calendar year.
        files: their number; None = not known without an index.
        how: `counted` from a local index, `enumerated` or `estimated` from the grid, `none` published.
        rows: patches with their copies, or pixels of the blocks that touch the area.
        bytes: to read of them.
    """

    product: str
    year: int
    files: int | None
    how: How
    rows: int
    bytes: int


@dataclass(frozen=True)
class KeepPlan:
    """What a table holds afterwards, all years: rows and bytes."""

    table: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class TimePlan:
    """How long a step takes in one process, and by which rate."""

    step: str
    seconds: float
    basis: str


@dataclass(frozen=True)
class ShardPlan:
    """One shard and its ground."""

    shard: str
    epsg: int
    km2: float


@dataclass(frozen=True)
class Plan:
    """The whole plan.

    Attributes:
        km2: ground of the area.
        patches: places of the Earth Genome lattice inside.
        pixels: pixels of 10 m inside.
        sample: share of the pixels that is kept everywhere.
        kept: pixels that are kept, those of the windows too.
        shards: by name.
        reads: by product and year.
        keeps: tables.
        times: steps, one after another.
        notes: what is assumed, missing or worth knowing.
    """

    km2: float
    patches: int
    pixels: int
    sample: float
    kept: int
    shards: tuple[ShardPlan, ...]
    reads: tuple[ReadPlan, ...]
    keeps: tuple[KeepPlan, ...]
    times: tuple[TimePlan, ...]
    notes: tuple[str, ...]

    @property
    def bytes_to_read(self) -> int:
        """Bytes of all reads."""
        return sum(read.bytes for read in self.reads)

    @property
    def bytes_to_keep(self) -> int:
        """Bytes of all tables."""
        return sum(keep.bytes for keep in self.keeps)

    @property
    def seconds(self) -> float:
        """Time of all steps."""
        return sum(time.seconds for time in self.times)


def make_plan(request: PlanRequest, rates: MachineRates, progress: Progress) -> Plan:
    """Plan an area.

    Args:
        request: what is asked.
        rates: of this machine.
        progress: told what is being counted.

    Raises:
        ShapeError: the area reaches beyond the MGRS squares or has no ground.
    """
    progress("cutting the area into shards")
    shards = tuple(_describe(shard) for shard in cut_squares(request.area))
    km2 = sum(shard.km2 for shard in shards)
    progress("counting patches")
    patches, pixels = count_places(request.area.geometry), round(km2 * 1e4)
    progress("counting files")
    notes: list[str] = []
    reads = tuple(_Reads(request, notes).list())
    keep = request.keep or KeepSettings(sample=suggest_sample(pixels))
    sample, kept = 1.0 if keep.all else keep.sample, _count_kept(request.area, pixels, keep)
    keeps = tuple(_list_keeps(request, reads, patches, kept, rates))
    times = tuple(_list_times(request, reads, rates))
    notes += _list_notes(request, reads, patches, rates)
    return Plan(km2, patches, pixels, sample, kept, shards, reads, keeps, times, tuple(notes))


def suggest_sample(pixels: int, wanted: int = 1_000_000) -> float:
    """Give the share of pixels to keep so that about a million are: enough to train on, and little to store."""
    share = wanted / max(pixels, 1)
    return 0.01 if share >= 0.01 else float(f"{share:.1g}")


def _count_kept(area: Area, pixels: int, keep: KeepSettings) -> int:
    """Count the pixels that are kept: all inside the windows, and the sample of the others."""
    if keep.all:
        return pixels
    windows = shapely.union_all([shapely.box(*window.bbox) for window in keep.windows])
    ground = polygonal(shapely.intersection(area.geometry, windows))
    dense = min(pixels, round(ground_km2(ground) * 1e4))
    return dense + round((pixels - dense) * keep.sample)


def _describe(shard: Shard) -> ShardPlan:
    return ShardPlan(shard.key, shard.epsg, area_km2(shard))


class _Reads:
    """Counts what is read; the grids of a product are counted once for all years."""

    def __init__(self, request: PlanRequest, notes: list[str]) -> None:
        self._request = request
        self._notes = notes
        self._tiles: TileCount | None = None
        self._cells: tuple[int, int] | None = None

    def list(self) -> list[ReadPlan]:
        """Count by product and year."""
        return [self._read(product, year) for product in self._request.products for year in self._request.years]

    def _read(self, product: Product, year: int) -> ReadPlan:
        if product.years and year not in product.years:
            return ReadPlan(product.name, year, 0, "none", 0, 0)
        files, size = self._count_index(product, year)
        if product.layout == "eg_geoparquet":
            self._tiles = self._tiles or count_tiles(self._request.area)
            share = 1.0 if files is None else files / max(self._tiles.n_tiles, 1)
            rows = round(self._tiles.n_patches * share)
            plain = rows * (product.dims * product.bytes_per_value * PATCH_SHARE + PATCH_PLACE_BYTES)
            how: How = "enumerated" if files is None else "counted"
            count = self._tiles.n_tiles if files is None else files
            return ReadPlan(product.name, year, count, how, rows, size if files is not None else round(plain))
        if product.layout in ("aef_cog", "aef_zarr"):
            assert product.pixel_m is not None  # the registry demands it of pixel products
            self._cells = self._cells or (
                count_cells(self._request.area, FILE_PX * product.pixel_m),
                count_cells(self._request.area, BLOCK_PX * product.pixel_m),
            )
            n_cells, n_blocks = self._cells
            n_files = n_cells if product.layout == "aef_cog" else None  # a mosaic is one store
            rows = n_blocks * BLOCK_PX**2 if files != 0 else 0
            plain = rows * product.dims * product.bytes_per_value * PIXEL_SHARE
            how = "estimated" if files is None else "counted"
            n_bytes = round(plain) if files is None else min(size, round(plain))
            return ReadPlan(product.name, year, n_files if files is None else files, how, rows, n_bytes)
        return ReadPlan(product.name, year, files, "estimated" if files is None else "counted", 0, size)

    def _count_index(self, product: Product, year: int) -> tuple[int | None, int]:
        """Count files and bytes by a local index; None where there is none here."""
        source = self._request.sources.get(product.name)
        if source is None or not _is_local(source):
            return None, 0
        try:
            index = read_index(product, source, [year], self._request.area)
        except SourceMissingError as error:
            note = f"{product.name}: not counted by an index, for {error}"
            self._notes.extend([] if note in self._notes else [note])
            return None, 0
        return index.num_rows, sum(size or 0 for size in index["size_bytes"].to_pylist())


def _is_local(source: SourceSettings) -> bool:
    """Tell whether a source and its index are on this machine, so that they cost no download."""
    return isinstance(source.root, Path) and (source.index is None or isinstance(source.index, Path))


def _fetches_pixels_twice(request: PlanRequest, reads: Sequence[ReadPlan]) -> bool:
    """Tell whether pixels come over the network twice, to keep the sample and to pool: they fit no cache."""
    pixel = [product.name for product in request.products if product.grain == "pixel"]
    n_bytes = sum(read.bytes for read in reads if read.product in pixel)
    return len(request.products) > 1 and request.network_mb_s > 0 and n_bytes > request.cache_gb * 1e9


def _list_keeps(
    request: PlanRequest, reads: Sequence[ReadPlan], patches: int, kept: int, rates: MachineRates
) -> list[KeepPlan]:
    """Size the tables: one row a patch or kept pixel and year that is there."""
    years = {
        product.name: sum(r.product == product.name and r.files != 0 for r in reads) for product in request.products
    }
    pixel = next((product for product in request.products if product.grain == "pixel"), None)
    patch = next((product for product in request.products if product.grain == "patch"), None)
    keeps = []
    if patch is not None:
        rows = patches * years[patch.name]
        width = patch.dims / _MEASURED_DIMS["patch"]
        keeps.append(KeepPlan(f"core_{patch.name}__patches", rows, round(rows * rates.patch_row_bytes * width)))
    if pixel is not None:
        rows = kept * years[pixel.name]
        width = pixel.dims / _MEASURED_DIMS["pixel"]
        keeps.append(KeepPlan(f"core_{pixel.name}__pixels", rows, round(rows * rates.pixel_row_bytes * width)))
    if pixel is not None and patch is not None:
        rows = patches * years[pixel.name]
        keeps.append(KeepPlan(f"out_patch__{pixel.name}_pooled", rows, round(rows * rates.pooled_row_bytes)))
        n_stored = len([name for name in stored_methods(request.upsample.operators) if name != "nearest"])
        rows = kept * years[patch.name] * n_stored
        size = patch.dims * patch.bytes_per_value * PATCH_SHARE + UPSAMPLED_PLACE_BYTES
        keeps.append(KeepPlan(f"out_pixel__{patch.name}_upsampled", rows, round(rows * size)))
    return keeps


def _list_times(request: PlanRequest, reads: Sequence[ReadPlan], rates: MachineRates) -> list[TimePlan]:
    """Time the steps whose rates are measured, in one process, one after another."""
    rows = dict.fromkeys(("patch", "pixel"), 0)
    grains = {product.name: product.grain for product in request.products}
    for read in reads:
        rows[grains[read.product]] += read.rows
    times = []
    twice = _fetches_pixels_twice(request, reads)
    n_bytes = sum(read.bytes * (2 if twice and grains[read.product] == "pixel" else 1) for read in reads)
    if request.network_mb_s > 0:
        times.append(
            TimePlan("network", n_bytes / request.network_mb_s / _M2, f"assumed {request.network_mb_s:g} MB/s")
        )
    if rows["patch"]:
        rate = rates.patches_per_s
        times.append(TimePlan("ingest patches", rows["patch"] / rate, f"measured {rate:,.0f} patches/s"))
    if rows["pixel"]:
        rate = rates.keep_pixels_per_s
        times.append(TimePlan("ingest pixels", rows["pixel"] / rate, f"measured {rate / _M2:.2f} M pixels/s"))
    if rows["pixel"] and len(request.products) > 1:
        rate = rates.pool_pixels_per_s
        times.append(TimePlan("pool", rows["pixel"] / rate, f"measured {rate / _M2:.2f} M pixels/s"))
    return times


def _list_notes(request: PlanRequest, reads: Sequence[ReadPlan], patches: int, rates: MachineRates) -> list[str]:
    """Say what is measured, what is assumed and what is missing."""
    notes = []
    missing = [f"{read.product} {read.year}" for read in reads if read.how == "none"]
    if missing:
        notes.append(f"not in the registry (warehouse/products.toml): {', '.join(missing)}")
    hows = {(read.product, read.how) for read in reads}
    if ("aef", "estimated") in hows:
        notes.append(
            "aef files are estimated: squares of 81.92 km that touch the area, in a grid that is assumed to begin at 0"
        )
        notes.append(
            f"aef bytes are those of the blocks of 10.24 km that touch the area, {PIXEL_SHARE:.0%} of the plain codes"
        )
    if any(how == "enumerated" for _, how in hows):
        notes.append("patch files are enumerated: Sentinel-2 tiles that touch the area; those at sea are not published")
    if not patches:
        notes.append("no patch has its centroid in the area: it will have no patches (isthmus pool takes any polygon)")
    if _fetches_pixels_twice(request, reads):
        notes.append(
            "pixels are fetched twice, to keep the sample and to pool, and the network is counted so: they do not fit "
            f"the cache of {request.cache_gb:g} GB ([cache] max_gb)"
        )
    notes.append("not timed: upsampling, labels, folds, evaluation, report")
    notes.append(f"rates of this machine were measured on generated blocks in {rates.seconds:.1f} s, one process")
    if rates.load > _BUSY:
        notes.append(f"the machine was busy then, {rates.load:.1f} programs a core: --measure-again when it is idle")
    return notes
