from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.fault_server import Fault, serve
from transforms.errors import IsthmusError
from transforms.lattice import enumerate_places
from warehouse.errors import CacheError, SourceChangedError, SourceForbiddenError, SourceUnavailableError
from warehouse.file_paths import FileFacts, RemotePath
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources.traits import FileTraits, read_traits


def test_a_raster_shows_bands_and_type(tmp_path: Path, products: dict[str, Product], write_tiff: Callable) -> None:
    path = write_tiff(tmp_path / "a.tiff", bands=4, dtype="float32", nodata=None)
    assert read_traits(products["aef"], path) == FileTraits(str(path), 4, dtype="float32")


def test_a_patch_file_shows_dimensions_and_grid(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable
) -> None:
    places = enumerate_places(102.0, 12.0, 102.02, 12.02)
    vectors = np.zeros((len(places), 384), np.float32)
    path = write_eg(tmp_path / "48PTU_2024-01-01_2025-01-01.parquet", places, vectors)
    assert read_traits(products["eg"], path) == FileTraits(str(path), 384, None, True)
    shifted = replace(places, lon=places.lon + 0.0015)
    assert read_traits(products["eg"], write_eg(path, shifted, vectors)).is_on_grid is False


def test_the_real_file_of_2023_names_its_model(real_data: Path, products: dict[str, Product]) -> None:
    path = real_data / "earth_index_schema/21MNT.parquet"
    assert read_traits(products["eg"], path).model == "dinov2_vits14_softcon"


@pytest.mark.parametrize("layout", ["aef", "eg"])
def test_a_damaged_file_shows_nothing(tmp_path: Path, products: dict[str, Product], layout: str) -> None:
    path = tmp_path / "48PTU.parquet"
    path.write_bytes(np.arange(9).tobytes())
    assert read_traits(products[layout], path) == FileTraits(str(path))
    shutil.rmtree(tmp_path)
    assert read_traits(products[layout], path) == FileTraits(str(path))


def test_layouts_that_show_nothing(tmp_path: Path, products: dict[str, Product]) -> None:
    assert read_traits(products["clay_v0"], tmp_path / "x") == FileTraits(str(tmp_path / "x"))


def remote_path(url: str, name: str) -> RemotePath:
    root = SourceSettings(root=url, allow_http=True, tries=2, timeout_s=1).root  # type: ignore[arg-type]
    assert isinstance(root, RemotePath)
    return root / name


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("layout", ["aef", "eg"])
@pytest.mark.parametrize(("status", "error"), [(403, SourceForbiddenError), (503, SourceUnavailableError)])
def test_a_server_that_refuses_or_fails_is_not_a_file_that_shows_nothing(
    tmp_path: Path, products: dict[str, Product], layout: str, status: int, error: type[IsthmusError]
) -> None:
    (tmp_path / "48PTU.parquet").write_bytes(bytes(99))
    with serve(tmp_path) as server:
        server.faults.append(Fault("status", status=status, times=99))
        with pytest.raises(error, match=rf"/48PTU\.parquet: .*{status}"):
            read_traits(products[layout], remote_path(server.url, "48PTU.parquet"))


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("layout", ["aef", "eg"])
def test_a_file_that_is_replaced_meanwhile_is_not_a_file_that_shows_nothing(
    tmp_path: Path, products: dict[str, Product], layout: str
) -> None:
    (tmp_path / "48PTU.parquet").write_bytes(bytes(99))
    with serve(tmp_path) as server:
        path = remote_path(server.url, "48PTU.parquet").at(FileFacts(99, '"the version before"'))
        with pytest.raises(SourceChangedError, match=r"/48PTU\.parquet: changed while it was read"):
            read_traits(products[layout], path)


@pytest.mark.parametrize("layout", ["aef", "eg"])
def test_a_cache_that_fails_is_not_a_file_that_shows_nothing(
    tmp_path: Path, products: dict[str, Product], layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CacheError("blocks", "a full disk")

    for opener in ("open_raster", "open_parquet"):
        monkeypatch.setattr(f"warehouse.sources.traits.{opener}", fail)
    with pytest.raises(CacheError, match="a full disk"):
        read_traits(products[layout], tmp_path / "48PTU.parquet")
