"""What Dagster launches takes no lock of the warehouse: beside a command it leaves the rows of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import TinyRun
from tests.tiny import PROJECT, clean_environment, digest_rows, hidden_files
from warehouse.cell_seals import SEAL_TABLE

PATIENCE_S = 240
#: Runs jobs over all their partitions, again and again, as a backfill of the UI does: in a process of its own, on the
#: same instance, without a lock. It begins when told to, and ends at the first round after it is told to end.
BACKFILL = """
import sys
from pathlib import Path
from orchestration.definitions import build_defs
from orchestration.partitions import format_key
from orchestration.pipeline import open_instance
from tests.orchestration.test_runs_that_meet import wait_for
from warehouse.layout import PartitionKey
from warehouse.settings import load_settings
from warehouse.store import Warehouse
config, jobs = Path(sys.argv[1]), sys.argv[2].split(",")
folder, warehouse, defs = config.parent, Warehouse(load_settings(config)), build_defs(config)
instance = open_instance(warehouse, config)
keys = [PartitionKey(2024, shard.key) for shard in warehouse.shards()]
(folder / "ready").touch()
wait_for((folder / "go").exists, "word to go")
while True:
    for job in jobs:
        for key in [PartitionKey(2024)] if job == "evaluate" else keys:
            result = defs.resolve_job_def(job).execute_in_process(instance=instance, partition_key=format_key(key))
            assert result.success
            (folder / "rounds").open("a").write(f"{job}[{key}]\\n")
    if (folder / "end").exists():
        break
"""


def wait_for(is_reached: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert time.monotonic() < deadline, f"no {what} within {PATIENCE_S} s"
        time.sleep(0.05)


@contextmanager
def backfill(config: Path, jobs: str) -> Iterator[subprocess.Popen[str]]:
    """Start a backfill and wait until it could begin."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", BACKFILL, str(config), jobs]
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: (config.parent / "ready").exists() or process.poll() is not None, "backfill")
        yield process
    finally:
        process.kill()
        process.wait()


def run_beside(config: Path, jobs: str, *command: str) -> list[str]:
    """Run a command while a backfill runs; give the partitions that the backfill wrote meanwhile."""
    folder = config.parent
    with clean_environment(), backfill(config, jobs) as other:
        (folder / "go").touch()
        called = [sys.executable, "-W", "ignore", "-m", "orchestration.cli", *command, "--config", str(config)]
        done = subprocess.run(called, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        (folder / "end").touch()
        _, said = other.communicate(timeout=PATIENCE_S)
    assert (done.returncode, other.returncode) == (0, 0), done.stderr + said
    return (folder / "rounds").read_text().splitlines()


def test_a_backfill_beside_a_run_that_redoes_everything(quick_run: Path, tmp_path: Path) -> None:
    shutil.copytree(quick_run.parent, tmp_path / "again")
    config, warehouse = tmp_path / "again" / quick_run.name, tmp_path / "again/warehouse"
    written = run_beside(config, "ingest,derive", "run", "--force")
    assert {name.partition("[")[0] for name in written} == {"ingest", "derive"}
    assert digest_rows(warehouse) == digest_rows(quick_run.parent / "warehouse")
    assert hidden_files(warehouse) == []


def test_two_evaluations_of_one_year_leave_whole_cells(tiny_run: TinyRun, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.config.parent, tmp_path / "again")
    config, warehouse = tmp_path / "again" / tiny_run.config.name, tmp_path / "again/warehouse"
    for cell in warehouse.rglob("cell-*.parquet"):
        cell.unlink()
    assert run_beside(config, "evaluate", "evaluate") != []
    assert list((warehouse / SEAL_TABLE).rglob("cell-*.parquet")) != []
    assert digest_rows(warehouse) == digest_rows(tiny_run.warehouse.root)
    assert hidden_files(warehouse) == []
