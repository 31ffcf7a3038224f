from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from tests.tiny import clean_environment, quick_settings, write_settings
from warehouse.file_paths import CacheLimits
from warehouse.objects.block_cache import BlockCache


@pytest.fixture
def config(tiny_world: Path, tmp_path: Path) -> Path:
    return write_settings(
        tmp_path / "a.toml", quick_settings(tiny_world) | {"cache": {"root": "blocks", "max_gb": 0.5}}
    )


def ask(config: Path, *arguments: str) -> str:
    with clean_environment():
        result = CliRunner().invoke(app, ["cache", "-c", str(config), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_cache_is_shown_and_emptied(config: Path, tmp_path: Path) -> None:
    blocks = BlockCache(CacheLimits(tmp_path / "blocks", 10**6))
    blocks.put("0" * 32, 0, memoryview(bytes(1000)))
    blocks.put("0" * 32, 1, memoryview(bytes(1000)))
    (row,) = json.loads(ask(config, "--json"))
    assert row == {
        "root": str(tmp_path / "blocks"), "files": 1, "blocks": 2, "n_bytes": 2008, "max_bytes": 500_000_000,
    }  # fmt: skip
    assert "blocks" in ask(config)
    (row,) = json.loads(ask(config, "--clear", "--json"))
    assert row["blocks"] == 0
    assert blocks.size().blocks == 0


def test_no_cache_is_said(tiny_world: Path, tmp_path: Path) -> None:
    config = write_settings(tmp_path / "a.toml", quick_settings(tiny_world) | {"cache": {"max_gb": 0}})
    assert "cache.max_gb is 0" in ask(config)
