"""Laws of the int8 code, over random values."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.quantization import NODATA, dequantize, quantize

dtypes = st.sampled_from([np.float32, np.float64])
shapes = hnp.array_shapes(max_dims=3, max_side=8)
codes_any = hnp.arrays(np.int8, shapes, elements=st.integers(-128, 127))


@st.composite
def values_any(draw, low=-2.0, high=2.0, allow_nan=True):
    dtype = draw(dtypes)
    width = np.dtype(dtype).itemsize * 8
    plain = st.floats(low, high, width=width)
    return draw(hnp.arrays(dtype, shapes, elements=st.one_of(plain, st.just(np.nan)) if allow_nan else plain))


@given(codes_any)
def test_quantising_a_dequantised_code_is_the_identity(codes):
    np.testing.assert_array_equal(quantize(dequantize(codes)), codes)


@given(values_any())
def test_a_second_round_trip_changes_nothing(values):
    once = quantize(values)
    np.testing.assert_array_equal(quantize(dequantize(once)), once)


@given(values_any())
def test_nodata_comes_of_nan_alone(values):
    codes = quantize(values)
    np.testing.assert_array_equal(codes == NODATA, np.isnan(values))
    np.testing.assert_array_equal(np.isnan(dequantize(codes)), np.isnan(values))


@given(values_any(allow_nan=False))
def test_the_code_is_odd(values):
    np.testing.assert_array_equal(quantize(-values), -quantize(values))


@given(values_any(allow_nan=False))
def test_the_code_keeps_order(values):
    ranked = np.sort(values, axis=None)
    assert (np.diff(quantize(ranked).astype(int)) >= 0).all()


@given(values_any(-0.984375, 0.984375, allow_nan=False))
def test_the_error_is_bounded_by_half_a_step(values):
    # a step at code v is (2 |v| + 1) / 127.5**2 wide, seen from the farther side
    codes = quantize(values).astype(np.float64)
    half_step = (np.abs(codes) + 0.5) / 127.5**2
    assert (np.abs(dequantize(quantize(values)) - values.astype(np.float64)) <= half_step + 1e-6).all()


@given(values_any())
def test_elements_are_coded_one_by_one(values):
    np.testing.assert_array_equal(quantize(values.ravel()[::-1]), quantize(values).ravel()[::-1])
