"""Rows of `core_{product}__patches`.

Belongs here: unique patches as arrays, and their Arrow columns. Does not: reading files, choosing copies
(`transforms/dedup.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms import h3_index
from transforms.alignment import match_keys
from transforms.errors import LatticeError
from transforms.keeping import vector_array
from transforms.places import PATCH_H3, PatchPlaces, footprint_polygons


@dataclass(frozen=True)
class UniquePatches:
    """One vector per patch, as parallel arrays.

    Attributes:
        patch_id: uint64 (n,), unique.
        source_id: str (n,), the producer's id.
        vectors: float32 (n, dims).
        n_copies: int16 (n,), files that hold the patch.
        copies_max_cosine_distance: float32 (n,), largest 1 - cos between the chosen copy and another.
        lon: float64 (n,), centroid, degrees.
        lat: float64 (n,).
    """

    patch_id: npt.NDArray[np.uint64]
    source_id: npt.NDArray[np.str_]
    vectors: npt.NDArray[np.float32]
    n_copies: npt.NDArray[np.int16]
    copies_max_cosine_distance: npt.NDArray[np.float32]
    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.patch_id)

    def take(self, chosen: npt.NDArray[np.generic]) -> UniquePatches:
        """Give the chosen patches (mask or positions)."""
        return UniquePatches(*(getattr(self, field.name)[chosen] for field in fields(self)))


def patch_table(patches: UniquePatches, spine: PatchPlaces, product: str, *, is_simulated: bool) -> pa.Table:
    """Give rows of `core_{product}__patches` with the footprints of the spine.

    Raises:
        LatticeError: a patch has no place in the spine.
    """
    slot = match_keys(patches.patch_id, spine.patch_id)
    if (slot < 0).any():
        strangers = patches.patch_id[slot < 0]
        raise LatticeError(
            f"core_{product}__patches",
            f"{len(strangers)} patches that have no place in core_grid__patches, the first {int(strangers[0])}",
            "a place for every patch",
            "Is this another grid version? Register it as a product of its own; "
            "else materialise core_grid__patches again.",
        )
    places = spine.take(slot)
    count = len(patches)
    return pa.table(
        {
            "patch_id": patches.patch_id,
            "product": pa.array([product] * count, pa.string()),
            "source_id": pa.array(patches.source_id.tolist(), pa.string()),
            "embedding": vector_array(patches.vectors),
            "n_copies": patches.n_copies,
            "copies_max_cosine_distance": patches.copies_max_cosine_distance,
            "lon": places.lon,
            "lat": places.lat,
            **h3_index.ancestry(places.lon, places.lat, PATCH_H3),
            "is_simulated": np.full(count, is_simulated),
            "geometry": pa.array(shapely.to_wkb(footprint_polygons(places)), pa.binary()),
        }
    )
