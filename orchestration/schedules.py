"""Schedules: the whole pipeline at fixed times, where `automation.schedule` says when.

Belongs here: when. Does not: what runs (`pipeline_job.py`), what runs because something is new (`sensors.py`).
"""

from __future__ import annotations

import dagster as dg

from warehouse.automation_sections import AutomationSettings
from warehouse.errors import SettingsError

SCHEDULE = "run_pipeline"


def build_schedules(automation: AutomationSettings, job: dg.JobDefinition, config: str) -> list[dg.ScheduleDefinition]:
    """Declare the schedule that the settings ask for, running from the start; none where they ask for none.

    Raises:
        SettingsError: Dagster does not know the times or the time zone.
    """
    if automation.schedule is None:
        return []
    try:
        schedule = dg.ScheduleDefinition(
            name=SCHEDULE,
            job=job,
            cron_schedule=automation.schedule,
            execution_timezone=automation.timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Run the whole pipeline; what is current is not done again.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        found = f"schedule {automation.schedule!r}, timezone {automation.timezone!r}"
        raise SettingsError(config, [f"key 'automation': {error} (found {found})"]) from error
    return [schedule]
