"""Maps that the oracles draw of the kept windows, and the field of patches that they are drawn from.

Belongs here: which pixel lies in which patch, maps of C0, C1, C3 and C4, rows of what only maps show. Does not: scores
on all ground (`oracles.py`), the metrics (`transforms/`). Windows are those of the settings; no pixel need be stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine

from transforms.alignment import match_keys, take_or
from transforms.blocks import assign_blocks
from transforms.errors import LatticeError
from transforms.label_rows import CELL_M, footprint_cells
from transforms.map_tally import WINDOWS, MapTally
from transforms.oracles.constant_labels import choose_majority, count_blocks
from transforms.oracles.fractions import FractionOracle
from transforms.oracles.maps import paint_blocks
from transforms.oracles.rows import Row, map_row, skipped_row
from transforms.oracles.tally import OracleKey, PatchCells
from transforms.places import PatchPlaces
from transforms.upsampled_rows import PatchField
from transforms.upsampling.nearest import nearest_index
from transforms.upsampling.rows import RowLattice
from transforms.utm import project, unproject
from transforms.windows import PixelGrid
from warehouse.fields import read_spine
from warehouse.labels.contract import SampledLabels
from warehouse.reader import vectors
from warehouse.store import Warehouse
from warehouse.window_raster import window_grid

#: Side of a window that is mapped at once, pixels; larger ones are cut, and their objects end at the cut.
_SIDE_AT_ONCE_PX = 2_048

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
LabelCells = npt.NDArray[np.int16]


@dataclass(frozen=True)
class OracleField:
    """The patches of the primary lattice as rows, with their true class fractions.

    Attributes:
        places: the patches, in the order of the stored spine.
        rows: their lattice.
        oracle: C3.
        epsg: zone of a lattice in metres; None for longitude and latitude.
    """

    places: PatchPlaces
    rows: RowLattice
    oracle: FractionOracle
    epsg: int | None

    def predict(self, lon: FloatArray, lat: FloatArray) -> LabelCells:
        """Give the class of C3 at points, in the shape of `lon`."""
        return self.oracle.predict(*self._coordinates(lon, lat)).reshape(lon.shape)

    def nearest(self, lon: FloatArray, lat: FloatArray) -> IntArray:
        """Give the position of the nearest patch of each point (m,); -1 where none is near."""
        return nearest_index(self.rows, *self._coordinates(lon, lat)).astype(np.int64)

    def _coordinates(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
        if self.epsg is None:
            return lon.ravel(), lat.ravel()
        return project(lon.ravel(), lat.ravel(), self.epsg)


def open_oracle_field(warehouse: Warehouse, year: int, label: str) -> tuple[OracleField | None, str]:
    """Read the stored fractions of all patches of the primary lattice.

    Returns:
        (field, empty text), or (None, why patches form no lattice).
    """
    places = read_spine(warehouse)
    places = places.take(places.lattice != "secondary")
    table = f"core_label_{label}__patches"
    keys = warehouse.partitions(table, year=warehouse.label(label).years[year])
    rows = warehouse.read_many(table, keys, ["patch_id", "fractions"])
    slot = match_keys(places.patch_id, rows["patch_id"].to_numpy())
    fractions = take_or(vectors(rows, "fractions").astype(np.float32), slot, np.nan)
    field = PatchField(places, fractions, is_simulated=False)
    try:
        lattice = field.rows()
    except LatticeError as error:
        # footprints of their own need not form a grid: then nothing can be interpolated, and the row says so
        return None, str(error)
    epsg = None if field.on_lattice else int(places.epsg[0])
    return OracleField(places, lattice, FractionOracle(lattice, fractions), epsg), ""


@dataclass(frozen=True)
class _Window:
    """Pixels of a kept window, flat: places, truth, the patch of each and where in it."""

    shape: tuple[int, int]
    lon: FloatArray
    lat: FloatArray
    truth: LabelCells
    block_id: IntArray
    patch: IntArray
    across: FloatArray
    up: FloatArray


def window_rows(
    warehouse: Warehouse,
    source: SampledLabels,
    field: OracleField,
    patch: PatchCells,
    patch_classes: Mapping[OracleKey, LabelCells],
    block_edge_m: float,
) -> list[Row]:
    """Score the maps of C0, C1, C3 and C4 in the kept windows by boundary and object size.

    Args:
        warehouse: the warehouse.
        source: the labels that are scored.
        field: the patches.
        patch: how they are cut into cells.
        patch_classes: classes of C0 and C1, in the order of `field.places`.
        block_edge_m: edge of the spatial blocks.

    Returns:
        Rows of `out_probe__oracles`; one row with a status where the settings keep no window.
    """
    boxes = [window.bbox for window in warehouse.settings.keep.windows]
    if not boxes:
        reason = "boundaries and objects need a map; name a window under [keep]"
        return [skipped_row(key, reason) | {"metric": "boundary_f", "stratum": WINDOWS} for key in patch_classes]
    k = len(source.class_names)
    tallies: dict[OracleKey, MapTally] = {}
    for grid in (part for box in boxes for part in _cut(window_grid(box, CELL_M))):
        window = _open_window(grid, source, field, block_edge_m)
        for key, pred in _draw(window, source, field, patch, patch_classes):
            shape = window.shape
            tally = tallies.setdefault(key, MapTally(k))
            tally.add(window.truth.reshape(shape), pred.reshape(shape), window.block_id.reshape(shape))
    return [map_row(key, row) for key, tally in tallies.items() for row in tally.rows()]


def _cut(grid: PixelGrid) -> Iterator[PixelGrid]:
    """Cut a window into parts that fit into memory."""
    for top in range(0, grid.height, _SIDE_AT_ONCE_PX):
        for left in range(0, grid.width, _SIDE_AT_ONCE_PX):
            height, width = min(_SIDE_AT_ONCE_PX, grid.height - top), min(_SIDE_AT_ONCE_PX, grid.width - left)
            yield PixelGrid(grid.epsg, grid.affine @ Affine.translation(left, top), height, width)


def _open_window(grid: PixelGrid, source: SampledLabels, field: OracleField, block_edge_m: float) -> _Window:
    """Find the label and the patch of each pixel of a grid."""
    x, y = (axis.ravel() for axis in np.meshgrid(*grid.centers()))
    lon, lat = unproject(x, y, grid.epsg)
    nearest = field.nearest(lon, lat)
    across, up = _place_in_patch(field.places, nearest, lon, lat)
    return _Window(
        (grid.height, grid.width),
        lon,
        lat,
        source.sample_classes(lon, lat),
        assign_blocks(lon, lat, block_edge_m),
        nearest,
        across,
        up,
    )


def _place_in_patch(
    places: PatchPlaces, patch: IntArray, lon: FloatArray, lat: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Give where in its patch's footprint each point lies, from the south-west corner in sides of the patch."""
    across, up = np.zeros(len(lon)), np.zeros(len(lon))
    zone = take_or(places.epsg, patch, -1)
    for epsg in np.unique(zone[zone >= 0]):
        mine = np.flatnonzero(zone == epsg)
        x, y = project(lon[mine], lat[mine], int(epsg))
        of = patch[mine]
        across[mine] = (x - places.x_m[of]) / places.side_m[of] + 0.5
        up[mine] = (y - places.y_m[of]) / places.side_m[of] + 0.5
    return across, up


def _draw(
    window: _Window,
    source: SampledLabels,
    field: OracleField,
    patch: PatchCells,
    patch_classes: Mapping[OracleKey, LabelCells],
) -> Iterator[tuple[OracleKey, LabelCells]]:
    """Give the map of each oracle, flat."""
    for key, classes in patch_classes.items():
        yield key, paint_blocks(classes[:, None, None], window.patch, window.across, window.up)
    yield OracleKey("C3", patch.side_m), field.predict(window.lon, window.lat)
    used, slot = np.unique(window.patch[window.patch >= 0], return_inverse=True)
    if not len(used):
        return
    local = np.full(len(window.patch), -1, np.int64)
    local[window.patch >= 0] = slot
    cells = source.sample_classes(*footprint_cells(field.places.take(used)))
    grids = cells.reshape(-1, patch.n_side, patch.n_side)
    for scale in patch.scales:
        block_px = patch.block_px(scale)
        if block_px is not None:
            parts = patch.n_side // block_px
            counts = count_blocks(grids, block_px, len(source.class_names))
            chosen = np.where(counts.sum(axis=1) > 0, choose_majority(counts), -1).astype(np.int16)
            classes = chosen.reshape(-1, parts, parts)
            yield OracleKey("C4", scale), paint_blocks(classes, local, window.across, window.up)
