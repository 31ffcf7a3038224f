"""Killed, interrupted and repeated runs end with the rows of an undisturbed one, and never show half a file."""

from __future__ import annotations

import contextlib
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

from orchestration.cli import main
from orchestration.pipeline import Pipeline
from tests.conftest import TinyRun
from tests.tiny import clean_environment, digest_rows, hidden_files, run_pipeline, stored_files
from tests.tiny import tiny_settings, without_evidence, write_settings
from warehouse.writer import PartitionWriter

#: Steps before evaluation can start: plan, 4 shards, 2 years of 4 shards read, labelled once and derived twice.
STEPS = ["plan"] + ["grid"] * 4 + ["ingest"] * 8 + ["label"] * 4 + ["derive"] * 8
STEPS += ["check_tables", "evaluate", "check_evidence", "publish"]


def start_run(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "orchestration.cli", "run", "--config", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(is_reached: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
    deadline = time.monotonic() + 60
    while not is_reached():
        assert process.poll() is None, f"the run ended before {what}: {process.communicate()}"
        assert time.monotonic() < deadline, f"no {what} within 60 s"
        time.sleep(0.002)


def test_all_steps_run_in_order_and_succeed(tiny_run: TinyRun) -> None:
    assert [(o.step, o.problems) for o in tiny_run.outcomes if not o.ok] == []
    assert [o.step.partition("[")[0] for o in tiny_run.outcomes] == STEPS


def test_every_run_is_in_the_history(tiny_run: TinyRun) -> None:
    with dg.DagsterInstance.from_config(str(tiny_run.config.parent / "dagster")) as instance:
        runs = instance.get_runs()
    assert len(runs) == len(STEPS)
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}


@pytest.fixture(scope="module")
def killed(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a run that SIGKILL ended in the middle of writing a partition, at a random one."""
    config = write_settings(tmp_path_factory.mktemp("killed") / "tiny.toml", tiny_settings(tiny_world))
    warehouse = config.parent / "warehouse"
    after = random.SystemRandom().randint(1, 12)
    with clean_environment():
        process = start_run(config)
        try:
            wait_until(lambda: len(stored_files(warehouse)) >= after, process, f"file {after}")
            wait_until(lambda: bool(hidden_files(warehouse)), process, f"an unfinished file after {after}")
        finally:
            process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return config


@pytest.fixture(scope="module")
def restarted(killed: Path) -> Path:
    """The same settings, run again to the end."""
    stored = stored_files(killed.parent / "warehouse")
    for name in stored:
        pq.ParquetFile(killed.parent / "warehouse" / name).read()  # whole files only
    with clean_environment():
        outcomes = run_pipeline(killed)
    assert [o for o in outcomes if not o.ok] == []
    return killed


def test_killed_run_restarted_gives_the_rows_of_an_undisturbed_one(restarted: Path, tiny_run: TinyRun) -> None:
    assert digest_rows(restarted.parent / "warehouse") == digest_rows(tiny_run.warehouse.root)


@pytest.mark.xfail(strict=True, reason="a SIGKILL leaves .part.parquet.<pid>.tmp behind for ever: nobody sweeps them")
def test_restart_sweeps_what_the_killed_run_left(restarted: Path) -> None:
    assert hidden_files(restarted.parent / "warehouse") == []


@pytest.mark.xfail(
    strict=True,
    reason="the killed run stays STARTED; with max_concurrent_runs = 1 the UI then queues every click for ever",
)
def test_restart_ends_the_killed_run_in_the_history(restarted: Path) -> None:
    with dg.DagsterInstance.from_config(str(restarted.parent / "dagster")) as instance:
        in_progress = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    assert in_progress == []


class CrashingWriter:
    """Lets some writes of partitions pass, then raises in the middle of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int) -> None:
        self._write = PartitionWriter.write
        self._error = error
        self._left = after
        monkeypatch.setattr(PartitionWriter, "write", lambda writer, table: self(writer, table))

    def __call__(self, writer: PartitionWriter, table: object) -> None:
        self._write(writer, table)  # type: ignore[arg-type]  # handed through
        self._left -= 1
        if self._left == 0:
            raise self._error


def write_quick_settings(folder: Path, world: Path) -> Path:
    """Ingest and derive only, in two of the four squares."""
    settings = without_evidence(tiny_settings(world)) | {"years": [2024]}
    settings["area"]["bbox"] = [101.99, 12.65, 102.01, 12.66]
    return write_settings(folder / "quick.toml", settings)


@pytest.fixture
def quick_config(tiny_world: Path, tmp_path: Path) -> Path:
    return write_quick_settings(tmp_path, tiny_world)


@pytest.mark.usefixtures("clean_env")
@pytest.mark.xfail(
    strict=True,
    reason="Dagster turns the interrupt into a failed step (raise_on_error=False), so the pipeline goes on",
)
def test_keyboard_interrupt_ends_the_run(quick_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CrashingWriter(monkeypatch, KeyboardInterrupt(), after=4)
    started: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        list(Pipeline(quick_config).run(lambda step: started.append(str(step))))
    assert started[-1].startswith("grid[")


@pytest.mark.usefixtures("clean_env")
@pytest.mark.xfail(strict=True, reason="typer handles KeyboardInterrupt itself: exit 130, but main's words never appear")
def test_interrupt_says_that_the_same_command_goes_on(
    quick_config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestration.cli._run_pipeline", interrupt)
    monkeypatch.setattr(sys, "argv", ["isthmus", "run", "--config", str(quick_config)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert "run the same command to go on" in capsys.readouterr().err


@pytest.fixture(scope="module")
def quick_run(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick settings, run once without disturbance."""
    config = write_quick_settings(tmp_path_factory.mktemp("quick"), tiny_world)
    with clean_environment():
        assert [o for o in run_pipeline(config) if not o.ok] == []
    return config


@pytest.mark.usefixtures("clean_env")
def test_interrupted_run_leaves_whole_files_and_can_be_repeated(quick_run: Path, quick_config: Path) -> None:
    warehouse = quick_config.parent / "warehouse"
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        CrashingWriter(patch, KeyboardInterrupt(), after=8)
        list(Pipeline(quick_config).run(lambda _step: None))
    broken = stored_files(warehouse)
    assert broken
    assert hidden_files(warehouse) == []
    for name in broken:
        pq.ParquetFile(warehouse / name).read()
    assert [o for o in run_pipeline(quick_config) if not o.ok] == []
    assert len(stored_files(warehouse)) > len(broken)
    assert digest_rows(warehouse) == digest_rows(quick_run.parent / "warehouse")


@pytest.mark.usefixtures("clean_env")
def test_crash_over_a_finished_run_keeps_the_old_partitions(quick_run: Path, tmp_path: Path) -> None:
    shutil.copytree(quick_run.parent, tmp_path / "again")  # outputs are named relative to the settings file
    config, warehouse = tmp_path / "again" / quick_run.name, tmp_path / "again/warehouse"
    before = digest_rows(warehouse)
    with pytest.MonkeyPatch.context() as patch:
        CrashingWriter(patch, OSError(28, "No space left on device"), after=9)
        outcomes = run_pipeline(config)
    assert [o.problems for o in outcomes if o.problems] == [("[Errno 28] No space left on device",)]
    assert hidden_files(warehouse) == []
    assert digest_rows(warehouse) == before
    assert [o for o in run_pipeline(config) if not o.ok] == []
    assert digest_rows(warehouse) == before
