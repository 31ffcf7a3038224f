"""Killed, interrupted and repeated runs end with the rows of an undisturbed one, and never show half a file."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from orchestration.pipeline import Pipeline, Step
from tests.conftest import TinyRun
from tests.documented import documented
from tests.tiny import (
    clean_environment,
    copy_world,
    digest_rows,
    hidden_files,
    quick_settings,
    replace_file,
    run_pipeline,
    stored_files,
    tiny_settings,
    write_settings,
)
from warehouse.errors import WarehouseBusyError
from warehouse.run_lock import hold_warehouse
from warehouse.writer import PartitionWriter

#: Plan, 4 shards, 2 years of 4 shards read, labelled once with oracles, a basis for the year with patches, derived
#: twice; answers.
STEPS = ["plan"] + ["grid"] * 4 + ["ingest"] * 8 + ["label"] * 4 + ["oracles", "bases"] + ["derive"] * 8
STEPS += ["check_tables", "evaluate", "check_evidence", "publish"]
IN_PROGRESS = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])


def start_run(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "orchestration.cli", "run", "--config", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c)


def _heed_ctrl_c() -> None:
    """Undo what a job in the background inherits: its shell makes it ignore SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop_in_the_middle(config: Path, number: signal.Signals, after: int) -> subprocess.CompletedProcess[str]:
    """Start a run, wait for so many stored files and then for an unfinished one, and send a signal."""
    warehouse = config.parent / "warehouse"
    with clean_environment():
        process = start_run(config)
    try:
        wait_until(lambda: len(stored_files(warehouse)) >= after, process, f"file {after}")
        wait_until(lambda: bool(hidden_files(warehouse)), process, f"an unfinished file after {after}")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_until(is_reached: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
    deadline = time.monotonic() + 120
    while not is_reached():
        assert process.poll() is None, f"the run ended before {what}: {process.communicate()}"
        assert time.monotonic() < deadline, f"no {what} within 120 s"
        time.sleep(0.001)


def unfinished_runs(config: Path) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(config.parent / "dagster")) as instance:
        return list(instance.get_runs(IN_PROGRESS))


def test_all_steps_run_in_order_and_succeed(tiny_run: TinyRun) -> None:
    assert [(o.step, o.problems) for o in tiny_run.outcomes if not o.ok] == []
    assert [o.step.partition("[")[0] for o in tiny_run.outcomes] == STEPS


def test_every_run_is_in_the_history(tiny_run: TinyRun) -> None:
    with dg.DagsterInstance.from_config(str(tiny_run.config.parent / "dagster")) as instance:
        runs = instance.get_runs()
    assert len(runs) == len(STEPS)
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}


def test_run_killed_at_a_random_moment_and_restarted_gives_the_rows_of_an_undisturbed_one(
    tiny_world: Path, tiny_run: TinyRun, tmp_path: Path
) -> None:
    config = write_settings(tmp_path / "tiny.toml", tiny_settings(tiny_world))
    warehouse = tmp_path / "warehouse"
    ended = stop_in_the_middle(config, signal.SIGKILL, random.SystemRandom().randint(1, 12))
    assert ended.returncode == -signal.SIGKILL
    stored = stored_files(warehouse)
    for name in stored:
        pq.ParquetFile(warehouse / name).read()  # whole files only
    with clean_environment():
        assert [o for o in run_pipeline(config) if not o.ok] == []
    assert len(stored_files(warehouse)) > len(stored)
    assert digest_rows(warehouse) == digest_rows(tiny_run.warehouse.root)
    assert hidden_files(warehouse) == []
    assert unfinished_runs(config) == []  # the UI would queue every click behind one


def test_interrupted_run_says_how_to_go_on_and_the_same_command_does(
    tiny_world: Path, quick_run: Path, tmp_path: Path
) -> None:
    config = write_settings(tmp_path / "quick.toml", quick_settings(tiny_world))
    ended = stop_in_the_middle(config, signal.SIGINT, after=4)
    assert ended.returncode == 130
    assert documented("Ctrl-C").is_kept_by(ended.stderr)
    whole = {name: rows for name, rows in digest_rows(tmp_path / "warehouse").items() if not name.startswith("raw_")}
    assert whole.items() <= digest_rows(quick_run.parent / "warehouse").items()
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    assert unfinished_runs(config) == []
    assert len(stored_files(tmp_path / "warehouse")) < len(stored_files(quick_run.parent / "warehouse"))
    with clean_environment():
        assert [o for o in run_pipeline(config) if not o.ok] == []
    assert digest_rows(tmp_path / "warehouse") == digest_rows(quick_run.parent / "warehouse")
    assert hidden_files(tmp_path / "warehouse") == []


@pytest.mark.usefixtures("clean_env")
def test_crash_over_a_finished_run_keeps_the_old_partitions_and_a_re_run_gives_the_same_rows(
    quick_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(quick_run.parent, tmp_path / "again")  # outputs are named relative to the settings file
    config, warehouse = tmp_path / "again" / quick_run.name, tmp_path / "again/warehouse"
    before = digest_rows(warehouse)
    write, left = PartitionWriter.write, 9

    def write_until_the_disk_is_full(writer: PartitionWriter, table: object) -> None:
        nonlocal left
        write(writer, table)  # type: ignore[arg-type]  # handed through
        left -= 1
        if left == 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(PartitionWriter, "write", write_until_the_disk_is_full)
    outcomes = run_pipeline(config, force=True)
    assert [o.problems for o in outcomes if o.problems] == [("[Errno 28] No space left on device",)]
    assert hidden_files(warehouse) == []
    assert digest_rows(warehouse) == before  # new rows are the old ones, and the broken partition is the old one
    assert [o for o in run_pipeline(config, force=True) if not o.ok] == []
    assert digest_rows(warehouse) == before


# -- never redo ----------------------------------------------------------------------------------------------


def file_times(warehouse: Path) -> dict[str, int]:
    return {name: (warehouse / name).stat().st_mtime_ns for name in stored_files(warehouse)}


@pytest.mark.usefixtures("clean_env")
def test_a_second_run_looks_and_checks_and_writes_nothing_but_the_plan(tiny_run: TinyRun, tmp_path: Path) -> None:
    shutil.copy(tiny_run.config, tmp_path)
    shutil.copytree(tiny_run.warehouse.root, tmp_path / "warehouse")
    before = file_times(tmp_path / "warehouse")
    outcomes = run_pipeline(tmp_path / tiny_run.config.name)
    assert [o for o in outcomes if not o.ok] == []
    assert [o.step for o in outcomes if not o.done_before] == [
        "plan[all]", "check_tables[all]", "check_evidence[all]", "publish[all]"
    ]  # fmt: skip
    after = file_times(tmp_path / "warehouse")
    planned = {"raw_aef__index", "raw_eg__index", "core_grid__shards"}
    assert {name.partition("/")[0] for name in after if after[name] != before.get(name)} == planned
    assert digest_rows(tmp_path / "warehouse") == digest_rows(tiny_run.warehouse.root)


@pytest.mark.usefixtures("clean_env")
def test_force_writes_everything_again_with_the_same_rows(quick_run: Path, tmp_path: Path) -> None:
    shutil.copytree(quick_run.parent, tmp_path / "again")
    warehouse = tmp_path / "again/warehouse"
    before, rows = file_times(warehouse), digest_rows(warehouse)
    outcomes = run_pipeline(tmp_path / "again" / quick_run.name, force=True)
    assert not any(o.done_before or not o.ok for o in outcomes)
    assert not {name for name, time in file_times(warehouse).items() if time == before[name]}
    assert digest_rows(warehouse) == rows


@pytest.mark.usefixtures("clean_env")
def test_a_reissued_file_redoes_its_shards_and_what_follows_and_says_why(
    tiny_world: Path, quick_run: Path, tmp_path: Path
) -> None:
    world = copy_world(tiny_world, tmp_path / "world")
    config = write_settings(tmp_path / "quick.toml", quick_settings(world))
    shutil.copytree(quick_run.parent / "warehouse", tmp_path / "warehouse")
    rows = digest_rows(tmp_path / "warehouse")
    assert all(o.done_before for o in run_pipeline(config) if "|" in o.step)  # hard links are the same files
    for path in (world / "aef/v1/annual/2024/47N").glob("*.tiff"):
        replace_file(path, path.read_bytes())
    steps: list[Step] = []
    outcomes = list(Pipeline(config).run(steps.append))
    redone = {str(o.step): set(o.step.tables) for o in outcomes if o.step.tables and not o.done_before}
    assert redone == {
        "ingest[2024|47PRQ]": {"core_aef__pixels"},
        "derive[2024|47PRQ]": {"out_patch__aef_pooled", "out_pixel__eg_upsampled"},
        "derive[2024|48PSV]": {"out_patch__aef_pooled"},  # its footprints reach over the zone's edge
    }
    why = {str(step): step.why for step in steps}
    assert why["ingest[2024|47PRQ]"] == ("source files were changed",)
    assert "what it is made from was changed" in why["derive[2024|47PRQ]"]
    assert digest_rows(tmp_path / "warehouse") == {**rows, **_indexes(tmp_path / "warehouse")}


@pytest.mark.usefixtures("clean_env")
def test_a_raised_schema_version_redoes_the_partitions_of_its_table_and_nothing_else(
    quick_run: Path, raise_schema_version: Callable[..., None], tmp_path: Path
) -> None:
    shutil.copytree(quick_run.parent, tmp_path / "again")
    config, warehouse = tmp_path / "again" / quick_run.name, tmp_path / "again/warehouse"
    before, rows = file_times(warehouse), digest_rows(warehouse)
    raise_schema_version("core_grid__patches")
    steps: list[Step] = []
    outcomes = list(Pipeline(config).run(steps.append))
    redone = {str(o.step): o.step.tables for o in outcomes if o.step.tables and not o.done_before}
    assert redone == {f"grid[{shard}]": ("core_grid__patches",) for shard in ("47PRQ", "48PSV")}
    assert {step.why for step in steps if step.tables} == {("the form that it is stored in was changed",)}
    written = {name.partition("/")[0] for name, time in file_times(warehouse).items() if time != before[name]}
    assert written == {"core_grid__patches", "raw_aef__index", "raw_eg__index", "core_grid__shards"}
    assert digest_rows(warehouse) == rows
    assert all(o.done_before for o in run_pipeline(config) if o.step.startswith("grid"))


def _indexes(warehouse: Path) -> dict[str, str]:
    """Give the digests of the indexes: they hold the new version of the file."""
    return {name: digest for name, digest in digest_rows(warehouse).items() if name.startswith("raw_")}


# -- two runs at once ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("clean_env")
def test_a_second_run_of_a_warehouse_is_refused_before_it_writes(quick_run: Path, tmp_path: Path) -> None:
    shutil.copytree(quick_run.parent, tmp_path / "again")
    before = file_times(tmp_path / "again/warehouse")
    with (
        hold_warehouse(tmp_path / "again/warehouse"),
        pytest.raises(WarehouseBusyError, match=f"process {os.getpid()}"),
    ):
        run_pipeline(tmp_path / "again" / quick_run.name)
    assert file_times(tmp_path / "again/warehouse") == before


@pytest.mark.usefixtures("clean_env")
def test_what_a_killed_run_left_is_removed_at_the_next_start(quick_run: Path, tmp_path: Path) -> None:
    shutil.copytree(quick_run.parent, tmp_path / "again")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f"again/warehouse/core_eg__patches/.part.parquet.{ended.pid}.tmp"
    left.touch()
    assert [o for o in run_pipeline(tmp_path / "again" / quick_run.name) if not o.ok] == []
    assert not left.exists()
