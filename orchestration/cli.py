"""The command line: `isthmus`.

Belongs here: arguments, progress bars, printing, exit codes. Does not: work; every command calls what the assets
call. Exit codes: 0 done, 1 something failed, 2 wrong use or settings, 3 no such warehouse yet, 130 interrupted.
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
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from transforms.errors import IsthmusError
from warehouse.errors import SettingsError

#: Results go to standard output, everything else to standard error, so that pipes stay clean.
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)
#: Steps that took longer are named with their time.
_WORTH_TELLING_S = 2.0
#: Width of tables that go to a file or a pipe, where a terminal's 80 columns would break every cell.
_PIPE_WIDTH = 240

EXIT_FAILED, EXIT_USAGE, EXIT_NO_WAREHOUSE, EXIT_INTERRUPTED = 1, 2, 3, 130
_ROOT = Path(__file__).resolve().parent.parent
_DEMO_CONFIG = _ROOT / "examples" / "demo.toml"

app = typer.Typer(
    name="isthmus",
    help="One warehouse for Earth-observation embeddings, per patch and per pixel.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
world_app = typer.Typer(help="Simulated source trees in the published layout.", no_args_is_help=True)
app.add_typer(world_app, name="world")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="ISTHMUS_CONFIG", help="Settings file (TOML). Default: the demo's."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON array of row objects and nothing else.")]


@app.command()
def demo(
    size: Annotated[str, typer.Option(help="World to run on: tiny (seconds) or demo (900 km2).")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed of the simulated world.")] = 0,
) -> None:
    """Build the simulated world, run everything on it through Dagster, and write the report."""
    config = _DEMO_CONFIG if size == "demo" else _DEMO_CONFIG.with_name(f"{size}.toml")
    _build_world(_world_folder(size), size, seed)
    _run_pipeline(config)


@world_app.command("build")
def world_build(
    size: Annotated[str, typer.Option(help="tiny or demo.")] = "tiny",
    seed: Annotated[int, typer.Option(help="The same seed gives the same arrays.")] = 0,
    root: Annotated[Path | None, typer.Option(help="Folder to write; default build/<size>/world.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a simulated source tree in exactly the published layout."""
    summary = _build_world(root or _world_folder(size), size, seed)
    rows = [summary] if as_json else [{"what": name, "value": value} for name, value in summary.items()]
    _print_rows(rows, as_json)


@app.command()
def run(config: ConfigOption = _DEMO_CONFIG) -> None:
    """Ingest, derive, evaluate and report what a settings file describes. Safe to repeat and to interrupt."""
    _run_pipeline(config)


@app.command()
def status(config: ConfigOption = _DEMO_CONFIG, as_json: JsonOption = False) -> None:
    """Show what is stored: partitions, rows and bytes of each table."""
    from warehouse.catalog import run_sql

    warehouse = _open_warehouse(config)
    table = run_sql(
        warehouse.root,
        warehouse.specs,
        warehouse.settings.compare,
        "select table_name, n_files, n_rows, n_bytes from stored_tables order by table_name",
    )
    _print_table(table, as_json)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SQL statement, or the path of a .sql file.")],
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="name=value for $name.")] = None,
    config: ConfigOption = _DEMO_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Query the warehouse with DuckDB: `isthmus sql "select * from verdicts"`."""
    from warehouse.catalog import run_sql

    warehouse = _open_warehouse(config)
    text = Path(query).read_text(encoding="utf-8") if query.endswith(".sql") and Path(query).is_file() else query
    params = _parse_params(param or [])
    table = run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text, params)
    _print_table(table, as_json)


@app.command()
def report(
    config: ConfigOption = _DEMO_CONFIG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: report.html in the warehouse.")
    ] = None,
) -> None:
    """Write the report from what is stored; one HTML page that opens offline."""
    from warehouse.report import write_report

    warehouse = _open_warehouse(config)
    target = output or warehouse.report_path
    out.print(str(write_report(warehouse.settings, warehouse.root, warehouse.specs, target)))


@app.command()
def pool(
    geometries: Annotated[Path, typer.Option("--geometries", "-g", help="Polygons: GeoParquet or GeoJSON, any CRS.")],
    year: Annotated[int, typer.Option(help="Calendar year of the product.")],
    operators: Annotated[
        str | None, typer.Option(help="Comma-separated pooling operators. Default: those of the settings.")
    ] = None,
    product: Annotated[str | None, typer.Option(help="Pixel product. Default: compare.pixels of the settings.")] = None,
    config: ConfigOption = _DEMO_CONFIG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: <name>_pooled_<year>.parquet beside the polygons.")
    ] = None,
    min_coverage: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least valid share of a polygon that gets vectors.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Column to keep. Default: id or fid, if there is one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Pool pixels over your own polygons: `isthmus pool -g parcels.parquet --year 2024 --operators mean,stats`.

    Pixels are read straight from the product's rasters; no warehouse need exist. Writes GeoParquet, one row a polygon.
    """
    from warehouse.pool_geometries import PoolRequest, pool_geometries
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    names = tuple(name.strip() for name in operators.split(",")) if operators is not None else None
    request = PoolRequest(geometries, year, names, product, min_coverage, id_column, output)
    with _progress() as bar:
        task = bar.add_task("reading polygons", total=1.0)
        summary = pool_geometries(
            Warehouse(load_settings(config)),
            request,
            lambda share, text: bar.update(task, completed=share, description=text),
        )
    if summary.without_pixels or summary.too_little_coverage:
        err.print(
            f"[yellow]warning[/] {summary.without_pixels} of {summary.rows} polygons have no pixel with data, "
            f"{summary.too_little_coverage} less than {summary.min_coverage:g} of their area: their vectors are NaN",
            highlight=False,
        )
    _print_summary(summary, as_json)


@app.command()
def upsample(
    year: Annotated[int, typer.Option(help="Calendar year of the patch vectors.")],
    bbox: Annotated[tuple[float, float, float, float], typer.Option(help="West, south, east, north in degrees.")],
    operator: Annotated[str, typer.Option(help="Upsampling operator that needs no labels and no guide.")] = "bilinear",
    pixel_m: Annotated[float, typer.Option(help="Pixel pitch in metres.")] = 10.0,
    full: Annotated[bool, typer.Option("--full", help="float32 at full width instead of int8 in the basis.")] = False,
    config: ConfigOption = _DEMO_CONFIG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: upsampled_<operator>_<year>.tif here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Upsample stored patches to a GeoTIFF: `isthmus upsample --year 2024 --bbox 102.02 12.60 102.075 12.654`.

    A pixel is 64 int8 bands in the basis of the year, as large as a native one; its version is in the file's tags.
    """
    from warehouse.window_raster import WindowRequest, upsample_to_raster

    request = WindowRequest(year, bbox, operator, pixel_m, full, output)
    warehouse = _open_warehouse(config)
    with _progress() as bar:
        task = bar.add_task("reading patches", total=1.0)
        summary = upsample_to_raster(
            warehouse, request, lambda share, text: bar.update(task, completed=share, description=text)
        )
    _print_summary(summary, as_json)


@app.command()
def preview(
    year: Annotated[int, typer.Option(help="Calendar year of the product.")],
    product: Annotated[str | None, typer.Option(help="Pixel product. Default: compare.pixels of the settings.")] = None,
    config: ConfigOption = _DEMO_CONFIG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: overview_<product>_<year>.parquet in the warehouse.")
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Cells to pool exactly, to measure the error.")] = 64,
    as_json: JsonOption = False,
) -> None:
    """Write the 320 m overviews of the area as an approximate pooled table, in a moment, and measure its error."""
    from warehouse.overview import write_preview
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    with _progress() as bar:
        task = bar.add_task("listing files", total=1.0)
        summary = write_preview(
            Warehouse(load_settings(config)), year, product, output, sample,
            lambda share, text: bar.update(task, completed=share, description=text),
        )  # fmt: skip
    _print_summary(summary, as_json)


@app.command()
def ui(
    config: ConfigOption = _DEMO_CONFIG,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open Dagster on the history of a settings file: assets, partitions, checks, runs."""
    from orchestration.pipeline import close_orphaned_runs, open_instance
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    with open_instance(Warehouse(load_settings(config)), config) as instance:
        close_orphaned_runs(instance)
    err.print(f"Dagster: http://{host}:{port}  (Ctrl-C ends it)")
    dagster = Path(sys.executable).with_name("dagster")
    command = [str(dagster), "dev", "-m", "orchestration.definitions", "-p", str(port), "-h", host]
    raise typer.Exit(subprocess.run(command, check=False, env=os.environ.copy()).returncode)


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


def _print_summary(summary: Any, as_json: bool) -> None:
    """Print the fields of a summary and of the records in it, one a line, or as one JSON row."""
    fields: dict[str, Any] = {}
    for name in summary.__dataclass_fields__:
        value = getattr(summary, name)
        nested = getattr(value, "__dataclass_fields__", {})
        fields |= {f"{name}_{part}": getattr(value, part) for part in nested} if nested else {name: _plain(value)}
    if as_json:
        _print_rows([fields], as_json)
        return
    for name, value in fields.items():  # no table: a path must not be cut to a cell
        out.print(
            f"{name:<26} {value:.6g}" if isinstance(value, float) else f"{name:<26} {value}",
            highlight=False,
            markup=False,
        )


def _world_folder(size: str) -> Path:
    return _ROOT / "build" / size / "world"


def _build_world(root: Path, size: str, seed: int) -> dict[str, Any]:
    from warehouse.world import build_world

    if size not in ("tiny", "demo"):
        err.print(f"size: found '{size}', expected tiny or demo")
        raise typer.Exit(EXIT_USAGE)
    with _progress() as bar:
        task = bar.add_task("simulated world", total=1.0)

        def advance(text: str, share: float) -> None:
            bar.update(task, description=f"world: {text}", completed=share)

        summary = build_world(root, size, seed, progress=advance)  # type: ignore[arg-type]  # checked above
    verb = "built" if summary.was_built else "already there"
    size_text = f"{summary.n_bytes / 1e6:.0f} MB, {summary.n_patches} patches"
    err.print(f"simulated world {verb}: {summary.root} ({size_text})", highlight=False, soft_wrap=True)
    return {name: _plain(getattr(summary, name)) for name in summary.__dataclass_fields__}


def _run_pipeline(config: Path) -> None:
    """Run all jobs with a bar, then say what came out; exit 1 if anything failed."""
    from orchestration.pipeline import Pipeline

    pipeline = Pipeline(config)
    failures, done = [], 0
    told: set[str] = set()
    try:
        with _progress() as bar:
            task = bar.add_task("starting", total=None)
            for outcome in pipeline.run(lambda step: bar.update(task, description=str(step))):
                done += outcome.ok
                failures += [] if outcome.ok else [outcome]
                _tell(outcome, told)
    except KeyboardInterrupt:
        _complain("interrupted", "nothing is half-written; the same command starts again", EXIT_INTERRUPTED)
    _print_verdicts(pipeline)
    out.print(f"warehouse  {pipeline.warehouse.root}")
    if pipeline.warehouse.report_path.is_file():
        out.print(f"report     {pipeline.warehouse.report_path}")
    if failures:
        err.print(f"[red]{len(failures)} of {done + len(failures)} steps did not finish[/]; the rest is stored")
        raise typer.Exit(EXIT_FAILED)


def _tell(outcome: Any, told: set[str]) -> None:
    """Print what a user should know of a step: warnings, problems, and how long the long ones took.

    One bad file can fail several shards; its message is printed once.
    """
    for warning in outcome.warnings:
        err.print(f"[yellow]warning[/] {warning}", highlight=False, soft_wrap=True)
    for problem in outcome.problems:
        err.print(f"[red]failed[/] {outcome.step}:", end=" ", highlight=False)
        err.print("as above" if problem in told else problem, highlight=False, markup=False)
        told.add(problem)
    if outcome.skipped:
        err.print(f"[yellow]skipped[/] {outcome.step}: something that it needs failed", highlight=False)
    elif outcome.ok and outcome.seconds > _WORTH_TELLING_S:
        err.print(f"{outcome.step}: {outcome.seconds:.1f} s", highlight=False)


def _print_verdicts(pipeline: Any) -> None:
    from warehouse.catalog import run_sql

    warehouse = pipeline.warehouse
    text = "select * from verdicts order by year, question, scheme"
    rows = run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text).to_pylist()
    for row in rows:
        out.print(
            f"{row['question']}  {row['arm']} - {row['reference']}: {row['delta']:+.3f} {row['metric']} "
            f"[{row['lo']:+.3f}, {row['hi']:+.3f}], {row['n_blocks']} blocks, margin {row['margin']}: "
            f"{row['verdict']}" + (f" ({row['status']}: {row['note']})" if row["note"] else ""),
            highlight=False,
            markup=False,
        )


def _open_warehouse(config: Path) -> Any:
    """Open a warehouse that must exist."""
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    warehouse = Warehouse(load_settings(config))
    if not warehouse.root.is_dir():
        err.print(f"{warehouse.root}: found no warehouse, expected one. Run `isthmus run --config {config}` first.")
        raise typer.Exit(EXIT_NO_WAREHOUSE)
    return warehouse


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


def _print_table(table: Any, as_json: bool) -> None:
    from warehouse.json_rows import json_rows

    _print_rows(json_rows(table), as_json, columns=table.column_names)


def _print_rows(rows: list[dict[str, Any]], as_json: bool, columns: list[str] | None = None) -> None:
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


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )


if __name__ == "__main__":
    main()
