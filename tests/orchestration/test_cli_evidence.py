"""`isthmus oracles` as typed: what it runs, output, messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.orchestration.conftest import Call
from tests.tiny import tiny_settings, write_settings


@pytest.fixture
def two_sources(tiny_world: Path, tmp_path: Path) -> Path:
    """The tiny world in two squares, with a second label source that knows three classes of the first and one more."""
    settings = tiny_settings(tiny_world) | {"years": [2024]}
    settings["area"]["bbox"] = [101.99, 12.65, 102.01, 12.66]
    first = settings["labels"]["worldcover"]
    classes = {"tree": 10, "crop": 40, "built": 50, "lake": 80}
    settings["labels"]["second"] = {**first, "classes": classes}
    return write_settings(tmp_path / "two.toml", settings)


def test_oracles_need_places_and_labels_only(call: Call, two_sources: Path) -> None:
    code, out, err = call("oracles", "-c", two_sources, "--json")
    assert (code, "failed" in err) == (0, False)
    rows = json.loads(out)
    assert {row["label_source"] for row in rows} == {"worldcover", "second"}
    scores = {(row["label_source"], row["oracle"], row["scale_m"]): row for row in rows}
    assert scores["worldcover", "C0", 320]["mean_iou"] < scores["worldcover", "C4", 20]["mean_iou"] < 1
    for source in ("worldcover", "second"):  # the same raster: where both have a class they agree
        assert scores[source, "C6", None]["mean_iou"] == 1
        assert scores[source, "C6", None]["status"] == "ok"
    stored = {path.name for path in (two_sources.parent / "warehouse").iterdir() if path.is_dir()}
    assert stored == {
        "raw_aef__index", "raw_eg__index", "core_grid__shards", "core_grid__patches",
        "core_label_worldcover__patches", "core_label_second__patches", "out_probe__oracles",
        "out_probe__oracle_confusions",
    }  # fmt: skip
    unshared = "select class_name, value, status from out_probe__oracles where metric = 'unshared_share' and value > 0"
    code, out, _ = call("sql", unshared, "-c", two_sources, "--json")
    assert {(row["class_name"], row["status"]) for row in json.loads(out)} >= {("lake", "not shared: only in second")}
    labels = two_sources.parent / "warehouse/core_label_second__patches"
    before = {path: path.stat().st_mtime_ns for path in labels.rglob("*.parquet")}
    code, out, _ = call("oracles", "-c", two_sources)
    assert code == 0
    assert "overall_accuracy of constant-label arms" in out
    assert {path: path.stat().st_mtime_ns for path in labels.rglob("*.parquet")} == before  # stored labels are kept


def test_settings_without_labels_are_refused_in_one_message(call: Call, tiny_world: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_world)
    bare = {name: value for name, value in settings.items() if name not in ("labels", "evaluate")}
    code, out, err = call("oracles", "-c", write_settings(tmp_path / "bare.toml", bare))
    assert (code, out) == (1, "")
    assert "found no labels of patches" in err
    assert "Traceback" not in err
