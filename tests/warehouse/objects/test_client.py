from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fault_server import Fault, FaultServer, serve
from warehouse.errors import (
    ListingRefusedError,
    SourceChangedError,
    SourceMissingError,
    SourceRefusedError,
    SourceUnavailableError,
)
from warehouse.file_paths import FileFacts, RemoteAccess, RemotePath
from warehouse.objects import fetch_loop
from warehouse.objects.client import ByteSpan, open_client

CONTENT = bytes(range(256)) * 40
PATIENT = {"allow_http": True, "tries": 4, "first_wait_s": 0.01, "longest_wait_s": 0.02, "timeout_s": 0.5}
HASTY = {**PATIENT, "tries": 2}

Address = Callable[..., RemotePath]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    for name in ("a.bin", "deep/b.bin", "deep/c.bin", "deep/er/d.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(CONTENT)
    with serve(tmp_path) as running:
        yield running


@pytest.fixture(params=["http", "s3", "gs"])
def address(server: FaultServer, request: pytest.FixtureRequest) -> Address:
    """Give a file of the server as each of the three kinds of store."""

    def give(name: str, **access: Any) -> RemotePath:
        return reach(server, request.param, name, **access)

    return give


def reach(server: FaultServer, scheme: str, name: str, **access: Any) -> RemotePath:
    if scheme == "http":
        return RemotePath(f"{server.url}/{name}", RemoteAccess(**{**PATIENT, **access}))
    url = f"{scheme}://world/{name}"
    return RemotePath(url, RemoteAccess(endpoint=server.endpoint, **{**PATIENT, **access}))


def head(path: RemotePath) -> FileFacts | None:
    return fetch_loop.wait(open_client(path).head(path.key))


def fetch(path: RemotePath, start: int, stop: int, version: FileFacts) -> bytes:
    return bytes(fetch_loop.wait(open_client(path).fetch(path.key, ByteSpan(start, stop), version)))


def version_of(path: RemotePath) -> FileFacts:
    facts = head(path)
    assert facts is not None
    return facts


def test_all_stores_give_size_ranges_and_listings(address: Address, server: FaultServer) -> None:
    path = address("a.bin")
    facts = version_of(path)
    assert facts.size_bytes == len(CONTENT)
    assert fetch(path, 100, 900, facts) == CONTENT[100:900]
    assert server.asked[-1].span == (100, 900)
    assert server.asked[-1].user_agent.startswith("isthmus/")
    # five files, four keys a page
    (server.root / "deep/er/e.bin").write_bytes(b"x")
    (server.root / "deeper.bin").write_bytes(b"beside the folder, not in it")
    keys = list(fetch_loop.wait(open_client(path).list_files(address("deep").key)))
    assert sorted(keys) == ["b.bin", "c.bin", "er/d.bin", "er/e.bin"]


@pytest.mark.parametrize("name", ["with space.bin", "plus+and&.bin", "Süd/ä.bin", "50%.bin", "a=b,(c).bin"])
def test_names_are_those_of_the_disk(address: Address, server: FaultServer, name: str) -> None:
    place = server.root / "odd" / name
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    path = address(f"odd/{name}")
    assert fetch(path, 0, 10, version_of(path)) == CONTENT[:10]
    assert list(fetch_loop.wait(open_client(path).list_files(address("odd").key))) == [name]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500),
        Fault("status", status=503, times=2),
        Fault("status", status=429),
        Fault("status", status=408),
        Fault("reset"),
        Fault("cut"),
        Fault("short"),
        Fault("stall", seconds=1.0),
        Fault("slow", seconds=1.0),
    ],
    ids=lambda fault: f"{fault.kind}{fault.status if fault.kind == 'status' else ''}",
)
def test_what_passes_is_tried_again(address: Address, server: FaultServer, fault: Fault) -> None:
    path = address("a.bin")
    facts = version_of(path)
    fault = replace(fault)  # it counts
    server.faults.append(fault)
    assert fetch(path, 100, 900, facts) == CONTENT[100:900]
    assert fault.hits == fault.times
    assert len(server.gets()) == fault.times + 1


@pytest.mark.parametrize(
    "fault", [Fault("status", status=503, times=9), Fault("reset", times=9), Fault("cut", times=9)]
)
def test_what_does_not_pass_is_given_up_and_said(address: Address, server: FaultServer, fault: Fault) -> None:
    path = address("a.bin", tries=3)
    facts = version_of(path)
    fault = replace(fault)  # it counts
    server.faults.append(fault)
    with pytest.raises(SourceUnavailableError, match=r"a\.bin: found no good answer in 3 tries .*run again later"):
        fetch(path, 0, 10, facts)
    assert fault.hits == 3


def test_waits_grow_and_are_jittered(monkeypatch: pytest.MonkeyPatch, server: FaultServer) -> None:
    waits: list[float] = []

    async def count(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("warehouse.objects.client.asyncio.sleep", count)
    server.faults.append(Fault("status", status=500, times=99))
    path = reach(server, "http", "a.bin", tries=7, first_wait_s=1.0, longest_wait_s=8.0)
    with pytest.raises(SourceUnavailableError):
        fetch(path, 0, 10, FileFacts(len(CONTENT), "x"))
    longest = [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert all(top / 2 <= wait <= top for wait, top in zip(waits, longest, strict=True))
    assert len(set(waits)) == len(waits)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (403, SourceRefusedError, r"403 Forbidden.*anonymous = false"),
        (401, SourceRefusedError, r"401 Unauthorized.*anonymous = false"),
        (404, SourceMissingError, r"404 Not Found.*source root"),
        (400, SourceRefusedError, r"400 Bad Request"),
        (410, SourceRefusedError, r"410 Gone"),
    ],
)
def test_what_is_final_is_said_at_once(
    address: Address, server: FaultServer, status: int, error: type[Exception], text: str
) -> None:
    path = address("a.bin")
    facts = version_of(path)
    server.faults.append(Fault("status", status=status, times=9))
    with pytest.raises(error, match=rf"a\.bin: .*{text}"):
        fetch(path, 0, 10, facts)
    assert len(server.gets()) == 1


def test_a_missing_file_has_no_facts(address: Address) -> None:
    assert head(address("none.bin")) is None


@pytest.mark.parametrize("checks_if_match", [True, False])
def test_a_changed_file_is_never_mixed(address: Address, server: FaultServer, checks_if_match: bool) -> None:
    server.checks_if_match = checks_if_match
    path = address("a.bin")
    facts = version_of(path)
    server.change_after(1, "a.bin", CONTENT[::-1])  # same length, so that only the ETag tells
    assert fetch(path, 0, 10, facts) == CONTENT[:10]
    with pytest.raises(SourceChangedError, match=r"a\.bin: changed while it was read: .*Run again"):
        fetch(path, 10, 20, facts)


def test_without_etags_length_and_date_tell(server: FaultServer) -> None:
    server.has_etags = False
    path = reach(server, "http", "a.bin")
    facts = version_of(path)
    assert fetch(path, 0, 10, facts) == CONTENT[:10]
    server.change_after(0, "a.bin", CONTENT + b"more")
    with pytest.raises(SourceChangedError, match="10240 bytes"):
        fetch(path, 10, 20, facts)


def test_a_file_that_shrank_has_changed(server: FaultServer) -> None:
    server.checks_if_match = False
    path = reach(server, "http", "a.bin")
    facts = version_of(path)
    server.change_after(0, "a.bin", b"short")
    with pytest.raises(SourceChangedError, match="shorter file"):
        fetch(path, 1000, 1010, facts)


def test_a_server_without_ranges_is_refused(server: FaultServer) -> None:
    server.has_ranges = False
    path = reach(server, "http", "a.bin")
    with pytest.raises(SourceRefusedError, match=r"whole files only.*Download"):
        fetch(path, 0, 10, version_of(path))


def test_a_server_without_a_listing_is_said(server: FaultServer) -> None:
    server.has_listing = False
    path = reach(server, "http", "deep")
    with pytest.raises(ListingRefusedError, match=r"world/deep: found no listing .*s3://"):
        fetch_loop.wait(open_client(path).list_files(path.key))


def test_connections_are_bounded(server: FaultServer) -> None:
    server.faults.append(Fault("slow", seconds=0.05, times=99))
    open_now, most, lock = 0, 0, threading.Lock()
    path = reach(server, "http", "a.bin", connections=3)
    facts = version_of(path)
    client = open_client(path)
    original = client._store

    class Counted:
        async def get_async(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal open_now, most
            with lock:
                open_now += 1
                most = max(most, open_now)
            try:
                return await original.get_async(*args, **kwargs)
            finally:
                with lock:
                    open_now -= 1

    client._store = Counted()
    try:
        futures = [fetch_loop.start(client.fetch(path.key, ByteSpan(i, i + 1), facts)) for i in range(20)]
        assert b"".join(bytes(future.result()) for future in futures) == CONTENT[:20]
    finally:
        client._store = original
    assert most == 3
