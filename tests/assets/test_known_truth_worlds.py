"""Worlds whose truth is known: one favours patches, one pixels, and the answers follow."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.conftest import Once
from tests.tiny import run_pipeline, tiny_settings, write_settings
from transforms.simulation.spec import FAVOUR_PATCHES, FAVOUR_PIXELS, SignalStrengths
from warehouse.queries import run_sql
from warehouse.settings import load_settings
from warehouse.store import Warehouse
from warehouse.world import build_world

WORLDS = {"patches": FAVOUR_PATCHES, "pixels": FAVOUR_PIXELS}


def run_world(folder: Path, strengths: SignalStrengths) -> None:
    """Build a world and run everything on it."""
    world = build_world(folder / "world", "tiny", 0, strengths=strengths).root
    settings = tiny_settings(world) | {"years": [2024]}
    settings["keep"] = {"sample": 0.03}
    assert [o for o in run_pipeline(write_settings(folder / "tiny.toml", settings)) if not o.ok] == []


def read_deltas(config: Path) -> dict[str, float]:
    """Give the primary contrast of each question."""
    warehouse = Warehouse(load_settings(config))
    rows = run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, "select question, delta from verdicts")
    return {row["question"]: row["delta"] for row in rows.to_pylist()}


@pytest.fixture(scope="module")
def deltas(once: Once) -> dict[str, dict[str, float]]:
    """Favoured grain -> question -> arm minus native."""
    folders = {name: once(f"favour-{name}", partial(run_world, strengths=WORLDS[name])) for name in WORLDS}
    return {name: read_deltas(folder / "tiny.toml") for name, folder in folders.items()}


def test_pooled_pixels_win_where_pixels_say_more_and_lose_where_patches_do(deltas: dict[str, dict[str, float]]) -> None:
    assert deltas["pixels"]["Q1"] > 0.05
    assert deltas["patches"]["Q1"] < -0.05


def test_upsampling_costs_much_more_where_pixels_say_more(deltas: dict[str, dict[str, float]]) -> None:
    assert deltas["pixels"]["Q2"] < deltas["patches"]["Q2"] - 0.1
    assert deltas["pixels"]["Q2"] < -0.05
