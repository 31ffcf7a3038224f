"""The command line: `isthmus`.

Belongs here: the commands and their arguments. Does not: how things are printed (`console.py`), the commands that
cross the grains (`crossing_commands.py`), ask one part of the evidence (`evidence_commands.py`), encode images
(`encode_command.py`), plan an area (`plan_command.py`) or check a warehouse (`doctor_command.py`), work; every command
calls what the assets call. Exit codes: 0 done, 1 something failed, 2 wrong use or settings, 3 no such warehouse yet,
130 interrupted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from orchestration import (
    cache_command,
    crossing_commands,
    doctor_command,
    encode_command,
    evidence_commands,
    lifecycle_commands,
    mosaic_command,
    plan_command,
    release_commands,
)
from orchestration.console import (
    DEMO_CONFIG,
    EXIT_FAILED,
    EXIT_USAGE,
    ROOT,
    AddressOption,
    ConfigOption,
    EngineOption,
    ForceOption,
    JsonOption,
    WaitOption,
    choose_engine,
    err,
    make_progress,
    open_warehouse,
    out,
    plain,
    print_rows,
    print_table,
    show_steps,
    tell_waiting,
)
from transforms.errors import IsthmusError
from warehouse.errors import SettingsError

#: Dagster ends the look of a sensor after a minute unless it is told another time, seconds; at a source far away it may
#: take longer. docs/deploy/kubernetes/kustomization.yaml says the same.
SENSOR_TIMEOUT = "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS"
SENSOR_TIMEOUT_S = 600

app = typer.Typer(
    name="isthmus",
    help="One warehouse for Earth-observation embeddings, per patch and per pixel.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
world_app = typer.Typer(help="Simulated source trees in the published layout.", no_args_is_help=True)
app.add_typer(world_app, name="world")


@app.command()
def demo(
    size: Annotated[str, typer.Option(help="World to run on: tiny (seconds) or demo (900 km2).")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed of the simulated world.")] = 0,
    force: ForceOption = False,
    wait: WaitOption = False,
) -> None:
    """Build the simulated world, run everything on it through Dagster, and write the report."""
    config = DEMO_CONFIG if size == "demo" else DEMO_CONFIG.with_name(f"{size}.toml")
    _build_world(_world_folder(size), size, seed)
    _run_pipeline(config, force=force, wait=wait)


@world_app.command("build")
def world_build(
    size: Annotated[str, typer.Option(help="tiny or demo.")] = "tiny",
    seed: Annotated[int, typer.Option(help="The same seed gives the same arrays.")] = 0,
    root: Annotated[Path | None, typer.Option(help="Folder to write; default build/<size>/world.")] = None,
    mosaic: Annotated[bool, typer.Option("--mosaic", help="Also the pixels as a Zarr mosaic in degrees.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a simulated source tree in exactly the published layout."""
    summary = _build_world(root or _world_folder(size), size, seed, mosaic=mosaic)
    rows = [summary] if as_json else [{"what": name, "value": value} for name, value in summary.items()]
    print_rows(rows, as_json)


@app.command()
def run(
    config: ConfigOption = DEMO_CONFIG,
    force: ForceOption = False,
    wait: WaitOption = False,
    engine: EngineOption = None,
    address: AddressOption = None,
) -> None:
    """Ingest, derive, evaluate and report what a settings file describes. Safe to repeat and to interrupt.

    Partitions whose settings, source files and inputs are the same as before are not written again.
    """
    choose_engine(engine, address)
    _run_pipeline(config, force=force, wait=wait)


@app.command()
def evaluate(
    config: ConfigOption = DEMO_CONFIG,
    force: ForceOption = False,
    wait: WaitOption = False,
    engine: EngineOption = None,
    address: AddressOption = None,
) -> None:
    """Run the cells that are not done on what is stored, then report: to go on with a study that was stopped."""
    choose_engine(engine, address)
    open_warehouse(config)
    _run_pipeline(config, force=force, wait=wait, answers_only=True)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SQL statement, or the path of a .sql file.")],
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="name=value for $name.")] = None,
    config: ConfigOption = DEMO_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Query the warehouse with DuckDB: `isthmus sql "select * from verdicts"`."""
    from warehouse.queries import run_sql

    warehouse = open_warehouse(config)
    text = Path(query).read_text(encoding="utf-8") if query.endswith(".sql") and Path(query).is_file() else query
    params = _parse_params(param or [])
    table = run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text, params)
    print_table(table, as_json)


@app.command()
def report(
    config: ConfigOption = DEMO_CONFIG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: report.html in the warehouse.")
    ] = None,
) -> None:
    """Write the report from what is stored; one HTML page that opens offline."""
    from warehouse.report import write_report

    warehouse = open_warehouse(config)
    target = output or warehouse.report_path
    out.print(str(write_report(warehouse.settings, warehouse.root, warehouse.specs, target)))


@app.command()
def ui(
    config: ConfigOption = DEMO_CONFIG,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open Dagster on the history of a settings file: assets, partitions, checks, runs."""
    from orchestration.killed_runs import close_killed_runs
    from orchestration.pipeline import open_instance
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    os.environ.setdefault(SENSOR_TIMEOUT, str(SENSOR_TIMEOUT_S))
    with open_instance(Warehouse(load_settings(config)), config) as instance:
        close_killed_runs(instance)
    err.print(f"Dagster: http://{host}:{port}  (Ctrl-C ends it)")
    dagster = Path(sys.executable).with_name("dagster")
    command = [str(dagster), "dev", "-m", "orchestration.definitions", "-p", str(port), "-h", host]
    raise typer.Exit(subprocess.run(command, check=False, env=os.environ.copy()).returncode)


crossing_commands.add_commands(app)
evidence_commands.add_commands(app)
doctor_command.add_commands(app)
encode_command.add_commands(app)
lifecycle_commands.add_commands(app)
release_commands.add_commands(app)
plan_command.add_commands(app)
mosaic_command.add_commands(app)
cache_command.add_commands(app)


def main() -> None:
    """Run the command line; errors that we raise on purpose are one message, not a traceback."""
    # Dagster marks partition mappings as beta; a user of the command line can do nothing about it
    warnings.filterwarnings("ignore", module="dagster")
    warnings.filterwarnings("ignore", message=".*currently in beta.*")
    try:
        app()
    except SettingsError as error:
        _complain("settings", str(error), EXIT_USAGE)
    except IsthmusError as error:
        _complain("error", str(error), EXIT_FAILED)


def _complain(what: str, text: str, code: int) -> NoReturn:
    err.print(f"[bold red]{what}[/]", end=" ")
    err.print(text, highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)


def _world_folder(size: str) -> Path:
    return ROOT / "build" / size / "world"


def _build_world(root: Path, size: str, seed: int, *, mosaic: bool = False) -> dict[str, Any]:
    from warehouse.world import build_world

    if size not in ("tiny", "demo"):
        err.print(f"size: found '{size}', expected tiny or demo")
        raise typer.Exit(EXIT_USAGE)
    with make_progress() as bar:
        task = bar.add_task("simulated world", total=1.0)

        def advance(text: str, share: float) -> None:
            bar.update(task, description=f"world: {text}", completed=share)

        summary = build_world(root, size, seed, mosaic=mosaic, progress=advance)  # type: ignore[arg-type]  # checked above
    verb = "built" if summary.was_built else "already there"
    size_text = f"{summary.n_bytes / 1e6:.0f} MB, {summary.n_patches} patches"
    err.print(f"simulated world {verb}: {summary.root} ({size_text})", highlight=False, soft_wrap=True)
    return {name: plain(getattr(summary, name)) for name in summary.__dataclass_fields__}


def _run_pipeline(config: Path, *, force: bool, wait: bool, answers_only: bool = False) -> None:
    """Run the jobs with a bar, then say what came out; exit 1 if anything failed."""
    from orchestration.pipeline import Pipeline
    from warehouse.file_access import is_there

    pipeline = Pipeline(config, force=force, waiting=tell_waiting(wait))
    done, failures = show_steps(pipeline.run_answers if answers_only else pipeline.run)
    _print_verdicts(pipeline)
    cache_command.say_cache_use(pipeline.warehouse)
    out.print(f"warehouse  {pipeline.warehouse.root}")
    if is_there(pipeline.warehouse.report_path):
        out.print(f"report     {pipeline.warehouse.report_path}")
    if failures:
        err.print(f"[red]{len(failures)} of {done + len(failures)} steps did not finish[/]; the rest is stored")
        raise typer.Exit(EXIT_FAILED)


def _print_verdicts(pipeline: Any) -> None:
    from warehouse.queries import run_sql

    warehouse = pipeline.warehouse
    text = "select * from verdicts order by year, question, scheme"
    rows = run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text).to_pylist()
    for row in rows:
        if row["delta"] is None:
            out.print(f"{row['question']}  no answer: {row['note']}", highlight=False, markup=False)
            continue
        out.print(
            f"{row['question']}  {row['arm']} - {row['reference']}: {row['delta']:+.3f} {row['metric']} "
            f"[{row['lo']:+.3f}, {row['hi']:+.3f}], {row['n_blocks']} blocks, margin {row['margin']}: "
            f"{row['verdict']}" + (f" ({row['status']}: {row['note']})" if row["note"] else ""),
            highlight=False,
            markup=False,
        )


def _parse_params(items: list[str]) -> dict[str, object]:
    params: dict[str, object] = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator:
            err.print(f"--param {item}: found no '=', expected name=value")
            raise typer.Exit(EXIT_USAGE)
        try:
            params[name] = json.loads(value)
        except json.JSONDecodeError:
            params[name] = value
    return params


if __name__ == "__main__":
    main()
