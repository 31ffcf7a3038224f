from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from transforms.lattice import enumerate_places
from warehouse.products import Product
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
