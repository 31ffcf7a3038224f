"""Checks: they pass on a good run, they can fail, and what fails stops the answers."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

import orchestration.checks
from orchestration.checks import RULES, build_checks
from orchestration.definitions import build_defs
from orchestration.pipeline import open_instance
from tests.conftest import TinyRun
from tests.tiny import PROJECT, run_pipeline, tiny_settings, write_settings
from warehouse.checks_sql import CheckResult, check_names
from warehouse.settings import load_settings
from warehouse.sql_files import read_sql
from warehouse.store import Warehouse

PATCH_LABELS = "core_label_worldcover__patches"


def test_every_check_has_one_rule() -> None:
    assert sorted(rule.name for rule in RULES) == sorted(check_names())


def test_every_check_is_in_the_documents_with_what_it_means_and_asks_for() -> None:
    text = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    for rule in RULES:
        header = read_sql("checks", rule.name).header
        blocks = "yes" if rule.blocking else "-"
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{rule.name}` |")]
        assert line.endswith(f"| {blocks} | {header['meaning']} | {header['fix']} |")


def test_every_check_was_run_and_passed_but_for_the_age_of_the_labels(tiny_run: TinyRun) -> None:
    defs = build_defs(tiny_run.config)
    with dg.DagsterInstance.from_config(str(tiny_run.config.parent / "dagster")) as instance:
        keys = defs.resolve_asset_graph().asset_check_keys
        records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    assert {key.name for key in records} == {rule.name for rule in RULES}
    statuses = {key.name: record.status.value for key, record in records.items()}
    # the demo's labels are older than its embeddings, as WorldCover is: a warning, on every run
    assert statuses == {**dict.fromkeys(statuses, "SUCCEEDED"), "label_year_apart": "FAILED"}


def test_a_check_judges_the_other_table_where_the_first_is_not_there(tiny_run: TinyRun) -> None:
    built = build_checks(tiny_run.warehouse, {PATCH_LABELS})
    checks = {key.name: key.asset_key.to_user_string() for check in built for key in check.check_keys}
    assert checks == dict.fromkeys(("label_coverage", "label_notes"), PATCH_LABELS)


@pytest.mark.usefixtures("clean_env")
def test_a_broken_rule_shows_its_rows_and_fails_the_run(tampered: Path) -> None:
    instance = open_instance(Warehouse(load_settings(tampered)), tampered)
    job = build_defs(tampered).resolve_job_def("check_tables")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    failed = {e.check_name: e for e in result.get_asset_check_evaluations() if not e.passed}
    assert set(failed) == {"duplicate_patch_ids"}
    found = failed["duplicate_patch_ids"]
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert found.asset_key == dg.AssetKey("core_eg__patches")
    assert found.metadata["failing_rows"].value == 1
    (row,) = found.metadata["first_failing_rows"].value
    assert row["n_rows"] == "2"


@pytest.mark.usefixtures("clean_env")
@pytest.mark.parametrize(("name", "stops"), [("duplicate_patch_ids", True), ("label_coverage", False)])
def test_a_failing_check_stops_the_answers_only_if_it_blocks(
    name: str, stops: bool, tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tiny_world) | {"years": [2024]}
    settings["area"]["bbox"] = [102.001, 12.648, 102.02, 12.665]  # one square: quick
    settings["keep"] = {"sample": 0.02}
    settings["evaluate"] |= {"tasks": ["T5"], "schemes": ["random"], "block_edge_m": 500, "max_train_units": 200}
    run_checks = orchestration.checks.run_checks

    def fail_one(connection: object, names: list[str]) -> list[CheckResult]:
        results = run_checks(connection, names)  # type: ignore[arg-type]  # handed through
        row = pa.table({"patch_id": [1]})
        return [CheckResult(r.name, r.purpose, 1, row) if r.name == name else r for r in results]

    monkeypatch.setattr(orchestration.checks, "run_checks", fail_one)
    outcomes = {o.step.partition("[")[0]: o for o in run_pipeline(write_settings(tmp_path / "tiny.toml", settings))}
    assert outcomes["check_tables"].ok != stops
    assert outcomes["evaluate"].skipped == stops
    assert outcomes["evaluate"].ok != stops
    if stops:
        (problem,) = outcomes["check_tables"].problems
        assert name in problem
        assert "found 1 failing rows, expected none" in problem
