"""Runs whose process was killed are closed, and asked for again where a sensor had asked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import dagster as dg
import psutil
import pytest

from orchestration.killed_runs import HOST_TAG, KILLED_TAG, PID_TAG, close_killed_runs, find_last_killed, tag_process
from orchestration.sensors import WHY_TAG, ask_again, build_closing_sensor

SENSOR = {"dagster/sensor_name": "watch_eg", "dagster/run_key": "eg:1:abc", WHY_TAG: "2024 is complete"}


@dg.job
def pipeline() -> None:
    """Nothing."""


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture(scope="module")
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def start(instance: dg.DagsterInstance, pid: int, host: str = "", **tags: str) -> str:
    """Leave a run behind that looks as if a process were running it."""
    run = instance.create_run_for_job(
        pipeline,
        status=dg.DagsterRunStatus.STARTED,
        tags={PID_TAG: str(pid), HOST_TAG: host or socket.gethostname(), **SENSOR, **tags},
        run_config={"ops": {}},
    )
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_is_tagged_with_its_process_and_machine() -> None:
    assert tag_process(os.getpid()) == {PID_TAG: str(os.getpid()), HOST_TAG: socket.gethostname()}


def test_only_runs_of_dead_processes_of_this_machine_are_closed(instance: dg.DagsterInstance, dead_pid: int) -> None:
    dead, alive, elsewhere = start(instance, dead_pid), start(instance, os.getpid()), start(instance, dead_pid, "other")
    close_killed_runs(instance)
    assert status(instance, dead) == dg.DagsterRunStatus.CANCELED
    assert {status(instance, run) for run in (alive, elsewhere)} == {dg.DagsterRunStatus.STARTED}
    killed = instance.get_run_by_id(dead)
    assert killed is not None
    assert killed.tags[KILLED_TAG] == "true"


def test_a_process_that_nobody_has_waited_for_is_dead_too(instance: dg.DagsterInstance) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # ends when the process does
    run_id = start(instance, process.pid)
    while status(instance, run_id) == dg.DagsterRunStatus.STARTED:
        close_killed_runs(instance)
    assert process.wait() == 0


def test_a_killed_run_is_asked_for_again_with_what_it_had(instance: dg.DagsterInstance, dead_pid: int) -> None:
    start(instance, dead_pid)
    result = ask_again(instance, "watch_eg", "cursor")
    assert result is not None
    (request,) = result.run_requests or []
    assert (request.run_key, request.run_config, request.tags[WHY_TAG]) == (
        "eg:1:abc+",
        {"ops": {}},
        "2024 is complete",
    )
    assert result.cursor == "cursor"
    assert ask_again(instance, "watch_aef", None) is None


def test_a_run_that_the_server_found_dead_is_asked_for_again(instance: dg.DagsterInstance, dead_pid: int) -> None:
    run = instance.get_run_by_id(start(instance, dead_pid))
    assert run is not None
    instance.report_run_failed(run, "terminated by signal 9")
    result = ask_again(instance, "watch_eg", None)
    assert result is not None
    assert [request.run_key for request in result.run_requests or []] == ["eg:1:abc+"]


def test_a_run_whose_body_raised_is_not_asked_for_again(instance: dg.DagsterInstance) -> None:
    @dg.op
    def body() -> None:
        raise ValueError

    @dg.job
    def failing() -> None:
        body()

    result = failing.execute_in_process(instance=instance, raise_on_error=False, tags=SENSOR)
    assert not result.success
    assert ask_again(instance, "watch_eg", None) is None


def test_a_run_that_is_killed_again_and_again_waits_for_a_person(instance: dg.DagsterInstance, dead_pid: int) -> None:
    run_id = start(instance, dead_pid, **{"dagster/run_key": "eg:1:abc+++"})
    assert ask_again(instance, "watch_eg", None) is None
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE  # of which the sensor of failures sends an alert
    assert ask_again(instance, "watch_eg", None) is None


def test_the_sensor_closes_a_scheduled_run_that_was_killed_so_that_it_is_heard_of(
    instance: dg.DagsterInstance, dead_pid: int
) -> None:
    tags = {PID_TAG: str(dead_pid), HOST_TAG: socket.gethostname(), "dagster/schedule_name": "run_pipeline"}
    run = instance.create_run_for_job(pipeline, status=dg.DagsterRunStatus.STARTED, tags=tags)
    build_closing_sensor()(dg.build_sensor_context(instance=instance))
    assert status(instance, run.run_id) == dg.DagsterRunStatus.FAILURE
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert len(events) == 1


def test_a_killed_run_that_is_repeated_in_the_ui_is_not_closed_for_its_old_process(
    instance: dg.DagsterInstance, dead_pid: int
) -> None:
    killed = start(instance, dead_pid)
    close_killed_runs(instance)
    repeated = instance.create_run_for_job(
        pipeline,
        status=dg.DagsterRunStatus.STARTED,
        tags={PID_TAG: str(dead_pid), HOST_TAG: socket.gethostname()},  # of the run that is repeated
        parent_run_id=killed,
        root_run_id=killed,
    ).run_id
    close_killed_runs(instance)
    assert status(instance, repeated) == dg.DagsterRunStatus.STARTED
    instance.add_run_tags(repeated, {PID_TAG: str(dead_pid + 10_000_000)})  # its own, which has ended too
    close_killed_runs(instance)
    assert status(instance, repeated) == dg.DagsterRunStatus.CANCELED


def test_a_number_that_another_process_has_by_now_is_that_of_a_dead_one(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(instance, os.getpid())
    monkeypatch.setattr(psutil.Process, "create_time", lambda _self: time.time() + 60)  # after a reboot, say
    close_killed_runs(instance)
    assert status(instance, run_id) == dg.DagsterRunStatus.CANCELED


def test_runs_that_go_on_or_were_stopped_by_a_person_are_left_alone(instance: dg.DagsterInstance) -> None:
    run_id = start(instance, os.getpid())
    assert ask_again(instance, "watch_eg", None) is None
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_canceled(run)
    assert find_last_killed(instance, "watch_eg") is None
