from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bucket import Bucket
from tests.tiny import tiny_settings, write_settings
from warehouse.file_paths import RemoteAccess, RemotePath
from warehouse.health import (
    MIN_FREE_MEMORY_MB,
    examine_disk,
    examine_leftovers,
    examine_memory,
    examine_set_up,
    examine_sources,
    examine_store,
    examine_versions,
)
from warehouse.run_lock import hold_warehouse
from warehouse.settings import load_settings
from warehouse.store import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path, clean_env: None) -> Warehouse:
    return Warehouse(load_settings(write_settings(tmp_path / "tiny.toml", tiny_settings(tmp_path / "world"))))


def test_a_disk_is_judged_by_the_folder_that_is_there(tmp_path: Path) -> None:
    fine = examine_disk("disk", tmp_path / "not" / "yet", 0)
    assert fine.status == "ok"
    assert str(tmp_path) in fine.found
    full = examine_disk("disk", tmp_path, 2**40)
    assert full.status == "failed"
    assert "limits.min_free_mb" in full.found
    assert full.fix


def test_little_memory_is_a_warning() -> None:
    assert examine_memory(MIN_FREE_MEMORY_MB, 2).status == "ok"
    assert examine_memory(MIN_FREE_MEMORY_MB - 1, 2).status == "warning"


def test_versions_are_compared_with_what_the_package_asks_for() -> None:
    assert examine_versions(["numpy>=2", "no-such-package>=1; extra == 'dev'"]).status == "ok"
    wrong = examine_versions(["numpy<1", "no-such-package>=1"])
    assert wrong.status == "failed"
    assert "no-such-package is missing (expected >=1)" in wrong.found
    assert "numpy 2" in wrong.found


def test_a_source_that_is_not_there_is_a_warning(warehouse: Warehouse) -> None:
    warehouse.source("eg").root.mkdir(parents=True)
    assert {one.name: one.status for one in examine_sources(warehouse)} == {"source aef": "warning", "source eg": "ok"}


def test_leftovers_are_files_of_writers_that_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "core_eg__patches" / "year=2024"
    folder.mkdir(parents=True)
    (folder / f".part.parquet.{os.getpid()}.tmp").write_bytes(b"x")
    assert examine_leftovers(tmp_path).status == "ok"
    (folder / ".part.parquet.4194304.tmp").write_bytes(b"x" * 2**20)
    found = examine_leftovers(tmp_path)
    assert found.status == "warning"
    assert "1 temporary files of killed runs, 1.0 MB" in found.found
    assert examine_leftovers(tmp_path / "gone").status == "ok"


def test_a_set_up_is_examined_before_there_is_a_warehouse(warehouse: Warehouse) -> None:
    names = [finding.name for finding in examine_set_up(warehouse)]
    assert names[:2] == ["disk of the warehouse", "disk of the history"]
    assert {"memory", "versions", "leftovers", "source aef", "source eg"} <= set(names)


def test_the_store_of_a_warehouse_is_asked(bucket: Bucket, tmp_path: Path) -> None:
    assert examine_store(tmp_path) == []
    root = bucket.path(tmp_path.name)
    (empty,) = examine_store(root)
    assert (empty.status, "no run yet" in empty.found) == ("ok", True)
    with hold_warehouse(root):
        (used,) = examine_store(root)
    assert "had runs before" in used.found
    (closed,) = examine_store(
        RemotePath("s3://isthmus-tests/x", RemoteAccess(endpoint="http://127.0.0.1:9", allow_http=True, tries=1))
    )
    assert closed.status == "failed"
    assert "connection refused" in closed.found
