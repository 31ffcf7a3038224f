"""Engines: where bodies are computed, what comes back, and what happens when a worker dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration import dask_engine
from orchestration.engines import EngineError, EngineResource, MissingDaskError, build_engine
from tests.orchestration import engine_bodies as bodies
from tests.orchestration.dask_cluster import DaskProcesses, wait_until
from tests.tiny import (
    PROJECT,
    clean_environment,
    digest_rows,
    hidden_files,
    quick_settings,
    run_pipeline,
    write_settings,
)
from warehouse.engine_settings import EngineSettings
from warehouse.errors import SourceFormatError
from warehouse.settings import load_settings
from warehouse.store import Warehouse
from warehouse.unfinished import sweep_unfinished

NOBODY = "tcp://127.0.0.1:9"


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    started = DaskProcesses(tmp_path_factory.mktemp("dask"))
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def cluster(processes: DaskProcesses) -> DaskProcesses:
    """A cluster with two workers, whatever the test before did to it."""
    processes.have_workers(2)
    return processes


@pytest.fixture
def warehouse(tiny_config: Path) -> Warehouse:
    found = Warehouse(load_settings(tiny_config))
    found.root.mkdir()
    return found


def engine_of(cluster: DaskProcesses) -> EngineResource:
    return EngineResource(address=cluster.address)


def wait_for_try(folder: Path) -> int:
    """Wait until a worker has begun `hang_the_first_time`; give its process."""
    tried = folder / "try-0"
    wait_until(lambda: tried.exists() and tried.read_text() != "", "a body under way")
    return int(tried.read_text())


def test_without_an_address_this_process_computes(warehouse: Warehouse) -> None:
    engine = build_engine(EngineSettings())
    assert engine.run(bodies.give_pid, warehouse) == os.getpid()
    said: list[str] = []
    assert engine.run(bodies.count_to_three, warehouse, report=said.append) == 3
    assert said == ["one", "two", "three"]
    assert engine.count_threads() == 1


def test_a_scheduler_without_workers_is_not_waited_for_for_ever(processes: DaskProcesses, warehouse: Warehouse) -> None:
    engine = EngineResource(address=processes.address, wait_s=1)
    for ask in (lambda: engine.run(bodies.give_pid, warehouse), engine.count_threads):
        with pytest.raises(EngineError, match=r"found no worker for 1 s.*dask worker"):
            ask()


def test_a_worker_computes_and_its_answer_comes_back(cluster: DaskProcesses, warehouse: Warehouse) -> None:
    engine = build_engine(EngineSettings(kind="dask", address=cluster.address))
    assert engine.run(bodies.give_pid, warehouse) in cluster.pids()
    assert engine.run(bodies.give_name, warehouse, "the ") == "the tiny"
    assert engine.count_threads() == 2
    assert hidden_files(warehouse.root) == []


def test_what_a_body_says_on_a_worker_is_heard_here_in_order(cluster: DaskProcesses, warehouse: Warehouse) -> None:
    said: list[str] = []
    assert engine_of(cluster).run(bodies.count_to_three, warehouse, report=said.append) == 3
    assert said == ["one", "two", "three"]


def test_an_error_of_a_body_comes_back_as_what_it_is(cluster: DaskProcesses, warehouse: Warehouse) -> None:
    with pytest.raises(SourceFormatError, match=r"a\.tif: bands: found 3, expected 64"):
        engine_of(cluster).run(bodies.read_bad_file, warehouse)


def test_a_body_whose_worker_is_killed_is_computed_by_another(
    cluster: DaskProcesses, warehouse: Warehouse, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_at_the_first_try() -> None:
        wait_for_try(tmp_path)  # a worker that still imports has the body, but has not begun it
        killed.append(cluster.kill_a_worker_at("hang_the_first_time"))

    killer = threading.Thread(target=kill_at_the_first_try)
    killer.start()
    tries = engine_of(cluster).run(bodies.hang_the_first_time, warehouse, tmp_path)
    killer.join()
    assert tries == [*killed, *cluster.pids()]


def test_a_body_that_ends_worker_after_worker_fails_and_says_why(cluster: DaskProcesses, warehouse: Warehouse) -> None:
    with pytest.raises(EngineError, match=r"end_the_worker.* ended worker after worker.*memory"):
        engine_of(cluster).run(bodies.end_the_worker, warehouse)


def test_nobody_at_the_address_is_said(warehouse: Warehouse) -> None:
    with pytest.raises(EngineError, match=r"tcp://127\.0\.0\.1:9: found no scheduler.*dask scheduler"):
        EngineResource(address=NOBODY, wait_s=0.5).run(bodies.give_pid, warehouse)


def test_workers_with_other_code_are_refused(
    cluster: DaskProcesses, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_engine, "code_version", lambda: "9.9.9")
    with pytest.raises(EngineError, match=r"expected that of the sender, 9\.9\.9"):
        engine_of(cluster).run(bodies.give_pid, warehouse)


def test_workers_that_see_another_folder_are_refused(
    cluster: DaskProcesses, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def mark_elsewhere(root: Path) -> Iterator[Path]:
        yield root / "mark"

    monkeypatch.setattr(dask_engine, "_mark_folder", mark_elsewhere)
    with pytest.raises(EngineError, match=r"Mount the warehouse there under the same path"):
        engine_of(cluster).run(bodies.give_pid, warehouse)


CLIENT = """
import sys
from pathlib import Path
from orchestration.engines import EngineResource
from tests.orchestration import engine_bodies as bodies
from warehouse.settings import load_settings
from warehouse.store import Warehouse
address, config, folder = sys.argv[1:]
warehouse = Warehouse(load_settings(Path(config)))
EngineResource(address=address).run(bodies.hang_the_first_time, warehouse, Path(folder))
"""


def test_the_mark_of_a_killed_run_is_swept_and_that_of_a_living_one_stays(
    cluster: DaskProcesses, warehouse: Warehouse, tiny_config: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", CLIENT, cluster.address, str(tiny_config), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=PROJECT, env=environment) as client:
        try:
            worker = wait_for_try(tmp_path)
            marks = hidden_files(warehouse.root)
            assert len(marks) == 1
            assert sweep_unfinished(warehouse.root) == []  # its process lives
        finally:
            client.kill()
    cluster.kill(worker)  # the body goes on where it is, for nobody
    assert hidden_files(warehouse.root) == marks
    assert sweep_unfinished(warehouse.root) == [warehouse.root / marks[0]]  # as each run does first
    assert hidden_files(warehouse.root) == []


def test_without_the_package_the_message_names_the_extra(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(_name: str) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr(dask_engine.importlib, "import_module", lack)
    with pytest.raises(MissingDaskError, match=r"isthmus\[dask\]"):
        EngineResource(address=NOBODY).run(bodies.give_pid, warehouse)


def test_a_run_on_two_workers_one_of_which_is_killed_gives_the_rows_of_a_run_in_one_process(
    cluster: DaskProcesses, tiny_world: Path, quick_run: Path, tmp_path: Path
) -> None:
    settings = quick_settings(tiny_world) | {"engine": {"kind": "dask", "address": cluster.address}}
    config = write_settings(tmp_path / "quick.toml", settings)
    killer = threading.Thread(target=lambda: cluster.kill_a_worker_at("ingest_pixels"))
    killer.start()
    with clean_environment():
        assert [outcome for outcome in run_pipeline(config) if not outcome.ok] == []
    killer.join()
    assert len(cluster.pids()) == 1
    assert digest_rows(tmp_path / "warehouse") == digest_rows(quick_run.parent / "warehouse")
