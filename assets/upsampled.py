"""`out_pixel__{product}_upsampled`: patch vectors at the kept pixels, one row per operator that learns nothing.

Source: `core_{product}__patches` of the shard and of its neighbours within the halo, and the basis of the year. Grain:
kept pixel x year x method: full width at sampled pixels, int8 in the basis in windows. `nearest` is not stored:
`nearest_patch_id` makes it a view. Operators that are fitted live in the evaluation, one per training fold.
"""

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import ALL_SHARDS_OF_YEAR, YEAR_OF_PAIR, YEAR_SHARDS, read_key
from orchestration.pools import MEMORY
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.upsampled_rows import UpsampledRows, stored_methods
from warehouse.fields import read_basis, read_kept_pixels, read_patch_field
from warehouse.layout import PartitionKey
from warehouse.previews import preview_partition
from warehouse.products import Product
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition

#: Pixels upsampled at once; bounds memory whatever is kept.
_PIXELS_AT_ONCE = 50_000


def upsample_shard(warehouse: Warehouse, patches: Product, pixels: Product, key: PartitionKey) -> WrittenPartition:
    """Upsample the patches of one year to the kept pixels of one shard."""
    shard = warehouse.owner_rule(str(key.shard)).shard
    methods = stored_methods(warehouse.settings.upsample.operators)
    field = read_patch_field(warehouse, patches, key.year, shard.bbox, methods)
    inputs = [f"core_{patches.name}__patches", f"out_patch__{patches.name}_basis", f"core_{pixels.name}__pixels"]
    provenance = warehouse.derived_provenance(inputs, is_simulated=field.is_simulated)
    with warehouse.open(f"out_pixel__{patches.name}_upsampled", key, provenance) as writer:
        if len(field.places):
            rows = UpsampledRows(field, methods, read_basis(warehouse, patches, key.require_year()), patches.name)
            for part in read_kept_pixels(warehouse, pixels, key).parts(_PIXELS_AT_ONCE):
                for table in rows.tables(part.places, part.in_sample, part.window):
                    writer.write(table)
    return writer.written()


def build_upsampled_asset(patches: Product, pixels: Product) -> dg.AssetsDefinition:
    """Declare the upsampled table of one patch product at the pixels of another."""
    table = f"out_pixel__{patches.name}_upsampled"

    @dg.asset(
        name=table,
        deps=[
            dg.AssetDep(f"core_{patches.name}__patches", partition_mapping=ALL_SHARDS_OF_YEAR),
            dg.AssetDep(f"out_patch__{patches.name}_basis", partition_mapping=YEAR_OF_PAIR),
            f"core_{pixels.name}__pixels",
        ],
        partitions_def=YEAR_SHARDS,
        group_name="5_derived",
        pool=MEMORY,
        description=f"Question 2: vectors of {patches.title} interpolated to pixels of {pixels.title}.",
        kinds={"parquet"},
    )
    def upsampled(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = engine.run(upsample_shard, warehouse, patches, pixels, key)
        return describe_written(written, watch, preview_png=preview_partition(warehouse, table, key, "support"))

    return upsampled
