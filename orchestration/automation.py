"""Automation conditions as named functions: trigger, guard, retry bound, first tick.

Belongs here: when assets ask to be materialised. Does not: sensors that look at sources (`sensors.py`).
"""

from __future__ import annotations

import dagster as dg


def follow_upstream() -> dg.AutomationCondition:
    """Materialise when something upstream changed.

    Trigger: an upstream partition was updated, or this partition is missing. Guard: no upstream partition is
    missing or in progress. Retry bound: none is asked here (bad data is permanent; a failed partition waits for
    an upstream update). First tick: keys that exist when the condition is first evaluated are not requested, so
    the first fill is a run of the command or a backfill.
    """
    return dg.AutomationCondition.eager()
