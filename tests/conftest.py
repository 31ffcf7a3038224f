"""Fixtures for all tests: the folder of real data, a tiny simulated world, and a warehouse made from it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.bucket import CREDENTIALS, Bucket, serve_bucket
from tests.tiny import Outcome, clean_environment, quick_settings, run_pipeline, tiny_settings, write_settings

WORLD_SEED = 0
Once = Callable[[str, Callable[[Path], None]], Path]


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
        from warehouse.queries import run_sql

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
def once(shared_tmp: Path) -> Once:
    """Make something in a folder of its own, once for all workers: `once(name, make)` gives the folder."""

    def make_once(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = shared_tmp / name, shared_tmp / f"{name}.done"
        with FileLock(shared_tmp / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()
                with clean_environment():
                    make(folder)
                done.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def tiny_world(once: Once) -> Path:
    """A tiny world. Read only."""
    from warehouse.world import build_world

    return once("tiny-world", lambda folder: _ignore(build_world(folder / "world", "tiny", WORLD_SEED))) / "world"


@pytest.fixture
def tiny_config(tiny_world: Path, tmp_path: Path) -> Path:
    """Settings on the tiny world with a warehouse and a Dagster instance of their own."""
    return write_settings(tmp_path / "tiny.toml", tiny_settings(tiny_world))


@pytest.fixture(scope="session")
def tiny_run(tiny_world: Path, once: Once) -> TinyRun:
    """The pipeline, run on the tiny world. Read only."""

    def make(folder: Path) -> None:
        config = write_settings(folder / "tiny.toml", tiny_settings(tiny_world))
        outcomes = run_pipeline(config)
        (folder / "outcomes.json").write_text(json.dumps([vars(outcome) for outcome in outcomes]))

    folder = once("tiny-run", make)
    rows = json.loads((folder / "outcomes.json").read_text())
    outcomes = tuple(Outcome(**{**row, "problems": tuple(row["problems"])}) for row in rows)
    return TinyRun(tiny_world, folder / "tiny.toml", outcomes)


@pytest.fixture
def raise_schema_version(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Raise the schema version of the named tables, as a later Isthmus does; for warehouses that are opened then."""
    from warehouse import store

    declare = store.build_specs

    def raise_version(*tables: str) -> None:
        def declare_raised(*args: Any, **kwargs: Any) -> dict[str, Any]:
            specs = declare(*args, **kwargs)
            raised = {name: replace(specs[name], schema_version=specs[name].schema_version + 1) for name in tables}
            return {**specs, **raised}

        monkeypatch.setattr(store, "build_specs", declare_raised)

    return raise_version


@pytest.fixture
def producers(tiny_world: Path, tmp_path: Path) -> Any:
    """The producers of a copy of the tiny world."""
    from tests.release_worlds import Producers

    return Producers(tiny_world, tmp_path / "world")


@pytest.fixture(scope="session")
def quick_run(tiny_world: Path, once: Once) -> Path:
    """Settings file of a finished run on the tiny world with `quick_settings`. Read only."""

    def make(folder: Path) -> None:
        outcomes = run_pipeline(write_settings(folder / "quick.toml", quick_settings(tiny_world)))
        assert [outcome for outcome in outcomes if not outcome.ok] == []

    return once("quick-run", make) / "quick.toml"


def _ignore(_value: object) -> None:
    """Drop what a function answers, where only what it does is wanted."""


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[Bucket]:
    """A bucket on loopback, shared by the tests of a worker."""
    with serve_bucket("isthmus-tests") as bucket:
        yield bucket


@pytest.fixture
def bucket(bucket_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The same, with credentials in the environment; each test takes folders of its own (`tmp_path.name`)."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return bucket_server
