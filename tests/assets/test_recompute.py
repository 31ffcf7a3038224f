"""Every table, materialised again: the same rows; cut off in the middle: the old partition, whole, and no rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.bases import write_basis
from assets.evidence import write_cells, write_contrasts, write_folds
from assets.fold_audit import write_fold_audit
from assets.grid import plan_shards, write_spine
from assets.labels import label_patches, label_pixels
from assets.oracles import write_oracles
from assets.patches import ingest_patches
from assets.pixels import ingest_pixels
from assets.pooled import pool_shard
from assets.release_index import observe_releases
from assets.upsampled import upsample_shard
from tests.conftest import TinyRun
from tests.tiny import digest_rows, hidden_files
from warehouse.cell_files import CellFiles
from warehouse.layout import ALL, PartitionKey, partition_path
from warehouse.partition_states import PartitionState, PartitionStates
from warehouse.reader import read_footer
from warehouse.settings import load_settings
from warehouse.store import Warehouse
from warehouse.writer import PartitionWriter

SHARD = "48PSV"
YEAR_SHARD = PartitionKey(2024, SHARD)
LABEL_SHARD = PartitionKey(2021, SHARD)
YEAR = PartitionKey(2024)

#: What makes a partition -> tables that it writes.
BODIES: dict[str, Callable[[Warehouse], object]] = {
    "raw_eg__index": lambda w: observe_releases(w, w.products["eg"]),
    "core_grid__shards": plan_shards,
    "core_grid__patches": lambda w: write_spine(w, w.products["eg"], PartitionKey(shard=SHARD)),
    "core_eg__patches": lambda w: ingest_patches(w, w.products["eg"], YEAR_SHARD),
    "core_aef__pixels": lambda w: ingest_pixels(w, w.products["aef"], YEAR_SHARD),
    "core_label_worldcover__pixels": lambda w: label_pixels(w, "worldcover", w.products["aef"], LABEL_SHARD),
    "core_label_worldcover__patches": lambda w: label_patches(w, "worldcover", LABEL_SHARD),
    "out_patch__eg_basis": lambda w: write_basis(w, w.products["eg"], YEAR),
    "out_patch__aef_pooled": lambda w: pool_shard(w, w.products["aef"], w.products["eg"], YEAR_SHARD),
    "out_pixel__eg_upsampled": lambda w: upsample_shard(w, w.products["eg"], w.products["aef"], YEAR_SHARD),
    "out_probe__folds": lambda w: write_folds(w, YEAR),
    "out_probe__fold_audit": lambda w: write_fold_audit(w, YEAR),
    "out_probe__metrics": lambda w: _write_all_cells(w),
    "out_probe__contrasts": lambda w: write_contrasts(w, YEAR),
    "out_probe__oracles": lambda w: write_oracles(w, YEAR),
}


def _write_all_cells(warehouse: Warehouse) -> None:
    """Run the cells that are done as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellFiles, "is_done", lambda *_arguments: False)
        write_cells(warehouse, YEAR, lambda _text: None)


class BrokenOffError(Exception):
    """What a test raises in the middle of a write."""


@pytest.fixture(scope="module")
def warehouse(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A copy of the finished warehouse."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(tiny_run.config, folder)
    shutil.copytree(tiny_run.warehouse.root, folder / "warehouse")
    return Warehouse(load_settings(folder / tiny_run.config.name))


def test_every_stored_table_is_recomputed_here(tiny_run: TinyRun) -> None:
    stored = {path.name for path in tiny_run.warehouse.root.iterdir() if path.is_dir()}
    # with another one's body
    together = {
        "raw_aef__index", "out_probe__confusions", "out_probe__predictions", "out_probe__oracle_confusions",
        "out_probe__fold_rules",
    }  # fmt: skip
    assert stored == set(BODIES) | together


@pytest.mark.parametrize("table", BODIES)
def test_recomputing_gives_the_same_rows_in_the_same_order(warehouse: Warehouse, table: str) -> None:
    before = digest_rows(warehouse.root)
    changed = {path: path.stat().st_mtime_ns for path in (warehouse.root / table).rglob("*.parquet")}
    BODIES[table](warehouse)
    assert {path for path, time in changed.items() if path.stat().st_mtime_ns != time}  # something was written
    assert digest_rows(warehouse.root) == before
    assert hidden_files(warehouse.root) == []


@pytest.mark.parametrize("table", BODIES)
def test_a_body_reads_what_its_recipe_says_and_leaves_a_current_partition(warehouse: Warehouse, table: str) -> None:
    opened = Warehouse(warehouse.settings)  # what one has read is not forgotten
    BODIES[table](opened)
    states, key = PartitionStates(Warehouse(warehouse.settings)), _key(table)
    assert states.status(table, key).state is PartitionState.CURRENT
    declared = states.lineage.inputs(table, key)
    own = {"out_probe__folds", "out_probe__fold_rules"} if table == "out_probe__metrics" else set()
    undeclared = [
        f"{read}[{found}]"
        for read, found in opened.reads
        if read not in own and not any(one.table == read and one.holds(found) for one in declared)
    ]
    assert undeclared == []


def _key(table: str) -> PartitionKey:
    """Give the partition that a body writes."""
    if table.startswith("core_label_"):
        return LABEL_SHARD
    if table in ("raw_eg__index", "core_grid__shards"):
        return ALL
    if table == "core_grid__patches":
        return PartitionKey(shard=SHARD)
    return YEAR if table.startswith("out_probe__") or table.endswith("_basis") else YEAR_SHARD


@pytest.mark.parametrize("table", BODIES)
@pytest.mark.parametrize("moment", ["after the rows", "before the rename"])
def test_a_write_that_breaks_off_leaves_the_old_partition(
    warehouse: Warehouse, table: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in (warehouse.root / table).rglob("*.parquet")}
    assert before
    write = PartitionWriter.write

    def break_off(*arguments: object) -> None:
        if moment == "after the rows":
            write(*arguments)  # type: ignore[arg-type]  # handed through
        raise BrokenOffError

    if moment == "after the rows":
        monkeypatch.setattr(PartitionWriter, "write", break_off)
    else:
        monkeypatch.setattr(os, "replace", break_off)
    with pytest.raises(BrokenOffError):
        BODIES[table](warehouse)
    after = {path: path.read_bytes() for path in (warehouse.root / table).rglob("*.parquet")}
    if table == "out_probe__metrics":  # the seal of the one cell that was being written is gone, so it runs again
        assert len(before) - len(after) <= 1
        before = {path: content for path, content in before.items() if path in after}
    assert after == before
    assert hidden_files(warehouse.root) == []


def test_a_new_partition_is_invisible_until_it_is_whole(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(warehouse.root, tmp_path / "warehouse")
    paths = warehouse.settings.warehouse.model_copy(update={"root": tmp_path / "warehouse"})
    fresh = Warehouse(warehouse.settings.model_copy(update={"warehouse": paths}))
    partition_path(fresh.root, "core_aef__pixels", YEAR_SHARD).unlink()
    seen: list[bool] = []
    write = PartitionWriter.write

    def look(writer: PartitionWriter, table: object) -> None:
        write(writer, table)  # type: ignore[arg-type]  # handed through
        seen.append(partition_path(fresh.root, "core_aef__pixels", YEAR_SHARD).is_file())

    monkeypatch.setattr(PartitionWriter, "write", look)
    ingest_pixels(fresh, fresh.products["aef"], YEAR_SHARD)
    assert seen
    assert not any(seen)
    assert partition_path(fresh.root, "core_aef__pixels", YEAR_SHARD).is_file()


def test_footers_tell_where_rows_come_from(tiny_run: TinyRun) -> None:
    for path in sorted(tiny_run.warehouse.root.rglob("*.parquet")):
        footer = read_footer(path)
        assert footer["table"] == path.relative_to(tiny_run.warehouse.root).parts[0]
        assert {"product", "release", "licence", "attribution", "sources", "inputs", "code_version"} <= set(footer)
    pixels = read_footer(partition_path(tiny_run.warehouse.root, "core_aef__pixels", YEAR_SHARD))
    assert ["annual", "2024", "48N"] in [source["path"].split("/")[:3] for source in pixels["sources"]]
    assert pixels["sources"][0]["etag"]
    assert "produced by Google and Google DeepMind" in pixels["attribution"][0]


def test_footers_list_only_files_that_were_read(tiny_run: TinyRun) -> None:
    pixels = read_footer(partition_path(tiny_run.warehouse.root, "core_aef__pixels", YEAR_SHARD))
    assert [source["path"].split("/")[:3] for source in pixels["sources"]] == [["annual", "2024", "48N"]]


def test_simulated_worlds_say_so_in_every_table(tiny_run: TinyRun) -> None:
    paths = sorted(tiny_run.warehouse.root.rglob("*.parquet"))
    with_column = [path for path in paths if "is_simulated" in pq.read_schema(path).names]
    assert {path.relative_to(tiny_run.warehouse.root).parts[0] for path in with_column} >= set(BODIES) - {
        "core_grid__shards"
    }
    for path in with_column:
        column = pq.ParquetFile(path).read(columns=["is_simulated"])["is_simulated"]
        assert set(column.to_pylist()) <= {True}, path


def test_simulated_worlds_say_so_in_every_footer(tiny_run: TinyRun) -> None:
    footers = {path: read_footer(path) for path in tiny_run.warehouse.root.rglob("*.parquet")}
    assert [path for path, footer in footers.items() if not footer["is_simulated"]] == []


def test_simulated_worlds_say_so_in_the_report(tiny_run: TinyRun) -> None:
    assert "simulated" in tiny_run.warehouse.report_path.read_text(encoding="utf-8").lower()
