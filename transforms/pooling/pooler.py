"""Pooling of raster windows: pixel vectors to one vector per axis-parallel patch box.

Belongs here: which patches a window touches, which are whole, checks of windows. Does not: where boxes lie on pixels
(`placement.py`), what is kept of pixels (`sums.py`, `gathered.py`), the registry of operators (`operators.py`),
footprints (`transforms/utm.py`), which windows to read and when (`warehouse/sources`).

Rules, stated once:

* Mean and std weigh each valid pixel by the area that it shares with the box; nodata and ground outside every
  window are left out, and `valid_fraction` says how much was left.
* Min, max and `n_pixels` are over the valid pixels whose centre is inside: `[west, east) x [south, north)`.
* Box edges are rounded to 2^-12 m (0.24 mm) and then to 2^-16 of a pixel. So shares are integers, sums of
  int8 codes are exact, and results are bit-identical for any order and any split into windows. Sums of float
  pixels are float64: equal to about 1e-12 for any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError
from transforms.pooling import kernels
from transforms.pooling.accumulators import Accumulator
from transforms.pooling.gathered import GatheredColumns
from transforms.pooling.open_patches import Edges, OpenPatches
from transforms.pooling.operators import PooledPatches, empty_columns, stored_columns
from transforms.pooling.pixels import PoolingParameters
from transforms.pooling.placement import place_boxes
from transforms.pooling.sums import ADDITIVE_COLUMNS, CodeSums, FloatSums
from transforms.utm import UtmBox
from transforms.windows import PixelWindow

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Boxes larger than this could overflow the 64-bit sum of v^4 in 2^-16 pixels (about 541,000).
MAX_BOX_PIXELS = 500_000
#: Box edges are rounded to this part of a metre; a power of two: offsets from whole metres are exact.
_EDGES_PER_M = 2.0**12
#: Patches turned from sums into columns at once; bounds the float64 scratch space.
_FINISH_CHUNK = 2_048


class CrsMismatchError(IsthmusError):
    """Pixels and boxes stand in different coordinate systems. Permanent."""

    def __init__(self, source: str, found: int, expected: int) -> None:
        super().__init__(
            f"{source}: window is in EPSG:{found}, expected EPSG:{expected} as the patch boxes. "
            "Build the boxes in the window's zone and use one PatchPooler per zone."
        )


class WindowError(IsthmusError):
    """A pixel window breaks the contract of `PixelWindow` or does not fit earlier windows. Permanent."""

    def __init__(self, source: str, what: str, found: object, expected: object, fix: str) -> None:
        super().__init__(f"{source}: {what}: found {found}, expected {expected}. {fix}")


class PatchPooler:
    """Pools pixel windows over axis-parallel patch boxes, and gives each patch as soon as it is whole.

    Windows must tile the ground (no overlap) and may come in any order; a box may straddle any number of
    them. Pixel type (int8 codes or float32) is that of the first window. Float windows are pooled as they
    are; codes are pooled as vectors: ``x = v|v| / 127.5^2``.

    Where the extents of all windows are announced (`expect`), only patches that wait for a window take memory, and
    `drain` gives those that do not. Else all that was touched waits for `finish`.

    Args:
        boxes: float64 (n, 4): west, south, east, north in metres of `epsg`; sizes may differ.
        epsg: CRS of boxes and windows.
        dims: bands of each window.
        columns: stored columns to pool, see `operators.stored_columns`.
        parameters: of the operators behind them.
        min_coverage: least `valid_fraction` of a patch that gets values, in [0, 1].
        threads: threads that add up bands; results do not depend on it.

    Raises:
        ShapeError: boxes are not (n, 4), not finite or have no area; `min_coverage` is outside [0, 1].
        UnknownOperatorError: no operator stores one of the columns.
    """

    def __init__(
        self,
        boxes: Float64Array,
        epsg: int,
        dims: int,
        columns: Sequence[str],
        parameters: PoolingParameters | None = None,
        *,
        min_coverage: float = 0.5,
        threads: int = 1,
    ) -> None:
        boxes = np.rint(np.asarray(boxes, np.float64) * _EDGES_PER_M) / _EDGES_PER_M
        _check_boxes(boxes)
        if not 0.0 <= min_coverage <= 1.0:
            raise ShapeError("min_coverage", min_coverage, "a share in [0, 1]", "Set it to 0.5, the default.")
        self.epsg = epsg
        self.dims = dims
        self._columns = stored_columns(columns)
        self._parameters = parameters or PoolingParameters()
        self._min_coverage = min_coverage
        self._threads = threads
        order = np.argsort(boxes[:, 1], kind="stable")
        self._original = order
        self._boxes = boxes[order]
        self._tallest_m = float((boxes[:, 3] - boxes[:, 1]).max(initial=0.0))
        self._weight = np.zeros(len(boxes), np.int64)
        self._count = np.zeros(len(boxes), np.int64)
        self._pixel_m = np.full((len(boxes), 2), np.nan)
        self._open = OpenPatches(len(boxes))
        self._dtype: np.dtype[Any] | None = None
        self._accumulators: list[Accumulator] = []

    def __len__(self) -> int:
        return len(self._boxes)

    def expect(self, extents: Iterable[UtmBox]) -> None:
        """Announce the outer edges of all windows that will come, before the first one is added.

        Raises:
            CrsMismatchError: an extent is in another CRS.
            WindowError: two extents are the same.
        """
        for extent in extents:
            if extent.epsg != self.epsg:
                raise CrsMismatchError("announced window", extent.epsg, self.epsg)
            edges = _round_edges(extent)
            if self._open.is_announced(edges):
                raise WindowError(
                    "announced window", "extent", edges, "each extent once", "Read each block of a file once."
                )
            self._open.expect(edges, self._candidates(edges))

    def add(self, window: PixelWindow) -> None:
        """Add the pixels of one window to all patches that it touches.

        Args:
            window: north-up, (dims, height, width); not overlapping earlier windows.

        Raises:
            CrsMismatchError: the window is in another CRS.
            WindowError: bands, type, shape, orientation, pixel size or nodata mask are not as declared, or other
                windows were announced.
        """
        self._check_window(window)
        if self._dtype is None:
            self._dtype = window.values.dtype
            self._accumulators = self._build_accumulators()
        edges = _round_edges(window.bounds)
        candidates = self._candidates(edges)
        if self._open.has_announcements and not self._open.is_announced(edges):
            raise WindowError(
                window.source, "window", edges, "one that was announced and not added yet",
                "Windows overlap, or differ from those planned: add each piece of ground once.",
            )  # fmt: skip
        positions, boxes = place_boxes(self._boxes[candidates], window)
        patches = candidates[positions]
        if len(patches):
            self._check_pixel_size(patches, window)
            self._weight[patches] += boxes.weight
            self._count[patches] += boxes.count
            slots = self._open.slots_of(patches)
            for accumulator in self._accumulators:
                accumulator.reserve(self._open.n_slots)
                accumulator.add(window.values, replace(boxes, target=slots))
        self._open.note(edges, candidates)

    def drain(self) -> PooledPatches:
        """Give the patches that no further window will touch and that were not given yet, in the order of the boxes.

        Raises:
            WindowError: windows overlapped, so that some patch was covered more than once.
        """
        return self._give(self._open.take_whole())

    def finish(self) -> PooledPatches:
        """Give all patches that were not given yet, in the order of the boxes, whatever windows they have had.

        Raises:
            WindowError: windows overlapped, so that some patch was covered more than once.
        """
        return self._give(self._open.take_all())

    def _build_accumulators(self) -> list[Accumulator]:
        """Build those that the columns need, for the pixel type of the first window."""
        additive = tuple(name for name in self._columns if name in ADDITIVE_COLUMNS)
        gathered = tuple(name for name in self._columns if name not in ADDITIVE_COLUMNS)
        accumulators: list[Accumulator] = []
        if additive and self._dtype == np.int8:
            accumulators.append(CodeSums(additive, self.dims, self._parameters.gem_p, self._threads))
        elif additive:
            accumulators.append(FloatSums(additive, self.dims, self._parameters.gem_p))
        if gathered:
            accumulators.append(GatheredColumns(gathered, self.dims, self._parameters, self._threads))
        return accumulators

    def _give(self, patches: Int64Array) -> PooledPatches:
        """Turn what was kept of some patches into columns, and forget it."""
        patches = patches[np.argsort(self._original[patches])]
        fraction = self._valid_fraction(patches)
        columns = empty_columns(self._columns, len(patches), self.dims, self._parameters)
        usable = np.flatnonzero((fraction >= self._min_coverage) & (self._weight[patches] > 0))
        for start in range(0, len(usable), _FINISH_CHUNK):
            at = usable[start : start + _FINISH_CHUNK]
            slots, weight = self._open.slots_of(patches[at]), self._weight[patches[at]]
            for accumulator in self._accumulators:
                for name, values in accumulator.columns(slots, weight).items():
                    columns[name][at] = values
        freed = self._open.free(patches)
        for accumulator in self._accumulators:
            accumulator.clear(freed)
        n_pixels = self._count[patches].astype(np.int32)
        return PooledPatches(self._original[patches], columns, fraction.astype(np.float32), n_pixels)

    def _candidates(self, edges: Edges) -> Int64Array:
        """Find the boxes that touch a window: a slice of the boxes sorted by south, then a filter."""
        window_west, window_south, window_east, window_north = edges
        south = self._boxes[:, 1]
        first = int(np.searchsorted(south, window_south - self._tallest_m, side="left"))
        stop = int(np.searchsorted(south, window_north, side="left"))
        near = self._boxes[first:stop]
        touches = (near[:, 3] > window_south) & (near[:, 0] < window_east) & (near[:, 2] > window_west)
        return first + np.flatnonzero(touches)

    def _valid_fraction(self, patches: Int64Array) -> Float64Array:
        box, weight, pixel_m = self._boxes[patches], self._weight[patches], self._pixel_m[patches]
        pixel_m2 = pixel_m[:, 0] * pixel_m[:, 1]
        width, height = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
        fraction = np.where(weight > 0, weight / kernels.ONE * pixel_m2 / (width * height), 0.0)
        # what rounding of the edges and corners can add: far below one pixel
        slack = 2.0**-14 * (1 + pixel_m2 / (width * height) + pixel_m.max(axis=1) * (1 / width + 1 / height))
        over = np.flatnonzero(fraction > 1.0 + slack)
        if len(over):
            raise WindowError(
                f"patch {int(self._original[patches[over[0]]])}",
                "covered area / box area",
                f"{fraction[over[0]]:.3f} ({len(over)} such patches)",
                "at most 1",
                "Windows overlap: add each piece of ground once.",
            )
        # whole coverage is exactly 1, so that min_coverage=1 means what it says
        return np.where(fraction > 1.0 - slack, 1.0, fraction)

    def _check_window(self, window: PixelWindow) -> None:
        if window.epsg != self.epsg:
            raise CrsMismatchError(window.source, window.epsg, self.epsg)
        values, affine = window.values, window.affine
        expected = (self.dims, *window.valid.shape)
        if values.shape != expected:
            raise WindowError(
                window.source,
                "shape (band, height, width)",
                values.shape,
                expected,
                "Is this another product?",
            )
        if affine.a <= 0 or affine.e >= 0 or affine.b != 0 or affine.d != 0:
            raise WindowError(
                window.source,
                "affine",
                tuple(affine)[:6],
                "north-up (a > 0, e < 0, no rotation)",
                "Flip the rows.",
            )
        allowed = (np.int8, np.float32) if self._dtype is None else (self._dtype,)
        if values.dtype not in allowed:
            names = " or ".join(np.dtype(dtype).name for dtype in allowed)
            raise WindowError(window.source, "dtype", values.dtype, names, "Use one PatchPooler per pixel type.")
        if _has_unmarked_nodata(window):
            raise WindowError(
                window.source,
                "values of valid pixels",
                "nodata (-128, NaN or infinity)",
                "numbers only",
                "Mark a pixel invalid if any band is nodata, or refuse the file.",
            )

    def _check_pixel_size(self, target: Int64Array, window: PixelWindow) -> None:
        """Refuse two pixel sizes on one patch (their shares would not add up); else note the size."""
        size = np.array([window.affine.a, -window.affine.e])
        known = self._pixel_m[target]
        differs = np.flatnonzero((np.abs(known - size) > 1e-6 * size).any(axis=1))
        if len(differs):
            raise WindowError(
                window.source,
                f"pixel size on patch {int(self._original[target[differs[0]]])}",
                tuple(size.tolist()),
                tuple(known[differs[0]].tolist()),
                "Windows on one patch must come from one pixel grid.",
            )
        self._check_box_pixels(target, window)
        self._pixel_m[target] = size

    def _check_box_pixels(self, target: Int64Array, window: PixelWindow) -> None:
        box = self._boxes[target]
        n_pixels = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) / (window.affine.a * -window.affine.e)
        worst = int(np.argmax(n_pixels))
        if n_pixels[worst] > MAX_BOX_PIXELS:
            raise WindowError(
                window.source,
                f"pixels under patch {int(self._original[target[worst]])}",
                int(n_pixels[worst]),
                f"at most {MAX_BOX_PIXELS} (exact 64-bit sums)",
                "Split the patch, or pool an overview level.",
            )


def _round_edges(extent: UtmBox) -> Edges:
    """Give west, south, east, north on the grid that box edges are rounded to."""
    west, south, east, north = (
        round(edge * _EDGES_PER_M) / _EDGES_PER_M for edge in (extent.west, extent.south, extent.east, extent.north)
    )
    return west, south, east, north


def _has_unmarked_nodata(window: PixelWindow) -> bool:
    if window.values.dtype == np.int8:
        # rows in any order: a bottom-up file is searched as it is stored
        values, valid = window.values, window.valid
        if not values.flags.c_contiguous:
            values, valid = values[:, ::-1], valid[::-1]
        valid = np.ascontiguousarray(valid)
        return bool(kernels.has_unmarked_nodata(np.ascontiguousarray(values, np.int8), valid.view(np.uint8)))
    return bool((~np.isfinite(window.values) & window.valid).any())


def _check_boxes(boxes: Float64Array) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError("patch boxes", boxes.shape, "(n, 4): west, south, east, north", "Use utm.footprint_boxes.")
    bad = np.flatnonzero(~np.isfinite(boxes).all(axis=1) | (boxes[:, 0] >= boxes[:, 2]) | (boxes[:, 1] >= boxes[:, 3]))
    if len(bad):
        raise ShapeError(
            f"patch box {int(bad[0])}",
            boxes[bad[0]].tolist(),
            "finite west < east and south < north",
            f"{len(bad)} such boxes. Drop them or mend their footprints.",
        )
