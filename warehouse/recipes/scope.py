"""What the settings of a warehouse ask for: for which products and labels there is a table, and which partitions.

Belongs here: names that stand in table names, keys that have something to read. Does not: what rows depend on
(`settings.py`, `files.py`, `inputs.py`), which table has which of these (`table.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from warehouse.layout import ALL, PartitionKey
from warehouse.products import Product

if TYPE_CHECKING:  # the store writes fingerprints, so it imports this module
    from warehouse.store import Warehouse

#: Name of tables that have no product or label in theirs.
NO_NAME = ""


def list_pair(warehouse: Warehouse) -> list[Product]:
    """List the compared products."""
    return [one for one in (warehouse.pixel_product, warehouse.patch_product) if one is not None]


def list_labels_of(warehouse: Warehouse, key: PartitionKey) -> list[tuple[str, int]]:
    """List (label source, label year) that stand for an embedding year."""
    found = ((name, one.years.get(key.require_year())) for name, one in warehouse.settings.labels.items())
    return [(name, year) for name, year in found if year is not None]


# -- names ---------------------------------------------------------------------------------------------------


def always(_warehouse: Warehouse) -> Sequence[str]:
    """One table, whatever the settings."""
    return [NO_NAME]


def every_product(warehouse: Warehouse) -> Sequence[str]:
    """Products that have a source."""
    return list(warehouse.products)


def patch_products(warehouse: Warehouse) -> Sequence[str]:
    """Products of patches that have a source."""
    return [name for name, one in warehouse.products.items() if one.grain == "patch"]


def pixel_products(warehouse: Warehouse) -> Sequence[str]:
    """Products of pixels that have a source."""
    return [name for name, one in warehouse.products.items() if one.grain == "pixel"]


def spine_product(warehouse: Warehouse) -> Sequence[str]:
    """The product whose places are the spine: the compared patches."""
    return [] if warehouse.patch_product is None else [warehouse.patch_product.name]


def labels_of_pixels(warehouse: Warehouse) -> Sequence[str]:
    """Label sources of pixels, where there is a pixel product."""
    names = [name for name in warehouse.settings.labels if warehouse.labels_pixels(name)]
    return names if warehouse.pixel_product is not None else []


def labels_of_patches(warehouse: Warehouse) -> Sequence[str]:
    """Label sources of patches, where there is a patch product."""
    names = [name for name in warehouse.settings.labels if warehouse.labels_patches(name)]
    return names if warehouse.patch_product is not None else []


def with_patch_labels(warehouse: Warehouse) -> Sequence[str]:
    """One table, where patches have labels."""
    return [NO_NAME] if labels_of_patches(warehouse) else []


def pooled_product(warehouse: Warehouse) -> Sequence[str]:
    """The pixel product, where it is pooled into patches."""
    pixels, patches = warehouse.pixel_product, warehouse.patch_product
    return [pixels.name] if pixels is not None and patches is not None and warehouse.pools else []


def product_with_codebook(warehouse: Warehouse) -> Sequence[str]:
    """The pixel product, where a stored operator needs a codebook."""
    return pooled_product(warehouse) if warehouse.needs_codebook else []


def upsampled_product(warehouse: Warehouse) -> Sequence[str]:
    """The patch product, where it is upsampled to pixels."""
    pixels, patches = warehouse.pixel_product, warehouse.patch_product
    return [patches.name] if pixels is not None and patches is not None and warehouse.asks("T5") else []


def with_evaluation(warehouse: Warehouse) -> Sequence[str]:
    """One table, where something is evaluated."""
    return [NO_NAME] if warehouse.settings.evaluate is not None else []


def with_adapter(warehouse: Warehouse) -> Sequence[str]:
    """One table, where an adapter is studied."""
    return with_evaluation(warehouse) if warehouse.settings.adapter is not None else []


# -- keys ----------------------------------------------------------------------------------------------------


def once(_warehouse: Warehouse, _name: str) -> list[PartitionKey]:
    """One partition."""
    return [ALL]


def each_shard(warehouse: Warehouse, _name: str) -> list[PartitionKey]:
    """The shards of the area of interest, in the order that decides ownership."""
    return [PartitionKey(shard=shard.key) for shard in warehouse.shards()]


def with_files(warehouse: Warehouse, name: str) -> list[PartitionKey]:
    """The years and shards that a product has files of."""
    return _year_shards(warehouse, [warehouse.products[name]])


def with_files_of_both(warehouse: Warehouse, _name: str) -> list[PartitionKey]:
    """The years and shards that both compared products have files of."""
    return _year_shards(warehouse, list_pair(warehouse))


def years_with_files(warehouse: Warehouse, name: str) -> list[PartitionKey]:
    """The years that a product has files of, in any shard."""
    return [PartitionKey(year) for year in dict.fromkeys(key.year for key in with_files(warehouse, name))]


def label_years(warehouse: Warehouse, name: str) -> list[PartitionKey]:
    """The label years of a source that stand for an embedding year, in each shard."""
    years = sorted(set(warehouse.label(name).years.values()))
    return [PartitionKey(year, shard.key) for year in years for shard in warehouse.shards()]


def years_with_labels(warehouse: Warehouse, _name: str) -> list[PartitionKey]:
    """The embedding years that any label source stands for."""
    mapped = {year for one in warehouse.settings.labels.values() for year in one.years}
    return [PartitionKey(year) for year in warehouse.settings.years if year in mapped]


def evaluated_years(warehouse: Warehouse, _name: str) -> list[PartitionKey]:
    """The embedding years that the evaluated labels stand for."""
    assert warehouse.settings.evaluate is not None  # the tables exist only with it
    labelled = warehouse.label(warehouse.settings.evaluate.label).years
    return [PartitionKey(year) for year in warehouse.settings.years if year in labelled]


def _year_shards(warehouse: Warehouse, products: Sequence[Product]) -> list[PartitionKey]:
    """List the years and shards that all of some products have files of."""
    return [
        PartitionKey(year, shard.key)
        for year in warehouse.settings.years
        for shard in warehouse.shards()
        if all(warehouse.index_rows(one, year, shard.bbox).num_rows for one in products)
    ]


#: Keys that a table has only where its products have files.
FROM_FILES = (with_files, with_files_of_both, years_with_files)
