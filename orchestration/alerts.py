"""Alerts: a run failed, or a release needs a person. Log always, webhook and command by `[alerts]`.

Belongs here: what an alert says, sending it, and the sensor that sends one for every failed run. Does not: when runs
are launched (`sensors.py`, `schedules.py`).
"""

import http.client
import json
import random
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg

from orchestration.pipeline_job import FAILED_STEPS
from orchestration.resources import WarehouseResource
from orchestration.run_problems import FailedStep, describe_failure
from transforms.errors import IsthmusError
from warehouse.automation_sections import AlertSettings

ALERT_SENSOR = "alert_on_failure"
_ALERT_EVERY_S = 30
_TRIES = 3
_FIRST_WAIT_S = 0.5
#: Failed steps that an alert lists.
_LISTED = 20
#: Our messages end with the fix, after "found ..., expected ... .".
_FIX = re.compile(r"expected .*?[.] (?=[A-Z])", re.DOTALL)


class AlertError(IsthmusError):
    """An alert could not be delivered; every way that failed is named."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            "alert: found " + "; ".join(problems) + ", expected it to be delivered. Check [alerts] of the settings."
        )


@dataclass(frozen=True)
class Alert:
    """What a person is told.

    Attributes:
        warehouse: name of the settings.
        job: what failed, or the watch that found something.
        partition: its key; `all` where it has none.
        message: what happened.
        fix: what to do.
        run_id: Dagster's; empty where there is no run.
        failures: all steps that failed, where there are several.
    """

    warehouse: str
    job: str
    partition: str
    message: str
    fix: str
    run_id: str = ""
    failures: tuple[FailedStep, ...] = ()

    @property
    def text(self) -> str:
        """Give it as one line for a person."""
        more = f" ({len(self.failures)} steps failed)" if len(self.failures) > 1 else ""
        return f"Isthmus {self.warehouse}: {self.job}[{self.partition}]{more}: {self.message} {self.fix}".strip()

    def payload(self) -> bytes:
        """Give it as JSON; chat systems show `text`."""
        return json.dumps({"text": self.text, **asdict(self)}).encode()


def split_fix(message: str, otherwise: str) -> tuple[str, str]:
    """Split a message into what happened and what to do about it.

    Args:
        message: of an `IsthmusError`, which ends with the fix, or any other.
        otherwise: fix of messages that name none.
    """
    found = _FIX.search(message)
    return (message[: found.end()].rstrip(), message[found.end() :]) if found else (message, otherwise)


def send_alert(
    settings: AlertSettings, alert: Alert, say: Callable[[str], None], *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Tell a person, every way that the settings name; one that fails keeps no other from being tried.

    Args:
        settings: the ways.
        alert: what to tell.
        say: writes it to the log, in any case.
        sleep: waits between tries of a webhook.

    Raises:
        AlertError: at least one way failed; the alert is in the log.
    """
    say(alert.text)
    problems = []
    if settings.webhook is not None:
        problems += _post(settings.webhook, alert.payload(), settings.timeout_s, sleep)
    if settings.command:
        problems += _call(settings.command, alert.payload(), settings.timeout_s)
    if problems:
        raise AlertError(problems)


def build_failure_alerts() -> dg.SensorDefinition:
    """Declare the sensor that sends an alert for every run of this code location that fails."""

    @dg.run_failure_sensor(
        name=ALERT_SENSOR,
        minimum_interval_seconds=_ALERT_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends an alert for every run that fails.",
    )
    def alert_on_failure(context: dg.RunFailureSensorContext, isthmus: WarehouseResource) -> None:
        settings = isthmus.open().settings
        alert = describe_run(context, settings.name, isthmus.config)
        send_alert(
            settings.alerts, alert, context.log.error
        )  # raises where it fails: the tick is red then, and says why

    return alert_on_failure


def describe_run(context: dg.RunFailureSensorContext, warehouse: str, config: str) -> Alert:
    """Make the alert of a run that failed; of a pipeline, its first failed step speaks."""
    run = context.dagster_run
    steps = _read_steps(context)
    first = steps[0] if steps else describe_failure(context.instance, run)
    alert = describe_step(warehouse, config, first.job, first.partition, first.message)
    return replace(alert, run_id=run.run_id, failures=tuple(steps[:_LISTED]))


def describe_step(warehouse: str, config: Path | str, job: str, partition: str, message: str) -> Alert:
    """Make the alert of a step that failed.

    Args:
        warehouse: name of the settings.
        config: their file.
        job: of the step.
        partition: its key.
        message: what it said, with the fix at its end.
    """
    said, fix = split_fix(message, "See the log of the run in `isthmus ui`.")
    return Alert(warehouse, job, partition, said, f"{fix} Then run it again: isthmus run --config {config}")


def _read_steps(context: dg.RunFailureSensorContext) -> list[FailedStep]:
    """Read the failed steps that the job `pipeline` left in its failure."""
    for event in context.get_step_failure_events():
        failure = event.step_failure_data.user_failure_data
        entry = failure.metadata.get(FAILED_STEPS) if failure is not None else None
        if isinstance(entry, dg.JsonMetadataValue) and isinstance(entry.data, list):
            return [FailedStep(**step) for step in entry.data if isinstance(step, dict)]
    return []


def _post(address: str, payload: bytes, timeout_s: float, sleep: Callable[[float], None]) -> list[str]:
    """Post JSON; time-outs and 5xx are tried again. Returns the problem, with the host only: paths can be secrets."""
    headers = {"Content-Type": "application/json", "User-Agent": "isthmus"}
    problem = ""
    for attempt in range(_TRIES):
        try:
            request = urllib.request.Request(address, payload, headers)
            with urllib.request.urlopen(request, timeout=timeout_s):
                return []
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code}"
            if error.code < 500:
                break
        except OSError as error:  # URLError and time-outs are kinds of it
            problem = str(getattr(error, "reason", error))
        except (http.client.HTTPException, ValueError) as error:  # their words hold the address
            problem = type(error).__name__
            break
        if attempt + 1 < _TRIES:
            sleep(_FIRST_WAIT_S * 2**attempt * (1 + random.random()))
    return [f"webhook at {urlsplit(address).hostname}: {problem}"]


def _call(command: Sequence[str], payload: bytes, timeout_s: float) -> list[str]:
    """Run a command with the JSON on its standard input. Returns the problem."""
    try:
        done = subprocess.run(list(command), input=payload, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:  # its words are the whole command line: arguments can be secrets
        return [f"command {command[0]}: timed out after {timeout_s:g} s"]
    except OSError as error:
        return [f"command {command[0]}: {error}"]
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return [f"command {command[0]}: exit code {done.returncode} {said[-1] if said else ''}"] if done.returncode else []
