"""Laws of pooling, over random boxes, grids, splits and nodata."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.pooling_reference import pool_exactly
from transforms.pooled_rows import concat_pooled
from transforms.pooling.points import pool_points
from transforms.pooling.pooler import PatchPooler
from transforms.pooling.sums import ADDITIVE_COLUMNS
from transforms.quantization import dequantize
from transforms.windows import PixelWindow

EPSG = 32648
SIZE = 40
seeds = st.integers(0, 2**32 - 1)
grids = st.sampled_from(
    [(10.0, 10.0, 500_000.0, 1_400_000.0), (9.995, 9.997, 612_345.67, 5_000_003.21), (20.0, 15.0, 3.0, 7.5)]
)


def build_case(seed, grid, *, nodata_share=0.15, n_boxes=12):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-127, 128, (4, SIZE, SIZE), dtype=np.int8)
    codes[:, rng.random((SIZE, SIZE)) < nodata_share] = -128
    width, height, west, north = grid
    corner = rng.uniform(-0.2, 0.9, (n_boxes, 2)) * (SIZE * width, -SIZE * height) + (west, north)
    size = rng.uniform(0.3, 20, (n_boxes, 2)) * (width, height)
    boxes = np.concatenate([corner, corner + size], axis=1)
    return codes, boxes, Affine(width, 0, west, 0, -height, north), rng


def window_of(values, affine, row0=0, col0=0):
    nodata = values == -128 if values.dtype == np.int8 else np.isnan(values)
    moved = affine @ Affine.translation(col0, row0)
    return PixelWindow(values, ~nodata.any(axis=0), moved, EPSG, "memory")


def columns_of(pooled):
    return pooled.columns | {"valid_fraction": pooled.valid_fraction, "n_pixels": pooled.n_pixels}


def pool(boxes, windows, *, columns=ADDITIVE_COLUMNS, threads=1):
    dims = windows[0].values.shape[0]
    pooler = PatchPooler(boxes, EPSG, dims, columns, min_coverage=0.0, threads=threads)
    for window in windows:
        pooler.add(window)
    return columns_of(pooler.finish())


def pool_draining(boxes, windows, *, threads=1):
    """Announce all windows and take patches as they become whole; in the order of the boxes."""
    dims = windows[0].values.shape[0]
    pooler = PatchPooler(boxes, EPSG, dims, ADDITIVE_COLUMNS, min_coverage=0.0, threads=threads)
    pooler.expect(window.bounds for window in windows)
    parts = []
    for window in windows:
        pooler.add(window)
        parts.append(pooler.drain())
    pooled = concat_pooled([*parts, pooler.finish()])
    assert pooled.index.tolist() == list(range(len(boxes)))
    return columns_of(pooled)


def split_window(codes, affine, rng):
    """Cut a window into nine of random sizes, row by row."""
    cuts_y = [0, *sorted(rng.choice(np.arange(1, SIZE), 2, replace=False).tolist()), SIZE]
    cuts_x = [0, *sorted(rng.choice(np.arange(1, SIZE), 2, replace=False).tolist()), SIZE]
    return [
        window_of(codes[:, y0:y1, x0:x1], affine, y0, x0) for y0, y1 in pairwise(cuts_y) for x0, x1 in pairwise(cuts_x)
    ]


@settings(deadline=None, max_examples=60)
@given(seeds, grids)
def test_order_and_split_of_windows_do_not_change_a_bit(seed, grid):
    codes, boxes, affine, rng = build_case(seed, grid)
    parts = split_window(codes, affine, rng)
    whole = pool(boxes, [window_of(codes, affine)])
    for order in (np.arange(len(parts)), rng.permutation(len(parts))):
        split = pool(boxes, [parts[k] for k in order])
        for name, column in whole.items():
            np.testing.assert_array_equal(split[name], column, err_msg=name)


@settings(deadline=None, max_examples=40)
@given(seeds, grids, st.integers(1, 5))
def test_draining_and_threads_do_not_change_a_bit(seed, grid, threads):
    codes, boxes, affine, rng = build_case(seed, grid)
    parts = split_window(codes, affine, rng)
    whole = pool(boxes, [window_of(codes, affine)])
    drained = pool_draining(boxes, [parts[k] for k in rng.permutation(len(parts))], threads=threads)
    for name, column in whole.items():
        np.testing.assert_array_equal(drained[name], column, err_msg=name)


@settings(deadline=None, max_examples=30)
@given(seeds, grids)
def test_rows_stored_from_the_south_do_not_change_a_bit(seed, grid):
    codes, boxes, affine, _ = build_case(seed, grid)
    window = window_of(codes, affine)
    stored = np.ascontiguousarray(codes[:, ::-1])
    straight = pool(boxes, [window])
    reversed_rows = pool(boxes, [replace(window, values=stored[:, ::-1])])
    for name, column in straight.items():
        np.testing.assert_array_equal(reversed_rows[name], column, err_msg=name)


@settings(deadline=None, max_examples=40)
@given(seeds, grids)
def test_codes_are_pooled_as_whole_numbers_say(seed, grid):
    codes, boxes, affine, _ = build_case(seed, grid, n_boxes=4)
    window = window_of(codes, affine)
    pooled = pool(boxes, [window])
    for k, box in enumerate(boxes):
        expected = pool_exactly(box, window)
        assert pooled["n_pixels"][k] == expected["n_pixels"]
        for name in ("mean", "min", "max"):
            np.testing.assert_array_equal(pooled[name][k], expected.get(name, np.full(len(codes), np.nan)))


@settings(deadline=None, max_examples=40)
@given(seeds, grids)
def test_order_of_boxes_does_not_change_a_bit(seed, grid):
    codes, boxes, affine, rng = build_case(seed, grid)
    order = rng.permutation(len(boxes))
    straight, shuffled = (
        pool(boxes, [window_of(codes, affine)]),
        pool(boxes[order], [window_of(codes, affine)]),
    )
    for name, column in straight.items():
        np.testing.assert_array_equal(shuffled[name], column[order], err_msg=name)


@settings(deadline=None, max_examples=40)
@given(seeds, grids)
def test_codes_and_floats_agree(seed, grid):
    codes, boxes, affine, _ = build_case(seed, grid)
    exact, floats = (
        pool(boxes, [window_of(codes, affine)]),
        pool(boxes, [window_of(dequantize(codes), affine)]),
    )
    for name, column in exact.items():
        # a short mean magnifies rounding, and so does the root of a small mean of powers
        atol = {"mean_renormalised": 1e-3, "gem": 1e-2}.get(name, 1e-5)
        np.testing.assert_allclose(floats[name], column, atol=atol, err_msg=name)


@settings(deadline=None, max_examples=40)
@given(seeds, grids)
def test_a_box_is_the_weighted_sum_of_its_parts(seed, grid):
    codes, boxes, affine, rng = build_case(seed, grid)
    cut = boxes[:, 0] + rng.uniform(0.1, 0.9, len(boxes)) * (boxes[:, 2] - boxes[:, 0])
    left, right = boxes.copy(), boxes.copy()
    left[:, 2] = cut
    right[:, 0] = cut
    window = [window_of(codes, affine)]
    whole, west, east = pool(boxes, window), pool(left, window), pool(right, window)

    def mass(pooled, box):
        area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) * pooled["valid_fraction"]
        return area[:, None] * np.nan_to_num(pooled["mean"]), area

    (total, area), (mass_w, area_w), (mass_e, area_e) = (
        mass(whole, boxes), mass(west, left), mass(east, right)
    )  # fmt: skip
    pixel_m2 = affine.a * -affine.e
    np.testing.assert_allclose(area_w + area_e, area, atol=2e-3 * pixel_m2)
    np.testing.assert_allclose(mass_w + mass_e, total, atol=2e-3 * pixel_m2)
    np.testing.assert_array_equal(west["n_pixels"] + east["n_pixels"], whole["n_pixels"])


@settings(deadline=None, max_examples=40)
@given(seeds, grids, st.integers(-127, 127))
def test_a_constant_field_is_kept_and_nodata_never_leaks(seed, grid, code):
    codes, boxes, affine, _ = build_case(seed, grid, nodata_share=0.5)
    codes[codes != -128] = code
    pooled = pool(boxes, [window_of(codes, affine)])
    filled = pooled["valid_fraction"] > 0
    value = dequantize(np.array([code], np.int8))[0]
    np.testing.assert_allclose(pooled["mean"][filled], value, rtol=1e-6)
    np.testing.assert_allclose(pooled["gem"][filled], value, rtol=1e-4)
    assert (pooled["std"][filled] == 0).all()
    assert np.isnan(pooled["mean"][~filled]).all()
    for name in ("min", "max"):
        column = pooled[name][pooled["n_pixels"] > 0]
        assert (column == value).all()


@settings(deadline=None, max_examples=40)
@given(seeds, grids, st.floats(-5, 5), st.floats(-5, 5))
def test_the_mean_is_linear_in_the_pixels(seed, grid, scale, offset):
    codes, boxes, affine, _ = build_case(seed, grid)
    x = dequantize(codes)
    y = (np.float32(scale) * x + np.float32(offset)).astype(np.float32)
    straight, mapped = pool(boxes, [window_of(x, affine)]), pool(boxes, [window_of(y, affine)])
    np.testing.assert_allclose(mapped["mean"], scale * straight["mean"] + offset, atol=1e-5)
    np.testing.assert_allclose(mapped["std"], abs(scale) * straight["std"], atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 60), st.integers(1, 8))
def test_points_in_any_order_pool_to_the_same(seed, n_points, n_patches):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n_points, 3)).astype(np.float32)
    vectors[rng.random(n_points) < 0.2] = np.nan
    index = rng.integers(-1, n_patches, n_points)
    order = rng.permutation(n_points)
    straight = columns_of(pool_points(vectors, index, n_patches))
    shuffled = columns_of(pool_points(vectors[order], index[order], n_patches))
    for name, column in straight.items():
        np.testing.assert_allclose(shuffled[name], column, rtol=1e-5, atol=1e-6, err_msg=name)
