"""`core_{product}__pixels`: one vector per kept pixel and year.

Source: AlphaEarth COGs or their Zarr mosaic, float GeoTIFFs, or exported tables. Grain: 10 m pixel x year; which pixels
are kept is a setting, and the same places are kept every year. CRS: `x_m`, `y_m` in the pixel's own UTM zone.
"""

import dagster as dg

from orchestration.partitions import YEAR_SHARDS, read_key
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.keeping import keep_pixels, keep_points
from warehouse.layout import PartitionKey
from warehouse.previews import preview_partition
from warehouse.products import Product
from warehouse.sources import open_pixel_source
from warehouse.sources.pixel_table import PixelTableSource
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition


def ingest_pixels(warehouse: Warehouse, product: Product, key: PartitionKey) -> WrittenPartition:
    """Read and write the kept pixels that one shard owns in one year, block by block."""
    owner = warehouse.owner_rule(str(key.shard), by_zone=product.is_read_by_zone)
    keep = warehouse.keep_rule()
    index = warehouse.shard_index(product, key.year, owner.shard)
    is_simulated = warehouse.is_simulated(index)
    provenance = warehouse.product_provenance(
        product, warehouse.source_files(index), is_simulated=is_simulated, inputs=["core_grid__shards"]
    )
    table = f"core_{product.name}__pixels"
    source = open_pixel_source(product, warehouse.source(product.name), index)
    with warehouse.open(table, key, provenance) as writer:
        if isinstance(source, PixelTableSource):
            tables = [points for _, points, _ in source.iter_points(key.require_year())]
            quantised = product.is_quantised
            writer.write(keep_points(tables, keep, owner, product.name, quantised=quantised, is_simulated=is_simulated))
        else:
            boxes = warehouse.shard_boxes(product, index, owner.shard)
            for window in source.iter_blocks(key.require_year(), boxes, warehouse.settings.limits.block_px):
                writer.write(keep_pixels(window, keep, owner, product.name, is_simulated=is_simulated))
    return writer.written()


def build_pixels_asset(product: Product) -> dg.AssetsDefinition:
    """Declare the pixels of one product."""
    table = f"core_{product.name}__pixels"

    @dg.asset(
        name=table,
        deps=[f"raw_{product.name}__index", "core_grid__shards"],
        partitions_def=YEAR_SHARDS,
        group_name="3_core",
        description=f"{product.title}: one {product.dims}-d vector per kept pixel. {product.attribution}",
        kinds={"parquet"},
    )
    def pixels(context: dg.AssetExecutionContext, isthmus: WarehouseResource) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = ingest_pixels(warehouse, product, key)
        return describe_written(
            written, watch, preview_png=preview_partition(warehouse, table, key, product.pixel_column)
        )

    return pixels
