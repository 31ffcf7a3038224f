"""Patch folders of BigEarthNet, the real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from transforms.dofa.presets import PRESETS
from transforms.dofa.scaling import check_value_range
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.sources.bigearthnet_bands import BAND_NAMES, is_patch_folder, plan_folder, read_patch_bands


@pytest.fixture(scope="module")
def folders(real_data: Path) -> list[Path]:
    return sorted(path for path in (real_data / "bigearthnet").iterdir() if is_patch_folder(path))


def bilinear_reference(values: np.ndarray, side: int) -> np.ndarray:
    """Values at the centres of smaller pixels, weighted by distance to the four nearest; edges are held."""
    factor = values.shape[0] / side
    out = np.empty((side, side))
    for row in range(side):
        for column in range(side):
            y, x = (np.clip((place + 0.5) * factor - 0.5, 0, len(values) - 1) for place in (row, column))
            top, left = int(y), int(x)
            below, right = min(top + 1, len(values) - 1), min(left + 1, len(values) - 1)
            dy, dx = y - top, x - left
            out[row, column] = (
                (1 - dy) * ((1 - dx) * values[top, left] + dx * values[top, right])
                + dy * ((1 - dx) * values[below, left] + dx * values[below, right])
            )  # fmt: skip
    return out


def test_all_eleven_patches_are_read(folders: list[Path]) -> None:
    assert len(folders) == 11
    for folder in folders:
        stack = read_patch_bands(folder)
        assert stack.values.shape == (12, 120, 120)
        assert stack.values.dtype == np.float32
        assert (stack.name, stack.bands) == (folder.name, BAND_NAMES)
        assert (stack.box.east - stack.box.west, stack.box.north - stack.box.south) == (1200, 1200)
        assert stack.values.min() > 0
        assert stack.values.max() < 20_000


@pytest.mark.parametrize("band", ["B02", "B05", "B09"])
def test_bands_are_resampled_bilinearly(folders: list[Path], band: str) -> None:
    with rasterio.open(folders[0] / f"{folders[0].name}_{band}.tif") as file:
        expected = bilinear_reference(file.read(1).astype(float), 120)
    found = read_patch_bands(folders[0], [band]).values[0]
    assert np.abs(found - expected).max() <= 0.5 + 1e-6  # whole digital numbers


def test_a_folder_is_one_patch_of_a_preset(folders: list[Path]) -> None:
    plan = plan_folder(folders[0], PRESETS["sentinel2_10"], (), None)
    (patches,) = plan.iter_patches()
    assert patches.ids == (folders[0].name,)
    assert patches.values.shape == (1, 10, 120, 120)
    assert not patches.nodata_share.any()
    stack = read_patch_bands(folders[0], plan.preset.band_names)
    np.testing.assert_array_equal(patches.values[0], stack.values)
    np.testing.assert_array_equal(plan.read_sample(), stack.values)
    assert patches.boxes[0].tolist() == [stack.box.west, stack.box.south, stack.box.east, stack.box.north]
    assert plan_folder(folders[0], PRESETS["sentinel2"], ("B04=B04",), 1200.0).preset.band_names == ("B04",)


def test_values_pass_the_check(folders: list[Path]) -> None:
    for preset in (PRESETS["sentinel2"], PRESETS["sentinel2_12"]):
        samples = [plan_folder(folder, preset, (), None).read_sample() for folder in folders]
        check_value_range(np.concatenate([s.reshape(len(s), -1) for s in samples], axis=1), preset, "BigEarthNet")
        for folder, sample in zip(folders, samples, strict=True):
            check_value_range(sample, preset, folder.name)


def test_other_sides_and_sensors_are_refused(folders: list[Path]) -> None:
    with pytest.raises(SourceFormatError, match="2240 m, expected 1200 m: a folder is one patch"):
        plan_folder(folders[0], PRESETS["sentinel2"], (), 2240.0)
    with pytest.raises(SourceFormatError, match=r"expected the names \['VV', 'VH'\]"):
        plan_folder(folders[0], PRESETS["sentinel1"], (), None)


def test_incomplete_and_odd_folders_are_refused(folders: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / folders[0].name
    shutil.copytree(folders[0], folder, copy_function=shutil.copy)
    folder.chmod(0o755)
    for band in ("B03", "B8A"):
        (folder / f"{folder.name}_{band}.tif").unlink()
    with pytest.raises(SourceMissingError, match=r"found no .*_B03\.tif, .*_B8A\.tif, expected one GeoTIFF"):
        read_patch_bands(folder)
    other = folders[1] / f"{folders[1].name}_B03.tif"
    shutil.copy(other, folder / f"{folder.name}_B03.tif")
    with pytest.raises(SourceFormatError, match=r"_B03\.tif: ground: found"):
        read_patch_bands(folder, ["B02", "B03"])
    with rasterio.open(folder / f"{folder.name}_B03.tif") as file:
        profile = file.profile | {"height": 100, "width": 100}
    (folder / f"{folder.name}_B03.tif").unlink()
    with rasterio.open(folder / f"{folder.name}_B03.tif", "w", **profile) as file:
        file.write(np.ones((1, 100, 100), np.uint16))
    with pytest.raises(SourceFormatError, match="found 1 bands of 100 x 100 pixels"):
        read_patch_bands(folder, ["B03"])
    assert not is_patch_folder(tmp_path)
