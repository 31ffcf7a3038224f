"""Partition keys: ours, Dagster's and the paths', there and back."""

# no postponed annotations: Dagster looks at the type of `context` when it decorates
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.partitions import (
    LABEL_YEAR_SHARDS,
    SHARDS,
    YEAR_SHARDS,
    YEARS,
    format_key,
    read_key,
    seed_partitions,
)
from transforms.errors import ShapeError
from warehouse.layout import ALL, PartitionKey, check_shard_key, parse_partition, partition_path

shards = st.from_regex(r"[A-Za-z0-9_.-]{1,24}", fullmatch=True)
years = st.integers(1985, 2100)


@pytest.fixture
def instance() -> dg.DagsterInstance:
    found = dg.DagsterInstance.ephemeral()
    seed_partitions(found, years=[2023, 2024], label_years=[2021], shards=["47PRQ", "48PSV", "a-file_1.2"])
    return found


@pytest.mark.parametrize(
    ("definition", "key"),
    [
        (YEARS, PartitionKey(year=2024)),
        (SHARDS, PartitionKey(shard="47PRQ")),
        (SHARDS, PartitionKey(shard="a-file_1.2")),
        (YEAR_SHARDS, PartitionKey(2023, "48PSV")),
        (YEAR_SHARDS, PartitionKey(2024, "a-file_1.2")),
        (LABEL_YEAR_SHARDS, PartitionKey(2021, "47PRQ")),
        (None, ALL),
    ],
)
def test_keys_survive_a_run(
    instance: dg.DagsterInstance, definition: dg.PartitionsDefinition | None, key: PartitionKey
) -> None:
    seen: list[PartitionKey] = []

    @dg.asset(partitions_def=definition)
    def probe(context: dg.AssetExecutionContext) -> None:
        seen.append(read_key(context))

    assert dg.materialize([probe], instance=instance, partition_key=format_key(key)).success
    assert seen == [key]


@given(years, shards)
def test_keys_of_dagster_hold_both_parts(year: int, shard: str) -> None:
    found = format_key(PartitionKey(year, shard))
    assert isinstance(found, dg.MultiPartitionKey)
    assert dict(found.keys_by_dimension) == {"year": str(year), "shard": shard}


@given(st.none() | years, st.none() | shards)
def test_keys_survive_a_path(year: int | None, shard: str | None) -> None:
    key = PartitionKey(year, shard)
    path = partition_path(Path("root"), "core_eg__patches", key)
    assert parse_partition(path) == key


@pytest.mark.parametrize("shard", ["", "a|b", "a/b", "a b", "é"])
def test_shards_that_would_break_a_path_or_a_key_are_refused(shard: str) -> None:
    with pytest.raises(ShapeError, match="shard key"):
        check_shard_key(shard)


def test_seeding_is_idempotent_and_adds(instance: dg.DagsterInstance) -> None:
    def keys() -> dict[str, set[str]]:
        return {name: set(instance.get_dynamic_partitions(name)) for name in ("year", "label_year", "shard")}

    first = keys()
    assert first == {"year": {"2023", "2024"}, "label_year": {"2021"}, "shard": {"47PRQ", "48PSV", "a-file_1.2"}}
    seed_partitions(instance, years=[2024, 2023], label_years=[2021], shards=["48PSV", "47PRQ", "a-file_1.2"])
    assert keys() == first
    assert sorted(instance.get_dynamic_partitions("shard")) == sorted(first["shard"])  # none twice
    seed_partitions(instance, years=[2025], label_years=[], shards=["48PTV"])
    assert keys()["year"] == {"2023", "2024", "2025"}
    assert keys()["shard"] == {*first["shard"], "48PTV"}
    assert keys()["label_year"] == {"2021"}
