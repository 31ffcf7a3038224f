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
#: Dagster's tags with the sensor or schedule that asked for a run, and with the key of the request.
SENSOR_TAG, SCHEDULE_TAG, RUN_KEY_TAG = "dagster/sensor_name", "dagster/schedule_name", "dagster/run_key"
#: A sensor asks so often again for a run that was killed, each time with this at the end of its key.
TRIES, AGAIN = 3, "+"
_OPEN = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def tag_process(pid: int) -> dict[str, str]:
    """Give the tags of the runs of a process of this machine."""
    return {PID_TAG: str(pid), HOST_TAG: socket.gethostname()}


def close_killed_runs(instance: dg.DagsterInstance) -> None:
    """Close the runs whose process was killed; what goes on, and what runs elsewhere, is left alone."""
    _close(instance, list_killed_runs(instance))


def close_own_runs(instance: dg.DagsterInstance) -> None:
    """Close the runs of this process, which is being interrupted."""
    _close(instance, _list_open_runs(instance, lambda pid, _started: pid == os.getpid()))


def list_killed_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """List the runs that never ended, because their process was killed."""
    return _list_open_runs(instance, _is_over)


def _list_open_runs(instance: dg.DagsterInstance, is_wanted: Callable[[int, float], bool]) -> list[dg.DagsterRun]:
    """List the unfinished runs of some of this machine's processes, by their number and the start of the run.

    A history in PostgreSQL is shared by several machines, and each has processes of the same numbers.
    """
    here = socket.gethostname()
    listed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_OPEN)):
        tags, started = record.dagster_run.tags, record.start_time or record.create_timestamp.timestamp()
        is_mine = tags.get(HOST_TAG, here) == here and tags.get(PID_TAG, "").isdigit()
        if is_mine and is_wanted(int(tags[PID_TAG]), started) and not _has_copied_tags(instance, record.dagster_run):
            listed.append(record.dagster_run)
    return listed


def _has_copied_tags(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Tell whether the process of a run's tags is that of the run which it repeats: the UI copies them."""
    repeated = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return repeated is not None and repeated.tags.get(PID_TAG) == run.tags[PID_TAG]


def _close(instance: dg.DagsterInstance, runs: Iterable[dg.DagsterRun]) -> None:
    """Close runs: as cancelled, or as failed where nobody would hear of it else, which sends an alert."""
    said = "The process that ran this was interrupted."
    for run in runs:
        instance.add_run_tags(run.run_id, {KILLED_TAG: "true"})
        if _was_asked_for(run) and not is_asked_for_again(run):
            instance.report_run_failed(run, message=said)
        else:
            instance.report_run_canceled(run, message=said)


def _was_asked_for(run: dg.DagsterRun) -> bool:
    """Tell whether a sensor or a schedule asked for a run: no person waits for its end."""
    return SENSOR_TAG in run.tags or SCHEDULE_TAG in run.tags


def is_asked_for_again(run: dg.DagsterRun) -> bool:
    """Tell whether a sensor asks again for a run that was killed; after some times a person must look."""
    return SENSOR_TAG in run.tags and run.tags.get(RUN_KEY_TAG, "").count(AGAIN) < TRIES


def _is_over(pid: int, started: float) -> bool:
    """Tell whether the process of a run has ended, also one that its parent has not noticed yet."""
    try:
        process = psutil.Process(pid)
        # a process that is younger than the run has the number of a dead one: after a reboot they begin anew
        return bool(process.status() == psutil.STATUS_ZOMBIE or process.create_time() > started)
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
