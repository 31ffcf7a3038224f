from __future__ import annotations

import numpy as np
import pytest

from transforms.quantization import DEQUANTIZE_LUT, NODATA, dequantize, quantize

ALL_CODES = np.arange(-127, 128, dtype=np.int8)
#: Half-way between the codes 94 and 95: above it the nearest code is 95, whose value is 0.0058292 away.
ABOVE_94 = (94.5 / 127.5) ** 2


def round_trip(values: np.ndarray) -> np.ndarray:
    return dequantize(quantize(values)).astype(np.float64)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def mixed_patches(rng: np.random.Generator, n: int) -> np.ndarray:
    """Codes (n, 1024, 64): each patch has two kinds of ground, each kind a unit vector with a little noise."""
    centres = rng.normal(size=(n, 2, 64))
    centres /= np.linalg.norm(centres, axis=-1, keepdims=True)
    is_second = rng.random((n, 1024)) < rng.uniform(0.2, 0.8, (n, 1))
    pixels = centres[np.arange(n)[:, None], is_second.astype(int)] + rng.normal(0, 0.03, (n, 1024, 64))
    return quantize(pixels / np.linalg.norm(pixels, axis=-1, keepdims=True))


def test_values_follow_the_published_formula() -> None:
    for code in range(-127, 128):
        expected = np.sign(code) * (code / 127.5) ** 2
        assert dequantize(np.array([code], np.int8))[0] == np.float32(expected)
    assert dequantize(np.array([127, -127], np.int8)).tolist() == pytest.approx([0.99217224, -0.99217224])


def test_every_code_comes_back() -> None:
    assert quantize(dequantize(ALL_CODES)).tolist() == ALL_CODES.tolist()
    assert quantize(dequantize(ALL_CODES).astype(np.float64)).tolist() == ALL_CODES.tolist()


def test_nodata_is_nan_and_nan_is_nodata() -> None:
    codes = np.array([[NODATA, 0], [5, NODATA]], np.int8)
    values = dequantize(codes)
    assert np.isnan(values).tolist() == [[True, False], [False, True]]
    assert quantize(values).tolist() == codes.tolist()
    assert not np.isnan(dequantize(ALL_CODES)).any()


def test_largest_error_s9() -> None:
    small = np.linspace(-ABOVE_94, ABOVE_94, 400_001)[1:-1]
    whole = np.linspace(-0.9922, 0.9922, 800_001)
    assert 0.0057 < np.abs(round_trip(small) - small).max() < 0.0058
    assert 0.0077 < np.abs(round_trip(whole) - whole).max() < 0.0078
    # the last 0.0007 up to .55 round to code 95 and are off by .00583: S9's .0058 to two digits
    last = np.linspace(ABOVE_94, 0.55, 10_001)
    assert np.abs(round_trip(last) - last).max() == pytest.approx((95**2 - 94.5**2) / 127.5**2, abs=1e-6)


def test_direction_of_unit_vectors_s9() -> None:
    vectors = np.random.default_rng(0).normal(size=(20_000, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert cosines(vectors, round_trip(vectors)).min() > 0.9998


def test_mean_of_codes_is_not_the_mean_of_vectors_s9() -> None:
    codes = mixed_patches(np.random.default_rng(1), 40)
    right = dequantize(codes).astype(np.float64).mean(axis=1)
    wrong = codes.astype(np.float64).mean(axis=1)
    similarity = cosines(right, wrong)
    assert similarity.mean() < 0.995
    assert similarity.min() < 0.985


def test_the_wrong_divisor_is_told_apart() -> None:
    vectors = np.random.default_rng(2).normal(size=(200, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths = np.linalg.norm(round_trip(vectors), axis=1)
    naive = np.linalg.norm(quantize(vectors) / 127.0, axis=1)
    assert 0.99 < lengths.min() <= lengths.max() < 1.01
    assert naive.min() > 2


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3), (4, 2, 3), (0, 64)])
def test_shapes_and_dtypes_are_declared(shape: tuple[int, ...]) -> None:
    codes = quantize(np.zeros(shape, np.float32))
    assert (codes.dtype, codes.shape) == (np.int8, shape)
    values = dequantize(codes)
    assert (values.dtype, values.shape) == (np.float32, shape)


def test_values_beyond_the_range_stop_at_the_last_code() -> None:
    values = np.array([1.0, 1.5, np.inf, -1.0, -9.0, -np.inf])
    assert quantize(values).tolist() == [127, 127, 127, -127, -127, -127]


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        DEQUANTIZE_LUT[0] = 0
