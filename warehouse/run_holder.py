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

import psutil

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
    """

    pid: int
    host: str
    since: str
    command: str
    kernel: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"

    @classmethod
    def this_process(cls) -> Holder:
        """Describe this process, as of now."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        return cls(os.getpid(), socket.gethostname(), now, command, _name_kernel())

    def is_gone(self) -> bool:
        """Tell whether the process has surely ended; of those of other machines and containers nobody can say."""
        if not self.kernel or self.kernel != _name_kernel():
            return False
        try:
            started = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return True
        # a process that started after the lock was taken has the number of a dead one
        return started > datetime.datetime.fromisoformat(self.since).timestamp() + 1.0


def _name_kernel() -> str:
    """Name the running kernel and the name space of its processes: host names may be shared by containers."""
    try:
        return f"{_BOOT.read_text(encoding='ascii').strip()}-{_PROCESSES.stat().st_ino}"
    except OSError:  # not Linux
        return ""
