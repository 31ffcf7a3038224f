"""What a remote read met is raised, whatever GDAL makes of it: damaged tables, sparse tiles or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from tests.fault_server import Fault, FaultServer, serve
from warehouse.errors import CacheError, SourceUnavailableError
from warehouse.file_access import pin_remote
from warehouse.file_paths import RemoteAccess, RemotePath
from warehouse.objects.remote_file import RemoteFile
from warehouse.sources.rasters import open_raster, read_header, read_stored

TILE, SIDE, BANDS = 16, 2048, 5
STORED = Window(SIDE - TILE, SIDE - TILE, TILE, TILE)
ACCESS = RemoteAccess(allow_http=True, tries=2, first_wait_s=0.01, longest_wait_s=0.01, timeout_s=1.0)


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(0).integers(-127, 128, (BANDS, TILE, TILE), dtype=np.int8)


@pytest.fixture(params=["zstd", "deflate"])
def server(tmp_path: Path, codes: np.ndarray, request: pytest.FixtureRequest) -> Iterator[FaultServer]:
    """Serve a raster whose block tables fill several blocks of the network; its last tile alone is stored."""
    profile = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "count": BANDS, "dtype": "int8", "nodata": -128,
        "tiled": True, "blockxsize": TILE, "blockysize": TILE, "interleave": "band", "compress": request.param,
        "crs": "EPSG:32648", "SPARSE_OK": True, "transform": rasterio.Affine(10, 0, 500_000, 0, 10, 1_300_000),
    }  # fmt: skip
    with rasterio.open(tmp_path / "a.tiff", "w", **profile) as dataset:
        dataset.write(codes, window=STORED)
    with serve(tmp_path) as running:
        yield running


@pytest.fixture
def path(server: FaultServer) -> RemotePath:
    return pin_remote(RemotePath(f"{server.url}/a.tiff", ACCESS))


def read(path: RemotePath) -> np.ndarray:
    with open_raster(path) as dataset:
        return read_stored(dataset, read_header(dataset, path), STORED)


def test_an_outage_at_any_request_is_an_error_and_never_nodata(
    server: FaultServer, path: RemotePath, codes: np.ndarray
) -> None:
    np.testing.assert_array_equal(read(path), codes)
    n_requests = len(server.gets())
    assert n_requests > 3  # header, tables, tiles
    for after in range(n_requests):
        server.faults[:] = [Fault("status", status=503, times=10**6, after=after)]
        with pytest.raises(SourceUnavailableError, match="503 Service Unavailable"):
            read(path)


def test_an_outage_of_which_gdal_tells_nothing_is_an_error_when_the_file_is_closed(
    server: FaultServer, path: RemotePath
) -> None:
    tiles = []

    def look() -> None:
        with open_raster(path) as dataset:
            server.faults.append(Fault("status", status=503, times=10**6))
            tiles.append(dataset.get_tag_item("BLOCK_OFFSET_127_127", "TIFF", bidx=3))

    with pytest.raises(SourceUnavailableError, match="503 Service Unavailable"):
        look()
    assert [int(size or 0) for size in tiles] == [0]  # as if it were not stored


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), ValueError("no"), CacheError("cache", "no room"), MemoryError()], ids=repr
)
def test_whatever_a_read_raises_comes_out_as_it_is(
    path: RemotePath, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    whole = RemoteFile.read_spans
    reads: list[Any] = []

    def fail(file: RemoteFile, spans: Any) -> Any:
        reads.append(spans)
        if len(reads) > n_good:
            raise failure
        return whole(file, spans)

    n_good = 10**6
    monkeypatch.setattr(RemoteFile, "read_spans", fail)
    read(path)
    n_reads = len(reads)
    assert n_reads > 3
    for n_good in range(n_reads):
        reads.clear()
        with pytest.raises(type(failure)) as caught:
            read(path)
        assert caught.value is failure
        assert len(reads) == n_good + 1  # GDAL asks on, and nothing is tried any more
