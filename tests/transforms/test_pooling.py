"""Pooling against a brute-force loop, exactextract, and the rules that its module states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

from transforms.errors import IsthmusError, ShapeError
from transforms.pooling.operators import POOLING_OPERATORS, PooledPatches, UnknownOperatorError, features, stats_vector
from transforms.pooling.points import pool_points
from transforms.pooling.pooler import CrsMismatchError, PatchPooler, WindowError
from transforms.quantization import dequantize
from transforms.windows import PixelWindow

EPSG = 32648
WEST, NORTH = 500_000.0, 1_400_000.0
GRID = Affine(10, 0, WEST, 0, -10, NORTH)
VECTOR_COLUMNS = ("mean", "mean_renormalised", "std", "min", "max")


def make_window(values, affine=GRID, valid=None):
    if valid is None:
        nodata = values == -128 if values.dtype == np.int8 else np.isnan(values)
        valid = ~nodata.any(axis=0)
    return PixelWindow(values, valid, affine, EPSG, "memory")


def random_codes(rng, shape, nodata_share=0.0):
    codes = rng.integers(-127, 128, shape, dtype=np.int8)
    codes[:, rng.random(shape[1:]) < nodata_share] = -128
    return codes


def random_boxes(rng, n, extent_m, side_m):
    corner = rng.uniform(0, extent_m - side_m, (n, 2)) + np.array([WEST, NORTH - extent_m])
    return np.concatenate([corner, corner + side_m], axis=1)


def pool(boxes, *windows, min_coverage=0.5):
    pooler = PatchPooler(boxes, EPSG, windows[0].values.shape[0])
    for window in windows:
        pooler.add(window)
    return pooler.finish(min_coverage)


def pool_by_loops(box, window):
    """Pool one box by the definition: area shares in float64, extremes by pixel centre."""
    vectors = window.vectors().astype(np.float64)
    a, e, c, f = window.affine.a, window.affine.e, window.affine.c, window.affine.f
    west, south, east, north = box
    weights, rows, inside = [], [], []
    for i in range(vectors.shape[0]):
        for j in range(vectors.shape[1]):
            x0, x1, y1, y0 = c + a * j, c + a * (j + 1), f + e * i, f + e * (i + 1)
            shared = max(0.0, min(x1, east) - max(x0, west)) * max(0.0, min(y1, north) - max(y0, south))
            if shared > 0 and window.valid[i, j]:
                weights.append(shared)
                rows.append(vectors[i, j])
                x, y = (x0 + x1) / 2, (y0 + y1) / 2
                inside.append(west <= x < east and south <= y < north)
    w, x, chosen = np.array(weights), np.array(rows), np.array(inside, bool)
    mean = w @ x / w.sum()
    std = np.sqrt(w @ (x - mean) ** 2 / w.sum())
    fraction = w.sum() / ((east - west) * (north - south))
    return mean, std, x[chosen].min(axis=0), x[chosen].max(axis=0), fraction, chosen.sum()


@pytest.mark.parametrize("kind", ["codes", "floats"])
@pytest.mark.parametrize("affine", [(10.0, -10.0, WEST, NORTH), (9.995, -9.997, WEST + 3.7, NORTH - 1.3)])
@pytest.mark.parametrize("side_m", [320.0, 80.0, 23.0])
def test_pooling_equals_loops(kind, affine, side_m):
    rng = np.random.default_rng(7)
    codes = random_codes(rng, (5, 48, 48), nodata_share=0.2)
    a, e, c, f = affine
    window = make_window(codes if kind == "codes" else dequantize(codes), Affine(a, 0, c, 0, e, f))
    boxes = random_boxes(rng, 8, 470.0, side_m)
    pooled = pool(boxes, window, min_coverage=0.0)
    for k, box in enumerate(boxes):
        mean, std, low, high, fraction, count = pool_by_loops(box, window)
        np.testing.assert_allclose(pooled.mean[k], mean, atol=1e-5)
        np.testing.assert_allclose(pooled.std[k], std, atol=1e-5)
        np.testing.assert_allclose(pooled.min[k], low, atol=1e-7)
        np.testing.assert_allclose(pooled.max[k], high, atol=1e-7)
        np.testing.assert_allclose(pooled.mean_length[k], np.linalg.norm(mean), atol=1e-5)
        np.testing.assert_allclose(pooled.mean_renormalised[k], mean / np.linalg.norm(mean), atol=1e-4)
        assert pooled.valid_fraction[k] == pytest.approx(fraction, abs=1e-5)
        assert pooled.n_pixels[k] == count


def test_mean_and_std_equal_exactextract():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(1, 40, 40)).astype(np.float32)
    boxes = random_boxes(rng, 6, 400.0, 123.4)
    source = NumPyRasterSource(values[0], xmin=WEST, ymin=NORTH - 400, xmax=WEST + 400, ymax=NORTH)
    polygons = [
        {
            "type": "Feature",
            "properties": {},
            "geometry": {"type": "Polygon", "coordinates": [[(w, s), (e, s), (e, n), (w, n), (w, s)]]},
        }
        for w, s, e, n in boxes.tolist()
    ]
    expected = [row["properties"] for row in exact_extract(source, polygons, ["mean", "stdev"])]
    pooled = pool(boxes, make_window(values))
    np.testing.assert_allclose(pooled.mean[:, 0], [row["mean"] for row in expected], atol=1e-5)
    np.testing.assert_allclose(pooled.std[:, 0], [row["stdev"] for row in expected], atol=1e-5)


def test_box_inside_one_pixel_takes_its_value():
    codes = random_codes(np.random.default_rng(0), (3, 4, 4))
    box = np.array([[WEST + 13.0, NORTH - 26.0, WEST + 17.0, NORTH - 22.0]])
    pooled = pool(box, make_window(codes))
    expected = dequantize(codes[:, 2, 1])
    np.testing.assert_allclose(pooled.mean[0], expected, atol=1e-7)
    np.testing.assert_allclose(pooled.max[0], expected, atol=1e-7)
    assert pooled.valid_fraction[0] == 1.0
    assert pooled.n_pixels[0] == 1


def test_extremes_are_nan_where_no_centre_is_inside():
    codes = random_codes(np.random.default_rng(0), (3, 4, 4))
    box = np.array([[WEST + 6.0, NORTH - 9.0, WEST + 9.0, NORTH - 6.0]])
    pooled = pool(box, make_window(codes))
    assert np.isnan(pooled.min).all()
    assert np.isnan(pooled.max).all()
    assert np.isfinite(pooled.mean).all()
    assert pooled.n_pixels[0] == 0


def test_centre_on_a_border_counts_west_and_south_only():
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    # both boxes have all four edges on pixel centres
    box = np.array([[WEST + 5.0, NORTH - 25.0, WEST + 25.0, NORTH - 5.0]])
    pooled = pool(box, make_window(values))
    # columns 0 and 1 (2 is on the east edge), rows 1 and 2 (0 is on the north edge)
    assert pooled.n_pixels[0] == 4
    assert (pooled.min[0, 0], pooled.max[0, 0]) == (4.0, 9.0)


def test_half_pixel_shift_is_visible():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (1, 40, 40)).copy()
    box = np.array([[WEST + 40.0, NORTH - 360.0, WEST + 360.0, NORTH - 40.0]])
    straight = pool(box, make_window(ramp)).mean[0, 0]
    shifted = pool(box + np.array([5.0, 0.0, 5.0, 0.0]), make_window(ramp)).mean[0, 0]
    assert straight == pytest.approx(19.5, abs=1e-5)
    assert shifted - straight == pytest.approx(0.5, abs=1e-5)


def test_rows_run_from_north_to_south():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None], (1, 40, 40)).copy()
    north_box = np.array([[WEST + 40.0, NORTH - 120.0, WEST + 120.0, NORTH - 40.0]])
    assert pool(north_box, make_window(ramp)).mean[0, 0] == pytest.approx(7.5, abs=1e-5)


def test_coverage_below_minimum_gives_nan_and_says_how_much():
    codes = random_codes(np.random.default_rng(1), (4, 32, 32))
    box = np.array([[WEST - 192.0, NORTH - 320.0, WEST + 128.0, NORTH]])
    low, high = pool(box, make_window(codes)), pool(box, make_window(codes), min_coverage=0.4)
    assert low.valid_fraction[0] == pytest.approx(0.4)
    assert all(np.isnan(getattr(low, name)).all() for name in VECTOR_COLUMNS)
    assert np.isnan(low.mean_length).all()
    assert all(np.isfinite(getattr(high, name)).all() for name in VECTOR_COLUMNS)


def test_full_coverage_passes_a_minimum_of_one():
    codes = random_codes(np.random.default_rng(1), (4, 40, 40))
    boxes = random_boxes(np.random.default_rng(2), 50, 400.0, 320.0)
    pooled = pool(boxes, make_window(codes), min_coverage=1.0)
    assert (pooled.valid_fraction == 1.0).all()
    assert np.isfinite(pooled.mean).all()


def test_patches_without_windows_are_empty():
    pooled = PatchPooler(random_boxes(np.random.default_rng(0), 3, 400.0, 80.0), EPSG, 4).finish(0.0)
    assert len(pooled) == 3
    assert (pooled.valid_fraction == 0).all()
    assert np.isnan(pooled.mean).all()


def test_no_boxes_is_lawful():
    pooled = pool(np.empty((0, 4)), make_window(np.zeros((4, 8, 8), np.int8)))
    assert pooled.mean.shape == (0, 4)


def test_std_does_not_cancel():
    codes = np.full((1, 32, 32), 127, np.int8)
    codes[0, 0, 0] = 126
    box = np.array([[WEST, NORTH - 320.0, WEST + 320.0, NORTH]])
    expected = dequantize(codes).astype(np.float64).std()
    assert pool(box, make_window(codes)).std[0, 0] == pytest.approx(expected, rel=1e-5)
    assert pool(box, make_window(np.full((1, 32, 32), 127, np.int8))).std[0, 0] == 0.0


def test_mean_is_not_the_mean_of_raw_codes():
    codes = np.array([[[127, 20]]], np.int8)
    box = np.array([[WEST, NORTH - 10.0, WEST + 20.0, NORTH]])
    pooled = pool(box, make_window(codes)).mean[0, 0]
    assert pooled == pytest.approx(dequantize(codes).mean(), abs=1e-6)
    assert abs(pooled - dequantize(np.array([73], np.int8))[0]) > 0.1


def test_mask_wins_over_values():
    codes = random_codes(np.random.default_rng(4), (3, 8, 8))
    valid = np.ones((8, 8), bool)
    valid[:, :4] = False
    box = np.array([[WEST, NORTH - 80.0, WEST + 80.0, NORTH]])
    pooled = pool(box, make_window(codes, valid=valid))
    np.testing.assert_allclose(pooled.mean[0], dequantize(codes[:, :, 4:]).mean(axis=(1, 2)), atol=1e-6)
    assert pooled.valid_fraction[0] == pytest.approx(0.5)


def bad_windows():
    codes = np.zeros((3, 8, 8), np.int8)
    hidden = codes.copy()
    hidden[1, 2, 3] = -128
    nan = np.zeros((3, 8, 8), np.float32)
    nan[0, 0, 0] = np.nan
    all_valid = np.ones((8, 8), bool)
    return {
        "bands": (make_window(np.zeros((2, 8, 8), np.int8)), "shape"),
        "bottom-up": (make_window(codes, Affine(10, 0, WEST, 0, 10, NORTH)), "north-up"),
        "type": (make_window(codes.astype(np.int16)), "dtype"),
        "hidden nodata": (make_window(hidden, valid=all_valid), "nodata"),
        "hidden nan": (make_window(nan, valid=all_valid), "nodata"),
    }


@pytest.mark.parametrize("name", list(bad_windows()))
def test_windows_that_break_the_contract_are_refused(name):
    window, word = bad_windows()[name]
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 80, NORTH]]), EPSG, 3)
    with pytest.raises(WindowError, match=word) as caught:
        pooler.add(window)
    assert "memory" in str(caught.value)


def test_another_zone_is_refused():
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 80, NORTH]]), EPSG, 3)
    with pytest.raises(CrsMismatchError, match="EPSG:32647"):
        pooler.add(replace(make_window(np.zeros((3, 8, 8), np.int8)), epsg=32647))


def test_two_pixel_types_or_sizes_are_refused():
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 160, NORTH]]), EPSG, 3)
    pooler.add(make_window(np.zeros((3, 8, 8), np.int8)))
    with pytest.raises(WindowError, match="dtype"):
        pooler.add(make_window(np.zeros((3, 8, 8), np.float32)))
    with pytest.raises(WindowError, match="pixel size"):
        pooler.add(make_window(np.zeros((3, 4, 4), np.int8), Affine(20, 0, WEST + 80, 0, -20, NORTH)))


def test_overlapping_windows_are_found():
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 80, NORTH]]), EPSG, 3)
    window = make_window(np.zeros((3, 8, 8), np.int8))
    pooler.add(window)
    pooler.add(window)
    with pytest.raises(WindowError, match="overlap"):
        pooler.finish()


def test_boxes_that_would_overflow_are_refused():
    side = 7_500.0
    pooler = PatchPooler(np.array([[WEST, NORTH - side, WEST + side, NORTH]]), EPSG, 1)
    with pytest.raises(WindowError, match="500000"):
        pooler.add(make_window(np.zeros((1, 4, 4), np.int8)))


def test_largest_box_does_not_overflow():
    codes = np.full((1, 700, 700), 127, np.int8)
    codes[0, ::2] = -127
    box = np.array([[WEST + 3.0, NORTH - 6_990.0, WEST + 6_990.0, NORTH - 3.0]])
    pooled = pool(box, make_window(codes))
    assert pooled.std[0, 0] == pytest.approx(float(dequantize(np.array([127], np.int8))[0]), abs=1e-4)


@pytest.mark.parametrize(
    "boxes",
    [np.zeros((3, 3)), np.array([[1.0, 0, 1, 5]]), np.array([[0.0, 5, 1, 0]]), np.array([[0, 0, np.nan, 1]])],
)
def test_bad_boxes_are_refused(boxes):
    with pytest.raises(ShapeError):
        PatchPooler(boxes, EPSG, 3)


def test_bad_min_coverage_is_refused():
    with pytest.raises(ShapeError, match="min_coverage"):
        PatchPooler(np.empty((0, 4)), EPSG, 3).finish(1.5)


def test_points_equal_numpy():
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(200, 6)).astype(np.float32)
    vectors[::7, 2] = np.nan
    index = rng.integers(-1, 9, 200)
    pooled = pool_points(vectors, index, 10, min_count=2)
    for patch in range(9):
        chosen = vectors[index == patch]
        valid = chosen[~np.isnan(chosen).any(axis=1)].astype(np.float64)
        np.testing.assert_allclose(pooled.mean[patch], valid.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(pooled.std[patch], valid.std(axis=0), atol=1e-6)
        np.testing.assert_allclose(pooled.min[patch], valid.min(axis=0))
        np.testing.assert_allclose(pooled.max[patch], valid.max(axis=0))
        assert pooled.n_pixels[patch] == len(valid)
        assert pooled.valid_fraction[patch] == pytest.approx(len(valid) / len(chosen))
    assert pooled.n_pixels[9] == 0
    assert pooled.valid_fraction[9] == 0
    assert np.isnan(pooled.mean[9]).all()


def test_points_below_min_count_are_nan():
    vectors = np.ones((3, 2), np.float32)
    pooled = pool_points(vectors, np.array([1, 0, 1]), 2, min_count=2)
    assert np.isnan(pooled.mean[0]).all()
    assert (pooled.mean[1] == 1).all()


def test_bad_points_are_refused():
    vectors = np.ones((3, 2), np.float32)
    with pytest.raises(ShapeError, match="patch_index"):
        pool_points(vectors, np.array([0, 1, 2]), 2)
    with pytest.raises(ShapeError, match="points to pool"):
        pool_points(vectors, np.array([0, 1]), 2)
    with pytest.raises(ShapeError, match="min_count"):
        pool_points(vectors, np.array([0, 1, 1]), 2, min_count=0)


def small_pooled() -> PooledPatches:
    return pool_points(np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32), np.arange(40) % 4, 4)


@pytest.mark.parametrize("name", list(POOLING_OPERATORS))
def test_operators_have_the_width_that_they_declare(name):
    operator = POOLING_OPERATORS[name]
    matrix = features(small_pooled().columns(), operator)
    assert matrix.shape == (4, operator.output_dims(5))
    assert matrix.dtype == np.float32
    assert operator.name == name


def test_stats_vector_is_min_max_mean_std():
    pooled = small_pooled()
    expected = np.concatenate([pooled.min, pooled.max, pooled.mean, pooled.std], axis=1)
    np.testing.assert_array_equal(stats_vector(pooled), expected)
    np.testing.assert_array_equal(features(pooled.columns(), "stats"), expected)


def test_unknown_operator_names_the_nearest():
    with pytest.raises(UnknownOperatorError, match="mean_std"):
        features(small_pooled().columns(), "meanstd")


def test_missing_column_is_named():
    with pytest.raises(IsthmusError, match="'std'"):
        features({"mean": np.ones((2, 3), np.float32)}, "mean_std")
