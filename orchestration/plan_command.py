"""Commands about the area of interest: `isthmus plan`, `isthmus boundaries`.

Belongs here: their arguments and what they print. Does not: work (`warehouse/plan.py`, `warehouse/boundaries.py`), the
other commands (`cli.py`).
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.console import err, make_progress, out, print_rows
from warehouse.errors import SettingsError

if TYPE_CHECKING:  # what a command needs is imported when it runs
    from warehouse.plan import Plan, ReadPlan
    from warehouse.plan_request import PlanOptions, PlanRequest
    from warehouse.sections import AreaSettings
    from warehouse.settings import Settings


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (plan, boundaries):
        app.command()(command)


def plan(
    country: Annotated[str | None, typer.Option(help="Name or ISO 3166 code, e.g. Cambodia, KH, KHM.")] = None,
    geometry: Annotated[
        Path | None, typer.Option("--geometry", "-g", help="File of polygons: GeoParquet, GeoJSON, ..., any CRS.")
    ] = None,
    tiles: Annotated[str | None, typer.Option(help="MGRS 100 km squares, e.g. 48PVS,48PVT.")] = None,
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="West, south, east, north in degrees; west > east is across the antimeridian."),
    ] = None,
    years: Annotated[str | None, typer.Option(help="2024, 2023-2024 or 2018,2023-2024.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="Settings file: its products, sources, kept pixels; its area and years where no option names others.",
        ),
    ] = None,
    network: Annotated[
        float, typer.Option(min=0, help="Assumed rate of your network, MB/s; 0: files are here.")
    ] = 25.0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write a settings file for this plan, ready to run; its name names the warehouse."
        ),
    ] = None,
    borders: Annotated[
        Path | None, typer.Option("--boundaries", help="File of countries. Default: the one of the set-up.")
    ] = None,
    measure_again: Annotated[bool, typer.Option("--measure-again", help="Measure this machine's rates anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array with one object.")] = False,
) -> None:
    """Say what an area would take, before anything is downloaded: `isthmus plan --country Cambodia --years 2023-2024`.

    Shards, files, patches, pixels, bytes to read and to keep, and the time at this machine's measured rates.
    """
    from warehouse.plan_request import PlanOptions, choose_area
    from warehouse.plan_settings import check_output, make_extending_text, make_settings_text, write_settings
    from warehouse.settings import load_settings

    names = tuple(name.strip().upper() for name in tiles.split(",")) if tiles else ()
    chosen_years = parse_years(years) if years is not None else ()
    options = PlanOptions(country, geometry, names, bbox, borders, chosen_years, network)
    settings = load_settings(config) if config is not None else None
    if output is not None:
        check_output(output, config)
    area = choose_area(options, settings)
    request, found = _count(options, settings, area, measure_again=measure_again)
    if output is not None:
        if config is None or settings is None:
            text = make_settings_text(area, request, found, output)
        else:
            text = make_extending_text(area, settings.area, request, output, config)
        write_settings(output, text)
    if as_json:
        row = {"area": _describe(area), "years": list(request.years), **asdict(found)}
        print_rows([row | {"bytes_to_read": found.bytes_to_read, "bytes_to_keep": found.bytes_to_keep}], True)
        return
    _print_plan(_describe(area), request.years, found)
    if area.shard_rule != "mgrs":
        err.print("note: shards here are MGRS squares; a run cuts by shard_rule of the settings", highlight=False)
    if output is not None:
        out.print(f"\nsettings  {output}   then: isthmus run --config {output}", highlight=False, markup=False)


def boundaries(
    package: Annotated[Path, typer.Argument(help="The npm package world-atlas, a .tgz, from wherever it came.")],
) -> None:
    """Take in the country borders that `area.country` is looked up in; the set-up does this where npm is installed."""
    from warehouse.boundaries import install_boundaries

    out.print(str(install_boundaries(package)), highlight=False, markup=False)


def parse_years(text: str) -> tuple[int, ...]:
    """Read `2024`, `2023-2024` or `2018,2023-2024`.

    Raises:
        SettingsError: it is none of these.
    """
    years: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"((?:19|20)\d\d)(?:-((?:19|20)\d\d))?", part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise SettingsError("--years", [f"found '{text}', expected years, e.g. 2024, 2023-2024 or 2018,2023-2024"])
        years |= set(range(first, last + 1))
    return tuple(sorted(years))


def format_bytes(count: float) -> str:
    """Write bytes with three digits and a unit of powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def format_seconds(seconds: float) -> str:
    """Write a time in the unit that a reader would use."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _count(
    options: PlanOptions, settings: Settings | None, area: AreaSettings, *, measure_again: bool
) -> tuple[PlanRequest, Plan]:
    """Read the area, measure the machine where that was not done, and count; a bar says which of them."""
    from warehouse.plan import make_plan
    from warehouse.plan_request import make_request
    from warehouse.rates import load_rates, rates_path

    with make_progress() as bar:
        task = bar.add_task("reading the area", total=None)

        def tell(text: str) -> None:
            bar.update(task, description=text)

        request = make_request(options, settings, area)
        tell("measuring this machine (once)")
        rates = load_rates(rates_path(), again=measure_again)
        return request, make_plan(request, rates, tell)


def _describe(area: AreaSettings) -> str:
    from warehouse.area_of_interest import describe_area
    from warehouse.sections import AREA_KEYS

    is_named = any(getattr(area, key) for key in AREA_KEYS)
    return describe_area(area) if is_named or not area.regions else f"{len(area.regions)} regions"


def _print_plan(title: str, years: tuple[int, ...], found: Plan) -> None:
    """Print the plan as small tables, and what it rests on."""
    zones = sorted({shard.epsg for shard in found.shards})
    named = ", ".join(shard.shard for shard in found.shards[:8]) + (", ..." if len(found.shards) > 8 else "")
    for name, value in (
        ("area", f"{title}: {found.km2:,.0f} km2" if found.km2 >= 10 else f"{title}: {found.km2:.3g} km2"),
        ("years", ", ".join(map(str, years))),
        ("shards", f"{len(found.shards):,} in {len(zones)} UTM zones: {named}"),
        ("patches", f"{found.patches:,} places of the lattice"),
        ("pixels", f"{found.pixels:,} of 10 m, {found.kept:,} kept"),
    ):
        out.print(f"{name:<9} {value}", highlight=False, markup=False)
    out.print()
    print_rows([_read_row(read) for read in found.reads], False)
    out.print()
    keeps = [{"to keep": k.table, "rows": f"{k.rows:,}", "bytes": format_bytes(k.bytes)} for k in found.keeps]
    print_rows([*keeps, {"to keep": "all", "rows": "", "bytes": format_bytes(found.bytes_to_keep)}], False)
    out.print()
    times = [{"step": t.step, "time": format_seconds(t.seconds), "rate": t.basis} for t in found.times]
    print_rows([*times, {"step": "all, one after another", "time": format_seconds(found.seconds), "rate": ""}], False)
    for note in found.notes:
        err.print(f"note: {note}", highlight=False, markup=False)


def _read_row(read: ReadPlan) -> dict[str, str]:
    return {
        "to read": read.product,
        "year": str(read.year),
        "files": f"{read.files:,}" if read.files is not None else "not known",
        "by": {"none": "none published"}.get(read.how, read.how),
        "patches or pixels": f"{read.rows:,}",
        "bytes": format_bytes(read.bytes),
    }
