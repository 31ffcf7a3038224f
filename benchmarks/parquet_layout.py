"""How should vectors be stored in Parquet? The measurements behind docs/adr/0003-parquet-layout.md.

Compares ways to store int8 pixel vectors (64 values) and float32 patch vectors (384 values), and row group sizes:
size on disk, write and read speed with Arrow on one thread, and SQL with DuckDB on one thread.

Rounds are interleaved: each round runs every layout once, and the median over rounds is reported. Absolute figures
are those of one machine with a warm page cache; compare ratios of one run only.

    python benchmarks/parquet_layout.py            # tables
    python benchmarks/parquet_layout.py --json     # one JSON object
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.quantization import DIVISOR, quantize
from warehouse.writer import ROW_GROUP_ROWS

PIXEL_DIMS, PATCH_DIMS = 64, 384
ROW_GROUPS = (1_024, 4_096, 16_384, 65_536, 262_144)
#: Share of all keys that a spatial fetch asks for; keys are sorted along a curve, so it is one run of rows.
FETCH_SHARE = 1 / 256


@dataclass(frozen=True)
class Layout:
    """One way to store a vector column.

    Attributes:
        name: key of the result.
        columns: the vector as columns.
        options: arguments of the Parquet writer.
        sql: dot product with a fixed vector, as an SQL expression; empty where SQL cannot read the vector.
        row_group: rows of a row group.
        is_open: False where DuckDB refuses the file.
    """

    name: str
    columns: pa.Table
    options: dict[str, Any]
    sql: str = ""
    row_group: int = ROW_GROUP_ROWS
    is_open: bool = True


@dataclass
class Timings:
    """Seconds of each round."""

    write: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    fetch: list[float] = field(default_factory=list)
    sql: list[float] = field(default_factory=list)


def make_vectors(n_rows: int, dims: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Make unit vectors that change slowly from row to row, with noise: neighbours along the sort order look alike."""
    n_factors = 16
    steps = rng.normal(size=(n_rows // 64 + 2, n_factors)).astype(np.float32).cumsum(axis=0) * 0.3
    at = np.arange(n_rows, dtype=np.float32) / 64
    low = at.astype(np.int64)
    share = (at - low)[:, None]
    factors = np.tanh(steps[low] * (1 - share) + steps[low + 1] * share)
    vectors = factors @ rng.normal(size=(n_factors, dims)).astype(np.float32)
    vectors += rng.normal(size=vectors.shape).astype(np.float32)
    vectors /= np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return vectors.astype(np.float32, copy=False)


def as_fixed_list(values: npt.NDArray[Any]) -> pa.Table:
    """Store as a fixed-size list column."""
    return pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])})


def as_list(values: npt.NDArray[Any]) -> pa.Table:
    """Store as a variable-size list column."""
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    return pa.table({"v": pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))})


def as_binary(values: npt.NDArray[Any]) -> pa.Table:
    """Store as a fixed-width byte string."""
    width = values.shape[1] * values.itemsize
    buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.table({"v": pa.Array.from_buffers(pa.binary(width), len(values), buffers)})


def as_columns(values: npt.NDArray[Any]) -> pa.Table:
    """Store as one column per dimension."""
    return pa.table({f"v{i:03d}": np.ascontiguousarray(values[:, i]) for i in range(values.shape[1])})


def list_pixel_layouts(n_rows: int, rng: np.random.Generator) -> list[Layout]:
    """List the ways to store int8 codes, and row group sizes of one of them."""
    codes = quantize(make_vectors(n_rows, PIXEL_DIMS, rng))
    target = rng.normal(size=PIXEL_DIMS)
    weights = "[" + ", ".join(f"{value:.6f}" for value in target) + "]::double[]"
    value = f"sign(x) * (x / {DIVISOR}) ** 2"
    from_list = f"list_inner_product(list_transform(v, lambda x: {value}), {weights})"
    by_byte = "list_transform(range(1, 128, 2), lambda i: ('0x' || substr(hex(v), i, 2))::integer)"
    signed = f"list_transform({by_byte}, lambda b: if(b > 127, b - 256, b))"
    from_binary = f"list_inner_product(list_transform({signed}, lambda x: {value}), {weights})"
    columns = [f"v{i:03d}" for i in range(PIXEL_DIMS)]
    from_columns = " + ".join(
        f"sign({c}) * ({c} / {DIVISOR}) ** 2 * {w:.6f}" for c, w in zip(columns, target, strict=True)
    )
    plain, delta = {"compression": "zstd", "use_dictionary": False}, "DELTA_BINARY_PACKED"
    fixed = as_fixed_list(codes)
    return [
        Layout("fixed_list", fixed, plain, from_list),
        Layout("fixed_list_dictionary", fixed, {**plain, "use_dictionary": True}, from_list),
        Layout("fixed_list_dictionary_uncompressed", fixed, {"compression": "none", "use_dictionary": True}, from_list),
        Layout("fixed_list_delta", fixed, {**plain, "column_encoding": {"v.list.element": delta}}, from_list),
        Layout("fixed_list_uncompressed", fixed, {**plain, "compression": "none"}, from_list),
        Layout("binary", as_binary(codes), plain, from_binary),
        Layout("binary_split", as_binary(codes), {**plain, "use_byte_stream_split": ["v"]}, is_open=False),
        Layout("columns", as_columns(codes), plain, from_columns),
        *[
            Layout(f"fixed_list_dictionary_rows_{rows}", fixed, {**plain, "use_dictionary": True}, from_list, rows)
            for rows in ROW_GROUPS
            if rows != ROW_GROUP_ROWS
        ],
    ]


def list_patch_layouts(n_rows: int, rng: np.random.Generator) -> list[Layout]:
    """List the ways to store float32 vectors."""
    vectors = make_vectors(n_rows, PATCH_DIMS, rng)
    target = "[" + ", ".join(f"{value:.6f}" for value in rng.normal(size=PATCH_DIMS)) + f"]::float[{PATCH_DIMS}]"
    product = f"array_inner_product(v::float[{PATCH_DIMS}], {target})"
    plain = {"compression": "zstd", "use_dictionary": False}
    fixed = as_fixed_list(vectors)
    return [
        Layout("fixed_list_split", fixed, {**plain, "use_byte_stream_split": ["v.list.element"]}, product),
        Layout("fixed_list", fixed, plain, product),
        Layout("fixed_list_uncompressed", fixed, {**plain, "compression": "none"}, product),
        Layout("list_arrow_defaults", as_list(vectors), {"compression": "snappy"}, product),
        Layout("binary", as_binary(vectors), plain),
    ]


def measure(layouts: list[Layout], folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Run every layout once per round; report medians."""
    found = {layout.name: Timings() for layout in layouts}
    paths = {layout.name: folder / f"{layout.name}.parquet" for layout in layouts}
    with duckdb.connect(config={"threads": 1}) as connection:
        for _ in range(rounds):
            for layout in layouts:
                measure_once(layout, paths[layout.name], found[layout.name], connection)
    return [describe(layout, paths[layout.name], found[layout.name]) for layout in layouts]


def measure_once(layout: Layout, path: Path, found: Timings, connection: duckdb.DuckDBPyConnection) -> None:
    """Write, read, fetch a run of rows, and query, each once."""
    n_rows = layout.columns.num_rows
    table = layout.columns.append_column("key", pa.array(np.arange(n_rows, dtype=np.uint64)))
    found.write.append(
        seconds_of(lambda: pq.write_table(table, path, row_group_size=layout.row_group, **layout.options))
    )
    found.read.append(seconds_of(lambda: pq.read_table(path, columns=layout.columns.column_names, use_threads=False)))
    if not layout.is_open:
        return
    source = connection.from_parquet(str(path))
    first = n_rows // 3
    run = f"key between {first} and {first + int(n_rows * FETCH_SHARE) - 1}"
    found.fetch.append(seconds_of(lambda: source.filter(run).to_arrow_table()))
    if layout.sql:
        found.sql.append(seconds_of(lambda: source.aggregate(f"max({layout.sql})").fetchall()))


def describe(layout: Layout, path: Path, found: Timings) -> dict[str, Any]:
    """Turn timings into speeds; a GB is 1e9 bytes of plain vectors, whatever they take on disk."""
    plain_gb = layout.columns.nbytes / 1e9
    n_rows = layout.columns.num_rows
    return {
        "layout": layout.name,
        "row_group": layout.row_group,
        "size_share": round(path.stat().st_size / layout.columns.nbytes, 3),
        "write_gb_s": round(plain_gb / statistics.median(found.write), 3),
        "read_gb_s": round(plain_gb / statistics.median(found.read), 3),
        "fetch_ms": round(1e3 * statistics.median(found.fetch), 2) if found.fetch else None,
        "sql_mrows_s": round(n_rows / 1e6 / statistics.median(found.sql), 3) if found.sql else None,
    }


def seconds_of(work: Callable[[], object]) -> float:
    """Time one call."""
    watch = time.perf_counter()
    work()
    return time.perf_counter() - watch


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print results as aligned columns."""
    print(title)
    print(" | ".join(f"{name:>36}" if name == "layout" else f"{name:>11}" for name in rows[0]))
    for row in rows:
        print(" | ".join(f"{v!s:>36}" if name == "layout" else f"{v!s:>11}" for name, v in row.items()))


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description="Parquet layouts of vectors: size, speed, SQL.")
    parser.add_argument("--pixels", type=int, default=524_288, help="rows of int8 vectors")
    parser.add_argument("--patches", type=int, default=65_536, help="rows of float32 vectors")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        pixels = measure(list_pixel_layouts(arguments.pixels, rng), Path(name), arguments.rounds)
        patches = measure(list_patch_layouts(arguments.patches, rng), Path(name), arguments.rounds)
    if arguments.json:
        json.dump({"pixels": pixels, "patches": patches}, sys.stdout)
        sys.stdout.write("\n")
        return
    print_table(f"int8[{PIXEL_DIMS}], {arguments.pixels} rows", pixels)
    print_table(f"float32[{PATCH_DIMS}], {arguments.patches} rows", patches)


if __name__ == "__main__":
    main()
