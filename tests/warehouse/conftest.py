"""Fixtures of the warehouse's tests: a study on patches with several classes each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.warehouse.multilabel_world import open_world, write_world
from warehouse.store import Warehouse


@pytest.fixture(scope="session")
def multilabel_run(once: Callable[[str, Callable[[Path], None]], Path]) -> Warehouse:
    """The study, run. Read only."""
    return open_world(once("multilabel-run", write_world))
