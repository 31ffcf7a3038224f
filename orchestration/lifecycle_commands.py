"""Commands for the life of a warehouse: `isthmus status`, `isthmus drop`.

Belongs here: their arguments and what they print. Does not: which partitions are current or left over
(`warehouse/partition_states.py`, `warehouse/left_over.py`), running (`pipeline.py`), the other commands (`cli.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.console import (
    DEMO_CONFIG,
    EXIT_FAILED,
    EXIT_USAGE,
    ConfigOption,
    JsonOption,
    WaitOption,
    err,
    open_warehouse,
    print_rows,
    show_steps,
    tell_waiting,
)

#: States as columns of `isthmus status`, in the order of trouble.
_STATES = ("current", "stale", "missing", "failed", "withdrawn", "left over")


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(status)
    app.command()(drop)


def status(
    config: ConfigOption = DEMO_CONFIG,
    partitions: Annotated[
        bool, typer.Option("--partitions", help="One row for each partition that is not current, with the reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is stored, and what of it is current, stale, missing, failed, withdrawn or left over.

    Looks at stored files only: `isthmus releases` looks at the sources.
    """
    warehouse = open_warehouse(config)
    found = _add_failures(_survey(warehouse), warehouse, config)
    if partitions:
        print_rows([_describe(one) for one in found if one.state.value != "current"], as_json)
    else:
        print_rows(_count(warehouse, found), as_json)
    waiting = Counter(one.state.value for one in found)
    if waiting["stale"] or waiting["missing"] or waiting["failed"]:
        counts = ", ".join(f"{waiting[state]} {state}" for state in ("stale", "missing", "failed") if waiting[state])
        err.print(f"{counts}: `isthmus run -c {config}` does what is left", highlight=False)
    if waiting["left over"]:
        err.print(f"{waiting['left over']} left over: `isthmus drop -c {config}` removes them", highlight=False)


def drop(
    config: ConfigOption = DEMO_CONFIG,
    year: Annotated[list[int] | None, typer.Option(help="Only these years; the settings no longer have them.")] = None,
    shard: Annotated[list[str] | None, typer.Option(help="Only these shards; the area no longer has them.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what the settings no longer ask for: take a year or an area out of the file, then call this.

    Looks at the sources first, as `run` does, so that it knows the area as it is now. Source files are never touched.
    """
    open_warehouse(config)
    from orchestration.pipeline import Pipeline

    pipeline = Pipeline(config, waiting=tell_waiting(wait))
    _refuse_asked(pipeline.warehouse.settings, year or ())
    _, failures = show_steps(pipeline.plan)
    if failures:
        raise typer.Exit(EXIT_FAILED)
    chosen = [
        one
        for one in pipeline.left_over()
        if (not year or one.key.year in year) and (not shard or one.key.shard in shard)
    ]
    rows = [
        {"table_name": one.table, "partition": str(one.key), "n_files": len(one.files), "n_bytes": one.n_bytes}
        for one in chosen
    ]
    if rows or as_json:
        print_rows(rows, as_json)
    size = sum(one.n_bytes for one in chosen) / 1e6
    err.print(f"{len(chosen)} partitions left over, {size:.1f} MB", highlight=False)
    if not chosen or dry_run:
        return
    if not yes:
        typer.confirm("Remove them?", abort=True, err=True)
    _, failures = show_steps(lambda started: pipeline.drop(chosen, started))
    err.print("removed" if not failures else "[red]removed, but the report could not be written[/]", highlight=False)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _refuse_asked(settings: Any, years: Iterable[int]) -> None:
    """Refuse to drop a year that the next run would bring back."""
    asked = sorted(set(years) & set(settings.years))
    if asked:
        err.print(
            f"--year {asked}: found in `years` of the settings, expected years that are no longer there. "
            "Take them out of the file first, or the next run brings them back.",
            highlight=False,
            markup=False,
        )
        raise typer.Exit(EXIT_USAGE)


def _survey(warehouse: Any) -> list[Any]:
    """List the states of all partitions; none where no plan is stored yet."""
    from warehouse.errors import PartitionMissingError
    from warehouse.partition_states import PartitionStates

    try:
        return list(PartitionStates(warehouse).survey())
    except PartitionMissingError:
        err.print("no plan is stored yet: what is missing or stale cannot be told before a run has made one")
        return []


def _add_failures(found: list[Any], warehouse: Any, config: Path) -> list[Any]:
    """Mark what is not there because its last run failed, with what that said."""
    waiting = [one for one in found if one.state.value in ("stale", "missing")]
    if not waiting or not warehouse.settings.dagster.instance.is_dir():
        return found
    from orchestration.definitions import build_defs  # brings Dagster: only where something is wrong
    from orchestration.partition_failures import find_failures
    from orchestration.pipeline import open_instance
    from warehouse.partition_states import PartitionState

    wanted: dict[str, list[Any]] = {}
    for one in waiting:
        wanted.setdefault(one.table, []).append(one.key)
    with open_instance(warehouse, config) as instance:
        failures = find_failures(instance, build_defs(config), wanted)
    return [
        replace(one, state=PartitionState.FAILED, reasons=(*one.reasons, failures[one.table, one.key]))
        if (one.table, one.key) in failures
        else one
        for one in found
    ]


def _describe(one: Any) -> dict[str, Any]:
    return {
        "table_name": one.table,
        "partition": str(one.key),
        "state": one.state.value,
        "reasons": "; ".join(one.reasons),
    }


def _count(warehouse: Any, found: Iterable[Any]) -> list[dict[str, Any]]:
    """Count partitions by table and state, with files, rows and bytes."""
    from warehouse.queries import run_sql

    sizes = run_sql(
        warehouse.root,
        warehouse.specs,
        warehouse.settings.compare,
        "select table_name, n_files, n_rows, n_bytes from stored_tables order by table_name",
    ).to_pylist()
    states = Counter((one.table, one.state.value) for one in found)
    known = {row["table_name"] for row in sizes}
    nothing = {"n_files": None, "n_rows": None, "n_bytes": None}
    sizes += [{"table_name": table, **nothing} for table in sorted({table for table, _ in states} - known)]
    return [
        {
            "table_name": row["table_name"],
            **{state.replace(" ", "_"): states[row["table_name"], state] for state in _STATES},
            **{name: row[name] for name in nothing},
        }
        for row in sizes
    ]
