"""Gathered operators: the compiled loops against the definitions, and independence of the cut into windows."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.pooling.accumulators import WindowBoxes
from transforms.pooling.gathered import GATHERED_COLUMNS, GatheredColumns
from transforms.pooling.operators import find_operator
from transforms.pooling.pixels import Codebook, MissingCodebookError, PatchPixels, PoolingParameters
from transforms.quantization import dequantize

ONE = 65_536
SIZE = 40
seeds = st.integers(0, 2**32 - 1)
grids = st.sampled_from(
    [(10.0, 10.0, 500_000.0, 1_400_000.0), (9.995, 9.997, 612_345.67, 5_000_003.21), (20.0, 15.0, 3.0, 7.5)]
)


def make_parameters(rng, dims, k=5):
    vlad, bow = (Codebook((0.3 * rng.normal(size=(k + e, dims))).astype(np.float32), str(e)) for e in range(2))
    return PoolingParameters(gem_p=3.0, percentiles=(0, 10, 50, 66, 100), codebooks={"vlad": vlad, "bow": bow})


def make_field(rng, dims, nodata_share, dtype=np.int8):
    codes = rng.integers(-127, 128, (dims, SIZE, SIZE), dtype=np.int8)
    valid = rng.random((SIZE, SIZE)) >= nodata_share
    codes[:, ~valid] = -128
    return (codes if dtype == np.int8 else dequantize(codes)), valid


def make_boxes(rng, affine, n):
    corner = rng.uniform(-0.2, 0.9, (n, 2)) * SIZE
    size = np.where(rng.random((n, 2)) < 0.2, rng.uniform(0.1, 1.5, (n, 2)), rng.uniform(3, 20, (n, 2)))
    south_east = corner + size
    west, north = affine.c + affine.a * corner[:, 0], affine.f + affine.e * corner[:, 1]
    east, south = affine.c + affine.a * south_east[:, 0], affine.f + affine.e * south_east[:, 1]
    return np.rint(np.stack([west, south, east, north], axis=1) * 4096) / 4096


def extents_of(boxes, affine):
    rows, cols = (boxes[:, [3, 1]] - affine.f) / affine.e, (boxes[:, [0, 2]] - affine.c) / affine.a
    return np.rint(np.concatenate([rows, cols], axis=1) * ONE).astype(np.int64)


def touching(boxes, affine, valid, values, slots):
    """The boxes that share area with a window; what gathering does not read is left empty."""
    extents = extents_of(boxes, affine)
    height, width = valid.shape
    inner = np.clip(extents, 0, [height * ONE, height * ONE, width * ONE, width * ONE])
    keep = (inner[:, 1] > inner[:, 0]) & (inner[:, 3] > inner[:, 2])
    none = np.empty((keep.sum(), 8), np.int64)
    empty = np.empty(keep.sum(), np.int64)
    return WindowBoxes(slots[keep], none, none, valid, empty, empty, empty.astype(np.uint8), boxes[keep], affine)


def gather(boxes, windows, columns, parameters, slots=None, threads=1):
    """Pool boxes from (values, valid, affine) windows."""
    slots = np.arange(len(boxes)) if slots is None else slots
    gathered = GatheredColumns(columns, len(windows[0][0]), parameters, threads)
    gathered.reserve(int(slots.max()) + 1)
    for values, valid, affine in windows:
        near = touching(boxes, affine, valid, values, slots)
        if len(near):
            gathered.add(values, near)
    return gathered.columns(slots, np.ones(len(slots), np.int64))


def pixels_of(extent, values, valid):
    """The valid pixels of one box, by the rule of shares: the product of both axes, rounded to 2^-16."""
    top, bottom, left, right = (int(edge) for edge in extent)
    found, share, at = [], [], []
    for i in range(max(top // ONE, 0), min(-(-bottom // ONE), SIZE)):
        for j in range(max(left // ONE, 0), min(-(-right // ONE), SIZE)):
            row_share = min(bottom, (i + 1) * ONE) - max(top, i * ONE)
            col_share = min(right, (j + 1) * ONE) - max(left, j * ONE)
            area = (row_share * col_share + ONE // 2) // ONE
            if valid[i, j] and area:
                found.append(values[:, i, j])
                share.append(area / ONE)
                x = (j * ONE + ONE // 2 - left) / (right - left)
                at.append((x, 1 - (i * ONE + ONE // 2 - top) / (bottom - top)))
    n = len(share)
    vectors = np.array(found, np.float64).reshape(n, len(values))
    return PatchPixels(vectors, np.array(share), np.ones(n, np.bool_), np.array(at).reshape(n, 2))


def split(values, valid, affine, rng):
    """Cut a window into 3 x 3 parts."""
    rows, cols = ([0, *np.sort(rng.choice(np.arange(1, SIZE), 2, replace=False)).tolist(), SIZE] for _ in range(2))
    return [
        (
            np.ascontiguousarray(values[:, rows[i] : rows[i + 1], cols[j] : cols[j + 1]]),
            valid[rows[i] : rows[i + 1], cols[j] : cols[j + 1]],
            affine @ Affine.translation(cols[j], rows[i]),
        )
        for i in range(3)
        for j in range(3)
    ]


@settings(deadline=None, max_examples=60)
@given(
    seeds,
    grids,
    st.sampled_from([1, 3, 5, 16]),
    st.sampled_from([0.0, 0.15, 0.9]),
    st.sampled_from([np.int8, np.float32]),
)
def test_compiled_loops_equal_the_definitions(seed, grid, dims, nodata_share, dtype):
    rng = np.random.default_rng(seed)
    affine = Affine(grid[0], 0, grid[2], 0, -grid[1], grid[3])
    values, valid = make_field(rng, dims, nodata_share, dtype)
    boxes, parameters = make_boxes(rng, affine, 8), make_parameters(rng, dims)
    pooled = gather(boxes, [(values, valid, affine)], GATHERED_COLUMNS, parameters)
    vectors = dequantize(values) if dtype == np.int8 else values
    for k, extent in enumerate(extents_of(boxes, affine)):
        pixels = pixels_of(extent, vectors, valid)
        for name in GATHERED_COLUMNS:
            expected = find_operator(name).define(pixels, parameters)
            if name in ("median_iqr", "percentiles", "bow"):
                expected = expected.astype(np.float32)  # values that occur, and exact counts: not a bit differs
                if name != "median_iqr":
                    np.testing.assert_array_equal(pooled[name][k], expected, err_msg=name)
            np.testing.assert_allclose(pooled[name][k], expected, rtol=1e-5, atol=2e-6, err_msg=name)


@settings(deadline=None, max_examples=40)
@given(seeds, grids, st.sampled_from([0.0, 0.2]), st.sampled_from([np.int8, np.float32]))
def test_order_and_split_of_windows_do_not_change_a_bit(seed, grid, nodata_share, dtype):
    rng = np.random.default_rng(seed)
    affine = Affine(grid[0], 0, grid[2], 0, -grid[1], grid[3])
    values, valid = make_field(rng, 6, nodata_share, dtype)
    boxes, parameters = make_boxes(rng, affine, 12), make_parameters(rng, 6)
    whole = gather(boxes, [(values, valid, affine)], GATHERED_COLUMNS, parameters)
    parts = split(values, valid, affine, rng)
    for order in (np.arange(9), rng.permutation(9)):
        other = gather(boxes, [parts[k] for k in order], GATHERED_COLUMNS, parameters)
        for name in GATHERED_COLUMNS:
            np.testing.assert_array_equal(other[name], whole[name], err_msg=name)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_windows_with_rows_from_the_south_and_other_slots_pool_to_the_same(dtype):
    rng = np.random.default_rng(3)
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 400.0)
    values, valid = make_field(rng, 6, 0.1, dtype)
    boxes, parameters = make_boxes(rng, affine, 12), make_parameters(rng, 6)
    straight = gather(boxes, [(values, valid, affine)], GATHERED_COLUMNS, parameters)
    stored = np.ascontiguousarray(values[:, ::-1]), np.ascontiguousarray(valid[::-1])
    window = (stored[0][:, ::-1], stored[1][::-1], affine)
    turned = gather(boxes, [window], GATHERED_COLUMNS, parameters, slots=rng.permutation(20)[:12])
    for name in GATHERED_COLUMNS:
        np.testing.assert_array_equal(turned[name], straight[name], err_msg=name)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_threads_do_not_change_a_bit(dtype, monkeypatch):
    monkeypatch.setattr("transforms.pooling.gathered._GROUP_BYTES", 10_000)  # many small groups
    rng = np.random.default_rng(10)
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 400.0)
    values, valid = make_field(rng, 6, 0.1, dtype)
    boxes, parameters = make_boxes(rng, affine, 60), make_parameters(rng, 6)
    one, three = (
        gather(boxes, [(values, valid, affine)], GATHERED_COLUMNS, parameters, threads=threads) for threads in (1, 3)
    )
    for name in GATHERED_COLUMNS:
        np.testing.assert_array_equal(three[name], one[name], err_msg=name)


def test_columns_that_are_asked_for_alone_are_the_same():
    rng = np.random.default_rng(4)
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 400.0)
    values, valid = make_field(rng, 6, 0.1)
    boxes, parameters = make_boxes(rng, affine, 12), make_parameters(rng, 6)
    together = gather(boxes, [(values, valid, affine)], GATHERED_COLUMNS, parameters)
    for name in GATHERED_COLUMNS:
        alone = gather(boxes, [(values, valid, affine)], (name,), parameters)
        assert list(alone) == [name]
        np.testing.assert_array_equal(alone[name], together[name])


def test_a_cleared_slot_knows_nothing_of_the_patch_before():
    rng = np.random.default_rng(5)
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 400.0)
    values, valid = make_field(rng, 6, 0.0)
    cut, inside = np.array([[-50.0, 50.0, 100.0, 200.0]]), np.array([[40.0, 50.0, 180.0, 200.0]])
    parameters = make_parameters(rng, 6)
    gathered = GatheredColumns(GATHERED_COLUMNS, 6, parameters)
    gathered.reserve(1)
    slot, weight = np.zeros(1, np.int64), np.ones(1, np.int64)
    gathered.add(values, touching(cut, affine, valid, values, slot))
    assert not np.isnan(gathered.columns(slot, weight)["percentiles"]).any()
    gathered.clear(slot)
    assert np.isnan(gathered.columns(slot, weight)["percentiles"]).all()
    gathered.add(values, touching(inside, affine, valid, values, slot))
    expected = gather(inside, [(values, valid, affine)], GATHERED_COLUMNS, parameters)
    for name, column in gathered.columns(slot, weight).items():
        np.testing.assert_array_equal(column, expected[name], err_msg=name)


def test_reserving_more_slots_keeps_what_is_there():
    rng = np.random.default_rng(6)
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 400.0)
    values, valid = make_field(rng, 6, 0.0)
    boxes = make_boxes(rng, affine, 4)
    gathered = GatheredColumns(("percentiles",), 6, PoolingParameters())
    gathered.reserve(4)
    gathered.add(values, touching(boxes, affine, valid, values, np.arange(4)))
    before = gathered.columns(np.arange(4), np.ones(4, np.int64))["percentiles"]
    gathered.reserve(9)
    gathered.reserve(2)
    np.testing.assert_array_equal(gathered.columns(np.arange(4), np.ones(4, np.int64))["percentiles"], before)
    assert np.isnan(gathered.columns(np.arange(4, 9), np.ones(5, np.int64))["percentiles"]).all()


def test_pixels_of_finished_patches_are_not_kept():
    rng = np.random.default_rng(7)
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 400.0)
    values, valid = make_field(rng, 6, 0.0)
    boxes = make_boxes(rng, affine, 12)
    gathered = GatheredColumns(("percentiles",), 6, PoolingParameters())
    gathered.reserve(12)
    for part, mask, corner in split(values, valid, affine, rng):
        gathered.add(part, touching(boxes, corner, mask, part, np.arange(12)))
    extents = extents_of(boxes, affine)
    is_whole = (extents >= 0).all(axis=1) & (extents <= SIZE * ONE).all(axis=1)
    assert 0 < is_whole.sum() < 12
    assert sorted(gathered.open_slots()) == np.flatnonzero(~is_whole & _shares_area(extents)).tolist()


def _shares_area(extents):
    inner = np.clip(extents, 0, SIZE * ONE)
    return (inner[:, 1] > inner[:, 0]) & (inner[:, 3] > inner[:, 2])


def test_a_large_patch_keeps_the_accuracy_of_covariance():
    rng = np.random.default_rng(8)
    codes = np.clip(100 + rng.normal(0, 2, (8, 300, 300)), -127, 127).astype(np.int8)  # far from 0, little spread
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 3000.0)
    box = np.array([[3.0, 4.0, 2991.0, 2996.0]])
    pooled = gather(box, [(codes, np.ones((300, 300), np.bool_), affine)], ("covariance",), PoolingParameters())
    pixels = dequantize(codes).reshape(8, -1).T.astype(np.float64)
    row_share, col_share = np.ones(300), np.ones(300)
    row_share[[0, -1]], col_share[[0, -1]] = (0.4, 0.6), (0.7, 0.1)
    share = np.outer(row_share, col_share)
    share = np.rint(share * ONE) / ONE
    patch = PatchPixels(pixels, share.ravel(), np.ones(90_000, np.bool_), np.zeros((90_000, 2)))
    expected = find_operator("covariance").define(patch, PoolingParameters())
    scale = expected.max()
    np.testing.assert_allclose(pooled["covariance"][0] / scale, expected / scale, atol=1e-5)


def test_ties_between_centres_go_to_the_first_as_in_the_definition():
    rng = np.random.default_rng(9)
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 400.0)
    values, valid = make_field(rng, 6, 0.0)
    centers = (0.3 * rng.normal(size=(3, 6))).astype(np.float32)
    book = Codebook(np.concatenate([centers, centers]), "twice")
    box = np.array([[20.0, 20.0, 330.0, 330.0]])
    pooled = gather(box, [(values, valid, affine)], ("bow",), PoolingParameters(codebooks={"bow": book}))
    assert (pooled["bow"][0, 3:] == 0).all()
    assert pooled["bow"].sum() == pytest.approx(1.0)


def test_centres_that_float32_cannot_tell_apart_are_told_apart():
    rng = np.random.default_rng(11)
    affine = Affine(10.0, 0, 0.0, 0, -10.0, 400.0)
    values, valid = make_field(rng, 16, 0.0)
    center = 0.3 * rng.normal(size=(1, 16))
    twins = np.concatenate([center, center + 3e-7 * rng.normal(size=(1, 16))]).astype(np.float32)
    parameters = PoolingParameters(codebooks={"bow": Codebook(twins, "twins")})
    boxes = make_boxes(rng, affine, 12)
    pooled = gather(boxes, [(values, valid, affine)], ("bow",), parameters)["bow"]
    vectors = dequantize(values)
    for k, extent in enumerate(extents_of(boxes, affine)):
        expected = find_operator("bow").define(pixels_of(extent, vectors, valid), parameters)
        np.testing.assert_array_equal(pooled[k], expected.astype(np.float32))


def test_a_fitted_operator_without_codebook_is_refused():
    with pytest.raises(MissingCodebookError, match="vlad"):
        GatheredColumns(("percentiles", "vlad"), 6, PoolingParameters())
