"""Cutting images into patches: places, bands, nodata, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.warehouse.images import S2_NAMES, digital_numbers, write_image
from transforms.dofa.presets import PRESETS, own_bands
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.sources.image_bands import choose_bands, mask_nodata
from warehouse.sources.image_patches import ImagePlan, plan_image

S2 = PRESETS["sentinel2"]


def plan(path: Path, chosen: tuple[str, ...] = (), patch_m: float | None = 160.0) -> ImagePlan:
    return plan_image(path, S2, chosen, patch_m, 224)


def read_all(found: ImagePlan) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """All patches together: ids, values, boxes, nodata shares."""
    parts = list(found.iter_patches())
    ids = [name for part in parts for name in part.ids]
    return ids, *(np.concatenate([getattr(p, name) for p in parts]) for name in ("values", "boxes", "nodata_share"))


@pytest.mark.parametrize("is_bottom_up", [False, True])
def test_patches_hold_the_pixels_of_their_boxes(tmp_path: Path, is_bottom_up: bool) -> None:
    values = digital_numbers(50, 70)
    found = plan(write_image(tmp_path / "scene.tif", values, is_bottom_up=is_bottom_up))
    assert (found.epsg, found.n_patches, found.patch_m) == (32633, 12, 160.0)
    ids, patches, boxes, share = read_all(found)
    assert ids == [f"scene_{row}_{column}" for row in range(3) for column in range(4)]
    assert not share.any()
    for number, box in enumerate(boxes):
        row, column = divmod(number, 4)
        west, north = 500_000 + 160 * column, 5_200_000 - 160 * row
        np.testing.assert_array_equal(box, [west, north - 160, west + 160, north])
        expected = values[:, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
        np.testing.assert_array_equal(patches[number], expected)


def test_wide_images_are_read_in_parts(tmp_path: Path) -> None:
    values = digital_numbers(16, 16 * 40)
    ids, patches, _, _ = read_all(plan(write_image(tmp_path / "wide.tif", values)))
    assert ids[-1] == "wide_0_39"
    np.testing.assert_array_equal(np.concatenate(list(patches), axis=2), values)


def test_default_side_is_that_of_the_model(tmp_path: Path) -> None:
    found = plan(write_image(tmp_path / "scene.tif", digital_numbers(230, 460), pixel_m=20), patch_m=None)
    assert (found.patch_m, found.n_patches) == (4480.0, 2)


def test_bands_are_found_by_name_number_or_description(tmp_path: Path) -> None:
    values = digital_numbers(16, 16, bands=4)
    path = write_image(tmp_path / "scene.tif", values, names=("red", "B3", "blue", "nir"))
    found = plan(path, ("B04=red", "B02=3", "B08=nir"))
    assert found.preset.band_names == ("B02", "B04", "B08")
    assert found.bands == (3, 1, 4)
    np.testing.assert_array_equal(read_all(found)[1][0], values[[2, 0, 3]])
    assert choose_bands(path, ["B12", None, "b2", "B03", "B04", "B5", "B06", "B07", "B08", "B11"], S2, ()) == [
        3, 4, 5, 6, 7, 8, 9, 10, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("descriptions", "chosen", "message"),
    [
        ([None] * 9, (), r"found bands \['1 \(no name\)', .*expected the names \['B02'.*--bands B02=1,B03=2"),
        (list(S2_NAMES[:8]), (), r"expected the names"),
        (list(S2_NAMES), ("B99=1", "B02=10"), r"--bands B99=1,B02=10.*a band of 1\.\.9"),
        (list(S2_NAMES), ("B02=1", "B2=2"), r"each name once"),
        (list(S2_NAMES), ("B02",), r"--bands B02, expected name=band"),
    ],
)
def test_bands_that_cannot_be_found(descriptions: list, chosen: tuple[str, ...], message: str) -> None:
    with pytest.raises(SourceFormatError, match=message):
        choose_bands(Path("scene.tif"), descriptions, S2, chosen)


def test_own_bands_are_those_of_the_file_in_order() -> None:
    own = own_bands([0.49, 0.8], [0, 0], [1, 1])
    assert choose_bands(Path("x.tif"), [None, None], own, ()) == [1, 2]
    assert choose_bands(Path("x.tif"), [None, None, None], own, ("2=3", "1=1")) == [1, 3]
    with pytest.raises(SourceFormatError, match="found 3 bands, expected 2, one per wavelength"):
        choose_bands(Path("x.tif"), [None] * 3, own, ())


def test_nodata_is_what_the_file_declares_and_zero_in_all_bands(tmp_path: Path) -> None:
    values = digital_numbers(32, 16)
    values[:, :4] = 0
    values[2, 10:12] = 0  # one band alone is a dark pixel
    values[5, 16:20] = 7
    path = write_image(tmp_path / "scene.tif", values, nodata=7)
    _, patches, _, share = read_all(plan(path))
    np.testing.assert_allclose(share, [0.25, 0.25])
    assert np.isnan(patches[0, :, :4]).all()
    assert np.isnan(patches[1, :, :4]).all()
    assert patches[0, 2, 10, 0] == 0
    sample = plan(path).read_sample()
    assert sample.shape == (9, 32, 16)
    assert np.isnan(sample).mean() == 0.25


def test_nan_in_one_band_is_nodata_in_all() -> None:
    values = np.ones((2, 3), np.float32)
    values[1, 0] = np.nan
    assert np.isnan(mask_nodata(values, float("nan"), None)).tolist() == [[True, False, False]] * 2


def test_simulated_images_are_known_by_mark_and_tag(tmp_path: Path) -> None:
    values = digital_numbers(16, 16)
    assert not plan(write_image(tmp_path / "a" / "scene.tif", values)).is_simulated
    assert plan(write_image(tmp_path / "b" / "scene.tif", values, tags={"IS_SIMULATED": "true"})).is_simulated
    marked = write_image(tmp_path / "world" / "images" / "scene.tif", values)
    (tmp_path / "world" / "SIMULATED.json").write_text("{}")
    assert plan(marked).is_simulated


@pytest.mark.parametrize(
    ("changes", "patch_m", "message"),
    [
        ({"epsg": 4326, "west": 14.0, "north": 47.0, "pixel_m": 1e-4}, None, r"UTM zone.*gdalwarp -t_srs EPSG:32633"),
        ({"epsg": 3035, "west": 4.4e6, "north": 2.7e6}, None, r"EPSG:3035.*gdalwarp -t_srs EPSG:326\d\d"),
        ({"crs": None}, None, "gdal_edit.py -a_srs"),
        ({}, 155.0, r"155 m, 15\.5 pixels of 10 m, expected a whole number"),
        ({}, 3200.0, r"40 x 30 pixels, expected at least one patch of 320 x 320.*at most 300"),
    ],
)
def test_images_that_cannot_be_cut(tmp_path: Path, changes: dict, patch_m: float | None, message: str) -> None:
    path = write_image(tmp_path / "scene.tif", digital_numbers(30, 40), **changes)
    with pytest.raises(SourceFormatError, match=message):
        plan(path, patch_m=patch_m)


def test_pixels_that_are_no_squares(tmp_path: Path) -> None:
    from affine import Affine

    wide = Affine(20, 0, 500_000, 0, -10, 5_200_000)
    path = write_image(tmp_path / "scene.tif", digital_numbers(30, 40), transform=wide)
    with pytest.raises(SourceFormatError, match="found 20 x 10 m, expected squares"):
        plan(path)


def test_missing_and_damaged_images(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match=r"scene\.tif: found no such file"):
        plan(tmp_path / "scene.tif")
    path = write_image(tmp_path / "bad.tif", digital_numbers(64, 64), compress="deflate")
    found = plan(path)
    content = bytearray(path.read_bytes())
    content[5_000:9_000] = bytes(4_000)
    path.write_bytes(content)
    with pytest.raises(SourceFormatError, match=r"bad\.tif: blocks: found a block that does not decode"):
        list(found.iter_patches())
