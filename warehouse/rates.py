"""How fast this machine reads, pools and writes: measured on generated blocks in a second or two, kept per machine.

Belongs here: making the blocks, timing, the file that keeps the rates. Does not: what is planned with them
(`plan.py`), careful measurements (`benchmarks/`).
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import geoarrow.pyarrow as ga
import numpy as np
import pyarrow as pa
import shapely
from geoarrow.pyarrow import io as geoarrow_io

from transforms import geohash
from transforms.keeping import KeepRule, OwnerRule, keep_pixels
from transforms.lattice import enumerate_places
from transforms.patch_rows import patch_table
from transforms.places import PatchPlaces, TileCover, cluster_boxes, place_lattice
from transforms.pooled_rows import RasterPooling, pooled_table
from transforms.pooling.pixels import PoolingParameters
from transforms.quantization import MAX_CODE, NODATA
from transforms.sentinel2 import sentinel2_tile_box
from transforms.shards import cut_regions
from transforms.utm import UtmBox, mgrs_squares
from warehouse.derived_schemas import pooled_columns
from warehouse.errors import StoredRecordError
from warehouse.products import load_registry
from warehouse.provenance import Provenance
from warehouse.schemas import build_specs
from warehouse.sections import PoolSettings
from warehouse.source_settings import SourceSettings
from warehouse.sources.aef_cog import AefCogSource
from warehouse.sources.bounds import box_columns, lonlat_bounds
from warehouse.sources.patches import read_unique_patches
from warehouse.unfinished import replace_file
from warehouse.world_cog import CogLayout, SparseCogWriter
from warehouse.write_errors import write_errors
from warehouse.writer import WrittenPartition, write_table

#: Raised when what is measured changes, so that old rates are measured again.
_VERSION = 2
_SIZE_PX, _PIXEL_M, _DIMS, _YEAR = 1024, 10.0, 64, 2024
_TILE, _EPSG, _WEST_M, _SOUTH_M = "48PVS", 32648, 430_080.0, 1_130_000.0
_SHARD = "blocks"
#: Codes of a smooth field and of the noise on it, so that decompression has something to do.
_FIELD_CODES, _NOISE_CODES, _NODE_PX = 40.0, 6.0, 32
_ROUNDS = 2
#: Share of pixels that is kept: enough rows that a file's footer does not count.
_SAMPLE = 0.01
_MARK = Provenance("calibration", "generated blocks", "CC0-1.0", (), is_simulated=True)


@dataclass(frozen=True)
class MachineRates:
    """What one process of this machine does.

    Attributes:
        pool_pixels_per_s: pixels decoded and pooled, default operators, rows written.
        keep_pixels_per_s: pixels decoded and searched for the kept sample, rows written.
        patches_per_s: patches read, deduplicated and written.
        patch_row_bytes: stored bytes of a row of `core_eg__patches`.
        pooled_row_bytes: of a row of `out_patch__aef_pooled`, default operators.
        pixel_row_bytes: of a row of `core_aef__pixels`.
        seconds: what the measurement took.
        load: programs a core that ran or waited before it.
    """

    pool_pixels_per_s: float
    keep_pixels_per_s: float
    patches_per_s: float
    patch_row_bytes: float
    pooled_row_bytes: float
    pixel_row_bytes: float
    seconds: float
    load: float


def load_rates(cache: Path, *, again: bool = False) -> MachineRates:
    """Give the rates of this machine: those kept for it, or measured now and kept.

    Args:
        cache: file of rates; one entry a machine.
        again: measure even if they are there.

    Raises:
        StoredRecordError: the file is not what was kept.
    """
    key = f"{platform.node()}-{platform.machine()}-{os.cpu_count()}-v{_VERSION}"
    kept = _read_rates(cache) if cache.is_file() else {}
    if key not in kept or again:
        kept[key] = measure_rates()
        text = json.dumps({key: asdict(one) for key, one in kept.items()}, indent=1)
        with replace_file(cache, "rates") as temporary, write_errors("rates", cache):
            temporary.write_text(text, encoding="utf-8")
    return kept[key]


def _read_rates(cache: Path) -> dict[str, MachineRates]:
    try:
        entries = json.loads(cache.read_text(encoding="utf-8"))
        return {key: MachineRates(**entry) for key, entry in entries.items() if key.endswith(f"-v{_VERSION}")}
    except (ValueError, TypeError, AttributeError) as error:
        raise StoredRecordError(str(cache), f"{type(error).__name__}: {error}") from error


def rates_path() -> Path:
    """Where rates are kept: in the user's cache folder, for a warehouse can move between machines."""
    # beside the block cache and not in it, which may be emptied
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isthmus-rates.json"


def measure_rates() -> MachineRates:
    """Time reading, pooling and writing on generated blocks: the faster of two rounds after one to warm up."""
    start, load = time.perf_counter(), os.getloadavg()[0] / (os.cpu_count() or 1)
    with tempfile.TemporaryDirectory(prefix="isthmus-rates-") as name:
        bench = _Bench(Path(name))
        pool_s, pooled = _time(bench.pool)
        keep_s, kept = _time(bench.keep)
        ingest_s, patches = _time(bench.ingest)
        return MachineRates(
            pool_pixels_per_s=_SIZE_PX**2 / pool_s,
            keep_pixels_per_s=_SIZE_PX**2 / keep_s,
            patches_per_s=patches.rows / ingest_s,
            patch_row_bytes=patches.bytes / patches.rows,
            pooled_row_bytes=pooled.bytes / pooled.rows,
            pixel_row_bytes=kept.bytes / kept.rows,
            seconds=time.perf_counter() - start,
            load=load,
        )


class _Bench:
    """Generated files of both layouts in a folder, and what a run does with them."""

    def __init__(self, folder: Path) -> None:
        registry = load_registry()
        self._aef, self._eg = registry["aef"], registry["eg"]
        self._specs = build_specs({"aef": self._aef, "eg": self._eg}, labels={}, pixels="aef", patches="eg")
        self._folder = folder
        rng = np.random.default_rng(0)
        self._box = UtmBox(_EPSG, _WEST_M, _SOUTH_M, _WEST_M + _SIZE_PX * _PIXEL_M, _SOUTH_M + _SIZE_PX * _PIXEL_M)
        self.spine = _list_patches(self._box)
        raster = _write_raster(folder, rng)
        row = {"year": _YEAR, **_list_file(raster), **box_columns(self._box)}
        self._source = AefCogSource(self._aef, folder, pa.Table.from_pylist([row]))
        self._patch_file = _write_patches(folder, self.spine, self._eg.dims, rng)
        whole = cut_regions({_SHARD: (-180.0, -90.0, 180.0, 90.0)})
        self._owner = OwnerRule(_SHARD, tuple(whole), None, by_zone=False)

    def pool(self) -> WrittenPartition:
        """Decode, pool with the default operators and write."""
        columns, parameters = pooled_columns(PoolSettings()), PoolingParameters()
        pooling = RasterPooling(self.spine, self._aef.dims, columns, parameters)
        plan = self._source.plan_blocks(_YEAR, cluster_boxes(self.spine.boxes(), _EPSG))
        pooling.expect(block.extent for block in plan)
        for window in self._source.read_blocks(plan):
            pooling.add(window)
        rows = pooled_table(self.spine, pooling.finish(), "aef", parameters, is_simulated=True)
        return self._write("out_patch__aef_pooled", rows)

    def keep(self) -> WrittenPartition:
        """Decode, choose the kept sample and write."""
        (window,) = self._source.iter_blocks(_YEAR, [self._box])
        rows = keep_pixels(window, KeepRule(False, (), _SAMPLE), self._owner, "aef", is_simulated=True)
        return self._write("core_aef__pixels", rows)

    def ingest(self) -> WrittenPartition:
        """Read patches, resolve copies and write."""
        index = pa.Table.from_pylist([_list_file(self._patch_file)])
        source = SourceSettings(root=self._folder)
        found = read_unique_patches(self._eg, source, index, (-180.0, -90.0, 180.0, 90.0))
        return self._write("core_eg__patches", patch_table(found.patches, self.spine, "eg", is_simulated=True))

    def _write(self, table: str, rows: pa.Table) -> WrittenPartition:
        return write_table(self._folder / f"{table}.parquet", self._specs[table], rows, _MARK)


def _list_file(path: Path) -> dict[str, object]:
    """Give what an index says of a file."""
    return {"path": path.name, "size_bytes": path.stat().st_size, "etag": None}


def _time(work: Callable[[], WrittenPartition]) -> tuple[float, WrittenPartition]:
    written = work()
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), written


def _list_patches(box: UtmBox) -> PatchPlaces:
    """List the places of both lattices whose footprints lie inside a box."""
    west, south, east, north = lonlat_bounds(box)
    cells = enumerate_places(west, south, east, north)
    tile = TileCover(_TILE, _TILE, sentinel2_tile_box(_TILE))
    places = place_lattice(cells, mgrs_squares(cells.lon, cells.lat), [tile])
    feet = places.boxes()
    inside = (feet[:, 0] >= box.west) & (feet[:, 1] >= box.south) & (feet[:, 2] <= box.east) & (feet[:, 3] <= box.north)
    return places.take(inside)


def _write_raster(folder: Path, rng: np.random.Generator) -> Path:
    """Write smooth fields with noise, so that decompression has something to do."""
    at = np.arange(_SIZE_PX)
    nodes = np.arange(0, _SIZE_PX + _NODE_PX, _NODE_PX)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - nodes) / _NODE_PX).astype(np.float32)
    noise = rng.standard_normal((_SIZE_PX, _SIZE_PX), np.float32) * np.float32(_NOISE_CODES)
    codes = np.empty((_DIMS, _SIZE_PX, _SIZE_PX), np.int8)
    for number, band in enumerate(codes):
        field = rng.standard_normal((len(nodes), len(nodes)), np.float32) * np.float32(_FIELD_CODES)
        drawn = weights @ field @ weights.T + np.roll(noise, 97 * number)
        band[:] = np.clip(np.rint(drawn), -MAX_CODE, MAX_CODE)
    names = [f"A{band:02d}" for band in range(_DIMS)]
    layout = CogLayout(_SIZE_PX, _SIZE_PX, _SIZE_PX, _DIMS, NODATA, _EPSG, _WEST_M, _SOUTH_M, _PIXEL_M, names)
    path = folder / "blocks.tiff"
    with ThreadPoolExecutor(2) as pool, SparseCogWriter(path, layout, pool) as writer:
        writer.write_tile(0, 0, 0, codes)
    return path


def _write_patches(folder: Path, spine: PatchPlaces, dims: int, rng: np.random.Generator) -> Path:
    """Write a file as Earth Genome's are, with vectors of noise."""
    vectors = rng.standard_normal((len(spine), dims), np.float32)
    ids = geohash.encode(spine.lon, spine.lat)
    lon, lat = geohash.decode(ids)
    points = ga.with_crs(ga.as_wkb(pa.array(shapely.to_wkb(shapely.points(lon, lat)))), ga.OGC_CRS84)
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * dims)
    embedding = pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))
    table = pa.table({"id": pa.array(ids.astype(np.int64)), "embedding": embedding, "geometry": points})
    path = folder / f"{_TILE}_{_YEAR}-01-01_{_YEAR + 1}-01-01.parquet"
    geoarrow_io.write_geoparquet_table(table, str(path), geometry_encoding="WKB", compression="zstd")
    return path
