"""A mosaic behind a URL gives what the folder gives, whatever fails on the way, or an error that says what happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fault_server import Fault, FaultServer, serve
from transforms.area import Area, area_of_boxes
from transforms.degree_grid import DegreeGrid
from transforms.utm import project_bbox
from transforms.windows import PixelWindow
from warehouse.errors import SourceChangedError, SourceForbiddenError, SourceMissingError, SourceUnavailableError
from warehouse.file_paths import CacheLimits, RemotePath
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources import open_pixel_source
from warehouse.sources.index import list_years, read_index
from warehouse.sources.mosaic_store import ARRAY
from warehouse.sources.raster_source import RasterSource
from warehouse.world_mosaic import create_store

pytestmark = pytest.mark.usefixtures("short_waits")

GRID = DegreeGrid(104.0, 12.6, 8.983111749910169e-05, 256, 256)
#: Four shards of which the south-eastern one is not there.
BOX = GRID.bbox(slice(64, 192), slice(64, 192))
SHARD = f"{ARRAY}/c/0/0/0/0"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("remote-mosaic")
    array = create_store(root / "mosaic", GRID, [2024], shard_px=128, chunk_px=64)
    codes = np.random.default_rng(0).integers(-127, 128, (64, 256, 256)).astype(np.int8)
    codes[:, 128:, 128:] = -128
    array[0] = codes
    return root


@pytest.fixture
def server(folder: Path) -> Iterator[FaultServer]:
    with serve(folder) as running:
        yield running


@pytest.fixture
def product(products: dict[str, Product]) -> Product:
    return products["aef_mosaic"]


def remote(server: FaultServer) -> SourceSettings:
    return SourceSettings(root=f"{server.url}/mosaic", allow_http=True, tries=4, timeout_s=1.0)  # type: ignore[arg-type]


def area() -> Area:
    return area_of_boxes([BOX])


def open_source(product: Product, settings: SourceSettings) -> RasterSource:
    source = open_pixel_source(product, settings, read_index(product, settings, [2024], area()))
    assert isinstance(source, RasterSource)
    return source


def read_all(source: RasterSource) -> list[PixelWindow]:
    return list(source.iter_blocks(2024, [project_bbox(BOX, 32648)], 128))


def check_same(found: list[PixelWindow], expected: list[PixelWindow]) -> None:
    assert len(found) == len(expected) > 1
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.bounds == theirs.bounds
        assert np.array_equal(mine.values, theirs.values)
        assert np.array_equal(mine.valid, theirs.valid)
    assert any(window.valid.any() for window in found)
    assert not all(window.valid.all() for window in found)


def test_a_server_gives_the_windows_and_the_index_of_the_folder(product, folder, server):
    local, served = SourceSettings(root=folder / "mosaic"), remote(server)
    index = read_index(product, served, [2024], area())
    assert index["path"].to_pylist() == read_index(product, local, [2024], area())["path"].to_pylist()
    assert index["path"].to_pylist() == [f"{ARRAY}/c/0/0/{at}" for at in ("0/0", "0/1", "1/0")]
    assert index["etag"].null_count == 0
    check_same(read_all(open_source(product, served)), read_all(open_source(product, local)))
    # parts of shards were asked for, not shards
    size = (folder / "mosaic" / SHARD).stat().st_size
    assert all(one.span is not None and one.span[1] - one.span[0] <= size for one in server.gets(SHARD))


def test_a_bucket_that_speaks_s3_gives_the_same(product, folder, server):
    settings = SourceSettings(root="s3://world/mosaic", endpoint=server.endpoint, allow_http=True)  # type: ignore[arg-type]
    check_same(
        read_all(open_source(product, settings)), read_all(open_source(product, SourceSettings(root=folder / "mosaic")))
    )


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", SHARD, times=2, status=500),
        Fault("status", "zarr.json", times=1, status=503),
        Fault("cut", SHARD, times=2),
        Fault("short", SHARD, times=1),
        Fault("reset", SHARD, times=2),
        Fault("stall", SHARD, times=1, seconds=2.0),
    ],
    ids=lambda fault: fault.kind,
)
def test_what_fails_once_or_twice_is_tried_again(product, folder, server, fault):
    server.faults.append(fault)
    found = read_all(open_source(product, remote(server)))
    assert fault.hits == fault.times
    check_same(found, read_all(open_source(product, SourceSettings(root=folder / "mosaic"))))


def test_a_bucket_without_a_listing_says_403_of_a_shard_that_is_not_there(product, folder, server):
    local = SourceSettings(root=folder / "mosaic")
    server.faults.append(Fault("status", f"{ARRAY}/c/0/0/1/1$", times=99, status=403, method="HEAD"))
    check_same(read_all(open_source(product, remote(server))), read_all(open_source(product, local)))
    assert server.faults[0].hits > 1  # listing and reading
    server.faults[:] = [Fault("status", "mosaic", times=99, status=403, method="HEAD")]
    with pytest.raises(SourceForbiddenError, match=r"403.*s3:ListBucket"):
        read_index(product, remote(server), [2024], area())


def test_shards_that_a_listing_names_are_not_asked_for(product, server):
    assert list_years(product, remote(server), [2023, 2024]) == [2024]
    assert [one.path for one in server.asked if f"/{ARRAY}/c/" in one.path] == []


def test_what_fails_for_good_is_an_error_that_names_the_shard(product, server):
    source = open_source(product, remote(server))
    server.faults.append(Fault("status", SHARD, times=99, status=503))
    with pytest.raises(SourceUnavailableError, match=SHARD):
        read_all(source)


def test_a_shard_that_changes_after_the_index_saw_it_is_an_error_not_a_mixture(product, folder, server):
    source = open_source(product, remote(server))
    server.change_after(0, f"mosaic/{SHARD}", (folder / "mosaic" / f"{ARRAY}/c/0/0/0/1").read_bytes())
    with pytest.raises(SourceChangedError, match=SHARD):
        read_all(source)


def test_blocks_are_kept_in_the_cache_and_not_asked_for_again(product, server, tmp_path):
    settings = remote(server)
    assert isinstance(settings.root, RemotePath)
    cached = settings.model_copy(update={"root": settings.root.through(CacheLimits(tmp_path, 10**9))})
    first = read_all(open_source(product, cached))
    asked = len(server.gets(SHARD))
    assert asked > 0
    check_same(read_all(open_source(product, cached)), first)
    assert len(server.gets(SHARD)) == asked


def test_a_url_without_a_store_is_named(product, server):
    settings = SourceSettings(root=f"{server.url}/nothing", allow_http=True)  # type: ignore[arg-type]
    with pytest.raises(SourceMissingError, match=r"nothing: found no zarr.json"):
        read_index(product, settings, [2024], area())
