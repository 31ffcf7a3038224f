"""Sources behind URLs give what the folder gives, whatever fails on the way, or an error that says what happened."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from tests.fault_server import Fault, FaultServer, serve
from tests.tiny import copy_world, replace_file
from transforms.area import area_of_boxes
from transforms.errors import IsthmusError
from transforms.patch_rows import UniquePatches
from transforms.utm import UtmBox, project_bbox
from transforms.windows import PixelWindow
from warehouse.errors import (
    CacheError,
    ListingRefusedError,
    SourceChangedError,
    SourceForbiddenError,
    SourceFormatError,
    SourceMissingError,
    SourceRefusedError,
    SourceUnavailableError,
)
from warehouse.file_paths import CacheLimits, RemotePath
from warehouse.objects.block_cache import open_cache
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources import open_pixel_source
from warehouse.sources.aef_cog import AefCogSource
from warehouse.sources.files import locate
from warehouse.sources.index import list_years, read_index
from warehouse.sources.overviews import read_overview
from warehouse.sources.patches import read_unique_patches
from warehouse.sources.pixel_geotiff import PixelGeotiffSource
from warehouse.sources.pixel_table import PixelTableSource
from warehouse.sources.read_ahead import read_ahead

pytestmark = pytest.mark.usefixtures("short_waits")

AEF, EG = "aef/v1", "earthgenome/earthindexembeddings"
YEAR = 2024
CORNER = (101.999, 12.649, 102.001, 12.651)
EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)
QUICK = {"allow_http": True, "tries": 4, "timeout_s": 1.0}

Open = Callable[..., SourceSettings]


@pytest.fixture
def server(tiny_world: Path) -> Iterator[FaultServer]:
    with serve(tiny_world) as running:
        yield running


def remote(server: FaultServer, scheme: str, folder: str, **more: Any) -> SourceSettings:
    if scheme == "http":
        return SourceSettings(root=f"{server.url}/{folder}", **{**QUICK, **more})  # type: ignore[arg-type]
    return SourceSettings(root=f"{scheme}://world/{folder}", endpoint=server.endpoint, **{**QUICK, **more})


def through_cache(source: SourceSettings, folder: Path) -> SourceSettings:
    assert isinstance(source.root, RemotePath)
    return source.model_copy(update={"root": source.root.through(CacheLimits(folder, 10**9))})


def read_pixels(product: Product, source: SourceSettings, index: pa.Table) -> list[str]:
    """Give a digest of each block around the corner of the zones: a block has 64 MB."""
    opened = open_pixel_source(product, source, index)
    assert isinstance(opened, AefCogSource)
    boxes = [project_bbox(CORNER, epsg) for epsg in sorted(set(index["epsg"].to_pylist()))]
    return [_digest(window) for window in opened.iter_blocks(YEAR, boxes)]


def _digest(window: PixelWindow) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(window.values))
    digest.update(np.ascontiguousarray(window.valid))
    return f"{window.bounds} {int(window.valid.sum())} {digest.hexdigest()}"


def read_eg(product: Product, source: SourceSettings, index: pa.Table) -> UniquePatches:
    return read_unique_patches(product, source, index, EVERYWHERE).patches


def check_same_windows(found: list[str], expected: list[str]) -> None:
    assert found == expected
    assert len(found) > 1


def check_same_patches(found: UniquePatches, expected: UniquePatches) -> None:
    assert len(found.patch_id) > 100
    for name in ("patch_id", "vectors", "n_copies", "lon", "lat"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("scheme", ["http", "s3", "gs"])
def test_rows_are_those_of_the_folder(
    tiny_world: Path, server: FaultServer, products: dict[str, Product], tmp_path: Path, scheme: str
) -> None:
    local = {name: SourceSettings(root=tiny_world / folder) for name, folder in (("aef", AEF), ("eg", EG))}
    for name, folder, read, check in (
        ("aef", AEF, read_pixels, check_same_windows),
        ("eg", EG, read_eg, check_same_patches),
    ):
        there = through_cache(remote(server, scheme, folder), tmp_path / "cache")
        index, expected = (read_index(products[name], source, [YEAR]) for source in (there, local[name]))
        same = [column for column in expected.column_names if column != "etag"]
        assert index.select(same) == expected.select(same)
        assert index["is_simulated"].to_pylist() == [True] * len(index)
        first = read(products[name], there, index)
        check(first, read(products[name], local[name], expected))
        asked = len(server.gets())
        check(read(products[name], there, index), first)
        assert len(server.gets()) == asked  # all from the cache


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500, times=3),
        Fault("status", status=503, times=3),
        Fault("slow", seconds=1.5, times=2),
        Fault("stall", seconds=1.5, times=2),
        Fault("cut", times=3),
        Fault("short", times=3),
        Fault("reset", times=3),
    ],
    ids=lambda fault: f"{fault.kind}{fault.status if fault.kind == 'status' else ''}",
)
@pytest.mark.parametrize("name", ["aef", "eg"])
def test_faults_that_pass_leave_no_trace(
    tiny_world: Path, server: FaultServer, products: dict[str, Product], name: str, fault: Fault
) -> None:
    folder, read, check = (AEF, read_pixels, check_same_windows) if name == "aef" else (EG, read_eg, check_same_patches)
    there, local = remote(server, "http", folder), SourceSettings(root=tiny_world / folder)
    index = read_index(products[name], there, [YEAR])
    fault = replace(fault, path=r"\.(tiff|parquet)$")  # it counts
    server.faults.append(fault)
    check(read(products[name], there, index), read(products[name], local, read_index(products[name], local, [YEAR])))
    assert fault.hits == fault.times


@pytest.mark.parametrize("checks_if_match", [True, False])
@pytest.mark.parametrize(("name", "after"), [("aef", 0), ("aef", 1), ("aef", 3), ("eg", 0), ("eg", 1)])
def test_a_file_that_changes_in_mid_read_is_an_error_of_that_file(
    server: FaultServer, products: dict[str, Product], name: str, checks_if_match: bool, after: int
) -> None:
    folder, read = (AEF, read_pixels) if name == "aef" else (EG, read_eg)
    server.checks_if_match = checks_if_match
    there = remote(server, "http", folder)
    index = read_index(products[name], there, [YEAR])
    victim = f"{folder}/{index['path'][0].as_py()}"
    server.change_after(after, victim, (server.root / victim).read_bytes()[::-1])
    with pytest.raises(SourceChangedError, match=rf"{re.escape(victim)}: changed while it was read: .*Run again"):
        read(products[name], there, index)
    # run again: the index is read anew, and what is there now is read (here: bytes in reverse)
    with pytest.raises(SourceFormatError, match=re.escape(victim)):
        read(products[name], there, read_index(products[name], there, [YEAR]))


@pytest.mark.parametrize("name", ["aef", "eg"])
def test_a_server_that_stays_down_is_said(server: FaultServer, products: dict[str, Product], name: str) -> None:
    folder, read = (AEF, read_pixels) if name == "aef" else (EG, read_eg)
    there = remote(server, "http", folder)
    index = read_index(products[name], there, [YEAR])
    server.faults.append(Fault("status", status=503, times=10**6, path=r"\.(tiff|parquet)$", after=2))
    with pytest.raises(SourceUnavailableError, match=r"4 tries .*503 Service Unavailable.*run again later"):
        read(products[name], there, index)


def test_files_that_are_gone_are_said(tiny_world: Path, tmp_path: Path, products: dict[str, Product]) -> None:
    root = copy_world(tiny_world, tmp_path / "world")
    with serve(root) as server:
        there = remote(server, "http", AEF)
        index = read_index(products["aef"], there, [YEAR])
        gone = index["path"][0].as_py()
        (root / AEF / gone).unlink()
        with pytest.raises(SourceMissingError, match=re.escape(gone) + ".*404 Not Found"):
            read_pixels(products["aef"], there, index)
        # listed anew: its row has no size, and reading says so without asking
        index = read_index(products["aef"], there, [YEAR])
        assert index["size_bytes"].null_count == 1
        with pytest.raises(SourceMissingError, match=re.escape(gone)):
            read_pixels(products["aef"], there, index)


@pytest.mark.parametrize("name", ["aef", "eg"])
def test_a_file_that_came_after_the_index_is_not_read_in_whichever_version(
    server: FaultServer, products: dict[str, Product], name: str
) -> None:
    folder, read = (AEF, read_pixels) if name == "aef" else (EG, read_eg)
    there = remote(server, "http", folder)
    index = read_index(products[name], there, [YEAR])
    path, etags = index["path"][0].as_py(), index["etag"].to_pylist()
    missed = index.set_column(index.column_names.index("etag"), "etag", pa.array([None, *etags[1:]], pa.string()))
    with pytest.raises(SourceMissingError, match=re.escape(path) + ".*when the index was made.*Run again"):
        read(products[name], there, missed)


class TestBucketsThatAnswer403ForWhatIsNotThere:
    """They grant s3:GetObject alone, and so cannot tell 404 from 403."""

    def test_the_index_is_found_wherever_it_is(
        self, tiny_world: Path, tmp_path: Path, products: dict[str, Product]
    ) -> None:
        root = copy_world(tiny_world, tmp_path / "world")
        annual = root / AEF / "annual/aef_index.parquet"
        annual.rename(root / AEF / "aef_index.parquet")
        with serve(root) as server:
            server.faults.append(Fault("status", status=403, times=99, method="HEAD", path=r"annual/aef_index|stac"))
            index = read_index(products["aef"], remote(server, "s3", AEF), [YEAR])
            assert len(index) > 1
            assert not [one for one in server.asked if "stac" in one.path]  # found before
            server.faults.append(Fault("status", status=403, times=99, method="HEAD", path="aef_index"))
            with pytest.raises(SourceForbiddenError, match=r"annual/aef_index\.parquet.*403.*s3:ListBucket"):
                read_index(products["aef"], remote(server, "s3", AEF), [YEAR])

    def test_tiles_that_are_not_there_are_left_out(
        self, tiny_world: Path, server: FaultServer, products: dict[str, Product]
    ) -> None:
        local = read_index(products["eg"], SourceSettings(root=tiny_world / EG), [YEAR])
        names = "|".join(re.escape(name) for name in local["path"].to_pylist())
        server.has_listing = False
        server.faults[:] = [
            Fault("status", status=403, times=999, method="HEAD", path=rf"^(?!.*({names})$).*\.parquet$")
        ]
        there = remote(server, "http", EG)
        area = area_of_boxes([(101.0, 12.0, 103.0, 13.0)])
        assert read_index(products["eg"], there, [YEAR], area)["path"].to_pylist() == local["path"].to_pylist()
        assert server.faults[0].hits > 0
        server.faults[:] = [Fault("status", status=403, times=999, method="HEAD", path=r"\.parquet$")]
        with pytest.raises(SourceForbiddenError, match=r"403.*s3:ListBucket"):
            read_index(products["eg"], there, [YEAR], area)


def test_a_damaged_raster_is_told_from_a_bad_line(
    tiny_world: Path, tmp_path: Path, products: dict[str, Product]
) -> None:
    root = copy_world(tiny_world, tmp_path / "world")
    with serve(root) as server:
        there = remote(server, "http", AEF)
        path = read_index(products["aef"], there, [YEAR])["path"][0].as_py()
        whole = (root / AEF / path).read_bytes()
        replace_file(root / AEF / path, whole[: len(whole) // 2])
        index = read_index(products["aef"], there, [YEAR])
        with pytest.raises(SourceFormatError, match=re.escape(path) + ".*length.*cut short"):
            read_pixels(products["aef"], there, index)


def test_names_are_asked_for_where_nothing_lists_them(
    tiny_world: Path, server: FaultServer, products: dict[str, Product]
) -> None:
    local = read_index(products["eg"], SourceSettings(root=tiny_world / EG), [YEAR])
    server.has_listing = False
    there = remote(server, "http", EG)
    west, east = (pc.min_max(local[side]).as_py() for side in ("west_deg", "east_deg"))
    area = area_of_boxes([(west["min"], 12.0, east["max"], 13.0)])
    assert read_index(products["eg"], there, [YEAR], area)["path"].to_pylist() == local["path"].to_pylist()
    with pytest.raises(ListingRefusedError, match=r"s3://.*\[area\]"):
        read_index(products["eg"], there, [YEAR])


def test_years_are_listed_without_asking_for_files(server: FaultServer, products: dict[str, Product]) -> None:
    assert list_years(products["aef"], remote(server, "http", AEF), range(1980, 2101)) == [2023, 2024]
    assert list_years(products["eg"], remote(server, "http", EG), range(1980, 2101)) == [2024]
    assert not [one for one in server.asked if one.path.endswith(".tiff")]


def test_a_root_without_files_is_said(server: FaultServer, products: dict[str, Product]) -> None:
    with pytest.raises(SourceMissingError, match=r"nowhere/annual/aef_index\.parquet.*sources\.aef\.root"):
        read_index(products["aef"], remote(server, "http", "nowhere"), [YEAR])
    with pytest.raises(SourceMissingError, match=r"sources\.eg\.root"):
        read_index(products["eg"], remote(server, "s3", "nowhere"), [YEAR])


def test_data_are_only_simulated_where_they_say_so(
    tiny_world: Path, tmp_path: Path, products: dict[str, Product]
) -> None:
    root = copy_world(tiny_world, tmp_path / "world")
    (root / "SIMULATED.json").unlink()
    with serve(root) as server:
        index = read_index(products["aef"], remote(server, "http", AEF), [YEAR])
        assert not any(index["is_simulated"].to_pylist())
        # a bucket that may not be listed answers 403 for what is not there
        server.faults.append(Fault("status", status=403, times=99, method="HEAD", path="SIMULATED"))
        index = read_index(products["aef"], remote(server, "http", AEF), [YEAR])
        assert not any(index["is_simulated"].to_pylist())


def test_tiles_of_a_block_are_asked_for_together(
    server: FaultServer, products: dict[str, Product], tmp_path: Path
) -> None:
    there = through_cache(remote(server, "http", AEF), tmp_path / "cache")
    index = read_index(products["aef"], there, [YEAR])
    read_pixels(products["aef"], there, index)
    assert isinstance(there.root, RemotePath)
    assert there.root.access.cache is not None
    counts = open_cache(there.root.access.cache).counts
    fetched = sum(one.span[1] - one.span[0] for one in server.gets(".tiff") if one.span)
    sizes = pc.sum(index["size_bytes"]).as_py()
    assert fetched <= sizes  # no byte twice
    assert counts.stored > 0


def test_rasters_that_gdal_decodes_are_read_in_any_thread(
    tmp_path: Path, write_tiff: Callable[..., Path], make_product: Callable[..., Product]
) -> None:
    for number in range(3):
        write_tiff(
            tmp_path / "files" / f"a{number}.tif", west=200_000.0 + 960 * number, bands=8, dtype="float32",
            compress="deflate", nodata=None,
        )  # fmt: skip
    product = make_product(name="mine", grain="pixel", layout="pixel_geotiff", dims=8, pixel_m=10.0)
    with serve(tmp_path) as server:
        there = SourceSettings(root=f"{server.url}/files", files="*.tif", year=YEAR, **QUICK)  # type: ignore[arg-type]
        local = SourceSettings(root=tmp_path / "files", files="*.tif", year=YEAR)
        index, expected = (read_index(product, source, [YEAR]) for source in (there, local))
        box = [UtmBox(32648, 200_000, 1_400_000, 210_000, 1_410_000)]
        wanted = [_digest(window) for window in _open_rasters(product, local, expected).iter_blocks(YEAR, box)]
        source = _open_rasters(product, there, index)
        # opened, read and closed in a thread of its own; twice at once
        readers = [read_ahead(source.iter_blocks(YEAR, box)) for _ in range(2)]
        found = list(zip(*([_digest(window) for window in reader] for reader in readers), strict=True))
        assert found == [(digest, digest) for digest in wanted]
        server.faults.append(Fault("status", status=500, times=99, path=r"a1\.tif", after=1))
        with pytest.raises(SourceUnavailableError, match=r"a1\.tif.*500 Internal Server Error"):
            list(read_ahead(source.iter_blocks(YEAR, box)))


@pytest.mark.parametrize(
    "error",
    [CacheError("blocks", "a full disk"), SourceRefusedError("u", "403", "-"), SourceChangedError("u", "1", "2")],
    ids=lambda error: type(error).__name__,
)
def test_what_says_nothing_of_a_file_ends_its_listing(
    tmp_path: Path, write_tiff: Callable[..., Path], make_product: Callable[..., Product],
    monkeypatch: pytest.MonkeyPatch, error: IsthmusError,
) -> None:  # fmt: skip
    """Its row would have no place, so no shard would read it and nobody would miss it."""
    write_tiff(tmp_path / "a.tif", bands=8, dtype="float32", nodata=None)
    product = make_product(name="mine", grain="pixel", layout="pixel_geotiff", dims=8, pixel_m=10.0)

    def fail(*_: object) -> None:
        raise error

    with serve(tmp_path) as server:
        there = SourceSettings(root=server.url, files="*.tif", year=YEAR, **QUICK)  # type: ignore[arg-type]
        monkeypatch.setattr("warehouse.objects.remote_file.RemoteFile.read_spans", fail)
        with pytest.raises(type(error)):
            read_index(product, there, [YEAR])


def _open_rasters(product: Product, source: SourceSettings, index: pa.Table) -> PixelGeotiffSource:
    opened = open_pixel_source(product, source, index)
    assert isinstance(opened, PixelGeotiffSource)
    return opened


def test_overviews_are_read_by_one_version(tiny_world: Path, server: FaultServer, products: dict[str, Product]) -> None:
    there = remote(server, "http", AEF)
    row = read_index(products["aef"], there, [YEAR]).to_pylist()[0]
    found = read_overview(locate(there.root, row), products["aef"], 32)
    wanted = read_overview(tiny_world / AEF / row["path"], products["aef"], 32)
    np.testing.assert_array_equal(found.values, wanted.values)
    assert found.bounds == wanted.bounds
    server.change_after(0, f"{AEF}/{row['path']}", b"another file")
    with pytest.raises(SourceChangedError, match=re.escape(row["path"])):
        read_overview(locate(there.root, row), products["aef"], 32)


def test_tables_of_any_kind_are_read(tmp_path: Path, make_product: Callable[..., Product]) -> None:
    (tmp_path / "t").mkdir()
    table = pa.table({"lon": [102.1, 102.2], "lat": [12.6, 12.7], "v0": [0.6, 0.0], "v1": [0.8, 1.0]})
    pq.write_table(table, tmp_path / "t/a.parquet")
    csv.write_csv(table, tmp_path / "t/b.csv")
    product = make_product(
        name="mine", grain="pixel", layout="pixel_table", dims=2, pixel_m=10.0, vector_columns="v{:d}"
    )
    with serve(tmp_path) as server:
        there = SourceSettings(root=f"{server.url}/t", files="*", year=YEAR, **QUICK)  # type: ignore[arg-type]
        index = read_index(product, there, [YEAR])
        opened = open_pixel_source(product, there, index)
        assert isinstance(opened, PixelTableSource)
        rows = {path: points.vectors.tolist() for path, points, _ in opened.iter_points(YEAR)}
    assert list(rows) == ["a.parquet", "b.csv"]
    np.testing.assert_allclose(rows["a.parquet"], [[0.6, 0.8], [0.0, 1.0]], rtol=1e-6)
    assert rows["a.parquet"] == rows["b.csv"]
