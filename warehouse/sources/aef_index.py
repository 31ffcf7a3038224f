"""The two published forms of the AlphaEarth release index.

`aef_index.parquet` has one column per bound and `path`; `aef_index_stac_geoparquet.parquet` has STAC columns.
Both list full URLs, which are mapped below the source root by their part from `annual/` on. The geometry
column (`geom` or `geometry`, depending on the copy) is not needed: the bounds say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms.area import Area
from transforms.utm import UtmBox
from warehouse.errors import (
    AnotherProductError,
    MissingColumnsError,
    SourceContentError,
    SourceForbiddenError,
    SourceFormatError,
    SourceMissingError,
)
from warehouse.file_access import stat_file
from warehouse.file_paths import FilePath, RemotePath
from warehouse.products import Product, spell_entry
from warehouse.sections import Bbox
from warehouse.source_settings import SourceSettings
from warehouse.sources.bounds import SIDES, box_columns, touches, utm_bounds
from warehouse.sources.files import open_parquet
from warehouse.sources.rasters import open_raster, read_header

#: Published names, looked for in `annual/` and in the root itself.
INDEX_NAMES = ("aef_index.parquet", "aef_index_stac_geoparquet.parquet")
_ANNUAL = re.compile(r"(?:^|/)(annual/\d{4}/\d{1,2}[NS]/[^/]+)$")
_EPSG = re.compile(r"^(?:EPSG:)?(\d{4,5})$")
_TABLE_COLUMNS = (
    "crs",
    "year",
    "utm_zone",
    *(f"utm_{side}" for side in SIDES),
    *(f"wgs84_{side}" for side in SIDES),
    "path",
)
#: The others are numbers.
_TEXT_COLUMNS = ("crs", "utm_zone", "path")
_STAC_COLUMNS = ("bbox", "datetime", "assets")
#: Names the model in STAC; copies of the index need not have it.
_COLLECTION = "collection"
_STAC_CRS_COLUMNS = ("proj:epsg", "proj:code")
_STAC_GRID_COLUMNS = ("proj:bbox", "proj:transform", "proj:shape")
Row = dict[str, Any]


def list_aef_files(
    product: Product,
    source: SourceSettings,
    years: frozenset[int],
    area: Area | None,
) -> list[Row]:
    """Read the release index in whichever form it is.

    Args:
        product: registry entry.
        source: root (the folder that contains `annual/`), or `index` for an index elsewhere.
        years: years wanted.
        area: area of interest; None = everywhere.

    Returns:
        Index rows with year, tile (UTM zone), path below the root, EPSG and bounds.

    Raises:
        SourceMissingError: there is no index.
        SourceForbiddenError: a server says no to each place where it may be.
        MissingColumnsError: the index lacks columns.
        SourceFormatError: the index is damaged, or a path or CRS in it cannot be understood.
        SourceContentError: columns are of another type, or rows of these years lack a value.
        AnotherProductError: the rows are of another STAC collection than the product's, or of several.
    """
    index = _find_index(product, source)
    wanted = _read_years(index, product, years)
    is_stac = "assets" in wanted.column_names
    parse: Callable[[Row, FilePath, FilePath], Row] = _parse_stac_row if is_stac else _parse_table_row
    candidates = (wanted if area is None else _near(wanted, area.bbox, is_stac=is_stac)).to_pylist()
    degrees = [_stac_degrees(r) if is_stac else _table_degrees(r) for r in candidates]
    return [
        parse(row | where, index, source.root)
        for row, where in zip(candidates, degrees, strict=True)
        if area is None or touches(where, area)
    ]


def _read_years(index: FilePath, product: Product, years: frozenset[int]) -> pa.Table:
    """Read the rows of some years, with the columns that their form needs, and check them."""
    with open_parquet(index) as file:
        names = file.schema_arrow.names
        is_stac = "assets" in names
        columns = _stac_columns(names) if is_stac else list(_TABLE_COLUMNS)
        missing = [name for name in columns if name not in names]
        if missing:
            raise MissingColumnsError(
                f"raw_{product.name}__index[{', '.join(map(str, sorted(years)))}]", missing, names,
                f"Is this the index of another release ({index})? Set sources.{product.name}.index.",
            )  # fmt: skip
        table = file.read(columns=columns)
    if not is_stac:
        _check_types(table.schema, index)
    wanted = table.filter(pc.is_in(_years_of(table), pa.array(sorted(years), pa.int64())))
    _check_collection(wanted, product, index)
    if not is_stac:
        _check_values(wanted, index)
    return wanted


def identify_index(product: Product, source: SourceSettings) -> str:
    """Give the identity of the release index: it changes whenever the producer writes a new one.

    Raises:
        SourceMissingError: there is no index.
    """
    index = _find_index(product, source)
    facts = index.version if isinstance(index, RemotePath) else stat_file(index)  # a remote one was asked just now
    return facts.etag if facts is not None else ""


def count_aef_files(product: Product, source: SourceSettings) -> dict[tuple[int, str], int]:
    """Count the rows of the release index, of the whole world.

    Args:
        product: registry entry.
        source: root or `index`.

    Returns:
        Rows by (year, UTM zone such as `48N`).

    Raises:
        SourceMissingError: there is no index.
        SourceFormatError: the index is damaged.
    """
    index = _find_index(product, source)
    with open_parquet(index) as file:
        is_stac = "assets" in file.schema_arrow.names
        table = file.read(columns=["datetime", "assets"] if is_stac else ["year", "utm_zone"])
    zones = _zones_of_links(table["assets"]) if is_stac else table["utm_zone"]
    rows = pa.table({"year": _years_of(table), "zone": zones})
    counted = rows.group_by(["year", "zone"]).aggregate([([], "count_all")]).to_pylist()
    return {(row["year"], row["zone"]): row["count_all"] for row in counted}


def _zones_of_links(assets: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give the zone in the path of each STAC asset."""
    links = pc.struct_field(assets, ["data", "href"])
    return pc.struct_field(pc.extract_regex(links, r"annual/\d{4}/(?P<zone>\d{1,2}[NS])/"), "zone")


def _check_collection(wanted: pa.Table, product: Product, index: FilePath) -> None:
    """Refuse rows of another STAC collection: a collection is a model, and two under one product would mix.

    Raises:
        AnotherProductError: they are not those of `product.collection`, or where it names none, of several.
    """
    if _COLLECTION not in wanted.column_names:
        return
    found = sorted(value for value in pc.unique(wanted[_COLLECTION]).to_pylist() if value is not None)
    expected = [product.collection] if product.collection is not None else found[:1]
    if found and found != expected:
        problem = f"STAC collections: found {found}, expected {expected} ({product.model})"
        entry = spell_entry(product, f"{product.name}_other", model="?", collection=found[-1])
        raise AnotherProductError(str(index), [problem], entry)


def _check_types(schema: pa.Schema, index: FilePath) -> None:
    """Refuse columns of another type, all at once."""
    problems = []
    for name in _TABLE_COLUMNS:
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if not (is_text if name in _TEXT_COLUMNS else is_number):
            problems.append(f"column '{name}': found {kind}, expected {'text' if name in _TEXT_COLUMNS else 'numbers'}")
    if problems:
        raise SourceContentError(str(index), problems, "Was the index written again by a tool? Download it again.")


def _check_values(rows: pa.Table, index: FilePath) -> None:
    """Refuse rows without a value; they would belong to no place."""
    counts = {name: rows[name].null_count for name in _TABLE_COLUMNS}
    problems = [f"column '{name}': found {n} of {len(rows)} rows without a value" for name, n in counts.items() if n]
    if problems:
        raise SourceContentError(str(index), [*problems, "expected none"], "Remove these rows, or download it again.")


def _find_index(product: Product, source: SourceSettings) -> FilePath:
    places: list[FilePath] = [source.root / folder / name for name in INDEX_NAMES for folder in ("annual", "")]
    if source.index is not None:
        places = [source.index]
    refused: SourceForbiddenError | None = None
    for place in places:
        try:
            facts = stat_file(place)
        except SourceForbiddenError as error:  # a bucket without a listing says so of what is not there
            refused = refused or error
            continue
        if facts is not None:
            return place.at(facts) if isinstance(place, RemotePath) else place
    if refused is not None:
        raise refused
    raise SourceMissingError(
        f"index of {product.name}",
        f"none of {[str(place) for place in places]}",
        "the published index",
        f"Set sources.{product.name}.root to the folder with annual/ in it, or sources.{product.name}.index.",
    )


def _stac_columns(names: Sequence[str]) -> list[str]:
    crs = next((name for name in _STAC_CRS_COLUMNS if name in names), _STAC_CRS_COLUMNS[0])
    collection = [_COLLECTION] if _COLLECTION in names else []
    return [*_STAC_COLUMNS, *collection, crs, *(name for name in _STAC_GRID_COLUMNS if name in names)]


def _years_of(table: pa.Table) -> pa.ChunkedArray:
    if "year" in table.column_names:
        return table["year"].cast(pa.int64())
    times = table["datetime"]
    if pa.types.is_timestamp(times.type):
        return pc.year(times)
    return pc.utf8_slice_codeunits(times.cast(pa.string()), 0, 4).cast(pa.int64())


def _near(table: pa.Table, bbox: Bbox, *, is_stac: bool) -> pa.Table:
    """Keep the rows that may touch a box: the index is of the whole world, and rows are slow one by one."""
    names = ("xmin", "ymin", "xmax", "ymax")
    west, south, east, north = (
        pc.struct_field(table["bbox"], name) if is_stac else table[f"wgs84_{side}"]
        for name, side in zip(names, SIDES, strict=True)
    )
    inside = pc.and_(pc.less_equal(south, bbox[3]), pc.greater_equal(north, bbox[1]))
    beside = pc.and_(pc.less_equal(west, bbox[2]), pc.greater_equal(east, bbox[0]))
    crosses = pc.greater(west, east)  # the antimeridian
    return table.filter(pc.fill_null(pc.and_(inside, pc.or_(beside, crosses)), True))


def _table_degrees(row: Mapping[str, Any]) -> Row:
    return {f"{side}_deg": row[f"wgs84_{side}"] for side in SIDES}


def _stac_degrees(row: Mapping[str, Any]) -> Row:
    keys = ("xmin", "ymin", "xmax", "ymax")
    return {f"{side}_deg": row["bbox"][key] for side, key in zip(SIDES, keys, strict=True)}


def _degrees(row: Mapping[str, Any]) -> tuple[float, float, float, float]:
    return row["west_deg"], row["south_deg"], row["east_deg"], row["north_deg"]


def _parse_table_row(row: Row, index: FilePath, _: FilePath) -> Row:
    box = UtmBox(_parse_epsg(row["crs"], index), *(row[f"utm_{side}"] for side in SIDES))
    return {
        "year": row["year"],
        "tile": row["utm_zone"],
        "path": _path_below_root(row["path"], index),
        **box_columns(box, _degrees(row)),
    }


def _parse_stac_row(row: Row, index: FilePath, root: FilePath) -> Row:
    epsg = _parse_epsg(row.get("proj:epsg", row.get("proj:code")), index)
    path = _path_below_root(((row["assets"] or {}).get("data") or {}).get("href"), index)
    box = _stac_box(row, epsg) or _header_box(root / path) or utm_bounds(_degrees(row), epsg)
    _, year, zone, _ = path.split("/")
    return {
        "year": int(year),
        "tile": zone,
        "path": path,
        **box_columns(box, _degrees(row)),
    }


def _stac_box(row: Mapping[str, Any], epsg: int) -> UtmBox | None:
    """Give the bounds in metres from the STAC projection fields, where the copy has them."""
    if row.get("proj:bbox"):
        return UtmBox(epsg, *map(float, row["proj:bbox"]))
    if row.get("proj:transform") and row.get("proj:shape"):
        a, _, c, _, e, f = (float(value) for value in row["proj:transform"][:6])
        height, width = row["proj:shape"]
        y = sorted((f, f + e * height))
        return UtmBox(epsg, c, y[0], c + a * width, y[1])
    return None


def _header_box(path: FilePath) -> UtmBox | None:
    """Give the bounds in the file itself; None where it is missing or damaged (reading it says so)."""
    try:
        with open_raster(path) as dataset:
            return read_header(dataset, path).box
    except (SourceMissingError, SourceFormatError):
        return None


def _parse_epsg(value: object, index: FilePath) -> int:
    match = _EPSG.match(str(value))
    if match is None:
        raise SourceFormatError(
            str(index),
            "CRS",
            repr(value),
            "'EPSG:326zz' or 'EPSG:327zz'",
            "Is this the index of another release?",
        )
    return int(match[1])


def _path_below_root(path: str | None, index: FilePath) -> str:
    match = _ANNUAL.search(path or "")
    if match is None:
        raise SourceFormatError(
            str(index), "path", repr(path), "'.../annual/{year}/{zone}/{stem}.tiff'",
            "Is this the index of another release?",
        )  # fmt: skip
    return match[1]
