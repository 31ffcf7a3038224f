"""Patches as rows: the one form in which upsampling sees any patch lattice.

Belongs here: `RowLattice` and its builders for the Earth Genome lattice and for regular grids. Does not:
enumeration of lattices (`transforms/lattice.py`), weights (`bilinear.py`).

Rows have their own column counts and phases, so interpolation goes along rows, then between them. `u` runs
along rows and `v` across them: longitude and latitude in degrees, or x and y in metres of one UTM zone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from transforms.errors import LatticeError, ShapeError
from transforms.lattice import PATCH_SIDE_M, ROW_HEIGHT_DEG, count_columns

Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowLattice:
    """Patches sorted by lattice, row and position along the row.

    Attributes:
        patch: int32 (n,), number of each patch in the table that the lattice was built from.
        u: float64 (n,), position along the row.
        v: float64 (n,), position across rows, as given (`row_v` is what interpolation uses).
        row_start: int64 (n_rows + 1,), bounds of the rows in `patch`; rows may be empty.
        row_v: float64 (n_rows,), ascending inside a lattice.
        row_pitch_u: float64 (n_rows,), distance of neighbouring cells of a row.
        lattice_start: int64 (n_lattices + 1,), bounds of the lattices in `row_v`.
        pitch_v: distance of neighbouring rows of a lattice.
        side_m: side of a patch, metres.
        is_geographic: u and v are degrees; else metres.
        seam_deg: geographic u lies in [seam, seam + 360); it is put where no patch is.
        n_patches: rows of the table that `patch` counts.
    """

    patch: Int32Array
    u: Float64Array
    v: Float64Array
    row_start: Int64Array
    row_v: Float64Array
    row_pitch_u: Float64Array
    lattice_start: Int64Array
    pitch_v: float
    side_m: float
    is_geographic: bool
    seam_deg: float
    n_patches: int

    @property
    def n_lattices(self) -> int:
        """Number of lattices that cover the ground independently."""
        return len(self.lattice_start) - 1

    def along(self, u: npt.ArrayLike) -> Float64Array:
        """Give positions along rows as this lattice counts them (longitudes turned past the seam)."""
        values = np.asarray(u, np.float64)
        return _unroll(values, self.seam_deg) if self.is_geographic else values

    def keep(self, is_present: npt.NDArray[np.bool_]) -> RowLattice:
        """Leave out patches, e.g. those without a vector; the others keep their numbers.

        Args:
            is_present: bool (n_patches,).

        Returns:
            The lattice of the patches that are present; their neighbours see holes.
        """
        kept = is_present[self.patch]
        before = np.concatenate([[0], np.cumsum(kept)])
        return replace(self, patch=self.patch[kept], u=self.u[kept], v=self.v[kept], row_start=before[self.row_start])


def eg_rows(
    is_secondary: npt.NDArray[np.bool_], row: npt.ArrayLike, lon: npt.ArrayLike, lat: npt.ArrayLike
) -> RowLattice:
    """Build the rows of the Earth Genome lattice from recovered places (`transforms.lattice.recover`).

    Args:
        is_secondary: bool (n,).
        row: (n,) row numbers.
        lon: float64 (n,), centroids, degrees.
        lat: float64 (n,), degrees.

    Returns:
        The rows of one or both lattices, u = longitude, v = latitude.

    Raises:
        LatticeError: two patches stand in one cell, or one row has several latitudes.
        ShapeError: the columns differ in length or are empty.
    """
    lons, lats = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    rows = np.asarray(row, np.int64)
    seam = _find_seam(lons)
    pitch_u = 360.0 / count_columns(rows)
    return _build(
        np.asarray(is_secondary, np.int64),
        rows,
        _unroll(lons, seam),
        lats,
        pitch_u=pitch_u,
        pitch_v=ROW_HEIGHT_DEG,
        side_m=PATCH_SIDE_M,
        seam_deg=seam,
    )


def grid_rows(
    x_m: npt.ArrayLike,
    y_m: npt.ArrayLike,
    tolerance_m: float = 1.0,
    *,
    pitch_m: float | None = None,
    side_m: float | None = None,
) -> RowLattice:
    """Recover the rows of a regular, axis-parallel grid from centroids in one CRS; holes are allowed.

    Args:
        x_m: float64 (n,), metres.
        y_m: float64 (n,), metres.
        tolerance_m: largest accepted distance from the fitted grid along either axis.
        pitch_m: distance of neighbours; found from the centroids if not given.
        side_m: side of a patch; the larger pitch if not given.

    Returns:
        The rows, u = x, v = y.

    Raises:
        LatticeError: the centroids are no such grid, share a cell, or are too few to show the pitch.
        ShapeError: the columns differ in length or are empty.
    """
    x, y = np.asarray(x_m, np.float64), np.asarray(y_m, np.float64)
    _check_columns(x, y)
    _, pitch_x = _fit_axis("x", x, tolerance_m, pitch_m)
    row, pitch_y = _fit_axis("y", y, tolerance_m, pitch_m)
    # one row or one column shows no pitch across: patches are taken as square
    pitch_x, pitch_y = pitch_x or pitch_y, pitch_y or pitch_x
    if not pitch_x or not pitch_y:
        raise LatticeError("patch grid", "one place", "at least two, to know the pitch", "Give pitch_m.")
    return _build(
        np.zeros(len(x), np.int64),
        row,
        x,
        y,
        pitch_u=np.full(len(x), pitch_x),
        pitch_v=pitch_y,
        side_m=side_m or max(pitch_x, pitch_y),
        seam_deg=None,
    )


def _build(
    lattice: Int64Array,
    row: Int64Array,
    u: Float64Array,
    v: Float64Array,
    *,
    pitch_u: Float64Array,
    pitch_v: float,
    side_m: float,
    seam_deg: float | None,
) -> RowLattice:
    """Sort patches into rows and check that each cell holds one and each row has one v."""
    _check_columns(lattice, row, u, v)
    order = np.lexsort((u, row, lattice))
    lattice, row = lattice[order], row[order]
    u, v, pitch_u = u[order], v[order], pitch_u[order]
    is_new_row = np.r_[True, (np.diff(lattice) != 0) | (np.diff(row) != 0)]
    first = np.flatnonzero(is_new_row)
    _check_cells(u, pitch_u, is_new_row)
    row_size = np.diff(np.r_[first, len(u)])
    row_v = np.add.reduceat(v, first) / row_size
    _check_row_v(v, np.repeat(row_v, row_size), pitch_v)
    lattice_start = np.flatnonzero(np.r_[True, np.diff(lattice[first]) != 0, True])
    return RowLattice(
        patch=order.astype(np.int32),
        u=u,
        v=v,
        row_start=np.r_[first, len(u)].astype(np.int64),
        row_v=row_v,
        row_pitch_u=pitch_u[first],
        lattice_start=lattice_start.astype(np.int64),
        pitch_v=pitch_v,
        side_m=side_m,
        is_geographic=seam_deg is not None,
        seam_deg=seam_deg or 0.0,
        n_patches=len(u),
    )


def _find_seam(lon: Float64Array) -> float:
    """Give the longitude at which to cut the circle: -180, or inside the widest gap if data cross it."""
    _check_columns(lon)
    places = np.unique(lon)
    gaps = np.diff(np.r_[places, places[0] + 360.0])
    widest = int(np.argmax(gaps))
    return -180.0 if widest == len(places) - 1 else float(places[widest] + gaps[widest] / 2)


def _unroll(lon: Float64Array, seam_deg: float) -> Float64Array:
    """Give longitudes in [seam, seam + 360); those that are there already keep every bit."""
    return np.where((lon >= seam_deg) & (lon < seam_deg + 360.0), lon, seam_deg + np.mod(lon - seam_deg, 360.0))


def _fit_axis(
    name: str, values: Float64Array, tolerance_m: float, pitch_m: float | None
) -> tuple[Int64Array, float | None]:
    """Number the grid lines that values stand on; the pitch is None where all stand on one."""
    ordered = np.sort(values)
    is_new = np.r_[True, np.diff(ordered) > 2 * tolerance_m]
    first = np.flatnonzero(is_new)
    lines = np.add.reduceat(ordered, first) / np.diff(np.r_[first, len(ordered)])
    line = np.searchsorted(ordered[first], values, side="right") - 1
    if len(lines) == 1:
        return line, pitch_m
    gaps = np.diff(lines)
    # the median of the single steps: one gap alone carries the error of two centroids
    pitch = pitch_m or float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    number = np.r_[0, np.cumsum(np.rint(gaps / pitch).astype(np.int64))]
    fitted_pitch, origin = np.polyfit(number, lines, 1)
    off_m = np.abs(values - (origin + fitted_pitch * number[line]))
    worst = int(np.argmax(off_m))
    if off_m[worst] > tolerance_m or (pitch_m and abs(fitted_pitch - pitch_m) > tolerance_m):
        raise LatticeError(
            f"patch centroid {worst} ({name} = {values[worst]:.1f} m)",
            f"{off_m[worst]:.1f} m off a grid of pitch {fitted_pitch:.1f} m",
            f"at most {tolerance_m} m off" + (f", pitch {pitch_m} m" if pitch_m else ""),
            "Are the centroids in one UTM zone? Scattered patches can be upsampled only by nearest.",
        )
    return number[line], float(fitted_pitch)


def _check_columns(*columns: npt.NDArray[np.generic]) -> None:
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise ShapeError("patch centroids", f"columns of lengths {sorted(lengths)}", "one length above 0", "")


def _check_cells(u: Float64Array, pitch_u: Float64Array, is_new_row: npt.NDArray[np.bool_]) -> None:
    shared = np.flatnonzero((np.diff(u) < 0.5 * pitch_u[1:]) & ~is_new_row[1:])
    if len(shared):
        raise LatticeError(
            f"row position u = {u[shared[0]]:.6f}",
            f"two patches in one cell ({len(shared)} such cells)",
            "one patch a cell",
            "Drop duplicates first (owner rule).",
        )


def _check_row_v(v: Float64Array, row_v: Float64Array, pitch_v: float) -> None:
    off = np.abs(v - row_v)
    worst = int(np.argmax(off))
    if off[worst] > 0.05 * pitch_v:
        raise LatticeError(
            f"patch at v = {v[worst]:.6f}",
            f"{off[worst] / pitch_v:.2f} row pitches off its row",
            "at most 0.05",
            "Are row numbers and centroids from the same table?",
        )
