"""One look at what a producer has published: files by year, and which product they are.

Belongs here: reading a source for `transforms/release_decisions.py`, and what the settings and stored tables say about
it. Does not: deciding, remembering, running.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from transforms.area import boxes_touch
from transforms.release_decisions import WatchRules
from transforms.releases import Look, PublishedFile, ReleaseState, YearLook, versions_of
from transforms.shards import Shard
from warehouse.layout import ALL
from warehouse.products import Product
from warehouse.reader import has_partition
from warehouse.release_products import FileTraits, identify_product
from warehouse.sources.aef_index import count_aef_files, identify_index
from warehouse.sources.bounds import SIDES
from warehouse.sources.index import read_index
from warehouse.sources.traits import read_traits
from warehouse.store import Warehouse

Row = dict[str, Any]


def look_at_source(warehouse: Warehouse, product: Product, state: ReleaseState, rules: WatchRules, now: float) -> Look:
    """Look at what is published for the area of interest.

    Args:
        warehouse: its settings name source and area; its shards, if stored, say what a file touches.
        product: whose source it is.
        state: of the look before: a file is opened only where something changed since a run was asked for.
        rules: of the product.
        now: seconds since 1970; no later year can have been published.

    Returns:
        The years that are there, from the one before those of the settings on.

    Raises:
        IsthmusError: the source cannot be read; see `read_index`.
    """
    source = warehouse.source(product.name)
    index = read_index(product, source, _list_years(rules.years, now), warehouse.area)
    files = _group_by_year(warehouse, product, index)
    has_index = product.layout == "aef_cog"
    counts = _count_in_zones(product, warehouse, index) if has_index else {}
    registry = warehouse.settings.registry()
    years = []
    for year, of_year in sorted(files.items()):
        before = state.of(year).asked or rules.stored.get(year, {})
        traits = _read_changed(warehouse, product, of_year, before)
        identity = identify_product(registry, product, year, traits)
        years.append(YearLook(year, tuple(of_year), counts.get(year), identity.product, identity.advice))
    return Look(product.name, tuple(years), identify_index(product, source) if has_index else "")


def rules_for(warehouse: Warehouse, product: Product) -> WatchRules:
    """Say what the settings take of a product, and what the last run indexed of it."""
    automation = warehouse.settings.automation
    return WatchRules(
        product.name,
        frozenset(warehouse.years_of(product)),
        follow=automation.follow,
        sources=frozenset(warehouse.settings.sources),
        shards=tuple(shard.key for shard in warehouse.shards()) if _has_shards(warehouse) else (),
        stored=_read_stored(warehouse, product),
        look_every_s=automation.look_every_s,
    )


def name_ground(product: Product, row: Row) -> str:
    """Name what a file covers, alike in every year: names of AlphaEarth files differ from year to year."""
    if product.layout in ("eg_geoparquet", "aef_zarr"):
        return str(row["tile"])
    if product.layout == "aef_cog" and row["utm_west_m"] is not None:
        return f"{row['tile']}/{row['utm_west_m']:.0f}E/{row['utm_south_m']:.0f}N"
    return str(row["path"])


def _list_years(taken: Collection[int], now: float) -> range:
    """Give the years to ask for: some servers list nothing, so every year costs a question for every file."""
    this_year = datetime.fromtimestamp(now, UTC).year
    return range(min(taken) - 1, max(*taken, this_year) + 1)


def _group_by_year(warehouse: Warehouse, product: Product, index: pa.Table) -> dict[int, list[PublishedFile]]:
    shards = warehouse.shards() if _has_shards(warehouse) else ()
    files: dict[int, list[PublishedFile]] = {}
    for row in index.to_pylist():
        where = tuple(shard.key for shard in shards if _reaches(product, row, shard))
        file = PublishedFile(name_ground(product, row), row["path"], row["etag"], row["size_bytes"], where)
        files.setdefault(row["year"], []).append(file)
    return files


def _reaches(product: Product, row: Row, shard: Shard) -> bool:
    """Tell whether a shard reads a file; files without bounds are read by none, files of a zone by its squares."""
    if row["west_deg"] is None:
        return False
    west, south, east, north = (row[f"{side}_deg"] for side in SIDES)
    if not boxes_touch((west, south, east, north), shard.bbox):
        return False
    return product.layout != "aef_cog" or shard.rule != "mgrs" or bool(row["epsg"] == shard.epsg)


def _read_stored(warehouse: Warehouse, product: Product) -> Mapping[int, Mapping[str, str]]:
    """Give the versions that the last run indexed, by year; none before the first run."""
    table = f"raw_{product.name}__index"
    if not has_partition(warehouse.root, table, ALL):
        return {}
    files: dict[int, list[PublishedFile]] = {}
    for row in warehouse.read(table).to_pylist():
        file = PublishedFile(name_ground(product, row), row["path"], row["etag"], row["size_bytes"])
        files.setdefault(row["year"], []).append(file)
    return {year: versions_of(of_year) for year, of_year in files.items()}


def _count_in_zones(product: Product, warehouse: Warehouse, index: pa.Table) -> dict[int, int]:
    """Count the rows of the whole index by year, in the zones that the area touches."""
    zones = frozenset(index["tile"].to_pylist())
    counts: dict[int, int] = {}
    for (year, zone), count in count_aef_files(product, warehouse.source(product.name)).items():
        if zone in zones:
            counts[year] = counts.get(year, 0) + count
    return counts


def _read_changed(
    warehouse: Warehouse, product: Product, files: Sequence[PublishedFile], before: Mapping[str, str]
) -> FileTraits:
    """Read what one file that changed since a run says about itself; nothing where no file did."""
    now = versions_of(files)
    root = warehouse.source(product.name).root
    for file in files:
        if file.is_there and now[file.ground] != before.get(file.ground):
            return read_traits(product, root / file.path)
    return FileTraits()


def _has_shards(warehouse: Warehouse) -> bool:
    return has_partition(warehouse.root, "core_grid__shards", ALL)
