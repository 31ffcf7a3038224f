"""`isthmus releases` and `isthmus watch`, on a source tree that changes between calls."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.orchestration.conftest import Call
from tests.release_worlds import EG, Producers
from tests.tiny import quick_settings, write_settings
from warehouse.settings import load_settings
from warehouse.store import Warehouse


@pytest.fixture
def config(producers: Producers, tmp_path: Path) -> Path:
    settings = quick_settings(producers.root) | {"automation": {"follow": True}}
    return write_settings(tmp_path / "quick.toml", settings)


def test_releases_says_what_is_there_and_changes_nothing(call: Call, config: Path) -> None:
    for _ in range(2):
        code, out, _ = call("releases", "-c", config)
        assert code == 0
        assert [line.split()[:3] for line in out.splitlines()] == [
            ["aef", "2024", "settling"],
            ["eg", "2024", "settling"],
        ]
    assert not (config.parent / "warehouse").exists()


def test_releases_as_json(call: Call, config: Path, producers: Producers) -> None:
    producers.publish_eg(2025, ["47PRQ"])
    producers.vanish(Path("aef/v1/annual"))
    code, out, err = call("releases", "--json", "-c", config)
    assert (code, err.strip()) == (0, "")
    down, first, second = json.loads(out)
    assert (down["product"], down["year"], down["finding"]) == ("aef", None, "down")
    assert (first["finding"], second["finding"], second["year"]) == ("settling", "unregistered", 2025)
    assert "[products.eg_2025]" in second["message"]
    assert not any(row["asks"] for row in (down, first, second))


def test_watch_runs_what_is_new_after_the_second_look_and_nothing_twice(
    call: Call, config: Path, producers: Producers
) -> None:
    assert call("watch", "-c", config)[0] == 0
    assert not (config.parent / "warehouse/core_aef__pixels").exists()
    code, out, err = call("watch", "-c", config)
    assert (code, "new_year" in out) == (0, True), err
    warehouse = Warehouse(load_settings(config))
    assert {key.year for key in warehouse.partitions("core_aef__pixels")} == {2024}
    producers.publish_aef(2025)
    assert "settling" in call("watch", "-c", config)[1]
    code, out, _ = call("watch", "--json", "-c", config)
    assert [(row["product"], row["year"]) for row in json.loads(out) if row["asks"]] == [("aef", 2025)]
    warehouse = Warehouse(load_settings(config))
    assert {key.year for key in warehouse.partitions("core_aef__pixels")} == {2024, 2025}
    _, out, _ = call("watch", "-c", config)
    assert {line.split()[2] for line in out.splitlines()} == {"unchanged"}


def test_a_file_that_is_issued_again_runs_its_shards_only(
    call: Call, config: Path, producers: Producers, quick_run: Path
) -> None:
    warehouse = config.parent / "warehouse"
    shutil.copytree(quick_run.parent / "warehouse", warehouse)
    assert call("run", "-c", config)[0] == 0  # takes the settings in: what is current stays
    before = {path: path.stat().st_mtime_ns for path in warehouse.rglob("part.parquet")}
    raster = next((producers.root / "aef/v1/annual/2024/48N").glob("*.tiff"))
    content = raster.read_bytes()
    raster.unlink()
    raster.write_bytes(content)
    for _ in range(2):
        code, out, err = call("watch", "--json", "-c", config)
        assert code == 0, err
    assert [(row["year"], row["shards"]) for row in json.loads(out) if row["asks"]] == [(2024, ["48PSV"])]
    written = {path for path, moment in before.items() if path.stat().st_mtime_ns != moment}
    tables = {path.relative_to(warehouse).parts[0] for path in written if "48PSV" in str(path)}
    assert {"core_aef__pixels", "out_patch__aef_pooled"} <= tables
    assert not any(path.match("core_*__p*/year=2024/shard=47PRQ/*") for path in written)
    assert "core_eg__patches" not in tables


def test_a_registered_successor_is_ingested_beside_the_old_product(
    call: Call, config: Path, producers: Producers
) -> None:
    producers.publish_eg(2025)
    (row,) = [row for row in json.loads(call("releases", "--json", "-c", config)[1]) if row["year"] == 2025]
    entry = row["message"][row["message"].index("[products.eg_2025]") :]
    config.write_text(config.read_text() + entry.replace('model = "?"', 'model = "SSL4EO DINO ViT-S/16"') + "\n")
    assert call("watch", "-c", config)[0] == 0
    code, out, err = call("watch", "--json", "-c", config)
    assert code == 0, err
    asked = [(row["product"], row["year"], row["finding"]) for row in json.loads(out) if row["asks"]]
    assert asked == [("aef", 2024, "new_year"), ("eg", 2024, "new_year"), ("eg_2025", 2025, "new_product")]
    warehouse = Warehouse(load_settings(config))
    assert {key.year for key in warehouse.partitions("core_eg__patches")} == {2024}
    assert {key.year for key in warehouse.partitions("core_eg_2025__patches")} == {2025}
    assert warehouse.patch_product == warehouse.products["eg"]  # the pair that is compared is still the user's
    _, out, _ = call("watch", "--json", "-c", config)
    assert {(row["product"], row["finding"]) for row in json.loads(out)} == {
        ("aef", "unchanged"),
        ("eg", "unchanged"),
        ("eg_2025", "unchanged"),
    }


def test_watch_that_fails_is_exit_1_with_an_alert_and_is_not_repeated_by_itself(
    call: Call, config: Path, producers: Producers, tmp_path: Path
) -> None:
    heard = tmp_path / "alerts.json"
    config.write_text(config.read_text() + f'[alerts]\ncommand = ["sh", "-c", "cat >> {heard}"]\n')
    bad = producers.eg_file("48PSV", 2024)
    bad.unlink()
    bad.write_bytes(b"PAR1 but not for long")
    assert call("watch", "-c", config)[0] == 0
    code, _, err = call("watch", "-c", config)
    assert code == 1
    assert "48PSV" in err
    alert = json.loads(heard.read_text())
    assert (alert["job"], alert["partition"].split("|")[0]) == ("ingest", "2024")
    assert "48PSV_2024-01-01_2025-01-01.parquet" in alert["message"]
    assert f"isthmus run --config {config}" in alert["fix"]
    _, out, _ = call("watch", "-c", config)
    assert {line.split()[2] for line in out.splitlines()} == {"unchanged"}


def test_an_alert_that_is_not_delivered_is_said(call: Call, config: Path, producers: Producers) -> None:
    config.write_text(config.read_text() + '[alerts]\ncommand = ["false"]\n')
    producers.publish_eg(2025)
    code, _, err = call("watch", "-c", config)
    assert code == 0
    assert "alert: found command false: exit code 1" in err
    assert "[products.eg_2025]" in err


def test_a_source_that_is_down_is_said_and_the_others_go_on(call: Call, config: Path, producers: Producers) -> None:
    producers.vanish(EG)
    code, out, _ = call("watch", "-c", config)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [["aef", "2024"], ["eg", "down"]]


def test_a_look_that_cannot_be_done_is_heard_of_and_the_next_one_comes(
    call: Call, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = config.parent / "alerts.json"
    whole = config.read_text() + f'[alerts]\ncommand = ["sh", "-c", "cat >> {heard}; echo >> {heard}"]\n'
    config.write_text(whole)
    edits = iter([whole.replace("follow", "fellow"), whole])

    def edit(_seconds: float) -> None:
        text = next(edits, None)
        if text is None:
            raise KeyboardInterrupt
        config.write_text(text)

    # not of the module `time` itself: subprocesses are waited for with its sleep
    monkeypatch.setattr("orchestration.release_commands.time", SimpleNamespace(sleep=edit, time=time.time))
    code, out, _ = call("watch", "--every", "1", "-c", config)
    assert code == 130
    assert out.count("settling") == 2
    assert "new_year" in out  # the look after that of the broken file
    (alert,) = [json.loads(line) for line in heard.read_text().splitlines()]
    assert (alert["job"], alert["partition"]) == ("watch", "all")
    assert "fellow" in alert["message"]
    assert f"isthmus watch --config {config}" in alert["fix"]


def test_an_engine_that_is_not_there_is_heard_of(call: Call, config: Path) -> None:
    heard = config.parent / "alerts.json"
    engine = '[engine]\nkind = "dask"\naddress = "tcp://127.0.0.1:9"\nwait_s = 1\n'
    config.write_text(config.read_text() + engine + f'[alerts]\ncommand = ["sh", "-c", "cat > {heard}"]\n')
    assert call("watch", "-c", config)[0] == 0
    code, _, err = call("watch", "-c", config)
    assert (code, heard.is_file()) == (1, True), err
    assert "127.0.0.1:9" in json.loads(heard.read_text())["message"]
