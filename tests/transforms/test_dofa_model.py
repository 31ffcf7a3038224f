"""DOFA's layers against torch's own modules and slow references, and the laws that they keep."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.dofa_reference import SMALL, random_matched, random_weights, reference_vectors
from transforms.dofa import encoder as encoder_module
from transforms.dofa.checkpoint import CheckpointError
from transforms.dofa.encoder import DofaEncoder
from transforms.dofa.presets import PRESETS, own_bands
from transforms.dofa.scaling import ValueRangeError, scale_values
from transforms.dofa.sizes import SIZES, UnknownSizeError, find_size
from transforms.dofa.vit import encode_images, position_embedding, weight_shapes
from transforms.dofa.wavelengths import embed_wavelengths, sin_cos_embedding
from transforms.dofa.weight_generator import generate_kernels
from transforms.errors import ShapeError
from transforms.upsampling.torch_training import MissingTorchError

S2 = PRESETS["sentinel2"]


def digital_numbers(n=2, bands=9, side=32, seed=0):
    """Images like Sentinel-2's digital numbers."""
    rng = np.random.default_rng(seed)
    return (rng.gamma(4, 400, (n, bands, side, side)) + 200).astype(np.float32)


def test_sin_cos_embedding_is_that_of_a_slow_reference() -> None:
    positions = np.array([0.0, 1.5, 665.0])
    found = sin_cos_embedding(positions, 12)
    for row, position in zip(found, positions, strict=True):
        angles = [position / 10_000 ** (i / 6) for i in range(6)]
        np.testing.assert_allclose(row, [*map(math.sin, angles), *map(math.cos, angles)], atol=1e-12)
    with pytest.raises(ShapeError, match="found 5, expected an even number"):
        sin_cos_embedding(positions, 5)


def test_position_embedding_is_that_of_a_slow_reference() -> None:
    found = position_embedding(16, side=3)
    assert found.shape == (10, 16)
    assert not found[0].any()
    for row in range(3):
        for column in range(3):
            expected = [
                function(place / 10_000 ** (i / 4))
                for place in (column, row)
                for function in (math.sin, math.cos)
                for i in range(4)
            ]
            np.testing.assert_allclose(found[1 + 3 * row + column], expected, atol=1e-6)


@pytest.mark.parametrize("waves", [[665.0], [0.1], [], [0.49, float("nan")]])
def test_wavelengths_in_other_units_are_refused(waves: list[float]) -> None:
    with pytest.raises(ShapeError, match="Divide nanometres by 1000"):
        embed_wavelengths(waves)


@pytest.mark.parametrize(
    ("name", "n_weights", "n_values", "published_bytes"),
    [("base", 170, 111_312_128, 445_295_690), ("large", 314, 337_105_408, 1_348_512_262)],
)
def test_names_and_number_of_weights(name: str, n_weights: int, n_values: int, published_bytes: int) -> None:
    """torchgeo's files hold what the encoder reads without `fc_norm`, and 317 bytes of zip and pickle a tensor."""
    shapes = weight_shapes(SIZES[name])
    assert len(shapes) == n_weights
    assert sum(math.prod(shape) for shape in shapes.values()) == n_values
    stored = [shape for weight, shape in shapes.items() if not weight.startswith("fc_norm")]
    overhead = published_bytes - 4 * sum(math.prod(shape) for shape in stored)
    assert overhead / len(stored) == pytest.approx(317, abs=1)


def test_unknown_sizes_are_refused() -> None:
    with pytest.raises(UnknownSizeError, match=r"found 'huge', expected one of \['base', 'large'\]"):
        find_size("huge")


def test_vectors_are_those_of_torchs_own_modules() -> None:
    weights = random_weights(SMALL)
    images = torch.randn((2, 9, 224, 224), generator=torch.Generator().manual_seed(1))
    features = torch.from_numpy(embed_wavelengths(S2.wavelengths_um))
    full = {**weights, **{name: torch.from_numpy(v) for name, v in random_matched(SMALL).initial.items()}}
    with torch.no_grad():
        found = encode_images(torch, full, SMALL, images, features)
        expected = reference_vectors(weights, SMALL, images, S2.wavelengths_um)
    assert found.shape == (2, SMALL.width)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(9)), seed=st.integers(0, 3))
def test_kernels_go_with_their_wavelengths(order: list[int], seed: int) -> None:
    weights = random_weights(SMALL, seed)
    features = torch.from_numpy(embed_wavelengths(S2.wavelengths_um))
    kernels, offsets = generate_kernels(torch, weights, features)
    moved, moved_offsets = generate_kernels(torch, weights, features[list(order)])
    torch.testing.assert_close(moved, kernels[:, list(order)], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(moved_offsets, offsets, atol=1e-6, rtol=1e-4)


def test_order_of_bands_changes_nothing_and_their_wavelengths_do() -> None:
    matched, images = random_matched(SMALL), digital_numbers()
    order = np.random.default_rng(5).permutation(9)
    found = DofaEncoder(matched, SMALL, S2, device="cpu").encode(images)
    moved = DofaEncoder(matched, SMALL, S2.reorder(order), device="cpu").encode(images[:, order])
    np.testing.assert_allclose(moved, found, atol=1e-5)
    scaled = scale_values(images, S2)
    flipped = own_bands(S2.wavelengths_um[::-1], [0.0] * 9, [1.0] * 9)
    wrong = DofaEncoder(matched, SMALL, flipped, device="cpu").encode(scaled)
    assert np.abs(wrong - found).max() > 1e-3


def test_a_subset_of_bands_is_encoded() -> None:
    found = DofaEncoder(random_matched(SMALL), SMALL, S2.reorder([2, 1, 0]), device="cpu").encode(digital_numbers(3, 3))
    assert found.shape == (3, SMALL.width)
    assert found.dtype == np.float32


def test_same_images_same_bits_and_batches_agree() -> None:
    matched, images = random_matched(SMALL), digital_numbers(5)
    first = DofaEncoder(matched, SMALL, S2, device="cpu").encode(images)
    again = DofaEncoder(matched, SMALL, S2, device="cpu").encode(images)
    np.testing.assert_array_equal(first, again)
    single = DofaEncoder(matched, SMALL, S2, batch=2, device="cpu").encode(images)
    np.testing.assert_allclose(single, first, atol=1e-5)
    np.testing.assert_allclose(first.mean(axis=1), 0, atol=1e-5)  # fc_norm is a plain normalisation
    np.testing.assert_allclose(first.var(axis=1), 1, atol=1e-3)


def test_resizing_is_bilinear_and_averages_where_it_shrinks() -> None:
    encoder = DofaEncoder(random_matched(SMALL), SMALL, S2, device="cpu")
    ramp = torch.arange(120.0).expand(1, 9, 120, 120).contiguous()
    grown = encoder._resize(ramp)
    centre = (torch.arange(224) + 0.5) * 120 / 224 - 0.5
    torch.testing.assert_close(grown[0, 0, 7], centre.clamp(0, 119), atol=1e-3, rtol=0)
    checks = (torch.arange(448)[:, None] + torch.arange(448)) % 2
    shrunk = encoder._resize(checks.float().expand(1, 9, 448, 448).contiguous())
    torch.testing.assert_close(shrunk[0, 0, 5:-5, 5:-5], torch.full((214, 214), 0.5), atol=1e-3, rtol=0)


def test_nodata_becomes_the_mean_of_the_training_data() -> None:
    images = digital_numbers()
    holes = images.copy()
    holes[:, :, :8] = np.nan
    filled = images.copy()
    filled[:, :, :8] = np.array([band.mean / band.factor for band in S2.bands], np.float32)[:, None, None]
    encoder = DofaEncoder(random_matched(SMALL), SMALL, S2, device="cpu")
    np.testing.assert_allclose(encoder.encode(holes), encoder.encode(filled), atol=1e-4)


def test_encoding_refuses_other_units_unless_they_were_checked() -> None:
    encoder = DofaEncoder(random_matched(SMALL), SMALL, S2, device="cpu")
    reflectance = digital_numbers() / 10_000
    with pytest.raises(ValueRangeError, match=r"images: .*--multiply 10000"):
        encoder.encode(reflectance)
    assert encoder.encode(reflectance, is_checked=True).shape == (2, SMALL.width)
    with pytest.raises(ShapeError, match=r"found shape \(2, 4, 32, 32\).*'B02'"):
        encoder.encode(digital_numbers(bands=4))


def test_damaged_weights_are_refused() -> None:
    weights = random_weights(SMALL)
    weights["blocks.0.mlp.fc1.bias"][3] = float("nan")
    damaged = encoder_module.MatchedWeights(weights, (), (), random_matched(SMALL).initial)
    with pytest.raises(CheckpointError, match="not finite"):
        DofaEncoder(damaged, SMALL, S2, device="cpu").encode(digital_numbers(1))


def test_torch_is_asked_for_by_the_encoder_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    matched = random_matched(SMALL)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingTorchError, match=r"DOFA: found no torch.*isthmus\[torch\]'\."):
        DofaEncoder(matched, SMALL, S2)
    script = (
        "import sys, transforms.dofa.encoder, transforms.dofa.checkpoint\n"
        "assert 'torch' not in sys.modules, sorted(name for name in sys.modules if 'torch' in name)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
