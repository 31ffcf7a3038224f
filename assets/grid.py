"""`core_grid__shards` and `core_grid__patches`: the places that everything else hangs on.

Shards cut the area of interest by the owner rule of the settings. The spine holds one row per patch place with
its footprint: the Earth Genome lattice, or the footprints of another patch product. CRS: EPSG:4326; footprints
are axis-parallel in the owning file's UTM zone.
"""

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import SHARDS, read_key
from orchestration.pools import SOURCE_HTTP
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms import places
from transforms.shards import shards_table
from warehouse.area import cut_area, read_patch_places
from warehouse.layout import ALL, PartitionKey
from warehouse.products import Product
from warehouse.provenance import Provenance
from warehouse.store import Warehouse, any_simulated
from warehouse.writer import WrittenPartition


def plan_shards(warehouse: Warehouse) -> WrittenPartition:
    """Cut the area of interest by the rule of the settings."""
    product = warehouse.patch_product
    on_lattice = product is not None and product.layout == "eg_geoparquet"
    is_simulated = any_simulated(warehouse)
    rows = shards_table(cut_area(warehouse), warehouse.area, on_lattice=on_lattice, is_simulated=is_simulated)
    provenance = Provenance("grid", "owner rule of the settings", "CC0-1.0", (), is_simulated=is_simulated)
    return warehouse.write("core_grid__shards", ALL, rows, provenance)


def write_spine(warehouse: Warehouse, product: Product, key: PartitionKey) -> WrittenPartition:
    """Write the patch places that one shard owns."""
    index = warehouse.read(f"raw_{product.name}__index")
    owner = warehouse.owner_rule(str(key.shard))
    found = read_patch_places(warehouse, product, index, owner.shard)
    mine = found.take(owner.owns(found.lon, found.lat))
    is_simulated = warehouse.is_simulated(product, index)
    provenance = warehouse.product_provenance(
        product, (), is_simulated=is_simulated, inputs=["core_grid__shards", f"raw_{product.name}__index"]
    )
    rows = places.spine_table(mine, is_simulated=is_simulated)
    return warehouse.write("core_grid__patches", key, rows, provenance)


def build_shards_asset(products: list[Product]) -> dg.AssetsDefinition:
    """Declare the shards of the area of interest."""

    @dg.asset(
        name="core_grid__shards",
        deps=[f"raw_{product.name}__index" for product in products],
        group_name="1_plan",
        description="The area of interest, cut into the units in which everything is read and written.",
        kinds={"parquet"},
    )
    def shards(isthmus: WarehouseResource) -> dg.MaterializeResult:
        watch = Stopwatch()
        return describe_written(plan_shards(isthmus.open()), watch)

    return shards


def build_spine_asset(product: Product) -> dg.AssetsDefinition:
    """Declare the spine, on the lattice or the footprints of a patch product."""

    @dg.asset(
        name="core_grid__patches",
        deps=["core_grid__shards", f"raw_{product.name}__index"],
        partitions_def=SHARDS,
        group_name="2_grid",
        pool=SOURCE_HTTP,
        description=f"Every patch place with its footprint, after {product.title}. Pooling targets it.",
        kinds={"parquet"},
    )
    def spine(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        return describe_written(engine.run(write_spine, isthmus.open(), product, read_key(context)), watch)

    return spine
