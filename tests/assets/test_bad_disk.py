"""Full and read-only disks under a run: the old partitions stay, and the message says what to do."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import warehouse.writer
from assets.patches import ingest_patches
from tests.assets.bad_files import EAST, WEST
from tests.assets.test_bad_partitions import failures, run_command
from tests.documented import documented
from tests.tiny import digest_rows, hidden_files, quick_settings, stored_files, write_settings
from warehouse.errors import DiskFullError, DiskSpaceError, NotWritableError
from warehouse.layout import PartitionKey
from warehouse.settings import load_settings
from warehouse.store import Warehouse

#: Capabilities by which root writes where modes forbid it: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
_OVERRIDE = (1 << 1) | (1 << 2)
_CAPABILITY_VERSION = 0x20080522


@pytest.fixture
def config(tiny_world: Path, quick_run: Path, tmp_path: Path, clean_env: None) -> Path:
    """Settings of a finished warehouse."""
    shutil.copytree(quick_run.parent / "warehouse", tmp_path / "warehouse")
    return write_settings(tmp_path / "quick.toml", quick_settings(tiny_world))


def snapshot(config: Path) -> dict[str, bytes]:
    root = config.parent / "warehouse"
    return {name: (root / name).read_bytes() for name in stored_files(root)}


def ingest(config: Path, shard: str = WEST) -> object:
    opened = Warehouse(load_settings(config))
    return ingest_patches(opened, opened.products["eg"], PartitionKey(2024, shard))


@contextlib.contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Let the system refuse files that grow beyond a size, as a quota does in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def modes_bind() -> Iterator[None]:
    """Let file modes bind this thread and those that it starts, as they bind users: root gives its override up."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    old, new = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    for sets in (old, new):
        assert libc.capget(header, sets) == 0
    new[0] &= ~_OVERRIDE  # the effective set; what is permitted can be taken back
    assert libc.capset(header, new) == 0
    try:
        yield
    finally:
        assert libc.capset(header, old) == 0


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write away from a folder and all below it."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        with modes_bind():
            yield
    finally:
        for path in folders:
            path.chmod(0o755)


def test_a_nearly_full_disk_is_refused_before_anything_is_written(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(config)
    free = shutil.disk_usage(config.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free._replace(free=99 * 2**20))
    with pytest.raises(DiskSpaceError) as caught:
        ingest(config)
    assert documented("nearly full disk").is_kept_by(str(caught.value))
    assert snapshot(config) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_full_disk_leaves_the_old_partition(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(config)
    write = pq.ParquetWriter

    def write_to_a_full_disk(where: Path, *arguments: object, **named: object) -> pq.ParquetWriter:
        Path(where).symlink_to("/dev/full")
        return write(where, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(warehouse.writer.pq, "ParquetWriter", write_to_a_full_disk)
        with pytest.raises(DiskFullError) as caught:
            ingest(config)
    assert documented("full disk").is_kept_by(str(caught.value))
    assert "core_eg__patches" in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert snapshot(config) == before
    assert hidden_files(config.parent / "warehouse") == []
    ingest(config)


def test_a_disk_that_fills_in_the_middle_of_a_write_leaves_the_old_partition(
    config: Path, quick_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(config)
    name = f"core_eg__patches/year=2024/shard={WEST}/part.parquet"
    with largest_file(len(before[name]) // 2), pytest.raises(DiskFullError) as caught:
        ingest(config)
    assert documented("full disk").is_kept_by(str(caught.value))
    assert snapshot(config) == before
    assert hidden_files(config.parent / "warehouse") == []
    assert capfd.readouterr().err == ""  # no library complains while it is cleaned up
    ingest(config)
    ingest(config, EAST)
    assert digest_rows(config.parent / "warehouse") == digest_rows(quick_run.parent / "warehouse")


def test_a_read_only_warehouse_is_named_and_stays_as_it_was(
    config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(config)
    with read_only(config.parent / "warehouse"):
        code, stderr = run_command(config, monkeypatch, capfd)
    assert code == 1
    assert "Traceback" not in stderr
    assert "plan[all]" in failures(stderr), stderr
    message = failures(stderr)["plan[all]"]
    assert documented("read-only warehouse").is_kept_by(message)
    assert str(config.parent / "warehouse") in message
    assert snapshot(config) == before


def test_a_partition_in_a_read_only_folder_is_not_replaced(config: Path) -> None:
    before = snapshot(config)
    with read_only(config.parent / "warehouse"), pytest.raises(NotWritableError, match="core_eg__patches"):
        ingest(config)
    assert snapshot(config) == before
    ingest(config)


def test_an_instance_folder_that_cannot_be_made_is_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    closed = config.parent / "closed"
    closed.mkdir()
    monkeypatch.setenv("ISTHMUS_DAGSTER__INSTANCE", str(closed / "dagster"))
    with read_only(closed):
        code, stderr = run_command(config, monkeypatch, capfd)
    assert code == 1
    assert documented("instance folder that cannot be made").is_kept_by(stderr)
    assert "Traceback" not in stderr
    assert os.listdir(closed) == []
