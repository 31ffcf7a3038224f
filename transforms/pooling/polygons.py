"""Pooling of raster windows over polygons: footprints of any shape, parcels, facilities.

Belongs here: `PolygonPooler`. Does not: boxes parallel to the pixels (`pooler.py`: the fast path), coverage
(`coverage.py`), sums (`power_sums.py`), ground of the neighbouring zone (`seams.py`), reading.

Rules, stated once:

* All but min and max weigh each valid pixel by its share of the polygon (`coverage.py`); min, max and `n_pixels` are
  over the valid pixels whose centre is inside.
* `valid_fraction` is valid covered area / polygon area. A polygon that is continued in another zone is measured in
  its own: 1 - ground left / area.
* Moments and GeM are running sums: a polygon may have any size. The other operators take all pixels of a polygon at
  once, so its size is limited to `MAX_GATHERED_PIXELS`.
* Results of int8 windows are bit-identical for any order of windows and any cut of the ground into windows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from transforms.errors import IsthmusError, ShapeError
from transforms.places import CLUSTER_M, cluster_boxes
from transforms.pooling.coverage import CoveredPixels, EndlessGrid, cover_pixels, grid_of
from transforms.pooling.kernels import ONE
from transforms.pooling.operators import PooledPatches, empty_columns, find_operator, moment_columns
from transforms.pooling.pixels import PatchPixels, PoolingParameters
from transforms.pooling.pooler import CrsMismatchError, WindowError
from transforms.pooling.power_sums import CodePowerSums, FloatPowerSums, PowerMoments, code_values
from transforms.pooling.seams import project_polygons, squares_of_valid, subtract
from transforms.pooling.sums import ADDITIVE_COLUMNS
from transforms.utm import UtmBox, transformer
from transforms.windows import PixelWindow

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Polygons = npt.NDArray[np.object_]

#: Most pixels of a polygon whose pixels are taken at once: 13 km2 at 10 m, 67 MB of vectors.
MAX_GATHERED_PIXELS = 131_072
#: Polygons turned from sums into columns at once; bounds the scratch space of whole numbers.
_FINISH_CHUNK = 256


class PolygonTooLargeError(IsthmusError):
    """A polygon has more pixels than operators that are no running sums may take. Permanent."""

    def __init__(self, polygon: str, n_pixels: int, columns: Sequence[str]) -> None:
        super().__init__(
            f"{polygon}: found about {n_pixels} pixels, expected at most {MAX_GATHERED_PIXELS} "
            f"for {', '.join(columns)}. Ask for mean, std, min, max, stats or gem, which stream, or split the polygon."
        )


def check_polygon_sizes(polygons: Polygons, pixel_m2: float, columns: Iterable[str], names: Sequence[str]) -> None:
    """Refuse polygons that are too large for some columns, before anything is read.

    Args:
        polygons: object (n,), in metres.
        pixel_m2: area of a pixel.
        columns: stored columns wanted.
        names: (n,), what to call each polygon.

    Raises:
        PolygonTooLargeError: the largest polygon that is too large.
    """
    gathered = [column for column in columns if column not in ADDITIVE_COLUMNS]
    n_pixels = shapely.area(polygons) / pixel_m2
    if gathered and len(polygons) and n_pixels.max() > MAX_GATHERED_PIXELS:
        largest = int(np.argmax(n_pixels))
        raise PolygonTooLargeError(names[largest], int(n_pixels[largest]), gathered)


@dataclass(frozen=True)
class _PixelPiece:
    """Valid pixels of one polygon in one window; `col` and `row` count in the grid of zone `epsg`."""

    epsg: int
    grid: EndlessGrid
    values: npt.NDArray[np.generic]
    share: Int64Array
    is_inside: npt.NDArray[np.bool_]
    col: Int64Array
    row: Int64Array


class PolygonPooler:
    """Pools windows into polygons, one zone after the other.

    Windows must be north-up, tile the ground (no overlap) and may come in any order. After the windows of the first
    zone, `move_to` another continues the polygons that reach over the edge of its rasters.

    Args:
        polygons: object (n,), shapely Polygon or MultiPolygon in metres of `epsg`; holes count as outside.
        epsg: CRS of polygons and of the windows to come.
        dims: bands of each window.
        columns: stored columns wanted (`operators.stored_columns`).
        parameters: of the operators.
        min_coverage: least `valid_fraction` of a polygon that gets values, in [0, 1].
        continued: bool (n,), which polygons another zone may continue; None = none.

    Raises:
        ShapeError: a polygon is no (multi)polygon, is not sound, or has no area; `min_coverage` is outside [0, 1].
    """

    def __init__(
        self,
        polygons: Polygons,
        epsg: int,
        dims: int,
        columns: Sequence[str],
        parameters: PoolingParameters | None = None,
        *,
        min_coverage: float = 0.5,
        continued: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        _check_polygons(polygons)
        if not 0.0 <= min_coverage <= 1.0:
            raise ShapeError("min_coverage", min_coverage, "a share in [0, 1]", "Set it to 0.5, the default.")
        self._min_coverage = min_coverage
        self.epsg = self._home_epsg = epsg
        self.dims = dims
        self._columns = tuple(columns)
        self._parameters = parameters or PoolingParameters()
        self._home = self._open = polygons
        self._continued = np.zeros(len(polygons), bool) if continued is None else np.asarray(continued, bool)
        self._squares: dict[int, list[Polygons]] = {}
        self._pieces: dict[int, list[_PixelPiece]] = {}
        self._weight = np.zeros(len(polygons), np.int64)
        self._count = np.zeros(len(polygons), np.int64)
        self._pixel_m: tuple[float, float] | None = None
        self._sums: CodePowerSums | FloatPowerSums | None = None
        self._look_for(np.arange(len(polygons)), polygons)

    def __len__(self) -> int:
        return len(self._home)

    def boxes(self) -> list[UtmBox]:
        """Give the ground that must be read in the current zone, in pieces of about 10 km."""
        return list_boxes(self._sought, self.epsg)

    def add(self, window: PixelWindow) -> None:
        """Add the pixels of one window of the current zone to all polygons that it touches.

        Raises:
            CrsMismatchError: the window is in another CRS.
            WindowError: bands, type, orientation, pixel size or nodata mask are not as declared.
            PolygonTooLargeError: operators take a polygon's pixels at once, and it has too many.
        """
        self._check_window(window)
        bounds = window.bounds
        box = shapely.box(bounds.west, bounds.south, bounds.east, bounds.north)
        near = np.sort(self._tree.query(box, predicate="intersects"))
        if not len(near):
            return
        grid = grid_of(window)
        for covered in cover_pixels(self._sought[near], window):
            pixels = CoveredPixels(
                self._numbers[near[covered.polygon]], covered.row, covered.col, covered.share, covered.is_inside
            )
            is_valid = window.valid[pixels.row, pixels.col]
            self._note_squares(pixels, is_valid, grid)
            self._add_pixels(window, pixels.take(is_valid), grid)

    def move_to(self, epsg: int, chosen: npt.NDArray[np.generic] | None = None) -> None:
        """Continue, in windows of another zone, the ground of polygons that had no valid pixel so far.

        Args:
            epsg: the zone of the windows to come.
            chosen: mask or positions of polygons; only those that may be continued are. None = all of them.
        """
        self._settle()
        wanted = np.zeros(len(self), bool)
        wanted[slice(None) if chosen is None else chosen] = True
        numbers = np.flatnonzero(wanted & self._continued & ~shapely.is_empty(self._open))
        self._look_for(numbers, project_polygons(self._open[numbers], self._home_epsg, epsg))
        self.epsg = epsg

    def finish(self) -> PooledPatches:
        """Give the pooled columns of all polygons, in their order.

        Raises:
            WindowError: windows overlapped, so that some polygon was covered more than once.
        """
        self._settle()
        fraction = self._valid_fraction()
        columns = empty_columns(self._columns, len(self), self.dims, self._parameters)
        usable = np.flatnonzero((fraction >= self._min_coverage) & (self._weight > 0))
        for start in range(0, len(usable), _FINISH_CHUNK):
            chosen = usable[start : start + _FINISH_CHUNK]
            assert self._sums is not None  # weights come from windows
            for name, values in self._streamed(self._sums.moments(chosen, self._weight[chosen])).items():
                columns[name][chosen] = values
        for number in usable if self._gathered else ():
            pixels = self._pixels_of(int(number))
            for name in self._gathered:
                define = find_operator(name).define
                assert define is not None  # stored columns are base operators
                columns[name][number] = define(pixels, self._parameters)
        return PooledPatches(np.arange(len(self)), columns, fraction.astype(np.float32), self._count.astype(np.int32))

    @property
    def _gathered(self) -> list[str]:
        return [name for name in self._columns if name not in ADDITIVE_COLUMNS]

    def _look_for(self, numbers: Int64Array, polygons: Polygons) -> None:
        """Set which polygons, in the current zone, windows are laid against."""
        self._numbers = numbers
        self._sought = polygons
        self._tree = shapely.STRtree(polygons)

    def _add_pixels(self, window: PixelWindow, pixels: CoveredPixels, grid: EndlessGrid) -> None:
        if not len(pixels):
            return
        if self._sums is None:
            sums = CodePowerSums if window.values.dtype == np.int8 else FloatPowerSums
            self._sums = sums(len(self), self.dims, self._parameters.gem_p if "gem" in self._columns else None)
        np.add.at(self._weight, pixels.polygon, pixels.share)
        np.add.at(self._count, pixels.polygon, pixels.is_inside)
        if not self._sums.add(window.values, pixels):
            raise WindowError(
                window.source, "values of valid pixels", "nodata (-128, NaN or infinity)", "numbers only",
                "Mark a pixel invalid if any band is nodata, or refuse the file.",
            )  # fmt: skip
        pixel_m2 = grid.pixel_x_m * grid.pixel_y_m
        for part in _by_polygon(pixels) if self._gathered else ():
            number = int(pixels.polygon[part.start])
            check_polygon_sizes(self._home[[number]], pixel_m2, self._gathered, [f"polygon {number}"])
            row, col = pixels.row[part], pixels.col[part]
            piece = _PixelPiece(
                self.epsg, grid, window.values[:, row, col].T.copy(), pixels.share[part], pixels.is_inside[part],
                grid.col + col, grid.row + row,
            )  # fmt: skip
            self._pieces.setdefault(number, []).append(piece)

    def _note_squares(self, pixels: CoveredPixels, is_valid: npt.NDArray[np.bool_], grid: EndlessGrid) -> None:
        """Remember which ground had valid pixels, for polygons that may be continued in another zone."""
        for part in _by_polygon(pixels) if self._continued.any() else ():
            number = int(pixels.polygon[part.start])
            if self._continued[number]:
                squares = squares_of_valid(pixels.take(np.arange(part.start, part.stop)), is_valid[part], grid)
                self._squares.setdefault(number, []).append(squares)

    def _settle(self) -> None:
        """Take off, from what is open of each polygon, the ground that had valid pixels in the current zone."""
        if not self._squares:
            return
        still_open = self._open.copy()
        for k, number in enumerate(self._numbers):
            if number in self._squares:
                left = subtract(self._sought[k], np.concatenate(self._squares[number]))
                still_open[number] = project_polygons(np.array([left]), self.epsg, self._home_epsg)[0]
        self._open = still_open
        self._squares = {}

    def _valid_fraction(self) -> Float64Array:
        area = shapely.area(self._home)
        pixel_m = self._pixel_m or (1.0, 1.0)
        fraction = self._weight / ONE * (pixel_m[0] * pixel_m[1]) / area
        # what rounding of vertices and shares can add: half of 2^-16 pixel along the edge, far below one pixel
        edge_px = 8 + 2 * shapely.length(self._home) / min(pixel_m)
        slack = 1e-6 + edge_px * pixel_m[0] * pixel_m[1] / ONE / area
        over = np.flatnonzero((fraction > 1.01 + slack) | (~self._continued & (fraction > 1.0 + slack)))
        if len(over):
            raise WindowError(
                f"polygon {int(over[0])}",
                "covered area / polygon area",
                f"{fraction[over[0]]:.3f} ({len(over)} such polygons)",
                "at most 1",
                "Windows overlap: add each piece of ground once.",
            )
        # two zones measure one area differently by some 1e-4, so what is left is measured in one
        left = shapely.area(self._open) / area
        fraction = np.where(self._continued, np.where(self._weight > 0, 1.0 - left, 0.0), fraction)
        return np.where(fraction > 1.0 - slack, 1.0, fraction)

    def _streamed(self, moments: PowerMoments) -> dict[str, npt.NDArray[np.float32]]:
        columns = moment_columns(self._columns, moments.mean, moments.variance, moments.low, moments.high)
        return columns if moments.gem is None else columns | {"gem": moments.gem.astype(np.float32)}

    def _pixels_of(self, number: int) -> PatchPixels:
        """Give a polygon's pixels sorted by zone, row and column, so that the order of windows does not show."""
        pieces = self._pieces[number]
        order = np.lexsort(
            [
                np.concatenate([piece.col for piece in pieces]),
                np.concatenate([piece.row for piece in pieces]),
                np.concatenate([np.full(len(piece.col), piece.epsg) for piece in pieces]),
            ]
        )
        values = np.concatenate([piece.values for piece in pieces])[order]
        west, south, east, north = shapely.bounds(self._home[number])
        places = np.concatenate([self._centers(piece) for piece in pieces])[order]
        return PatchPixels(
            code_values(values) if values.dtype == np.int8 else values.astype(np.float64),
            np.concatenate([piece.share for piece in pieces])[order] / ONE,
            np.concatenate([piece.is_inside for piece in pieces])[order],
            (places - [west, south]) / [east - west, north - south],
        )

    def _centers(self, piece: _PixelPiece) -> Float64Array:
        """Give pixel centres in metres of the polygons' own zone."""
        x = piece.grid.origin_x_m + (piece.col + 0.5) * piece.grid.pixel_x_m
        y = piece.grid.origin_y_m - (piece.row + 0.5) * piece.grid.pixel_y_m
        if piece.epsg != self._home_epsg:
            x, y = transformer(piece.epsg, self._home_epsg).transform(x, y)
        return np.stack([x, y], axis=1)

    def _check_window(self, window: PixelWindow) -> None:
        affine, expected = window.affine, (self.dims, *window.valid.shape)
        if window.epsg != self.epsg:
            raise CrsMismatchError(window.source, window.epsg, self.epsg)
        if window.values.shape != expected:
            raise WindowError(
                window.source, "shape (band, height, width)", window.values.shape, expected, "Is this another product?"
            )
        if affine.a <= 0 or affine.e >= 0 or affine.b != 0 or affine.d != 0:
            raise WindowError(
                window.source, "affine", tuple(affine)[:6], "north-up (a > 0, e < 0, no rotation)", "Flip the rows."
            )
        allowed = (np.int8, np.float32) if self._sums is None else (self._sums.dtype,)
        if window.values.dtype not in allowed:
            names = " or ".join(np.dtype(dtype).name for dtype in allowed)
            raise WindowError(window.source, "dtype", window.values.dtype, names, "Use one pooler per pixel type.")
        size = (float(affine.a), -float(affine.e))
        self._pixel_m = self._pixel_m or size
        if max(abs(size[0] / self._pixel_m[0] - 1), abs(size[1] / self._pixel_m[1] - 1)) > 1e-6:
            raise WindowError(window.source, "pixel size", size, self._pixel_m, "All windows must have one pixel size.")


def list_boxes(polygons: Polygons, epsg: int) -> list[UtmBox]:
    """Give the ground to read for polygons of one zone: near ones share a box, large ones are cut into cells.

    Args:
        polygons: object (n,) in metres of `epsg`, none empty.
        epsg: their zone.

    Returns:
        Boxes of about 10 km that cover all polygons; a river or a ring does not ask for the ground around it.
    """
    if not len(polygons):
        return []
    bounds = shapely.bounds(polygons)
    is_large = (bounds[:, 2:] - bounds[:, :2]).max(axis=1) > CLUSTER_M
    boxes = cluster_boxes(bounds[~is_large], epsg)
    for polygon in polygons[is_large]:
        first = np.floor(shapely.bounds(polygon)[:2] / CLUSTER_M)
        last = np.floor(shapely.bounds(polygon)[2:] / CLUSTER_M)
        x, y = np.meshgrid(np.arange(first[0], last[0] + 1), np.arange(first[1], last[1] + 1))
        cells = shapely.box(x * CLUSTER_M, y * CLUSTER_M, (x + 1) * CLUSTER_M, (y + 1) * CLUSTER_M).ravel()
        shapely.prepare(polygon)
        touched = shapely.bounds(cells[shapely.intersects(polygon, cells)])
        boxes += [UtmBox(epsg, *cell) for cell in touched.tolist()]
    return sorted(set(boxes))


def _by_polygon(pixels: CoveredPixels) -> list[slice]:
    """Give the run of each polygon."""
    start = np.flatnonzero(np.diff(pixels.polygon, prepend=-1))
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(np.append(start, len(pixels)))]


def _check_polygons(polygons: Polygons) -> None:
    allowed = np.isin(shapely.get_type_id(polygons), [shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON])
    bad = np.flatnonzero(~allowed | ~shapely.is_valid(polygons) | ~(shapely.area(polygons) > 0))
    if len(bad):
        first = polygons[bad[0]]
        found = f"{first.geom_type}, {shapely.is_valid_reason(first)}" if first is not None else "nothing"
        raise ShapeError(
            f"polygon {int(bad[0])}",
            found,
            "a sound Polygon or MultiPolygon with an area",
            f"{len(bad)} such polygons. Mend them with shapely.make_valid, or drop them.",
        )
