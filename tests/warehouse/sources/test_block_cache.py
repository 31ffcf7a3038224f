from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from warehouse.errors import CacheError
from warehouse.source_paths import CacheLimits, FileFacts, RemotePath
from warehouse.sources.block_cache import BlockCache, name_file

BLOCK = bytes(range(250)) * 4


def view(content: bytes) -> memoryview:
    return memoryview(content)


def test_blocks_come_back_as_they_were(tmp_path: Path) -> None:
    cache = BlockCache(CacheLimits(tmp_path / "cache", 10**6))
    assert cache.get("f", 0, len(BLOCK)) is None
    assert not cache.has("f", 0)
    cache.put("f", 0, view(BLOCK))
    assert cache.has("f", 0)
    assert cache.get("f", 0, len(BLOCK)) == BLOCK
    # another process, or the next run
    assert BlockCache(cache.limits).get("f", 0, len(BLOCK)) == BLOCK
    assert (cache.counts.stored, cache.counts.hits) == (1, 1)
    assert (cache.size().files, cache.size().blocks) == (1, 1)


@pytest.mark.parametrize("damage", [b"", BLOCK[:10], BLOCK + b"????", BLOCK[:-1] + b"x????"])
def test_damaged_blocks_are_not_given(tmp_path: Path, damage: bytes) -> None:
    cache = BlockCache(CacheLimits(tmp_path, 10**6))
    cache.put("f", 0, view(BLOCK))
    (tmp_path / "f" / "0").write_bytes(damage)
    assert cache.get("f", 0, len(BLOCK)) is None
    assert cache.counts.damaged == 1
    assert not cache.has("f", 0)


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = BlockCache(CacheLimits(tmp_path, 10_500))
    for number in range(10):
        cache.put("f", number, view(BLOCK))
        os.utime(tmp_path / "f" / str(number), (number, number))
    assert cache.get("f", 0, len(BLOCK)) == BLOCK  # used again: the newest now
    cache.put("g", 0, view(BLOCK))
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert "f/0" in left
    assert "g/0" in left
    assert "f/1" not in left
    assert cache.size().n_bytes <= 10_500 * 0.9
    assert cache.counts.evicted == 11 - len(left)


def test_what_others_wrote_counts(tmp_path: Path) -> None:
    limits = CacheLimits(tmp_path, 50_000)
    first = BlockCache(limits)
    for number in range(49):
        first.put("f", number, view(BLOCK))
    second = BlockCache(limits)
    for number in range(20):
        second.put("g", number, view(BLOCK))
    assert second.size().n_bytes <= 50_000 * 1.05
    assert second.counts.evicted > 0


def _write_and_read(root: Path, n: int, wrong: object) -> None:
    cache = BlockCache(CacheLimits(root, 20_000))
    for turn in range(n):
        number = turn % 30
        content = bytes([number]) * 1000
        found = cache.get("f", number, 1000)
        if found is not None and found != content:
            wrong.set()  # type: ignore[attr-defined]
        cache.put("f", number, view(content))


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
        cache.put("f", 0, view(BLOCK))


def test_clearing_leaves_nothing(tmp_path: Path) -> None:
    cache = BlockCache(CacheLimits(tmp_path / "cache", 10**6))
    cache.clear()  # of a folder that is not there
    cache.put("f", 0, view(BLOCK))
    cache.clear()
    assert cache.size().blocks == 0
