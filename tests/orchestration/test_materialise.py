"""One partition, as a click in the UI runs it: the implicit asset job, with its event and its metadata."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.definitions import build_defs
from orchestration.partitions import format_key
from orchestration.pipeline import open_instance
from tests.conftest import TinyRun
from tests.tiny import digest_rows
from warehouse.layout import PartitionKey, partition_path
from warehouse.settings import load_settings
from warehouse.store import Warehouse

SHARD = "48PSU"
PARTITIONS = {
    "core_grid__patches": PartitionKey(shard=SHARD),
    "core_eg__patches": PartitionKey(2024, SHARD),
    "core_aef__pixels": PartitionKey(2023, SHARD),
    "core_label_worldcover__pixels": PartitionKey(2021, SHARD),
    "core_label_worldcover__patches": PartitionKey(2021, SHARD),
    "out_patch__aef_pooled": PartitionKey(2024, SHARD),
    "out_pixel__eg_upsampled": PartitionKey(2024, SHARD),
    "out_probe__contrasts": PartitionKey(2024),
}
PICTURED = {table for table, key in PARTITIONS.items() if key.shard and key.year}


@pytest.fixture(scope="module")
def copied(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ui")
    shutil.copytree(tiny_run.config.parent, folder / "run")
    return folder / "run" / tiny_run.config.name


@pytest.mark.usefixtures("clean_env")
@pytest.mark.parametrize("table", PARTITIONS)
def test_a_click_on_one_partition_runs_it_and_shows_what_it_wrote(copied: Path, table: str) -> None:
    warehouse, key = Warehouse(load_settings(copied)), PARTITIONS[table]
    path = partition_path(warehouse.root, table, key)
    before, written = digest_rows(warehouse.root), path.stat().st_mtime_ns
    instance = open_instance(warehouse, copied)
    job = build_defs().resolve_implicit_global_asset_job_def()  # the settings file comes from the environment
    result = job.execute_in_process(
        instance=instance, partition_key=format_key(key), asset_selection=[dg.AssetKey(table)]
    )
    assert result.success
    assert path.stat().st_mtime_ns != written
    assert digest_rows(warehouse.root) == before
    (event,) = result.get_asset_materialization_events()
    assert event.partition == format_key(key)
    metadata: dict[str, Any] = {name: value.value for name, value in event.materialization.metadata.items()}
    assert metadata["dagster/row_count"] == warehouse.read(table, key).num_rows
    assert metadata["bytes"] == path.stat().st_size
    assert metadata["seconds"] >= 0
    assert Path(metadata["path"]) == path
    assert ("preview" in metadata) == (table in PICTURED)
    if "preview" in metadata:
        assert metadata["preview"].startswith("![preview](data:image/png;base64,iVBOR")
    status = instance.get_status_by_partition(
        dg.AssetKey(table), [format_key(key)], build_defs().resolve_asset_graph().get(dg.AssetKey(table)).partitions_def
    )
    assert status is not None
    assert {value.value for value in status.values() if value} == {"MATERIALIZED"}


@pytest.mark.usefixtures("clean_env")
def test_unpartitioned_assets_can_be_clicked_too(copied: Path) -> None:
    instance = open_instance(Warehouse(load_settings(copied)), copied)
    job = build_defs().resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(name) for name in ("raw_eg__index", "core_grid__shards", "warehouse_duckdb", "report")]
    result = job.execute_in_process(instance=instance, asset_selection=keys)
    assert result.success
    assert len(result.get_asset_materialization_events()) == 4


@pytest.mark.usefixtures("clean_env")
def test_the_evaluation_of_a_year_can_be_clicked(copied: Path) -> None:
    warehouse = Warehouse(load_settings(copied))
    before = digest_rows(warehouse.root)
    instance = open_instance(warehouse, copied)
    job = build_defs().resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(f"out_probe__{name}") for name in ("metrics", "confusions", "sums", "predictions")]
    result = job.execute_in_process(instance=instance, partition_key="2024", asset_selection=keys)
    assert result.success
    rows = {
        e.asset_key.to_user_string(): e.materialization.metadata["dagster/row_count"].value  # type: ignore[union-attr]
        for e in result.get_asset_materialization_events()
    }
    assert rows == {
        table: warehouse.read_cells(table, 2024).num_rows
        for table in ("out_probe__metrics", "out_probe__confusions", "out_probe__sums", "out_probe__predictions")
    }
    assert digest_rows(warehouse.root) == before


@pytest.mark.usefixtures("clean_env")
def test_a_partition_that_cannot_be_made_says_why_in_its_log(copied: Path, tmp_path: Path) -> None:
    settings = tmp_path / "broken.toml"
    settings.write_text(copied.read_text().replace("/earthgenome/", "/elsewhere/"))
    shutil.copytree(copied.parent / "warehouse", tmp_path / "warehouse")
    warehouse = Warehouse(load_settings(settings))
    instance = open_instance(warehouse, settings)
    instance.add_dynamic_partitions("year", ["2024"])
    instance.add_dynamic_partitions("shard", [SHARD])
    job = build_defs().resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        partition_key=format_key(PartitionKey(2024, SHARD)),
        asset_selection=[dg.AssetKey("core_eg__patches")],
        raise_on_error=False,
    )
    assert not result.success
    (failure,) = result.filter_events(lambda event: event.is_step_failure)
    assert "SourceMissingError" in failure.step_failure_data.error.to_string()
