"""`isthmus status` and `isthmus drop`."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TinyRun
from tests.orchestration.conftest import Call


@pytest.fixture
def config(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """Settings of a copy of the finished warehouse and its Dagster instance."""
    shutil.copytree(tiny_run.config.parent, tmp_path / "run", ignore=shutil.ignore_patterns("storage"))
    return tmp_path / "run" / tiny_run.config.name


def status_rows(call: Call, config: Path, *options: str) -> list[dict[str, Any]]:
    code, out, _ = call("status", "--json", *options, "-c", config)
    assert code == 0
    return list(json.loads(out))


def change(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def test_everything_is_current_after_a_run(call: Call, tiny_run: TinyRun) -> None:
    rows = status_rows(call, tiny_run.config)
    assert {row[state] for row in rows for state in ("stale", "missing", "failed", "left_over")} == {0}
    by_table = {row["table_name"]: row for row in rows}
    assert by_table["core_eg__patches"]["current"] == by_table["core_eg__patches"]["n_files"] == 4
    assert status_rows(call, tiny_run.config, "--partitions") == []


def test_what_is_not_current_is_named_with_its_reason_and_what_to_do(call: Call, config: Path) -> None:
    change(config, "sample = 0.03", "sample = 0.02")
    shutil.rmtree(config.parent / "warehouse" / "core_eg__patches" / "year=2024" / "shard=47PRP")
    rows = {(row["table_name"], row["partition"]): row for row in status_rows(call, config, "--partitions")}
    assert rows["core_aef__pixels", "2024|47PRP"]["state"] == "stale"
    assert "settings were changed" in rows["core_aef__pixels", "2024|47PRP"]["reasons"]
    assert rows["core_eg__patches", "2024|47PRP"]["state"] == "missing"
    assert ("core_grid__patches", "47PRP") not in rows
    _, _, err = call("status", "-c", config)
    assert "stale" in err
    assert f"isthmus run -c {config}" in err.replace("\n", "")


def test_a_year_that_leaves_the_settings_is_dropped(call: Call, config: Path) -> None:
    root = config.parent / "warehouse"
    change(config, "years = [2023, 2024]", "years = [2024]")
    kept = {path: path.read_bytes() for path in root.rglob("core_*/**/year=2024/**/*.parquet")}
    code, out, err = call("drop", "--dry-run", "--json", "-c", config)
    assert code == 0, err
    assert {row["partition"].split("|")[0] for row in json.loads(out)} == {"2023"}
    assert list(root.rglob("year=2023"))
    code, _, err = call("drop", "--yes", "-c", config)
    assert code == 0, err
    assert list(root.rglob("year=2023")) == []
    assert {path: path.read_bytes() for path in kept} == kept
    assert {row["left_over"] for row in status_rows(call, config)} == {0}
    code, out, _ = call("sql", "--json", "select distinct year from core_aef__pixels", "-c", config)
    assert json.loads(out) == [{"year": 2024}]


def test_only_what_is_named_is_dropped(call: Call, config: Path) -> None:
    change(config, "years = [2023, 2024]", "years = [2024]")
    code, out, err = call("drop", "--yes", "--shard", "47PRP", "--json", "-c", config)
    assert code == 0, err
    assert {row["partition"] for row in json.loads(out)} == {"2023|47PRP"}
    assert "2023|47PRQ" in {row["partition"] for row in status_rows(call, config, "--partitions")}


@pytest.mark.parametrize("answer", ["n\n", ""], ids=["no", "nobody there"])
def test_without_consent_nothing_is_dropped(
    call: Call, config: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    change(config, "years = [2023, 2024]", "years = [2024]")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code, _, err = call("drop", "-c", config)
    assert code == 1
    assert "Remove them?" in err
    assert list((config.parent / "warehouse").rglob("year=2023"))


def test_a_year_of_the_settings_is_not_dropped(call: Call, config: Path) -> None:
    code, _, err = call("drop", "--year", "2024", "--yes", "-c", config)
    assert code == 2
    assert "Take them out of the file first" in err.replace("\n", " ")
