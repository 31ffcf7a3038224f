"""Small hand-made warehouses: rows for any declared table, written with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from warehouse.adapter_schemas import adapter_specs
from warehouse.products import Product, load_registry
from warehouse.schemas import build_specs
from warehouse.sections import CompareSettings
from warehouse.table_spec import TableSpec
from warehouse.writer import stored_schema

PAIR = CompareSettings(pixels="aef", patches="eg")
CLASSES = ("water", "trees", "crops", "built")
YEAR = 2024
SHARDS = ("47PQQ", "48PTV")

_INTEGER_RANGE = {
    pa.uint8(): (0, 256),
    pa.int8(): (-127, 128),
    pa.int16(): (0, 4),
    pa.int32(): (0, 1000),
    pa.int64(): (0, 1000),
}


def demo_specs(
    *, pixels: str | None = "aef", patches: str | None = "eg", extra: Mapping[str, Product] | None = None
) -> dict[str, TableSpec]:
    registry = {**load_registry(), **(extra or {})}
    products = {name: registry[name] for name in (pixels, patches) if name is not None}
    return build_specs(products, labels={"cover": len(CLASSES)}, pixels=pixels, patches=patches)


def random_rows(spec: TableSpec, n_rows: int, rng: np.random.Generator, **columns: Sequence[Any]) -> pa.Table:
    """Fill every declared column with plausible values; `columns` replace them."""
    arrays = []
    for column in stored_schema(spec):
        if column.name in columns:
            arrays.append(pa.array(columns[column.name], column.type))
        else:
            arrays.append(_random_array(column, n_rows, rng))
    return pa.table(arrays, schema=stored_schema(spec))


def write_rows(
    root: Path,
    spec: TableSpec,
    rows: pa.Table,
    *,
    cell: str = "",
    record: Mapping[str, Any] | None = None,
    **key: int | str,
) -> Path:
    """Write one partition where the layout has it; `record` replaces parts of its footer."""
    folder = root / spec.name
    for level in spec.partition_by:
        folder /= f"{level}={key[level]}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"cell-{cell or 'a'}.parquet" if spec.is_cells else "part.parquet")
    metadata = {b"isthmus": json.dumps({**_footer(spec), **(record or {})}).encode()}
    if spec.geometry is not None:
        geo = {"encoding": "WKB", "geometry_types": [spec.geometry]}
        record = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geo}}
        metadata[b"geo"] = json.dumps(record).encode()
    pq.write_table(rows.replace_schema_metadata(metadata), path)
    if spec.sealed_by is not None:
        _seal(path, spec.name, spec.sealed_by)
    return path


def _seal(path: Path, table: str, sealed_by: str) -> None:
    """Write an empty file of the table that seals a cell, where it has none: else no view shows the cell."""
    spec = {**demo_specs(), **{one.name: one for one in adapter_specs()}}[sealed_by]
    seal = Path(str(path).replace(f"/{table}/", f"/{sealed_by}/"))
    if not seal.exists():
        seal.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(stored_schema(spec).empty_table(), seal)


def fill_table(root: Path, spec: TableSpec, n: int, rng: np.random.Generator, **columns: Sequence[Any]) -> pa.Table:
    """Write `n` random rows into one partition and return them."""
    rows = random_rows(spec, n, rng, **columns)
    write_rows(root, spec, rows, year=YEAR, shard=SHARDS[0])
    return rows


def unit_codes(n: int, dims: int, rng: np.random.Generator) -> list[list[int]]:
    """Codes of random unit vectors."""
    vectors = rng.normal(size=(n, dims))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = np.clip(np.round(np.sign(vectors) * np.sqrt(np.abs(vectors)) * 127.5), -127, 127)
    return codes.astype(int).tolist()


def _footer(spec: TableSpec) -> dict[str, Any]:
    return {
        "table": spec.name,
        "schema_version": 1,
        "code_version": "0.1.0+abc",
        "product": "aef",
        "release": spec.release or "AlphaEarth Foundations; utm-10m",
        "licence": "CC-BY-4.0",
        "attribution": ["Data by the producer <of> it."],
        "is_simulated": True,
        "sources": [{"path": "annual/2024/48N/x.tiff", "etag": "abc-1"}],
        "inputs": [],
        "notes": [],
    }


def _random_array(column: pa.Field, n: int, rng: np.random.Generator) -> pa.Array:
    kind = column.type
    if column.name == "geometry":
        points = shapely.points(rng.uniform(101, 103, n), rng.uniform(12, 13, n))
        return pa.array(list(shapely.to_wkb(shapely.buffer(points, 0.001))), pa.binary())
    if column.name == "bbox":
        corners = [pa.array(rng.uniform(101, 103, n)) for _ in range(4)]
        return pa.StructArray.from_arrays(corners, fields=list(kind))
    if column.name == "lon":
        return pa.array(rng.uniform(101.9, 102.1, n))
    if column.name == "lat":
        return pa.array(rng.uniform(12.4, 12.6, n))
    return _random_values(kind, n, rng)


def _random_values(kind: pa.DataType, n: int, rng: np.random.Generator) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        inner = _random_values(kind.value_type, n * kind.list_size, rng)
        return pa.FixedSizeListArray.from_arrays(inner, type=kind)
    if pa.types.is_list(kind):
        return pa.array([[0]] * n, kind)
    if pa.types.is_boolean(kind):
        return pa.array([True] * n)
    if pa.types.is_string(kind):
        return pa.array(["text"] * n)
    if pa.types.is_floating(kind):
        return pa.array(rng.random(n), kind)
    if pa.types.is_uint64(kind):
        return pa.array(rng.permutation(10_000)[:n] + 30_000_000_000_000_000, kind)
    low, high = _INTEGER_RANGE[kind]
    return pa.array(rng.integers(low, high, n), kind)
