from __future__ import annotations

import os
from pathlib import Path

import geopandas
import shapely

from tests.conftest import TinyRun
from warehouse.label_settings import LabelSettings
from warehouse.label_sources import open_patch_labels
from warehouse.label_versions import list_label_versions
from warehouse.layout import PartitionKey
from warehouse.recipes.files import of_label
from warehouse.store import Warehouse


def shapefile(path: Path, kinds: list[str]) -> LabelSettings:
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(len(kinds))]
    geopandas.GeoDataFrame({"kind": kinds}, geometry=shapes, crs=4326).to_file(path)
    return LabelSettings.model_construct(path=str(path), lists=None)


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
