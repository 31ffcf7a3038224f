"""A polygon as area of interest: what is stored is what a box around it stores, less what lies outside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from tests.tiny import quick_settings, run_pipeline, write_settings
from warehouse.settings import load_settings
from warehouse.store import Warehouse

#: Inside the box of `quick_settings`, over the zone edge at 102 E, with a notch and a hole.
STAR = shapely.Polygon(
    [(101.991, 12.6505), (102.009, 12.651), (102.003, 12.6545), (102.0095, 12.6595), (101.992, 12.659)],
    [[(101.997, 12.653), (101.999, 12.653), (101.999, 12.655), (101.997, 12.655)]],
)
TABLES = {
    "core_grid__patches": "patch_id",
    "core_eg__patches": "patch_id",
    "core_aef__pixels": "pixel_id",
    "out_patch__aef_pooled": "patch_id",
}


@pytest.fixture(scope="module")
def polygon_run(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("polygon")
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(STAR)}
    (folder / "star.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    settings = quick_settings(tiny_world)
    settings["area"] = {"geometry": "star.geojson", "shard_rule": "mgrs"}
    config = write_settings(folder / "star.toml", settings)
    assert [outcome for outcome in run_pipeline(config) if not outcome.ok] == []
    return Warehouse(load_settings(config))


def read_all(warehouse: Warehouse, table: str) -> pa.Table:
    rows = warehouse.read_many(table, warehouse.partitions(table))
    return rows.sort_by([(TABLES[table], "ascending")])


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_those_of_the_box_inside_the_polygon(polygon_run: Warehouse, quick_run: Path, table: str) -> None:
    found = read_all(polygon_run, table)
    box = read_all(Warehouse(load_settings(quick_run)), table)
    inside = shapely.contains_xy(STAR, box["lon"].to_numpy(), box["lat"].to_numpy())
    assert 0.3 < inside.mean() < 0.9
    expected = box.filter(pa.array(inside))
    # geometry, vectors, places: bit for bit
    assert found.select(expected.column_names).combine_chunks().equals(expected.combine_chunks())


def test_expected_patches_are_those_that_are_stored(polygon_run: Warehouse) -> None:
    shards = polygon_run.read("core_grid__shards")
    assert sum(shards["expected_patches"].to_pylist()) == len(read_all(polygon_run, "core_grid__patches"))
    outline = shapely.union_all(shapely.from_wkb(shards["geometry"].to_numpy(zero_copy_only=False)))
    assert outline.symmetric_difference(STAR).area < 1e-3 * STAR.area
    pixels = np.array(shards["expected_pixels"].to_pylist())
    kept = polygon_run.read_many("core_aef__pixels", polygon_run.partitions("core_aef__pixels"), ["in_sample"])
    assert np.count_nonzero(kept["in_sample"]) == pytest.approx(0.03 * pixels.sum(), rel=0.1)


def test_a_shard_of_the_box_without_ground_in_the_polygon_is_not_cut(polygon_run: Warehouse, quick_run: Path) -> None:
    keys = {shard.key for shard in polygon_run.shards()}
    assert keys <= {shard.key for shard in Warehouse(load_settings(quick_run)).shards()}
    assert len(keys) == 2
