"""Commands that cross the grains straight from files: `isthmus pool`, `isthmus upsample`, `isthmus preview`.

Belongs here: their arguments and what they print. Does not: work (`warehouse/pool_geometries.py`,
`warehouse/window_raster.py`, `warehouse/overview.py`), the other commands (`cli.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestration.console import (
    DEMO_CONFIG,
    ConfigOption,
    JsonOption,
    err,
    make_progress,
    open_warehouse,
    print_summary,
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (pool, upsample, preview):
        app.command()(command)


def pool(
    geometries: Annotated[Path, typer.Option("--geometries", "-g", help="Polygons: GeoParquet or GeoJSON, any CRS.")],
    year: Annotated[int, typer.Option(help="Calendar year of the product.")],
    operators: Annotated[
        str | None, typer.Option(help="Comma-separated pooling operators. Default: those of the settings.")
    ] = None,
    product: Annotated[str | None, typer.Option(help="Pixel product. Default: compare.pixels of the settings.")] = None,
    config: ConfigOption = DEMO_CONFIG,
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
    with make_progress() as bar:
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
    print_summary(summary, as_json)


def upsample(
    year: Annotated[int, typer.Option(help="Calendar year of the patch vectors.")],
    bbox: Annotated[tuple[float, float, float, float], typer.Option(help="West, south, east, north in degrees.")],
    operator: Annotated[str, typer.Option(help="Upsampling operator that needs no labels and no guide.")] = "bilinear",
    pixel_m: Annotated[float, typer.Option(help="Pixel pitch in metres.")] = 10.0,
    full: Annotated[bool, typer.Option("--full", help="float32 at full width instead of int8 in the basis.")] = False,
    config: ConfigOption = DEMO_CONFIG,
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
    warehouse = open_warehouse(config)
    with make_progress() as bar:
        task = bar.add_task("reading patches", total=1.0)
        summary = upsample_to_raster(
            warehouse, request, lambda share, text: bar.update(task, completed=share, description=text)
        )
    print_summary(summary, as_json)


def preview(
    year: Annotated[int, typer.Option(help="Calendar year of the product.")],
    product: Annotated[str | None, typer.Option(help="Pixel product. Default: compare.pixels of the settings.")] = None,
    config: ConfigOption = DEMO_CONFIG,
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

    with make_progress() as bar:
        task = bar.add_task("listing files", total=1.0)
        summary = write_preview(
            Warehouse(load_settings(config)), year, product, output, sample,
            lambda share, text: bar.update(task, completed=share, description=text),
        )  # fmt: skip
    print_summary(summary, as_json)
