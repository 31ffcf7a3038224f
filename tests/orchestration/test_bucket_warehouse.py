"""A whole run whose tables are in a bucket, through the command line, against the same run in a folder."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestration.engines import EngineError, EngineResource
from tests.bucket import Bucket
from tests.conftest import TinyRun
from tests.orchestration import engine_bodies as bodies
from tests.orchestration.dask_cluster import DaskProcesses
from tests.tiny import (
    PROJECT,
    clean_environment,
    digest_rows,
    quick_settings,
    run_pipeline,
    tiny_settings,
    write_settings,
)
from warehouse.run_holder import LOCK_FILE, Holder
from warehouse.run_lease import Lease
from warehouse.run_lock import hold_warehouse
from warehouse.settings import load_settings
from warehouse.store import Warehouse

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(bucket: Bucket, tiny_world: Path, tmp_path: Path) -> Path:
    """Settings of the tiny world with tables in the bucket."""
    settings = tiny_settings(tiny_world)
    settings["warehouse"] = {**bucket.section(tmp_path.name), "scratch": "scratch"}
    settings["cache"] = {"root": str(tmp_path / "cache")}
    return write_settings(tmp_path / "tiny.toml", settings)


def test_a_run_into_a_bucket_stores_the_rows_of_a_run_into_a_folder(
    bucket: Bucket, config: Path, call: Call, tiny_run: TinyRun, tmp_path: Path
) -> None:
    code, said, problems = call("run", "--config", config)
    assert code == 0, problems
    url = f"s3://{bucket.name}/{tmp_path.name}"
    assert f"warehouse  {url}" in said
    assert f"report     {url}/report.html" in said
    stored = bucket.download(tmp_path.name, tmp_path / "copy")
    assert digest_rows(stored) == digest_rows(tiny_run.warehouse.root)
    assert {"report.html", "warehouse.duckdb"} <= {path.name for path in stored.iterdir()}
    assert not (tmp_path / "s3:").exists()
    assert list((tmp_path / "scratch").iterdir()) == []

    code, said, problems = call("run", "--config", config)
    assert code == 0, problems
    assert "done before" in said + problems

    code, said, _ = call("status", "--config", config, "--json")
    assert code == 0
    counts = json.loads(said)
    assert sum(row["current"] for row in counts) > 0
    assert not any(row[state] for row in counts for state in ("stale", "missing", "failed", "left_over"))

    query = "select count(*) as n, min(patch_id) as first, max(patch_id) as last from core_eg__patches"
    code, said, _ = call("sql", query, "--config", config, "--json")
    assert json.loads(said) == tiny_run.sql(query).to_pylist()

    code, said, problems = call("doctor", "--config", config)
    assert code == 0, said + problems
    assert url in said + problems


def test_a_bucket_without_a_warehouse_is_said(bucket: Bucket, config: Path, call: Call, tmp_path: Path) -> None:
    code, _, problems = call("sql", "select 1", "--config", config)
    assert code != 0
    assert f"s3://{bucket.name}/{tmp_path.name}: found no warehouse" in problems.replace("\n", " ").replace("  ", " ")


def test_a_year_that_is_dropped_leaves_the_bucket(bucket: Bucket, tiny_world: Path, call: Call, tmp_path: Path) -> None:
    settings = quick_settings(tiny_world) | {"warehouse": bucket.section(tmp_path.name)}
    config = write_settings(tmp_path / "quick.toml", settings)
    assert [one for one in run_pipeline(config) if not one.ok] == []
    before = bucket.keys(tmp_path.name)
    settings["area"]["bbox"] = [101.99, 12.65, 101.995, 12.66]  # the western zone only
    write_settings(config, settings)
    assert [one for one in run_pipeline(config) if not one.ok] == []
    code, said, problems = call("drop", "--config", config, "--yes")
    assert code == 0, said + problems
    gone = set(before) - set(bucket.keys(tmp_path.name))
    assert gone
    assert all("shard=48" in key for key in gone)


def test_a_run_that_is_killed_is_finished_by_the_next(
    bucket: Bucket, tiny_world: Path, quick_run: Path, tmp_path: Path
) -> None:
    settings = quick_settings(tiny_world) | {"warehouse": {**bucket.section(tmp_path.name), "scratch": "scratch"}}
    config = write_settings(tmp_path / "quick.toml", settings)
    command = [sys.executable, "-W", "ignore", "-m", "orchestration.cli", "run", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    moments, n_stored, killed = random.Random(0), [], 0
    for _ in range(3):
        run = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until = len(bucket.keys(tmp_path.name)) + moments.randint(1, 3)
        while run.poll() is None and len(bucket.keys(tmp_path.name)) < until:
            time.sleep(moments.uniform(0.0, 0.1))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        killed += run.returncode == -signal.SIGKILL
        n_stored.append(len(bucket.keys(tmp_path.name)))
    assert [one for one in run_pipeline(config) if not one.ok] == []
    stored = bucket.download(tmp_path.name, tmp_path / "copy")
    assert digest_rows(stored) == digest_rows(quick_run.parent / "warehouse")
    assert list((tmp_path / "scratch").glob(".*.tmp")) == []
    assert killed >= 2
    assert n_stored[0] > 0


@pytest.fixture
def cluster(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """Two Dask workers with credentials for the bucket."""
    started = DaskProcesses(tmp_path_factory.mktemp("dask"))
    try:
        started.have_workers(2)
        yield started
    finally:
        started.end()


def test_workers_of_a_cluster_write_into_the_bucket_under_the_lease_of_their_sender(
    bucket: Bucket, tiny_world: Path, quick_run: Path, cluster: DaskProcesses, tmp_path: Path
) -> None:
    settings = quick_settings(tiny_world) | {"warehouse": bucket.section(tmp_path.name)}
    config = write_settings(
        tmp_path / "quick.toml", settings | {"engine": {"kind": "dask", "address": cluster.address}}
    )
    with clean_environment():
        assert [one for one in run_pipeline(config) if not one.ok] == []
    stored = bucket.download(tmp_path.name, tmp_path / "copy")
    assert digest_rows(stored) == digest_rows(quick_run.parent / "warehouse")

    warehouse = Warehouse(load_settings(config))
    engine, place = EngineResource(address=cluster.address), f"{tmp_path.name}/{LOCK_FILE}"
    with hold_warehouse(warehouse.root):
        assert engine.run(bodies.give_pid, warehouse) in cluster.pids()
        theirs = Lease("theirs", 0, 500.0, Holder(1, "elsewhere", "2026-01-01T00:00:00+00:00", "isthmus run", "x"))
        bucket.put(place, theirs.encode())
        with pytest.raises(EngineError, match="no lease of the sender"):
            engine.run(bodies.give_pid, warehouse)
