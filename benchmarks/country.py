"""A country on one machine: rows a second, peak memory and bytes of every stage, and hours at the true widths.

    python benchmarks/country.py --work FOLDER            # 36 tiles: about half an hour on 2 cores, 10 GB of disk
    python benchmarks/country.py --work FOLDER --tiles 2  # a trial

Every stage runs the code of the warehouse, shard by shard, in a process of its own, whose peak memory after one shard,
after a quarter of them and after all is reported. Patch vectors are narrower than the published ones to spare disk
(`--dims`); pixels have their full width and are decoded from files (`country_world.py`). What is extrapolated to the
true width, or assumed of a network, stands in a table of its own. Belongs here: measuring. Does not: making the tree.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script from anywhere

from assets.grid import plan_shards, write_spine
from assets.patches import ingest_patches
from assets.pixels import ingest_pixels
from assets.pooled import pool_shard
from assets.release_index import observe_releases
from benchmarks.country_world import TILES, YEAR, CountryTree, write_tree
from benchmarks.peak_memory import peak_bytes
from transforms.shards import Shard
from warehouse.catalog import open_catalog
from warehouse.catalog_files import CatalogFiles
from warehouse.layout import PartitionKey
from warehouse.settings import load_settings
from warehouse.store import Warehouse

TRUE_DIMS = 384
#: Bytes of a pixel, and of a patch at its true width.
PIXEL_BYTES, PATCH_BYTES = 64, 4 * TRUE_DIMS
#: Assumed, not measured.
NETWORK_MBIT_S = 100.0
_SETTINGS = """
name = "country"
years = [{year}]
[area]
tiles = [{tiles}]
[sources.aef]
root = "{aef}"
[sources.eg]
root = "{eg}"
[products.eg]
dims = {dims}
[compare]
pixels = "aef"
patches = "eg"
[keep]
sample = 0.0005
[warehouse]
root = "{root}"
[dagster]
instance = "{root}-dagster"
"""
#: (rows, bytes written) of a shard.
Measured = tuple[int, int]


def write_settings(work: Path, name: str, tiles: tuple[str, ...], dims: int) -> tuple[Path, CountryTree]:
    """Write the tree and the settings of a run; give the settings file and the tree."""
    tree = write_tree(work / f"{name}-tree", tiles, dims)
    path = work / f"{name}.toml"
    path.write_text(
        _SETTINGS.format(
            year=YEAR,
            tiles=", ".join(f'"{tile}"' for tile in tiles),
            aef=tree.aef,
            eg=tree.eg,
            dims=dims,
            root=work / f"{name}-warehouse",
        )
    )
    return path, tree


def plan(warehouse: Warehouse) -> Iterator[Measured]:
    """Read both indexes and cut the area."""
    for product in warehouse.products.values():
        written = observe_releases(warehouse, product)
        yield written.rows, written.bytes
    written = plan_shards(warehouse)
    yield written.rows, written.bytes


def places(warehouse: Warehouse, shard: Shard) -> Measured:
    """Place the patches of a shard."""
    assert warehouse.patch_product is not None
    written = write_spine(warehouse, warehouse.patch_product, PartitionKey(shard=shard.key))
    return written.rows, written.bytes


def patches(warehouse: Warehouse, shard: Shard) -> Measured:
    """Read the patch files around a shard, drop copies, store."""
    assert warehouse.patch_product is not None
    written = ingest_patches(warehouse, warehouse.patch_product, PartitionKey(YEAR, shard.key))
    return written.rows, written.bytes


def pool(warehouse: Warehouse, shard: Shard) -> Measured:
    """Decode the pixels of a shard and pool them."""
    assert warehouse.pixel_product is not None
    assert warehouse.patch_product is not None
    key = PartitionKey(YEAR, shard.key)
    written = pool_shard(warehouse, warehouse.pixel_product, warehouse.patch_product, key)
    return written.rows, written.bytes


def pixels(warehouse: Warehouse, shard: Shard) -> Measured:
    """Decode the pixels of a shard and keep a sample."""
    assert warehouse.pixel_product is not None
    written = ingest_pixels(warehouse, warehouse.pixel_product, PartitionKey(YEAR, shard.key))
    return written.rows, written.bytes


BY_SHARD: dict[str, Callable[[Warehouse, Shard], Measured]] = {
    "places": places,
    "patches": patches,
    "pool": pool,
    "pixels": pixels,
}
#: Asked of the stored tables; each returns one row.
QUERIES = {
    "count": "select count(*) from core_eg__patches",
    "copies": "select sum(n_copies) from core_eg__patches",
    "box": "select count(*) from core_grid__patches where lon between 104 and 105 and lat between 12 and 13",
    "duplicates": "select count(*) from (select 1 from core_eg__patches group by year, patch_id having count(*) > 1)",
}


def run_stage(config: Path, stage: str, n_shards: int) -> dict[str, Any]:
    """Run a stage in this process and measure it."""
    warehouse = Warehouse(load_settings(config))
    if stage == "plan":
        return _measure(plan(warehouse))
    if stage == "queries":
        return _measure_queries(warehouse)
    shards = warehouse.shards()[:n_shards]
    return _measure(BY_SHARD[stage](warehouse, shard) for shard in shards)


def _measure(parts: Iterator[Measured]) -> dict[str, Any]:
    watch, cpu = time.perf_counter(), _cpu_seconds()
    rows = size = 0
    peaks = []
    for count, n_bytes in parts:
        rows, size = rows + count, size + n_bytes
        peaks.append(peak_bytes() / 1024**2)
    return {
        "parts": len(peaks),
        "rows": rows,
        "bytes": size,
        "seconds": time.perf_counter() - watch,
        "cpu_seconds": _cpu_seconds() - cpu,
        "peaks_mb": [round(peak) for peak in peaks],
    }


def _measure_queries(warehouse: Warehouse) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with open_catalog(CatalogFiles(warehouse.root), warehouse.specs, warehouse.settings.compare) as connection:
        for name, sql in QUERIES.items():
            watch = time.perf_counter()
            (value,) = connection.execute(sql).fetchall()[0]
            found[name] = {"value": int(value), "seconds": time.perf_counter() - watch}
    return {"queries": found}


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run_apart(config: Path, stage: str, n_shards: int) -> dict[str, Any]:
    """Run a stage in a process of its own; say how it goes on standard error."""
    options = ["--config", str(config), "--stage", stage, "--tiles", str(n_shards)]
    command = [sys.executable, "-W", "ignore", __file__, *options]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    print(f"{config.stem} {stage}: {json.dumps(found)}", file=sys.stderr, flush=True)
    return found


def say_measured(found: dict[str, dict[str, Any]]) -> None:
    """Print what was measured."""
    print(f"{'stage':<14} {'shards':>6} {'rows':>11} {'rows/s':>9} {'wall s':>8} {'CPU s':>8} {'MB out':>8}", end=" ")
    print(f"{'peak MB after one':>17} {'a quarter':>9} {'all':>6}")
    for stage, row in found.items():
        print(f"{stage:<14} {row['parts']:>6} {row['rows']:>11,} {row['rows'] / row['seconds']:>9,.0f}", end=" ")
        print(f"{row['seconds']:>8.1f} {row['cpu_seconds']:>8.1f} {row['bytes'] / 1e6:>8,.0f}", end=" ")
        peaks = row["peaks_mb"]
        print(f"{peaks[0]:>17,} {peaks[len(peaks) // 4]:>9,} {peaks[-1]:>6,}")


def extrapolate(
    found: dict[str, dict[str, Any]], true_width: dict[str, Any], tree: CountryTree, n_tiles: int
) -> dict[str, float]:
    """Give hours and bytes at the true width for the same rows, and what an assumed network would take."""
    rows = found["patches"]["rows"]
    raw = {"patches": tree.n_patch_rows * PATCH_BYTES, "pixels": n_tiles * 10_980**2 * PIXEL_BYTES}
    network_s = sum(raw.values()) * 8 / (NETWORK_MBIT_S * 1e6)
    return {
        "patches stored at 384 dimensions, hours": rows / (true_width["rows"] / true_width["seconds"]) / 3600,
        "patches stored at 384 dimensions, GB": rows * true_width["bytes"] / true_width["rows"] / 1e9,
        "sample of pixels, all shards, hours": found["pixels"]["seconds"] / found["pixels"]["parts"] * n_tiles / 3600,
        "raw patches, GB": raw["patches"] / 1e9,
        "raw pixels, GB": raw["pixels"] / 1e9,
        f"all raw bytes at {NETWORK_MBIT_S:g} Mbit/s (assumed), hours": network_s / 3600,
    }


def main() -> None:
    """Run all stages, or one of them for the process that does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the tree and the warehouse; kept, and used again")
    parser.add_argument("--tiles", type=int, default=len(TILES), help="so many of the 36 tiles")
    parser.add_argument("--dims", type=int, default=32, help="width of patch vectors")
    parser.add_argument("--pixel-shards", type=int, default=4, help="shards whose sample of pixels is stored")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(run_stage(arguments.config, arguments.stage, arguments.tiles)))
        return
    if arguments.work is None:
        parser.error("--work is needed: a folder with 10 GB free")
    tiles = TILES[: arguments.tiles]
    config, tree = write_settings(arguments.work, "country", tiles, arguments.dims)
    n_shards = {stage: len(tiles) for stage in ("plan", *BY_SHARD)} | {"pixels": arguments.pixel_shards}
    found = {stage: run_apart(config, stage, n) for stage, n in n_shards.items()}
    queries = run_apart(config, "queries", 0)
    around = tiles[len(tiles) // 2 :][:3]
    narrow, _ = write_settings(arguments.work, "true-width", around, TRUE_DIMS)
    for stage in ("plan", "places"):
        run_apart(narrow, stage, len(around))
    true_width = run_apart(narrow, "patches", len(around))
    print(f"{os.cpu_count()} cores. Simulated tree: {len(tiles)} tiles, {tree.n_patch_rows:,} patch rows of", end=" ")
    print(f"{arguments.dims} dimensions, {tree.n_pixel_files} pixel files.")
    print("\nMeasured")
    say_measured({**found, "patches, 384": true_width})
    for name, row in queries["queries"].items():
        print(f"query {name:<12} {row['value']:>12,} {row['seconds']:>8.2f} s")
    print("\nExtrapolated or assumed")
    for name, value in extrapolate(found, true_width, tree, len(tiles)).items():
        print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
