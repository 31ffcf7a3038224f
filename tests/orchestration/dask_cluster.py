"""A Dask cluster of processes on loopback, whose workers tests may kill.

Belongs here: starting and ending processes, finding out who works on what. Does not: assertions about Isthmus.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import Client

from tests.tiny import PROJECT

_PATIENCE_S = 300
#: How many workers may die of one body before it is given up; 3 by default, which takes longer to show.
_FAILURES = "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"
_COMMON = ("--host", "127.0.0.1", "--no-dashboard")


class DaskProcesses:
    """A scheduler and workers of one thread each, without nannies: a worker that is killed stays dead.

    Args:
        folder: for their logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self._scheduler = self._start("dask_scheduler", "--port", "0", "--scheduler-file", str(file))
        # the file is there a moment before its content
        wait_until(lambda: file.exists() and file.read_text().rstrip().endswith("}"), "a scheduler")
        self.address: str = json.loads(file.read_text())["address"]

    def pids(self) -> set[int]:
        """Give the process ids of the workers that live."""
        return {worker.pid for worker in self._workers if worker.poll() is None}

    def have_workers(self, number: int) -> None:
        """Start workers until there are so many, and wait until the scheduler knows them."""
        while len(self.pids()) < number:
            self._workers.append(self._start("dask_worker", self.address, "--nthreads", "1", "--no-nanny"))
        with self.client() as client:
            # a worker that was killed a moment ago may still be listed
            wait_until(lambda: set(client.run(os.getpid, on_error="ignore").values()) == self.pids(), "all workers")

    def kill_a_worker_at(self, body: str) -> int:
        """Kill a worker in the midst of a body and give its process id.

        The worker is stopped before the last look, so that the body cannot end between look and kill.
        """
        with self.client() as client:
            pid_of: dict[str, int] = client.run(os.getpid)
            deadline = time.monotonic() + _PATIENCE_S
            while time.monotonic() < deadline:
                for address in _busy_with(client, body):
                    os.kill(pid_of[address], signal.SIGSTOP)
                    time.sleep(0.2)  # what it had sent before
                    if address in _busy_with(client, body):
                        self.kill(pid_of[address])
                        return pid_of[address]
                    os.kill(pid_of[address], signal.SIGCONT)
                time.sleep(0.03)
        raise AssertionError(f"no worker was seen at {body} within {_PATIENCE_S} s")

    def kill(self, pid: int) -> None:
        """Kill a worker and wait until it is gone: `have_workers` would count one that is dying."""
        (worker,) = [one for one in self._workers if one.pid == pid]
        worker.kill()
        worker.wait()

    def client(self) -> Any:
        """Give a client, to be closed."""
        return Client(self.address, set_as_default=False)

    def end(self) -> None:
        """Kill all processes."""
        for process in [*self._workers, self._scheduler]:
            process.kill()
            process.wait()

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.{module}", *arguments, *_COMMON]
        log = (self._folder / f"{module}-{time.monotonic_ns()}.log").open("wb")
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", _FAILURES: "1"}
        return subprocess.Popen(command, cwd=self._folder, env=environment, stdout=log, stderr=log)


def wait_until(is_reached: Callable[[], bool], what: str) -> None:
    """Wait for a condition; the clock only ends a test that hangs."""
    deadline = time.monotonic() + _PATIENCE_S
    while not is_reached():
        assert time.monotonic() < deadline, f"no {what} within {_PATIENCE_S} s"
        time.sleep(0.05)


def _busy_with(client: Any, body: str) -> list[str]:
    return [worker for worker, keys in client.processing().items() if any(key.startswith(body) for key in keys)]
