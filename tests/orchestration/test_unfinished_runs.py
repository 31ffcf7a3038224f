"""Unfinished runs in a history: those of dead processes of this machine are closed, all others left alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import dagster as dg

from orchestration.pipeline import close_orphaned_runs
from orchestration.pipeline_job import HOST_TAG, tag_process

STARTED = dg.DagsterRunStatus.STARTED


def find_dead_process() -> int:
    """Give the number of a process that has just ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_runs_of_dead_processes_of_this_machine_are_closed_and_no_others() -> None:
    @dg.job
    def any_job() -> None:
        pass

    dead = find_dead_process()
    owners = {
        "dead": tag_process(dead),
        "living": tag_process(os.getpid()),
        "elsewhere": tag_process(dead) | {HOST_TAG: f"not-{socket.gethostname()}"},
        "not ours": {},
    }
    with dg.DagsterInstance.ephemeral() as instance:
        runs = {
            name: instance.create_run_for_job(any_job, status=STARTED, tags=tags).run_id
            for name, tags in owners.items()
        }
        close_orphaned_runs(instance)
        after = {name: instance.get_run_by_id(run_id) for name, run_id in runs.items()}
    states = {name: run.status for name, run in after.items() if run is not None}
    assert states.pop("dead") == dg.DagsterRunStatus.CANCELED
    assert states == dict.fromkeys(("living", "elsewhere", "not ours"), STARTED)
