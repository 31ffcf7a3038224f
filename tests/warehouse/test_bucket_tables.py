"""Tables in a bucket: the same rows as in a folder, whole ones under any reader, whatever others write meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import duckdb_extension_httpfs
import numpy as np
import pyarrow as pa
import pytest

from tests.bucket import Bucket
from tests.warehouse.fake_rows import PAIR
from tests.warehouse.fake_tables import PROVENANCE, SPECS, declared_rows, sort_rows
from warehouse import reader
from warehouse.catalog import CATALOG_FILE, write_catalog
from warehouse.cell_seals import SEAL_TABLE, list_cell_files, read_seals
from warehouse.errors import PartitionMissingError, SourceChangedError, SourceUnavailableError, StoredTableError
from warehouse.file_access import list_names, pin, read_all, remove_files
from warehouse.file_paths import FilePath, RemotePath
from warehouse.followed import Followed, add_followed, read_followed
from warehouse.layout import PartitionKey, cell_path, partition_path
from warehouse.objects.remote_file import RemoteFile
from warehouse.queries import SqlError, run_sql
from warehouse.writer import WrittenPartition, open_partition, write_table

PATCHES, METRICS = SPECS["core_eg__patches"], SPECS[SEAL_TABLE]
KEYS = [PartitionKey(2023, "47PQQ"), PartitionKey(2024, "47PQQ"), PartitionKey(2024, "48PSV")]


@pytest.fixture
def root(bucket: Bucket, tmp_path: Path) -> RemotePath:
    return bucket.path(tmp_path.name, tmp_path / "scratch")


def rows_of(seed: int, n: int = 50) -> pa.Table:
    return declared_rows(PATCHES, n, np.random.default_rng(seed))


def store(root: FilePath, key: PartitionKey, seed: int, n: int = 50) -> WrittenPartition:
    return write_table(partition_path(root, PATCHES.name, key), PATCHES, rows_of(seed, n), PROVENANCE)


def test_rows_are_those_of_a_folder(root: RemotePath, tmp_path: Path) -> None:
    for place in (root, tmp_path):
        for seed, key in enumerate(KEYS):
            written = store(place, key, seed)
            assert written.rows == 50
            assert written.bytes > 0
    assert reader.list_partitions(root, PATCHES.name) == reader.list_partitions(tmp_path, PATCHES.name) == KEYS
    names = ["product", "embedding"]
    for columns in (None, names):
        there, here = (reader.read_partitions(place, PATCHES, KEYS, columns) for place in (root, tmp_path))
        assert there.equals(here)
    for product, n_rows in ((here["product"][0].as_py(), 50), ("none", 0)):
        there, here = (
            reader.read_partition(place, PATCHES, KEYS[0], ["lon"], {"product": product}) for place in (root, tmp_path)
        )
        assert there.equals(here)
        assert there.num_rows == n_rows


def test_what_is_not_stored_is_said(root: RemotePath) -> None:
    assert reader.list_partitions(root, PATCHES.name) == []
    assert not reader.has_partition(root, PATCHES.name, KEYS[0])
    with pytest.raises(PartitionMissingError, match=r"core_eg__patches\[2023\|47PQQ\]"):
        reader.read_partition(root, PATCHES, KEYS[0])


def test_a_damaged_object_is_said(bucket: Bucket, root: RemotePath) -> None:
    place = partition_path(root, PATCHES.name, KEYS[0])
    bucket.put(str(place).removeprefix(f"s3://{bucket.name}/"), b"half a file")
    with pytest.raises(StoredTableError, match=f"{place}"):
        reader.read_partition(root, PATCHES, KEYS[0])
    with pytest.raises(StoredTableError, match=PATCHES.name):
        run_sql(root, SPECS, PAIR, "select count(*) from core_eg__patches")


def test_pieces_are_seen_together_at_the_end(root: RemotePath) -> None:
    place = partition_path(root, PATCHES.name, KEYS[0])
    store(root, KEYS[0], 0)
    before = reader.read_partition(root, PATCHES, KEYS[0])
    with open_partition(place, PATCHES, PROVENANCE) as writer:
        for seed in (1, 2):
            writer.write(rows_of(seed))
            assert reader.read_partition(root, PATCHES, KEYS[0]).equals(before)
    assert reader.read_partition(root, PATCHES, KEYS[0]).num_rows == 100


@pytest.fixture
def replaced_while_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object], int], list[int]]:
    """Replace a file each time a reader has opened it, so many times; a page of it is read before."""

    def arrange(replace: Callable[[], object], times: int) -> list[int]:
        read, seen = RemoteFile.read, []

        def read_on(self: RemoteFile, size: int | None = -1) -> bytes:
            content = read(self, size)
            if len(seen) < times and self.path.name == "part.parquet":
                seen.append(len(content))
                replace()
                self._recent.clear()  # so that the next page comes from the store
            return content

        monkeypatch.setattr(RemoteFile, "read", read_on)
        return seen

    return arrange


def test_a_partition_that_is_replaced_under_a_reader_is_read_whole(
    root: RemotePath, replaced_while_read: Callable[..., list[int]]
) -> None:
    store(root, KEYS[0], 0)
    seen = replaced_while_read(lambda: store(root, KEYS[0], 1, 77), 1)
    assert reader.read_partition(root, PATCHES, KEYS[0]).equals(sort_rows(PATCHES, rows_of(1, 77)))
    assert seen


def test_a_partition_that_is_replaced_again_and_again_is_an_error_and_no_mixture(
    root: RemotePath, replaced_while_read: Callable[..., list[int]]
) -> None:
    store(root, KEYS[0], 0)
    seeds = iter(range(1, 1000))
    replaced_while_read(lambda: store(root, KEYS[0], next(seeds), 50 + next(seeds)), 1000)
    with pytest.raises(SourceChangedError, match="changed while it was read"):
        reader.read_partition(root, PATCHES, KEYS[0])


def test_sql_sees_the_rows_of_a_folder(root: RemotePath, tmp_path: Path) -> None:
    for place in (root, tmp_path):
        for seed, key in enumerate(KEYS):
            store(place, key, seed)
    for text in (
        "select year, shard, count(*) as n, min(patch_id) as first from core_eg__patches group by all order by all",
        "select patch_id, embedding, geometry::varchar as shape from core_eg__patches where shard = '48PSV' order by 1",
        "select table_name, n_files, n_rows, n_bytes from stored_tables where n_files > 0",
        "select year, shard, product, count(*) as n from provenance group by all order by all",
        "select count(*) as n from failed_rows",
    ):
        there, here = (run_sql(place, SPECS, PAIR, text) for place in (root, tmp_path))
        assert there.equals(here), text


def test_sql_on_files_that_are_replaced_sees_one_version(
    root: RemotePath, replaced_while_read: Callable[..., list[int]]
) -> None:
    store(root, KEYS[0], 0)
    seen = replaced_while_read(lambda: store(root, KEYS[0], 1, 77), 1)
    (row,) = run_sql(root, SPECS, PAIR, "select count(*) as n, sum(lon) as s from core_eg__patches").to_pylist()
    assert row["n"] == 77
    assert row["s"] == pytest.approx(sum(rows_of(1, 77)["lon"].to_pylist()))
    assert seen


def test_sql_on_files_that_are_removed_goes_on_without_them(
    root: RemotePath, replaced_while_read: Callable[..., list[int]]
) -> None:
    for seed, key in enumerate(KEYS):
        store(root, key, seed)
    seen = replaced_while_read(lambda: remove_files([partition_path(root, PATCHES.name, KEYS[0])]), 1)
    (row,) = run_sql(root, SPECS, PAIR, "select count(*) as n, sum(lon) as s from core_eg__patches").to_pylist()
    assert row["n"] == 100
    assert seen


def test_a_store_that_fails_under_a_query_is_said_in_its_own_words(
    root: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(root, KEYS[0], 0)

    def fail(self: RemoteFile, _size: int | None = -1) -> bytes:
        raise SourceUnavailableError(str(self.path), 8, 60.0, "a time-out")

    monkeypatch.setattr(RemoteFile, "read", fail)
    with pytest.raises(SourceUnavailableError, match="no good answer in 8 tries"):
        run_sql(root, SPECS, PAIR, "select count(*) from core_eg__patches")


def test_sql_on_files_that_are_replaced_again_and_again_is_an_error(
    root: RemotePath, replaced_while_read: Callable[..., list[int]]
) -> None:
    store(root, KEYS[0], 0)
    seeds = iter(range(1, 1000))
    replaced_while_read(lambda: store(root, KEYS[0], next(seeds), 50 + next(seeds)), 1000)
    with pytest.raises(SourceChangedError, match="other files at each of 4 tries"):
        run_sql(root, SPECS, PAIR, "select sum(lon) from core_eg__patches")


def test_a_query_that_is_wrong_is_not_tried_again(root: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    store(root, KEYS[0], 0)
    with pytest.raises(SqlError, match="nowhere"):
        run_sql(root, SPECS, PAIR, "select * from nowhere")


def test_duckdb_alone_opens_the_catalogue_in_the_bucket(bucket: Bucket, root: RemotePath) -> None:
    store(root, KEYS[2], 0)
    path = write_catalog(root, SPECS, PAIR)
    assert path == root / CATALOG_FILE
    extension = (
        Path(duckdb_extension_httpfs.__file__).parent
        / "extensions"
        / f"v{duckdb.__version__}"
        / "httpfs.duckdb_extension"
    )
    with duckdb.connect() as connection:
        connection.load_extension(str(extension))
        connection.execute(
            "create secret (type s3, provider config, key_id 'test', secret 'test', url_style 'path', use_ssl false, "
            f"endpoint '{bucket.endpoint.removeprefix('http://')}')"
        )
        connection.execute(f"attach '{path}' as isthmus (read_only)")
        found = connection.execute("select year, shard, count(*) from isthmus.core_eg__patches group by all").fetchall()
    assert found == [(2024, "48PSV", 50)]


def test_cells_and_their_seals(root: RemotePath) -> None:
    rows = declared_rows(METRICS, 3, np.random.default_rng(0))
    for cell in ("a", "b", "c"):
        write_table(cell_path(root, METRICS.name, 2024, cell), METRICS, rows, PROVENANCE)
    assert reader.read_cells(root, METRICS, 2024).num_rows == 9
    assert reader.read_cells(root, METRICS, 2023).num_rows == 0
    assert set(read_seals(root, PartitionKey(2024))) == {"a", "b", "c"}
    remove_files([cell_path(root, METRICS.name, 2024, "b")])
    assert [path.stem for path in list_cell_files(root, METRICS.name, PartitionKey(2024))] == ["cell-a", "cell-c"]


def test_products_that_are_followed_at_once_are_all_kept(root: RemotePath) -> None:
    threads = [threading.Thread(target=add_followed, args=(root, f"p{n}", 2020 + n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    add_followed(root, "p0", 2020)
    assert read_followed(root) == {f"p{n}": Followed((2020 + n,)) for n in range(6)}


def test_an_old_version_is_never_taken_for_the_new_one(root: RemotePath) -> None:
    store(root, KEYS[0], 0)
    old = pin(partition_path(root, PATCHES.name, KEYS[0]))
    store(root, KEYS[0], 1, 77)
    assert isinstance(old, RemotePath)
    with pytest.raises(SourceChangedError):
        RemoteFile(old).read()


def test_listing_a_bucket_is_listing_a_folder(bucket: Bucket, root: RemotePath, tmp_path: Path) -> None:
    for name in ("t/part.parquet", "t/year=1/part.parquet", "t/year=1/.part.parquet.x.tmp", "tt/part.parquet", "n.txt"):
        bucket.put(f"{root.key}/{name}", b"x")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for pattern in ("**/part.parquet", "*/**/part.parquet", "t/*/part.parquet", "*.txt", "cell-*.parquet"):
        assert list_names(root, pattern) == list_names(tmp_path, pattern), pattern
    assert list_names(root / "t", "**/part.parquet") == ["part.parquet", "year=1/part.parquet"]


def test_many_small_reads_wait_together_and_keep_their_order(root: RemotePath, tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=60)

    def read(number: int) -> int:
        together.wait()  # breaks where one is read after the other
        return number * 10

    assert read_all(root, read, range(8)) == [number * 10 for number in range(8)]
    assert read_all(tmp_path, str, range(3)) == ["0", "1", "2"]


def test_a_root_may_hold_what_patterns_are_made_of(root: RemotePath) -> None:
    odd = root / "a [1] b"
    store(odd, KEYS[0], 0)
    (row,) = run_sql(odd, SPECS, PAIR, "select count(*) as n from core_eg__patches").to_pylist()
    assert row["n"] == 50
    (row,) = run_sql(
        odd, SPECS, PAIR, "select n_rows from stored_tables where table_name = 'core_eg__patches'"
    ).to_pylist()
    assert row["n_rows"] == 50
