"""Pooling of a shard: one pooler per UTM zone, what lies across zones, rows of `out_patch__{product}_pooled`.

Belongs here: dealing footprints and windows to poolers, Arrow columns. Does not: the arithmetic of pooling
(`transforms/pooling/`), reading.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms.keeping import vector_array
from transforms.places import PatchPlaces, cluster_boxes, footprint_polygons
from transforms.pooling.operators import PooledPatches, empty_columns, stored_columns
from transforms.pooling.pixels import PoolingParameters
from transforms.pooling.points import pool_points
from transforms.pooling.polygons import PolygonPooler
from transforms.pooling.pooler import PatchPooler
from transforms.utm import UtmBox, project, unproject, utm_epsg
from transforms.windows import PixelWindow

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Columns that are pooled where nothing else is asked for.
DEFAULT_COLUMNS = ("mean", "mean_renormalised", "mean_length", "std", "min", "max")
#: Least share of a footprint that must hold valid pixels, where nothing else is asked for.
MIN_COVERAGE = 0.5


class RasterPooling:
    """Pools windows of any zone into the footprints of a shard.

    Each footprint is pooled in its own zone, as a box, in one pass. Those that other zones may continue
    (`reached_zones`) are pooled as polygons: after the windows of their own zone, `move_to` each of `next_zones` fills
    the ground that had no valid pixel so far.

    Args:
        spine: patch places.
        dims: length of a pixel vector.
        columns: stored columns to pool.
        parameters: of the operators behind them.
        min_coverage: least valid share of a footprint that gets vectors.
        threads: threads that add up bands; results do not depend on it.
        others: by EPSG, bool (n,): the footprints that this zone may continue; None = `reached_zones`.
    """

    def __init__(
        self,
        spine: PatchPlaces,
        dims: int,
        columns: Sequence[str] = DEFAULT_COLUMNS,
        parameters: PoolingParameters | None = None,
        *,
        min_coverage: float = MIN_COVERAGE,
        threads: int = 1,
        others: Mapping[int, npt.NDArray[np.bool_]] | None = None,
    ) -> None:
        self._boxes = spine.boxes()
        self._empty = empty_pooled(columns, dims, parameters or PoolingParameters())
        self._others = reached_zones(spine) if others is None else others
        is_seam = np.any([np.zeros(len(spine), bool), *self._others.values()], axis=0)
        self._zones: dict[int, tuple[Int64Array, PatchPooler]] = {}
        self._seams: dict[int, tuple[Int64Array, PolygonPooler]] = {}
        self._moved_to: int | None = None
        for epsg in np.unique(spine.epsg).tolist():
            chosen = np.flatnonzero((spine.epsg == epsg) & ~is_seam)
            pooler = PatchPooler(
                self._boxes[chosen], epsg, dims, columns, parameters, min_coverage=min_coverage, threads=threads
            )
            self._zones[epsg] = (chosen, pooler)
            seam = np.flatnonzero((spine.epsg == epsg) & is_seam)
            if len(seam):
                polygons = shapely.box(*self._boxes[seam].T)
                is_open = np.ones(len(seam), bool)
                self._seams[epsg] = (seam, PolygonPooler(
                    polygons, epsg, dims, columns, parameters, min_coverage=min_coverage, continued=is_open
                ))  # fmt: skip

    def boxes(self) -> list[UtmBox]:
        """Give the ground that must be read in each footprint's own zone."""
        own = [box for epsg, (chosen, _) in self._zones.items() for box in cluster_boxes(self._boxes[chosen], epsg)]
        return own + [box for _, pooler in self._seams.values() for box in pooler.boxes()]

    def next_zones(self) -> list[int]:
        """Give the zones that may continue footprints, in the order in which they must be moved to."""
        return sorted(epsg for epsg, mask in self._others.items() if mask.any())

    def move_to(self, epsg: int) -> list[UtmBox]:
        """End the round of a zone and continue, in another, the footprints that are not whole.

        Returns:
            The ground that must be read there: windows added from now on are of this zone and for these footprints.
        """
        self._moved_to = epsg
        boxes = []
        for home, (chosen, pooler) in self._seams.items():
            if home != epsg:
                pooler.move_to(epsg, self._others[epsg][chosen])
                boxes += pooler.boxes()
        return boxes

    def expect(self, extents: Iterable[UtmBox]) -> None:
        """Announce the outer edges of all windows that will come, so that `drain` can tell which patches are whole."""
        by_zone: dict[int, list[UtmBox]] = {}
        for extent in extents:
            by_zone.setdefault(extent.epsg, []).append(extent)
        for epsg, own in by_zone.items():
            self._zones[epsg][1].expect(own)

    def add(self, window: PixelWindow) -> None:
        """Add a window; windows of a round must not overlap, in any order."""
        if self._moved_to is None:
            self._zones[window.epsg][1].add(window)
        for home, (_, pooler) in self._seams.items():
            if pooler.epsg == window.epsg and (self._moved_to is None or home != self._moved_to):
                pooler.add(window)

    def drain(self) -> PooledPatches:
        """Give the patches that no further window will touch and that were not given yet, in the spine's order."""
        return self._join((chosen, pooler.drain()) for chosen, pooler in self._zones.values())

    def finish(self) -> PooledPatches:
        """Give all patches that were not given yet, in the spine's order."""
        boxes = [(chosen, pooler.finish()) for chosen, pooler in self._zones.values()]
        return self._join(boxes + [(chosen, pooler.finish()) for chosen, pooler in self._seams.values()])

    def _join(self, parts: Iterable[tuple[Int64Array, PooledPatches]]) -> PooledPatches:
        """Put what the zones give together; positions become those of the spine."""
        return concat_pooled([self._empty, *(replace(part, index=chosen[part.index]) for chosen, part in parts)])


def reached_zones(spine: PatchPlaces) -> dict[int, npt.NDArray[np.bool_]]:
    """Tell which footprints reach into which zones beside their own, by the zones of their corners.

    Returns:
        By EPSG, bool (n,); zones that no footprint reaches are left out.
    """
    boxes = spine.boxes()
    reached: dict[int, npt.NDArray[np.bool_]] = {}
    for epsg in np.unique(spine.epsg).tolist():
        chosen = np.flatnonzero(spine.epsg == epsg)
        for x, y in itertools.product((0, 2), (1, 3)):
            zone = utm_epsg(*unproject(boxes[chosen, x], boxes[chosen, y], epsg))
            for other in np.unique(zone[zone != epsg]).tolist():
                reached.setdefault(other, np.zeros(len(spine), bool))[chosen[zone == other]] = True
    return reached


def empty_pooled(columns: Sequence[str], dims: int, parameters: PoolingParameters) -> PooledPatches:
    """Give the result of pooling no patch at all."""
    return PooledPatches(
        np.empty(0, np.int64),
        empty_columns(stored_columns(columns), 0, dims, parameters),
        np.empty(0, np.float32),
        np.empty(0, np.int32),
    )


def concat_pooled(parts: Sequence[PooledPatches]) -> PooledPatches:
    """Put pooled patches with the same columns together, by index.

    Args:
        parts: at least one; their patches differ.
    """
    index = np.concatenate([part.index for part in parts])
    order = np.argsort(index)
    return PooledPatches(
        index[order],
        {name: np.concatenate([part.columns[name] for part in parts])[order] for name in parts[0].columns},
        np.concatenate([part.valid_fraction for part in parts])[order],
        np.concatenate([part.n_pixels for part in parts])[order],
    )


def pool_listed_pixels(
    spine: PatchPlaces,
    lon: Float64Array,
    lat: Float64Array,
    vectors: npt.NDArray[np.float32],
    columns: Sequence[str] = DEFAULT_COLUMNS,
    parameters: PoolingParameters | None = None,
) -> PooledPatches:
    """Pool listed pixels into the footprints that hold their centres, each with weight 1.

    Args:
        spine: patch places.
        lon: float64 (m,), pixel centres, degrees.
        lat: float64 (m,).
        vectors: float32 (m, dims), NaN = nodata.
        columns: stored columns to pool.
        parameters: of the operators behind them.

    Returns:
        The pooled patches in the order of the spine. `valid_fraction` is NaN: listed pixels do not say how much
        ground they stand for.
    """
    if not len(spine):
        return empty_pooled(columns, vectors.shape[1], parameters or PoolingParameters())
    tree = shapely.STRtree(footprint_polygons(spine))
    point, patch = tree.query(shapely.points(lon, lat), predicate="intersects")
    pooled = pool_points(
        vectors[point],
        patch.astype(np.int64),
        len(spine),
        at=_places_in(spine, patch, lon[point], lat[point]),
        columns=columns,
        parameters=parameters,
    )
    return replace(pooled, valid_fraction=np.full(len(spine), np.nan, np.float32))


def _places_in(spine: PatchPlaces, patch: Int64Array, lon: Float64Array, lat: Float64Array) -> Float64Array:
    """Give where points lie in the boxes of their patches, (m, 2), 0 to 1 eastwards and northwards."""
    boxes = spine.boxes()[patch]
    at = np.empty((len(patch), 2))
    for epsg in np.unique(spine.epsg[patch]).tolist():
        chosen = spine.epsg[patch] == epsg
        x, y = project(lon[chosen], lat[chosen], epsg)
        box = boxes[chosen]
        at[chosen, 0] = (x - box[:, 0]) / (box[:, 2] - box[:, 0])
        at[chosen, 1] = (y - box[:, 1]) / (box[:, 3] - box[:, 1])
    return at


def pooled_table(
    spine: PatchPlaces, pooled: PooledPatches, product: str, parameters: PoolingParameters, *, is_simulated: bool
) -> pa.Table:
    """Give the rows of `out_patch__{product}_pooled` of those patches of a spine that `pooled.index` names.

    Patches without enough valid pixels have NaN vectors. Columns of fitted operators bring the version of their
    codebook along: vectors of two versions must not be compared.
    """
    places = spine.take(pooled.index)
    count = len(places)
    columns = {
        name: pa.array(values) if values.ndim == 1 else vector_array(values) for name, values in pooled.columns.items()
    }
    versions = {
        f"{name}_version": pa.array([parameters.codebooks[name].version] * count, pa.string())
        for name in pooled.columns
        if name in parameters.codebooks
    }
    return pa.table(
        {
            "patch_id": places.patch_id,
            "product": pa.array([product] * count, pa.string()),
            "lon": places.lon,
            "lat": places.lat,
            "n_pixels": pa.array(pooled.n_pixels, pa.int32()),
            "valid_fraction": pa.array(pooled.valid_fraction, pa.float32()),
            **columns,
            **versions,
            "is_simulated": np.full(count, is_simulated),
        }
    )
