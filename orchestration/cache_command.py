"""`isthmus cache`: what the local cache of remote files holds, and emptying it.

Belongs here: the arguments and what is printed. Does not: the cache (`warehouse/objects/block_cache.py`), other
commands.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestration.console import DEMO_CONFIG, ConfigOption, JsonOption, err, out, print_rows


def add_commands(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(cache)


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all blocks; they are fetched again when needed.")
    ] = False,
    config: ConfigOption = DEMO_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show the block cache of remote sources and tables, `[cache]` of the settings: folder, size and limit."""
    from warehouse.objects.block_cache import open_cache
    from warehouse.settings import load_settings

    limits = load_settings(config).cache.limits
    if limits is None:
        out.print("no cache: cache.max_gb is 0", highlight=False)
        return
    blocks = open_cache(limits)
    if clear:
        freed = blocks.size()
        blocks.clear()
        err.print(
            f"removed {freed.blocks} blocks of {freed.files} files, {freed.n_bytes / 1e6:.1f} MB", highlight=False
        )
    size = blocks.size()
    row = {
        "root": str(limits.root),
        "files": size.files,
        "blocks": size.blocks,
        "n_bytes": size.n_bytes,
        "max_bytes": limits.max_bytes,
    }
    print_rows([row] if as_json else [{"what": name, "value": value} for name, value in row.items()], as_json)


def say_cache_use(warehouse: Any) -> None:
    """Say what this process took from the cache and what it fetched; nothing where all sources are folders."""
    from warehouse.objects.block_cache import BLOCK_BYTES, open_cache

    limits = warehouse.settings.cache.limits
    if limits is None:
        return
    counts = open_cache(limits).counts
    if counts.hits or counts.stored:
        n_mb = counts.stored * BLOCK_BYTES / 1e6
        out.print(f"cache      {counts.hits} blocks read, {counts.stored} fetched ({n_mb:.0f} MB)", highlight=False)
