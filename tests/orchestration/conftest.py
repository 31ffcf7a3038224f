"""Fixtures of the command line's tests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.cli import main
from tests.conftest import TinyRun
from tests.tiny import clean_environment
from warehouse.layout import PartitionKey
from warehouse.settings import load_settings
from warehouse.store import Warehouse

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Call `isthmus ...` in this process: (exit code, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isthmus", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capfd.readouterr()

    with clean_environment():
        yield run


@pytest.fixture
def tampered(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """A finished warehouse in which one patch stands twice."""
    config = Path(shutil.copy(tiny_run.config, tmp_path))
    shutil.copytree(tiny_run.warehouse.root, tmp_path / "warehouse")
    warehouse = Warehouse(load_settings(config))
    key = PartitionKey(2024, "47PRQ")
    rows = warehouse.read("core_eg__patches", key)
    sources = warehouse.source_files(warehouse.read("raw_eg__index"))
    provenance = warehouse.product_provenance(warehouse.products["eg"], sources, is_simulated=True)
    warehouse.write("core_eg__patches", key, pa.concat_tables([rows, rows.slice(5, 1)]), provenance)
    return config
