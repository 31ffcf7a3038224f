"""`raw_{product}__index`: what a producer has published, as far as it touches the area of interest.

Source: the index file of the product, or a listing of its folder. Grain: one row per published file. Cadence:
a new year each spring, re-issues at any time; every observation replaces the snapshot.
"""

from dataclasses import replace

import dagster as dg

from orchestration.pools import SOURCE_HTTP
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from warehouse.layout import ALL
from warehouse.products import Product
from warehouse.sources.files import is_simulated_root
from warehouse.sources.index import read_index
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition
from warehouse.year_files import note_years_left_out


def observe_releases(warehouse: Warehouse, product: Product) -> WrittenPartition:
    """Snapshot the index of one product."""
    source = warehouse.source(product.name)
    rows = read_index(product, source, warehouse.years_of(product), warehouse.area)
    provenance = warehouse.product_provenance(product, (), is_simulated=is_simulated_root(source.root))
    provenance = replace(provenance, notes=note_years_left_out(warehouse, product))
    return warehouse.write(f"raw_{product.name}__index", ALL, rows, provenance)


def build_index_asset(product: Product) -> dg.AssetsDefinition:
    """Declare the index of one product."""

    @dg.asset(
        name=f"raw_{product.name}__index",
        group_name="1_plan",
        pool=SOURCE_HTTP,
        description=f"Files of {product.title} that touch the area of interest. {product.licence}.",
        kinds={"parquet"},
    )
    def release_index(isthmus: WarehouseResource) -> dg.MaterializeResult:
        watch = Stopwatch()
        return describe_written(observe_releases(isthmus.open(), product), watch)

    return release_index
