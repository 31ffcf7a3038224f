from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from tests.warehouse.labels.label_worlds import EPSG, RASTER, open_warehouse, places_of
from warehouse.file_access import stat_file
from warehouse.label_sources import open_patch_labels, open_pixel_labels
from warehouse.labels.rasters import RasterLabels


def write_raster(root: Path, name: str = "a.tif") -> Path:
    """Three stripes of 1 km from west to east: water, tree, and a code without a class."""
    codes = np.repeat(np.array([[80, 10, 99]], np.uint8), 100, axis=1).repeat(100, axis=0)
    path = root / "labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = Affine(10, 0, 300_000, 0, -10, 1_400_000)
    profile = {"driver": "GTiff", "count": 1, "height": 100, "width": 300, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=f"EPSG:{EPSG}", transform=affine, **profile) as file:
        file.write(codes[None])
    return path


def test_rasters_label_pixels(tmp_path: Path) -> None:
    write_raster(tmp_path)
    source = open_pixel_labels(open_warehouse(tmp_path, RASTER), "cover")
    assert isinstance(source, RasterLabels)
    assert source.class_names == ("water", "tree", "crop")
    pixels, _ = places_of([300_005, 300_995, 301_005, 302_500, 299_000], [1_399_500] * 5)
    ids, split = source.label_pixels(pixels)
    assert ids.tolist() == [0, 0, 1, -1, -1]  # a code without a class, and a place outside, have no label
    assert ids.dtype == np.int16
    assert split.fold.tolist() == split.group.tolist() == [-1] * 5


def test_rasters_label_patches(tmp_path: Path) -> None:
    write_raster(tmp_path)
    source = open_patch_labels(open_warehouse(tmp_path, RASTER), "cover")
    _, patches = places_of([300_500, 301_080, 302_000, 310_000], [1_399_500] * 4)
    labels, split = source.label_patches(patches)
    assert labels.label.tolist() == [0, 1, 1, -1]
    # 160 m around 301,080 begin 80 m before the border: 8 of 32 columns are water
    np.testing.assert_allclose(labels.fractions[:3], [[1, 0, 0], [0.25, 0.75, 0], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(labels.valid_share, [1, 1, 0.5, 0])
    assert len(split.fold) == 4


def test_patches_are_sampled_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster(tmp_path)
    source = open_patch_labels(open_warehouse(tmp_path, RASTER), "cover")
    _, patches = places_of(np.linspace(300_200, 301_900, 7).tolist(), [1_399_500] * 7)
    whole, _ = source.label_patches(patches)
    monkeypatch.setattr("warehouse.labels.rasters.PATCHES_AT_ONCE", 3)
    parts, _ = source.label_patches(patches)
    np.testing.assert_array_equal(parts.fractions, whole.fractions)
    assert len(set(whole.label.tolist())) == 2
    none, _ = source.label_patches(patches.take(np.arange(0)))
    assert none.fractions.shape == (0, 3)


def test_provenance_of_rasters(tmp_path: Path) -> None:
    path = write_raster(tmp_path)
    label = {**RASTER, "title": "Cover 2021", "attribution": "By them."}
    record = open_patch_labels(open_warehouse(tmp_path, label), "cover").provenance(["core_grid__patches"])
    assert (record.product, record.release, record.attribution) == ("cover", "Cover 2021", ("By them.",))
    assert [(file.path, file.etag) for file in record.sources] == [("a.tif", stat_file(path).etag)]
    assert record.inputs == ("core_grid__patches",)
    assert record.is_simulated is False


@pytest.mark.parametrize("is_marked", [True, False])
def test_simulated_rasters_say_so(tmp_path: Path, is_marked: bool) -> None:
    write_raster(tmp_path)
    if is_marked:
        (tmp_path / "SIMULATED.json").write_text("{}")
    source = open_patch_labels(open_warehouse(tmp_path, RASTER), "cover")
    assert source.is_simulated == source.provenance([]).is_simulated == is_marked
