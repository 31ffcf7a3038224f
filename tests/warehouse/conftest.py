"""Fixtures of the warehouse's tests: a study on patches with several classes each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TinyRun
from tests.warehouse.multilabel_world import open_world, write_world
from warehouse.settings import load_settings
from warehouse.store import Warehouse


@pytest.fixture(scope="session")
def multilabel_run(once: Callable[[str, Callable[[Path], None]], Path]) -> Warehouse:
    """The study, run. Read only."""
    return open_world(once("multilabel-run", write_world))


@pytest.fixture
def copy(tiny_run: TinyRun, tmp_path: Path) -> Warehouse:
    """A copy of the finished warehouse."""
    shutil.copy(tiny_run.config, tmp_path)
    shutil.copytree(tiny_run.warehouse.root, tmp_path / "warehouse", ignore=shutil.ignore_patterns("*.html"))
    return Warehouse(load_settings(tmp_path / tiny_run.config.name))


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between tries."""
    monkeypatch.setattr("warehouse.objects.client.ObjectClient._wait_s", lambda _self, _done: 0.01)
