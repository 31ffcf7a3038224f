from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.dense_rows import CELLS_PX, MappedPixels, dense_rows
from transforms.segmentation_metrics import boundary_counts_by_block, boundary_f

NAMES = ("field", "house")
SIDE = 48


def make_pixels(truth: np.ndarray, pred: np.ndarray, seed: int = 0, **other: Any) -> MappedPixels:
    """Pixels of one window in random order, 10 m apart."""
    rows, cols = (values.ravel() for values in np.mgrid[: truth.shape[0], : truth.shape[1]])
    order = np.random.default_rng(seed).permutation(truth.size)
    values = {
        "window": np.full(truth.size, "town", dtype=object),
        "epsg": np.full(truth.size, 32648, np.int32),
        "x_m": 500_005.0 + 10 * cols[order],
        "y_m": 1_400_005.0 - 10 * rows[order],
        "truth": truth.ravel()[order].astype(np.int16),
        "pred": pred.ravel()[order].astype(np.int16),
        "block_id": (cols // 24)[order].astype(np.int64),
        "pixel_m": 10.0,
    }
    return MappedPixels(**(values | other))


def town() -> np.ndarray:
    """A field with two houses: one of 16 pixels, one of 144."""
    truth = np.zeros((SIDE, SIDE), int)
    truth[4:8, 4:8] = 1
    truth[20:32, 28:40] = 1
    return truth


def find(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_perfect_maps_score_one() -> None:
    rows = dense_rows(make_pixels(town(), town()), NAMES)
    assert find(rows, metric="boundary_f", tolerance_px=1.0)["value"] == 1
    assert find(rows, metric="object_recall", stratum_value="64 to 511 px")["value"] == 1
    assert all(row["value"] == 0 for row in rows if row["metric"] == "area_bias")
    assert {row["stratum_value"] for row in rows if row["task"] == "T6"} == {"20", "40", "80", "160"}
    assert find(rows, task="T6", metric="r2", stratum_value="80")["value"] == pytest.approx(1)


def test_small_objects_that_are_missed_are_told_from_large_ones() -> None:
    pred = town()
    pred[4:8, 4:8] = 0
    rows = dense_rows(make_pixels(town(), pred), NAMES)
    assert find(rows, metric="object_recall", stratum_value="0 to 63 px")["value"] == 0
    assert find(rows, metric="object_recall", stratum_value="64 to 511 px")["value"] == 1
    assert find(rows, metric="area_bias", class_name="house")["value"] == pytest.approx(-16 / SIDE**2)
    assert find(rows, task="T6", metric="mae", stratum_value="40")["value"] == pytest.approx(1 / (SIDE / 4) ** 2)


def test_grids_are_put_together_from_pixels_in_any_order() -> None:
    pred = np.roll(town(), 1, axis=1)
    rows = dense_rows(make_pixels(town(), pred, seed=3), NAMES)
    block = np.zeros(pred.shape, np.int64)
    counts = boundary_counts_by_block(town().astype(np.int16), pred.astype(np.int16), block, 2, 1)[1].sum(axis=0)
    assert find(rows, metric="boundary_f", tolerance_px=1.0)["value"] == pytest.approx(float(boundary_f(counts)))
    assert find(rows, metric="boundary_f", tolerance_px=1.0)["n_blocks"] == 2


def test_windows_and_zones_do_not_touch() -> None:
    half = np.array(["a", "b"], dtype=object)[(np.arange(SIDE**2) >= SIDE**2 // 2).astype(int)]
    pixels = make_pixels(town(), town(), window=half)
    scores = dense_rows(pixels, NAMES)
    assert find(scores, metric="boundary_f", tolerance_px=3.0)["n_units"] == SIDE**2


def test_cells_that_fit_nowhere_leave_a_reason() -> None:
    small = np.zeros((6, 6), int)
    small[:, 3:] = 1
    rows = dense_rows(make_pixels(small, small), NAMES)
    status = {row["stratum_value"]: row.get("status") for row in rows if row["task"] == "T6" and row["metric"] == "mae"}
    assert status["20"] is None
    assert status["160"].startswith("skipped: no cell of 16 pixels")
    assert len(CELLS_PX) == len(status)


def test_unlabelled_maps_have_no_rows() -> None:
    nodata = np.full((4, 4), -1)
    assert dense_rows(make_pixels(nodata, np.zeros((4, 4), int)), NAMES) == []
