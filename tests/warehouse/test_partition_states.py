"""States of the partitions of a finished tiny warehouse, and of copies that something happened to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.upsampled import upsample_shard
from orchestration.definitions import build_assets
from tests.conftest import TinyRun
from tests.warehouse.fake_tables import PROVENANCE
from warehouse.cell_seals import read_seals
from warehouse.errors import PartitionMissingError
from warehouse.layout import ALL, PartitionKey, cell_path, partition_path
from warehouse.lineage import Lineage
from warehouse.partition_states import PartitionState, PartitionStates, PartitionStatus
from warehouse.store import Warehouse

YEAR = PartitionKey(2024)
CURRENT, STALE, MISSING = PartitionState.CURRENT, PartitionState.STALE, PartitionState.MISSING
CELLS = {"out_probe__metrics", "out_probe__confusions", "out_probe__sums", "out_probe__predictions"}


def not_current(warehouse: Warehouse) -> list[PartitionStatus]:
    return [one for one in PartitionStates(Warehouse(warehouse.settings)).survey() if one.state is not CURRENT]


def by_table(statuses: list[PartitionStatus], state: PartitionState) -> dict[str, int]:
    return dict(Counter(one.table for one in statuses if one.state is state))


def change_section(warehouse: Warehouse, section: str, **update: Any) -> Warehouse:
    part = getattr(warehouse.settings, section).model_copy(update=update)
    return Warehouse(warehouse.settings.model_copy(update={section: part}))


def test_every_asset_with_rows_has_a_recipe_and_every_recipe_an_asset(tiny_run: TinyRun) -> None:
    assets = {key.to_user_string() for asset in build_assets(tiny_run.warehouse) for key in asset.keys}
    assert set(Lineage(tiny_run.warehouse).recipes) == assets - {"warehouse_duckdb", "report"}


def test_a_finished_warehouse_is_current_as_a_whole(tiny_run: TinyRun) -> None:
    statuses = list(PartitionStates(tiny_run.warehouse).survey())
    assert {one.state for one in statuses} == {CURRENT}
    stored = {table for table in tiny_run.warehouse.specs if tiny_run.warehouse.stored_partitions(table)}
    assert {one.table for one in statuses} == stored | CELLS


def test_nothing_is_known_before_the_plan(tiny_run: TinyRun, tmp_path: Path) -> None:
    settings = tiny_run.warehouse.settings
    elsewhere = settings.model_copy(update={"warehouse": settings.warehouse.model_copy(update={"root": tmp_path})})
    with pytest.raises(PartitionMissingError):
        list(PartitionStates(Warehouse(elsewhere)).survey())


def test_a_removed_partition_is_missing_and_what_follows_from_it_stays_current(copy: Warehouse) -> None:
    key = PartitionKey(2024, "48PSV")
    partition_path(copy.root, "core_eg__patches", key).unlink()
    assert not_current(copy) == [PartitionStatus("core_eg__patches", key, MISSING)]


def test_a_damaged_file_is_stale(copy: Warehouse) -> None:
    key = PartitionKey(2023, "47PRP")
    partition_path(copy.root, "out_patch__aef_pooled", key).write_bytes(b"")
    (found,) = not_current(copy)
    assert (found.table, found.key, found.state) == ("out_patch__aef_pooled", key, STALE)


def test_a_partition_written_from_a_stale_input_is_stale_too(copy: Warehouse) -> None:
    changed = change_section(copy, "keep", sample=0.05)
    key = PartitionKey(2024, "48PSV")
    # a click on a derived table whose pixels nobody has made again
    upsample_shard(changed, changed.products["eg"], changed.products["aef"], key)
    status = PartitionStates(Warehouse(changed.settings)).status("out_pixel__eg_upsampled", key)
    assert status.state is STALE
    assert status.reasons == ("what it is made from was changed",)


def test_the_reasons_say_what_was_changed(copy: Warehouse) -> None:
    stale = {one.table: one.reasons for one in not_current(change_section(copy, "pool", min_coverage=0.7))}
    assert stale["out_patch__aef_pooled"] == ("settings were changed",)
    assert "what it is made from was changed" in stale["out_probe__contrasts"]
    assert set(stale) == {"out_patch__aef_pooled", "out_probe__contrasts", *CELLS}


def test_a_further_operator_asks_for_its_column_and_cells_and_redoes_no_others(copy: Warehouse) -> None:
    operators = (*copy.settings.pool.operators, "percentiles")
    changed = not_current(change_section(copy, "pool", operators=operators))
    assert by_table(changed, STALE) == {"out_patch__aef_pooled": 8}
    assert set(by_table(changed, MISSING)) == CELLS
    assert {one.reasons for one in changed if one.state is MISSING} == {("1 of 15 cells",)}


@pytest.mark.parametrize(
    ("table", "count"), [("core_grid__patches", 4), ("core_eg__patches", 4), ("out_probe__folds", 1)]
)
def test_a_raised_schema_version_makes_the_tables_own_partitions_stale_and_no_others(
    tiny_run: TinyRun, raise_schema_version: Callable[..., None], table: str, count: int
) -> None:
    raise_schema_version(table)
    found = not_current(tiny_run.warehouse)
    assert by_table(found, STALE) == {table: count}
    assert len(found) == count
    assert {one.reasons for one in found} == {("the form that it is stored in was changed",)}


def test_a_raised_schema_version_of_cells_makes_them_stale_and_not_what_sums_them_up(
    tiny_run: TinyRun, raise_schema_version: Callable[..., None]
) -> None:
    raise_schema_version(*CELLS)
    found = not_current(tiny_run.warehouse)
    assert {one.table: one.state for one in found} == dict.fromkeys(CELLS, STALE)
    assert {one.reasons for one in found} == {("the form that 14 of 14 cells are stored in was changed",)}


@pytest.mark.parametrize("operator", ["vlad", "bow"])
def test_the_first_operator_with_a_codebook_asks_for_it_and_redoes_no_other_cells(
    tiny_run: TinyRun, operator: str
) -> None:
    operators = (*tiny_run.warehouse.settings.pool.operators, operator)
    changed = not_current(change_section(tiny_run.warehouse, "pool", operators=operators))
    assert by_table(changed, STALE) == {"out_patch__aef_pooled": 8, "out_probe__contrasts": 1}
    assert {(one.table, one.reasons) for one in changed if one.state is MISSING} == {
        ("out_pixel__aef_codebook", ()), *((table, ("1 of 15 cells",)) for table in CELLS)
    }  # fmt: skip


def test_a_missing_cell_shows(copy: Warehouse) -> None:
    cell_path(copy.root, "out_probe__metrics", 2024, min(read_seals(copy.root, YEAR))).unlink()
    states = {one.table: one.state for one in not_current(copy)}
    assert states == {**dict.fromkeys(CELLS, MISSING), "out_probe__contrasts": STALE}


def test_a_failed_cell_shows(copy: Warehouse) -> None:
    slot = min(read_seals(copy.root, YEAR))
    rows = pq.ParquetFile(cell_path(copy.root, "out_probe__metrics", 2024, slot)).read()
    status = pa.array(["failed: no torch"] * rows.num_rows)
    rows = rows.set_column(rows.schema.get_field_index("status"), "status", status)
    copy.write_cell("out_probe__metrics", 2024, slot, rows, PROVENANCE)
    states = {one.table: (one.state, one.reasons) for one in not_current(copy) if one.table in CELLS}
    assert states == dict.fromkeys(CELLS, (PartitionState.FAILED, ("1 of 14 cells",)))


def test_an_area_that_shrinks_leaves_partitions_over(copy: Warehouse) -> None:
    shards = copy.read("core_grid__shards")
    fewer = shards.filter(pc.field("shard") != "47PRP")
    copy.write("core_grid__shards", ALL, fewer, PROVENANCE)
    left = by_table(not_current(copy), PartitionState.LEFT_OVER)
    assert left["core_aef__pixels"] == 2
    assert left["core_grid__patches"] == 1
