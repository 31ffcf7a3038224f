"""Commands about the area of interest: `isthmus boundaries`.

Belongs here: their arguments and what they print. Does not: work (`warehouse/boundaries.py`), the other commands
(`cli.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestration.console import out


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(boundaries)


def boundaries(
    package: Annotated[Path, typer.Argument(help="The npm package world-atlas, a .tgz, from wherever it came.")],
) -> None:
    """Take in the country borders that `area.country` is looked up in; the set-up does this where npm is installed."""
    from warehouse.boundaries import install_boundaries

    out.print(str(install_boundaries(package)), highlight=False, markup=False)
