"""Commands about the area of interest: `isthmus plan`, `isthmus boundaries`.

Belongs here: their arguments and what they print. Does not: work (`warehouse/plan.py`, `warehouse/boundaries.py`), the
other commands (`cli.py`).
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.console import err, make_progress, out, print_rows
from transforms.errors import IsthmusError
from warehouse.errors import SettingsError

#: The pair that is planned where no settings file says another.
_DEFAULT_PAIR = ("aef", "eg")


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
        Path | None, typer.Option("--out", "-o", help="Write a settings file for this plan, ready to run.")
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
    from transforms.area import area_of_boxes
    from warehouse.area_of_interest import describe_area, read_area
    from warehouse.plan import PlanRequest, make_plan
    from warehouse.rates import load_rates, rates_path
    from warehouse.sections import UpsampleSettings
    from warehouse.settings import load_settings
    from warehouse.source_settings import CacheSettings

    settings = load_settings(config) if config is not None else None
    area_settings = _choose_area(settings, country, geometry, tiles, bbox, borders)
    wanted = parse_years(years) if years is not None else (settings.years if settings is not None else None)
    if wanted is None:
        raise SettingsError("isthmus plan", ["found no years, expected --years, e.g. --years 2023-2024"])
    with make_progress() as bar:
        task = bar.add_task("reading the area", total=None)

        def tell(text: str) -> None:
            bar.update(task, description=text)

        regions = list(area_settings.regions.values())
        area = read_area(area_settings) or (area_of_boxes(regions) if regions else None)
        if area is None:
            raise SettingsError("isthmus plan", ["found no area, expected one in the settings or as an option"])
        tell("measuring this machine (once)")
        rates = load_rates(rates_path(), again=measure_again)
        products, sources = _choose_products(settings)
        keep = settings.keep if settings is not None else None
        upsample = settings.upsample if settings is not None else UpsampleSettings()
        cache = settings.cache if settings is not None else CacheSettings()
        request = PlanRequest(area, wanted, products, sources, keep, upsample, network, cache.max_gb)
        found = make_plan(request, rates, tell)
    title = describe_area(area_settings)
    if output is not None:
        _write_settings(output, area_settings, request, found)
    if as_json:
        row = {"area": title, "years": list(wanted), **asdict(found)}
        print_rows([row | {"bytes_to_read": found.bytes_to_read, "bytes_to_keep": found.bytes_to_keep}], True)
        return
    _print_plan(title if not regions else f"{len(regions)} regions", wanted, found)
    if area_settings.shard_rule != "mgrs":
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


def _choose_area(
    settings: Any, country: str | None, geometry: Path | None, tiles: str | None, bbox: Any, borders: Path | None
) -> Any:
    """Give the area of the options, else that of the settings; `mgrs` is what is planned."""
    from pydantic import ValidationError

    from warehouse.sections import AreaSettings

    names = tuple(name.strip().upper() for name in tiles.split(",")) if tiles else ()
    given = {"country": country, "geometry": geometry, "tiles": names, "bbox": bbox}
    if settings is not None and not any(given.values()):
        return settings.area
    boundaries_file = borders or (settings.area.boundaries if settings is not None else None)
    try:
        return AreaSettings(**given, boundaries=boundaries_file)
    except ValidationError as error:
        problems = [item["msg"].removeprefix("Value error, ") for item in error.errors()]
        raise SettingsError("the area of isthmus plan", problems) from error


def _choose_products(settings: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    from warehouse.products import load_registry

    if settings is None:
        registry = load_registry()
        return tuple(registry[name] for name in _DEFAULT_PAIR), {}
    registry = settings.registry()
    names = [name for name in (settings.compare.pixels, settings.compare.patches) if name is not None]
    return tuple(registry[name] for name in names), dict(settings.sources)


def _write_settings(output: Path, area_settings: Any, request: Any, found: Any) -> None:
    """Write the settings file and read it back, so that it is known to be ready."""
    from warehouse.plan_settings import write_settings_text
    from warehouse.settings import load_settings

    if output.exists():
        raise SettingsError(str(output), ["found a file, expected a new name: nothing is overwritten"])
    text = write_settings_text(area_settings, request, found, output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    try:
        load_settings(output)
    except IsthmusError:
        output.unlink()
        raise


def _print_plan(title: str, years: tuple[int, ...], found: Any) -> None:
    """Print the plan as small tables, and what it rests on."""
    zones = sorted({shard.epsg for shard in found.shards})
    named = ", ".join(shard.shard for shard in found.shards[:8]) + (", ..." if len(found.shards) > 8 else "")
    for name, value in (
        ("area", f"{title}: {found.km2:,.0f} km2" if found.km2 >= 10 else f"{title}: {found.km2:.3g} km2"),
        ("years", ", ".join(map(str, years))),
        ("shards", f"{len(found.shards):,} in {len(zones)} UTM zones: {named}"),
        ("patches", f"{found.patches:,} places of the lattice"),
        ("pixels", f"{found.pixels:,} of 10 m"),
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


def _read_row(read: Any) -> dict[str, str]:
    return {
        "to read": read.product,
        "year": str(read.year),
        "files": f"{read.files:,}" if read.files is not None else "not known",
        "by": {"none": "none published"}.get(read.how, read.how),
        "patches or pixels": f"{read.rows:,}",
        "bytes": format_bytes(read.bytes),
    }
