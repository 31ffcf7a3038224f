"""Metrics of maps that a confusion matrix does not see: boundaries, objects, areas, fractions (tasks T5 and T6).

Belongs here: boundary F, recall by object size, area bias, class fractions on coarser cells; the first two as counts
that add up over windows, folds and spatial blocks.
Does not: IoU and accuracy (`transforms/metrics.py`), errors of fractions (`transforms/regression_metrics.py`),
intervals (`transforms/inference.py`).

A map is int16 (h, w), class ids, -1 = nodata. Pixels are scored where truth and prediction are both given. Nodata and
the edge of a map never make a boundary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from transforms.errors import ShapeError
from transforms.metrics import FloatArray, IntArray, divide_or_nan, mean_of_defined

LabelGrid = npt.NDArray[np.int16]

#: Upper ends, in pixels, of all size bins but the last: below 64, 64-511, 512-4095, 4096 and more. 512 is half of a
#: patch of 32 x 32 pixels: a smaller object never is its majority.
SIZE_EDGES_PX = (64, 512, 4096)


def boundary_counts_by_block(
    truth: LabelGrid, pred: LabelGrid, block_id: npt.NDArray[np.int64], n_classes: int, tolerance_px: int
) -> tuple[IntArray, IntArray]:
    """Count boundary pixels of each class, and those that lie close to a boundary of the same class in the other map.

    A boundary pixel of a class has it and a 4-neighbour of another class. Close is a Euclidean distance between pixel
    centres of at most the tolerance. Per class, as in Csurka et al. 2013 (BMVC), sec. 3; the distance by dilation with
    a disc, as in Perazzi et al. 2016 (DAVIS).

    Args:
        truth: int16 (h, w), -1 = nodata.
        pred: int16 (h, w), -1 = nodata.
        block_id: int64 (h, w), spatial block of each pixel; a boundary pixel counts in its own.
        n_classes: k.
        tolerance_px: 1 or more, pixels.

    Returns:
        (blocks, counts): int64 (b,), sorted, the blocks with scored pixels; int64 (b, k, 4): predicted boundary that is
        close, predicted boundary, true boundary that is close, true boundary.

    Raises:
        ShapeError: grids differ, ids are out of range, or the tolerance is below 1.
    """
    if tolerance_px < 1:
        raise ShapeError("tolerance_px", tolerance_px, "1 or more", "The usual ones are 1 and 3.")
    truths, preds, blocks, slot = _scored(truth, pred, block_id, n_classes)
    offsets = np.arange(-tolerance_px, tolerance_px + 1)
    disc = offsets[:, None] ** 2 + offsets**2 <= tolerance_px**2
    of_truth, of_pred = _is_boundary(truths), _is_boundary(preds)
    counts = np.zeros((len(blocks), n_classes, 4), np.int64)
    for c in range(n_classes):
        true_edge, pred_edge = of_truth & (truths == c), of_pred & (preds == c)
        close_pred = pred_edge & ndimage.binary_dilation(true_edge, disc)
        close_true = true_edge & ndimage.binary_dilation(pred_edge, disc)
        for column, chosen in enumerate((close_pred, pred_edge, close_true, true_edge)):
            counts[:, c, column] = np.bincount(slot[chosen], minlength=len(blocks))
    return blocks, counts


def per_class_boundary_f(counts: npt.ArrayLike) -> FloatArray:
    """Boundary F of each class: harmonic mean of the close shares of its predicted and its true boundary.

    Args:
        counts: (..., k, 4), from `boundary_counts_by_block`, summed at will.

    Returns:
        float64 (..., k); NaN where a class has no boundary in truth or prediction, 0 where it has in one alone.
    """
    close_pred, n_pred, close_true, n_true = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    precision, recall = (
        np.nan_to_num(divide_or_nan(close, n)) for close, n in ((close_pred, n_pred), (close_true, n_true))
    )
    harmonic = np.nan_to_num(divide_or_nan(2 * precision * recall, precision + recall))
    found: FloatArray = np.where(n_pred + n_true > 0, harmonic, np.nan)
    return found


def boundary_f(counts: npt.ArrayLike) -> FloatArray:
    """Unweighted mean of the classes' boundary F, over classes that have a boundary. (..., k, 4) to (...)."""
    return mean_of_defined(per_class_boundary_f(counts))


def units_of_boundaries(counts: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    """Give what counts say of the truth alone, for `contrast_sums`: true boundary pixels, (..., k, 4) to (..., k)."""
    return counts[..., 3]


def size_counts_by_block(
    truth: LabelGrid,
    pred: LabelGrid,
    block_id: npt.NDArray[np.int64],
    n_classes: int,
    size_edges_px: tuple[int, ...] = SIZE_EDGES_PX,
) -> tuple[IntArray, IntArray]:
    """Count scored and rightly predicted pixels by the size of the true object that they belong to.

    An object is a connected component of one class in the truth (4-neighbours). Its size is that of the whole object
    as far as truth shows it, scored or not; the edge of the map cuts objects, so map more than is scored.

    Args:
        truth: int16 (h, w), -1 = nodata.
        pred: int16 (h, w), -1 = nodata.
        block_id: int64 (h, w), spatial block of each pixel.
        n_classes: k.
        size_edges_px: rising; bin i holds objects from edge i - 1 up to, not including, edge i.

    Returns:
        (blocks, counts): int64 (b,), sorted, the blocks with scored pixels; int64 (b, k, s, 2) for s bins, one more
        than edges: pixels right, pixels scored.

    Raises:
        ShapeError: grids differ or ids are out of range.
    """
    truths, preds, blocks, slot = _scored(truth, pred, block_id, n_classes)
    n_bins = len(size_edges_px) + 1
    counts = np.zeros((len(blocks), n_classes, n_bins, 2), np.int64)
    for c in range(n_classes):
        objects, _ = ndimage.label(truth == c)
        bins = np.searchsorted(size_edges_px, np.bincount(objects.ravel()), side="right")[objects]
        scored = truths == c
        for column, chosen in enumerate((scored & (preds == c), scored)):
            cells = np.bincount(slot[chosen] * n_bins + bins[chosen], minlength=len(blocks) * n_bins)
            counts[:, c, :, column] = cells.reshape(len(blocks), n_bins)
    return blocks, counts


def recall_by_size(counts: npt.ArrayLike) -> FloatArray:
    """Share of the scored pixels in objects of each size that are predicted right.

    Args:
        counts: (..., s, 2), from `size_counts_by_block`; over all classes after a sum over the class axis.

    Returns:
        float64 (..., s); NaN where no object has that size.
    """
    values = np.asarray(counts, np.float64)
    return divide_or_nan(values[..., 0], values[..., 1])


def units_of_objects(counts: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    """Give what counts say of the truth alone, for `contrast_sums`: scored pixels, (..., s, 2) to (..., s)."""
    return counts[..., 1]


def area_bias(confusions: npt.ArrayLike) -> FloatArray:
    """Predicted minus true share of the area of each class; a map that counts its own pixels errs by this.

    Args:
        confusions: (..., k, k), rows truth.

    Returns:
        float64 (..., k), in [-1, 1], sums to 0; NaN without pixels.
    """
    counts = np.asarray(confusions, np.float64)
    return divide_or_nan(counts.sum(axis=-2) - counts.sum(axis=-1), counts.sum(axis=(-2, -1))[..., None])


@dataclass(frozen=True)
class CellFractions:
    """Class fractions of coarser cells, in truth and prediction (task T6).

    Attributes:
        truth: float64 (m, k), rows sum to 1.
        pred: float64 (m, k), rows sum to 1.
        block_id: int64 (m,), the spatial block of each cell.
    """

    truth: FloatArray
    pred: FloatArray
    block_id: npt.NDArray[np.int64]


def fractions_by_cell(
    truth: LabelGrid,
    pred: LabelGrid,
    block_id: npt.NDArray[np.int64],
    n_classes: int,
    cell_px: int,
    min_scored_share: float = 0.5,
) -> CellFractions:
    """Give the class fractions of square cells, over the pixels in which truth and prediction are both given.

    Left out are cells in which less than `min_scored_share` of the pixels is scored, cells whose scored pixels lie in
    two blocks (as patches that cross a block border are dropped), and rows and columns that fill no whole cell.

    Args:
        truth: int16 (h, w), -1 = nodata.
        pred: int16 (h, w), -1 = nodata.
        block_id: int64 (h, w), spatial block of each pixel.
        n_classes: k.
        cell_px: side of a cell: 2, 4, 8, 16 for 20, 40, 80, 160 m.
        min_scored_share: in (0, 1].

    Returns:
        The cells, row by row.

    Raises:
        ShapeError: grids differ, ids are out of range, the side is below 1, or the share is out of range.
    """
    if cell_px < 1 or not 0.0 < min_scored_share <= 1.0:
        raise ShapeError(
            "cells", f"{cell_px} px, share {min_scored_share}", "1 px or more, share in (0, 1]", "Correct the call."
        )
    truths, preds, _, _ = _scored(truth, pred, block_id, n_classes)
    of_truth, of_pred = _cells(truths, cell_px), _cells(preds, cell_px)
    scored, blocks = of_truth >= 0, _cells(block_id, cell_px)
    first = blocks[np.arange(len(blocks)), scored.argmax(axis=1)]
    kept = (scored.mean(axis=1) >= min_scored_share) & ((blocks == first[:, None]) | ~scored).all(axis=1)
    total = scored[kept].sum(axis=1)
    fractions = [
        np.stack([(ids[kept] == c).sum(axis=1) / total for c in range(n_classes)], axis=1)
        for ids in (of_truth, of_pred)
    ]
    return CellFractions(fractions[0], fractions[1], first[kept])


def _cells(grid: npt.NDArray[np.integer], cell_px: int) -> npt.NDArray[np.integer]:
    """Cut a grid into square cells, (cells, pixels); what fills no whole cell is dropped."""
    rows, columns = grid.shape[0] // cell_px, grid.shape[1] // cell_px
    whole = grid[: rows * cell_px, : columns * cell_px].reshape(rows, cell_px, columns, cell_px)
    return whole.swapaxes(1, 2).reshape(rows * columns, cell_px**2)


def _scored(
    truth: LabelGrid, pred: LabelGrid, block_id: npt.NDArray[np.int64], n_classes: int
) -> tuple[LabelGrid, LabelGrid, IntArray, IntArray]:
    """Give (truth, prediction) with nodata where either has it, the blocks of scored pixels, and each pixel's slot."""
    if truth.ndim != 2 or truth.shape != pred.shape or block_id.shape != truth.shape:
        raise ShapeError(
            "truth, prediction and blocks",
            f"{truth.shape}, {pred.shape} and {block_id.shape}",
            "three (h, w)",
            "Cut all three to one window.",
        )
    for what, ids in (("truth", truth), ("prediction", pred)):
        if ids.dtype.kind not in "iu" or (ids.size and not -1 <= ids.min() <= ids.max() < n_classes):
            found = f"{ids.dtype} {ids.min()}..{ids.max()}"
            raise ShapeError(what, found, f"ids -1..{n_classes - 1}", "Pass class ids; -1 marks nodata.")
    given = (truth >= 0) & (pred >= 0)
    blocks, of_scored = np.unique(block_id[given], return_inverse=True)
    slot = np.zeros(truth.shape, np.int64)
    slot[given] = of_scored
    return np.where(given, truth, -1), np.where(given, pred, -1), blocks, slot


def _is_boundary(ids: LabelGrid) -> npt.NDArray[np.bool_]:
    """Mark pixels with a 4-neighbour of another class."""
    marked = np.zeros(ids.shape, bool)
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differs = (ids[one] != ids[other]) & (ids[one] >= 0) & (ids[other] >= 0)
        marked[one] |= differs
        marked[other] |= differs
    return marked
