from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from transforms.quantization import dequantize
from transforms.utm import UtmBox
from transforms.windows import PixelPoints, PixelWindow

AFFINE = Affine(10, 0, 500_000, 0, -20, 1_400_000)


def make_window(values: np.ndarray, valid: np.ndarray | None = None) -> PixelWindow:
    height, width = values.shape[1:]
    return PixelWindow(values, np.ones((height, width), bool) if valid is None else valid, AFFINE, 32648, "memory")


def test_bounds_are_the_outer_edges() -> None:
    window = make_window(np.zeros((2, 3, 5), np.int8))
    assert window.bounds == UtmBox(32648, 500_000, 1_400_000 - 3 * 20, 500_000 + 5 * 10, 1_400_000)


def test_centres_are_half_a_pixel_inside() -> None:
    x, y = make_window(np.zeros((2, 3, 2), np.int8)).centers()
    assert x.tolist() == [500_005, 500_015]
    assert y.tolist() == [1_399_990, 1_399_970, 1_399_950]  # north first


def test_codes_are_dequantised_with_the_band_last() -> None:
    values = np.arange(-12, 12, dtype=np.int8).reshape(4, 2, 3)
    vectors = make_window(values).vectors()
    assert (vectors.shape, vectors.dtype) == ((2, 3, 4), np.float32)
    np.testing.assert_array_equal(vectors[1, 2], dequantize(values[:, 1, 2]))


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_nodata_is_nan_in_every_band(dtype: type) -> None:
    values = np.ones((3, 2, 2), dtype)
    valid = np.array([[True, False], [True, True]])
    vectors = make_window(values, valid).vectors()
    assert np.isnan(vectors[0, 1]).all()
    assert np.isfinite(vectors[valid]).all()


def test_floats_pass_unchanged() -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 2)).astype(np.float32)
    np.testing.assert_array_equal(make_window(values).vectors(), np.moveaxis(values, 0, -1))


def test_points_count_themselves() -> None:
    n = np.zeros(3)
    assert len(PixelPoints(n, n, n, n, n.astype(np.int32), np.zeros((3, 2), np.float32))) == 3
