"""Sensors: one for each product, which looks at its source and asks for a run of what is new; one for killed runs.

Belongs here: translating a decision for Dagster. Does not: looking and deciding (`warehouse/release_watch.py`), what
runs (`pipeline_job.py`). What is remembered between two looks is the cursor; the key of a request is that of its
release, so a tick that Dagster repeats asks for nothing twice.
"""

import time
from datetime import UTC, datetime

import dagster as dg

from orchestration.alerts import Alert, AlertError, send_alert
from orchestration.killed_runs import AGAIN, RUN_KEY_TAG, close_killed_runs, find_last_killed, is_asked_for_again
from orchestration.partitions import YEARS
from orchestration.pipeline_job import TakenYear, config_taking
from orchestration.resources import WarehouseResource
from transforms.release_decisions import Decision, Finding
from transforms.releases import ReleaseState
from warehouse.products import Product
from warehouse.release_watch import look_once
from warehouse.store import Warehouse

#: Tags of a requested run: why it runs, which years and shards are new.
WHY_TAG, YEARS_TAG, SHARDS_TAG = "isthmus/why", "isthmus/years", "isthmus/shards"
CLOSING_SENSOR = "close_killed_runs"
_CLOSE_EVERY_S = 60


def build_release_sensor(product: Product, job: dg.JobDefinition, every_s: int) -> dg.SensorDefinition:
    """Declare the sensor of one product, running from the start.

    Args:
        product: whose source is watched.
        job: what it asks for.
        every_s: seconds between two looks.
    """

    @dg.sensor(
        name=f"watch_{product.name}",
        job=job,
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Looks at what is published of {product.title}, and asks for a run of what is new.",
    )
    def watch(context: dg.SensorEvaluationContext, isthmus: WarehouseResource) -> dg.SensorResult:
        again = ask_again(context.instance, f"watch_{product.name}", context.cursor)
        if again is not None:
            return again
        warehouse, now = isthmus.open(), time.time()
        state = ReleaseState.from_json(context.cursor) if context.cursor else ReleaseState()
        if not state.is_due(now):
            return dg.SensorResult(skip_reason=_say_wait(product, state))
        decision = look_once(warehouse, product, state, now)
        alerts = _alert_news(context, warehouse, product, decision)
        return describe_decision(product, decision, alerts)

    return watch


def build_closing_sensor() -> dg.SensorDefinition:
    """Declare the sensor that closes killed runs, which would hold up all that is asked for; it runs from the start."""

    @dg.sensor(
        name=CLOSING_SENSOR,
        minimum_interval_seconds=_CLOSE_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends the runs whose process was killed, so that others need not wait for them.",
    )
    def closing(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        close_killed_runs(context.instance)
        return dg.SkipReason("looked for killed runs")

    return closing


def ask_again(instance: dg.DagsterInstance, sensor: str, cursor: str | None) -> dg.SensorResult | None:
    """Ask again for the last run of a sensor, if its process was killed: by a crash, a reboot, a lack of memory.

    Args:
        instance: whose history is looked at; runs that were killed are closed, or they would hold up all others.
        sensor: its name.
        cursor: kept as it is.

    Returns:
        The same run under another key; None where the last run was not killed, or was so often that a person must look.
    """
    close_killed_runs(instance)
    killed = find_last_killed(instance, sensor)
    if killed is None or not is_asked_for_again(killed):
        return None
    tags = {name: killed.tags[name] for name in (WHY_TAG, YEARS_TAG, SHARDS_TAG) if name in killed.tags}
    request = dg.RunRequest(
        run_key=f"{killed.tags.get(RUN_KEY_TAG, '')}{AGAIN}", run_config=killed.run_config, tags=tags
    )
    return dg.SensorResult(run_requests=[request], cursor=cursor)


def describe_decision(product: Product, decision: Decision, remarks: list[str]) -> dg.SensorResult:
    """Translate a decision: a run of the pipeline for what is asked for, else the reason why there is none.

    Args:
        product: whose source was looked at.
        decision: what the look means.
        remarks: what else the tick should say.
    """
    cursor = decision.state.to_json()
    if not decision.asking:
        said = [*remarks, *(f"{finding.kind}: {finding.message}" for finding in decision.findings)]
        return dg.SensorResult(skip_reason="\n".join(said) or f"{product.name}: nothing is published", cursor=cursor)
    take = [TakenYear(product=name, year=year, watched=product.name) for name, year in decision.taking]
    request = dg.RunRequest(run_key=decision.request, run_config=config_taking(take), tags=_make_tags(decision))
    added = sorted({str(year) for _, year in decision.taking})
    partitions = [YEARS.build_add_request(added)] if added else []
    return dg.SensorResult(run_requests=[request], dynamic_partitions_requests=partitions, cursor=cursor)


def _make_tags(decision: Decision) -> dict[str, str]:
    shards = sorted({shard for finding in decision.asking for shard in finding.shards})
    years = sorted({str(finding.year) for finding in decision.asking})
    why = "; ".join(f"{finding.product}: {finding.message}" for finding in decision.asking)
    return {WHY_TAG: why, YEARS_TAG: ",".join(years), SHARDS_TAG: ",".join(shards)}


def describe_news(warehouse: str, watched: str, finding: Finding) -> Alert:
    """Make the alert of a finding that needs a person."""
    partition = "all" if finding.year is None else str(finding.year)
    return Alert(warehouse, f"watch_{watched}", partition, finding.message, "Look again with: isthmus releases")


def _alert_news(
    context: dg.SensorEvaluationContext, warehouse: Warehouse, product: Product, decision: Decision
) -> list[str]:
    """Send alerts of what needs a person; one that is not delivered is said by the tick, which goes on."""
    problems = []
    for finding in decision.news:
        alert = describe_news(warehouse.settings.name, product.name, finding)
        try:
            send_alert(warehouse.settings.alerts, alert, context.log.error)
        except AlertError as error:
            context.log.error(str(error))
            problems.append(str(error))
    return problems


def _say_wait(product: Product, state: ReleaseState) -> str:
    again = datetime.fromtimestamp(state.retry_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"down: {product.name} failed {state.failures} looks; next one at {again}. {state.problem}"
