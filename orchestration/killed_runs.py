"""Runs whose process was killed: Dagster would show them as going on for ever, and queue every other run behind them.

Belongs here: finding and closing them. Does not: running (`pipeline.py`, `pipeline_job.py`), asking again
(`sensors.py`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable

import dagster as dg
import psutil

#: Tags with the process that runs a job and its machine, to tell a run that goes on from one that was killed.
PID_TAG, HOST_TAG = "isthmus/pid", "isthmus/host"
#: Tag of a run that was closed because its process was killed.
KILLED_TAG = "isthmus/killed"
#: Dagster's tags with the sensor that asked for a run, and with the key of the request.
SENSOR_TAG, RUN_KEY_TAG = "dagster/sensor_name", "dagster/run_key"
_OPEN = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def tag_process(pid: int) -> dict[str, str]:
    """Give the tags of the runs of a process of this machine."""
    return {PID_TAG: str(pid), HOST_TAG: socket.gethostname()}


def close_killed_runs(instance: dg.DagsterInstance) -> None:
    """Close the runs whose process was killed; what goes on, and what runs elsewhere, is left alone."""
    _close(instance, list_killed_runs(instance))


def close_own_runs(instance: dg.DagsterInstance) -> None:
    """Close the runs of this process, which is being interrupted."""
    _close(instance, _list_open_runs(instance, lambda pid: pid == os.getpid()))


def list_killed_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """List the runs that never ended, because their process was killed."""
    return _list_open_runs(instance, _is_over)


def _list_open_runs(instance: dg.DagsterInstance, is_wanted: Callable[[int], bool]) -> list[dg.DagsterRun]:
    """List the unfinished runs of some of this machine's processes.

    A history in PostgreSQL is shared by several machines, and each has processes of the same numbers.
    """
    here = socket.gethostname()
    runs = instance.get_runs(dg.RunsFilter(statuses=_OPEN))
    mine = [run for run in runs if run.tags.get(HOST_TAG, here) == here and run.tags.get(PID_TAG, "").isdigit()]
    return [run for run in mine if is_wanted(int(run.tags[PID_TAG]))]


def _close(instance: dg.DagsterInstance, runs: Iterable[dg.DagsterRun]) -> None:
    for run in runs:
        instance.add_run_tags(run.run_id, {KILLED_TAG: "true"})
        instance.report_run_canceled(run, message="The process that ran this was interrupted.")


def _is_over(pid: int) -> bool:
    """Tell whether a process has ended, also one that its parent has not noticed yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def find_last_killed(instance: dg.DagsterInstance, sensor: str) -> dg.DagsterRun | None:
    """Give the last run that a sensor asked for, if it was killed."""
    runs = instance.get_runs(dg.RunsFilter(tags={SENSOR_TAG: sensor}), limit=1)
    return runs[0] if runs and _was_killed(instance, runs[0]) else None


def _was_killed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Tell whether a run was closed because its process was killed, be it by us or by Dagster's server, if that lives.

    The server marks such a run as failed; a body that raised leaves a failed step, a killed process none.
    """
    if run.status == dg.DagsterRunStatus.FAILURE:
        return not instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return run.status == dg.DagsterRunStatus.CANCELED and KILLED_TAG in run.tags
