"""`warehouse_duckdb` and `report`: what people open.

`warehouse_duckdb` holds only views over the Parquet files and is replaced atomically, so a reader never blocks a
run. `report` is HTML pages that open offline. Both are derived from every table and have no partitions.
"""

from collections.abc import Sequence

import dagster as dg

from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch
from warehouse.catalog import write_catalog
from warehouse.report import write_report


def build_answer_assets(evidence_tables: Sequence[str]) -> list[dg.AssetsDefinition]:
    """Declare the DuckDB file and the report.

    Args:
        evidence_tables: what they wait for: contrasts, audit, and oracles and adapters where there are any.
    """

    @dg.asset(
        group_name="7_answers",
        deps=[dg.AssetDep(table, partition_mapping=dg.AllPartitionMapping()) for table in evidence_tables],
        description="warehouse.duckdb: one view per table, opened read-only. Query it with `isthmus sql`.",
        kinds={"duckdb"},
    )
    def warehouse_duckdb(isthmus: WarehouseResource) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse = isthmus.open()
        path = write_catalog(warehouse.root, warehouse.specs, warehouse.settings.compare)
        return dg.MaterializeResult(
            metadata={"path": dg.MetadataValue.path(str(path)), "seconds": round(watch.seconds(), 3)}
        )

    @dg.asset(
        group_name="7_answers",
        deps=[warehouse_duckdb],
        description="report.html: both answers, the study, maps, provenance and the SQL behind every number.",
        kinds={"html"},
    )
    def report(isthmus: WarehouseResource) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse = isthmus.open()
        path = write_report(warehouse.settings, warehouse.root, warehouse.specs, warehouse.report_path)
        return dg.MaterializeResult(
            metadata={"path": dg.MetadataValue.path(str(path)), "seconds": round(watch.seconds(), 3)}
        )

    return [warehouse_duckdb, report]
