"""Pooling against a brute-force loop, exactextract, and the rules that its module states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

from tests.transforms.pooling_reference import pool_exactly
from transforms.errors import ShapeError
from transforms.pooling.definitions import gem
from transforms.pooling.open_patches import OpenPatches
from transforms.pooling.operators import MOMENT_COLUMNS, PooledPatches, UnknownOperatorError
from transforms.pooling.pixels import PatchPixels, PoolingParameters
from transforms.pooling.points import pool_points
from transforms.pooling.pooler import CrsMismatchError, PatchPooler, WindowError
from transforms.pooling.sums import ADDITIVE_COLUMNS
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


class Columns:
    """Pooled columns as attributes."""

    def __init__(self, pooled: PooledPatches) -> None:
        self.__dict__.update(pooled.columns, valid_fraction=pooled.valid_fraction, n_pixels=pooled.n_pixels)


def pool(boxes, *windows, min_coverage=0.5, columns=MOMENT_COLUMNS, parameters=None, threads=1):
    dims = windows[0].values.shape[0]
    pooler = PatchPooler(boxes, EPSG, dims, columns, parameters, min_coverage=min_coverage, threads=threads)
    for window in windows:
        pooler.add(window)
    return Columns(pooler.finish())


def bottom_up(window):
    """The same window as a view into rows that are stored from the south."""
    return replace(
        window,
        values=np.ascontiguousarray(window.values[:, ::-1])[:, ::-1],
        valid=np.ascontiguousarray(window.valid[::-1])[::-1],
    )


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


@pytest.mark.parametrize("nodata_share", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("is_bottom_up", [False, True])
@pytest.mark.parametrize("side_m", [3.0, 90.0, 320.0, 777.7, 1_400.0])
def test_codes_are_pooled_in_whole_numbers(nodata_share, is_bottom_up, side_m):
    rng = np.random.default_rng(int(side_m))
    window = make_window(random_codes(rng, (3, 130, 110), nodata_share))
    # some boxes are cut by the window, some lie on pixel edges, some have no area in common with it
    corner = rng.uniform(-0.5 * side_m, 1_100.0, (14, 2)) + np.array([WEST, NORTH - 1_300.0])
    corner[::4] = np.rint(corner[::4] / 10) * 10
    boxes = np.concatenate([corner, corner + side_m], axis=1)
    pooled = pool(boxes, bottom_up(window) if is_bottom_up else window, min_coverage=0.0)
    n_inside = 0
    for k, box in enumerate(boxes):
        expected = pool_exactly(box, window)
        assert pooled.n_pixels[k] == expected["n_pixels"]
        assert pooled.valid_fraction[k] == pytest.approx(
            expected["weight"] / 2**16 * 100 / side_m**2, abs=1e-5 + 4e-3 / side_m
        )
        if expected["weight"]:
            np.testing.assert_array_equal(pooled.mean[k], expected["mean"])
            np.testing.assert_allclose(pooled.std[k], expected["std"], rtol=1e-6)
        for name in ("min", "max"):
            np.testing.assert_array_equal(getattr(pooled, name)[k], expected.get(name, np.full(3, np.nan)))
        n_inside += "min" in expected
    assert n_inside > 0


def test_extreme_codes_do_not_overflow_running_sums():
    codes = np.full((2, 120, 40), 127, np.int8)
    codes[1] = -127
    codes[:, 40:80] = -128  # nodata between two boxes: |-128| is larger than any code
    window = make_window(codes)
    boxes = np.array(
        [[WEST, NORTH - 399.0, WEST + 390.0, NORTH - 3.0], [WEST, NORTH - 1_190.0, WEST + 390, NORTH - 805]]
    )
    pooled = pool(boxes, window)
    value = dequantize(np.array([127], np.int8))[0]
    np.testing.assert_allclose(pooled.mean, [[value, -value]] * 2, rtol=1e-6)
    assert (pooled.std == 0).all()


@pytest.mark.parametrize("kind", ["codes", "floats"])
@pytest.mark.parametrize("name", ADDITIVE_COLUMNS)
def test_a_column_alone_is_the_column_among_others(name, kind):
    rng = np.random.default_rng(5)
    codes = random_codes(rng, (3, 60, 60), 0.1)
    window = make_window(codes if kind == "codes" else dequantize(codes))
    boxes = random_boxes(rng, 9, 600.0, 233.0)
    alone, among = (pool(boxes, window, columns=columns) for columns in ((name,), ADDITIVE_COLUMNS))
    np.testing.assert_array_equal(getattr(alone, name), getattr(among, name))


@pytest.mark.parametrize("kind", ["codes", "floats"])
@pytest.mark.parametrize("p", [0.5, 1.0, 3.0, 7.0])
def test_gem_equals_its_definition(p, kind):
    rng = np.random.default_rng(6)
    # mostly of one sign: a mean of powers near 0 has a root that magnifies any rounding
    codes = np.abs(random_codes(rng, (3, 50, 50)))
    codes[1] = -codes[1]
    window = make_window(codes if kind == "codes" else dequantize(codes))
    parameters = PoolingParameters(gem_p=p)
    box = np.array([[WEST + 20.0, NORTH - 340.0, WEST + 340.0, NORTH - 20.0]])
    pooled = pool(box, window, columns=("gem",), parameters=parameters)
    values = dequantize(codes[:, 2:34, 2:34]).reshape(3, -1).T.astype(np.float64)
    n = len(values)
    pixels = PatchPixels(values, np.ones(n), np.ones(n, bool), np.full((n, 2), 0.5))
    np.testing.assert_allclose(pooled.gem[0], gem(pixels, parameters), rtol=1e-5)


@pytest.mark.parametrize("code", [1, -1, 20, 127])
@pytest.mark.parametrize("p", [1.0, 3.0, 10.0])
def test_gem_keeps_a_constant_however_small(p, code):
    window = make_window(np.full((1, 40, 40), code, np.int8))
    box = np.array([[WEST + 3.0, NORTH - 330.0, WEST + 323.0, NORTH - 7.0]])
    pooled = pool(box, window, columns=("gem",), parameters=PoolingParameters(gem_p=p))
    np.testing.assert_allclose(pooled.gem[0], dequantize(np.array([code], np.int8)), rtol=1e-4)


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
    boxes = random_boxes(np.random.default_rng(0), 3, 400.0, 80.0)
    pooled = PatchPooler(boxes, EPSG, 4, MOMENT_COLUMNS, min_coverage=0.0).finish()
    assert len(pooled) == 3
    assert (pooled.valid_fraction == 0).all()
    assert np.isnan(pooled.columns["mean"]).all()


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


def four_windows(codes):
    """Quarters of a window, and the boxes that are whole after each."""
    half = codes.shape[1] // 2
    return [
        make_window(codes[:, y : y + half, x : x + half].copy(), GRID @ Affine.translation(x, y))
        for y in (0, half)
        for x in (0, half)
    ]


def test_patches_are_given_when_their_last_window_has_come():
    codes = random_codes(np.random.default_rng(8), (3, 40, 40))
    windows = four_windows(codes)
    west, middle, everywhere = 20.0, 170.0, 0.0
    corners = [(west, 20.0, 50.0), (middle, 20.0, 60.0), (everywhere, 0.0, 400.0), (900.0, 0.0, 50.0)]
    boxes = np.array([[WEST + x, NORTH - y - side, WEST + x + side, NORTH - y] for x, y, side in corners])
    pooler = PatchPooler(boxes, EPSG, 3, MOMENT_COLUMNS)
    pooler.expect([window.bounds for window in windows])
    given = []
    for window in windows:
        pooler.add(window)
        given.append(pooler.drain().index.tolist())
    assert given == [[0], [1], [], [2]]
    rest = pooler.finish()
    assert rest.index.tolist() == [3]
    assert rest.valid_fraction.tolist() == [0]
    assert pooler.finish().index.tolist() == []


def test_a_window_that_was_not_announced_is_refused():
    windows = four_windows(random_codes(np.random.default_rng(8), (3, 40, 40)))
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 80, NORTH]]), EPSG, 3, MOMENT_COLUMNS)
    pooler.expect([windows[0].bounds, windows[1].bounds])
    pooler.add(windows[0])
    with pytest.raises(WindowError, match="announced"):
        pooler.add(windows[0])
    with pytest.raises(WindowError, match="announced"):
        pooler.add(windows[2])
    with pytest.raises(WindowError, match="each extent once"):
        pooler.expect([windows[1].bounds])
    with pytest.raises(CrsMismatchError, match="EPSG:32647"):
        pooler.expect([replace(windows[1].bounds, epsg=32647)])


def test_slots_are_handed_out_again():
    patches = OpenPatches(1_000)
    for start in range(0, 1_000, 10):
        chosen = np.arange(start, start + 10)
        slots = patches.slots_of(chosen)
        assert len(np.unique(slots)) == 10
        np.testing.assert_array_equal(patches.slots_of(chosen), slots)
        np.testing.assert_array_equal(np.sort(patches.free(chosen)), np.sort(slots))
    assert patches.n_slots == 10


def test_open_patches_never_share_a_slot():
    rng, patches = np.random.default_rng(0), OpenPatches(200)
    is_open: set[int] = set()
    for _ in range(60):
        opened = rng.choice(200, 7, replace=False)
        patches.slots_of(opened)
        is_open |= set(opened.tolist())
        slots = patches.slots_of(np.array(sorted(is_open)))
        assert len(np.unique(slots)) == len(is_open)
        assert slots.max() < patches.n_slots
        closed = rng.choice(200, 5, replace=False)
        patches.free(closed)
        is_open -= set(closed.tolist())


def test_unknown_columns_are_refused():
    with pytest.raises(UnknownOperatorError, match="mean"):
        PatchPooler(np.empty((0, 4)), EPSG, 3, ("meen",))


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
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 80, NORTH]]), EPSG, 3, MOMENT_COLUMNS)
    with pytest.raises(WindowError, match=word) as caught:
        pooler.add(window)
    assert "memory" in str(caught.value)


def test_another_zone_is_refused():
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 80, NORTH]]), EPSG, 3, MOMENT_COLUMNS)
    with pytest.raises(CrsMismatchError, match="EPSG:32647"):
        pooler.add(replace(make_window(np.zeros((3, 8, 8), np.int8)), epsg=32647))


def test_two_pixel_types_or_sizes_are_refused():
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 160, NORTH]]), EPSG, 3, MOMENT_COLUMNS)
    pooler.add(make_window(np.zeros((3, 8, 8), np.int8)))
    with pytest.raises(WindowError, match="dtype"):
        pooler.add(make_window(np.zeros((3, 8, 8), np.float32)))
    with pytest.raises(WindowError, match="pixel size"):
        pooler.add(make_window(np.zeros((3, 4, 4), np.int8), Affine(20, 0, WEST + 80, 0, -20, NORTH)))


def test_overlapping_windows_are_found():
    pooler = PatchPooler(np.array([[WEST, NORTH - 80, WEST + 80, NORTH]]), EPSG, 3, MOMENT_COLUMNS)
    window = make_window(np.zeros((3, 8, 8), np.int8))
    pooler.add(window)
    pooler.add(window)
    with pytest.raises(WindowError, match="overlap"):
        pooler.finish()


def test_boxes_that_would_overflow_are_refused():
    side = 7_500.0
    pooler = PatchPooler(np.array([[WEST, NORTH - side, WEST + side, NORTH]]), EPSG, 1, MOMENT_COLUMNS)
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
        PatchPooler(boxes, EPSG, 3, MOMENT_COLUMNS)


def test_bad_min_coverage_is_refused():
    with pytest.raises(ShapeError, match="min_coverage"):
        PatchPooler(np.empty((0, 4)), EPSG, 3, MOMENT_COLUMNS, min_coverage=1.5)


def test_points_equal_numpy():
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(200, 6)).astype(np.float32)
    vectors[::7, 2] = np.nan
    index = rng.integers(-1, 9, 200)
    pooled = Columns(pool_points(vectors, index, 10, min_count=2))
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
    pooled = Columns(pool_points(vectors, np.array([1, 0, 1]), 2, min_count=2))
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
