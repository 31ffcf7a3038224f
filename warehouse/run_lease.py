"""Locks of a warehouse in an object store: small objects that their run renews while it lives.

Belongs here: taking, renewing, lending and giving up a lease. Does not: warehouses on a disk, and who needs a lock
(`run_lock.py`), asking it before a write (`held_leases.py`).

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
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from typing import Any

from transforms.errors import IsthmusError
from warehouse.errors import UnconditionalStoreError, WarehouseBusyError
from warehouse.file_access import read_versioned, stat_file
from warehouse.file_paths import FileFacts, FilePath, RemotePath
from warehouse.held_leases import find_leases, work_under
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client
from warehouse.run_holder import Holder

#: Between two renewals.
RENEW_S = 15.0
#: Without a renewal, after which others may take the lease: several may fail.
LEASE_S = 75.0
_POLL_S = 2.0
#: Of requests about a lease, which have a client of their own: a renewal must not queue behind tables.
_TRIES, _TIMEOUT_S = 2, 10.0
#: Goes on while the machine sleeps: on Linux one clock does, on macOS the other.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
#: Heard by whoever shows progress (`orchestration/progress_log.py`), else by nobody.
_progress = logging.getLogger("isthmus.progress.warehouse")


@dataclass(frozen=True)
class Lease:
    """What the object says.

    Attributes:
        token: drawn by the run that holds it; empty = nobody does.
        renewed: how often it was written; no two versions of a lease are the same.
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
    """A lease as it was read, with the version of its object; `lease` is None where its content says nothing to us."""

    facts: FileFacts
    lease: Lease | None

    def __str__(self) -> str:
        return str(self.lease.holder) if self.lease is not None else "another program"

    @property
    def is_free(self) -> bool:
        return self.lease is not None and (not self.lease.token or self.lease.holder.is_gone())

    @property
    def lease_s(self) -> float:
        return self.lease.lease_s if self.lease is not None else LEASE_S


class _Claim(Enum):
    """How an attempt to write a lease ended."""

    WRITTEN = "written"
    REFUSED = "refused"  # another version is there, and is not ours
    OURS = "ours"  # an earlier version of ours is there: nothing was written


class _OwnLease:
    """A lease of this process, and the thread that renews it."""

    def __init__(self, place: RemotePath, lease: Lease, facts: FileFacts, began: float) -> None:
        self.place = place
        self._lease = lease
        self._facts = facts
        self._written_at = began
        self._is_taken = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="run-lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        return self._lease.token

    def is_lost(self) -> bool:
        """Tell whether another run has taken it; one that is late is renewed first, which proves that none has."""
        if not self._is_taken and _now() - self._written_at > self._lease.lease_s:
            self._renew()
        return self._is_taken

    def give_up(self) -> None:
        """Stop renewing, and leave the lease to the next run."""
        self._ended.set()
        self._thread.join()
        if not self._is_taken:
            with contextlib.suppress(IsthmusError):  # then it ends by itself
                _swap(self.place, replace(self._lease, token="", renewed=self._lease.renewed + 1), self._facts)

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEW_S) and not self._is_taken:
            with contextlib.suppress(IsthmusError):  # a store that is down for a while; the next write asks again
                self._renew()

    def _renew(self) -> None:
        with self._lock:
            began = _now()
            self._lease = replace(self._lease, renewed=self._lease.renewed + 1)
            claim, facts = _claim(self.place, self._lease, self._facts)
            self._is_taken = claim is _Claim.REFUSED
            if facts is not None:
                self._facts = facts
            if claim is _Claim.WRITTEN:
                self._written_at = began


@dataclass(frozen=True)
class LentLease:
    """A lease that another process holds, for bodies that it has sent here.

    Attributes:
        place: its object.
        token: of the run that holds it.
    """

    place: RemotePath
    token: str

    def is_lost(self) -> bool:
        """Ask the store whether that run still holds it."""
        seen = _look(self.place)
        return seen is None or seen.lease is None or seen.lease.token != self.token


def lend_leases(root: FilePath) -> tuple[LentLease, ...]:
    """Give the leases of this process on a warehouse to take to another process; none for a folder."""
    own = [lease for lease in find_leases(root) if isinstance(lease, _OwnLease)]
    return tuple(LentLease(lease.place, lease.token) for lease in own)


@contextlib.contextmanager
def hold_lease(place: RemotePath, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lease while a block runs.

    Args:
        place: its object, in the root of the warehouse.
        waiting: told whom is waited for; None = wait only until it is clear that the holder lives.

    Raises:
        WarehouseBusyError: another run holds it, and nobody wants to wait.
        UnconditionalStoreError: the store does not know conditional writes.
        SourceRefusedError: this user may not write there.
        SourceUnavailableError: the store does not answer.
    """
    access = replace(place.access, connections=1, tries=_TRIES, timeout_s=_TIMEOUT_S, cache=None)
    place = replace(place, access=access)
    own = _take(place, Lease(secrets.token_hex(8), 0, LEASE_S, Holder.this_process()), waiting)
    try:
        with work_under(own):
            yield
    finally:
        own.give_up()


def _now() -> float:
    return time.clock_gettime(_CLOCK)


def _pause() -> None:
    time.sleep(_POLL_S)


def _take(place: RemotePath, wanted: Lease, waiting: Callable[[str], None] | None) -> _OwnLease:
    """Write the lease as soon as it is free."""
    told = False
    while True:
        seen = _look(place)
        if seen is not None and not seen.is_free:
            if not told and waiting is not None:
                waiting(f"waiting for {seen}")
            elif not told:
                _progress.info("looking for up to %.0f s whether %s still runs", seen.lease_s, seen)
            told = True
            if _is_renewed(place, seen):
                if waiting is None:
                    raise WarehouseBusyError(str(place.parent), str(seen))
                continue
        began = _now()
        claim, facts = _claim(place, wanted, seen.facts if seen is not None else None)
        if claim is _Claim.WRITTEN:
            assert facts is not None
            _check_conditions(place, wanted)
            return _OwnLease(place, wanted, facts, began)


def _is_renewed(place: RemotePath, seen: _Seen) -> bool:
    """Watch a lease for as long as it holds; tell whether its object has changed."""
    began = _now()
    while _now() - began < seen.lease_s:
        if stat_file(place) != seen.facts:
            return True
        _pause()
    return False


def _check_conditions(place: RemotePath, lease: Lease) -> None:
    """Make sure that the store refuses a write whose condition does not hold: otherwise nothing keeps two runs apart.

    Raises:
        UnconditionalStoreError: it does not.
    """
    another = FileFacts(0, '"0123456789abcdef0123456789abcdef"')
    for condition, expected in (("If-None-Match", None), ("If-Match", another)):
        if _swap(place, lease, expected) is not None:
            raise UnconditionalStoreError(str(place.parent), condition)


def _claim(place: RemotePath, lease: Lease, expected: FileFacts | None) -> tuple[_Claim, FileFacts | None]:
    """Write a lease over the version that was seen; give the version that is there then, if it is ours."""
    facts = _swap(place, lease, expected)
    if facts is not None:
        return _Claim.WRITTEN, facts
    seen = _look(place)
    if seen is None or seen.lease is None or seen.lease.token != lease.token:
        return _Claim.REFUSED, None
    # a try whose answer was lost has written it; or the store refused a write that nobody else was faster with
    return (_Claim.WRITTEN if seen.lease == lease else _Claim.OURS), seen.facts


def _swap(place: RemotePath, lease: Lease, expected: FileFacts | None) -> FileFacts | None:
    return fetch_loop.wait(open_client(place).swap(place.key, lease.encode(), expected))


def _look(place: RemotePath) -> _Seen | None:
    """Read the lease and its version; None where there is no object."""
    found = read_versioned(place)
    return _Seen(found[0], _decode(found[1])) if found is not None else None


def _decode(content: bytes) -> Lease | None:
    """Read a lease, also of a later version that says more; None where the content is none."""
    try:
        record = json.loads(content)
        return Lease(**_known(Lease, {**record, "holder": Holder(**_known(Holder, record["holder"]))}))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _known(kind: Any, record: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in record.items() if name in names}
