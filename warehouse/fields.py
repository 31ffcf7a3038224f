"""Patch vectors and pixel vectors of a year, read across shards.

Belongs here: joining stored tables into the arrays that pooling, upsampling and evaluation take. Does not:
arithmetic on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.alignment import match_keys
from transforms.area import Bbox, area_of_boxes, grow
from transforms.places import PatchPlaces, PixelPlaces, places_from_table
from transforms.quantization import dequantize
from transforms.upsampled_rows import PatchField
from transforms.upsampling.basis import Basis, basis_from_table
from warehouse.errors import StoredTableError
from warehouse.layout import PartitionKey
from warehouse.products import Product
from warehouse.reader import vectors
from warehouse.recipes.inputs import reading_margin_m, shards_near
from warehouse.store import Warehouse

_PLACE_COLUMNS = tuple(field.name for field in fields(PatchPlaces))


def read_spine(warehouse: Warehouse, shard: str | None = None) -> PatchPlaces:
    """Read the patch places of one shard, or of all."""
    if shard is not None:
        return places_from_table(warehouse.read("core_grid__patches", PartitionKey(shard=shard), _PLACE_COLUMNS))
    return _read_spines(warehouse, [str(key.shard) for key in warehouse.partitions("core_grid__patches")])


def _read_spines(warehouse: Warehouse, shards: list[str]) -> PatchPlaces:
    keys = [PartitionKey(shard=shard) for shard in shards]
    return places_from_table(warehouse.read_many("core_grid__patches", keys, _PLACE_COLUMNS).select(_PLACE_COLUMNS))


def read_patch_field(
    warehouse: Warehouse,
    product: Product,
    year: int | None,
    bbox: Bbox | None = None,
    operators: Sequence[str] = (),
) -> PatchField:
    """Read the patch vectors of one year, of all shards.

    Args:
        warehouse: the warehouse.
        product: a patch product.
        year: the year.
        bbox: only patches in and around this box; None = all.
        operators: upsampling operators that must not see where the box ends.
    """
    table = f"core_{product.name}__patches"
    keys = warehouse.partitions(table, year=year)
    reach = None if bbox is None else grow(bbox, reading_margin_m(product, operators))
    if reach is not None:
        near = set(shards_near(warehouse, reach))
        keys = [key for key in keys if key.shard in near]
    rows = warehouse.read_many(table, keys, ["patch_id", "lon", "lat", "embedding", "is_simulated"])
    if reach is not None:
        inside = area_of_boxes([reach]).contains(rows["lon"].to_numpy(), rows["lat"].to_numpy())
        rows = rows.filter(pa.array(inside))
    spine = _read_spines(warehouse, sorted({str(key.shard) for key in keys}))
    slot = match_keys(rows["patch_id"].to_numpy(), spine.patch_id)
    if (slot < 0).any():
        raise StoredTableError(
            "core_grid__patches", str(warehouse.root), f"{int((slot < 0).sum())} patches of {table} have no place"
        )
    places = spine.take(slot)
    return PatchField(places, vectors(rows, "embedding"), warehouse.is_simulated(product, rows))


@dataclass(frozen=True)
class KeptPixels:
    """Pixels that one shard keeps in a year, and why.

    Attributes:
        places: where they are.
        in_sample: bool (n,), True where they belong to the uniform sample.
        window: (n,), name of the window that keeps them, or None.
    """

    places: PixelPlaces
    in_sample: npt.NDArray[np.bool_]
    window: npt.NDArray[np.object_]

    def parts(self, size: int) -> Iterator[KeptPixels]:
        """Give the pixels a part at a time, in order."""
        for start in range(0, len(self.places), size):
            part = np.arange(start, min(start + size, len(self.places)))
            yield KeptPixels(self.places.take(part), self.in_sample[part], self.window[part])


def read_kept_pixels(warehouse: Warehouse, product: Product, key: PartitionKey) -> KeptPixels:
    """Read which pixels a shard keeps in a year."""
    names = [field.name for field in fields(PixelPlaces)]
    rows = warehouse.read(f"core_{product.name}__pixels", key, [*names, "in_sample", "window"])
    places = PixelPlaces(*(rows[name].to_numpy() for name in names))
    in_sample = rows["in_sample"].to_numpy(zero_copy_only=False)
    return KeptPixels(places, in_sample, np.array(rows["window"].to_pylist(), dtype=object))


def sample_patch_vectors(
    warehouse: Warehouse, product: Product, year: int | None, count: int, seed: int
) -> tuple[npt.NDArray[np.float32], bool]:
    """Read a uniform draw of each shard's patch vectors, the same number a shard, one shard in memory at a time.

    Returns:
        (float32 (n, dims), n at most about `count`; True if any is simulated).
    """
    table = f"core_{product.name}__patches"
    keys = warehouse.partitions(table, year=year)
    rng = np.random.default_rng(seed)
    drawn, is_simulated = [np.empty((0, product.dims), np.float32)], False
    for key in keys:
        rows = warehouse.read(table, key, ["embedding", "is_simulated"])
        is_simulated = is_simulated or warehouse.is_simulated(product, rows)
        drawn.append(_draw(vectors(rows, "embedding"), count, len(keys), rng))
    return np.concatenate(drawn), is_simulated


def sample_pixel_vectors(
    warehouse: Warehouse, product: Product, year: int | None, count: int, seed: int
) -> npt.NDArray[np.float32]:
    """Read a uniform draw of each shard's sampled pixels, dequantised, as `sample_patch_vectors` reads patches."""
    keys = warehouse.partitions(f"core_{product.name}__pixels", year=year)
    rng = np.random.default_rng(seed)
    drawn = [np.empty((0, product.dims), np.float32)]
    for key in keys:
        _, values, _ = read_pixel_vectors(warehouse, product, [key], window=False)
        drawn.append(_draw(values, count, len(keys), rng))
    return np.concatenate(drawn)


def _draw(
    values: npt.NDArray[np.float32], count: int, n_shards: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    share = -(-count // n_shards)
    if len(values) <= share:
        return values
    return values[np.sort(rng.choice(len(values), share, replace=False))]


def read_basis(warehouse: Warehouse, product: Product, year: int) -> Basis:
    """Read the stored basis of a patch product."""
    return basis_from_table(warehouse.read(f"out_patch__{product.name}_basis", PartitionKey(year)))


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
