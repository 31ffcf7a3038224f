from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from warehouse.errors import WarehouseBusyError
from warehouse.run_holder import LOCK_FILE
from warehouse.run_lock import hold_warehouse, hold_year

PROJECT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from warehouse.run_lock import hold_warehouse
with hold_warehouse(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def start_holder(root: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock of a warehouse."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdout=subprocess.PIPE, text=True, cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_told_who_holds_the_warehouse(tmp_path: Path) -> None:
    with hold_warehouse(tmp_path / "wh"), pytest.raises(WarehouseBusyError) as caught, hold_warehouse(tmp_path / "wh"):
        pass
    message = str(caught.value)
    assert f"process {os.getpid()} on " in message
    assert "--wait" in message


def test_the_lock_is_free_again_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold_warehouse(tmp_path):
        raise RuntimeError
    with hold_warehouse(tmp_path):
        pass
    assert (tmp_path / LOCK_FILE).read_text() == ""


def test_two_warehouses_do_not_mind_each_other(tmp_path: Path) -> None:
    with hold_warehouse(tmp_path / "a"), hold_warehouse(tmp_path / "b"):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        with pytest.raises(WarehouseBusyError, match=f"process {holder.pid} "), hold_warehouse(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with hold_warehouse(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()


def test_a_patient_run_starts_when_the_other_has_ended(tmp_path: Path) -> None:
    told: list[str] = []
    entered = threading.Event()

    def wait_for_it() -> None:
        with hold_warehouse(tmp_path, waiting=told.append):
            entered.set()

    with hold_warehouse(tmp_path):
        patient = threading.Thread(target=wait_for_it, daemon=True)
        patient.start()
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        assert f"waiting for process {os.getpid()} on " in told[0]
        assert not entered.is_set()
    assert entered.wait(60)
    patient.join(60)
    assert len(told) == 1


def test_a_lock_file_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    with hold_warehouse(tmp_path):
        (tmp_path / LOCK_FILE).write_text("not JSON")
        with pytest.raises(WarehouseBusyError, match="another process"), hold_warehouse(tmp_path):
            pass


def test_evaluations_of_a_year_take_turns_and_other_years_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []

    def evaluate() -> None:
        with hold_year(tmp_path, 2024, said.append):
            order.append("second")

    with hold_year(tmp_path, 2024, said.append), hold_year(tmp_path, 2023, said.append):
        second = threading.Thread(target=evaluate)
        second.start()
        while not said:
            time.sleep(0.01)
        order.append("first")
    second.join()
    assert order == ["first", "second"]
    assert len(said) == 1
    assert said[0].startswith(f"waiting for process {os.getpid()} on ")
