"""`isthmus doctor` as typed: what it says of a good warehouse, a broken one, none, and settings that cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dagster as dg

from orchestration.checks import RULES
from orchestration.killed_runs import PID_TAG
from tests.conftest import TinyRun
from tests.orchestration.conftest import Call
from tests.tiny import tiny_settings, write_settings
from warehouse.settings import load_settings
from warehouse.store import Warehouse


@dg.job
def ingest() -> None:
    """Stand for a job of a command line that was killed."""


def test_a_good_warehouse_passes_every_check_but_the_age_of_its_labels(call: Call, tiny_run: TinyRun) -> None:
    code, out, _ = call("doctor", "-c", tiny_run.config, "--json")
    rows = json.loads(out)
    checks = {row["name"]: row["status"] for row in rows if row["kind"] == "check"}
    assert checks == {**{rule.name: "ok" for rule in RULES}, "label_year_apart": "warning"}
    assert code == (1 if any(row["status"] == "failed" for row in rows) else 0)
    assert {"disk of the warehouse", "memory", "versions", "history"} <= {row["name"] for row in rows}


def test_a_broken_rule_is_explained_with_its_rows_and_what_to_do(call: Call, tampered: Path) -> None:
    code, out, _ = call("doctor", "-c", tampered, "--check", "unit_norm", "--check", "duplicate_patch_ids")
    assert code == 1
    passed, *lines = out.splitlines()
    assert passed.split()[:2] == ["ok", "unit_norm"]
    assert lines[0].split() == ["failed", "duplicate_patch_ids", "1", "failing", "rows"]
    words = [line.split()[0] for line in lines[1:6]]
    assert words == ["rule", "means", "do", "row", "all"]
    assert lines[1].endswith("; blocks a run")
    assert "n_rows=2" in lines[4]
    assert 'isthmus sql "select * from check_duplicate_patch_ids"' in lines[5]
    assert lines[-1].endswith("; 1 failed, 0 warnings")


def test_json_is_all_that_is_printed(call: Call, tampered: Path) -> None:
    code, out, _ = call("doctor", "-c", tampered, "--check", "duplicate_patch_ids", "--json")
    assert code == 1
    (row,) = json.loads(out)
    assert (row["status"], row["blocking"], row["n_failing"]) == ("failed", True, 1)
    assert row["first_failing_rows"][0]["n_rows"] == 2
    assert row["meaning"]
    assert row["fix"]


def test_before_the_first_run_only_the_set_up_is_judged(call: Call, tiny_config: Path) -> None:
    code, out, err = call("doctor", "-c", tiny_config)
    assert code == 0
    assert "no warehouse yet" in err
    assert "none yet at" in out
    assert not (tiny_config.parent / "dagster").exists()


def test_settings_that_cannot_be_read_are_named(call: Call, tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path / "world") | {"yeers": [2024]}
    code, _, err = call("doctor", "-c", write_settings(tmp_path / "tiny.toml", settings))
    assert code == 2
    assert "key 'yeers' is unknown" in err


def test_unknown_checks_are_refused_with_those_that_exist(call: Call, tiny_config: Path) -> None:
    code, _, err = call("doctor", "-c", tiny_config, "--check", "no_such_check")
    assert code == 2
    assert "unit_norm" in err


def test_runs_that_were_killed_are_found(call: Call, tiny_config: Path) -> None:
    home = Warehouse(load_settings(tiny_config)).settings.dagster.instance
    home.mkdir()
    shutil.copy(Path(__file__).parents[2] / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.create_run_for_job(ingest, status=dg.DagsterRunStatus.STARTED, tags={PID_TAG: "4194304"})
    code, out, _ = call("doctor", "-c", tiny_config)
    assert code == 0
    assert "1 runs were killed and never ended: ingest" in out
