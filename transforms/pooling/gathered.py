"""Operators that need the pixels of a patch at once: the accumulator that gathers them while windows stream by.

Belongs here: which pixels are at hand, which are waited for, and the call of the compiled loops. Does not: the loops
(`gathered_kernels.py` and its neighbours), running sums (`sums.py`), which patches are open (`pooler.py`).

A patch inside one window is computed at once, and nothing of it is kept but the result. A patch that a window's edge
cuts keeps its pixels, as codes where the product has codes, until the last one is there or the patch is asked for. So
memory is bounded by the open patches on window edges.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from transforms.pooling.accumulators import PixelArray, WindowBoxes
from transforms.pooling.codebook_kernels import pool_words
from transforms.pooling.covariance_kernels import shrink_covariances
from transforms.pooling.gathered_kernels import (
    average,
    clear_nodata,
    copy_values,
    copy_weights,
    decode_codes,
    pool_pyramids,
    weigh_centre,
)
from transforms.pooling.kernels import ONE
from transforms.pooling.operators import column_dims
from transforms.pooling.order_kernels import order_codes, order_floats
from transforms.pooling.pixels import PoolingParameters
from transforms.quantization import DEQUANTIZE_LUT

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
AnyArray = npt.NDArray[Any]

#: Stored columns that are pooled here.
GATHERED_COLUMNS = (
    "median_iqr", "percentiles", "centre_weighted", "covariance", "pyramid_2x2", "pyramid_4x4", "vlad", "bow",
)  # fmt: skip
_ORDER_COLUMNS = frozenset({"median_iqr", "percentiles"})
#: Decoded pixels that are worked on at once: about what fits the last cache level of a core.
_GROUP_BYTES = 4 << 20
_NOT_WANTED = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class _Group:
    """Patches whose pixels are at hand (layout: `gathered_kernels.py`).

    Attributes:
        slots: int64 (g,).
        extents: int64 (g, 4).
        sizes: int64 (g,), pixels that each box touches.
        pixels: (g, bands, n), int8 codes or float32.
        weight: int64 (g, n).
    """

    slots: Int64Array
    extents: Int64Array
    sizes: Int64Array
    pixels: AnyArray
    weight: Int64Array


@dataclass
class _CutPatch:
    """A patch that lies in several windows.

    Attributes:
        group: its pixels so far, alone.
        affine: of the window that its extent counts from.
        n_missing: pixels that no window has covered yet.
    """

    group: _Group
    affine: Affine
    n_missing: int


class GatheredColumns:
    """Keeps the operators of `GATHERED_COLUMNS` for open patches; an `Accumulator`.

    Its methods are called by one thread at a time; inside `add`, groups of whole patches are dealt to threads, which
    write to different rows of the results.

    Args:
        columns: stored columns, some of `GATHERED_COLUMNS`.
        dims: d.
        parameters: of the operators; fitted ones need their codebook.
        threads: groups of patches that are computed at the same time.

    Raises:
        MissingCodebookError: a fitted operator has none.
    """

    def __init__(self, columns: tuple[str, ...], dims: int, parameters: PoolingParameters, threads: int = 1) -> None:
        self._dims = dims
        self._bands = -(-dims // 4) * 4
        self._results = {name: np.empty((0, column_dims(name, dims, parameters)), np.float32) for name in columns}
        self._orders = _Orders(columns, parameters)
        self._words = [_Words(name, dims, parameters) for name in ("vlad", "bow") if name in columns]
        self._cut: dict[int, _CutPatch] = {}
        self._scratch = threading.local()
        self._workers = ThreadPoolExecutor(threads, "gathering") if threads > 1 else None

    def reserve(self, n_slots: int) -> None:
        """Make room for slots 0 to `n_slots` - 1; what is there stays."""
        for name, result in self._results.items():
            if len(result) < n_slots:
                more = np.full((n_slots - len(result), result.shape[1]), np.nan, np.float32)
                self._results[name] = np.concatenate([result, more])

    def add(self, values: PixelArray, boxes: WindowBoxes) -> None:
        """Add one window (`Accumulator.add`)."""
        grid, is_reversed = _forward(values)
        valid, is_valid_reversed = _forward(boxes.valid)
        extents = _whole_extents(boxes)
        touched = _touched(extents)
        height, width = boxes.valid.shape
        is_inside = (touched >= 0).all(axis=1) & (touched[:, 1] <= height) & (touched[:, 3] <= width)

        def pool_whole(chosen: Int64Array) -> None:
            group = self._scratch_group(boxes.target[chosen], extents[chosen], grid.dtype)
            copy_weights(valid, is_valid_reversed, group.extents, group.weight)
            copy_values(grid, is_reversed, group.extents, group.pixels)
            self._pool(group)

        groups = self._deal(extents, np.flatnonzero(is_inside))
        for _ in self._workers.map(pool_whole, groups) if self._workers else map(pool_whole, groups):
            pass  # an error of a group is raised here
        for k in np.flatnonzero(~is_inside):
            patch = self._cut_patch(int(boxes.target[k]), extents[k : k + 1], boxes.affine, grid.dtype)
            here = patch.group.extents + _shift(patch.affine, boxes.affine)
            copy_weights(valid, is_valid_reversed, here, patch.group.weight)
            copy_values(grid, is_reversed, here, patch.group.pixels)
            patch.n_missing -= _overlap(_touched(here)[0], height, width)
            if patch.n_missing == 0:
                self._pool(patch.group)
                del self._cut[int(boxes.target[k])]

    def columns(self, slots: Int64Array, weight: Int64Array) -> dict[str, Float32Array]:
        """Give the stored columns of some patches (`Accumulator.columns`); pixels that never came are nodata."""
        for slot in slots.tolist():
            if slot in self._cut:
                self._pool(self._cut[slot].group)
        return {name: result[slots] for name, result in self._results.items()}

    def clear(self, slots: Int64Array) -> None:
        """Forget some patches (`Accumulator.clear`)."""
        for result in self._results.values():
            result[slots] = np.nan
        for slot in slots.tolist():
            self._cut.pop(slot, None)

    def open_slots(self) -> list[int]:
        """Give the slots whose pixels are kept: what memory is bounded by."""
        return list(self._cut)

    def _deal(self, extents: Int64Array, chosen: Int64Array) -> Iterator[Int64Array]:
        """Deal boxes into groups of neighbours that fit the cache, along rows: they share cache lines."""
        sizes = _sizes(extents)
        order = chosen[np.lexsort((extents[chosen, 2], extents[chosen, 0] // ONE))]
        start, largest = 0, 0
        for stop in range(len(order)):
            largest = max(largest, int(sizes[order[stop]]))
            if stop > start and (stop - start + 1) * largest * self._bands * 4 > _GROUP_BYTES:
                yield order[start:stop]
                start, largest = stop, int(sizes[order[stop]])
        if len(order):
            yield order[start:]

    def _cut_patch(self, slot: int, extent: Int64Array, affine: Affine, dtype: np.dtype[Any]) -> _CutPatch:
        """Give the patch of a slot, empty if it is new."""
        if slot not in self._cut:
            sizes = _sizes(extent)
            n = int(sizes[0])
            bands = self._dims if dtype == np.int8 else self._bands
            pixels = np.zeros((1, bands, n), dtype)
            weight = np.zeros((1, n), np.int64)
            self._cut[slot] = _CutPatch(_Group(np.array([slot]), extent, sizes, pixels, weight), affine, n)
        return self._cut[slot]

    def _scratch_group(self, slots: Int64Array, extents: Int64Array, dtype: np.dtype[Any]) -> _Group:
        sizes = _sizes(extents)
        bands = self._dims if dtype == np.int8 else self._bands
        shape = (len(slots), bands, int(sizes.max()))
        pixels = self._take_scratch("pixels", shape, dtype)
        weight = self._take_scratch("weight", (shape[0], shape[2]), np.dtype(np.int64))
        weight[:] = 0
        return _Group(slots, extents, sizes, pixels, weight)

    def _take_scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
        """Give an array of this thread that is used again: fresh pages cost as much as the copy."""
        kept: dict[str, AnyArray] = self._scratch.__dict__
        n = math.prod(shape)
        if name not in kept or kept[name].size < n or kept[name].dtype != dtype:
            kept[name] = np.zeros(n, dtype)
        return kept[name][:n].reshape(shape)

    def _pool(self, group: _Group) -> None:
        """Compute all columns of patches whose pixels are there."""
        if group.pixels.dtype == np.float32:
            clear_nodata(group.pixels, group.weight)
            group.pixels[:, self._dims :] = 0.0
        if _ORDER_COLUMNS & set(self._results):
            self._orders.pool(group, self._dims, self._results)
        if set(self._results) - _ORDER_COLUMNS:
            self._pool_vectors(group, self._decode(group))

    def _decode(self, group: _Group) -> Float32Array:
        if group.pixels.dtype == np.float32:
            return group.pixels
        x = self._take_scratch("x", (len(group.slots), self._bands, group.pixels.shape[2]), np.dtype(np.float32))
        decode_codes(group.pixels, x)
        x[:, self._dims :] = 0.0
        return x

    def _pool_vectors(self, group: _Group, x: Float32Array) -> None:
        results, slots, sizes, weight = self._results, group.slots, group.sizes, group.weight
        if "centre_weighted" in results:
            centred = np.zeros(weight.shape)
            weigh_centre(weight, group.extents, centred)
            average(x, centred, sizes, slots, results["centre_weighted"])
        for name in ("pyramid_2x2", "pyramid_4x4"):
            if name in results:
                pool_pyramids(x, weight, sizes, group.extents, slots, self._dims, results[name])
        if "covariance" in results:
            shrink_covariances(x, weight, sizes, slots, self._dims, results["covariance"])
        for words in self._words:
            words.pool(x, group, self._dims, results)


class _Orders:
    """Quantiles that some columns need, computed once for all of them."""

    def __init__(self, columns: tuple[str, ...], parameters: PoolingParameters) -> None:
        self._wants = _ORDER_COLUMNS & set(columns)
        shares = [q / 100.0 for q in parameters.percentiles] if "percentiles" in self._wants else []
        quartiles = [0.25, 0.5, 0.75] if "median_iqr" in self._wants else []
        self._quantiles = np.unique(np.array(shares + quartiles, np.float64))
        self._percentiles = np.searchsorted(self._quantiles, shares)
        self._quartiles = np.searchsorted(self._quantiles, quartiles)
        self._decode = np.nan_to_num(DEQUANTIZE_LUT, nan=0.0)

    def pool(self, group: _Group, dims: int, results: dict[str, Float32Array]) -> None:
        """Write the wanted columns of a group."""
        n = len(group.slots)
        found = np.full((n, len(self._quantiles), dims), np.nan, np.float32)
        given = (group.pixels, group.weight, group.sizes, np.arange(n), self._quantiles)
        if group.pixels.dtype == np.int8:
            order_codes(*given, self._decode, found)
        else:
            order_floats(*given, found)
        if "percentiles" in self._wants:
            results["percentiles"][group.slots] = found[:, self._percentiles].reshape(n, -1)
        if "median_iqr" in self._wants:
            low, middle, high = (found[:, k] for k in self._quartiles)
            results["median_iqr"][group.slots] = np.concatenate([middle, high - low], axis=1)


class _Words:
    """One operator that has a codebook."""

    def __init__(self, name: str, dims: int, parameters: PoolingParameters) -> None:
        centers = parameters.codebook(name, dims).centers
        self._name = name
        self._n_centers = len(centers)
        # multiples of 4 along both axes, as the loops take them
        self._centers = np.zeros((-(-len(centers) // 4) * 4, -(-dims // 4) * 4), np.float32)
        self._centers[: len(centers), :dims] = centers

    def pool(self, x: Float32Array, group: _Group, dims: int, results: dict[str, Float32Array]) -> None:
        """Write the column of a group."""
        bow, vlad = (results[self._name] if self._name == name else _NOT_WANTED for name in ("bow", "vlad"))
        given = (x, group.weight, group.sizes, group.slots)
        pool_words(*given, self._centers, self._n_centers, dims, bow, vlad)


def _whole_extents(boxes: WindowBoxes) -> Int64Array:
    """Give top, bottom, left, right of whole boxes in 2^-16 pixels of a window, beyond its edges too."""
    bounds, affine = boxes.bounds, boxes.affine
    rows = (bounds[:, [3, 1]] - affine.f) / affine.e
    cols = (bounds[:, [0, 2]] - affine.c) / affine.a
    return np.rint(np.concatenate([rows, cols], axis=1) * ONE).astype(np.int64)


def _touched(extents: Int64Array) -> Int64Array:
    """Give first row, row stop, first column, column stop of the pixels that boxes touch."""
    return np.stack([extents[:, 0] // ONE, -(-extents[:, 1] // ONE), extents[:, 2] // ONE, -(-extents[:, 3] // ONE)], 1)


def _sizes(extents: Int64Array) -> Int64Array:
    touched = _touched(extents)
    return (touched[:, 1] - touched[:, 0]) * (touched[:, 3] - touched[:, 2])


def _shift(first: Affine, here: Affine) -> Int64Array:
    """Give what to add to an extent that counts from `first`, so that it counts from `here`: whole pixels."""
    row, col = round((first.f - here.f) / here.e), round((first.c - here.c) / here.a)
    return np.array([row, row, col, col], np.int64) * ONE


def _overlap(touched: Int64Array, height: int, width: int) -> int:
    """Count the pixels of a box that lie in a window."""
    rows = min(int(touched[1]), height) - max(int(touched[0]), 0)
    cols = min(int(touched[3]), width) - max(int(touched[2]), 0)
    return max(rows, 0) * max(cols, 0)


def _forward(array: AnyArray) -> tuple[AnyArray, bool]:
    """Give contiguous memory, and whether rows (the axis before the last) run backwards in it."""
    if array[..., ::-1, :].flags.c_contiguous:
        return array[..., ::-1, :], True
    return np.ascontiguousarray(array), False
