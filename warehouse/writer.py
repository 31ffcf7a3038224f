"""Writing partitions: checked against the declared schema, atomic, GeoParquet where there is geometry.

Belongs here: file encoding and atomic replacement. Does not: paths (`layout.py`), what the rows mean.
One file per partition is written beside its target and renamed, or sent to an object store when it is whole: a killed
run leaves the old partition or the new one, never half.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from warehouse.errors import SchemaError
from warehouse.file_paths import FilePath
from warehouse.fingerprints import Fingerprint
from warehouse.provenance import FOOTER_KEY, Provenance, encode_footer
from warehouse.table_spec import TableSpec
from warehouse.unfinished import replace_file
from warehouse.write_errors import write_errors

#: Largest and smallest number of rows of a row group, and the bytes that its vectors should not exceed.
#: See docs/adr/0003-parquet-layout.md.
ROW_GROUP_ROWS = 16_384
MIN_ROW_GROUP_ROWS = 2_048
ROW_GROUP_BYTES = 4 * 2**20


@dataclass(frozen=True)
class WrittenPartition:
    """What was written."""

    path: FilePath
    rows: int
    bytes: int


@dataclass
class PartitionWriter:
    """Takes tables of one partition, one row group or more each; made by `open_partition`."""

    spec: TableSpec
    path: FilePath
    file: pq.ParquetWriter
    rows: int = 0
    n_bytes: int = 0
    _bounds: list[float] = field(default_factory=list)

    def write(self, table: pa.Table) -> None:
        """Append rows, sorted among themselves in the table's order.

        Raises:
            SchemaError: columns or types differ from the declared schema.
            DiskFullError: there is no room.
        """
        check_schema(self.spec, table)
        if table.num_rows == 0:
            return
        ordered = table.select(self.spec.schema.names).sort_by([(name, "ascending") for name in self.spec.sort_by])
        if self.spec.geometry is not None:
            ordered, bounds = _encode_geometry(self.spec, ordered)
            self._bounds += bounds
        stored = ordered.replace_schema_metadata(None).cast(stored_schema(self.spec))
        with write_errors(self.spec.name, self.path):
            self.file.write_table(stored, row_group_size=row_group_rows(self.spec))
        self.rows += table.num_rows

    def written(self) -> WrittenPartition:
        """Say what was written; to be asked after the block has ended."""
        return WrittenPartition(self.path, self.rows, self.n_bytes)

    def finish_geometry(self) -> None:
        """Put the geo record of all rows into the footer."""
        if self.spec.geometry is not None:
            corners = np.array(self._bounds).reshape(-1, 4) if self._bounds else np.empty((0, 4))
            record = _geo_metadata(self.spec, corners)
            self.file.add_key_value_metadata({"geo": record.decode()})


@contextlib.contextmanager
def open_partition(
    path: FilePath, spec: TableSpec, provenance: Provenance, fingerprint: Fingerprint | None = None
) -> Iterator[PartitionWriter]:
    """Write a partition in pieces; nothing is visible before the block ends without an error.

    Args:
        path: target file.
        spec: the table.
        provenance: goes into the footer.
        fingerprint: goes into the footer; None = the partition will count as stale.

    Yields:
        A writer of tables with the declared columns.

    Raises:
        DiskFullError: there is no room.
        NotWritableError: this user may not write there, or nobody may.
    """
    record = encode_footer(spec.name, spec.schema_version, provenance, fingerprint)
    schema = stored_schema(spec).with_metadata({FOOTER_KEY: record})
    with replace_file(path, spec.name) as temporary, contextlib.ExitStack() as cleanup:
        with write_errors(spec.name, path):
            file = pq.ParquetWriter(temporary, schema, **encodings(spec))
        cleanup.callback(_abandon, file)
        writer = PartitionWriter(spec, path, file)
        yield writer
        with write_errors(spec.name, path):
            writer.finish_geometry()
            file.close()
        writer.n_bytes = temporary.stat().st_size


def _abandon(file: pq.ParquetWriter) -> None:
    """Close a file that is not wanted; on a full disk its footer cannot be written, which says nothing new."""
    with contextlib.suppress(OSError):
        file.close()


def write_table(
    path: FilePath, spec: TableSpec, table: pa.Table, provenance: Provenance, fingerprint: Fingerprint | None = None
) -> WrittenPartition:
    """Write a whole partition at once.

    Raises:
        SchemaError: columns or types differ from the declared schema; nothing is written.
    """
    check_schema(spec, table)
    with open_partition(path, spec, provenance, fingerprint) as writer:
        writer.write(table)
    return writer.written()


def check_schema(spec: TableSpec, table: pa.Table) -> None:
    """Compare a table with its declaration, all differences at once.

    Raises:
        SchemaError: a column is missing, unknown or of another type, or a vector has null elements.
    """
    problems = []
    for column in spec.schema:
        index = table.schema.get_field_index(column.name)
        if index < 0:
            problems.append(f"column '{column.name}' is missing, expected {column.type}")
        elif table.schema.field(index).type != column.type:
            found = table.schema.field(index).type
            problems.append(f"column '{column.name}': found {found}, expected {column.type}")
        elif pa.types.is_fixed_size_list(column.type):
            n_null = sum(chunk.flatten().null_count for chunk in table.column(index).chunks)
            if n_null:
                problems.append(f"column '{column.name}': found {n_null} null elements, expected NaN or a null vector")
    unknown = sorted(set(table.column_names) - set(spec.schema.names))
    if unknown:
        problems.append(f"found unknown columns {unknown}")
    if problems:
        raise SchemaError(spec.name, problems)


def stored_schema(spec: TableSpec) -> pa.Schema:
    """Give the schema on disk: the declared one, and a `bbox` covering beside polygons (GeoParquet 1.1).

    Elements of vectors are declared never null: without their null flags they read faster (see the ADR).
    """
    schema = pa.schema([column.with_type(_stored_type(column.type)) for column in spec.schema])
    if not _has_bbox(spec):
        return schema
    corner = [pa.field(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")]
    return schema.append(pa.field("bbox", pa.struct(corner)))


def _has_bbox(spec: TableSpec) -> bool:
    return spec.geometry in ("Polygon", "MultiPolygon")


def _stored_type(kind: pa.DataType) -> pa.DataType:
    if not pa.types.is_fixed_size_list(kind):
        return kind
    return pa.list_(pa.field("element", kind.value_type, nullable=False), kind.list_size)


def _encode_geometry(spec: TableSpec, table: pa.Table) -> tuple[pa.Table, list[float]]:
    """Add the bbox column that `stored_schema` declares, and give the bounds of all rows.

    Raises:
        SchemaError: a shape is not of the declared type.
    """
    geometry = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    declared = shapely.GeometryType[str(spec.geometry).upper()]
    strangers = (shapely.get_type_id(geometry) != declared) & ~shapely.is_missing(geometry)
    if strangers.any():
        found = sorted({shape.geom_type for shape in geometry[strangers]})
        raise SchemaError(spec.name, [f"column 'geometry': found {found}, expected {spec.geometry}"])
    bounds = shapely.bounds(geometry)
    if _has_bbox(spec):
        arrays = [pa.array(column, from_pandas=True) for column in bounds.T]
        box = pa.StructArray.from_arrays(arrays, names=["xmin", "ymin", "xmax", "ymax"])
        table = table.append_column("bbox", box)
    known = bounds[~shapely.is_missing(geometry)]
    total = [*known[:, :2].min(axis=0), *known[:, 2:].max(axis=0)] if len(known) else []
    return table, [float(value) for value in total]


def _geo_metadata(spec: TableSpec, corners: np.ndarray) -> bytes:
    """Let geopandas spell the GeoParquet record for this geometry type and extent.

    Rows are written piece by piece, so the record is made from boxes (or points) that span the same extent.
    """
    if _has_bbox(spec):
        shapes = shapely.box(*corners.T)
        shapes = shapes if spec.geometry == "Polygon" else [shapely.multipolygons([box]) for box in shapes]
    else:
        shapes = shapely.points(np.concatenate([corners[:, :2], corners[:, 2:]]))
    frame = geopandas.GeoDataFrame(geometry=geopandas.GeoSeries(shapes, crs="EPSG:4326"))
    buffer = io.BytesIO()
    frame.to_parquet(buffer, schema_version="1.1.0", write_covering_bbox=_has_bbox(spec))
    return bytes(pq.read_schema(buffer).metadata[b"geo"])


def row_group_rows(spec: TableSpec) -> int:
    """Give the rows of a row group: a power of two, the smaller the wider the vectors of a row are."""
    vectors = [column.type for column in spec.schema if pa.types.is_fixed_size_list(column.type)]
    row_bytes = sum(kind.list_size * kind.value_type.bit_width / 8 for kind in vectors)
    rows = ROW_GROUP_ROWS
    while rows > MIN_ROW_GROUP_ROWS and rows * row_bytes > ROW_GROUP_BYTES:
        rows //= 2
    return rows


def encodings(spec: TableSpec) -> dict[str, object]:
    """Choose encodings: byte-stream split for floats, dictionaries for text and codes. See the ADR."""
    floats, repeated = [], []
    for column in stored_schema(spec):
        kind = column.type
        if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
            floats.append(f"{column.name}.list.element")
        elif pa.types.is_floating(kind):
            floats.append(column.name)
        elif pa.types.is_string(kind):
            repeated.append(column.name)
        elif pa.types.is_fixed_size_list(kind) and pa.types.is_int8(kind.value_type):
            # Parquet stores an int8 in four bytes; an index into 256 codes takes one
            repeated.append(f"{column.name}.list.element")
    return {
        "compression": "zstd",
        "use_dictionary": repeated or False,
        "use_byte_stream_split": floats or False,
    }
