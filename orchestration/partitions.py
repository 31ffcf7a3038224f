"""Partitions: year x shard, dynamic, seeded by the command.

Belongs here: partition definitions, their keys, and how keys of ours and of Dagster translate. Does not: what
the shards are (`transforms/shards.py`).

Keys are dynamic because the area of interest decides them; they must be seeded before a partition is launched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict, Unpack

import dagster as dg

from warehouse.layout import ALL, PartitionKey

YEARS = dg.DynamicPartitionsDefinition(name="year")
LABEL_YEARS = dg.DynamicPartitionsDefinition(name="label_year")
SHARDS = dg.DynamicPartitionsDefinition(name="shard")
#: Two dimensions are the most that Dagster takes.
YEAR_SHARDS = dg.MultiPartitionsDefinition({"year": YEARS, "shard": SHARDS})
LABEL_YEAR_SHARDS = dg.MultiPartitionsDefinition({"year": LABEL_YEARS, "shard": SHARDS})

#: Same year, every shard: neighbours across shard borders are read.
ALL_SHARDS_OF_YEAR = dg.MultiPartitionMapping(
    {
        "year": dg.DimensionPartitionMapping("year", dg.IdentityPartitionMapping()),
        "shard": dg.DimensionPartitionMapping("shard", dg.AllPartitionMapping()),
    }
)
#: Same shard, every year: a label year serves all embedding years that the settings map to it.
ALL_YEARS_OF_SHARD = dg.MultiPartitionMapping(
    {
        "year": dg.DimensionPartitionMapping("year", dg.AllPartitionMapping()),
        "shard": dg.DimensionPartitionMapping("shard", dg.IdentityPartitionMapping()),
    }
)
#: From the shard dimension alone to year x shard and back.
SHARD_OF_PAIR = dg.MultiToSingleDimensionPartitionMapping("shard")
#: From year to all its shards.
YEAR_OF_PAIR = dg.MultiToSingleDimensionPartitionMapping("year")


class PartitionKeys(TypedDict):
    """Keys that the settings ask for."""

    years: Iterable[int]
    label_years: Iterable[int]
    shards: Iterable[str]


def seed_partitions(instance: dg.DagsterInstance, **keys: Unpack[PartitionKeys]) -> None:
    """Add the keys that are not there yet; safe to repeat."""
    for dimension, wanted in _by_dimension(keys).items():
        instance.add_dynamic_partitions(dimension, wanted)


def forget_partitions(instance: dg.DagsterInstance, **keys: Unpack[PartitionKeys]) -> None:
    """Remove the keys that are not among these; the history of their runs stays."""
    for dimension, wanted in _by_dimension(keys).items():
        for key in set(instance.get_dynamic_partitions(dimension)) - set(wanted):
            instance.delete_dynamic_partition(dimension, key)


def _by_dimension(keys: PartitionKeys) -> dict[str, list[str]]:
    return {
        "year": [str(year) for year in sorted(keys["years"])],
        "label_year": [str(year) for year in sorted(keys["label_years"])],
        "shard": sorted(keys["shards"]),
    }


def read_key(context: dg.AssetExecutionContext) -> PartitionKey:
    """Translate the partition of a run to a key of the warehouse."""
    if not context.has_partition_key:
        return ALL
    key = context.partition_key
    if isinstance(key, dg.MultiPartitionKey):
        parts = key.keys_by_dimension
        return PartitionKey(int(parts["year"]), parts["shard"])
    definition = context.assets_def.partitions_def
    if definition == SHARDS:
        return PartitionKey(shard=key)
    return PartitionKey(year=int(key))


def format_key(key: PartitionKey) -> str | dg.MultiPartitionKey | None:
    """Translate a key of the warehouse to a partition of a run."""
    if key.year is not None and key.shard is not None:
        return dg.MultiPartitionKey({"year": str(key.year), "shard": key.shard})
    if key.year is not None:
        return str(key.year)
    return key.shard
