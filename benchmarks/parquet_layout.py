"""How should vectors be stored in Parquet? The measurements behind docs/adr/0003-parquet-layout.md.

Compares ways to store int8 pixel vectors (64 values) and patch vectors (384 values), row group sizes and sort orders:
size on disk, write and scan speed with Arrow; boxes and H3 cells fetched and dot products taken with DuckDB; and the
loss of the lossy ones. Layouts are listed in `parquet_encodings.py`, orders in `parquet_order.py`.

Everything runs on one thread, in interleaved rounds; CPU seconds, medians. Absolute figures are those of one machine
with a warm page cache; compare ratios of one run only. Losses are also taken on real vectors where
`ISTHMUS_REAL_DATA` holds them.

    python benchmarks/parquet_layout.py            # tables
    python benchmarks/parquet_layout.py --json     # tables, then one JSON object as the last line
    python benchmarks/parquet_layout.py --quick    # small trial
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from parquet_encodings import Layout, list_patch_layouts, list_pixel_layouts, list_row_groups, measure_losses
from parquet_ground import (
    N_PROBES,
    Ground,
    list_boxes,
    list_cells,
    make_patches,
    make_pixels,
    median_seconds,
    vector_bytes,
    where_clause,
)
from parquet_order import declare, is_codes, measure_orders

from warehouse.writer import row_group_rows

PIXEL_ROW_GROUPS = (1_024, 4_096, 16_384, 65_536, 262_144)
PATCH_ROW_GROUPS = (1_024, 2_048, 4_096, 16_384, 65_536)
ACTIONS = ("write", "scan", "box", "cell", "places", "sql")


def measure_layouts(
    ground: Ground, layouts: list[Layout], plain_bytes: int, folder: Path, rounds: int
) -> list[dict[str, Any]]:
    """Measure every layout of the same vectors; a GB is 1e9 of `plain_bytes`, whatever a layout takes on disk."""
    paths = {layout.name: folder / f"{layout.name}.parquet" for layout in layouts}
    with duckdb.connect(config={"threads": 1}) as connection:
        cases: dict[str, Callable[[], object]] = {}
        for layout in layouts:
            cases |= list_cases(layout, paths[layout.name], ground, connection)
        seconds = median_seconds(cases, rounds)
    rows = []
    for layout in layouts:
        found = {action: seconds.get(f"{layout.name}/{action}") for action in ACTIONS}
        rows.append(
            {
                "layout": layout.name,
                "size_share": round(vector_bytes(paths[layout.name], layout.columns.column_names) / plain_bytes, 3),
                "write_gb_s": rate(plain_bytes / 1e9, found["write"]),
                "scan_gb_s": rate(plain_bytes / 1e9, found["scan"]),
                "box_ms": milliseconds(found["box"], N_PROBES),
                "cell_ms": milliseconds(found["cell"], N_PROBES),
                "places_ms": milliseconds(found["places"], 1),
                "sql_mrows_s": rate(len(ground.vectors) / 1e6, found["sql"]),
            }
        )
    return rows


def list_cases(
    layout: Layout, path: Path, ground: Ground, connection: duckdb.DuckDBPyConnection
) -> dict[str, Callable[[], object]]:
    """List what is timed, by layout and action; writing comes first and leaves the file for the others."""
    names = layout.columns.column_names
    cell_column = f"h3_r{ground.resolutions[0]}"
    table = ground.places.select(["lon", "lat", cell_column])
    for name in names:
        table = table.append_column(layout.columns.schema.field(name), layout.columns[name])
    rng = np.random.default_rng(1)
    boxes = [where_clause(box) for box in list_boxes(ground, rng)]
    cells = [where_clause(cell) for cell in list_cells(ground, ground.resolutions[0], rng)]

    row_group = layout.row_group or row_group_rows(declare(ground))

    def fetch(conditions: list[str]) -> None:
        for condition in conditions:
            connection.execute(f"select {', '.join(names)} from '{path}' where {condition}").to_arrow_table()

    cases: dict[str, Callable[[], object]] = {
        "write": lambda: pq.write_table(table, path, row_group_size=row_group, **layout.options),
        "scan": lambda: scan(path, names),
    }
    if layout.is_open:
        cases |= {"box": lambda: fetch(boxes), "cell": lambda: fetch(cells)}
        # what a read that asks for no vector pays for small row groups
        places = f"select sum(lon), sum(lat), max({cell_column}) from '{path}'"
        cases["places"] = lambda: connection.execute(places).fetchall()
        if layout.sql:
            cases["sql"] = lambda: connection.execute(f"select max({layout.sql}) from '{path}'").fetchall()
    return {f"{layout.name}/{action}": case for action, case in cases.items()}


def scan(path: Path, names: list[str]) -> None:
    """Read columns with Arrow, one row group after the other: into the same memory, so that no page is new."""
    with pq.ParquetFile(path) as file:
        for i in range(file.num_row_groups):
            file.read_row_group(i, columns=names, use_threads=False)


def rate(amount: float, seconds: float | None) -> float | None:
    """Give an amount per second."""
    return None if seconds is None else round(amount / seconds, 3)


def milliseconds(seconds: float | None, n: int) -> float | None:
    """Give the milliseconds of one of `n` reads that were timed together."""
    return None if seconds is None else round(1e3 * seconds / n, 2)


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print results as aligned columns."""
    widths = {name: max(len(name), *(len(str(row[name])) for row in rows)) for name in rows[0]}
    print(f"\n{title}", flush=True)
    print(" | ".join(f"{name:>{width}}" for name, width in widths.items()))
    for row in rows:
        print(" | ".join(f"{row[name]!s:>{width}}" for name, width in widths.items()))


def measure_all(n_pixels: int, n_patches: int, rounds: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Measure layouts and row groups on rows sorted by key, and orders; give (title, rows) as they are found."""
    rng = np.random.default_rng(0)
    # a shard keeps a sample of its pixels, and some windows whole
    sample = make_pixels("sampled pixels", n_pixels, 110_000.0, rng, (5, 7))
    window = make_pixels("window pixels", n_pixels, 10.0 * int(n_pixels**0.5), rng, (7, 9))
    patches = make_patches("patches", n_patches, rng)
    yield "losses", measure_losses(patches.vectors)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ground in (sample, window, patches):
            yield f"orders: {ground.name}", measure_orders(ground, folder, rounds)
        for ground, list_layouts, sizes in (
            (sample.sorted_by_key(), list_pixel_layouts, PIXEL_ROW_GROUPS),
            (patches.sorted_by_key(), list_patch_layouts, PATCH_ROW_GROUPS),
        ):
            layouts = list_layouts(ground.vectors, rng)
            plain_bytes = ground.vectors.size * (1 if is_codes(ground) else 4)
            yield ground.name, measure_layouts(ground, layouts, plain_bytes, folder, rounds)
            varied = list_row_groups(layouts[0], sizes)
            yield f"row groups: {ground.name}", measure_layouts(ground, varied, plain_bytes, folder, rounds)


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description="Parquet layouts of vectors: size, speed, SQL.")
    parser.add_argument("--pixels", type=int, default=524_288, help="rows of int8 vectors")
    parser.add_argument("--patches", type=int, default=65_536, help="rows of 384-d vectors, about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="an eighth of the rows, one round")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    given = parser.parse_args()
    pa.set_cpu_count(1)
    share = 8 if given.quick else 1
    load_before = os.getloadavg()[0]
    results = {}
    for title, rows in measure_all(given.pixels // share, given.patches // share, 1 if given.quick else given.rounds):
        print_table(title, rows)
        results[title] = rows
    machine = {"cores": os.cpu_count(), "load_average": [round(load_before, 2), round(os.getloadavg()[0], 2)]}
    print(f"\n{machine}")
    if given.json:
        print(json.dumps({**machine, **results}))


if __name__ == "__main__":
    main()
