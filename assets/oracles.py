"""`out_probe__oracles`, `out_probe__oracle_confusions`: what labels alone say, before anything is trained.

Source: the spine and the labels; no embeddings. Grain: year; oracle, scale and metric, and counts per spatial block.
C0 and C1 give a patch one class, C4 gives one to each part of it, C3 interpolates the true fractions of patches, C6 is
another label source. A one-label oracle is no bound for upsampled arms.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import YEARS, read_key
from orchestration.pools import MEMORY
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch
from warehouse.layout import PartitionKey
from warehouse.oracles import CONFUSIONS_TABLE, METRICS_TABLE, make_oracles
from warehouse.store import Warehouse, any_simulated
from warehouse.writer import WrittenPartition


def write_oracles(warehouse: Warehouse, key: PartitionKey) -> dict[str, WrittenPartition]:
    """Run and write the oracles of one embedding year."""
    found = make_oracles(warehouse, key.require_year())
    inputs = ["core_grid__patches", "core_label__patches"]
    provenance = warehouse.derived_provenance(inputs, is_simulated=any_simulated(warehouse))
    return {
        METRICS_TABLE: warehouse.write(METRICS_TABLE, key, found.metrics, provenance),
        CONFUSIONS_TABLE: warehouse.write(CONFUSIONS_TABLE, key, found.confusions, provenance),
    }


def build_oracles_asset(label_tables: Sequence[str]) -> dg.AssetsDefinition:
    """Declare scores and confusions of the oracles: one look at the labels feeds both."""
    upstream = [
        dg.AssetDep(table, partition_mapping=dg.AllPartitionMapping())
        for table in ("core_grid__patches", *label_tables)
    ]
    texts = {
        METRICS_TABLE: "What labels alone allow, by oracle and scale: the room that question 2 has.",
        CONFUSIONS_TABLE: "Confusion counts of the oracles per spatial block.",
    }

    @dg.multi_asset(
        name="out_probe__oracle_tables",
        specs=[
            dg.AssetSpec(table, deps=upstream, group_name="5_oracles", description=text, kinds={"parquet"})
            for table, text in texts.items()
        ],
        partitions_def=YEARS,
        pool=MEMORY,
    )
    def oracles(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> Iterator[dg.MaterializeResult]:
        watch = Stopwatch()
        for table, written in engine.run(write_oracles, isthmus.open(), read_key(context)).items():
            metadata = {"dagster/row_count": written.rows, "bytes": written.bytes, "seconds": round(watch.seconds(), 3)}
            yield dg.MaterializeResult(asset_key=table, metadata=metadata)

    return oracles
