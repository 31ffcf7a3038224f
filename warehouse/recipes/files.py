"""Source files that tables are read from, one small function each.

Belongs here: which files, with what identifies their bytes, for the product or label in a table's name and a key; for
evidence that is summed up, the cells that are stored. Does not: settings (`settings.py`), stored partitions
(`inputs.py`), which table reads what (`table.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from transforms.area import grow
from warehouse.cell_seals import list_cell_files, read_seals
from warehouse.layout import PartitionKey
from warehouse.products import Product
from warehouse.recipes.scope import list_labels_of, list_pair
from warehouse.sources.files import is_simulated_glob

if TYPE_CHECKING:  # the store writes fingerprints, so it imports this module
    from warehouse.store import Warehouse


def of_patches(warehouse: Warehouse, name: str, key: PartitionKey) -> Any:
    """List the patch files of a year that touch a shard."""
    product, bbox = warehouse.products[name], warehouse.owner_rule(str(key.shard)).shard.bbox
    return _chosen(warehouse, product, warehouse.index_rows(product, key.year, bbox))


def of_pixels(warehouse: Warehouse, name: str, key: PartitionKey) -> Any:
    """List the pixel files of a year that may hold pixels of a shard."""
    product, shard = warehouse.products[name], warehouse.owner_rule(str(key.shard)).shard
    return _chosen(warehouse, product, warehouse.shard_index(product, key.year, shard))


def around(warehouse: Warehouse, name: str, key: PartitionKey) -> Any:
    """List the pixel files of a year that touch the footprints of a shard."""
    product, patches = warehouse.products[name], warehouse.patch_product
    assert patches is not None  # pixels are pooled into patches
    bbox = grow(warehouse.owner_rule(str(key.shard)).shard.bbox, patches.halo_m)
    return _chosen(warehouse, product, warehouse.index_rows(product, key.year, bbox))


def of_places(warehouse: Warehouse, name: str, key: PartitionKey) -> Any:
    """List what the places of a shard come from, of all years.

    On the lattice only the names of tiles count, in their order: a re-issued file moves no place, nor does another year
    of the same tiles. Footprints come from the files themselves.
    """
    one = warehouse.products[name]
    index = warehouse.read(f"raw_{name}__index")
    box = warehouse.owner_rule(str(key.shard)).shard.reading_box()
    years = sorted(set(index["year"].to_pylist()))
    near = pa.concat_tables([index.slice(0, 0), *(warehouse.index_rows(one, year, box) for year in years)])
    if one.layout != "eg_geoparquet":
        return [_versions(near), warehouse.is_simulated(one, index)]
    tiles = dict(sorted(zip(near["path"].to_pylist(), near["tile"].to_pylist(), strict=True)))
    return [list(dict.fromkeys(tiles.values())), warehouse.is_simulated(one, index)]


def of_product(warehouse: Warehouse, name: str, _key: PartitionKey) -> Any:
    """List all files of a product in the area of interest."""
    return _versions(warehouse.read(f"raw_{name}__index"))


def of_pair(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """List all files of the compared products."""
    return [of_product(warehouse, one.name, key) for one in list_pair(warehouse)]


def of_label(warehouse: Warehouse, name: str, key: PartitionKey) -> Any:
    """List the files of a label source: its own, or those of the product whose table has the column."""
    settings = warehouse.label(name)
    if settings.product is not None:
        return of_product(warehouse, settings.product, key)
    is_simulated = settings.path is not None and is_simulated_glob(settings.path)
    return [warehouse.label_versions(name), is_simulated]


def of_labels(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """List the files of all label sources of an embedding year."""
    return {name: of_label(warehouse, name, key) for name, _ in list_labels_of(warehouse, key)}


def are_simulated(warehouse: Warehouse, name: str, _key: PartitionKey) -> Any:
    """Tell whether any file of a product is simulated, for tables that read none themselves but say so."""
    return warehouse.is_simulated(warehouse.products[name], warehouse.read(f"raw_{name}__index"))


def are_pair_simulated(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """Tell whether any file of the compared products is simulated."""
    return [are_simulated(warehouse, one.name, key) for one in list_pair(warehouse)]


def scored_cells(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """List the cells that are whole, with the fingerprint that each was scored under."""
    return sorted((slot, seal.run_id, seal.status) for slot, seal in read_seals(warehouse.root, key).items())


def adapter_cells(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """List the files of the adapter's cells; their names say what they hold."""
    return sorted(path.name for path in list_cell_files(warehouse.root, "out_probe__adapter_confusions", key))


def _chosen(warehouse: Warehouse, product: Product, index: pa.Table) -> Any:
    """Give what identifies the files chosen of a product; without any, whether what is not there is simulated."""
    return _versions(index) or warehouse.is_simulated(product, index)


def _versions(index: pa.Table) -> list[tuple[Any, ...]]:
    """Give what identifies the bytes of the files of an index."""
    names = ("path", "etag", "size_bytes", "is_simulated")
    return sorted(zip(*(index[name].to_pylist() for name in names), strict=True), key=str)
