from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.fake_tables import SPECS
from transforms.errors import ShapeError
from warehouse.layout import (
    ALL,
    PART_FILE,
    PartitionKey,
    cell_path,
    check_shard_key,
    check_table_name,
    parse_partition,
    partition_path,
)

shards = st.text("abzABZ019_.-", min_size=1, max_size=8)
keys = st.builds(PartitionKey, st.none() | st.integers(1900, 2100), st.none() | shards)


@given(keys)
def test_keys_come_back_from_their_path(key: PartitionKey) -> None:
    path = partition_path(Path("/w"), "core_eg__patches", key)
    assert parse_partition(path.relative_to("/w/core_eg__patches")) == key
    assert path.name == PART_FILE


@given(keys, keys)
def test_different_keys_have_different_paths(first: PartitionKey, second: PartitionKey) -> None:
    assert (first.folder() == second.folder()) == (first == second)


@pytest.mark.parametrize(
    ("key", "path", "text"),
    [
        (PartitionKey(2024, "47PQQ"), "t_x__y/year=2024/shard=47PQQ/part.parquet", "2024|47PQQ"),
        (PartitionKey(shard="47PQQ"), "t_x__y/shard=47PQQ/part.parquet", "47PQQ"),
        (PartitionKey(2024), "t_x__y/year=2024/part.parquet", "2024"),
        (ALL, "t_x__y/part.parquet", "all"),
    ],
)
def test_the_grammar_of_paths(key: PartitionKey, path: str, text: str) -> None:
    table = "core_x__y"
    assert partition_path(Path("/w"), table, key) == Path("/w") / path.replace("t_x__y", table)
    assert str(key) == text


def test_cells_stand_beside_each_other() -> None:
    path = cell_path(Path("/w"), "out_probe__metrics", 2024, "ab12")
    assert path == Path("/w/out_probe__metrics/year=2024/cell-ab12.parquet")


@pytest.mark.parametrize("table", sorted(SPECS))
def test_declared_tables_follow_the_grammar(table: str) -> None:
    assert check_table_name(table) == table


@pytest.mark.parametrize(
    "table",
    ["", "eg__patches", "stage_eg__patches", "core_eg_patches", "core_Eg__patches", "core_eg__", "core___x",
     "core_a__b__c", "core_eg__patches2", "../core_eg__patches", "core_eg __patches", "core_eg-x__patches"],
)  # fmt: skip
def test_other_names_are_refused(table: str) -> None:
    with pytest.raises(ShapeError, match=r"expected \{raw\|core\|out\}_\{source\}__\{grain\}\. Rename"):
        check_table_name(table)
    with pytest.raises(ShapeError):
        partition_path(Path("/w"), table, ALL)
    with pytest.raises(ShapeError):
        cell_path(Path("/w"), table, 2024, "a")


@pytest.mark.parametrize("shard", ["47PQQ", "slovenia_pairs", "africa.points-2", "X"])
def test_good_shard_keys(shard: str) -> None:
    assert check_shard_key(shard) == shard


@pytest.mark.parametrize("shard", ["", "a b", "a/b", "a|b", "a=b", "é", "a,b", "a\tb"])
def test_shard_keys_that_are_no_folder_names_are_refused(shard: str) -> None:
    with pytest.raises(ShapeError, match=r"shard key.*Rename the region or source file"):
        check_shard_key(shard)


@pytest.mark.parametrize(("check", "name"), [(check_shard_key, "47PQQ\n"), (check_table_name, "core_eg__patches\n")])
def test_names_that_end_with_a_newline_are_refused(check, name: str) -> None:
    with pytest.raises(ShapeError):
        check(name)


def test_years_are_demanded_where_needed() -> None:
    assert PartitionKey(2024, "a").require_year() == 2024
    with pytest.raises(ShapeError, match=r"partition key: found a, expected a year"):
        PartitionKey(shard="a").require_year()
