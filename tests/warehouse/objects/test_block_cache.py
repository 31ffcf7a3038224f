from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from warehouse.errors import CacheError
from warehouse.file_paths import CacheLimits, FileFacts, RemotePath
from warehouse.objects.block_cache import BlockCache, name_file

BLOCK = bytes(range(250)) * 4
#: Names as `name_file` gives them.
F, G = "f" * 32, "0123456789abcdef" * 2


def view(content: bytes) -> memoryview:
    return memoryview(content)


def test_blocks_come_back_as_they_were(tmp_path: Path) -> None:
    cache = BlockCache(CacheLimits(tmp_path / "cache", 10**6))
    assert cache.get(F, 0, len(BLOCK)) is None
    assert not cache.has(F, 0)
    cache.put(F, 0, view(BLOCK))
    assert cache.has(F, 0)
    assert cache.get(F, 0, len(BLOCK)) == BLOCK
    # another process, or the next run
    assert BlockCache(cache.limits).get(F, 0, len(BLOCK)) == BLOCK
    assert (cache.counts.stored, cache.counts.hits) == (1, 1)
    assert (cache.size().files, cache.size().blocks) == (1, 1)


@pytest.mark.parametrize("damage", [b"", BLOCK[:10], BLOCK + b"????", BLOCK[:-1] + b"x????"])
def test_damaged_blocks_are_not_given(tmp_path: Path, damage: bytes) -> None:
    cache = BlockCache(CacheLimits(tmp_path, 10**6))
    cache.put(F, 0, view(BLOCK))
    (tmp_path / F / "0").write_bytes(damage)
    assert cache.get(F, 0, len(BLOCK)) is None
    assert cache.counts.damaged == 1
    assert not cache.has(F, 0)


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = BlockCache(CacheLimits(tmp_path, 10_500))
    for number in range(10):
        cache.put(F, number, view(BLOCK))
        os.utime(tmp_path / F / str(number), (number, number))
    assert cache.get(F, 0, len(BLOCK)) == BLOCK  # used again: the newest now
    cache.put(G, 0, view(BLOCK))
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert f"{F}/0" in left
    assert f"{G}/0" in left
    assert f"{F}/1" not in left
    assert cache.size().n_bytes <= 10_500 * 0.9
    assert cache.counts.evicted == 11 - len(left)


def test_what_others_wrote_counts(tmp_path: Path) -> None:
    limits = CacheLimits(tmp_path, 50_000)
    first = BlockCache(limits)
    for number in range(49):
        first.put(F, number, view(BLOCK))
    second = BlockCache(limits)
    for number in range(20):
        second.put(G, number, view(BLOCK))
    assert second.size().n_bytes <= 50_000 * 1.05
    assert second.counts.evicted > 0


def _write_and_read(root: Path, n: int, wrong: object) -> None:
    cache = BlockCache(CacheLimits(root, 20_000))
    for turn in range(n):
        number = turn % 30
        content = bytes([number]) * 1000
        found = cache.get(F, number, 1000)
        if found is not None and found != content:
            wrong.set()  # type: ignore[attr-defined]
        cache.put(F, number, view(content))


def test_threads_and_processes_share_a_cache_below_its_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    wrong = context.Event()
    processes = [context.Process(target=_write_and_read, args=(tmp_path, 60, wrong)) for _ in range(1)]
    threads = [threading.Thread(target=_write_and_read, args=(tmp_path, 60, wrong)) for _ in range(3)]
    for worker in [*processes, *threads]:
        worker.start()
    for worker in [*processes, *threads]:
        worker.join()
    assert [process.exitcode for process in processes] == [0]
    assert not wrong.is_set()
    assert BlockCache(CacheLimits(tmp_path, 20_000)).size().n_bytes <= 20_000 * (1 + 0.05 * 5)
    assert not list(tmp_path.rglob(".part-*"))


def test_versions_do_not_share_blocks() -> None:
    path = RemotePath("s3://bucket/a.tiff")
    versions = [FileFacts(1, '"a"'), FileFacts(1, '"b"'), FileFacts(2, '"a"')]
    names = {name_file(path.at(version)) for version in versions}
    assert len(names | {name_file(RemotePath("s3://bucket/b.tiff").at(versions[0]))}) == 4


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = BlockCache(CacheLimits(tmp_path / "file", 10**6))
    with pytest.raises(CacheError, match=r"block cache .*cache\.root.*cache\.max_gb = 0"):
        cache.put(F, 0, view(BLOCK))


def test_clearing_leaves_nothing(tmp_path: Path) -> None:
    cache = BlockCache(CacheLimits(tmp_path / "cache", 10**6))
    cache.clear()  # of a folder that is not there
    cache.put(F, 0, view(BLOCK))
    cache.clear()
    assert cache.size().blocks == 0


def write_strangers(root: Path) -> list[Path]:
    """Files of a user in the folder that the cache was given, some of them named nearly as blocks are."""
    names = (
        "eg/2024/part.parquet", "eg/0", "notes.txt", "0", "cafe/0", f"{F}/part.parquet", f"{F}/0.bak", f"{F}/deep/0",
        f"{F}x/0", f"{F.upper()}/0",
    )  # fmt: skip
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"mine")
        os.utime(root / name, (1, 1))  # older than any block
    return [root / name for name in names]


def test_files_of_others_are_neither_counted_nor_removed(tmp_path: Path) -> None:
    strangers = write_strangers(tmp_path)
    cache = BlockCache(CacheLimits(tmp_path, 10_500))
    for number in range(30):
        cache.put(F, number, view(BLOCK))
        cache.put(G, number, view(BLOCK))
    assert cache.counts.evicted > 0
    (tmp_path / F / ".part-killed").write_bytes(BLOCK)
    assert cache.size().n_bytes <= 10_500 + len(BLOCK)
    cache.clear()
    assert cache.size().blocks == 0
    assert not (tmp_path / F / ".part-killed").exists()
    assert not (tmp_path / G).exists()
    assert [path.read_bytes() for path in strangers] == [b"mine"] * len(strangers)


def test_a_damaged_block_that_cannot_be_removed_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = BlockCache(CacheLimits(tmp_path, 10**6))
    cache.put(F, 0, view(BLOCK))
    (tmp_path / F / "0").write_bytes(b"damaged")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("another user's cache")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert cache.get(F, 0, len(BLOCK)) is None
