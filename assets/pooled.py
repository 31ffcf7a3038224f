"""`out_patch__{product}_pooled`: pixels of a footprint as one vector, one column per pooling operator.

Source: the pixel product's own files (rasters, by exact area shares) or its stored pixels (tables, by centre).
Grain: patch x year. Pixels are read around the shard's border as well, so border patches are whole.
"""

import dagster as dg

from orchestration.partitions import ALL_SHARDS_OF_YEAR, SHARD_OF_PAIR, YEAR_SHARDS, read_key
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.pooled_rows import RasterPooling, pool_listed_pixels, pooled_table
from transforms.shards import grow
from warehouse.fields import read_pixel_vectors, read_spine
from warehouse.layout import PartitionKey
from warehouse.previews import preview_partition
from warehouse.products import Product
from warehouse.sources import open_pixel_source
from warehouse.sources.pixel_table import PixelTableSource
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition


def pool_shard(warehouse: Warehouse, product: Product, targets: Product, key: PartitionKey) -> WrittenPartition:
    """Pool the pixels of one year into the patches of one shard, in one pass over the blocks."""
    spine = read_spine(warehouse, key.shard)
    shard = warehouse.owner_rule(str(key.shard)).shard
    index = warehouse.index_rows(product, key.year, grow(shard.bbox, targets.halo_m))
    source = open_pixel_source(product, warehouse.source(product.name), index)
    if isinstance(source, PixelTableSource):
        keys = warehouse.partitions(f"core_{product.name}__pixels", year=key.year)
        places, vectors, _ = read_pixel_vectors(warehouse, product, keys)
        pooled = pool_listed_pixels(spine, places.lon, places.lat, vectors)
    else:
        pooling = RasterPooling(spine, product.dims)
        for window in source.iter_blocks(key.require_year(), pooling.boxes(), warehouse.settings.limits.block_px):
            pooling.add(window)
        pooled = pooling.finish()
    is_simulated = warehouse.is_simulated(index)
    rows = pooled_table(spine, pooled, product.name, product.dims, is_simulated=is_simulated)
    provenance = warehouse.product_provenance(
        product, warehouse.source_files(index), is_simulated=is_simulated, inputs=["core_grid__patches"]
    )
    return warehouse.write(f"out_patch__{product.name}_pooled", key, rows, provenance)


def build_pooled_asset(product: Product, targets: Product) -> dg.AssetsDefinition:
    """Declare the pooled table of one pixel product at the patches of another product."""
    table = f"out_patch__{product.name}_pooled"
    # a footprint may hold listed pixels that the next shard owns
    is_listed = product.layout == "pixel_table"
    pixels = dg.AssetDep(f"core_{product.name}__pixels", partition_mapping=ALL_SHARDS_OF_YEAR if is_listed else None)

    @dg.asset(
        name=table,
        deps=[
            pixels,
            dg.AssetDep("core_grid__patches", partition_mapping=SHARD_OF_PAIR),
        ],
        partitions_def=YEAR_SHARDS,
        group_name="5_derived",
        description=f"Question 1: pixels of {product.title} pooled per patch, one column per operator.",
        kinds={"parquet"},
    )
    def pooled(context: dg.AssetExecutionContext, isthmus: WarehouseResource) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = pool_shard(warehouse, product, targets, key)
        return describe_written(written, watch, preview_png=preview_partition(warehouse, table, key, "mean_length"))

    return pooled
