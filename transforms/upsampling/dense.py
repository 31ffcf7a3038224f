"""Dense windows: a vector for every pixel of a raster grid.

Belongs here: windows of vectors or of codes from any upsampler, and where the pixel centres of a window are in the
coordinates of the patches. Does not: weights and sums (`filling.py`), the operators, reading and writing of rasters.

Bilinear has a fused path: run by run of pixels, each output line written once, past the cache. Any other upsampler
goes through its `transform`, some image rows at a time. In both cases memory is bounded by the window and its
surroundings, whatever the area; the values are those of `transform` at the pixel centres.

Pixel centres are projected exactly at the nodes of a coarse grid and by a quadratic between them; the coarse grid is
refined until that is good to `MAX_OFFSET_M`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling.basis import Basis, encode
from transforms.upsampling.bilinear import BilinearUpsampler
from transforms.upsampling.filling import Nodes, fill_rows, place_row
from transforms.upsampling.kernels import row_arrays
from transforms.upsampling.operators import Upsampler
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.sums import aligned_empty, is_streamable
from transforms.utm import transformer
from transforms.windows import PixelGrid

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int8Array = npt.NDArray[np.int8]
#: Fills whole image rows [start, stop) into float32 (stop - start, width, d).
RowFiller = Callable[[int, int, Float32Array], None]

#: Largest error of a pixel centre, metres: weights are then good to 1e-6 of a 320 m patch.
MAX_OFFSET_M = 1e-4
#: Metres of a degree of longitude at the equator, where it is longest.
METRES_PER_DEG = 111_319.5
#: Pixels from node to node of the coarse grid, before refinement.
NODE_STEP_PX = 32
#: Pixels that pass through `transform`, or from vectors to codes, at a time.
CHUNK_PX = 16_384
#: Largest error of quadratic interpolation through three nodes, as a share of the third difference of nodes; 1.25 is
#: by how much the second of two interpolations can enlarge the error of the first.
_QUADRATIC_ERROR = 1.25 / (9.0 * np.sqrt(3.0))


def upsample_window(
    upsampler: Upsampler,
    rows: RowLattice,
    grid: PixelGrid,
    out: Float32Array | None = None,
    *,
    guide: Float32Array | None = None,
    rows_epsg: int | None = None,
) -> Float32Array:
    """Give the vector of every pixel of a window.

    Args:
        upsampler: fitted on `rows`.
        rows: the lattice of the patches.
        grid: the window.
        out: float32 (height, width, d), C-contiguous; changed and returned. A new array if not given.
        guide: float32 (height, width, g), vectors of the guiding product, for operators that use one.
        rows_epsg: CRS of lattices in metres; that of the grid if not given. Not used for longitudes.

    Returns:
        float32 (height, width, d); NaN where the operator has no vector, e.g. in a hole of the patches.

    Raises:
        ShapeError: `out` or `guide` does not fit, `rows` are not those of the upsampler, or the window is wholly
            outside the patches.
    """
    nodes = _checked_nodes(upsampler, rows, grid, guide, rows_epsg)
    dims, fill = _row_filler(upsampler, nodes, grid, guide)
    if out is None:
        out = aligned_empty((grid.height, grid.width, dims))
    _check_out(out, (grid.height, grid.width, dims), np.dtype(np.float32))
    step = grid.height if _is_fused(upsampler) else _chunk_rows(grid)
    for start in range(0, grid.height, step):
        stop = min(start + step, grid.height)
        fill(start, stop, out[start:stop])
    return out


def upsample_window_codes(
    upsampler: Upsampler,
    rows: RowLattice,
    basis: Basis,
    grid: PixelGrid,
    out: Int8Array | None = None,
    *,
    guide: Float32Array | None = None,
    rows_epsg: int | None = None,
) -> Int8Array:
    """Give the codes of every pixel of a window: vectors are reduced before they are interpolated.

    Interpolation with weights that sum to 1 commutes with the projection of a basis, so this gives the codes of the
    projected full vectors, at the cost of k dimensions.

    Args:
        upsampler: fitted on `rows` and on patch vectors that `basis.project` reduced, (n, k).
        rows: the lattice of the patches.
        basis: gives the scale of the codes.
        grid: the window.
        out: int8 (height, width, k), C-contiguous; changed and returned. A new array if not given.
        guide: as in `upsample_window`.
        rows_epsg: as in `upsample_window`.

    Returns:
        int8 (height, width, k), signed-square codes (`transforms/quantization.py`); -128 where there is no vector.

    Raises:
        ShapeError: as `upsample_window`; or the upsampler's vectors do not have the width of the basis.
    """
    nodes = _checked_nodes(upsampler, rows, grid, guide, rows_epsg)
    dims, fill = _row_filler(upsampler, nodes, grid, guide)
    if dims != basis.k:
        raise ShapeError(
            "vectors to upsample into codes",
            f"{dims} dimensions",
            f"{basis.k}, those of basis {basis.version}",
            "Fit the upsampler on project(vectors, basis).",
        )
    if out is None:
        out = np.empty((grid.height, grid.width, dims), np.int8)
    _check_out(out, (grid.height, grid.width, dims), np.dtype(np.int8))
    step = _chunk_rows(grid)
    chunk = aligned_empty((step, grid.width, dims))
    for start in range(0, grid.height, step):
        stop = min(start + step, grid.height)
        reduced = chunk[: stop - start]
        fill(start, stop, reduced)
        encode(reduced.reshape(-1, dims), basis, out[start:stop].reshape(-1, dims))
    return out


def _row_filler(
    upsampler: Upsampler, nodes: Nodes, grid: PixelGrid, guide: Float32Array | None
) -> tuple[int, RowFiller]:
    """Give the width of the vectors and the function that fills image rows."""
    if isinstance(upsampler, BilinearUpsampler) and _is_fused(upsampler):
        return upsampler.vectors_.shape[1], _fused_filler(upsampler, nodes, grid)
    return _transform_filler(upsampler, nodes, grid, guide)


def _is_fused(upsampler: Upsampler) -> bool:
    # a subclass may have another transform; runs hold the neighbours of two lattices
    return type(upsampler) is BilinearUpsampler and upsampler.rows_.n_lattices <= 2


def _fused_filler(upsampler: BilinearUpsampler, nodes: Nodes, grid: PixelGrid) -> RowFiller:
    near = _crop(upsampler.rows_, nodes)
    dims = upsampler.vectors_.shape[1]
    table = aligned_empty((len(near.patch), dims))
    np.take(upsampler.vectors_, near.patch, axis=0, out=table)
    arrays = row_arrays(replace(near, patch=np.arange(len(near.patch), dtype=np.int32)))

    def fill(start: int, stop: int, out: Float32Array) -> None:
        if not len(table):
            out[:] = np.nan
            return
        fill_rows(
            arrays,
            table.reshape(-1),
            dims,
            nodes,
            start,
            stop - start,
            grid.width,
            upsampler.min_support,
            out.reshape(-1),
            is_streamable(out),
        )

    return fill


def _transform_filler(
    upsampler: Upsampler, nodes: Nodes, grid: PixelGrid, guide: Float32Array | None
) -> tuple[int, RowFiller]:
    def transform(start: int, stop: int) -> Float32Array:
        u, v = np.empty((stop - start, grid.width)), np.empty((stop - start, grid.width))
        for row in range(start, stop):
            place_row(nodes, row, u[row - start], v[row - start])
        near = None if guide is None else guide[start:stop].reshape(-1, guide.shape[-1])
        return upsampler.transform(u.ravel(), v.ravel(), near)

    def fill(start: int, stop: int, out: Float32Array) -> None:
        out[:] = transform(start, stop).reshape(out.shape)

    return transform(0, 1).shape[1], fill


def _chunk_rows(grid: PixelGrid) -> int:
    return max(1, CHUNK_PX // grid.width)


def _checked_nodes(
    upsampler: Upsampler, rows: RowLattice, grid: PixelGrid, guide: Float32Array | None, rows_epsg: int | None
) -> Nodes:
    check_is_fitted(upsampler)
    if isinstance(upsampler, BilinearUpsampler) and upsampler.rows_.n_patches != rows.n_patches:
        raise ShapeError(
            "lattice of the window",
            f"{rows.n_patches} patches",
            f"{upsampler.rows_.n_patches}, as the upsampler was fitted on",
            "Pass the rows that were given to fit.",
        )
    if guide is not None and guide.shape[:2] != (grid.height, grid.width):
        raise ShapeError(
            "guide of the window", guide.shape, f"({grid.height}, {grid.width}, g)", "Read it on the same grid."
        )
    nodes = window_nodes(rows, grid, rows_epsg)
    _check_inside(rows, nodes, grid)
    return nodes


def window_nodes(rows: RowLattice, grid: PixelGrid, rows_epsg: int | None = None) -> Nodes:
    """Give the positions of pixel centres as the lattice counts them, exact at nodes and quadratic between.

    Args:
        rows: the lattice.
        grid: the window.
        rows_epsg: CRS of lattices in metres; that of the grid if not given.

    Returns:
        Nodes so close that positions between them are good to `MAX_OFFSET_M`: bounded by the third differences,
        ``h^3 max|f'''| / (9 sqrt(3))`` along either axis.
    """
    epsg = 4326 if rows.is_geographic else rows_epsg or grid.epsg
    step = NODE_STEP_PX
    while True:
        u, v = _project_nodes(grid, epsg, step)
        if step == 1 or _offset_bound_m(u, v, rows.is_geographic) <= MAX_OFFSET_M:
            break
        step //= 2
    if rows.is_geographic:
        # one piece must not jump by a turn; the row loops turn single pixels past the seam
        u = _unwrap(u)
    return Nodes(u, v, step, rows.seam_deg, 360.0 if rows.is_geographic else 0.0)


def _project_nodes(grid: PixelGrid, epsg: int, step: int) -> tuple[Float64Array, Float64Array]:
    """Project the centres of every `step`-th pixel, two pieces at least; nodes may lie beyond the window."""
    column, row = (step * np.arange(2 * max(2, -(-size // (2 * step))) + 1) for size in (grid.width, grid.height))
    x = grid.affine.c + grid.affine.a * (column + 0.5)
    y = grid.affine.f + grid.affine.e * (row + 0.5)
    nodes_x, nodes_y = np.meshgrid(x, y)
    if epsg == grid.epsg:
        return nodes_x, nodes_y
    u, v = transformer(grid.epsg, epsg).transform(nodes_x, nodes_y)
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise ShapeError(
            "pixel grid",
            f"corner ({grid.affine.c}, {grid.affine.f}) m of EPSG:{grid.epsg}",
            f"a place that EPSG:{epsg} can show",
            "Is the affine in metres of this zone?",
        )
    return np.ascontiguousarray(u), np.ascontiguousarray(v)


def _offset_bound_m(u: Float64Array, v: Float64Array, is_geographic: bool) -> float:
    if is_geographic:
        # one scale for all nodes: a scale that varies would add its own bends, or hide some
        widest = np.cos(np.radians(np.abs(v).min()))
        u, v = _unwrap(u) * METRES_PER_DEG * widest, v * METRES_PER_DEG
    worst = [float(np.abs(np.diff(f, n=3, axis=axis)).max()) for f in (u, v) for axis in (0, 1)]
    return sum(worst) * float(_QUADRATIC_ERROR)


def _unwrap(lon: Float64Array) -> Float64Array:
    return np.asarray(lon[0, 0] + np.mod(lon - lon[0, 0] + 180.0, 360.0) - 180.0, np.float64)


def _bounds(nodes: Nodes) -> tuple[float, float, float, float]:
    return float(nodes.u.min()), float(nodes.u.max()), float(nodes.v.min()), float(nodes.v.max())


def meets_patches(rows: RowLattice, grid: PixelGrid, rows_epsg: int | None = None) -> bool:
    """Tell whether a window comes within one pitch of the box that holds all patches.

    Args:
        rows: the lattice.
        grid: the window.
        rows_epsg: CRS of lattices in metres; that of the grid if not given.
    """
    return len(rows.patch) > 0 and _meets(rows, window_nodes(rows, grid, rows_epsg))


def _meets(rows: RowLattice, nodes: Nodes) -> bool:
    margin_u, margin_v = float(rows.row_pitch_u.max()), rows.pitch_v
    west, east, south, north = _bounds(nodes)
    low, high = float(rows.u.min()) - margin_u, float(rows.u.max()) + margin_u
    meets_u = any(west + turn <= high and east + turn >= low for turn in (-nodes.turn, 0.0, nodes.turn))
    return bool(meets_u and south <= rows.row_v.max() + margin_v and north >= rows.row_v.min() - margin_v)


def _check_inside(rows: RowLattice, nodes: Nodes, grid: PixelGrid) -> None:
    if not len(rows.patch):
        raise ShapeError("patches", 0, "at least 1", "Is the area covered in this year?")
    if _meets(rows, nodes):
        return
    west, east, south, north = _bounds(nodes)
    raise ShapeError(
        f"window of EPSG:{grid.epsg} at ({grid.affine.c}, {grid.affine.f}) m",
        f"u {west:.6f} to {east:.6f}, v {south:.6f} to {north:.6f}",
        f"a window that meets the patches, u {rows.u.min():.6f} to {rows.u.max():.6f}, "
        f"v {rows.row_v.min():.6f} to {rows.row_v.max():.6f}",
        "Is it of the right zone, and is rows_epsg right?",
    )


def _crop(rows: RowLattice, nodes: Nodes) -> RowLattice:
    """Leave out patches that are more than two pitches from the window; the others keep their order."""
    west, east, south, north = _bounds(nodes)
    margin = 2.0 * float(rows.row_pitch_u.max(initial=0.0))
    center, half = (west + east) / 2.0, (east - west) / 2.0 + margin
    off = rows.u - center
    if nodes.turn:
        off = off - nodes.turn * np.rint(off / nodes.turn)
    is_row_near = (rows.row_v >= south - 2.0 * rows.pitch_v) & (rows.row_v <= north + 2.0 * rows.pitch_v)
    is_near = np.repeat(is_row_near, np.diff(rows.row_start)) & (np.abs(off) <= half)
    before = np.concatenate([[0], np.cumsum(is_near)])
    return replace(
        rows, patch=rows.patch[is_near], u=rows.u[is_near], v=rows.v[is_near], row_start=before[rows.row_start]
    )


def _check_out(out: npt.NDArray[np.generic], shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    if out.shape == shape and out.dtype == dtype and out.flags.c_contiguous and out.flags.writeable:
        return
    layout = "" if out.flags.c_contiguous else ", not C-contiguous"
    raise ShapeError(
        "out array of the window",
        f"{out.dtype} {out.shape}{layout}{'' if out.flags.writeable else ', read-only'}",
        f"{dtype} {shape}, C-contiguous and writeable",
        "Allocate it with numpy.empty for the grid and the width of the vectors.",
    )
