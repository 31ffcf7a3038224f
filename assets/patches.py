"""`core_{product}__patches`: one vector per unique patch and year.

Source: GeoParquet files of a patch product (Earth Genome's lattice, or any footprints). Grain: patch x year.
Copies of one patch in neighbouring files are resolved by the owner rule and counted. CRS: EPSG:4326.
"""

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import SHARD_OF_PAIR, YEAR_SHARDS, read_key
from orchestration.pools import SOURCE_HTTP
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.patch_rows import patch_table
from warehouse.fields import read_spine
from warehouse.layout import PartitionKey
from warehouse.previews import preview_partition
from warehouse.products import Product
from warehouse.sources.patches import read_unique_patches
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition


def ingest_patches(warehouse: Warehouse, product: Product, key: PartitionKey) -> WrittenPartition:
    """Read, deduplicate and write the patches that one shard owns in one year."""
    owner = warehouse.owner_rule(str(key.shard))
    index = warehouse.index_rows(product, key.year, owner.shard.bbox)
    found = read_unique_patches(product, warehouse.source(product.name), index, owner.shard.reading_box())
    mine = found.patches.take(owner.owns(found.patches.lon, found.patches.lat))
    spine = read_spine(warehouse, key.shard)
    is_simulated = warehouse.is_simulated(product, index)
    rows = patch_table(mine, spine, product.name, is_simulated=is_simulated)
    files, inputs = warehouse.source_files(index), ["core_grid__patches"]
    provenance = warehouse.product_provenance(
        product, files, is_simulated=is_simulated, inputs=inputs, notes=found.notes
    )
    return warehouse.write(f"core_{product.name}__patches", key, rows, provenance)


def build_patches_asset(product: Product) -> dg.AssetsDefinition:
    """Declare the patches of one product."""
    table = f"core_{product.name}__patches"

    @dg.asset(
        name=table,
        deps=[
            f"raw_{product.name}__index",
            "core_grid__shards",
            dg.AssetDep("core_grid__patches", partition_mapping=SHARD_OF_PAIR),
        ],
        partitions_def=YEAR_SHARDS,
        group_name="3_core",
        pool=SOURCE_HTTP,
        description=f"{product.title}: one {product.dims}-d vector per unique patch. {product.attribution}",
        kinds={"parquet"},
    )
    def patches(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = engine.run(ingest_patches, warehouse, product, key)
        return describe_written(written, watch, preview_png=preview_partition(warehouse, table, key, "embedding"))

    return patches
