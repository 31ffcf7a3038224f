from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.fake_tables import PROVENANCE, SPECS, declared_rows, sort_rows
from warehouse.errors import SchemaError
from warehouse.table_spec import TableSpec
from warehouse.writer import MIN_ROW_GROUP_ROWS, ROW_GROUP_BYTES, ROW_GROUP_ROWS, row_group_rows, write_table

PIXELS = SPECS["core_aef__pixels"]
PATCHES = SPECS["core_eg__patches"]


def rows_of(spec: TableSpec, n: int = 20) -> pa.Table:
    return declared_rows(spec, n, np.random.default_rng(0))


def spec_of(*vectors: pa.DataType) -> TableSpec:
    columns = [pa.field("key", pa.int64()), *(pa.field(f"v{i}", kind) for i, kind in enumerate(vectors))]
    return TableSpec("core_x__y", pa.schema(columns), (), ("key",), None, "A table.")


def test_row_groups_are_small_enough_to_prune(tmp_path: Path) -> None:
    n = 2 * ROW_GROUP_ROWS + 5
    spec = TableSpec("core_x__y", pa.schema([("key", pa.int64())]), (), ("key",), None, "A table.")
    path = tmp_path / "part.parquet"
    write_table(path, spec, pa.table({"key": np.arange(n)[::-1]}), PROVENANCE)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [ROW_GROUP_ROWS] * 2 + [5]
    statistics = [metadata.row_group(i).column(0).statistics for i in range(3)]
    assert [(s.min, s.max) for s in statistics] == [
        (0, ROW_GROUP_ROWS - 1), (ROW_GROUP_ROWS, 2 * ROW_GROUP_ROWS - 1), (2 * ROW_GROUP_ROWS, n - 1),
    ]  # fmt: skip


def test_rows_with_wide_vectors_stand_in_smaller_row_groups(tmp_path: Path) -> None:
    kind = pa.list_(pa.float32(), 384)
    spec = spec_of(kind)
    n = 4_096 + 5
    rows = pa.table({"key": np.arange(n), "v0": pa.FixedSizeListArray.from_arrays(np.zeros(n * 384, np.float32), 384)})
    path = tmp_path / "part.parquet"
    write_table(path, spec, rows, PROVENANCE)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2_048, 2_048, 5]


@pytest.mark.parametrize(
    ("vectors", "rows"),
    [
        ([], 16_384),
        ([pa.list_(pa.int8(), 64)], 16_384),
        ([pa.list_(pa.int8(), 64), pa.list_(pa.int8(), 256)], 8_192),
        ([pa.list_(pa.float32(), 64)], 16_384),
        ([pa.list_(pa.float32(), 65)], 8_192),
        ([pa.list_(pa.bool_(), 2_048)], 16_384),
        ([pa.list_(pa.float32(), 384)], 2_048),
        ([pa.list_(pa.float32(), 100_000)], 2_048),
        ([pa.list_(pa.float32())], 16_384),
    ],
    ids=str,
)
def test_the_size_of_row_groups_follows_the_width_of_vectors(vectors: list[pa.DataType], rows: int) -> None:
    assert row_group_rows(spec_of(*vectors)) == rows


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([pa.int8(), pa.float32(), pa.float64()]), st.integers(1, 3_000)), max_size=4))
def test_row_groups_are_as_large_as_the_limits_allow(widths: list[tuple[pa.DataType, int]]) -> None:
    rows = row_group_rows(spec_of(*(pa.list_(kind, dims) for kind, dims in widths)))
    row_bytes = sum(kind.bit_width // 8 * dims for kind, dims in widths)
    assert rows & (rows - 1) == 0
    assert MIN_ROW_GROUP_ROWS <= rows <= ROW_GROUP_ROWS
    assert rows == MIN_ROW_GROUP_ROWS or rows * row_bytes <= ROW_GROUP_BYTES
    assert rows == ROW_GROUP_ROWS or 2 * rows * row_bytes > ROW_GROUP_BYTES


def test_null_elements_of_vectors_are_refused_and_null_vectors_are_not(tmp_path: Path) -> None:
    spec = spec_of(pa.list_(pa.float32(), 2))
    path = tmp_path / "part.parquet"

    def table(vectors: list) -> pa.Table:
        return pa.table({"key": [2, 1], "v0": pa.array(vectors, pa.list_(pa.float32(), 2))})

    with pytest.raises(SchemaError, match="column 'v0': found 3 null elements, expected NaN or a null vector"):
        write_table(path, spec, table([[None, None], [None, 1.0]]), PROVENANCE)
    assert not path.exists()
    write_table(path, spec, table([[1.0, float("nan")], None]), PROVENANCE)
    assert pq.read_table(path)["v0"].is_valid().to_pylist() == [False, True]


def test_vectors_are_stored_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    rows = rows_of(PIXELS, 100)
    write_table(path, PIXELS, rows, PROVENANCE)
    (found,) = duckdb.execute(
        "select list(embedding_q order by pixel_id) from read_parquet($path)", {"path": str(path)}
    ).fetchone()
    assert [list(vector) for vector in found] == sort_rows(PIXELS, rows)["embedding_q"].to_pylist()
    metadata = pq.read_metadata(path).row_group(0)
    assert {metadata.column(i).compression for i in range(metadata.num_columns)} == {"ZSTD"}


def test_vectors_carry_no_null_flags_for_elements(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_table(path, PIXELS, rows_of(PIXELS), PROVENANCE)
    column = next(c for c in pq.ParquetFile(path).schema if c.path.startswith("embedding_q."))
    # one level for the vector, one for the list; a nullable element would be a third
    assert column.max_definition_level == 2


def test_patch_vectors_need_nothing_but_duckdb(tmp_path: Path) -> None:
    rows = sort_rows(PATCHES, rows_of(PATCHES, 50))
    path = tmp_path / "part.parquet"
    write_table(path, PATCHES, rows, PROVENANCE)
    vectors = np.array(rows["embedding"].to_pylist(), np.float64)
    offline = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    query = """
        select array_inner_product(p.embedding::float[384], q.embedding::float[384])
        from read_parquet($path) p, (select embedding from read_parquet($path) order by patch_id limit 1) q
        order by p.patch_id
    """
    with duckdb.connect(config=offline) as connection:
        found = [row[0] for row in connection.execute(query, {"path": str(path)}).fetchall()]
    np.testing.assert_allclose(found, vectors @ vectors[0], rtol=1e-4, atol=1e-4)
