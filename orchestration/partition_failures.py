"""Partitions whose last run failed, and what it said.

Belongs here: asking Dagster's history. Does not: which partitions are stored and current
(`warehouse/partition_states.py`), words of a failed run (`run_problems.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import dagster as dg
from dagster import AssetPartitionStatus

from orchestration.partitions import format_key
from orchestration.run_problems import PARTITION_TAG, describe_failure
from warehouse.layout import PartitionKey

#: So many failed runs of a partition are looked at for the one of a table.
_RUNS_READ = 20


def find_failures(
    instance: dg.DagsterInstance, defs: dg.Definitions, wanted: Mapping[str, Collection[PartitionKey]]
) -> dict[tuple[str, PartitionKey], str]:
    """Give what the last run of some partitions said, where it failed and none has gone well since.

    Args:
        instance: with the history.
        defs: of the same settings.
        wanted: partitions by table; those of tables without partitions are left out, the plan looks at them anyway.

    Returns:
        Messages by (table, key).
    """
    assets = [asset for asset in defs.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    partitions_of = {key: asset.partitions_def for asset in assets for key in asset.keys}
    found = {}
    for table, keys in wanted.items():
        definition = partitions_of.get(dg.AssetKey(table))
        names = {str(format_key(key)): key for key in keys}
        if definition is None or not names:
            continue
        states = instance.get_status_by_partition(dg.AssetKey(table), list(names), definition) or {}
        for name, state in states.items():
            if state is AssetPartitionStatus.FAILED:
                found[table, names[name]] = _last_message(instance, table, name)
    return found


def _last_message(instance: dg.DagsterInstance, table: str, partition: str) -> str:
    """Give what the newest failed run of a partition said, of those that were to write a table."""
    wanted = dg.RunsFilter(tags={PARTITION_TAG: partition}, statuses=[dg.DagsterRunStatus.FAILURE])
    for run in instance.get_runs(wanted, limit=_RUNS_READ):
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        planned = {entry.dagster_event.asset_key for entry in events if entry.dagster_event is not None}
        if dg.AssetKey(table) in planned:
            return describe_failure(instance, run).message
    return "see its log in `isthmus ui`"
