"""`out_probe__fold_audit`: what the folds are worth, before anything is trained on them.

Source: `out_probe__folds`, `out_probe__fold_rules`, the labels, and the native vectors of the year. Grain: one row per
kind of unit, scheme, check and fold. Least train-test distance, duplicates across folds, what coordinates alone score,
whether vectors tell test from training ground, classes that a fold lacks, blocks.
"""

from collections.abc import Sequence

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import YEAR_OF_PAIR, YEARS, read_key
from orchestration.pools import MEMORY
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from warehouse.layout import PartitionKey
from warehouse.store import Warehouse, any_simulated
from warehouse.study_audit import make_fold_audit
from warehouse.writer import WrittenPartition


def write_fold_audit(warehouse: Warehouse, key: PartitionKey) -> WrittenPartition:
    """Check the folds of one year and write what was found."""
    rows = make_fold_audit(warehouse, key.require_year())
    provenance = warehouse.derived_provenance(
        ["out_probe__folds", "out_probe__fold_rules"], is_simulated=any_simulated(warehouse)
    )
    return warehouse.write("out_probe__fold_audit", key, rows, provenance)


def build_fold_audit_asset(core_tables: Sequence[str]) -> dg.AssetsDefinition:
    """Declare the audit of the folds."""

    @dg.asset(
        name="out_probe__fold_audit",
        deps=[
            "out_probe__folds",
            "out_probe__fold_rules",
            *(dg.AssetDep(table, partition_mapping=YEAR_OF_PAIR) for table in core_tables),
        ],
        partitions_def=YEARS,
        group_name="6_evidence",
        pool=MEMORY,
        description="Distances, duplicates, coordinates alone, classes and blocks of every fold.",
        kinds={"parquet"},
    )
    def fold_audit(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = engine.run(write_fold_audit, warehouse, key)
        found = warehouse.read("out_probe__fold_audit", key, ["status"])["status"].to_pylist()
        return describe_written(written, watch, extra={name: found.count(name) for name in ("failed", "warn")})

    return fold_audit
