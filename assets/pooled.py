"""`out_patch__{product}_pooled`: pixels of a footprint as one vector, one column per pooling operator.

Source: the pixel product's own files (rasters, by exact area shares) or its stored pixels (tables, by centre).
Grain: patch x year. Pixels are read around the shard's border as well, so border patches are whole.
"""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import ALL_SHARDS_OF_YEAR, SHARD_OF_PAIR, YEAR_OF_PAIR, YEAR_SHARDS, read_key
from orchestration.pools import MEMORY
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.area import grow
from transforms.codebook_rows import codebooks_from_table
from transforms.pooled_rows import concat_pooled, pooled_table
from transforms.pooling.operators import PooledPatches
from transforms.pooling.pixels import PoolingParameters
from warehouse.derived_schemas import fitted_columns, pooled_columns
from warehouse.fields import read_spine
from warehouse.layout import PartitionKey
from warehouse.pixel_pooling import pool_places
from warehouse.previews import preview_partition
from warehouse.products import Product
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition

#: Rows that are written together: a row group of some size, and few enough to hold in memory.
_ROWS_PER_WRITE = 16_384


def pool_shard(warehouse: Warehouse, product: Product, targets: Product, key: PartitionKey) -> WrittenPartition:
    """Pool the pixels of one year into the patches of one shard, in one pass over the blocks; write as they come."""
    spine = read_spine(warehouse, key.shard)
    shard = warehouse.owner_rule(str(key.shard)).shard
    index = warehouse.index_rows(product, key.year, grow(shard.bbox, targets.halo_m))
    is_simulated = warehouse.is_simulated(product, index)
    inputs = ["core_grid__patches"]
    pool = warehouse.settings.pool
    parameters = pool.parameters()
    if fitted_columns(pool):
        parameters = _with_codebooks(warehouse, product, key, parameters)
        inputs.append(f"out_pixel__{product.name}_codebook")
    provenance = warehouse.product_provenance(
        product, warehouse.source_files(index), is_simulated=is_simulated, inputs=inputs
    )
    parts = pool_places(warehouse, product, key.require_year(), spine, pooled_columns(pool), parameters)
    with warehouse.open(f"out_patch__{product.name}_pooled", key, provenance) as writer:
        for part in _collect(parts):
            writer.write(pooled_table(spine, part, product.name, parameters, is_simulated=is_simulated))
    return writer.written()


def _with_codebooks(
    warehouse: Warehouse, product: Product, key: PartitionKey, parameters: PoolingParameters
) -> PoolingParameters:
    """Add the stored codebooks of a year."""
    table = warehouse.read(f"out_pixel__{product.name}_codebook", PartitionKey(key.year))
    return replace(parameters, codebooks=codebooks_from_table(table))


def _collect(parts: Iterator[PooledPatches]) -> Iterator[PooledPatches]:
    """Join pieces until they are worth a row group."""
    waiting: list[PooledPatches] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= _ROWS_PER_WRITE:
            yield concat_pooled(waiting)
            waiting = []
    if waiting:
        yield concat_pooled(waiting)


def build_pooled_asset(product: Product, targets: Product, *, needs_codebook: bool) -> dg.AssetsDefinition:
    """Declare the pooled table of one pixel product at the patches of another product."""
    table = f"out_patch__{product.name}_pooled"
    # a footprint may hold listed pixels that the next shard owns
    is_listed = product.layout == "pixel_table"
    pixels = dg.AssetDep(f"core_{product.name}__pixels", partition_mapping=ALL_SHARDS_OF_YEAR if is_listed else None)
    codebook = [dg.AssetDep(f"out_pixel__{product.name}_codebook", partition_mapping=YEAR_OF_PAIR)]
    codebook = codebook if needs_codebook else []

    @dg.asset(
        name=table,
        deps=[
            pixels,
            dg.AssetDep("core_grid__patches", partition_mapping=SHARD_OF_PAIR),
            *codebook,
        ],
        partitions_def=YEAR_SHARDS,
        group_name="5_derived",
        pool=MEMORY,
        description=f"Question 1: pixels of {product.title} pooled per patch, one column per operator.",
        kinds={"parquet"},
    )
    def pooled(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = engine.run(pool_shard, warehouse, product, targets, key)
        return describe_written(written, watch, preview_png=preview_partition(warehouse, table, key, "mean_length"))

    return pooled
