"""`out_pixel__{product}_upsampled`: patch vectors at the sampled pixels, full width.

Source: `core_{product}__patches` of the shard and of its neighbours within two patch sides (640 m). Grain: kept sample
pixel x year x method. `nearest` is not stored: `nearest_patch_id` makes it a view.
"""

import dagster as dg

from orchestration.partitions import ALL_SHARDS_OF_YEAR, YEAR_SHARDS, read_key
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.upsampled_rows import upsample_places, upsampled_table
from warehouse.fields import read_patch_field
from warehouse.layout import PartitionKey
from warehouse.previews import preview_partition
from warehouse.products import Product
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition


def upsample_shard(warehouse: Warehouse, patches: Product, pixels: Product, key: PartitionKey) -> WrittenPartition:
    """Interpolate the patches of one year to the sampled pixels of one shard."""
    shard = warehouse.owner_rule(str(key.shard)).shard
    places = warehouse.pixel_places(pixels, key.shard, [key.year], sample_only=True)
    field = read_patch_field(warehouse, patches, key.year, shard.bbox)
    rows = upsampled_table(field, places, upsample_places(field, places), patches.name)
    provenance = warehouse.derived_provenance(
        [f"core_{patches.name}__patches", f"core_{pixels.name}__pixels"], is_simulated=field.is_simulated
    )
    return warehouse.write(f"out_pixel__{patches.name}_upsampled", key, rows, provenance)


def build_upsampled_asset(patches: Product, pixels: Product) -> dg.AssetsDefinition:
    """Declare the upsampled table of one patch product at the pixels of another."""
    table = f"out_pixel__{patches.name}_upsampled"

    @dg.asset(
        name=table,
        deps=[
            dg.AssetDep(f"core_{patches.name}__patches", partition_mapping=ALL_SHARDS_OF_YEAR),
            f"core_{pixels.name}__pixels",
        ],
        partitions_def=YEAR_SHARDS,
        group_name="5_derived",
        description=f"Question 2: vectors of {patches.title} interpolated to pixels of {pixels.title}.",
        kinds={"parquet"},
    )
    def upsampled(context: dg.AssetExecutionContext, isthmus: WarehouseResource) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = upsample_shard(warehouse, patches, pixels, key)
        return describe_written(written, watch, preview_png=preview_partition(warehouse, table, key, "embedding"))

    return upsampled
