from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fault_server import Fault, FaultServer, serve
from warehouse.errors import SourceChangedError, SourceUnavailableError
from warehouse.file_access import pin
from warehouse.file_paths import CacheLimits, RemoteAccess, RemotePath
from warehouse.objects.block_cache import BLOCK_BYTES, open_cache
from warehouse.objects.client import ByteSpan
from warehouse.objects.remote_file import RemoteFile

N_BYTES = 5 * BLOCK_BYTES + 1234
ACCESS = RemoteAccess(allow_http=True, tries=4, first_wait_s=0.01, longest_wait_s=0.02, timeout_s=0.5)


@pytest.fixture(scope="module")
def content() -> bytes:
    return np.random.default_rng(0).bytes(N_BYTES)


@pytest.fixture
def server(tmp_path: Path, content: bytes) -> Iterator[FaultServer]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a.bin").write_bytes(content)
    with serve(tmp_path / "served") as running:
        yield running


@pytest.fixture
def cached(server: FaultServer, tmp_path: Path) -> RemotePath:
    path = pin(RemotePath(f"{server.url}/a.bin", ACCESS).through(CacheLimits(tmp_path / "cache", 10**8)))
    assert isinstance(path, RemotePath)
    return path


def uncached(path: RemotePath) -> RemotePath:
    return path.through(None)


def test_it_reads_like_a_file(cached: RemotePath, content: bytes) -> None:
    with RemoteFile(cached) as file:
        assert file.read(10) == content[:10]
        assert file.tell() == 10
        assert file.seek(-5, io.SEEK_END) == N_BYTES - 5
        assert file.read(100) == content[-5:]
        assert file.read(1) == b""
        assert file.seek(BLOCK_BYTES - 3) == BLOCK_BYTES - 3
        assert file.read(6) == content[BLOCK_BYTES - 3 : BLOCK_BYTES + 3]
        file.seek(0)
        assert file.read() == content


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_spans_are_those_of_the_file(cached: RemotePath, content: bytes, data: Any) -> None:
    edges = st.integers(0, N_BYTES)
    pairs = data.draw(st.lists(st.tuples(edges, edges).map(sorted), max_size=6))
    spans = [ByteSpan(start, stop) for start, stop in pairs]
    path = data.draw(st.sampled_from([cached, uncached(cached)]))
    assert list(RemoteFile(path).read_spans(spans)) == [content[s.start : s.stop] for s in spans]


def test_nothing_is_fetched_twice(cached: RemotePath, server: FaultServer, content: bytes) -> None:
    assert RemoteFile(cached).read() == content
    asked = len(server.gets())
    # another file object, as after a restart
    assert RemoteFile(cached).read() == content
    assert len(server.gets()) == asked
    assert cached.access.cache is not None
    assert open_cache(cached.access.cache).counts.hits == 6


def test_neighbours_are_one_request_and_strangers_are_not(cached: RemotePath, server: FaultServer) -> None:
    spans = [
        ByteSpan(0, 10),
        ByteSpan(BLOCK_BYTES + 5, BLOCK_BYTES + 10),
        ByteSpan(4 * BLOCK_BYTES, 4 * BLOCK_BYTES + 1),
    ]
    assert [len(part) for part in RemoteFile(cached).read_spans(spans)] == [10, 5, 1]
    assert sorted(one.span for one in server.gets() if one.span) == [
        (0, 2 * BLOCK_BYTES),
        (4 * BLOCK_BYTES, 5 * BLOCK_BYTES),
    ]


def test_small_steps_in_a_block_are_one_request(cached: RemotePath, server: FaultServer, content: bytes) -> None:
    file = RemoteFile(uncached(cached))
    for start in range(0, 5000, 500):
        file.seek(start)
        assert file.read(300) == content[start : start + 300]
    assert len(server.gets()) == 1


def test_a_damaged_block_is_fetched_again(cached: RemotePath, server: FaultServer, content: bytes) -> None:
    RemoteFile(cached).read()
    assert cached.access.cache is not None
    block = next(path for path in cached.access.cache.root.rglob("2") if path.is_file())
    block.write_bytes(block.read_bytes()[:-5] + b"wrong")
    assert RemoteFile(cached).read() == content
    assert server.gets()[-1].span == (2 * BLOCK_BYTES, 3 * BLOCK_BYTES)


def test_another_version_has_other_blocks(cached: RemotePath, server: FaultServer, content: bytes) -> None:
    RemoteFile(cached).read(10)
    server.change_after(0, "a.bin", content[::-1])
    with pytest.raises(SourceChangedError):
        RemoteFile(cached).read()
    anew = pin(dataclasses.replace(cached, version=None))
    assert isinstance(anew, RemotePath)
    assert RemoteFile(anew).read() == content[::-1]


def test_an_error_of_one_part_ends_all(cached: RemotePath, server: FaultServer) -> None:
    server.faults.append(Fault("status", status=500, times=99))
    with pytest.raises(SourceUnavailableError):
        RemoteFile(cached).read()
    server.faults.clear()
    assert len(RemoteFile(cached).read()) == N_BYTES  # and spoils no later one


def test_a_cache_smaller_than_a_read_is_no_error(server: FaultServer, tmp_path: Path, content: bytes) -> None:
    small = CacheLimits(tmp_path / "small", 2 * BLOCK_BYTES)
    path = pin(RemotePath(f"{server.url}/a.bin", ACCESS).through(small))
    assert isinstance(path, RemotePath)
    for _ in range(2):
        assert RemoteFile(path).read() == content
    assert open_cache(small).size().n_bytes <= small.max_bytes
