"""Pooling of raster windows: pixel vectors to one vector per axis-parallel patch box.

Belongs here: exact area shares of boxes, running sums over windows, pooled statistics. Does not: the registry
of operators (`operators.py`), footprints (`transforms/utm.py`), which windows to read and when
(`warehouse/sources`), compiled loops (`kernels.py`).

Rules, stated once:

* Mean and std weigh each valid pixel by the area that it shares with the box; nodata and ground outside every
  window are left out, and `valid_fraction` says how much was left.
* Min, max and `n_pixels` are over the valid pixels whose centre is inside: `[west, east) x [south, north)`.
* Box edges are rounded to 2^-12 m (0.24 mm) and then to 2^-16 of a pixel. So shares are integers, sums of
  int8 codes are exact, and results are bit-identical for any order and any split into windows. Sums of float
  pixels are float64: equal to about 1e-12 for any order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError
from transforms.pooling import kernels
from transforms.pooling.operators import PooledPatches, empty_columns, fill_columns
from transforms.pooling.sums import CodeSums, FloatSums, place_boxes
from transforms.windows import PixelWindow

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Boxes larger than this could overflow the 64-bit sum of v^4 in 2^-16 pixels (about 541,000).
MAX_BOX_PIXELS = 500_000
#: Box edges are rounded to this part of a metre; a power of two: offsets from whole metres are exact.
_EDGES_PER_M = 2.0**12
#: Patches turned from sums into statistics at once; bounds the float64 scratch space.
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
    """Running sums of pixel windows over axis-parallel patch boxes.

    Windows must tile the ground (no overlap) and may come in any order; a box may straddle any number of
    them. Pixel type (int8 codes or float32) is that of the first window. Float windows are pooled as they
    are; codes are pooled as vectors: ``x = v|v| / 127.5^2``.

    Args:
        boxes: float64 (n, 4): west, south, east, north in metres of `epsg`; sizes may differ.
        epsg: CRS of boxes and windows.
        dims: bands of each window.

    Raises:
        ShapeError: boxes are not (n, 4), not finite or have no area.
    """

    def __init__(self, boxes: Float64Array, epsg: int, dims: int) -> None:
        boxes = np.rint(np.asarray(boxes, np.float64) * _EDGES_PER_M) / _EDGES_PER_M
        _check_boxes(boxes)
        self.epsg = epsg
        self.dims = dims
        order = np.argsort(boxes[:, 1], kind="stable")
        self._original = order
        self._boxes = boxes[order]
        self._tallest_m = float((boxes[:, 3] - boxes[:, 1]).max(initial=0.0))
        self._weight = np.zeros(len(boxes), np.int64)
        self._count = np.zeros(len(boxes), np.int64)
        self._pixel_m = np.full((len(boxes), 2), np.nan)
        self._sums: CodeSums | FloatSums | None = None

    def __len__(self) -> int:
        return len(self._boxes)

    def add(self, window: PixelWindow) -> None:
        """Add the pixels of one window to all patches that it touches.

        Args:
            window: north-up, (dims, height, width); not overlapping earlier windows.

        Raises:
            CrsMismatchError: the window is in another CRS.
            WindowError: bands, type, shape, orientation, pixel size or nodata mask are not as declared.
        """
        self._check_window(window)
        if self._sums is None:
            sums = CodeSums if window.values.dtype == np.int8 else FloatSums
            self._sums = sums(len(self), self.dims)
        boxes = place_boxes(self._boxes, self._candidates(window), window)
        if not len(boxes.target):
            return
        self._check_pixel_size(boxes.target, window)
        self._weight[boxes.target] += boxes.weight
        self._count[boxes.target] += boxes.count
        self._sums.add(window.values, boxes)

    def finish(self, min_coverage: float = 0.5) -> PooledPatches:
        """Turn the sums so far into statistics; more windows may be added afterwards.

        Args:
            min_coverage: least `valid_fraction` of a patch that gets vectors, in [0, 1].

        Returns:
            One row per box, in the order given to the constructor.

        Raises:
            ShapeError: `min_coverage` is outside [0, 1].
            WindowError: windows overlapped, so that some patch was covered more than once.
        """
        if not 0.0 <= min_coverage <= 1.0:
            raise ShapeError("min_coverage", min_coverage, "a share in [0, 1]", "Set it to 0.5, the default.")
        fraction = self._valid_fraction()
        columns = empty_columns(len(self), self.dims)
        usable = np.flatnonzero((fraction >= min_coverage) & (self._weight > 0))
        for start in range(0, len(usable), _FINISH_CHUNK):
            chosen = usable[start : start + _FINISH_CHUNK]
            assert self._sums is not None  # weights come from windows
            m = self._sums.moments(chosen, self._weight[chosen])
            has_center = (self._count[chosen] > 0)[:, None]
            low, high = np.where(has_center, m.low, np.nan), np.where(has_center, m.high, np.nan)
            fill_columns(columns, self._original[chosen], m.mean, m.variance, low, high)
        columns["valid_fraction"][self._original] = fraction
        n_pixels = np.empty(len(self), np.int32)
        n_pixels[self._original] = self._count
        return PooledPatches(**columns, n_pixels=n_pixels)

    def _candidates(self, window: PixelWindow) -> Int64Array:
        """Find the boxes that touch a window: a slice of the boxes sorted by south, then a filter."""
        bounds = window.bounds
        south = self._boxes[:, 1]
        first = int(np.searchsorted(south, bounds.south - self._tallest_m, side="left"))
        stop = int(np.searchsorted(south, bounds.north, side="left"))
        near = self._boxes[first:stop]
        touches = (near[:, 3] > bounds.south) & (near[:, 0] < bounds.east) & (near[:, 2] > bounds.west)
        return first + np.flatnonzero(touches)

    def _valid_fraction(self) -> Float64Array:
        pixel_m2 = self._pixel_m[:, 0] * self._pixel_m[:, 1]
        width, height = self._boxes[:, 2] - self._boxes[:, 0], self._boxes[:, 3] - self._boxes[:, 1]
        fraction = np.where(self._weight > 0, self._weight / kernels.ONE * pixel_m2 / (width * height), 0.0)
        # what rounding of the edges and corners can add: far below one pixel
        slack = 2.0**-14 * (1 + pixel_m2 / (width * height) + self._pixel_m.max(axis=1) * (1 / width + 1 / height))
        over = np.flatnonzero(fraction > 1.0 + slack)
        if len(over):
            raise WindowError(
                f"patch {int(self._original[over[0]])}",
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
        allowed = (np.int8, np.float32) if self._sums is None else (self._sums.dtype,)
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


def _has_unmarked_nodata(window: PixelWindow) -> bool:
    if window.values.dtype == np.int8:
        valid = np.ascontiguousarray(window.valid, np.uint8)
        return bool(kernels.has_unmarked_nodata(np.ascontiguousarray(window.values, np.int8), valid))
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
