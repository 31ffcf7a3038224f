"""The release index of a product: which files there are, for which year and ground.

Belongs here: `read_index` and the listing of products without an index file of their own. Does not: the two
published forms of the AlphaEarth index (`aef_index.py`).

`path` is always relative to the source root, so an index outlives a move of the root. `size_bytes` and `etag` are
those of this listing; remote files are read by that version only. A bad or missing file
never spoils the index: it keeps its row (`size_bytes` and `etag` NULL where it is missing), and reading it
raises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import shapely

from transforms.area import Area
from transforms.errors import IsthmusError
from transforms.sentinel2 import sentinel2_tile_box
from warehouse.errors import BAD_FILE_ERRORS, SourceMissingError
from warehouse.file_access import stat_files
from warehouse.file_paths import FilePath
from warehouse.products import Layout, Product
from warehouse.schemas import build_specs
from warehouse.source_settings import SourceSettings
from warehouse.sources.aef_index import list_aef_files
from warehouse.sources.aef_zarr import list_mosaic_shards
from warehouse.sources.bounds import box_columns, span_columns, touches
from warehouse.sources.eg_names import list_all_names, list_eg_names, parse_eg_name
from warehouse.sources.files import is_simulated_parquet, is_simulated_root, list_files
from warehouse.sources.patch_geoparquet import read_footprints
from warehouse.sources.pixel_table import read_table_places
from warehouse.sources.rasters import open_raster, read_header

Row = dict[str, Any]


def read_index(product: Product, source: SourceSettings, years: Sequence[int], area: Area | None = None) -> pa.Table:
    """List the files of a product for some years and an area.

    Args:
        product: registry entry; its layout says how files are found.
        source: root, and for some layouts `files`, `index`, `year`.
        years: calendar years wanted.
        area: area of interest; None = everywhere.

    Returns:
        `raw_{product}__index` with its declared schema, sorted by year and path; empty where no file touches
        the area.

    Raises:
        SourceMissingError: the root, the index file or all files are missing, or no year is known.
        SourceFormatError: the index is not readable.
        MissingColumnsError: the index lacks columns.
    """
    rows = _LISTERS[product.layout](product, source, frozenset(years), area)
    kept = [row for row in rows if area is None or touches(row, area)]
    is_simulated = is_simulated_root(source.root)
    for row, facts in zip(kept, stat_files([source.root / row["path"] for row in kept]), strict=True):
        row["size_bytes"] = facts.size_bytes if facts else None
        row["etag"] = facts.etag if facts else None
        row["product"] = product.name
        row["is_simulated"] = is_simulated or _is_written_from_simulated(product, source.root / row["path"], row)
    kept.sort(key=lambda row: (row["year"], row["path"]))
    return pa.Table.from_pylist(kept, schema=_schema(product))


def list_years(product: Product, source: SourceSettings, years: Collection[int]) -> list[int]:
    """Say for which of some years a product has files anywhere; no file is opened or asked for.

    Raises:
        SourceMissingError, SourceFormatError, MissingColumnsError: see `read_index`.
    """
    return sorted({row["year"] for row in _LISTERS[product.layout](product, source, frozenset(years), None)})


def _list_eg(product: Product, source: SourceSettings, years: frozenset[int], area: Area | None) -> list[Row]:
    names = list_eg_names(source.root, years, area)
    rows = []
    for path in names:
        folder, name = path.split("/")
        parsed = parse_eg_name(name)
        if parsed is not None and parsed[1] in years and folder == str(parsed[1]):
            tile, year = parsed
            bounds = _try_bounds(_tile_bounds, source.root / path, product)
            rows.append({"year": year, "tile": tile, "path": path, **bounds})
    if not rows:
        names = list_all_names(source.root)
        raise SourceMissingError(
            f"raw_{product.name}__index[{', '.join(map(str, sorted(years)))}]",
            f"{len(names)} Parquet files in the folders of {source.root}, none named for these years"
            + (f" (e.g. {names[0]})" if names else ""),
            "{year}/{MGRS}_{year}-01-01_{year+1}-01-01.parquet",
            f"Set sources.{product.name}.root to the folder that holds the year folders.",
        )
    return rows


def count_unregistered_years(
    product: Product, source: SourceSettings, years: Collection[int], area: Area | None
) -> dict[int, int]:
    """Count the files of years that are asked for and published, but that the registry entry does not name.

    A later year may be of another model, as Earth Genome's 2025 is: nothing in the files of 2024 on says which.

    Returns:
        Number of files by year, for products whose files are listed by year.
    """
    others = frozenset(year for year in years if not product.takes(year))
    if product.layout != "eg_geoparquet" or not others:
        return {}
    parsed = [parse_eg_name(PurePosixPath(path).name) for path in list_eg_names(source.root, others, area)]
    found = [one[1] for one in parsed if one is not None and one[1] in others]
    return {year: found.count(year) for year in sorted(set(found))}


def _list_plain(product: Product, source: SourceSettings, years: frozenset[int], _: Area | None) -> list[Row]:
    """List the files of a product whose names say nothing: one row per file of the glob."""
    year = source.year if source.year is not None else (product.years[0] if len(product.years) == 1 else None)
    if year is None:
        raise SourceMissingError(
            f"sources.{product.name}.year",
            f"no year, and products {product.name} has years {list(product.years)}",
            "one year",
            f"Set sources.{product.name}.year.",
        )
    names = list_files(source.root, source.files)
    if not names:
        raise SourceMissingError(
            f"raw_{product.name}__index[{year}]",
            f"no file matching '{source.files}' in {source.root}",
            "at least one",
            f"Set sources.{product.name}.root and sources.{product.name}.files.",
        )
    if year not in years:
        return []
    read_bounds = _BOUNDS[product.layout]
    return [
        {
            "year": year,
            "path": name,
            "tile": PurePosixPath(name).stem,
            **_try_bounds(read_bounds, source.root / name, product),
        }
        for name in names
    ]


def list_unreadable(product: Product, source: SourceSettings, index: pa.Table) -> list[str]:
    """Say which files of an index could not be placed, and why.

    They belong to no shard, so nothing would read them and nobody would miss them.

    Args:
        product: registry entry.
        source: its root.
        index: rows of `raw_{product}__index`.

    Returns:
        One message per file without a place; files without rows are no problem.
    """
    read_bounds = _tile_bounds if product.layout == "eg_geoparquet" else _BOUNDS.get(product.layout)
    if read_bounds is None:
        return []
    messages = []
    for path in index.filter(pc.is_null(index["west_deg"]))["path"].to_pylist():
        try:
            bounds = read_bounds(source.root / path, product)
        except IsthmusError as error:
            messages.append(str(error))
            continue
        if bounds:
            messages.append(
                f"{source.root / path}: found a file that can be read now, but could not when the index was made, "
                "expected its bounds in the index: no shard has read it. Run again: the index is read anew."
            )
    return messages


def _is_written_from_simulated(product: Product, path: FilePath, row: Row) -> bool:
    """Ask the footer of a readable patch file; other layouts are never written by Isthmus outside a simulated world."""
    return product.layout == "patch_geoparquet" and row.get("west_deg") is not None and is_simulated_parquet(path)


def _try_bounds(
    read_bounds: Callable[[FilePath, Product], Mapping[str, Any]], path: FilePath, product: Product
) -> Mapping[str, Any]:
    """Give the bounds of a file; none where it is bad: its row stays, and `list_unreadable` says what is wrong.

    Other errors pass, as those of a server, of the cache or of a version: they say nothing of the file.
    """
    try:
        return read_bounds(path, product)
    except BAD_FILE_ERRORS:
        return {}


def _tile_bounds(path: FilePath, _: Product) -> Mapping[str, Any]:
    return box_columns(sentinel2_tile_box(path.name[:5]))


def _raster_bounds(path: FilePath, _: Product) -> Mapping[str, Any]:
    with open_raster(path) as dataset:
        return box_columns(read_header(dataset, path).box)


def _table_bounds(path: FilePath, _: Product) -> Mapping[str, Any]:
    places = read_table_places(path)
    if not len(places.lon):
        return {}
    lon, lat, x, y = places.lon, places.lat, places.x_m, places.y_m
    degrees = (lon.min(), lat.min(), lon.max(), lat.max())
    return span_columns(degrees, (x.min(), y.min(), x.max(), y.max()), places.epsg)


def _footprint_bounds(path: FilePath, product: Product) -> Mapping[str, Any]:
    prints = read_footprints(path, product)
    if not len(prints):
        return {}
    x, y, half = prints.x_m, prints.y_m, prints.side_m / 2
    west, south, east, north = shapely.total_bounds(prints.polygons)
    metres = ((x - half).min(), (y - half).min(), (x + half).max(), (y + half).max())
    return span_columns((west, south, east, north), metres, prints.epsg)


def _schema(product: Product) -> pa.Schema:
    specs = build_specs({product.name: product}, labels={}, pixels=None, patches=None)
    return specs[f"raw_{product.name}__index"].schema


_BOUNDS: Mapping[Layout, Callable[[FilePath, Product], Mapping[str, Any]]] = {
    "pixel_geotiff": _raster_bounds,
    "pixel_table": _table_bounds,
    "patch_geoparquet": _footprint_bounds,
}
_LISTERS: Mapping[Layout, Callable[[Product, SourceSettings, frozenset[int], Area | None], list[Row]]] = {
    "aef_cog": list_aef_files,
    "aef_zarr": list_mosaic_shards,
    "eg_geoparquet": _list_eg,
    "pixel_geotiff": _list_plain,
    "pixel_table": _list_plain,
    "patch_geoparquet": _list_plain,
}
