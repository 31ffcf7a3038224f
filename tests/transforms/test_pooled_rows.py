from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from transforms.places import PatchPlaces
from transforms.pooled_rows import MIN_COVERAGE, RasterPooling, concat_pooled, pool_listed_pixels, pooled_table
from transforms.pooling.pixels import PoolingParameters
from transforms.quantization import dequantize
from transforms.utm import unproject
from transforms.windows import PixelWindow

DIMS = 3
VECTORS = ("mean", "mean_renormalised", "std", "min", "max")


def make_spine(x_m: list[float], y_m: list[float], epsg: list[int], side_m: float = 40.0) -> PatchPlaces:
    n = len(x_m)
    x, y, codes = np.array(x_m, float), np.array(y_m, float), np.array(epsg, np.int32)
    lon, lat = np.empty(n), np.empty(n)
    for i in range(n):
        lon[i], lat[i] = (float(c) for c in unproject(x[i], y[i], int(codes[i])))
    nowhere = np.full(n, -1, np.int32)
    ids = (np.arange(n) + 100).astype(np.uint64)
    return PatchPlaces(ids, np.full(n, "own"), nowhere, nowhere, lon, lat, codes, x, y, np.full(n, side_m))


def make_window(epsg: int, seed: int, *, nodata_cols: int = 0) -> PixelWindow:
    """20 x 20 px of 10 m, from (300000, 1400000) to the south-east."""
    codes = np.random.default_rng(seed).integers(-127, 128, (DIMS, 20, 20), dtype=np.int8)
    codes[:, :, :nodata_cols] = -128
    affine = Affine(10, 0, 300_000, 0, -10, 1_400_000)
    return PixelWindow(codes, codes[0] != -128, affine, epsg, "memory")


def pixels_under(window: PixelWindow, x_m: float, y_m: float, side_m: float = 40.0) -> np.ndarray:
    x, y = (axis.ravel() for axis in np.meshgrid(*window.centers()))
    inside = (abs(x - x_m) < side_m / 2) & (abs(y - y_m) < side_m / 2)
    return dequantize(window.values).reshape(DIMS, -1).T[inside & window.valid.ravel()]


def test_footprints_are_pooled_in_their_own_zone_and_keep_their_order() -> None:
    spine = make_spine([300_100, 300_040, 300_100], [1_399_900] * 3, [32648, 32647, 32647])
    windows = {epsg: make_window(epsg, epsg) for epsg in (32647, 32648)}
    pooling = RasterPooling(spine, DIMS)
    for window in windows.values():
        pooling.add(window)
    pooled = pooling.finish()
    for i in range(3):
        own = pixels_under(windows[int(spine.epsg[i])], spine.x_m[i], spine.y_m[i])
        assert len(own) == 16
        np.testing.assert_allclose(pooled.columns["mean"][i], own.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(pooled.columns["std"][i], own.std(axis=0), atol=1e-6)
        np.testing.assert_array_equal(pooled.columns["min"][i], own.min(axis=0))
    assert pooled.n_pixels.tolist() == [16, 16, 16]


def test_patches_of_all_zones_are_given_as_their_windows_come() -> None:
    spine = make_spine([300_100, 300_040, 300_100, 400_000], [1_399_900] * 4, [32648, 32647, 32647, 32647])
    windows = [make_window(epsg, epsg) for epsg in (32647, 32648)]
    pooling = RasterPooling(spine, DIMS)
    pooling.expect([window.bounds for window in windows])
    parts = []
    for window in windows:
        pooling.add(window)
        parts.append(pooling.drain())
    parts.append(pooling.finish())
    assert [part.index.tolist() for part in parts] == [[1, 2], [0], [3]]
    at_once = RasterPooling(spine, DIMS)
    for window in windows:
        at_once.add(window)
    whole, joined = at_once.finish(), concat_pooled(parts)
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(joined.columns[name], column, err_msg=name)
    table = pooled_table(spine, parts[1], "aef", PoolingParameters(), is_simulated=True)
    assert table["patch_id"].to_pylist() == [100]


def test_every_operator_of_a_list_becomes_a_column() -> None:
    spine = make_spine([300_100], [1_399_900], [32648])
    columns = ("mean", "gem", "percentiles", "pyramid_2x2")
    pooling = RasterPooling(spine, DIMS, columns)
    pooling.add(make_window(32648, 1))
    table = pooled_table(spine, pooling.finish(), "aef", PoolingParameters(), is_simulated=True)
    x, y = np.meshgrid(*(axis[8:12] for axis in make_window(32648, 1).centers()))
    lon, lat = unproject(x.ravel(), y.ravel(), 32648)
    vectors = pixels_under(make_window(32648, 1), 300_100, 1_399_900)
    listed = pool_listed_pixels(spine, lon, lat, vectors, columns)
    for name in columns:
        value = np.array(table[name].to_pylist()[0])
        np.testing.assert_allclose(value, listed.columns[name][0], atol=1e-4, err_msg=name)


def test_the_ground_to_read_covers_all_footprints() -> None:
    spine = make_spine([300_100, 500_000, 300_060], [1_399_900, 1_000_000, 1_399_900], [32648, 32648, 32647])
    boxes = RasterPooling(spine, DIMS).boxes()
    assert sorted(box.epsg for box in boxes) == [32647, 32648, 32648]
    for footprint, epsg in zip(spine.boxes(), spine.epsg, strict=True):
        west, south, east, north = footprint
        assert any(
            b.epsg == epsg and b.west <= west and b.south <= south and b.east >= east and b.north >= north
            for b in boxes
        )


@pytest.mark.parametrize(("nodata_cols", "has_vector"), [(9, True), (10, True), (11, False)])
def test_footprints_with_less_than_half_their_pixels_have_no_vector(nodata_cols: int, has_vector: bool) -> None:
    assert MIN_COVERAGE == 0.5
    spine = make_spine([300_100], [1_399_900], [32648])  # columns 8 to 11
    pooling = RasterPooling(spine, DIMS)
    pooling.add(make_window(32648, 0, nodata_cols=nodata_cols))
    table = pooled_table(spine, pooling.finish(), "aef", PoolingParameters(), is_simulated=True)
    row = table.to_pylist()[0]
    assert row["valid_fraction"] == pytest.approx((12 - nodata_cols) / 4)
    for name in VECTORS:
        assert np.isfinite(row[name]).all() == has_vector, name
    assert np.isnan(row["mean_length"]) == (not has_vector)


def test_listed_pixels_are_pooled_where_their_centre_is() -> None:
    spine = make_spine([300_020, 300_100], [1_399_980, 1_399_900], [32648, 32648])
    x, y = np.array([300_005.0, 300_030, 300_100, 300_500]), np.array([1_399_995.0, 1_399_970, 1_399_905, 1_399_500])
    lon, lat = unproject(x, y, 32648)
    vectors = np.array([[1, 2, 3], [3, 2, 1], [5, 5, 5], [9, 9, 9]], np.float32)
    pooled = pool_listed_pixels(spine, lon, lat, vectors)
    assert pooled.n_pixels.tolist() == [2, 1]
    np.testing.assert_allclose(pooled.columns["mean"], [[2, 2, 2], [5, 5, 5]])
    np.testing.assert_allclose(pooled.columns["max"], [[3, 2, 3], [5, 5, 5]])
    # listed pixels do not say how much ground they stand for
    assert np.isnan(pooled.valid_fraction).all()


def test_a_pixel_in_two_footprints_counts_in_both() -> None:
    # Earth Genome's two lattices cover the ground twice
    spine = make_spine([300_020, 300_030], [1_399_980, 1_399_980], [32648, 32648])
    lon, lat = unproject([300_025.0], [1_399_980.0], 32648)
    pooled = pool_listed_pixels(spine, lon, lat, np.array([[1, 2, 3]], np.float32))
    assert pooled.n_pixels.tolist() == [1, 1]


def test_footprints_without_pixels_have_no_vector() -> None:
    spine = make_spine([300_020], [1_399_980], [32648])
    pooled = pool_listed_pixels(spine, np.empty(0), np.empty(0), np.empty((0, DIMS), np.float32))
    table = pooled_table(spine, pooled, "presto", PoolingParameters(), is_simulated=False)
    assert table["n_pixels"].to_pylist() == [0]
    assert np.isnan(table["mean"].to_pylist()[0]).all()


def test_an_empty_spine_gives_an_empty_table_of_the_same_types() -> None:
    empty, filled = make_spine([], [], []), make_spine([300_020], [1_399_980], [32648])
    nothing = RasterPooling(empty, DIMS).finish()
    assert len(nothing) == 0
    assert RasterPooling(empty, DIMS).boxes() == []
    assert len(pool_listed_pixels(empty, np.empty(0), np.empty(0), np.empty((0, DIMS), np.float32))) == 0
    table = pooled_table(empty, nothing, "aef", PoolingParameters(), is_simulated=True)
    other = pooled_table(filled, RasterPooling(filled, DIMS).finish(), "aef", PoolingParameters(), is_simulated=True)
    assert table.num_rows == 0
    assert table.schema == other.schema


def test_rows_name_their_patch_and_product() -> None:
    spine = make_spine([300_100, 300_040], [1_399_900, 1_399_940], [32648, 32648])
    pooling = RasterPooling(spine, DIMS)
    pooling.add(make_window(32648, 1))
    pooled = pooling.finish()
    table = pooled_table(spine, pooled, "aef", PoolingParameters(), is_simulated=True)
    assert table["patch_id"].to_pylist() == [100, 101]
    assert table["product"].to_pylist() == ["aef", "aef"]
    assert table["lon"].to_pylist() == spine.lon.tolist()
    for name in VECTORS:
        np.testing.assert_array_equal(np.array(table[name].to_pylist(), np.float32), pooled.columns[name])
    lengths = np.linalg.norm(np.array(table["mean"].to_pylist()), axis=1)
    np.testing.assert_allclose(table["mean_length"].to_pylist(), lengths, rtol=1e-6)
