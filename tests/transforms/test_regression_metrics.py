from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.errors import ShapeError
from transforms.regression_metrics import (
    HIGHER_IS_BETTER,
    PER_OUTPUT_METRICS,
    REGRESSION_METRICS,
    regression_sums_by_block,
    units_of_sums,
)

M = 3


def make_units(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction and blocks; outputs in different units, one far from 0."""
    rng = np.random.default_rng(seed)
    truth = rng.normal([0.3, -12.0, 900.0], [0.1, 3.0, 40.0], (n, M))
    return truth, truth * 0.9 + rng.normal(0, [0.05, 1.0, 30.0], (n, M)), rng.integers(0, 7, n) * 2**40 - 5


def total(truth: np.ndarray, pred: np.ndarray) -> np.ndarray:
    return regression_sums_by_block(truth, pred, np.zeros(len(truth), int))[1].sum(axis=0)


def test_metrics_equal_scikit_learn() -> None:
    truth, pred, blocks = make_units()
    sums = regression_sums_by_block(truth, pred, blocks)[1].sum(axis=0)
    references = {"mae": sk.mean_absolute_error, "rmse": sk.root_mean_squared_error, "r2": sk.r2_score}
    for name, reference in references.items():
        expected = reference(truth, pred, multioutput="raw_values")
        assert PER_OUTPUT_METRICS[name](sums) == pytest.approx(expected)
        assert float(REGRESSION_METRICS[name](sums)) == pytest.approx(reference(truth, pred))
    assert PER_OUTPUT_METRICS["bias"](sums) == pytest.approx((pred - truth).mean(axis=0))
    assert float(REGRESSION_METRICS["bias"](sums)) == pytest.approx((pred - truth).mean())


def test_nodata_truth_counts_nowhere() -> None:
    truth, pred, blocks = make_units()
    holes = np.random.default_rng(1).random(truth.shape) < 0.3
    truth[holes], pred[holes & (np.arange(M) == 1)] = np.nan, np.nan  # a prediction may be missing where truth is
    sums = regression_sums_by_block(truth, pred, blocks)[1].sum(axis=0)
    for output in range(M):
        kept = ~holes[:, output]
        expected = sk.r2_score(truth[kept, output], pred[kept, output])
        assert PER_OUTPUT_METRICS["r2"](sums)[output] == pytest.approx(expected)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_blocks_sum_to_the_whole(n_blocks: int, seed: int) -> None:
    truth, pred, _ = make_units(30, seed)
    truth[np.random.default_rng(seed).random(30) < 0.2] = np.nan
    ids = np.random.default_rng(seed).integers(0, n_blocks, 30)
    blocks, sums = regression_sums_by_block(truth, pred, ids)
    known = ~np.isnan(truth[:, 0])
    assert blocks.tolist() == sorted(set(ids[known].tolist()))
    assert sums.sum(axis=0) == pytest.approx(total(truth, pred))
    for block, of_block in zip(blocks, sums, strict=True):
        assert of_block == pytest.approx(total(truth[ids == block], pred[ids == block]))
    # what all arms on these units share, and zero in no block that holds units
    assert np.array_equal(units_of_sums(sums), units_of_sums(regression_sums_by_block(truth, pred + 1, ids)[1]))
    assert (units_of_sums(sums)[..., 0] > 0).all()


@given(hnp.arrays(np.float64, (2, 3, 20), elements=st.floats(-5, 5)))
def test_leading_axes_are_independent(values: np.ndarray) -> None:
    sums = np.stack([[total(row[:10, None], row[10:, None]) for row in rows] for rows in values])
    for metric in REGRESSION_METRICS.values():
        one_by_one = [[metric(sums[i, j]) for j in range(3)] for i in range(2)]
        assert metric(sums) == pytest.approx(np.array(one_by_one), nan_ok=True)


def test_r2_is_about_the_mean_of_all_blocks() -> None:
    # within each block truth is constant; over both it is not
    truth, pred, ids = np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([[0.0], [0.1], [1.0], [0.9]]), [1, 1, 2, 2]
    sums = regression_sums_by_block(truth, pred, ids)[1]
    assert np.isnan(REGRESSION_METRICS["r2"](sums)).all()
    assert float(REGRESSION_METRICS["r2"](sums.sum(axis=0))) == pytest.approx(sk.r2_score(truth, pred))


@pytest.mark.parametrize("value", [0.0, 0.1, -12.3, 1e6])
def test_r2_of_a_constant_is_undefined_and_left_out_of_the_mean(value: float) -> None:
    truth, pred, _ = make_units(97)
    truth[:, 2] = value
    sums = total(truth, pred)
    assert np.isnan(PER_OUTPUT_METRICS["r2"](sums)[2])
    assert float(REGRESSION_METRICS["r2"](sums)) == pytest.approx(sk.r2_score(truth[:, :2], pred[:, :2]))
    assert np.isfinite(PER_OUTPUT_METRICS["mae"](sums)).all()


@pytest.mark.filterwarnings("error")
def test_without_units_every_metric_is_nan_and_silent() -> None:
    assert all(np.isnan(metric(np.zeros((M, 6)))) for metric in REGRESSION_METRICS.values())
    blocks, sums = regression_sums_by_block(np.full((4, M), np.nan), np.zeros((4, M)), np.zeros(4, int))
    assert (len(blocks), sums.shape) == (0, (0, M, 6))


def test_which_way_is_better() -> None:
    truth, pred, _ = make_units()
    good, bad = total(truth, truth), total(truth, pred)
    for name, higher in HIGHER_IS_BETTER.items():
        assert (REGRESSION_METRICS[name](good) > REGRESSION_METRICS[name](bad)) == higher


def test_bad_arrays_are_refused() -> None:
    truth, pred, blocks = make_units(5)
    with pytest.raises(ShapeError, match="one column per output"):
        regression_sums_by_block(truth, pred[:, :2], blocks)
    with pytest.raises(ShapeError, match="one column per output"):
        regression_sums_by_block(truth, pred, blocks[:4])
    pred[2, 1] = np.nan
    with pytest.raises(ShapeError, match="1 not finite"):
        regression_sums_by_block(truth, pred, blocks)
