"""Reading blocks of a raster from a server: ours, GDAL over our bridge, GDAL over /vsicurl; and how large blocks are.

`python -m benchmarks.remote_reads` from the project's folder. The server is on loopback; each request waits as long as
one to another continent may. Belongs here: measuring. Does not: the server (`tests/fault_server.py`), the pixels
(`pooling_rasters.py`). The pixels are simulated.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from benchmarks.pooling_rasters import BLOCK_PX, DIMS, EPSG, PIXEL_M, simulate_block
from tests.fault_server import Fault, FaultServer, serve
from transforms.quantization import NODATA
from warehouse.file_access import pin
from warehouse.file_paths import CacheLimits, FilePath, RemoteAccess, RemotePath
from warehouse.objects import block_cache, remote_file
from warehouse.sources.rasters import GDAL_OPTIONS, open_raster, read_header, read_stored

SIZE = 2 * BLOCK_PX
ROUNDS = 3
DELAYS_S = (0.0, 0.03, 0.15)
BLOCKS_KB = (32, 64, 128, 256, 512, 1024)
VSICURL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_USE_HEAD": "YES", "VSI_CACHE": "FALSE",
    "GDAL_HTTP_MAX_RETRY": "8", "CPL_VSIL_CURL_CACHE_SIZE": "200000000",
}  # fmt: skip
WINDOW = Window(0, 0, BLOCK_PX, BLOCK_PX)


def write_raster(path: Path) -> None:
    """Write four blocks as published files have them: all tiles of a band, then those of the next."""
    block = simulate_block(np.random.default_rng(0))
    profile: dict[str, Any] = {
        "driver": "GTiff", "dtype": "int8", "count": DIMS, "width": SIZE, "height": SIZE, "tiled": True,
        "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "interleave": "band", "compress": "zstd", "predictor": 2,
        "nodata": NODATA, "crs": f"EPSG:{EPSG}",
        "transform": Affine(PIXEL_M, 0, 200_000, 0, PIXEL_M, 1_400_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        for band in range(DIMS):
            file.write(np.tile(block[band], (2, 2)), band + 1)


def read_ours(path: FilePath) -> None:
    """Read one block as the sources do."""
    with open_raster(path) as dataset:
        read_stored(dataset, read_header(dataset, path), WINDOW)


def read_gdal(path: FilePath) -> None:
    """Let GDAL decode, over our bridge."""
    with open_raster(path) as dataset, rasterio.Env(**GDAL_OPTIONS):
        dataset.read(window=WINDOW)


def read_vsicurl(path: FilePath) -> None:
    """Let GDAL fetch and decode."""
    name = f"/vsicurl/{path}?{time.monotonic_ns()}"  # its own, or GDAL remembers the bytes of the round before
    with rasterio.Env(**GDAL_OPTIONS, **VSICURL), rasterio.open(name) as dataset:
        dataset.read(window=WINDOW)


@contextmanager
def delayed(server: FaultServer, seconds: float) -> Iterator[None]:
    server.faults[:] = [Fault("slow", seconds=seconds, times=10**9, method=m) for m in ("GET", "HEAD")]
    yield
    server.faults.clear()


def measure(server: FaultServer, read: Callable[[FilePath], None], path: FilePath) -> tuple[float, int, float]:
    """Give median seconds, requests and MB of a round."""
    seconds = []
    for _ in range(ROUNDS):
        server.asked.clear()
        start = time.perf_counter()
        read(path)
        seconds.append(time.perf_counter() - start)
    spans = [one.span for one in server.asked if one.span]
    return float(np.median(seconds)), len(server.asked), sum(stop - start for start, stop in spans) / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "served") as server:
        server.root.mkdir()
        write_raster(server.root / "a.tiff")
        remote = pin(RemotePath(f"{server.url}/a.tiff", RemoteAccess(allow_http=True)))
        assert isinstance(remote, RemotePath)
        cached = remote.through(CacheLimits(Path(folder) / "cache", 10**9))
        stored = (server.root / "a.tiff").stat().st_size / 4e6
        print(f"one block of 64 x 1024 x 1024 codes, {stored:.1f} MB stored")
        readers = {
            "local": (read_ours, server.root / "a.tiff"),
            "ours": (read_ours, remote),
            "ours, from the cache": (read_ours, cached),
            "GDAL over our bridge": (read_gdal, remote),
            "GDAL over /vsicurl": (read_vsicurl, remote),
        }
        read_ours(cached)
        for delay in DELAYS_S:
            with delayed(server, delay):
                for name, (read, path) in readers.items():
                    seconds, requests, n_mb = measure(server, read, path)
                    print(f"{delay * 1000:4.0f} ms  {name:22} {seconds:7.2f} s  {requests:4d} requests  {n_mb:6.1f} MB")
        for kb in BLOCKS_KB:
            block_cache.BLOCK_BYTES = remote_file.BLOCK_BYTES = kb * 1024
            remote_file._RUN_BLOCKS = 8 * 1024 // kb
            with delayed(server, 0.03):
                seconds, requests, n_mb = measure(server, read_ours, remote)
            print(f"blocks of {kb:4d} KiB {seconds:7.2f} s  {requests:4d} requests  {n_mb / stored:.2f}x the bytes")


if __name__ == "__main__":
    main()
