"""The DuckDB catalogue: views over the Parquet files, in memory or as `warehouse.duckdb`.

Belongs here: making the views. Does not: running SQL on them (`queries.py`), the SQL itself (`sql/`), writing rows.

The catalogue holds no rows, so any number of readers can query while a run writes, and no DuckDB extension is
needed. `warehouse.duckdb` names its files by absolute path: rebuild it (it takes a second) after moving a
warehouse, and after the first partition of a table is written; later partitions are found by themselves.

Names beside the tables:
    `core_label__pixels`, `core_label__patches`: all label sources that name classes.
    `pair_patches`, `pair_pixels`, `pair_pooled`, `pair_upsampled`, `pair_basis`: tables of the compared products;
        `pair_pixels.embedding` is dequantised. `pair_pixels_quantised`: the stored codes, where there are any;
        `pair_pixels_unquantised`: the stored floats, where there are none. `pair_pixel_files`: their release index.
    `out_pixel__nearest`; `verdicts`, `leaderboard`, `learning_curves` and the other answers (`sql/marts`).
    `check_{name}`, `failed_rows`: rows that break a rule (`sql/checks`).
    `stored_tables`, `stored_footers`, `stored_flags`, `provenance`: files, rows, bytes and provenance records.
    `lattice_neighbours`, and the macros of `sql/views`: what checks and queries share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from warehouse.adapter_schemas import adapter_specs
from warehouse.catalog_files import CatalogFiles
from warehouse.errors import StoredTableError
from warehouse.file_paths import FilePath
from warehouse.layout import CELL_FILES, PART_FILE
from warehouse.products import Product, load_registry
from warehouse.schemas import build_specs
from warehouse.sections import CompareSettings
from warehouse.sql_files import Fragment, Identifier, Text, compose, list_sql, read_sql
from warehouse.table_spec import TableSpec
from warehouse.unfinished import replace_file
from warehouse.writer import stored_schema

CATALOG_FILE = "warehouse.duckdb"

#: Nothing is ever fetched: SQL here must work on a machine without a network.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
#: Types of the keys in paths. A shard such as `0012` must stay text.
_HIVE_TYPES = {
    ("year", "shard"): Fragment("{'year': INTEGER, 'shard': VARCHAR}"),
    ("year",): Fragment("{'year': INTEGER}"),
    ("shard",): Fragment("{'shard': VARCHAR}"),
}
_KEY_TYPES = {"year": pa.int32(), "shard": pa.string()}
#: Macros of one value, in the order in which they build on each other.
_MACROS = (
    "dequantize",
    "haversine_m",
    "squeeze_step",
    "squeeze_bits",
    "geohash_lon",
    "geohash_lat",
    "conformal_tangent",
    "meridian_angle",
    "transverse_north",
    "transverse_east",
    "utm_series_x",
    "utm_series_y",
    "utm_x_m",
    "utm_y_m",
    "lattice_columns",
)
#: Views and macros over stored tables and their footers, which checks use.
_SHARED_VIEWS = ("out_pixel__nearest", "provenance", "one_model", "lattice_neighbours", "seams", "outlying_vectors")
#: Marts in the order in which they build on each other.
_MARTS = (
    "per_class",
    "per_label",
    "scores_from_confusions",
    "verdicts",
    "leaderboard",
    "task_scores",
    "learning_curves",
    "leakage_gap",
    "purity_curve",
    "cost_vs_score",
    "region_matrix",
    "resolution_ladder",
    "fold_audit",
    "transfer_matrix",
)
_ABSENT = "absent"

_SQL_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.uint8(): "UTINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
}


def open_catalog(
    files: CatalogFiles, specs: Mapping[str, TableSpec], compare: CompareSettings
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory connection with all views.

    Args:
        files: of the warehouse.
        specs: its tables, from `build_specs`.
        compare: the pair of products behind the views `pair_*`.

    Returns:
        The connection; close it after use.
    """
    connection = duckdb.connect(config=_CONFIG)
    build_views(connection, files, specs, compare)
    return connection


def write_catalog(root: FilePath, specs: Mapping[str, TableSpec], compare: CompareSettings) -> FilePath:
    """Write `warehouse.duckdb`, replacing an old one atomically; whoever has that open keeps reading it.

    Returns:
        Its path. Open it with `duckdb.connect(path, read_only=True)`, or in the DuckDB shell.
    """
    path = root / CATALOG_FILE
    with replace_file(path, CATALOG_FILE) as temporary, duckdb.connect(str(temporary), config=_CONFIG) as connection:
        build_views(connection, CatalogFiles(root), specs, compare)
    return path


def build_views(
    connection: duckdb.DuckDBPyConnection,
    files: CatalogFiles,
    specs: Mapping[str, TableSpec],
    compare: CompareSettings,
) -> None:
    """Make all views and macros of the catalogue on a connection.

    Tables that are not stored yet become empty views with the declared column types, so that SQL on them works.
    """
    files.attach(connection)
    for macro in _MACROS:
        connection.execute(read_sql("views", macro).text)
    for spec in specs.values():
        try:
            connection.execute(_table_view(files, spec).sql)
        except duckdb.Error as error:
            raise StoredTableError(spec.name, str(files.root), str(error).splitlines()[0]) from error
    for spec in adapter_specs():
        if spec.name not in specs:
            connection.execute(_missing_view(spec).sql)
    _build_label_unions(connection, specs)
    _build_pair(connection, specs, compare)
    _build_inventory(connection, files, specs)
    for view in _SHARED_VIEWS:
        connection.execute(read_sql("views", view).text)
    for mart in _MARTS:
        connection.execute(read_sql("marts", mart).text)
    _build_checks(connection)


def _table_view(files: CatalogFiles, spec: TableSpec) -> Fragment:
    view = Identifier(spec.name)
    pattern = _files_pattern(spec)
    if not files.has(pattern):
        return compose(read_sql("templates", "missing_table"), view=view, columns=_empty_columns(spec))
    stored = files.pattern(pattern)
    if not spec.partition_by:
        template = read_sql("templates", "unpartitioned_table")
        return compose(template, view=view, columns=_stored_columns(spec), files=stored)
    parts: dict[str, Text | Fragment] = {
        "columns": _stored_columns(spec),
        "files": stored,
        "hive_types": _HIVE_TYPES[spec.partition_by],
    }
    if spec.sealed_by is None:
        return compose(read_sql("templates", "stored_table"), view=view, **parts)
    return compose(
        read_sql("templates", "sealed_cells"),
        view=view,
        folder=Text(f"/{spec.name}/"),
        seal_folder=Text(f"/{spec.sealed_by}/"),
        seals=files.pattern(pattern.replace(spec.name, spec.sealed_by, 1)),
        **parts,
    )


def _build_label_unions(connection: duckdb.DuckDBPyConnection, specs: Mapping[str, TableSpec]) -> None:
    """Make `core_label__{grain}` over all label sources; empty where there are none."""
    absent = _absent_specs()
    for grain in ("pixels", "patches"):
        tables = [n for n in specs if n.startswith("core_label_") and n.endswith(f"__{grain}")]
        names = [n for n in tables if "label" in specs[n].schema.names]  # sources of numbers have no class
        if not names:
            placeholder = absent[f"core_label_{_ABSENT}__{grain}"]
            connection.execute(_missing_view(placeholder).sql)
            names = [placeholder.name]
        template = read_sql("templates", f"label_{grain}_select")
        selects = [compose(template, source=Identifier(name)) for name in names]
        _create_union(connection, f"core_label__{grain}", selects)


def _build_pair(
    connection: duckdb.DuckDBPyConnection, specs: Mapping[str, TableSpec], compare: CompareSettings
) -> None:
    """Make the views `pair_*`; empty where the pair has no such side."""
    absent = _absent_specs()
    tables = {
        "pair_patches": ("core_{}__patches", compare.patches),
        "pair_pixels": ("core_{}__pixels", compare.pixels),
        "pair_pooled": ("out_patch__{}_pooled", compare.pixels),
        "pair_upsampled": ("out_pixel__{}_upsampled", compare.patches),
        "pair_basis": ("out_patch__{}_basis", compare.patches),
        "pair_pixel_files": ("raw_{}__index", compare.pixels),
    }
    for view, (pattern, product) in tables.items():
        name = pattern.format(product)
        spec = specs.get(name)
        if spec is None:
            spec = absent[pattern.format(_ABSENT)]
            connection.execute(_missing_view(spec).sql)
        if view == "pair_pixels":
            _build_pair_pixels(connection, spec)
        else:
            _create_alias(connection, view, spec.name)


def _build_pair_pixels(connection: duckdb.DuckDBPyConnection, spec: TableSpec) -> None:
    """Make `pair_pixels` with float vectors, and beside it the stored ones: as codes, or as floats."""
    is_quantised = "embedding_q" in spec.schema.names
    stored, other = ("quantised", "unquantised") if is_quantised else ("unquantised", "quantised")
    _create_alias(connection, f"pair_pixels_{stored}", spec.name)
    absent = _absent_specs(is_quantised=not is_quantised)[f"core_{_ABSENT}__pixels"]
    template = read_sql("templates", "missing_table")
    view = Identifier(f"pair_pixels_{other}")
    connection.execute(compose(template, view=view, columns=_empty_columns(absent)).sql)
    if not is_quantised:
        _create_alias(connection, "pair_pixels", spec.name)
        return
    dims = spec.schema.field("embedding_q").type.list_size
    statement = compose(
        read_sql("templates", "dequantized_pixels"),
        view=Identifier("pair_pixels"),
        source=Identifier(spec.name),
        vector=Fragment(_sql_type(pa.list_(pa.float32(), dims))),
    )
    connection.execute(statement.sql)


def _build_checks(connection: duckdb.DuckDBPyConnection) -> None:
    selects = []
    for name in list_sql("checks"):
        view = Identifier(f"check_{name}")
        statement = Fragment(read_sql("checks", name).text)
        connection.execute(compose(read_sql("templates", "check_view"), view=view, statement=statement).sql)
        template = read_sql("templates", "failed_rows_select")
        selects.append(compose(template, name=Text(name), view=view))
    _create_union(connection, "failed_rows", selects)


def _build_inventory(
    connection: duckdb.DuckDBPyConnection, files: CatalogFiles, specs: Mapping[str, TableSpec]
) -> None:
    """Make `stored_tables` (sizes), `stored_footers` (provenance records) and `stored_flags` (of simulated rows)."""
    for view, what in (("stored_tables", "size"), ("stored_footers", "footer"), ("stored_flags", "flag")):
        selects = []
        for spec in specs.values():
            pattern = _files_pattern(spec)
            template = read_sql("templates", f"{what}_select" if files.has(pattern) else f"missing_{what}_select")
            texts = {"name": spec.name, "description": spec.description, "release": spec.release}
            parts = {name: Text(text) for name, text in texts.items()}
            selects.append(compose(template, files=files.pattern(pattern), **parts))
        _create_union(connection, view, selects)


def _create_alias(connection: duckdb.DuckDBPyConnection, view: str, source: str) -> None:
    template = read_sql("templates", "alias")
    connection.execute(compose(template, view=Identifier(view), source=Identifier(source)).sql)


def _create_union(connection: duckdb.DuckDBPyConnection, view: str, selects: Sequence[Fragment]) -> None:
    union = Fragment("\nunion all\n".join(select.sql for select in selects))
    template = read_sql("templates", "union_views")
    connection.execute(compose(template, view=Identifier(view), selects=union).sql)


def _missing_view(spec: TableSpec) -> Fragment:
    template = read_sql("templates", "missing_table")
    return compose(template, view=Identifier(spec.name), columns=_empty_columns(spec))


def _absent_specs(*, is_quantised: bool = False) -> dict[str, TableSpec]:
    """Declare the tables of a pair that no source serves, so that their empty views have the right columns."""
    registry = load_registry()

    def placeholder(model: Product) -> Product:
        quantisation = model.quantisation if is_quantised else "none"
        return model.model_copy(update={"name": _ABSENT, "dims": 1, "quantisation": quantisation})

    specs: dict[str, TableSpec] = {}
    for side, name in (("pixels", "aef"), ("patches", "eg")):
        products = {_ABSENT: placeholder(registry[name])}
        pixels, patches = (_ABSENT, None) if side == "pixels" else (None, _ABSENT)
        specs |= build_specs(products, labels={_ABSENT: 1}, pixels=pixels, patches=patches)
    return specs


def _files_pattern(spec: TableSpec) -> str:
    levels = [f"{level}=*" for level in spec.partition_by]
    return "/".join([spec.name, *levels, CELL_FILES if spec.is_cells else PART_FILE])


def _stored_columns(spec: TableSpec) -> Fragment:
    # min and max of a bare key column crash DuckDB 1.5 where one file is left (github.com/duckdb/duckdb/issues/25629);
    # behind an expression they do not, and filters on the key still prune files
    columns = [f"coalesce({key}, null) as {key}" for key in (Identifier(k).render() for k in spec.partition_by)]
    columns += [_stored_column(column) for column in stored_schema(spec)]
    return Fragment(",\n    ".join(columns))


def _stored_column(column: pa.Field) -> str:
    """Select a column; fixed-size lists come out of Parquet as plain lists and get their size back."""
    name = Identifier(column.name).render()
    if column.name == "geometry":
        return f"{name}::GEOMETRY as {name}"
    if pa.types.is_fixed_size_list(column.type):
        return f"{name}::{_sql_type(column.type)} as {name}"
    return name


def _empty_columns(spec: TableSpec) -> Fragment:
    keys = [pa.field(level, _KEY_TYPES[level]) for level in spec.partition_by]
    return Fragment(",\n    ".join(_empty_column(column) for column in [*keys, *stored_schema(spec)]))


def _empty_column(column: pa.Field) -> str:
    kind = "GEOMETRY" if column.name == "geometry" else _sql_type(column.type)
    return f"null::{kind} as {Identifier(column.name).render()}"


def _sql_type(kind: pa.DataType) -> str:
    """Spell an Arrow type of `schemas.py` in SQL."""
    if pa.types.is_fixed_size_list(kind):
        return f"{_sql_type(kind.value_type)}[{kind.list_size}]"
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        members = [f"{Identifier(member.name).render()} {_sql_type(member.type)}" for member in kind]
        return f"STRUCT({', '.join(members)})"
    return _SQL_TYPES[kind]
