"""`out_probe__*`: folds, scores, confusions per block, held-out maps, and the contrasts that answer the questions.

Source: all derived tables of one embedding year. Grain: year; an evaluation cell (task x scheme x arm x probe x budget
x purity) is one file per table, named by the hash of its slot. Everything fitted is fitted inside the training fold.
"""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import YEAR_OF_PAIR, YEARS, read_key
from orchestration.pools import MEMORY
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from warehouse.cell_files import CELL_TABLES
from warehouse.contrasts import make_contrasts
from warehouse.layout import PartitionKey
from warehouse.store import Warehouse, any_simulated
from warehouse.study import run_study
from warehouse.study_folds import make_folds
from warehouse.writer import WrittenPartition


def write_folds(warehouse: Warehouse, key: PartitionKey) -> tuple[WrittenPartition, WrittenPartition]:
    """Plan and write the folds of one year, and the rules that they were made by."""
    made = make_folds(warehouse, key.require_year())
    provenance = warehouse.derived_provenance(
        ["core_label__patches", "core_label__pixels"], is_simulated=any_simulated(warehouse)
    )
    # the rules last: cells that find them find the folds of the same rules
    folds = warehouse.write("out_probe__folds", key, made.folds, provenance)
    return folds, warehouse.write("out_probe__fold_rules", key, made.rules, provenance)


def write_cells(warehouse: Warehouse, key: PartitionKey, report: Callable[[str], None]) -> dict[str, int]:
    """Run and write all cells of one year."""
    return run_study(warehouse, key.require_year(), report)


def write_contrasts(warehouse: Warehouse, key: PartitionKey) -> WrittenPartition:
    """Compare the arms of one year with the native ones and write the verdicts."""
    rows = make_contrasts(warehouse, key.require_year())
    inputs = ["out_probe__confusions", "out_probe__sums"]
    provenance = warehouse.derived_provenance(inputs, is_simulated=any_simulated(warehouse))
    return warehouse.write("out_probe__contrasts", key, rows, provenance)


def build_folds_asset(label_tables: Sequence[str], core_tables: Sequence[str]) -> dg.AssetsDefinition:
    """Declare the folds and their rules; blocks are sized by the labels and by the native vectors."""
    upstream = [dg.AssetDep(table, partition_mapping=dg.AllPartitionMapping()) for table in label_tables]
    upstream += [dg.AssetDep(table, partition_mapping=YEAR_OF_PAIR) for table in core_tables]
    texts = {
        "out_probe__folds": "Which fold, block and buffer every patch and pixel belongs to; shared by both grains.",
        "out_probe__fold_rules": "Edge, buffer and variogram ranges in use, and why a scheme could not be planned.",
    }

    @dg.multi_asset(
        name="out_probe__folds_and_rules",
        specs=[
            dg.AssetSpec(table, deps=upstream, group_name="6_evidence", description=text, kinds={"parquet"})
            for table, text in texts.items()
        ],
        partitions_def=YEARS,
        pool=MEMORY,
    )
    def folds(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> Iterator[dg.MaterializeResult]:
        watch = Stopwatch()
        results = engine.run(write_folds, isthmus.open(), read_key(context))
        for table, written in zip(texts, results, strict=True):
            yield describe_written(written, watch, asset_key=table)

    return folds


def build_cells_asset(feature_tables: Sequence[str]) -> dg.AssetsDefinition:
    """Declare scores, counts and sums per block, and held-out maps: one fit feeds them all."""
    upstream: list[dg.AssetDep | str] = ["out_probe__folds"]
    upstream += [dg.AssetDep(table, partition_mapping=YEAR_OF_PAIR) for table in feature_tables]
    texts = {
        "out_probe__metrics": "One row per arm, probe, budget, fold and metric; failed cells are rows with a status.",
        "out_probe__confusions": "Confusion counts per spatial block: every metric and interval can be redone.",
        "out_probe__sums": "Sums of errors and of retrieval precision per spatial block, for targets that are numbers.",
        "out_probe__predictions": "Held-out predictions at the pixels of the kept windows, for maps.",
    }

    @dg.multi_asset(
        name="out_probe__cells",
        specs=[
            dg.AssetSpec(table, deps=upstream, group_name="6_evidence", description=texts[table], kinds={"parquet"})
            for table in CELL_TABLES
        ],
        partitions_def=YEARS,
        pool=MEMORY,
    )
    def cells(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> Iterator[dg.MaterializeResult]:
        watch = Stopwatch()
        rows = engine.run(write_cells, isthmus.open(), read_key(context), report=context.log.info)
        for table in CELL_TABLES:
            metadata = {"dagster/row_count": rows.get(table, 0), "seconds": round(watch.seconds(), 3)}
            yield dg.MaterializeResult(asset_key=table, metadata=metadata)

    return cells


def build_contrasts_asset() -> dg.AssetsDefinition:
    """Declare the contrasts."""

    @dg.asset(
        name="out_probe__contrasts",
        deps=["out_probe__confusions", "out_probe__sums"],
        partitions_def=YEARS,
        group_name="6_evidence",
        description="Arm minus native with the paired block interval and the verdict: the answers.",
        kinds={"parquet"},
    )
    def contrasts(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        warehouse, key = isthmus.open(), read_key(context)
        written = engine.run(write_contrasts, warehouse, key)
        verdicts = warehouse.read("out_probe__contrasts", key, ["question", "arm", "verdict", "is_primary"])
        answers = {row["question"]: row["verdict"] for row in verdicts.to_pylist() if row["is_primary"]}
        return describe_written(written, watch, extra=answers)

    return contrasts
