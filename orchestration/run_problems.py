"""Why a run of a job did not go well, in words for a user.

Belongs here: messages of failed bodies and of failed checks. Does not: running (`pipeline.py`), printing
(`console.py`).
"""

from __future__ import annotations

import dagster as dg


def list_problems(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    """Give the message of what each failed body raised, and the failed blocking checks."""
    messages = list(list_failed_checks(result, "ERROR"))
    for event in result.filter_events(lambda event: event.is_step_failure):
        error = event.step_failure_data.error
        # Dagster wraps what a body raises; below that are the library's words, which ours explain
        while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
            error = error.cause
        if error is not None and error.cls_name != "DagsterAssetCheckFailedError":
            messages.append(error.message.strip().removeprefix(f"{error.cls_name}: "))
    if not messages and not result.success:
        messages.append("the run failed; see its log in `isthmus ui`")
    return tuple(messages)


def list_failed_checks(result: dg.ExecuteInProcessResult, severity: str) -> tuple[str, ...]:
    """Say which checks of a severity failed, and how to see the rows."""
    return tuple(
        f"check {item.check_name} of {item.asset_key.to_user_string()}: found "
        f"{item.metadata['failing_rows'].value} failing rows, expected none. "
        f'See them: isthmus sql "select * from check_{item.check_name}"'
        for item in result.get_asset_check_evaluations()
        if not item.passed and item.severity.value == severity
    )
