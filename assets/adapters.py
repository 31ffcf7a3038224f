"""`out_probe__adapters`, `out_probe__adapter_confusions` and `out_probe__adapter_gains`: does pre-training save labels?

Source: chips cut from the files of the pixel product (or patches upsampled to them) around labelled pixels of
`out_probe__folds`. Grain: start of the adapter x head x label budget x seed x region trained in; one file a cell, and
finished cells are skipped. The assets exist where the settings have an [adapter] section.
"""

from collections.abc import Callable, Iterator

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import YEAR_OF_PAIR, YEARS, read_key
from orchestration.pools import MEMORY
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from warehouse.adapter_gains import GAINS, make_gains
from warehouse.adapter_schemas import adapter_specs
from warehouse.adapters import ADAPTER_TABLES, CONFUSIONS, run_adapters
from warehouse.layout import PartitionKey
from warehouse.store import Warehouse, any_simulated
from warehouse.writer import WrittenPartition


def write_adapters(warehouse: Warehouse, key: PartitionKey, report: Callable[[str], None]) -> dict[str, int]:
    """Run and write the cells of one year that are not there yet."""
    return run_adapters(warehouse, key.require_year(), report)


def write_gains(warehouse: Warehouse, key: PartitionKey) -> WrittenPartition:
    """Compare the starts of one year with the random one."""
    rows = make_gains(warehouse, key.require_year())
    provenance = warehouse.derived_provenance([CONFUSIONS], is_simulated=any_simulated(warehouse))
    return warehouse.write(GAINS, key, rows, provenance)


def build_adapter_assets(core_tables: list[str]) -> list[dg.AssetsDefinition]:
    """Declare the cells of the adapter and their gains.

    Args:
        core_tables: `core_{product}__{grain}` of the compared products.
    """
    texts = {spec.name: spec.description for spec in adapter_specs()}
    upstream: list[dg.AssetDep | str] = ["out_probe__folds"]
    upstream += [dg.AssetDep(table, partition_mapping=YEAR_OF_PAIR) for table in core_tables]

    @dg.multi_asset(
        name="out_probe__adapter_cells",
        specs=[
            dg.AssetSpec(
                table, deps=upstream, group_name="6_evidence", description=texts[table], kinds={"parquet", "torch"}
            )
            for table in ADAPTER_TABLES
        ],
        partitions_def=YEARS,
        pool=MEMORY,
    )
    def cells(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> Iterator[dg.MaterializeResult]:
        watch = Stopwatch()
        rows = engine.run(write_adapters, isthmus.open(), read_key(context), report=context.log.info)
        for table in ADAPTER_TABLES:
            metadata = {"dagster/row_count": rows[table], "seconds": round(watch.seconds(), 3)}
            yield dg.MaterializeResult(asset_key=table, metadata=metadata)

    @dg.asset(
        name=GAINS,
        deps=[CONFUSIONS],
        partitions_def=YEARS,
        group_name="6_evidence",
        description=texts[GAINS],
        kinds={"parquet"},
    )
    def gains(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        return describe_written(engine.run(write_gains, isthmus.open(), read_key(context)), watch)

    return [cells, gains]
