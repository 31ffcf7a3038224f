"""Fixtures for all tests: the folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data; tests that need it skip with a reason where it is absent."""
    project = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("ISTHMUS_REAL_DATA") or project.parent / "shared" / "real")
    if not folder.is_dir():
        pytest.skip(f"real data: found no folder {folder}. Set ISTHMUS_REAL_DATA to run this test.")
    return folder
