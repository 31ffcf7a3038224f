"""The rule of resampling, told by codes of worlds that were resampled by a known rule."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.degree_grid import DegreeGrid
from transforms.quantization import NODATA, dequantize, quantize
from transforms.resampling import ResamplingEvidence, examine_codes
from transforms.utm import project

STEP = 8.983111749910169e-05


def noisy_vectors(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Unit vectors (64, ...) of 10 m pixels, unlike each other, the same for the same pixel."""
    seed = (column.astype(np.int64) * 1_000_003 + row.astype(np.int64)) % 4_001
    table = np.random.default_rng(0).standard_normal((4_001, 64))
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    return np.moveaxis(table[seed], -1, 0)


def world_at(lat: float, rule: str) -> ResamplingEvidence:
    grid = DegreeGrid(3.5, lat, STEP, 256, 256)
    lon, lats = np.meshgrid(*grid.centers(slice(0, 256), slice(0, 256)))
    x, y = project(lon, lats, 32631)
    column, row = np.floor(x / 10), np.floor(y / 10)
    vectors = noisy_vectors(column, row)
    if rule in ("averaged", "scaled"):  # linear in x, between the centres of two pixels
        share = x / 10 - 0.5 - np.floor(x / 10 - 0.5)
        left = np.floor(x / 10 - 0.5)
        vectors = (1 - share) * noisy_vectors(left, row) + share * noisy_vectors(left + 1, row)
    if rule == "scaled":
        vectors = vectors / np.linalg.norm(vectors, axis=0)
    codes = quantize(vectors.astype(np.float32))
    codes[:, :10, :10] = NODATA
    return examine_codes(codes, x, y, 10.0)


@pytest.mark.parametrize("lat", [0.5, 12.6, 45.0, 57.0, 80.0])
def test_nearest_pixels_are_told_everywhere(lat):
    found = world_at(lat, "nearest")
    assert found.rule == "nearest"
    assert found.n_pixels == 256 * 256 - 100
    assert found.n_equal == found.n_pairs >= 50
    assert found.n_off_length == 0


@pytest.mark.parametrize("lat", [12.6, 57.0])
@pytest.mark.parametrize(("rule", "is_short"), [("averaged", True), ("scaled", False)])
def test_interpolated_pixels_are_told_and_averaged_ones_are_short(lat, rule, is_short):
    found = world_at(lat, rule)
    assert found.rule == "interpolated or averaged"
    assert (found.n_off_length > 0.5 * found.n_pixels) == is_short


def test_too_few_pairs_say_nothing_and_evidence_adds_up():
    few, many, half = (ResamplingEvidence(100, n, n // 2, 3) for n in (10, 100, 200))
    assert few.rule == "cannot be told"
    assert half.rule == "mixed"
    assert few + many == ResamplingEvidence(200, 110, 55, 6)


def test_a_box_without_data_has_no_evidence():
    found = examine_codes(np.full((64, 4, 4), NODATA, np.int8), *np.meshgrid(np.arange(4.0), np.arange(4.0)), 10.0)
    assert found == ResamplingEvidence(0, 0, 0, 0)
    assert np.isnan(dequantize(np.array([NODATA], np.int8))).all()
