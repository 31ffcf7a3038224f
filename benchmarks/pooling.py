"""Pooling speed: our operators, exactextract and numpy over the boxes of both real lattices, one JSON line at the end.

    python benchmarks/pooling.py          # a table, and what bounds it
    python benchmarks/pooling.py --json   # the JSON line only

Everything is measured in one process over the same simulated raster and the same boxes, at their real sub-pixel
offsets near 104 E 12.6 N, with exact area shares. Numbers are medians of five, CPU seconds of one thread unless
named `_wall`. Belongs here: measuring. Does not: making rasters (`pooling_rasters.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import rasterio
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script from anywhere

from benchmarks.peak_memory import peak_bytes
from benchmarks.pooling_rasters import BLOCK_PX, DIMS, EPSG, PIXEL_M, YEAR, open_source, simulate_block, write_raster
from transforms.lattice import PATCH_SIDE_M, enumerate_places
from transforms.pooling.pooler import PatchPooler
from transforms.quantization import dequantize
from transforms.utm import UtmBox, footprint_boxes, project, unproject
from transforms.windows import PixelWindow
from warehouse.sources.aef_cog import AefCogSource
from warehouse.sources.blocks import PlannedBlock
from warehouse.sources.read_ahead import read_ahead

REPEATS = 5
MAIN_PX, LARGE_PX = 2048, 8192
MEAN, STATS = ("mean",), ("min", "max", "mean", "std")
#: 36 tiles of 110 km at 10 m: what a country of the size of Cambodia reads.
COUNTRY_PX = 36 * 11_000**2
Float64Array = npt.NDArray[np.float64]
Clock = Callable[[], float]


def place_raster() -> tuple[float, float]:
    """Give west and south edge of the rasters: near 104 E 12.6 N, on the 10 m grid."""
    x, y = project([104.0], [12.6], EPSG)
    return float(np.rint(x[0] / PIXEL_M) * PIXEL_M), float(np.rint(y[0] / PIXEL_M) * PIXEL_M)


def list_boxes(west: float, south: float, size_px: int) -> Float64Array:
    """Give the boxes of both lattices that lie in a square: float64 (n, 4), metres."""
    side = size_px * PIXEL_M
    lon, lat = unproject([west, west + side] * 2, [south, south, south + side, south + side], EPSG)
    places = enumerate_places(lon.min() - 0.01, lat.min() - 0.01, lon.max() + 0.01, lat.max() + 0.01)
    x, y = project(places.lon, places.lat, EPSG)
    boxes = footprint_boxes(x, y, PATCH_SIDE_M)
    is_in = (boxes[:, 0] >= west) & (boxes[:, 1] >= south)
    return boxes[is_in & (boxes[:, 2] <= west + side) & (boxes[:, 3] <= south + side)]


def measure(work: Callable[[], object], clock: Clock = time.thread_time) -> float:
    """Give the median seconds of five runs, after one that compiles and fills caches."""
    work()
    seconds = []
    for _ in range(REPEATS):
        start = clock()
        work()
        seconds.append(clock() - start)
    return float(np.median(seconds))


def decode(source: AefCogSource, boxes: Float64Array) -> Iterator[PixelWindow]:
    """Read all blocks under the boxes, as the warehouse does."""
    return source.read_blocks(plan(source, boxes))


def plan(source: AefCogSource, boxes: Float64Array) -> list[PlannedBlock]:
    """List the blocks under the boxes."""
    return source.plan_blocks(YEAR, _around(boxes), BLOCK_PX)


def pool_stream(
    boxes: Float64Array,
    columns: tuple[str, ...],
    blocks: list[PlannedBlock],
    windows: Iterator[PixelWindow],
    *,
    threads: int = 1,
) -> int:
    """Pool windows as they come and let go of patches as soon as they are whole; give their number."""
    pooler = PatchPooler(boxes, EPSG, DIMS, columns, threads=threads)
    pooler.expect(block.extent for block in blocks)
    n = 0
    for window in windows:
        pooler.add(window)
        n += len(pooler.drain())
    return n + len(pooler.finish())


def measure_decoding(source: AefCogSource, path: Path, boxes: Float64Array) -> dict[str, float]:
    """Time decoding alone, decoding with pooling, the codec alone and a plain copy."""
    blocks = plan(source, boxes)
    n_bytes = len(blocks) * DIMS * BLOCK_PX**2
    decode_s = measure(lambda: sum(window.values.shape[1] for window in source.read_blocks(blocks)))
    tiles = _compressed_tiles(path)
    raw = np.ones(DIMS * BLOCK_PX**2, np.uint8)
    target = np.empty_like(raw)
    codec = pa.Codec("zstd")

    def decompress() -> None:
        for tile in tiles:
            codec.decompress(tile, BLOCK_PX**2)

    return {
        "decode_s": decode_s,
        "decode_pool_mean_s": measure(lambda: pool_stream(boxes, MEAN, blocks, source.read_blocks(blocks))),
        "decode_pool_stats_s": measure(lambda: pool_stream(boxes, STATS, blocks, source.read_blocks(blocks))),
        "decode_pool_wall_2t_s": measure(
            lambda: pool_stream(boxes, STATS, blocks, read_ahead(source.read_blocks(blocks))), time.perf_counter
        ),
        "decode_gb_s": n_bytes / decode_s / 1e9,
        "codec_gb_s": len(tiles) * BLOCK_PX**2 / measure(decompress) / 1e9,
        "copy_gb_s": raw.nbytes / measure(lambda: np.copyto(target, raw)) / 1e9,
    }


def measure_memory(window: PixelWindow, boxes: Float64Array) -> dict[str, float]:
    """Time pooling of one block in memory, and its contenders, over the same boxes."""

    def pool(columns: tuple[str, ...]) -> float:
        return measure(lambda: pool_stream(boxes, columns, [], iter([window])))

    mean_s, stats_s = pool(MEAN), pool(STATS)
    floats = dequantize(window.values)
    n = len(boxes)
    return {
        "pool_mean_patches_s": n / mean_s,
        "pool_stats_patches_s": n / stats_s,
        "exactextract_mean_patches_s": n / measure(lambda: extract(floats, window, boxes, ["mean"])),
        "exactextract_stats_patches_s": n
        / measure(lambda: extract(floats, window, boxes, ["mean", "stdev", "min", "max"])),
        "numpy_mean_patches_s": n / measure(lambda: numpy_means(window, boxes)),
        "stats_s": stats_s,
        "covariance_s": pool(("covariance",)),
        "percentiles_s": pool(("percentiles",)),
    }


def extract(floats: npt.NDArray[np.float32], window: PixelWindow, boxes: Float64Array, operations: list[str]) -> object:
    """Pool with exactextract; dequantisation is not counted."""
    edge = window.bounds
    rasters = [
        NumPyRasterSource(band, xmin=edge.west, ymin=edge.south, xmax=edge.east, ymax=edge.north, name=f"b{k}")
        for k, band in enumerate(floats)
    ]
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for ring in ([(w, s), (e, s), (e, n), (w, n), (w, s)] for w, s, e, n in boxes.tolist())
    ]
    return exact_extract(rasters, features, operations)


def numpy_means(window: PixelWindow, boxes: Float64Array) -> Float64Array:
    """Pool with numpy: look the values up, then an exactly weighted mean per box."""
    means = np.empty((len(boxes), DIMS))
    for k, (west, south, east, north) in enumerate(boxes.tolist()):
        rows, row_share = _shares(window.affine.f - north, north - south, window.valid.shape[0])
        cols, col_share = _shares(west - window.affine.c, east - west, window.valid.shape[1])
        x = dequantize(window.values[:, rows, cols])
        means[k] = (x @ col_share) @ row_share / (row_share.sum() * col_share.sum())
    return means


def _shares(start_m: float, length_m: float, size: int) -> tuple[slice, npt.NDArray[np.float32]]:
    low, high = start_m / PIXEL_M, (start_m + length_m) / PIXEL_M
    first, stop = int(np.floor(low)), min(size, int(np.ceil(high)))
    edges = np.arange(first, stop + 1)
    share = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return slice(first, stop), share.astype(np.float32)


def _compressed_tiles(path: Path) -> list[bytes]:
    """Read the compressed tiles of the first block of every band."""
    tiles = []
    with rasterio.open(path) as dataset, path.open("rb") as file:
        for band in range(1, dataset.count + 1):
            offset, size = (
                int(dataset.get_tag_item(f"BLOCK_{name}_0_0", "TIFF", bidx=band)) for name in ("OFFSET", "SIZE")
            )
            file.seek(offset)
            tiles.append(file.read(size))
    return tiles


def _around(boxes: Float64Array) -> list[UtmBox]:
    return [UtmBox(EPSG, *boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())]


def print_peak(path: Path, size: int) -> None:
    """Pool a whole raster, let the results go, and print the peak memory of this process in MB."""
    west, south = place_raster()
    boxes, source = list_boxes(west, south, size), open_source(path, size, west, south)
    blocks = plan(source, boxes)
    n = pool_stream(boxes, STATS, blocks, read_ahead(source.read_blocks(blocks)))
    assert n == len(boxes)
    sys.stdout.write(f"{peak_bytes() / 1024**2:.1f}\n")


def measure_peak(path: Path, size: int) -> float:
    """Give the peak memory of pooling a raster in a process of its own, MB."""
    command = [sys.executable, __file__, "--peak", str(path), str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(folder: Path) -> dict[str, float]:
    """Make the rasters and measure everything."""
    west, south = place_raster()
    block = simulate_block(np.random.default_rng(0))
    paths = {size: folder / f"simulated_{size}.tiff" for size in (MAIN_PX, LARGE_PX)}
    for size, path in paths.items():
        write_raster(path, size, west, south, block)
    source = open_source(paths[MAIN_PX], MAIN_PX, west, south)
    boxes = list_boxes(west, south, MAIN_PX)
    results = measure_decoding(source, paths[MAIN_PX], boxes)
    window = next(decode(source, list_boxes(west, south, BLOCK_PX)))
    results |= measure_memory(window, list_boxes(west, south, BLOCK_PX))
    results |= {f"peak_mb_{size}": measure_peak(path, size) for size, path in paths.items()}
    results["country_cpu_min"] = results["decode_pool_stats_s"] * COUNTRY_PX / MAIN_PX**2 / 60
    results["threads"] = len(os.sched_getaffinity(0))
    return results


#: What a row of the table says, and the bar that it has to reach.
_ROWS: list[tuple[str, Callable[[dict[str, float]], float], str]] = [
    ("decode + pool stats / decode", lambda r: r["decode_pool_stats_s"] / r["decode_s"], "<= 2.0"),
    ("decode + pool mean / decode", lambda r: r["decode_pool_mean_s"] / r["decode_s"], ""),
    ("decode / codec", lambda r: r["decode_gb_s"] / r["codec_gb_s"], ">= 0.65"),
    ("mean / exactextract", lambda r: r["pool_mean_patches_s"] / r["exactextract_mean_patches_s"], ">= 30"),
    ("stats / exactextract", lambda r: r["pool_stats_patches_s"] / r["exactextract_stats_patches_s"], ">= 30"),
    ("country, CPU minutes", lambda r: r["country_cpu_min"], "<= 12"),
    ("covariance / stats, time", lambda r: r["covariance_s"] / r["stats_s"], "<= 8"),
    ("percentiles / stats, time", lambda r: r["percentiles_s"] / r["stats_s"], "<= 8"),
    ("peak memory 8192 / 2048", lambda r: r["peak_mb_8192"] / r["peak_mb_2048"], "<= 1.2"),
    ("decode + pool, 2 threads, wall / decode", lambda r: r["decode_pool_wall_2t_s"] / r["decode_s"], ""),
]


def format_table(results: dict[str, float]) -> str:
    """Give the results and the bars as text."""
    lines = [f"{name:32} {value:14,.4g}" for name, value in results.items()]
    lines += ["", f"{'ratio':42} {'found':>8} {'bar':>8}"]
    lines += [f"{name:42} {ratio(results):8.3g} {bar:>8}" for name, ratio, bar in _ROWS]
    pooling = results["decode_pool_stats_s"] - results["decode_s"]
    codec = results["decode_s"] * results["decode_gb_s"] / results["codec_gb_s"]
    parts = {"ZSTD": codec, "rest of decoding": results["decode_s"] - codec, "pooling": pooling}
    shares = ", ".join(f"{name} {seconds / results['decode_pool_stats_s']:.0%}" for name, seconds in parts.items())
    lines += ["", f"what bounds decode + pool (stats) now: {shares}."]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--peak", nargs=2, metavar=("RASTER", "PX"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(Path(arguments.peak[0]), int(arguments.peak[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = run(Path(folder))
    if not arguments.json:
        sys.stdout.write(format_table(results) + "\n")
    sys.stdout.write(json.dumps({name: round(value, 6) for name, value in results.items()}) + "\n")


if __name__ == "__main__":
    main()
