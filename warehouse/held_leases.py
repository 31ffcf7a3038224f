"""Leases on warehouses in object stores that this process holds, or works under: what must be asked before a write.

Belongs here: knowing them, refusing writes of a run that has lost one. Does not: taking and renewing (`run_lease.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from warehouse.errors import LeaseLostError
from warehouse.file_paths import FilePath, RemotePath


class HeldLease(Protocol):
    """A lease that this process holds or works under."""

    @property
    def place(self) -> RemotePath:
        """Its object, in the root of the warehouse."""
        ...

    def is_lost(self) -> bool:
        """Tell whether another run may have taken it; may ask the store."""
        ...


#: In the order in which they were taken.
_held: list[HeldLease] = []


@contextlib.contextmanager
def work_under(lease: HeldLease) -> Iterator[None]:
    """Let all writes of a block ask a lease first."""
    _held.append(lease)
    try:
        yield
    finally:
        _held.remove(lease)


def find_leases(root: FilePath) -> list[HeldLease]:
    """List the leases of this process on a warehouse; none for a folder."""
    return [lease for lease in list(_held) if lease.place.parent.url == str(root)]


def check_lease(path: FilePath) -> None:
    """Refuse to change a warehouse, or a file in it, of which this process has lost a lease; without one, all may.

    Raises:
        LeaseLostError: it was not renewed in time, and another run has taken it.
        SourceUnavailableError: it was not renewed in time, and the store does not say whether somebody has.
    """
    if isinstance(path, RemotePath):
        for lease in list(_held):
            if f"{path.url}/".startswith(f"{lease.place.parent.url}/") and lease.is_lost():
                raise LeaseLostError(str(lease.place))
