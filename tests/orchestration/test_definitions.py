"""The asset graph of the demo, pinned: whoever changes it sees the change in tests/data/asset_graph.json."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.patches import ingest_patches
from orchestration.definitions import CONFIG_VARIABLE, build_defs
from orchestration.engines import EngineResource
from orchestration.resources import WarehouseResource
from tests.tiny import PROJECT
from warehouse.errors import SettingsError
from warehouse.settings import load_settings
from warehouse.store import Warehouse

SNAPSHOT = Path(__file__).parents[1] / "data" / "asset_graph.json"
DEMO = PROJECT / "examples" / "demo.toml"
#: Set it to write the snapshot anew after a change that was meant.
UPDATE = "ISTHMUS_UPDATE_SNAPSHOTS"

PIPELINE = ["plan", "grid", "ingest", "label", "oracles", "bases", "derive", "evaluate", "publish"]
JOBS = [*PIPELINE, "check_tables", "check_evidence"]


@pytest.fixture(scope="module")
def demo() -> dg.Definitions:
    return build_defs(DEMO)


def name_partitions(definition: dg.PartitionsDefinition | None) -> list[str]:
    """Name the dynamic dimensions of a partitions definition."""
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return [name for part in definition.partitions_defs for name in name_partitions(part.partitions_def)]
    return [] if definition is None else [str(getattr(definition, "name", definition))]


def describe_graph(defs: dg.Definitions) -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    return {
        key.to_user_string(): {
            "group": graph.get(key).group_name,
            "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "partitions": sorted(name_partitions(graph.get(key).partitions_def)),
            "checks": sorted(check.name for check in graph.get(key).check_keys),
        }
        for key in sorted(graph.get_all_asset_keys())
    }


def test_asset_graph_of_the_demo_is_as_pinned(demo: dg.Definitions) -> None:
    found = describe_graph(demo)
    if os.environ.get(UPDATE):
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(SNAPSHOT.read_text()), f"If this was meant: {UPDATE}=1 pytest {__file__}"


def test_every_asset_explains_itself(demo: dg.Definitions) -> None:
    graph = demo.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    assert [node.key for node in nodes if not (node.description or "").strip()] == []
    assert [node.key for node in nodes if node.group_name in (None, "default")] == []


def test_every_table_with_a_schema_is_an_asset_and_the_other_way_round(demo: dg.Definitions) -> None:
    keys = {key.to_user_string() for key in demo.resolve_all_asset_keys()}
    tables = set(Warehouse(load_settings(DEMO)).specs)
    assert keys == tables | {"warehouse_duckdb", "report"}


def test_jobs_are_those_of_the_pipeline(demo: dg.Definitions) -> None:
    assert [job.name for job in demo.jobs or []] == JOBS
    assert [job.name for job in demo.jobs or [] if not (job.description or "").strip()] == []


def test_every_asset_is_in_one_job(demo: dg.Definitions) -> None:
    covered = [key for name in PIPELINE for key in demo.resolve_job_def(name).asset_layer.executable_asset_keys]
    assert sorted(covered) == sorted(demo.resolve_all_asset_keys())
    assert len(set(covered)) == len(covered)


def test_steps_run_in_processes_of_their_own_unless_the_launchpad_says_otherwise(demo: dg.Definitions) -> None:
    executors = {demo.resolve_job_def(name).executor_def.name for name in JOBS}
    assert executors == {dg.multi_or_in_process_executor.name}
    assert dg.multi_or_in_process_executor.config_schema.default_value == {"multiprocess": {}}


def test_what_reads_sources_or_holds_many_rows_claims_a_pool(demo: dg.Definitions) -> None:
    pools: dict[str | None, set[str]] = {}
    for asset in demo.assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        pools.setdefault(asset.op.pool, set()).update(asset.group_names_by_key.values())
    assert pools["source_http"] == {"1_plan", "2_grid", "3_core", "4_labels"}
    assert pools["memory"] == {"5_oracles", "5_bases", "5_derived", "6_evidence"}
    assert pools[None] == {"1_plan", "6_evidence", "7_answers"}  # shards, contrasts, and what people open


def test_every_check_of_the_graph_is_in_one_check_job(demo: dg.Definitions) -> None:
    graph = describe_graph(demo)
    named = [check for asset in graph.values() for check in asset["checks"]]
    layers = [demo.resolve_job_def(name).asset_layer for name in JOBS[len(PIPELINE) :]]
    in_jobs = [key.name for layer in layers for key in layer.asset_graph.asset_check_keys]
    assert sorted(in_jobs) == sorted(named)
    assert sorted(named) == sorted(path.stem for path in (PROJECT / "sql/checks").glob("*.sql"))


def test_overrides_replace_parts(tmp_path: Path) -> None:
    others = {"isthmus": WarehouseResource(config=str(tmp_path / "other.toml")), "engine": EngineResource()}
    defs = build_defs(DEMO, resources=others, asset_checks=[], jobs=[])
    assert defs.resources == others
    assert not defs.jobs
    assert defs.resolve_asset_graph().asset_check_keys == set()


def test_the_environment_names_the_settings_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(PROJECT / "examples" / "eurosat_pairs.toml"))
    keys = {key.to_user_string() for key in build_defs().resolve_all_asset_keys()}
    assert "out_patch__presto_pooled" in keys
    monkeypatch.setenv(CONFIG_VARIABLE, "nowhere.toml")
    with pytest.raises(SettingsError, match=r"nowhere\.toml: found no file"):
        build_defs()


@pytest.mark.parametrize(
    "name", ["demo", "tiny", "operators", "eurosat_pairs", "slovenia_pairs", "dynamic_world_points"]
)
def test_every_example_builds_a_valid_graph(name: str) -> None:
    defs = build_defs(PROJECT / "examples" / f"{name}.toml")
    dg.Definitions.validate_loadable(defs)
    deps = describe_graph(defs)
    assert {parent for asset in deps.values() for parent in asset["deps"]} <= set(deps)  # nothing hangs in the air


def test_bodies_take_keys_and_never_a_context() -> None:
    assert list(inspect.signature(ingest_patches).parameters) == ["warehouse", "product", "key"]
