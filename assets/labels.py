"""`core_label_{source}__pixels` and `core_label_{source}__patches`: classes or numbers at the places of the warehouse.

Source: a raster with class codes, polygons or points in any CRS, columns of a product's own table, or BigEarthNet.
Grain: kept pixel or patch x label year; the settings map each embedding year to a label year. Label products are
models: agreement with them is not accuracy.
"""

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import ALL_YEARS_OF_SHARD, LABEL_YEAR_SHARDS, SHARD_OF_PAIR, read_key
from orchestration.pools import SOURCE_HTTP
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.label_rows import patch_label_table, pixel_label_table, value_label_table
from warehouse.fields import read_spine
from warehouse.label_sources import open_patch_labels, open_pixel_labels, open_values
from warehouse.layout import PartitionKey
from warehouse.previews import preview_partition
from warehouse.products import Product
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition


def label_pixels(warehouse: Warehouse, label: str, product: Product, key: PartitionKey) -> WrittenPartition:
    """Label every pixel that one shard keeps in any embedding year of this label year."""
    warehouse.require_label_year(label, key.year)
    places = warehouse.pixel_places(product, key.shard, warehouse.embedding_years(label, key.year))
    source = open_pixel_labels(warehouse, label)
    ids, split = source.label_pixels(places)
    rows = pixel_label_table(places, ids, split, label, source.class_names, is_simulated=source.is_simulated)
    provenance = source.provenance([f"core_{product.name}__pixels"])
    return warehouse.write(f"core_label_{label}__pixels", key, rows, provenance)


def value_pixels(warehouse: Warehouse, label: str, product: Product, key: PartitionKey) -> WrittenPartition:
    """Give every pixel that one shard keeps in any embedding year of this label year its numbers."""
    warehouse.require_label_year(label, key.year)
    places = warehouse.pixel_places(product, key.shard, warehouse.embedding_years(label, key.year))
    source = open_values(warehouse, label)
    values, split = source.value_pixels(places)
    rows = value_label_table(places, values, split, label, is_simulated=source.is_simulated)
    provenance = source.provenance([f"core_{product.name}__pixels"])
    return warehouse.write(f"core_label_{label}__pixels", key, rows, provenance)


def label_patches(warehouse: Warehouse, label: str, key: PartitionKey) -> WrittenPartition:
    """Summarise the labels in every footprint of one shard."""
    warehouse.require_label_year(label, key.year)
    places = read_spine(warehouse, key.shard)
    source = open_patch_labels(warehouse, label)
    labels, split = source.label_patches(places)
    rows = patch_label_table(places, labels, split, label, source.class_names, is_simulated=source.is_simulated)
    provenance = source.provenance(["core_grid__patches"])
    return warehouse.write(f"core_label_{label}__patches", key, rows, provenance)


def build_pixel_label_asset(label: str, product: Product, *, has_values: bool = False) -> dg.AssetsDefinition:
    """Declare the pixel labels of one source: classes, or numbers."""
    table = f"core_label_{label}__pixels"
    make, column, what = (value_pixels, "values", "numbers") if has_values else (label_pixels, "label", "class")

    @dg.asset(
        name=table,
        deps=[dg.AssetDep(f"core_{product.name}__pixels", partition_mapping=ALL_YEARS_OF_SHARD)],
        partitions_def=LABEL_YEAR_SHARDS,
        group_name="4_labels",
        pool=SOURCE_HTTP,
        description=f"The {what} of each kept pixel after {label}. The partition's year is the label year.",
        kinds={"parquet"},
    )
    def pixel_labels(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = engine.run(make, warehouse, label, product, key)
        return describe_written(written, watch, preview_png=preview_partition(warehouse, table, key, column))

    return pixel_labels


def build_patch_label_asset(label: str, *, ids_of: Product | None = None) -> dg.AssetsDefinition:
    """Declare the patch labels of one source.

    Args:
        label: the source.
        ids_of: product whose stored ids the source is matched by, where it is.
    """
    table = f"core_label_{label}__patches"
    deps = [dg.AssetDep("core_grid__patches", partition_mapping=SHARD_OF_PAIR)]
    if ids_of is not None:
        deps.append(dg.AssetDep(f"core_{ids_of.name}__patches", partition_mapping=ALL_YEARS_OF_SHARD))

    @dg.asset(
        name=table,
        deps=deps,
        partitions_def=LABEL_YEAR_SHARDS,
        group_name="4_labels",
        pool=SOURCE_HTTP,
        description=f"Majority class, purity, fractions and multi-label of each patch after {label}.",
        kinds={"parquet"},
    )
    def patch_labels(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = engine.run(label_patches, warehouse, label, key)
        return describe_written(written, watch, preview_png=preview_partition(warehouse, table, key, "label"))

    return patch_labels
