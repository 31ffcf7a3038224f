"""`isthmus mosaic`: how a Zarr mosaic was resampled, told by its own codes.

Belongs here: its arguments and what it prints. Does not: work (`warehouse/mosaic_evidence.py`), the other commands
(`cli.py`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.console import DEMO_CONFIG, ConfigOption, JsonOption, err, make_progress, print_rows


def add_commands(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(mosaic)


def mosaic(
    year: Annotated[int, typer.Option(help="Calendar year of the product.")],
    product: Annotated[
        str | None, typer.Option(help="Mosaic product. Default: compare.pixels of the settings.")
    ] = None,
    config: ConfigOption = DEMO_CONFIG,
    boxes: Annotated[int, typer.Option(min=1, help="Chunks with data to read, at random in the area.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Tell how a Zarr mosaic was resampled: `isthmus mosaic --year 2024 --config examples/tiny_mosaic.toml`.

    Neighbours that come from one 10 m pixel are equal if nearest pixels were taken, and differ if they were
    interpolated; vectors that are not of unit length were averaged. The last row is all boxes together.
    """
    from warehouse.mosaic_evidence import examine_mosaic, list_rows
    from warehouse.settings import load_settings
    from warehouse.store import Warehouse

    with make_progress() as bar:
        task = bar.add_task("listing shards", total=1.0)
        found = examine_mosaic(
            Warehouse(load_settings(config)), product, year, boxes,
            lambda share, text: bar.update(task, completed=share, description=text),
        )  # fmt: skip
    if len(found) < boxes:
        err.print(f"[yellow]warning[/] found {len(found)} chunks with data in the area, asked for {boxes}")
    print_rows(list_rows(found), as_json)
