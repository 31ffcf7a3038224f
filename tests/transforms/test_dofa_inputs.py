"""DOFA's checkpoints, presets and scaling: what fits, what is refused and with which words."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.dofa.checkpoint import CheckpointError, match_checkpoint
from transforms.dofa.presets import PRESETS, UnknownPresetError, find_preset, own_bands
from transforms.dofa.scaling import ValueRangeError, check_value_range, doubt_values, scale_values
from transforms.dofa.sizes import SIZES, DofaSize
from transforms.dofa.vit import weight_shapes
from transforms.errors import ShapeError

BASE = SIZES["base"]
S2, S1 = PRESETS["sentinel2"], PRESETS["sentinel1"]
#: In the authors' checkpoints beside what is read.
EXTRA = {
    "mask_token": (1, 1, 512), "norm.weight": (768,), "norm.bias": (768,),
    "projector.weight": (768, 768), "projector.bias": (768,),
}  # fmt: skip


class Tensor:
    """A shape without memory."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def checkpoint(size: DofaSize = BASE, **changes: tuple[int, ...] | None) -> dict:
    """A checkpoint as torchgeo publishes it."""
    shapes = {name: shape for name, shape in weight_shapes(size).items() if not name.startswith("fc_norm")}
    return {name: Tensor(shape) for name, shape in {**shapes, **changes}.items() if shape is not None}


def test_the_authors_checkpoint_fits() -> None:
    matched = match_checkpoint(checkpoint(**EXTRA), BASE, "DOFA_ViT_base_e100.pth")
    assert matched.dropped == tuple(EXTRA)
    assert matched.initialised == ("fc_norm.weight", "fc_norm.bias")
    assert (matched.initial["fc_norm.weight"] == 1).all()
    assert not matched.initial["fc_norm.bias"].any()
    assert set(matched.weights) | set(matched.initial) == set(weight_shapes(BASE))


def test_a_checkpoint_with_a_head_of_its_own_fits() -> None:
    own = checkpoint(**{"fc_norm.weight": (768,), "fc_norm.bias": (768,), "head.weight": (45, 768), "head.bias": (45,)})
    matched = match_checkpoint(own, BASE, "tuned.pth")
    assert (matched.initialised, dict(matched.initial)) == ((), {})
    assert matched.dropped == ("head.weight", "head.bias")


def test_all_that_is_wrong_is_listed_at_once() -> None:
    changes = {
        "cls_token": None, "blocks.3.attn.qkv.bias": None, "decoder.weight": (4, 4), "blocks.0.norm1.weight": (5,),
    }  # fmt: skip
    with pytest.raises(CheckpointError) as caught:
        match_checkpoint({**checkpoint(**changes), "epoch": 99}, BASE, "odd.pth")
    text = str(caught.value)
    assert text.startswith("odd.pth: found no cls_token, blocks.3.attn.qkv.bias, expected all 168; ")
    assert "found decoder.weight, epoch, which the model does not have" in text
    assert "1 weights of another shape: 'blocks.0.norm1.weight': found (5,), expected (768,)" in text
    assert "DOFA v2" in text


def test_what_a_checkpoint_may_be_instead_is_said() -> None:
    with pytest.raises(CheckpointError, match="This is DOFA large: choose --model large"):
        match_checkpoint(checkpoint(SIZES["large"]), BASE, "x.pth")
    with pytest.raises(CheckpointError, match="This is DOFA base: choose --model base"):
        match_checkpoint(checkpoint(**EXTRA), SIZES["large"], "x.pth")
    with pytest.raises(CheckpointError, match="inside 'model': save that entry alone"):
        match_checkpoint({"model": checkpoint(), "epoch": 99}, BASE, "x.pth")
    with pytest.raises(CheckpointError, match="'cls_token': found no tensor"):
        match_checkpoint({**checkpoint(), "cls_token": "text"}, BASE, "x.pth")


def test_presets_are_as_published() -> None:
    published = {0.665: 114.1099739, 0.56: 114.81779093, 0.49: 126.63977424, 0.705: 84.33539309, 0.74: 97.84789168,
                 0.783: 103.94461911, 0.842: 101.435633, 1.61: 72.32804172, 2.19: 56.66528851}  # fmt: skip
    assert {band.wavelength_um: band.mean for band in S2.bands} == published
    assert all(band.statistics_of == band.name for band in (*S2.bands, *S1.bands))
    assert S1.wavelengths_um == (3.75, 3.75)
    assert [len(PRESETS[f"sentinel2{n}"].bands) for n in ("", "_10", "_12")] == [9, 10, 12]
    like = {band.name: band.statistics_of for band in PRESETS["sentinel2_12"].bands if band.statistics_of != band.name}
    assert like == {"B01": "B02", "B8A": "B08", "B09": "B08"}
    with pytest.raises(UnknownPresetError, match=r"found 'landsat', expected one of .*'sentinel1'.*--wavelengths"):
        find_preset("landsat")


def test_scaling_is_that_of_a_slow_reference() -> None:
    values = np.random.default_rng(0).uniform(0, 9000, (2, 9, 3, 4)).astype(np.float32)
    values[1, 2, 0, 0] = np.nan
    found = scale_values(values, S2)
    for (image, band, row, column), value in np.ndenumerate(values):
        facts = S2.bands[band]
        byte = min(max(value * (255 / 3558 if facts.name in ("B02", "B03", "B04") else 1 / 32), 0), 255)
        expected = 0 if np.isnan(value) else (byte - facts.mean) / facts.std
        assert found[image, band, row, column] == pytest.approx(expected, abs=1e-4)


def test_own_bands_are_standardised_only() -> None:
    preset = own_bands([0.49, 0.8], [-3.0, 10.0], [2.0, 5.0])
    found = scale_values(np.full((1, 2, 1, 1), 500, np.float32), preset)
    np.testing.assert_allclose(found.ravel(), [503 / 2, 490 / 5])


@pytest.mark.parametrize(
    ("means", "stds", "message"),
    [
        ([1.0], [1.0, 1.0], "2 wavelengths, 1 means and 2 deviations"),
        ([1.0, 2.0], [1.0, 0.0], "stds above 0"),
        ([1.0, float("nan")], [1.0, 1.0], "finite numbers"),
    ],
)
def test_incomplete_own_bands_are_refused(means: list[float], stds: list[float], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        own_bands([0.49, 0.56], means, stds)


def sentinel2_values(bands: int = 9) -> np.ndarray:
    return (np.random.default_rng(1).gamma(3, 500, (bands, 5000)) + 50).astype(np.float32)


def sentinel1_values() -> np.ndarray:
    return np.random.default_rng(2).gamma(4, 40, (2, 5000)).astype(np.float32)


@pytest.mark.parametrize(
    ("preset", "values", "message"),
    [
        ("sentinel2", sentinel2_values() / 1e4, "reflectance in 0..1: give --multiply 10000"),
        ("sentinel2", sentinel2_values() / 40 % 256, "8-bit image"),
        ("sentinel2", np.linspace(-25, 0, 9000, dtype=np.float32).reshape(9, -1), "radar in dB"),
        ("sentinel2", sentinel2_values() * 0 + 40_000, "stretched to 16 bits"),
        (
            "sentinel1",
            10 * np.log10(sentinel1_values() ** 2 / 5e5 + 1e-4),
            "backscatter in dB.*--wavelengths 3.75,3.75",
        ),
        ("sentinel1", sentinel1_values() ** 2 / 5e5, "linear backscatter"),
        ("sentinel1", sentinel1_values() ** 2, "intensities"),
    ],
)
def test_values_in_other_units_are_refused(preset: str, values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueRangeError, match=message) as caught:
        check_value_range(values, PRESETS[preset], "scene.tif")
    assert str(caught.value).startswith("scene.tif: found values of 1st, 50th and 99th percentile")
    assert "--accept-values" in str(caught.value)


def test_own_bands_far_from_their_means_are_refused() -> None:
    preset = own_bands([0.49, 0.8], [0.1, 0.2], [0.05, 0.05])
    check_value_range(np.array([[0.1, 0.3], [0.2, 0.25]], np.float32), preset, "x.tif")
    with pytest.raises(ValueRangeError, match=r"x.tif, band 2: found median 2000, expected values around mean 0.2"):
        check_value_range(np.array([[0.1, 0.3], [2000, 2000]], np.float32), preset, "x.tif")


def test_values_in_the_right_units_pass() -> None:
    check_value_range(sentinel2_values(), S2, "x")
    check_value_range(sentinel2_values() - 60, S2, "x")  # some noise below 0, as after subtraction of an offset
    check_value_range(sentinel1_values(), S1, "x")
    check_value_range(np.full((9, 10), np.nan, np.float32), S2, "x")


def test_an_offset_of_1000_is_doubted() -> None:
    assert doubt_values(sentinel2_values(), S2) == ""
    assert "--add -1000" in doubt_values(sentinel2_values() + 1000, S2)
    assert doubt_values(np.full((9, 10), np.nan, np.float32), S2) == ""
    assert doubt_values(sentinel1_values() + 1000, S1) == ""
