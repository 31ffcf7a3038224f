"""Fixtures for all tests: the folder of real data, a tiny simulated world, and a warehouse made from it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.tiny import Outcome, clean_environment, run_pipeline, tiny_settings, write_settings

WORLD_SEED = 0


@dataclass(frozen=True)
class TinyRun:
    """A finished run; tests read it and copy what they change.

    Attributes:
        world: the source tree.
        config: settings file.
        outcomes: what `Pipeline.run` yielded.
    """

    world: Path
    config: Path
    outcomes: tuple[Outcome, ...]

    @cached_property
    def warehouse(self) -> Any:
        """The warehouse, opened."""
        from warehouse.settings import load_settings
        from warehouse.store import Warehouse

        return Warehouse(load_settings(self.config))

    def sql(self, text: str, **params: object) -> Any:
        """Run SQL on it; Arrow table."""
        from warehouse.catalog import run_sql

        return run_sql(self.warehouse.root, self.warehouse.specs, self.warehouse.settings.compare, text, params)


def pytest_configure(config: pytest.Config) -> None:
    # Dagster marks partition mappings as beta wherever they are made
    config.addinivalue_line("filterwarnings", "ignore:.*is currently in beta.*")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data; tests that need it skip with a reason where it is absent."""
    project = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("ISTHMUS_REAL_DATA") or project.parent / "shared" / "real")
    if not folder.is_dir():
        pytest.skip(f"real data: found no folder {folder}. Set ISTHMUS_REAL_DATA to run this test.")
    return folder


@pytest.fixture
def clean_env() -> Iterator[None]:
    """No variable of Isthmus or Dagster from outside, none left behind."""
    with clean_environment():
        yield


@pytest.fixture(scope="session")
def shared_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that all workers of one test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def tiny_world(shared_tmp: Path) -> Path:
    """A tiny world, built once for all workers. Read only."""
    from warehouse.world import build_world

    with FileLock(shared_tmp / "tiny-world.lock"):
        return build_world(shared_tmp / "tiny-world", "tiny", WORLD_SEED).root


@pytest.fixture
def tiny_config(tiny_world: Path, tmp_path: Path) -> Path:
    """Settings on the tiny world with a warehouse and a Dagster instance of their own."""
    return write_settings(tmp_path / "tiny.toml", tiny_settings(tiny_world))


@pytest.fixture(scope="session")
def tiny_run(tiny_world: Path, shared_tmp: Path) -> TinyRun:
    """The pipeline, run once for all workers on the tiny world. Read only."""
    folder = shared_tmp / "tiny-run"
    done = folder / "outcomes.json"
    config = folder / "tiny.toml"
    with FileLock(shared_tmp / "tiny-run.lock"), clean_environment():
        if not done.exists():
            folder.mkdir()
            write_settings(config, tiny_settings(tiny_world))
            outcomes = run_pipeline(config)
            done.write_text(json.dumps([vars(outcome) for outcome in outcomes]))
    rows = json.loads(done.read_text())
    return TinyRun(tiny_world, config, tuple(Outcome(**{**r, "problems": tuple(r["problems"])}) for r in rows))
