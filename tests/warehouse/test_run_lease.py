from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bucket import Bucket
from warehouse import run_lease
from warehouse.errors import LeaseLostError, SourceUnavailableError, WarehouseBusyError
from warehouse.file_paths import FileFacts, RemotePath
from warehouse.objects.client import ObjectClient
from warehouse.run_holder import LOCK_FILE, Holder
from warehouse.run_lease import Lease
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


@pytest.fixture
def root(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemotePath:
    """A warehouse in the bucket whose leases are short."""
    for name, seconds in (("RENEW_S", 0.1), ("LEASE_S", 2.0), ("_POLL_S", 0.02)):
        monkeypatch.setattr(run_lease, name, seconds)
    return bucket.path(tmp_path.name, tmp_path / "scratch")


@pytest.fixture
def write_lease(bucket: Bucket, root: RemotePath) -> Callable[[Lease], None]:
    """Put a lease of somebody else into the bucket."""
    return lambda lease: bucket.put((root / LOCK_FILE).key, lease.encode())


def send(place: RemotePath, text: str) -> None:
    with replace_file(place, "text") as temporary:
        temporary.write_text(text)


def test_a_second_run_is_refused_once_the_first_is_seen_to_live(root: RemotePath) -> None:
    with hold_warehouse(root), pytest.raises(WarehouseBusyError) as caught, hold_warehouse(root):
        pass
    assert f"process {os.getpid()} on " in str(caught.value)
    assert str(root) in str(caught.value)


def test_the_lease_is_free_again_after_the_block_and_after_an_error(root: RemotePath) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError), hold_warehouse(root):
            raise RuntimeError
    with hold_warehouse(root):
        pass


def test_two_warehouses_of_a_bucket_do_not_mind_each_other(root: RemotePath) -> None:
    with hold_warehouse(root / "a"), hold_warehouse(root / "b"):
        pass


def test_the_lease_of_a_process_killed_here_is_free_at_once(
    bucket: Bucket, root: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lease, "LEASE_S", 3600.0)
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
            pass
    finally:
        holder.kill()
        holder.communicate()


def test_the_lease_of_a_machine_that_is_gone_is_free_when_it_has_run_out(
    root: RemotePath, write_lease: Callable[[Lease], None]
) -> None:
    write_lease(Lease("theirs", 7, 0.5, STRANGER))
    began = time.monotonic()
    with hold_warehouse(root):
        assert time.monotonic() - began >= 0.5


def test_a_patient_run_starts_when_the_other_has_ended(root: RemotePath) -> None:
    told: list[str] = []
    entered = threading.Event()

    def wait_for_it() -> None:
        with hold_warehouse(root, waiting=told.append):
            entered.set()

    with hold_warehouse(root):
        patient = threading.Thread(target=wait_for_it, daemon=True)
        patient.start()
        time.sleep(0.5)  # some renewals: it goes on waiting
        assert not entered.is_set()
    assert entered.wait(60)
    patient.join(60)
    assert len(told) == 1
    assert f"waiting for process {os.getpid()} on " in told[0]


def test_of_many_takers_one_at_a_time_is_inside(root: RemotePath) -> None:
    inside, most, done = [], [], []

    def take() -> None:
        with hold_warehouse(root, waiting=lambda _: None):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()
        done.append(1)

    takers = [threading.Thread(target=take, daemon=True) for _ in range(5)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(60)
    assert len(done) == len(takers)
    assert max(most) == 1


def test_a_run_that_has_lost_its_lease_writes_nothing_more(
    bucket: Bucket, root: RemotePath, write_lease: Callable[[Lease], None]
) -> None:
    with hold_warehouse(root):
        send(root / "a.txt", "first")
        write_lease(Lease("theirs", 0, 60.0, STRANGER))
        time.sleep(0.5)
        with pytest.raises(LeaseLostError, match="Run the same command again"):
            send(root / "a.txt", "second")
    assert bucket.get((root / "a.txt").key) == b"first"
    assert b"theirs" in bucket.get((root / LOCK_FILE).key)  # it is not ours to give up
    send(root / "a.txt", "third")  # as a body of another process, which holds no lease
    assert bucket.get((root / "a.txt").key) == b"third"


def test_a_lease_that_could_not_be_renewed_in_time_is_lost(root: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lease, "LEASE_S", 0.5)

    def fail(*_: object) -> FileFacts:
        raise SourceUnavailableError(str(root), 8, 1.0, "a time-out")

    with hold_warehouse(root):
        run_lease.check_lease(root / "a.txt")
        monkeypatch.setattr(run_lease, "_claim", fail)
        time.sleep(1.0)
        with pytest.raises(LeaseLostError):
            run_lease.check_lease(root / "a.txt")
        run_lease.check_lease(root.with_name(f"{root.name}-2") / "a.txt")  # another warehouse


def test_a_renewal_whose_answer_was_lost_is_ours(root: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    swap, lost = ObjectClient.swap, []

    async def lose_answers(self: ObjectClient, *args: Any) -> FileFacts | None:
        await swap(self, *args)
        lost.append(1)
        return None

    monkeypatch.setattr(ObjectClient, "swap", lose_answers)
    with hold_warehouse(root):
        time.sleep(0.5)
        run_lease.check_lease(root / "a.txt")
    assert len(lost) > 2


def test_an_object_of_another_make_is_no_lease(bucket: Bucket, root: RemotePath) -> None:
    bucket.put((root / LOCK_FILE).key, b"not JSON")
    with hold_warehouse(root):
        pass


def test_a_process_number_is_valid_in_its_own_kernel_and_time_only() -> None:
    mine = Holder.this_process()
    assert not mine.is_gone()
    assert not replace(mine, kernel="another", pid=2**22 + 1).is_gone()
    assert replace(mine, pid=2**22 + 1).is_gone() == bool(mine.kernel)
    earlier = replace(mine, since="2020-01-01T00:00:00+00:00")  # before this process was started
    assert earlier.is_gone() == bool(mine.kernel)
