"""Why a run of a job did not go well, in words for a user.

Belongs here: messages of failed bodies and of failed checks. Does not: running (`pipeline.py`), printing
(`console.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

#: Dagster's tag with the partition of a run.
PARTITION_TAG = "dagster/partition"


@dataclass(frozen=True)
class FailedStep:
    """A run that failed, in plain values.

    Attributes:
        job: name of its job.
        partition: its key; `all` where it has none.
        message: what its body raised.
        run_id: of the run, to find its log.
    """

    job: str
    partition: str
    message: str
    run_id: str


def list_problems(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    """Give the message of what each failed body raised, and the failed blocking checks."""
    messages = list(list_failed_checks(result, "ERROR"))
    for event in result.filter_events(lambda event: event.is_step_failure):
        message = _read_message(event)
        if message is not None:
            messages.append(message)
    if not messages and not result.success:
        messages.append("the run failed; see its log in `isthmus ui`")
    return tuple(messages)


def list_failed_steps(instance: dg.DagsterInstance, tags: Mapping[str, str], since: datetime) -> list[FailedStep]:
    """List the runs with some tags that failed since a moment, the first one first."""
    wanted = dg.RunsFilter(tags=dict(tags), statuses=[dg.DagsterRunStatus.FAILURE], created_after=since)
    runs = reversed(instance.get_runs(wanted))
    return [describe_failure(instance, run) for run in runs]


def describe_failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> FailedStep:
    """Say why a run failed, from its event log."""
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)]
    said = [message for event in events if event is not None and (message := _read_message(event)) is not None]
    message = (
        "; ".join(dict.fromkeys(said)) or "its process ended without a word: killed, by a reboot or a lack of memory?"
    )
    return FailedStep(run.job_name, _name_partition(run), message, run.run_id)


def _name_partition(run: dg.DagsterRun) -> str:
    """Name the partition of a run as the command line does, the year first; Dagster sorts dimensions by name."""
    parts = [run.tags[name] for name in (f"{PARTITION_TAG}/year", f"{PARTITION_TAG}/shard") if name in run.tags]
    return "|".join(parts) or run.tags.get(PARTITION_TAG, "all")


def _read_message(event: dg.DagsterEvent) -> str | None:
    """Give what a failed body raised; None where a check failed, whose own event says more."""
    error = event.step_failure_data.error
    # Dagster wraps what a body raises; below that are the library's words, which ours explain
    while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
        error = error.cause
    if error is None or error.cls_name == "DagsterAssetCheckFailedError":
        return None
    # Python puts the class with its module before the message
    return re.sub(rf"^(\w+\.)*{error.cls_name}: ", "", str(error.message).strip())


def list_failed_checks(result: dg.ExecuteInProcessResult, severity: str) -> tuple[str, ...]:
    """Say which checks of a severity failed, and how to see the rows."""
    return tuple(
        f"check {item.check_name} of {item.asset_key.to_user_string()}: found "
        f"{item.metadata['failing_rows'].value} failing rows, expected none. "
        f'See them: isthmus sql "select * from check_{item.check_name}"'
        for item in result.get_asset_check_evaluations()
        if not item.passed and item.severity.value == severity
    )
