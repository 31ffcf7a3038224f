"""Tables as transforms hand them to the writer: declared columns, geometry of the declared type, no bbox."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import shapely

from tests.warehouse.fake_rows import demo_specs, random_rows
from warehouse.provenance import Provenance, SourceFile
from warehouse.table_spec import TableSpec

SPECS = demo_specs()
PROVENANCE = Provenance(
    product="aef",
    release="",  # so that it serves every table
    licence="CC-BY-4.0",
    attribution=("Data by their producer.",),
    is_simulated=True,
    sources=(SourceFile("annual/2024/48N/x.tiff", "abc-1"),),
    inputs=("raw_aef__index",),
)


def declared_rows(spec: TableSpec, n_rows: int, rng: np.random.Generator) -> pa.Table:
    """Fill the declared columns with random values, unsorted."""
    if not n_rows:
        return spec.schema.empty_table()
    rows = random_rows(spec, n_rows, rng).select(spec.schema.names).cast(spec.schema)
    if spec.geometry == "Point":
        points = shapely.points(rows["lon"].to_numpy(), rows["lat"].to_numpy())
        rows = with_geometry(rows, points)
    if spec.geometry == "MultiPolygon":
        polygons = shapely.from_wkb(rows["geometry"].to_numpy())
        rows = with_geometry(rows, np.array([shapely.multipolygons([polygon]) for polygon in polygons]))
    return rows


def with_geometry(rows: pa.Table, shapes: np.ndarray) -> pa.Table:
    """Replace the geometry column."""
    position = rows.schema.get_field_index("geometry")
    wkb = [None if shape is None else shapely.to_wkb(shape) for shape in shapes]
    return rows.set_column(position, rows.schema.field(position), pa.array(wkb, pa.binary()))


def sort_rows(spec: TableSpec, rows: pa.Table) -> pa.Table:
    """Put rows into the order of their table."""
    return rows.sort_by([(name, "ascending") for name in spec.sort_by])
