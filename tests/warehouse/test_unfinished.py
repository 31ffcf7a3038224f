from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from warehouse import unfinished
from warehouse.unfinished import replace_file, sweep_unfinished


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dead_pid() -> int:
    """Give the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(folder: Path, pid: int, *, host: str | None = None, age_s: float = 0.0) -> Path:
    """Leave an unfinished file as a writer would."""
    path = folder / f".part.parquet.{host or unfinished._host()}.{pid}.0123abcd.tmp"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    if age_s:
        then = path.stat().st_mtime - age_s
        os.utime(path, (then, then))
    return path


def test_the_target_is_the_old_file_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(b"old")
    with replace_file(path, "table") as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.name.startswith(".part.parquet.")  # no reader looks at it
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["part.parquet"]


def test_a_block_that_breaks_off_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(b"old")

    def break_off() -> None:
        with replace_file(path, "table") as temporary:
            temporary.write_bytes(b"ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["part.parquet"]


def test_two_writers_of_one_file_do_not_meet_and_the_last_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    with replace_file(path, "table") as first, replace_file(path, "table") as second:
        assert first != second
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert path.read_bytes() == b"first"  # its block ended last
    assert names(tmp_path) == ["part.parquet"]


def test_threads_that_replace_one_file_never_show_a_mixture(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    contents = {bytes([letter]) * 20_000 for letter in b"abcd"}
    path.write_bytes(next(iter(contents)))
    is_over = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not is_over.is_set():
            seen.add(path.read_bytes())

    def write(content: bytes) -> None:
        for _ in range(25):
            with replace_file(path, "table") as temporary:
                temporary.write_bytes(content)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    is_over.set()
    reader.join()
    assert seen <= contents
    assert names(tmp_path) == ["part.parquet"]


def test_what_killed_writers_left_is_removed_wherever_it_lies(tmp_path: Path) -> None:
    gone = dead_pid()
    left = [leave(tmp_path / "core_x__y" / "year=2024", gone), leave(tmp_path, gone)]
    assert sorted(sweep_unfinished(tmp_path)) == sorted(left)
    assert not any(path.exists() for path in left)


def test_a_left_file_of_version_0_2_is_removed_too(tmp_path: Path) -> None:
    path = tmp_path / f".part.parquet.{dead_pid()}.tmp"
    path.touch()
    assert sweep_unfinished(tmp_path) == [path]


def test_files_of_living_writers_stay(tmp_path: Path) -> None:
    own = leave(tmp_path, os.getpid())
    assert sweep_unfinished(tmp_path) == []
    assert own.exists()


def test_a_process_that_got_the_number_of_a_dead_one_does_not_protect_its_files(tmp_path: Path) -> None:
    old = leave(tmp_path, os.getpid(), age_s=10 * 24 * 3600)  # written before this process began
    assert sweep_unfinished(tmp_path) == [old]


def test_files_of_other_machines_stay_for_a_day(tmp_path: Path) -> None:
    fresh = leave(tmp_path / "a", dead_pid(), host="elsewhere")
    old = leave(tmp_path / "b", dead_pid(), host="elsewhere", age_s=25 * 3600)
    assert sweep_unfinished(tmp_path) == [old]
    assert fresh.exists()


def test_files_of_other_makes_and_finished_ones_are_left_alone(tmp_path: Path) -> None:
    for name in (".hidden", ".download.tmp", "part.parquet", ".part.parquet.tmp"):
        (tmp_path / name).touch()
    assert sweep_unfinished(tmp_path) == []
    assert len(names(tmp_path)) == 4


def test_there_may_be_no_warehouse_yet(tmp_path: Path) -> None:
    assert sweep_unfinished(tmp_path / "none") == []
