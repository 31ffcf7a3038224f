from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.warehouse.fake_tables import PROVENANCE, SPECS, declared_rows, sort_rows
from transforms.errors import IsthmusError, ShapeError
from warehouse.errors import ModelsDifferError, PartitionMissingError, StoredTableError
from warehouse.layout import ALL, PartitionKey, cell_path, partition_path
from warehouse.reader import (
    has_partition,
    list_partitions,
    read_cells,
    read_partition,
    read_partitions,
    vectors,
)
from warehouse.table_spec import TableSpec
from warehouse.writer import write_table

PATCHES = SPECS["core_eg__patches"]
METRICS = SPECS["out_probe__metrics"]
KEYS = [PartitionKey(2023, "47PQQ"), PartitionKey(2024, "47PQQ"), PartitionKey(2024, "48PSV")]


def store(root: Path, spec: TableSpec, key: PartitionKey, n: int = 10, seed: int = 0) -> pa.Table:
    rows = declared_rows(spec, n, np.random.default_rng(seed))
    write_table(partition_path(root, spec.name, key), spec, rows, PROVENANCE)
    return sort_rows(spec, rows)


@pytest.fixture
def stored(tmp_path: Path) -> dict[PartitionKey, pa.Table]:
    return {key: store(tmp_path, PATCHES, key, 10 + i, seed=i) for i, key in enumerate(KEYS)}


def test_stored_partitions_are_listed(tmp_path: Path, stored: dict) -> None:
    assert list_partitions(tmp_path, PATCHES.name) == KEYS
    assert list_partitions(tmp_path, "core_eg__other") == []
    assert [has_partition(tmp_path, PATCHES.name, key) for key in (KEYS[0], PartitionKey(2023, "48PSV"))] == [
        True,
        False,
    ]
    store(tmp_path, SPECS["raw_eg__index"], ALL)
    assert list_partitions(tmp_path, "raw_eg__index") == [ALL]


def test_unfinished_and_foreign_files_are_no_partitions(tmp_path: Path, stored: dict) -> None:
    folder = tmp_path / PATCHES.name / "year=2025" / "shard=47PQQ"
    folder.mkdir(parents=True)
    (folder / ".part.parquet.123.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("x")
    assert list_partitions(tmp_path, PATCHES.name) == KEYS


def test_a_partition_is_read(tmp_path: Path, stored: dict) -> None:
    for key, rows in stored.items():
        assert read_partition(tmp_path, PATCHES, key).equals(rows)


def test_columns_are_read_in_the_order_asked_for(tmp_path: Path, stored: dict) -> None:
    found = read_partition(tmp_path, PATCHES, KEYS[1], ["lat", "patch_id", "embedding"])
    assert found.equals(stored[KEYS[1]].select(["lat", "patch_id", "embedding"]))


UPSAMPLED = SPECS["out_pixel__eg_upsampled"]


@pytest.fixture
def two_methods(tmp_path: Path) -> pa.Table:
    rows = declared_rows(UPSAMPLED, 40, np.random.default_rng(3))
    method = pa.array(["bilinear", "nearest"] * 20, UPSAMPLED.schema.field("method").type)
    rows = rows.set_column(UPSAMPLED.schema.get_field_index("method"), "method", method)
    write_table(partition_path(tmp_path, UPSAMPLED.name, KEYS[0]), UPSAMPLED, rows, PROVENANCE)
    return read_partition(tmp_path, UPSAMPLED, KEYS[0])


def test_rows_are_read_by_their_text(tmp_path: Path, two_methods: pa.Table) -> None:
    wanted = ["pixel_id", "embedding"]
    for method in ("bilinear", "nearest"):
        found = read_partition(tmp_path, UPSAMPLED, KEYS[0], wanted, {"method": method})
        assert found.num_rows == 20
        assert found.equals(two_methods.filter(pc.field("method") == method).select(wanted))
    assert read_partitions(tmp_path, UPSAMPLED, [KEYS[0]], wanted, {"method": "bicubic"}).num_rows == 0


def test_rows_by_the_text_of_no_column_are_refused(tmp_path: Path, two_methods: pa.Table) -> None:
    with pytest.raises(StoredTableError, match=r"found no columns \['operator'\]"):
        read_partition(tmp_path, UPSAMPLED, KEYS[0], ["pixel_id"], {"operator": "bilinear"})


def test_year_and_shard_of_the_path_do_not_slip_in(tmp_path: Path, stored: dict) -> None:
    assert read_partition(tmp_path, PATCHES, KEYS[0]).column_names == PATCHES.schema.names


def test_missing_partitions_are_named_with_the_fix(tmp_path: Path, stored: dict) -> None:
    expected = r"core_eg__patches\[2023\|48PSV\]: found no such partition.*Materialise core_eg__patches"
    with pytest.raises(PartitionMissingError, match=expected):
        read_partition(tmp_path, PATCHES, PartitionKey(2023, "48PSV"))
    with pytest.raises(PartitionMissingError, match=expected):
        read_partitions(tmp_path, PATCHES, [KEYS[0], PartitionKey(2023, "48PSV")])


def test_names_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    for read in (lambda: list_partitions(tmp_path, "patches"), lambda: has_partition(tmp_path, "../x", ALL)):
        with pytest.raises(ShapeError, match="table name"):
            read()


def test_partitions_are_joined_with_their_keys(tmp_path: Path, stored: dict) -> None:
    found = read_partitions(tmp_path, PATCHES, KEYS)
    assert found.column_names == [*PATCHES.schema.names, "year", "shard"]
    assert found.select(PATCHES.schema.names).equals(pa.concat_tables(stored.values()))
    assert found["year"].to_pylist() == [2023] * 10 + [2024] * 23
    assert found["shard"].to_pylist() == ["47PQQ"] * 21 + ["48PSV"] * 12
    assert found.schema.field("year").type == pa.int32()


def test_only_the_levels_of_the_table_are_added(tmp_path: Path) -> None:
    spine, folds = SPECS["core_grid__patches"], SPECS["out_probe__folds"]
    store(tmp_path, spine, PartitionKey(shard="a"))
    store(tmp_path, folds, PartitionKey(2024))
    columns = read_partitions(tmp_path, spine, [PartitionKey(shard="a")], ["lon"]).column_names
    assert columns == ["lon", "shard"]
    columns = read_partitions(tmp_path, folds, [PartitionKey(2024)], ["shard", "fold"]).column_names
    assert columns == ["shard", "fold", "year"]


@pytest.mark.parametrize("columns", [None, ["lon", "embedding"]])
def test_no_partitions_give_an_empty_table_of_the_right_types(tmp_path: Path, stored: dict, columns) -> None:
    empty = read_partitions(tmp_path, PATCHES, [], columns)
    assert empty.num_rows == 0
    assert empty.schema.equals(read_partitions(tmp_path, PATCHES, KEYS, columns).schema)


def test_cells_of_a_year_are_read_together(tmp_path: Path) -> None:
    for i, (year, cell) in enumerate([(2023, "a"), (2024, "b"), (2024, "a")]):
        rows = declared_rows(METRICS, i + 1, np.random.default_rng(i))
        write_table(cell_path(tmp_path, METRICS.name, year, cell), METRICS, rows, PROVENANCE)
    assert read_cells(tmp_path, METRICS, 2023).num_rows == 1
    assert read_cells(tmp_path, METRICS, 2024).num_rows == 5
    empty = read_cells(tmp_path, METRICS, 1999)
    assert empty.num_rows == 0
    assert empty.schema.equals(METRICS.schema)


def replace_file(root: Path, table: pa.Table) -> None:
    pq.write_table(table, partition_path(root, PATCHES.name, KEYS[0]))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.drop_columns(["h3_r5"]),
        lambda rows: rows.set_column(0, "patch_id", pa.array(["x"] * 10)),
    ],
    ids=["a column less", "another type"],
)
def test_files_of_another_schema_are_refused_with_the_partition_to_run_again(
    tmp_path: Path, stored: dict, change
) -> None:
    replace_file(tmp_path, change(stored[KEYS[0]]))
    with pytest.raises(IsthmusError, match=r"core_eg__patches.*[Mm]aterialise"):
        read_partition(tmp_path, PATCHES, KEYS[0])


def test_damaged_files_are_refused_with_the_fix(tmp_path: Path, stored: dict) -> None:
    partition_path(tmp_path, PATCHES.name, KEYS[0]).write_bytes(b"PAR1 and no more")
    with pytest.raises(IsthmusError, match="core_eg__patches"):
        read_partition(tmp_path, PATCHES, KEYS[0])


# -- vectors -----------------------------------------------------------------------------------------------


def as_table(array: pa.Array | pa.ChunkedArray) -> pa.Table:
    return pa.table({"v": array})


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.bool_])
def test_lists_become_rows_in_order(dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, 2, (7, 5)).astype(dtype)
    kind = pa.list_(pa.from_numpy_dtype(dtype), 5)
    found = vectors(as_table(pa.array(values.tolist(), kind)), "v")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


def test_slices_and_chunks_keep_their_rows() -> None:
    values = np.arange(24, dtype=np.float32).reshape(8, 3)
    array = pa.array(values.tolist(), pa.list_(pa.float32(), 3))
    chunked = pa.chunked_array([array.slice(5, 2), array.slice(1, 3)])
    np.testing.assert_array_equal(vectors(as_table(chunked), "v"), values[[5, 6, 1, 2, 3]])
    np.testing.assert_array_equal(vectors(as_table(array).slice(2, 3), "v"), values[2:5])


def test_vectors_that_are_not_there_are_nan() -> None:
    array = pa.array([[1, 2], None, [3, 4], None], pa.list_(pa.float32(), 2))
    for table in (as_table(array), as_table(pa.chunked_array([array.slice(0, 2), array.slice(2)]))):
        np.testing.assert_array_equal(vectors(table, "v"), [[1, 2], [np.nan] * 2, [3, 4], [np.nan] * 2])
    np.testing.assert_array_equal(vectors(as_table(array).slice(1, 2), "v"), [[np.nan] * 2, [3, 4]])


@pytest.mark.parametrize(
    "column",
    [pa.array([], pa.list_(pa.float32(), 4)), pa.chunked_array([], pa.list_(pa.float32(), 4))],
    ids=["array", "no chunks"],
)
def test_no_vectors_have_their_width(column) -> None:
    assert vectors(as_table(column), "v").shape == (0, 4)


@pytest.mark.parametrize(("spec", "is_refused"), [(PATCHES, True), (SPECS["raw_eg__index"], False)])
def test_vectors_of_another_model_are_not_read_as_the_tables_own(
    tmp_path: Path, spec: TableSpec, is_refused: bool
) -> None:
    keys = KEYS[:2] if spec.partition_by else [ALL, ALL]
    for key, release in zip(keys, (PATCHES.release, "SSL4EO DINO; major-tom-320m-pre-1.0"), strict=True):
        rows = declared_rows(spec, 3, np.random.default_rng(0))
        write_table(partition_path(tmp_path, spec.name, key), spec, rows, replace(PROVENANCE, release=release))
    if not is_refused:  # an index holds no vectors
        assert read_partitions(tmp_path, spec, [ALL]).num_rows == 3
        return
    assert read_partition(tmp_path, spec, keys[0]).num_rows == 3
    with pytest.raises(ModelsDifferError, match=r"SSL4EO DINO.*SoftCon.*align by scores"):
        read_partitions(tmp_path, spec, keys)
