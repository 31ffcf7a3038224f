from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError

from tests.bucket import Bucket
from warehouse import run_lease
from warehouse.errors import (
    LeaseLostError,
    SourceMissingError,
    SourceUnavailableError,
    UnconditionalStoreError,
    WarehouseBusyError,
)
from warehouse.file_access import remove_files
from warehouse.file_paths import FileFacts, RemotePath
from warehouse.held_leases import check_lease, find_leases, work_under
from warehouse.objects.client import ObjectClient, open_client
from warehouse.run_holder import LOCK_FILE, Holder
from warehouse.run_lease import Lease, lend_leases
from warehouse.run_lock import hold_warehouse
from warehouse.unfinished import replace_file

PROJECT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from tests.bucket import Bucket
from warehouse.run_lock import hold_warehouse
with hold_warehouse(Bucket(sys.argv[1], sys.argv[2]).path(sys.argv[3])):
    print("held", flush=True)
    time.sleep(600)
"""
STRANGER = Holder(1, "elsewhere", "2026-01-01T00:00:00+00:00", "isthmus run", "another kernel")


class Clock:
    """Seconds that pass when a test says so, and with each wait for somebody's lease."""

    def __init__(self) -> None:
        self.now = 1000.0

    def pause(self) -> None:
        self.now += run_lease._POLL_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for all leases of the test; nothing is renewed in the background."""
    clock = Clock()
    monkeypatch.setattr(run_lease, "_now", lambda: clock.now)
    monkeypatch.setattr(run_lease, "_pause", clock.pause)
    monkeypatch.setattr(run_lease, "RENEW_S", 3600.0)
    return clock


@pytest.fixture
def root(bucket: Bucket, tmp_path: Path) -> RemotePath:
    """A warehouse in the bucket."""
    return bucket.path(tmp_path.name, tmp_path / "scratch")


@pytest.fixture
def write_lease(bucket: Bucket, root: RemotePath) -> Callable[[Lease], None]:
    """Put a lease of somebody else into the bucket."""
    return lambda lease: bucket.put((root / LOCK_FILE).key, lease.encode())


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until something holds that must."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def send(place: RemotePath, text: str) -> None:
    with replace_file(place, "text") as temporary:
        temporary.write_text(text)


def test_a_second_run_is_refused_once_the_first_is_seen_to_live(
    root: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lease, "RENEW_S", 0.2)
    with hold_warehouse(root), pytest.raises(WarehouseBusyError) as caught, hold_warehouse(root):
        pass
    assert f"process {os.getpid()} on " in str(caught.value)
    assert f"{root}:" in str(caught.value)


def test_the_lease_is_free_again_after_the_block_and_after_an_error(root: RemotePath) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError), hold_warehouse(root):
            raise RuntimeError
    with hold_warehouse(root):
        pass


def test_two_warehouses_of_a_bucket_do_not_mind_each_other(root: RemotePath) -> None:
    with hold_warehouse(root / "a"), hold_warehouse(root / "b"):
        pass


def test_the_lease_of_a_process_killed_here_is_free_at_once(bucket: Bucket, root: RemotePath, clock: Clock) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, bucket.name, bucket.endpoint, root.key],
        stdout=subprocess.PIPE, text=True, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with hold_warehouse(root):
            assert clock.now == 1000.0  # nobody was watched
    finally:
        holder.kill()
        holder.communicate()


def test_the_lease_of_a_machine_that_is_gone_is_free_when_it_has_run_out(
    root: RemotePath, write_lease: Callable[[Lease], None], clock: Clock
) -> None:
    write_lease(Lease("theirs", 7, 500.0, STRANGER))
    with hold_warehouse(root):
        assert clock.now >= 1500.0


def test_what_cannot_be_read_is_watched_as_a_lease_is(bucket: Bucket, root: RemotePath, clock: Clock) -> None:
    bucket.put((root / LOCK_FILE).key, b"not JSON")
    with hold_warehouse(root):
        assert clock.now >= 1000.0 + run_lease.LEASE_S


def test_a_lease_of_a_later_version_is_read(
    bucket: Bucket, root: RemotePath, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    record = asdict(Lease("theirs", 7, 500.0, STRANGER))
    record |= {"fence": 3, "holder": {**record["holder"], "user": "x"}}
    bucket.put((root / LOCK_FILE).key, json.dumps(record).encode())
    monkeypatch.setattr(run_lease, "_is_renewed", lambda *_: True)
    with pytest.raises(WarehouseBusyError, match="process 1 on elsewhere"), hold_warehouse(root):
        pass


def test_a_patient_run_starts_when_the_other_has_ended(root: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lease, "RENEW_S", 0.1)
    monkeypatch.setattr(run_lease, "_POLL_S", 0.02)
    told: list[str] = []
    watched: list[bool] = []
    entered = threading.Event()
    is_renewed = run_lease._is_renewed

    def watch(place: RemotePath, seen: run_lease._Seen) -> bool:
        watched.append(is_renewed(place, seen))
        return watched[-1]

    monkeypatch.setattr(run_lease, "_is_renewed", watch)

    def wait_for_it() -> None:
        with hold_warehouse(root, waiting=told.append):
            entered.set()

    with hold_warehouse(root):
        patient = threading.Thread(target=wait_for_it, daemon=True)
        patient.start()
        wait_for(lambda: len(watched) > 2)  # renewals: it goes on waiting
        assert not entered.is_set()
    assert entered.wait(120)
    patient.join(120)
    assert len(told) == 1
    assert f"waiting for process {os.getpid()} on " in told[0]


def test_of_many_takers_one_at_a_time_is_inside(root: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lease, "_POLL_S", 0.02)
    inside: list[int] = []
    most: list[int] = []

    def take() -> None:
        with hold_warehouse(root, waiting=lambda _: None):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    takers = [threading.Thread(target=take, daemon=True) for _ in range(5)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(120)
    assert most == [1] * len(takers)


def test_a_run_that_has_lost_its_lease_changes_nothing_more(
    bucket: Bucket, root: RemotePath, write_lease: Callable[[Lease], None], clock: Clock
) -> None:
    with hold_warehouse(root):
        send(root / "a.txt", "first")
        write_lease(Lease("theirs", 0, 500.0, STRANGER))
        clock.now += run_lease.LEASE_S + 1
        with pytest.raises(LeaseLostError, match="Run the same command again"):
            send(root / "a.txt", "second")
        with pytest.raises(LeaseLostError):
            remove_files([root / "a.txt"])
        send(root.with_name(f"{root.name}-2") / "a.txt", "another warehouse")
    assert bucket.get((root / "a.txt").key) == b"first"
    assert b"theirs" in bucket.get((root / LOCK_FILE).key)  # it is not ours to give up
    send(root / "a.txt", "third")  # as a body of another process, which works under no lease
    assert bucket.get((root / "a.txt").key) == b"third"


def test_a_late_lease_that_nobody_took_is_renewed_before_a_write(
    bucket: Bucket, root: RemotePath, clock: Clock
) -> None:
    with hold_warehouse(root):
        before = bucket.get((root / LOCK_FILE).key)
        clock.now += 8 * 3600.0  # the laptop slept
        send(root / "a.txt", "after the night")
        assert bucket.get((root / LOCK_FILE).key) != before
    assert bucket.get((root / "a.txt").key) == b"after the night"


def test_an_upload_that_is_tried_again_asks_again(
    bucket: Bucket, root: RemotePath, write_lease: Callable[[Lease], None], clock: Clock, short_waits: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client = open_client(root)
    store, tried = client._store, []

    class Cut:
        async def put_async(self, key: str, *_: Any, **__: Any) -> Any:
            tried.append(key)
            write_lease(Lease("theirs", 0, 500.0, STRANGER))
            clock.now += 8 * 3600.0  # the lid was closed in mid-upload
            raise GenericError("ConnectionReset")

    with hold_warehouse(root):
        monkeypatch.setattr(client, "_store", Cut())
        with pytest.raises(LeaseLostError):
            send(root / "a.txt", "old rows")
        monkeypatch.setattr(client, "_store", store)
    assert len(tried) == 1
    assert "a.txt" not in bucket.keys(root.key)


def test_a_late_lease_is_not_trusted_while_the_store_is_silent(
    root: RemotePath, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def fail(*_: object) -> None:
        raise SourceUnavailableError(str(root), 2, 1.0, "a time-out")

    with hold_warehouse(root):
        check_lease(root / "a.txt")
        monkeypatch.setattr(run_lease, "_claim", fail)
        check_lease(root / "a.txt")
        clock.now += run_lease.LEASE_S + 1
        with pytest.raises(SourceUnavailableError):
            check_lease(root / "a.txt")


def test_a_write_of_the_lease_whose_answer_was_lost_is_ours(
    root: RemotePath, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    swap, lost = ObjectClient.swap, []

    async def lose_answers(self: ObjectClient, *args: Any) -> FileFacts | None:
        lost.append(await swap(self, *args))
        return None

    monkeypatch.setattr(ObjectClient, "swap", lose_answers)
    with hold_warehouse(root):
        for _ in range(3):
            clock.now += run_lease.LEASE_S + 1
            check_lease(root / "a.txt")
    assert sum(facts is not None for facts in lost) == 5  # taken, renewed three times, given up


def test_a_renewal_that_is_refused_without_another_holder_renews_nothing(
    root: RemotePath, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    async def refuse(*_: Any) -> None:
        return None

    with hold_warehouse(root):
        (own,) = find_leases(root)
        written_at = own._written_at  # type: ignore[attr-defined]
        clock.now += run_lease.LEASE_S + 1
        with monkeypatch.context() as patched:
            patched.setattr(ObjectClient, "swap", refuse)
            assert not own.is_lost()  # nobody took it
            assert own._written_at == written_at  # type: ignore[attr-defined]  # the next write asks again
        assert not own.is_lost()
        assert own._written_at > written_at  # type: ignore[attr-defined]


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_conditions_is_refused(
    root: RemotePath, monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    swap = ObjectClient.swap

    async def ignore(self: ObjectClient, key: str, content: bytes, expected: FileFacts | None) -> FileFacts | None:
        if (expected is None) == (ignored == "If-None-Match"):
            await self.delete(key)
            return await swap(self, key, content, None)
        return await swap(self, key, content, expected)

    monkeypatch.setattr(ObjectClient, "swap", ignore)
    with pytest.raises(UnconditionalStoreError, match=ignored), hold_warehouse(root):
        pass


def test_a_bucket_that_is_not_there_is_said(root: RemotePath) -> None:
    elsewhere = RemotePath("s3://none-of-these/x", root.access)
    with pytest.raises(SourceMissingError, match="s3://none-of-these"), hold_warehouse(elsewhere):
        pass


def test_a_body_that_was_sent_elsewhere_works_under_the_lease_of_its_sender(
    root: RemotePath, write_lease: Callable[[Lease], None]
) -> None:
    assert lend_leases(root) == ()
    with hold_warehouse(root):
        (lent,) = pickle.loads(pickle.dumps(lend_leases(root)))
        assert not lent.is_lost()
        with work_under(lent):
            send(root / "a.txt", "x")
    assert lent.is_lost()  # given up
    write_lease(Lease("theirs", 0, 500.0, STRANGER))
    with work_under(lent), pytest.raises(LeaseLostError):
        send(root / "a.txt", "y")


def test_a_process_number_is_valid_in_its_own_kernel_and_start_only() -> None:
    mine = Holder.this_process()
    assert not mine.is_gone()
    assert not replace(mine, kernel="another", pid=2**22 + 1).is_gone()
    assert replace(mine, pid=2**22 + 1).is_gone() == bool(mine.kernel)
    assert replace(mine, started=mine.started - 1).is_gone() == bool(mine.kernel)
