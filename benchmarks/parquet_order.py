"""In which order should rows stand? Sizes, fetches and what zone maps leave to read, by sort order.

Belongs here: orders of the same rows, stored with the warehouse's own encodings. Does not: encodings themselves
(`parquet_encodings.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from parquet_ground import (
    N_PROBES,
    Ground,
    list_boxes,
    list_cells,
    median_seconds,
    sort_along_hilbert,
    vector_bytes,
    where_clause,
)

from transforms.quantization import quantize
from warehouse.table_spec import TableSpec, vector_type
from warehouse.writer import encodings, row_group_rows, stored_schema

Bounds = list[dict[str, tuple[float, float]]]


def list_orders(ground: Ground) -> dict[str, npt.NDArray[np.int64]]:
    """List orders of the rows; `file` is the order in which the published files give them."""
    key, x_m, y_m = (ground.number(name) for name in ("key", "x_m", "y_m"))
    return {
        "geohash key": np.argsort(key, kind="stable"),
        "geohash key, h3 filters": np.argsort(key, kind="stable"),
        "h3_r9": np.lexsort((key, ground.number("h3_r9"))),
        "hilbert": sort_along_hilbert(x_m, y_m),
        "utm row-major": np.lexsort((x_m, y_m)),
        "file": np.arange(len(key)),
    }


def measure_orders(ground: Ground, folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Write the rows in every order, and fetch boxes and H3 cells from each."""
    rng = np.random.default_rng(2)
    probes: dict[str, Bounds] = {"box": list_boxes(ground, rng)}
    probes |= {f"h3_r{resolution}": list_cells(ground, resolution, rng) for resolution in ground.resolutions}
    spec = declare(ground)
    paths = {}
    for name, order in list_orders(ground).items():
        paths[name] = folder / f"{ground.name} {name}.parquet".replace(" ", "_")
        options = encodings(spec) | (filters(ground) if name.endswith("filters") else {})
        table = as_table(ground.reordered(order), spec)
        pq.write_table(table, paths[name], row_group_size=row_group_rows(spec), **options)
    with duckdb.connect(config={"threads": 1}) as connection:
        cases = {
            f"{name}/{probe}": fetcher(connection, path, bounds)
            for name, path in paths.items()
            for probe, bounds in probes.items()
        }
        seconds = median_seconds(cases, rounds)
    rows = []
    for name, path in paths.items():
        row: dict[str, Any] = {"order": name, "vector_size_share": vector_share(ground, path, spec)}
        row["places_bytes_row"] = round(vector_bytes(path, ground.places.column_names) / len(ground.vectors), 1)
        for probe, bounds in probes.items():
            touched = [touch(path, bound) for bound in bounds]
            row[f"{probe}_ms"] = round(1e3 * seconds[f"{name}/{probe}"] / N_PROBES, 2)
            row[f"{probe}_groups"] = round(float(np.mean([groups for groups, _ in touched])), 1)
            row[f"{probe}_mb"] = round(float(np.mean([size for _, size in touched])) / 1e6, 2)
        rows.append(row)
    return rows


def filters(ground: Ground) -> dict[str, Any]:
    """Give the writer's options for Bloom filters on H3 columns: DuckDB asks them where a column equals a value."""
    columns = [f"h3_r{resolution}" for resolution in ground.resolutions]
    return {"bloom_filter_options": {column: {"ndv": 1_024, "fpp": 0.01} for column in columns}}


def declare(ground: Ground) -> TableSpec:
    """Declare a table of the places and their vectors, so that the warehouse's encodings apply."""
    is_quantised = is_codes(ground)
    vector = pa.field("v", vector_type(ground.vectors.shape[1], is_quantised=is_quantised))
    return TableSpec("core_x__rows", ground.places.schema.append(vector), (), ("key",), None, "Places and vectors.")


def is_codes(ground: Ground) -> bool:
    """Tell whether the vectors are stored as int8 codes: those of pixels are."""
    return "pixels" in ground.name


def as_table(ground: Ground, spec: TableSpec) -> pa.Table:
    """Give the rows as they are stored."""
    values = quantize(ground.vectors) if is_codes(ground) else ground.vectors
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return ground.places.append_column("v", column).cast(stored_schema(spec))


def vector_share(ground: Ground, path: Path, spec: TableSpec) -> float:
    """Give the size of the stored vectors as a share of the plain ones."""
    plain_bytes = ground.vectors.size * (1 if is_codes(ground) else 4)
    return round(vector_bytes(path, ["v"]) / plain_bytes, 3)


def fetcher(connection: duckdb.DuckDBPyConnection, path: Path, bounds: Bounds) -> Callable[[], None]:
    """Give a function that fetches keys and vectors of all probes."""

    def fetch() -> None:
        for bound in bounds:
            connection.execute(f"select key, v from '{path}' where {where_clause(bound)}").to_arrow_table()

    return fetch


def touch(path: Path, bounds: dict[str, tuple[float, float]]) -> tuple[int, int]:
    """Count the row groups whose zone maps meet the bounds, and the bytes of key, vector and filter in them."""
    metadata = pq.read_metadata(path)
    n_groups, n_bytes = 0, 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        chunks = {group.column(j).path_in_schema.split(".")[0]: group.column(j) for j in range(metadata.num_columns)}
        zones = {name: chunks[name].statistics for name in bounds}
        if all(zones[name].min <= high and low <= zones[name].max for name, (low, high) in bounds.items()):
            n_groups += 1
            n_bytes += sum(chunks[name].total_compressed_size for name in ("key", "v", *bounds))
    return n_groups, n_bytes
