"""What a table declaration is made of.

Belongs here: `TableSpec`, where versions begin, columns that many tables share. Does not: the tables
(`schemas.py`, `derived_schemas.py`, `evidence_schemas.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

#: Where the schema version of every table begins; files of the time when all tables shared one say the same.
FIRST_SCHEMA_VERSION = 2

H3_PATCH = [pa.field(f"h3_r{r}", pa.uint64()) for r in (5, 7, 9)]
H3_PIXEL = [*H3_PATCH, pa.field("h3_r12", pa.uint64())]
LONLAT = [pa.field("lon", pa.float64()), pa.field("lat", pa.float64())]
SIMULATED = pa.field("is_simulated", pa.bool_())
WKB = pa.field("geometry", pa.binary())


@dataclass(frozen=True)
class TableSpec:
    """One table.

    Attributes:
        name: asset key, folder and SQL view.
        schema: columns in order; `geometry` (WKB, EPSG:4326) becomes GeoParquet on writing.
        partition_by: levels of the path.
        sort_by: columns that rows are sorted by (geohash keys sort along a Z-order curve).
        geometry: type of the geometry column, or None.
        description: one sentence for the catalogue and the UI.
        is_cells: True where a partition is a set of evidence cells.
        release: model and grid of the product whose vectors or places it holds (`Product.release`); stored partitions
            must carry the same. Empty where it holds those of no one product.
        sealed_by: table whose file of a cell is written last: rows of cells without it are not shown.
        schema_version: version of the form that its rows are stored in. Raise it where files of the same rows must be
            written again: its partitions are stale then, and nothing that follows from them. Other columns are noticed
            without it, but in tables of cells, whose versions are raised together; other values need `Recipe.logic`.
    """

    name: str
    schema: pa.Schema
    partition_by: tuple[Literal["year", "shard"], ...]
    sort_by: tuple[str, ...]
    geometry: Literal["Point", "Polygon", "MultiPolygon"] | None
    description: str
    is_cells: bool = field(default=False)
    release: str = field(default="")
    sealed_by: str | None = None
    schema_version: int = FIRST_SCHEMA_VERSION


def vector_type(dims: int, *, is_quantised: bool = False) -> pa.DataType:
    """Give the type of a vector column: a fixed-size list of float32, or of int8 codes."""
    return pa.list_(pa.int8() if is_quantised else pa.float32(), dims)
