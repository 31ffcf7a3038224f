"""Commands about releases: `isthmus releases` and `isthmus watch`.

Belongs here: their arguments and what they print. Does not: work (`warehouse/release_watch.py`), the daemon's way
(`sensors.py`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.console import (
    DEMO_CONFIG,
    EXIT_FAILED,
    ConfigOption,
    JsonOption,
    err,
    make_progress,
    out,
    print_rows,
    show_steps,
    tell_waiting,
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (releases, watch):
        app.command()(command)


def releases(config: ConfigOption = DEMO_CONFIG, as_json: JsonOption = False) -> None:
    """Look once at every source: what is new, and why it waits. Changes nothing and runs nothing."""
    from warehouse.release_watch import read_states
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    warehouse = Warehouse(load_settings(config))
    decisions = _look(warehouse, read_states(warehouse.root))
    _print(decisions, as_json)


def watch(
    config: ConfigOption = DEMO_CONFIG,
    every: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes between looks, until Ctrl-C. Default: look once and end.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at every source and run what is new: for cron, in place of Dagster's daemon.

    A release is taken when two looks in a row find the same files, so call it every hour rather than every week. A look
    or a run that fails raises an alert and exit code 1; with --every the next look comes all the same.
    """
    from warehouse.settings import load_settings

    settings, failed = _watch_once(config, load_settings(config), as_json)
    while every is not None:
        time.sleep(every * 60)
        settings, failed = _watch_once(config, settings, as_json)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _watch_once(config: Path, settings: Any, as_json: bool) -> tuple[Any, bool]:
    """Look and run; what keeps either from being done is told, by the settings of before where the file is broken.

    Args:
        config: settings file; it may have been edited since the last look.
        settings: of the look before.
        as_json: print findings as JSON.

    Returns:
        The settings to alert by next time, and whether anything failed.
    """
    from orchestration.alerts import Alert, split_fix
    from transforms.errors import IsthmusError
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    try:
        settings = load_settings(config)
        return settings, _look_and_run(config, Warehouse(settings), as_json)
    except IsthmusError as error:
        message, fix = split_fix(str(error), "See what `isthmus doctor` says.")
        again = f"{fix} Then look again: isthmus watch --config {config}"
        _send(settings, Alert(settings.name, "watch", "all", message, again))
        return settings, True


def _look_and_run(config: Path, warehouse: Any, as_json: bool) -> bool:
    """Look, run what is asked for, then remember; a look that was killed is as if it had not been.

    Returns:
        Whether a step of the run failed.
    """
    from orchestration.sensors import describe_news
    from warehouse.release_watch import follow_release, read_states, write_states

    states = read_states(warehouse.root)
    decisions = _look(warehouse, states)
    _print(decisions, as_json)
    for name, decision in decisions.items():
        for finding in decision.news:
            _send(warehouse.settings, describe_news(warehouse.settings.name, name, finding))
        follow_release(warehouse, name, decision)
    failed = any(decision.asking for decision in decisions.values()) and _run(config, warehouse)
    write_states(warehouse.root, {**states, **{name: decision.state for name, decision in decisions.items()}})
    return failed


def _look(warehouse: Any, states: dict[str, Any]) -> dict[str, Any]:
    """Look at all sources, those that failed lately too: a person who asks wants to know now."""
    from transforms.releases import ReleaseState
    from warehouse.release_watch import look_once

    decisions = {}
    with make_progress() as bar:
        task = bar.add_task("looking", total=len(warehouse.products))
        for name, product in warehouse.products.items():
            bar.update(task, description=f"looking at {name}")
            decisions[name] = look_once(warehouse, product, states.get(name, ReleaseState()), time.time())
            bar.advance(task)
    return decisions


def _run(config: Path, warehouse: Any) -> bool:
    """Run the pipeline; an alert for its failures. Returns whether there were any."""
    from orchestration.alerts import describe_step
    from orchestration.pipeline import Pipeline

    _done, failures = show_steps(Pipeline(config, waiting=tell_waiting(True)).run)
    broken = [outcome for outcome in failures if outcome.problems]
    if broken:
        step, name = broken[0].step, warehouse.settings.name
        _send(warehouse.settings, describe_step(name, config, step.job, str(step.key), broken[0].problems[0]))
    return bool(failures)


def _send(settings: Any, alert: Any) -> None:
    """Send an alert; one that is not delivered is said here and changes nothing else."""
    from orchestration.alerts import AlertError, send_alert

    def say(text: str) -> None:
        err.print("[yellow]alert[/]", end=" ")
        err.print(text, highlight=False, markup=False, soft_wrap=True)

    try:
        send_alert(settings.alerts, alert, say)
    except AlertError as error:
        say(str(error))


def _print(decisions: dict[str, Any], as_json: bool) -> None:
    rows = [
        {
            "product": finding.product, "year": finding.year, "finding": finding.kind, "asks": finding.asks,
            "message": finding.message, "shards": list(finding.shards), "missing": list(finding.missing),
        }
        for decision in decisions.values()
        for finding in decision.findings
    ]  # fmt: skip
    if as_json:
        print_rows(rows, as_json)
        return
    for row in rows:  # no table: a message must not be cut to a cell
        where = f"{row['product']} {row['year'] or ''}".strip()
        out.print(f"{where:<14} {row['finding']:<13} {row['message']}", highlight=False, markup=False)
    if not rows:
        out.print("nothing is published for the area", highlight=False)
