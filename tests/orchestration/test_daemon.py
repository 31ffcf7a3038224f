"""Once through a running daemon: a year is published, found, run, killed, run again; a broken file is heard of."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import pytest

from orchestration.definitions import CONFIG_VARIABLE
from orchestration.killed_runs import PID_TAG, RUN_KEY_TAG
from orchestration.pipeline import open_instance
from orchestration.pipeline_job import PIPELINE_JOB
from orchestration.sensors import YEARS_TAG
from tests.release_worlds import Producers
from tests.tiny import PROJECT, quick_settings, write_settings
from warehouse.settings import load_settings
from warehouse.store import Warehouse

pytestmark = pytest.mark.usefixtures("clean_env")
#: Far more than it takes, for machines that do other things meanwhile.
PATIENCE_S = 240


@contextmanager
def running_daemon(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run Dagster's daemon on a settings file; nothing of it is left at the end."""
    environment = os.environ | {CONFIG_VARIABLE: str(config), "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", "orchestration.definitions"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=30)
        for one in alive:
            one.kill()
        psutil.wait_procs(alive, timeout=10)
        assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def wait_for(is_reached: Callable[[], object], what: str, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert daemon.poll() is None, f"the daemon ended before {what}:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < deadline, f"no {what} within {PATIENCE_S} s:\n{log.read_text()[-3000:]}"
        time.sleep(0.5)


def count_ticks(instance: dg.DagsterInstance, sensor: str) -> int:
    states = {state.instigator_name: state for state in instance.all_instigator_state()}
    if sensor not in states:
        return 0
    state = states[sensor]
    return len(instance.get_ticks(state.instigator_origin_id, state.selector_id))


def test_a_new_year_a_kill_and_a_broken_file_through_a_daemon(
    quick_run: Path, tiny_world: Path, tmp_path: Path
) -> None:
    producers = Producers(tiny_world, tmp_path / "world")
    heard, log = tmp_path / "alerts.json", tmp_path / "daemon.log"
    settings = quick_settings(producers.root) | {
        "automation": {"watch": True, "follow": True, "look_every_s": 1},
        "alerts": {"command": ["sh", "-c", f"cat > {heard}"]},
    }
    config = write_settings(tmp_path / "quick.toml", settings)
    shutil.copytree(quick_run.parent / "warehouse", tmp_path / "warehouse")  # the year of the settings is stored
    producers.publish_aef(2025)
    warehouse = Warehouse(load_settings(config))
    with open_instance(warehouse, config) as instance, running_daemon(config, log) as daemon:

        def runs(*states: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
            return list(instance.get_runs(dg.RunsFilter(job_name=PIPELINE_JOB, statuses=list(states))))

        wait_for(lambda: any(PID_TAG in run.tags for run in runs(dg.DagsterRunStatus.STARTED)), "run", daemon, log)
        os.kill(int(runs()[0].tags[PID_TAG]), signal.SIGKILL)
        wait_for(lambda: runs(dg.DagsterRunStatus.SUCCESS), "finished run", daemon, log)
        run, killed = runs()
        assert (run.tags[YEARS_TAG], run.tags[RUN_KEY_TAG]) == ("2025", f"{killed.tags[RUN_KEY_TAG]}+")
        assert "2025" in instance.get_dynamic_partitions("year")
        warehouse = Warehouse(load_settings(config))
        assert {key.year for key in warehouse.partitions("core_aef__pixels")} == {2024, 2025}
        assert {key.year for key in warehouse.partitions("core_eg__patches")} == {2024}
        ticks = count_ticks(instance, "watch_aef")
        wait_for(lambda: count_ticks(instance, "watch_aef") > ticks + 1, "two more ticks", daemon, log)
        assert len(runs()) == 2

        bad = producers.eg_file("48PSV", 2024)
        bad.unlink()
        bad.write_bytes(b"PAR1 but not for long")
        # Dagster's server may call the killed run failed before the sensor closes it: then that is heard of too
        wait_for(lambda: heard.is_file() and b'"job": "ingest"' in heard.read_bytes(), "alert", daemon, log)
        assert runs()[0].status == dg.DagsterRunStatus.FAILURE
    alert = json.loads(heard.read_text())
    assert (alert["job"], alert["partition"].partition("|")[0]) == ("ingest", "2024")
    assert "48PSV_2024-01-01_2025-01-01.parquet" in alert["message"]
    assert "Download it again" in alert["fix"]
