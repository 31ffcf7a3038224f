"""The job `pipeline`: everything that `isthmus run` does, as one run that sensors and schedules launch.

Belongs here: that job. Does not: when it is launched (`sensors.py`, `schedules.py`), the pipeline (`pipeline.py`). It
starts `isthmus run` in a process of its own: a release may bring a product whose assets this process has never
declared, and a person who repeats the run by hand repeats exactly this.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from orchestration.killed_runs import tag_process
from orchestration.resources import WarehouseResource
from orchestration.run_problems import FailedStep, list_failed_steps
from warehouse.release_watch import take_year

PIPELINE_JOB = "pipeline"
#: Key of the failed steps in the metadata of a failure.
FAILED_STEPS = "failed_steps"
_OP = "run_pipeline"
#: Lines of output that are kept for a failure that no step explains.
_LAST_LINES = 12
_GRACE_S = 30


class TakenYear(dg.Config):
    """A year that is taken though the settings file does not name it.

    Attributes:
        product: registered product.
        year: calendar year.
        watched: product in whose source it was found.
    """

    product: str
    year: int
    watched: str


class PipelineConfig(dg.Config):
    """What is taken before the pipeline runs."""

    take: list[TakenYear] = Field(default_factory=list)


@dg.op(name=_OP, description="Take new years, then `isthmus run`: what is current is not done again.")
def run_pipeline(context: dg.OpExecutionContext, config: PipelineConfig, isthmus: WarehouseResource) -> None:
    """Run the whole pipeline and fail with what its steps said."""
    warehouse = isthmus.open()
    for one in config.take:
        take_year(warehouse, one.watched, one.product, one.year)
    context.instance.add_run_tags(context.run_id, tag_process(os.getpid()))
    since = datetime.now(UTC)
    command = [sys.executable, "-W", "ignore", "-m", "orchestration.cli", "run", "--wait", "--config", isthmus.config]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = _log_lines(context, process)
        except BaseException:  # the run is being cancelled: its process must not go on alone
            _stop(process)
            raise
    if process.returncode:
        raise _explain(process, said, list_failed_steps(context.instance, tag_process(process.pid), since))


def build_pipeline_job() -> dg.JobDefinition:
    """Declare the job."""

    @dg.job(
        name=PIPELINE_JOB,
        description="Run the whole pipeline, in order; what is current is not done again.",
        executor_def=dg.in_process_executor,  # its one step is a process already, and the run is the process of its tag
    )
    def pipeline() -> None:
        run_pipeline()

    return pipeline


def config_taking(years: list[TakenYear]) -> dict[str, object]:
    """Give the run configuration that takes years before it runs."""
    return {"ops": {_OP: {"config": {"take": [one.model_dump() for one in years]}}}}


def _log_lines(context: dg.OpExecutionContext, process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None  # a pipe was asked for
    said: deque[str] = deque(maxlen=_LAST_LINES)
    for line in process.stdout:
        text = line.rstrip()
        if text:
            said.append(text)
            context.log.info(text)
    process.wait()
    return list(said)


def _stop(process: subprocess.Popen[str]) -> None:
    """Interrupt a process, as Ctrl-C would; it closes the runs that it has open."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _explain(process: subprocess.Popen[str], said: list[str], failed: list[FailedStep]) -> dg.Failure:
    """Say which steps failed; without any, what the command said last."""
    lines = [f"{step.job}[{step.partition}]: {step.message}" for step in failed] or said
    return dg.Failure(
        description=f"isthmus run ended with exit code {process.returncode}:\n" + "\n".join(lines),
        metadata={FAILED_STEPS: dg.MetadataValue.json([vars(step) for step in failed])},
        allow_retries=False,
    )
