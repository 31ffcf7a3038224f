from __future__ import annotations

import os
from pathlib import Path

import geopandas
import pyarrow.parquet as pq
import pytest
import shapely

from tests.conftest import TinyRun
from tests.warehouse.labels.label_worlds import YEAR, open_warehouse
from tests.warehouse.labels.test_bigearthnet import SPLIT, v1_label, write_four, write_lists
from tests.warehouse.sources.test_bigearthnet import v2_rows
from warehouse.file_access import stat_file
from warehouse.label_settings import LabelSettings
from warehouse.label_sources import open_patch_labels
from warehouse.label_versions import list_label_versions
from warehouse.layout import PartitionKey
from warehouse.recipes.files import of_label
from warehouse.store import Warehouse


def shapefile(path: Path, kinds: list[str]) -> LabelSettings:
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(len(kinds))]
    geopandas.GeoDataFrame({"kind": kinds}, geometry=shapes, crs=4326).to_file(path)
    return LabelSettings.model_construct(kind="vector", path=path)


def test_classes_of_a_shapefile_are_part_of_its_version(tmp_path: Path) -> None:
    label = shapefile(tmp_path / "fields.shp", ["a", "b"])
    before = list_label_versions(label)
    assert {name.rpartition(".")[2] for name, _ in before} >= {"shp", "dbf", "shx"}
    table = tmp_path / "fields.dbf"
    table.write_bytes(table.read_bytes().replace(b"b", b"a"))
    os.utime(table, ns=(1, 1))
    changed = {name for (name, old), (_, new) in zip(before, list_label_versions(label), strict=True) if old != new}
    assert changed == {"fields.dbf"}


def test_files_are_looked_at_before_they_are_read(tiny_run: TinyRun, tmp_path: Path) -> None:
    (name,) = tiny_run.warehouse.settings.labels
    source = next(tiny_run.world.rglob("*_Map.tif"))
    copied = tmp_path / source.name
    copied.write_bytes(source.read_bytes())
    label = tiny_run.warehouse.settings.labels[name].model_copy(update={"path": str(copied)})
    warehouse = Warehouse(tiny_run.warehouse.settings.model_copy(update={"labels": {name: label}}))
    fresh = Warehouse(warehouse.settings)
    open_patch_labels(warehouse, name)
    before = of_label(warehouse, name, PartitionKey(2021))
    os.utime(copied, ns=(1, 1))  # replaced while it is read
    assert of_label(warehouse, name, PartitionKey(2021)) == before
    assert of_label(fresh, name, PartitionKey(2021)) != before


def test_a_label_that_is_corrected_within_its_folder_makes_labels_stale(tmp_path: Path) -> None:
    write_four(tmp_path)
    lists = write_lists(tmp_path, SPLIT)
    label = v1_label(tmp_path, lists=lists)

    def versions() -> object:
        return of_label(open_warehouse(tmp_path, label), "cover", PartitionKey(YEAR))

    before = versions()
    assert versions() == before
    metadata = tmp_path / "patches" / "b" / "b_labels_metadata.json"
    text, times = metadata.read_text(), metadata.parent.stat()
    metadata.write_text(text.replace("Pastures", "Airports"))
    os.utime(metadata, ns=(1, 1))
    assert metadata.parent.stat().st_mtime_ns == times.st_mtime_ns
    corrected = versions()
    assert corrected != before
    (lists / "test.csv").write_text("d\n")
    assert versions() not in (before, corrected)


def test_the_metadata_file_of_version_two_is_a_file_like_others(tmp_path: Path) -> None:
    path = tmp_path / "metadata.parquet"
    pq.write_table(v2_rows(), path)
    label = LabelSettings.model_construct(kind="bigearthnet", path=path, lists=None)
    facts = stat_file(path)
    assert facts is not None
    assert list_label_versions(label) == [("metadata.parquet", facts.etag)]


@pytest.mark.parametrize(("look_s", "at_s", "remembered"), [(2.0, 19.0, True), (2.0, 21.0, False), (0.5, 0.1, False)])
def test_a_look_that_took_long_remembered_for_ten_times_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_s: float, at_s: float, remembered: bool
) -> None:
    clock, looks = [1000.0], 0

    def look(*_: object) -> str:
        nonlocal looks
        looks += 1
        clock[0] += look_s
        return f"look {looks}"

    monkeypatch.setattr("warehouse.label_versions.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("warehouse.label_versions.identify_labels", look)
    label = LabelSettings.model_construct(kind="bigearthnet", path=tmp_path, lists=None)
    assert list_label_versions(label) == [(tmp_path.name, "look 1")]
    clock[0] += at_s
    assert list_label_versions(label) == [(tmp_path.name, "look 1" if remembered else "look 2")]
