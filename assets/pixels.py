"""`core_{product}__pixels`: one vector per kept pixel and year.

Source: AlphaEarth COGs or their Zarr mosaic, float GeoTIFFs, or exported tables. Grain: 10 m pixel x year; which pixels
are kept is a setting, and the same places are kept every year. CRS: `x_m`, `y_m` in the pixel's own UTM zone.
"""

from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from orchestration.engines import EngineResource
from orchestration.partitions import YEAR_SHARDS, read_key
from orchestration.pools import SOURCE_HTTP
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.keeping import OwnerRule, keep_pixels, keep_points
from warehouse.layout import PartitionKey
from warehouse.previews import preview_partition
from warehouse.products import Product
from warehouse.provenance import Provenance
from warehouse.sources import open_pixel_source
from warehouse.sources.pixel_table import PixelTableSource
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition


def ingest_pixels(warehouse: Warehouse, product: Product, key: PartitionKey) -> WrittenPartition:
    """Read and write the kept pixels that one shard owns in one year: rasters block by block, tables at once."""
    owner = warehouse.owner_rule(str(key.shard), by_zone=product.is_read_by_zone)
    index = warehouse.shard_index(product, key.year, owner.shard)
    source = open_pixel_source(product, warehouse.source(product.name), index)
    if isinstance(source, PixelTableSource):
        return _ingest_points(warehouse, product, key, owner, index, source)
    plan = source.plan_blocks(
        key.require_year(), warehouse.shard_boxes(product, index, owner.shard), warehouse.settings.limits.block_px
    )
    keep, is_simulated = warehouse.keep_rule(), warehouse.is_simulated(product, index)
    provenance = _describe(warehouse, product, index, source.list_notes(plan))
    with warehouse.open(f"core_{product.name}__pixels", key, provenance) as writer:
        for window in source.read_blocks(plan):
            writer.write(keep_pixels(window, keep, owner, product.name, is_simulated=is_simulated))
    return writer.written()


def _ingest_points(
    warehouse: Warehouse,
    product: Product,
    key: PartitionKey,
    owner: OwnerRule,
    index: pa.Table,
    source: PixelTableSource,
) -> WrittenPartition:
    tables = [points for _, points, _ in source.iter_points(key.require_year())]
    rows = keep_points(
        tables,
        warehouse.keep_rule(),
        owner,
        product.name,
        quantised=product.is_quantised,
        is_simulated=warehouse.is_simulated(product, index),
    )
    return warehouse.write(f"core_{product.name}__pixels", key, rows, _describe(warehouse, product, index, ()))


def _describe(warehouse: Warehouse, product: Product, index: pa.Table, notes: Sequence[str]) -> Provenance:
    return warehouse.product_provenance(
        product,
        warehouse.source_files(index),
        is_simulated=warehouse.is_simulated(product, index),
        inputs=["core_grid__shards"],
        notes=notes,
    )


def build_pixels_asset(product: Product) -> dg.AssetsDefinition:
    """Declare the pixels of one product."""
    table = f"core_{product.name}__pixels"

    @dg.asset(
        name=table,
        deps=[f"raw_{product.name}__index", "core_grid__shards"],
        partitions_def=YEAR_SHARDS,
        group_name="3_core",
        pool=SOURCE_HTTP,
        description=f"{product.title}: one {product.dims}-d vector per kept pixel. {product.attribution}",
        kinds={"parquet"},
    )
    def pixels(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = engine.run(ingest_pixels, warehouse, product, key)
        return describe_written(
            written, watch, preview_png=preview_partition(warehouse, table, key, product.pixel_column)
        )

    return pixels
