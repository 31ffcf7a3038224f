"""Pooling of a shard: one pooler per UTM zone, and the rows of `out_patch__{product}_pooled`.

Belongs here: dealing footprints and windows to poolers, Arrow columns. Does not: the arithmetic of pooling
(`transforms/pooling/`), reading.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms.keeping import vector_array
from transforms.places import PatchPlaces, cluster_boxes, footprint_polygons
from transforms.pooling.operators import PooledPatches
from transforms.pooling.points import pool_points
from transforms.pooling.pooler import PatchPooler
from transforms.utm import UtmBox
from transforms.windows import PixelWindow

#: Least share of a footprint that must hold valid pixels.
MIN_COVERAGE = 0.5


class RasterPooling:
    """Pools windows of any zone into the footprints of a shard, each in its own zone.

    Args:
        spine: patch places.
        dims: length of a pixel vector.
    """

    def __init__(self, spine: PatchPlaces, dims: int) -> None:
        self._zones: dict[int, tuple[npt.NDArray[np.int64], PatchPooler]] = {}
        self._boxes = spine.boxes()
        self._count = len(spine)
        for epsg in np.unique(spine.epsg):
            chosen = np.flatnonzero(spine.epsg == epsg)
            self._zones[int(epsg)] = (chosen, PatchPooler(self._boxes[chosen], int(epsg), dims))

    def boxes(self) -> list[UtmBox]:
        """Give the ground that must be read."""
        return [box for epsg, (chosen, _) in self._zones.items() for box in cluster_boxes(self._boxes[chosen], epsg)]

    def add(self, window: PixelWindow) -> None:
        """Add a window; windows must not overlap, in any order."""
        self._zones[window.epsg][1].add(window)

    def finish(self) -> PooledPatches | None:
        """Give the pooled patches in the order of the spine; None where it is empty."""
        parts = [(chosen, pooler.finish(MIN_COVERAGE)) for chosen, pooler in self._zones.values()]
        if not parts:
            return None
        order = np.argsort(np.concatenate([chosen for chosen, _ in parts]), kind="stable")
        columns = {
            field.name: np.concatenate([getattr(pooled, field.name) for _, pooled in parts])[order]
            for field in fields(PooledPatches)
        }
        return PooledPatches(**columns)


def pool_listed_pixels(
    spine: PatchPlaces,
    lon: npt.NDArray[np.float64],
    lat: npt.NDArray[np.float64],
    vectors: npt.NDArray[np.float32],
) -> PooledPatches | None:
    """Pool listed pixels into the footprints that hold their centres, each with weight 1.

    Args:
        spine: patch places.
        lon: float64 (m,), pixel centres, degrees.
        lat: float64 (m,).
        vectors: float32 (m, dims), NaN = nodata.

    Returns:
        The pooled patches in the order of the spine; None where it is empty. `valid_fraction` is NaN: listed
        pixels do not say how much ground they stand for.
    """
    if not len(spine):
        return None
    tree = shapely.STRtree(footprint_polygons(spine))
    point, patch = tree.query(shapely.points(lon, lat), predicate="intersects")
    pooled = pool_points(vectors[point], patch.astype(np.int64), len(spine))
    return replace(pooled, valid_fraction=np.full(len(spine), np.nan, np.float32))


def pooled_table(
    spine: PatchPlaces, pooled: PooledPatches | None, product: str, dims: int, *, is_simulated: bool
) -> pa.Table:
    """Give rows of `out_patch__{product}_pooled`; patches without enough valid pixels have NaN vectors."""
    count = len(spine)
    if pooled is None:
        pooled = _empty(dims)
    vectors = {name: vector_array(getattr(pooled, name)) for name in ("mean", "mean_renormalised", "std", "min", "max")}
    return pa.table(
        {
            "patch_id": spine.patch_id,
            "product": pa.array([product] * count, pa.string()),
            "lon": spine.lon,
            "lat": spine.lat,
            "n_pixels": pa.array(pooled.n_pixels, pa.int32()),
            "valid_fraction": pa.array(pooled.valid_fraction, pa.float32()),
            "mean": vectors["mean"],
            "mean_renormalised": vectors["mean_renormalised"],
            "mean_length": pa.array(pooled.mean_length, pa.float32()),
            "std": vectors["std"],
            "min": vectors["min"],
            "max": vectors["max"],
            "is_simulated": np.full(count, is_simulated),
        }
    )


def _empty(dims: int) -> PooledPatches:
    return pool_points(np.empty((0, dims), np.float32), np.empty(0, np.int64), 0)
