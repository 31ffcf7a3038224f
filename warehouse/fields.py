"""Patch vectors and pixel vectors of a year, read across shards.

Belongs here: joining stored tables into the arrays that pooling, upsampling and evaluation take. Does not:
arithmetic on them.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.alignment import match_keys
from transforms.places import PatchPlaces, PixelPlaces, places_from_table
from transforms.quantization import dequantize
from transforms.shards import Bbox, grow, inside_bbox
from transforms.upsampled_rows import PatchField
from warehouse.errors import StoredTableError
from warehouse.layout import PartitionKey
from warehouse.products import Product
from warehouse.reader import vectors
from warehouse.store import Warehouse

_PLACE_COLUMNS = tuple(field.name for field in fields(PatchPlaces))


def read_spine(warehouse: Warehouse, shard: str | None = None) -> PatchPlaces:
    """Read the patch places of one shard, or of all."""
    if shard is not None:
        return places_from_table(warehouse.read("core_grid__patches", PartitionKey(shard=shard), _PLACE_COLUMNS))
    keys = warehouse.partitions("core_grid__patches")
    return places_from_table(warehouse.read_many("core_grid__patches", keys, _PLACE_COLUMNS).select(_PLACE_COLUMNS))


def read_patch_field(warehouse: Warehouse, product: Product, year: int | None, bbox: Bbox | None = None) -> PatchField:
    """Read the patch vectors of one year, of all shards.

    Args:
        warehouse: the warehouse.
        product: a patch product.
        year: the year.
        bbox: only patches within the product's halo of this box; None = all.
    """
    table = f"core_{product.name}__patches"
    keys = warehouse.partitions(table, year=year)
    rows = warehouse.read_many(table, keys, ["patch_id", "lon", "lat", "embedding", "is_simulated"])
    if bbox is not None:
        rows = rows.filter(
            pa.array(inside_bbox(rows["lon"].to_numpy(), rows["lat"].to_numpy(), grow(bbox, product.halo_m)))
        )
    spine = read_spine(warehouse)
    slot = match_keys(rows["patch_id"].to_numpy(), spine.patch_id)
    if (slot < 0).any():
        raise StoredTableError(
            "core_grid__patches", str(warehouse.root), f"{int((slot < 0).sum())} patches of {table} have no place"
        )
    places = spine.take(slot)
    is_simulated = any(rows["is_simulated"].to_pylist())
    return PatchField(places, vectors(rows, "embedding"), is_simulated)


def read_pixel_vectors(
    warehouse: Warehouse, product: Product, keys: list[PartitionKey], *, window: bool | None = None
) -> tuple[PixelPlaces, npt.NDArray[np.float32], npt.NDArray[np.object_]]:
    """Read stored pixel vectors, dequantised.

    Args:
        warehouse: the warehouse.
        product: a pixel product.
        keys: partitions to read.
        window: True = pixels of kept windows, False = sampled pixels, None = all.

    Returns:
        (places, float32 (n, dims) vectors, window names or None).
    """
    table = f"core_{product.name}__pixels"
    columns = [*(field.name for field in fields(PixelPlaces)), "in_sample", "window", product.pixel_column]
    rows = warehouse.read_many(table, keys, columns)
    if window is not None:
        rows = rows.filter(rows["window"].is_valid() if window else rows["in_sample"])
    values = vectors(rows, product.pixel_column)
    floats = dequantize(values) if product.is_quantised else values
    places = PixelPlaces(*(rows[field.name].to_numpy() for field in fields(PixelPlaces)))
    return places, floats, np.array(rows["window"].to_pylist(), dtype=object)
