"""Who holds a warehouse: the record in its lock.

Belongs here: what a run says of itself, and whether it still lives. Does not: taking locks (`run_lock.py`,
`run_lease.py`).
"""

from __future__ import annotations

import datetime
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

#: In the root of the warehouse. It stays there: only what it says, or its lock, tells whether somebody runs.
LOCK_FILE = "run.lock"
_BOOT, _PROCESSES = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Holder:
    """A run that holds a warehouse.

    Attributes:
        pid: process.
        host: its machine.
        since: when it took the lock, ISO 8601, UTC.
        command: how it was called.
        kernel: what tells in which kernel and container the number of the process is valid; empty where none can say.
        started: when the process started, in ticks of that kernel; no clock that is set moves them.
    """

    pid: int
    host: str
    since: str
    command: str
    kernel: str = ""
    started: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"

    @classmethod
    def this_process(cls) -> Holder:
        """Describe this process, as of now."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        return cls(os.getpid(), socket.gethostname(), now, command, _name_kernel(), _start_of(os.getpid()) or 0)

    def is_gone(self) -> bool:
        """Tell whether the process has surely ended; of those of other machines and containers nobody can say."""
        return bool(self.kernel) and self.kernel == _name_kernel() and _start_of(self.pid) != self.started


def _start_of(pid: int) -> int | None:
    """Give when a process of this kernel started, in ticks; None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *numbers = stat.rpartition(")")[2].split()  # the name before may hold anything
    return int(numbers[18]) if state not in ("Z", "X") else None  # killed, and its parent has not noticed yet


def _name_kernel() -> str:
    """Name the running kernel and the name space of its processes: host names may be shared by containers."""
    try:
        return f"{_BOOT.read_text(encoding='ascii').strip()}-{_PROCESSES.stat().st_ino}"
    except OSError:  # not Linux
        return ""
