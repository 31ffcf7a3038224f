"""What the command line prints: tables, summaries, steps, bars; and its exit codes.

Belongs here: consoles and how rows become text. Does not: commands (`cli.py`, `crossing_commands.py`,
`evidence_commands.py`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

#: Results go to standard output, everything else to standard error, so that pipes stay clean.
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)
#: Width of tables that go to a file or a pipe, where a terminal's 80 columns would break every cell.
_PIPE_WIDTH = 240

#: Steps that took longer are named with their time.
_WORTH_TELLING_S = 2.0

EXIT_FAILED, EXIT_USAGE, EXIT_NO_WAREHOUSE, EXIT_INTERRUPTED = 1, 2, 3, 130
ROOT = Path(__file__).resolve().parent.parent
DEMO_CONFIG = ROOT / "examples" / "demo.toml"

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="ISTHMUS_CONFIG", help="Settings file (TOML). Default: the demo's."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Redo what is done before too, scored cells among it: that can take hours.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait while another run holds the warehouse, instead of giving up.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON array of row objects and nothing else.")]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", envvar="ISTHMUS_ENGINE__KIND", help="What computes partitions: local or dask."),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", envvar="ISTHMUS_ENGINE__ADDRESS", help="Dask scheduler, e.g. tcp://127.0.0.1:8786."),
]


def choose_engine(kind: str | None, address: str | None) -> None:
    """Let options win over the settings file, for this process and its children: as environment variables do."""
    for name, value in (("ISTHMUS_ENGINE__KIND", kind), ("ISTHMUS_ENGINE__ADDRESS", address)):
        if value is not None:
            os.environ[name] = value


def open_warehouse(config: Path) -> Any:
    """Open a warehouse that must exist."""
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    warehouse = Warehouse(load_settings(config))
    if not warehouse.is_begun:
        err.print(f"{warehouse.root}: found no warehouse, expected one. Run `isthmus run --config {config}` first.")
        raise typer.Exit(EXIT_NO_WAREHOUSE)
    return warehouse


def print_summary(summary: Any, as_json: bool) -> None:
    """Print the fields of a summary and of the records in it, one a line, or as one JSON row."""
    fields: dict[str, Any] = {}
    for name in summary.__dataclass_fields__:
        value = getattr(summary, name)
        nested = getattr(value, "__dataclass_fields__", {})
        fields |= {f"{name}_{part}": getattr(value, part) for part in nested} if nested else {name: plain(value)}
    if as_json:
        print_rows([fields], as_json)
        return
    for name, value in fields.items():  # no table: a path must not be cut to a cell
        out.print(
            f"{name:<26} {value:.6g}" if isinstance(value, float) else f"{name:<26} {value}",
            highlight=False,
            markup=False,
        )


def print_table(table: Any, as_json: bool) -> None:
    """Print an Arrow table."""
    from warehouse.json_rows import json_rows

    print_rows(json_rows(table), as_json, columns=table.column_names)


def print_rows(rows: list[dict[str, Any]], as_json: bool, columns: list[str] | None = None) -> None:
    """Print rows as a table, or as one JSON array and nothing else."""
    if as_json:
        sys.stdout.write(json.dumps(rows, default=str) + "\n")
        return
    shown = Table(show_edge=False, pad_edge=False)
    names = columns or list(rows[0]) if rows or columns else []
    for name in names:
        shown.add_column(Text(name), overflow="fold")
    for row in rows:
        shown.add_row(*(Text(_cell(row.get(name))) for name in names))  # text, or "[red]" would be markup
    Console(width=None if out.is_terminal else _PIPE_WIDTH).print(shown)


def print_outcome(outcome: Any, told: set[str]) -> None:
    """Print what a user should know of a step: warnings, problems, and how long the long ones took.

    One bad file can fail several shards; its message is printed once.
    """
    step = escape(str(outcome.step))  # "plan[all]" would lose what looks like markup
    for warning in outcome.warnings:
        err.print(f"[yellow]warning[/] {escape(warning)}", highlight=False, soft_wrap=True)
    for problem in outcome.problems:
        err.print(f"[red]failed[/] {step}:", end=" ", highlight=False)
        err.print("as above" if problem in told else problem, highlight=False, markup=False)
        told.add(problem)
    if outcome.skipped:
        err.print(f"[yellow]skipped[/] {step}: something that it needs failed", highlight=False)
    elif outcome.ok and outcome.seconds > _WORTH_TELLING_S:
        err.print(f"{step}: {outcome.seconds:.1f} s", highlight=False)


def tell_waiting(is_asked: bool) -> Callable[[str], None] | None:
    """Give what says who is waited for, None where nobody wants to wait."""
    return (lambda text: err.print(text, highlight=False, markup=False)) if is_asked else None


def show_steps(run: Callable[[Callable[[Any], None]], Iterator[Any]]) -> tuple[int, list[Any]]:
    """Run steps with a bar that says where they are; what they say goes to the bar, or to lines where there is none.

    Says in the end how many partitions were done before.

    Args:
        run: given what to tell of each step before it runs, yields the outcomes.

    Returns:
        (steps that went well, outcomes of the others).
    """
    from orchestration.progress_log import listen_to_bodies  # brings Dagster: --help must not wait for it

    failures, done, before, partitions = [], 0, 0, 0
    told: set[str] = set()
    try:
        with make_progress() as bar:
            task = bar.add_task("starting", total=None)

            def tell(text: str) -> None:
                bar.update(task, description=text)
                if not err.is_terminal:
                    err.print(text, highlight=False, markup=False)

            def start(step: Any) -> None:
                bar.update(task, description=str(step))
                if step.why:
                    err.print(f"{step} again: {'; '.join(step.why)}", highlight=False, markup=False)

            with listen_to_bodies(tell):
                for outcome in run(start):
                    done += outcome.ok
                    before += outcome.done_before
                    partitions += bool(outcome.step.tables)
                    failures += [] if outcome.ok else [outcome]
                    print_outcome(outcome, told)
    except KeyboardInterrupt:
        err.print("[bold red]interrupted[/] nothing is half-written; the same command starts again")
        sys.stdout.flush()
        # not sys.exit: Python would wait for the threads of a cell, and a cell can have a hundred fits to go
        os._exit(EXIT_INTERRUPTED)
    if before:
        err.print(f"{before} of {partitions} partitions done before (--force redoes them)", highlight=False)
    return done, failures


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def plain(value: Any) -> Any:
    """Turn tuples and paths into what JSON knows."""
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def make_progress() -> Progress:
    """Make a bar on standard error that goes when it is done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
