"""Locks of a warehouse in an object store: small objects that their run renews while it lives.

Belongs here: taking, renewing and giving up the lease. Does not: warehouses on a disk, and who needs a lock
(`run_lock.py`).

A store drops nothing when a process dies, so a lease ends by not being renewed: whoever wants it watches it for as long
as its holder has promised to renew it, and takes it if nothing came. No clocks are compared. Every write of the object
is conditional on the version that was read before, so one of two takers wins.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

from transforms.errors import IsthmusError
from warehouse.errors import LeaseLostError, SourceChangedError, WarehouseBusyError
from warehouse.file_access import read_bytes, stat_file
from warehouse.file_paths import FileFacts, RemotePath
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client
from warehouse.run_holder import Holder

#: Between two renewals.
RENEW_S = 15.0
#: Without a renewal, after which the lease is free: several may fail.
LEASE_S = 75.0
_POLL_S = 2.0
#: Heard by whoever shows progress (`orchestration/progress_log.py`), else by nobody.
_progress = logging.getLogger("isthmus.progress.warehouse")


@dataclass(frozen=True)
class Lease:
    """What the object says.

    Attributes:
        token: drawn by the run that holds it; empty = nobody does.
        renewed: how often; makes each version differ.
        lease_s: how long it holds without a renewal.
        holder: who, for messages.
    """

    token: str
    renewed: int
    lease_s: float
    holder: Holder

    def encode(self) -> bytes:
        """Spell it as JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode()


@dataclass(frozen=True)
class _Seen:
    """A lease as it was read, with the version of its object; `lease` is None where somebody else wrote the object."""

    facts: FileFacts
    lease: Lease | None


class _Held:
    """A lease of this process, and the thread that renews it."""

    def __init__(self, place: RemotePath, lease: Lease, facts: FileFacts) -> None:
        self.place = place
        self._lease = lease
        self._facts = facts
        self._renewed_at = _now()
        self._is_lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="run-lease", daemon=True)
        self._thread.start()

    @property
    def is_lost(self) -> bool:
        """Whether another run may have taken it."""
        return self._is_lost or _now() - self._renewed_at > self._lease.lease_s

    def give_up(self) -> None:
        """Stop renewing, and leave the lease to the next run."""
        self._ended.set()
        self._thread.join()
        if not self.is_lost:
            with contextlib.suppress(IsthmusError):  # then it ends by itself
                _swap(self.place, replace(self._lease, token="", renewed=self._lease.renewed + 1), self._facts)

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEW_S) and not self.is_lost:
            with contextlib.suppress(IsthmusError):  # a store that is down for a while; `is_lost` has the last word
                self._renew()

    def _renew(self) -> None:
        began = _now()
        lease = replace(self._lease, renewed=self._lease.renewed + 1)
        facts = _claim(self.place, lease, self._facts)
        if facts is None:
            self._is_lost = True
            return
        self._lease, self._facts, self._renewed_at = lease, facts, began


#: Leases of this process, by URL of their object.
_held: dict[str, _Held] = {}


@contextlib.contextmanager
def hold_lease(place: RemotePath, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lease while a block runs.

    Args:
        place: its object, in the root of the warehouse.
        waiting: told whom is waited for; None = wait only until it is clear that the holder lives.

    Raises:
        WarehouseBusyError: another run holds it, and nobody wants to wait.
        SourceRefusedError: this user may not write there, or the store knows no conditional writes.
        SourceUnavailableError: the store does not answer.
    """
    wanted = Lease(secrets.token_hex(8), 0, LEASE_S, Holder.this_process())
    held = _Held(place, wanted, _take(place, wanted, waiting))
    _held[place.url] = held
    try:
        yield
    finally:
        del _held[place.url]
        held.give_up()


def check_lease(path: RemotePath) -> None:
    """Refuse to write into a warehouse of which this process has lost a lease; without a lease, all may write.

    Raises:
        LeaseLostError: it was not renewed in time, so another run may be at work.
    """
    for held in list(_held.values()):
        if path.url.startswith(f"{held.place.parent}/") and held.is_lost:
            raise LeaseLostError(str(held.place))


def _now() -> float:
    """Give seconds that go on while the machine sleeps, where the system counts such."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _take(place: RemotePath, wanted: Lease, waiting: Callable[[str], None] | None) -> FileFacts:
    """Write the lease as soon as it is free; give its version."""
    told = False
    while True:
        seen = _look(place)
        if seen is not None and not _is_free(seen.lease):
            assert seen.lease is not None
            if waiting is not None and not told:
                waiting(f"waiting for {seen.lease.holder}")
                told = True
            if _is_renewed(place, seen.facts, seen.lease):
                if waiting is None:
                    raise WarehouseBusyError(str(place.parent), str(seen.lease.holder))
                continue
        facts = _claim(place, wanted, seen.facts if seen is not None else None)
        if facts is not None:
            return facts


def _is_free(lease: Lease | None) -> bool:
    return lease is None or not lease.token or lease.holder.is_gone()


def _is_renewed(place: RemotePath, facts: FileFacts, lease: Lease) -> bool:
    """Watch a lease for as long as it holds; tell whether its object has changed."""
    _progress.info("looking for up to %.0f s whether %s still runs", lease.lease_s, lease.holder)
    began = _now()
    while _now() - began < lease.lease_s:
        if stat_file(place) != facts:
            return True
        time.sleep(_POLL_S)
    return False


def _claim(place: RemotePath, wanted: Lease, expected: FileFacts | None) -> FileFacts | None:
    """Write a lease over the version that was seen; None where somebody else was faster."""
    facts = _swap(place, wanted, expected)
    if facts is None:  # perhaps a try of ours whose answer was lost
        seen = _look(place)
        if seen is not None and seen.lease is not None and seen.lease.token == wanted.token:
            return seen.facts
    return facts


def _swap(place: RemotePath, lease: Lease, expected: FileFacts | None) -> FileFacts | None:
    return fetch_loop.wait(open_client(place).swap(place.key, lease.encode(), expected))


def _look(place: RemotePath) -> _Seen | None:
    """Read the lease and its version; None where there is no object."""
    while True:
        facts = stat_file(place)
        if facts is None:
            return None
        try:
            content = read_bytes(place.at(facts).through(None))
        except SourceChangedError:  # renewed in between
            continue
        if content is not None:
            return _Seen(facts, _decode(content))


def _decode(content: bytes) -> Lease | None:
    try:
        record = json.loads(content)
        return Lease(**{**record, "holder": Holder(**record["holder"])})
    except (ValueError, TypeError, KeyError):
        return None
