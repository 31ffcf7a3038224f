"""Metrics of dense maps: what single sampled pixels cannot say (boundaries, objects, areas, fractions of cells).

Belongs here: putting mapped pixels on grids, and rows of metrics read off them. Does not: the metrics
(`transforms/segmentation_metrics.py`), predicting the maps (`warehouse/window_maps.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.map_tally import WINDOWS, MapTally
from transforms.metrics import confusion
from transforms.regression_metrics import REGRESSION_METRICS, regression_sums_by_block
from transforms.segmentation_metrics import area_bias, fractions_by_cell

Row = dict[str, Any]
Grid = npt.NDArray[np.int16]
#: Sides of the cells of T6, in pixels: 20, 40, 80 and 160 m of AlphaEarth.
CELLS_PX = (2, 4, 8, 16)


@dataclass(frozen=True)
class MappedPixels:
    """Pixels of kept windows, each predicted by a fold that held it out; parallel arrays.

    Attributes:
        window: (n,), name of the window.
        epsg: int32 (n,).
        x_m: float64 (n,), centre.
        y_m: float64 (n,).
        truth: int16 (n,), -1 = no label.
        pred: int16 (n,).
        block_id: int64 (n,).
        pixel_m: pitch.
    """

    window: npt.NDArray[np.object_]
    epsg: npt.NDArray[np.int32]
    x_m: npt.NDArray[np.float64]
    y_m: npt.NDArray[np.float64]
    truth: Grid
    pred: Grid
    block_id: npt.NDArray[np.int64]
    pixel_m: float


@dataclass(frozen=True)
class _Maps:
    """One grid of a window and zone."""

    truth: Grid
    pred: Grid
    block_id: npt.NDArray[np.int64]


def dense_rows(pixels: MappedPixels, class_names: Sequence[str]) -> list[Row]:
    """Score maps: rows of T5 by boundary, object size and area, and of T6 by cell.

    Returns:
        Rows with task, metric, averaging, tolerance_px, stratum, stratum_value, class_id, class_name, value, n_units,
        n_blocks (those that apply); empty without a scored pixel.
    """
    grids = list(_grids(pixels))
    scored = (pixels.truth >= 0) & (pixels.pred >= 0)
    if not scored.any():
        return []
    size = {"n_units": int(scored.sum()), "n_blocks": len(np.unique(pixels.block_id[scored]))}
    k = len(class_names)
    tally = MapTally(k)
    for grid in grids:
        tally.add(grid.truth, grid.pred, grid.block_id)
    bias = area_bias(confusion(pixels.truth[scored], pixels.pred[scored], k))
    shared = {"metric": "area_bias", "averaging": "none", "stratum": WINDOWS, **size}
    biases = [
        {**shared, "value": float(value), "class_id": i, "class_name": name}
        for i, (name, value) in enumerate(zip(class_names, bias, strict=True))
    ]
    dense = [{"task": "T5", **row} for row in (*tally.rows(), *biases)]
    return dense + [row for cell_px in CELLS_PX for row in _fraction_rows(grids, k, cell_px, pixels.pixel_m)]


def _fraction_rows(grids: Sequence[_Maps], k: int, cell_px: int, pixel_m: float) -> Iterator[Row]:
    cells = [fractions_by_cell(g.truth, g.pred, g.block_id, k, cell_px) for g in grids]
    truth, pred = (np.concatenate([getattr(c, name) for c in cells]) for name in ("truth", "pred"))
    block = np.concatenate([c.block_id for c in cells])
    shared = {"task": "T6", "averaging": "macro", "stratum": "cell_m", "stratum_value": f"{cell_px * pixel_m:g}"}
    if not len(truth):
        yield {**shared, "metric": "mae", "status": f"skipped: no cell of {cell_px} pixels lies whole in a window"}
        return
    blocks, sums = regression_sums_by_block(truth, pred, block)
    for name, score in REGRESSION_METRICS.items():
        value = float(score(sums.sum(axis=0)))
        yield {**shared, "metric": name, "value": value, "n_units": len(truth), "n_blocks": len(blocks)}


def _grids(pixels: MappedPixels) -> Iterator[_Maps]:
    """Put the pixels of each window and zone on a grid, north up; nodata where none is mapped."""
    for window in np.unique(pixels.window.astype(str)):
        for epsg in np.unique(pixels.epsg):
            mine = np.flatnonzero((pixels.window == window) & (pixels.epsg == epsg))
            if len(mine):
                yield _grid(pixels, mine)


def _grid(pixels: MappedPixels, mine: npt.NDArray[np.int64]) -> _Maps:
    x, y = pixels.x_m[mine], pixels.y_m[mine]
    col = np.round((x - x.min()) / pixels.pixel_m).astype(np.int64)
    row = np.round((y.max() - y) / pixels.pixel_m).astype(np.int64)
    shape = (int(row.max()) + 1, int(col.max()) + 1)
    truth, pred = np.full(shape, -1, np.int16), np.full(shape, -1, np.int16)
    block = np.zeros(shape, np.int64)
    truth[row, col], pred[row, col], block[row, col] = pixels.truth[mine], pixels.pred[mine], pixels.block_id[mine]
    return _Maps(truth, pred, block)
