"""`isthmus doctor`: all checks on a warehouse, and the health of the machine and the set-up, explained.

Belongs here: the command, what it prints, and what Dagster's history says. Does not: the rules (`sql/checks/`), which
of them block (`checks.py`), looking at the machine (`warehouse/health.py`). Nothing is changed by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.console import (
    DEMO_CONFIG,
    EXIT_FAILED,
    EXIT_USAGE,
    ConfigOption,
    JsonOption,
    err,
    make_progress,
    out,
    print_rows,
)

if TYPE_CHECKING:  # `isthmus --help` must wait for neither DuckDB nor Dagster
    from warehouse.checks_sql import CheckResult
    from warehouse.health import Finding
    from warehouse.store import Warehouse

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}
#: Width of the column of names.
_NAME_WIDTH = 28
Row = dict[str, Any]


def add_commands(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(doctor)


def doctor(
    check: Annotated[
        list[str] | None, typer.Option("--check", help="Only this check, e.g. unit_norm; may be repeated.")
    ] = None,
    config: ConfigOption = DEMO_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Check the warehouse, the machine and the set-up, and explain what is wrong: `isthmus doctor --check unit_norm`.

    Reads every vector once or more: seconds per million rows. Changes nothing. Exits with 1 where a blocking check
    fails or a run could not start.
    """
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    # settings that cannot be read end the command with their list of problems, as they end every command
    warehouse = Warehouse(load_settings(config))
    _refuse_unknown(check or [])
    rows = [] if check else [_finding_row(finding) for finding in _examine(warehouse)]
    if not as_json:
        for row in rows:
            _print_row(row)
    for result, blocking in _run(warehouse, check or []):
        rows.append(_check_row(result, blocking))
        if not as_json:
            _print_row(rows[-1])
    if as_json:
        print_rows(rows, as_json)
    else:
        _print_summary(rows, warehouse)
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(EXIT_FAILED)


def _refuse_unknown(names: list[str]) -> None:
    from warehouse.checks_sql import check_names

    unknown = sorted(set(names) - set(check_names()))
    if unknown:
        err.print(f"--check: found {unknown}, expected some of {check_names()}", highlight=False, markup=False)
        raise typer.Exit(EXIT_USAGE)


def _examine(warehouse: Warehouse) -> list[Finding]:
    from warehouse.health import examine_set_up

    return [*examine_set_up(warehouse), _examine_history(warehouse)]


def _examine_history(warehouse: Warehouse) -> Finding:
    """Look for runs that never ended, because their command line was killed."""
    import dagster as dg

    from orchestration.killed_runs import list_killed_runs
    from warehouse.health import Finding

    home = warehouse.settings.dagster.instance
    if not (home / "dagster.yaml").is_file():
        return Finding("history", "ok", f"none yet at {home}")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        dead = list_killed_runs(instance)
    if not dead:
        return Finding("history", "ok", f"no run was left unfinished ({home})")
    named = ", ".join(f"{run.job_name} {run.run_id[:8]}" for run in dead[:3])
    return Finding(
        "history", "warning", f"{len(dead)} runs were killed and never ended: {named}",
        "Their partitions are as they were before; the UI queues new runs behind them.",
        "Run `isthmus run` or `isthmus ui` with the same settings: either ends them, and a run goes on.",
    )  # fmt: skip


def _run(warehouse: Warehouse, names: list[str]) -> Iterator[tuple[CheckResult, bool]]:
    """Run the checks whose table the settings declare, or those that are named, with a bar."""
    from orchestration.checks import RULES, list_judged
    from warehouse.checks_sql import run_check
    from warehouse.queries import Catalog

    if not warehouse.is_begun:
        err.print(f"no warehouse yet at {warehouse.root}: `isthmus run` makes one", highlight=False, markup=False)
        return
    rules = [rule for rule in RULES if rule.name in names]
    rules = rules or [rule for rule, _ in list_judged(warehouse, warehouse.specs)]
    with Catalog(warehouse.root, warehouse.specs, warehouse.settings.compare) as catalog:
        for number, rule in enumerate(rules):
            with _show_check(f"{number + 1}/{len(rules)} {rule.name}"):
                result = catalog.ask(partial(run_check, name=rule.name))
            yield result, rule.blocking


@contextmanager
def _show_check(text: str) -> Iterator[None]:
    """Show a bar while one check runs, so that a result that is printed does not cut it in two; none in a pipe."""
    if not err.is_terminal:
        yield
        return
    with make_progress() as bar:
        bar.add_task(text, total=None)
        yield


def _finding_row(finding: Finding) -> Row:
    return {"kind": "set-up", **vars(finding)}


def _check_row(result: CheckResult, blocking: bool) -> Row:
    from warehouse.json_rows import json_rows

    status = "ok" if result.is_passed else "failed" if blocking else "warning"
    return {
        "kind": "check",
        "name": result.name,
        "status": status,
        "found": "no failing rows" if result.is_passed else f"{result.n_failing} failing rows",
        "meaning": "" if result.is_passed else result.meaning,
        "fix": "" if result.is_passed else result.fix,
        "blocking": blocking,
        "rule": result.purpose,
        "n_failing": result.n_failing,
        "first_failing_rows": json_rows(result.sample),
        "seconds": round(result.seconds, 3),
    }


def _print_row(row: Row) -> None:
    """Print one line, and below it what is wrong, what it means and what to do."""
    out.print(f"[{_STYLES[row['status']]}]{row['status']:<8}[/]", end="")
    seconds = f"  ({row['seconds']:.1f} s)" if row.get("seconds", 0) >= 1 else ""
    _say(f"{row['name']:<{_NAME_WIDTH}} {row['found']}{seconds}")
    if row["status"] == "ok":
        return
    if row["kind"] == "check":
        _say(f"        rule   {row['rule']}" + ("; blocks a run" if row["blocking"] else "; a warning"))
    _say(f"        means  {row['meaning']}")
    _say(f"        do     {row['fix']}")
    for failing in row.get("first_failing_rows", []):
        _say("        row    " + ", ".join(f"{name}={_short(value)}" for name, value in failing.items()))
    if row["kind"] == "check":
        _say(f'        all    isthmus sql "select * from check_{row["name"]}"')


def _print_summary(rows: list[Row], warehouse: Warehouse) -> None:
    checks = [row for row in rows if row["kind"] == "check"]
    counts = {status: sum(row["status"] == status for row in rows) for status in _STYLES}
    _say(f"{len(checks)} checks of {warehouse.root}; {counts['failed']} failed, {counts['warning']} warnings")


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False)
