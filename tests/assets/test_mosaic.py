"""The mosaic as the compared pixel product: the tiny world once more, from its Zarr store instead of its rasters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.grid import plan_shards, write_spine
from assets.pixels import ingest_pixels
from assets.pooled import pool_shard
from assets.release_index import observe_releases
from tests.conftest import WORLD_SEED, Once, TinyRun
from tests.tiny import clean_environment, quick_settings, run_pipeline, write_settings
from tests.warehouse.fake_tables import PROVENANCE
from warehouse.layout import ALL, PartitionKey, partition_path
from warehouse.provenance import decode_footer
from warehouse.settings import load_settings
from warehouse.sources.files import is_simulated_root
from warehouse.store import Warehouse
from warehouse.world import build_world
from warehouse.world_mosaic import MOSAIC_ROOT


@pytest.fixture(scope="session")
def mosaic_world(once: Once) -> Path:
    """The tiny world with its mosaic beside it. Read only."""

    def make(folder: Path) -> None:
        assert build_world(folder / "world", "tiny", WORLD_SEED, mosaic=True).was_built

    return once("mosaic-world", make) / "world"


@pytest.fixture(scope="session")
def mosaic_run(mosaic_world: Path, once: Once) -> Warehouse:
    """Ingest and derive with the mosaic in place of the rasters, over the area of `tiny_run`. Read only."""

    def make(folder: Path) -> None:
        settings = quick_settings(mosaic_world, (2023, 2024))
        settings["area"]["bbox"] = [101.976, 12.624, 102.024, 12.671]
        settings["sources"]["aef_mosaic"] = {"root": str(mosaic_world / MOSAIC_ROOT)}
        del settings["sources"]["aef"]
        settings["compare"]["pixels"] = "aef_mosaic"
        outcomes = run_pipeline(write_settings(folder / "mosaic.toml", settings))
        assert [outcome for outcome in outcomes if not outcome.ok] == []

    with clean_environment():
        return Warehouse(load_settings(once("mosaic-run", make) / "mosaic.toml"))


def test_a_world_with_a_mosaic_is_a_world_and_is_not_built_again(mosaic_world):
    assert not build_world(mosaic_world, "tiny", WORLD_SEED, mosaic=True).was_built
    assert not build_world(mosaic_world, "tiny", WORLD_SEED).was_built
    assert is_simulated_root(mosaic_world / MOSAIC_ROOT)


def _all_rows(warehouse: Warehouse, table: str, year: int) -> pa.Table:
    return warehouse.read_many(table, warehouse.partitions(table, year=year))


def test_the_same_places_are_kept_as_from_the_rasters(mosaic_run, tiny_run: TinyRun):
    mine = _all_rows(mosaic_run, "core_aef_mosaic__pixels", 2024)
    theirs = _all_rows(tiny_run.warehouse, "core_aef__pixels", 2024)
    common = np.intersect1d(mine["pixel_id"].to_numpy(), theirs["pixel_id"].to_numpy())
    # a pixel at the coast may have data in one and none in the other
    assert len(common) >= 0.995 * max(len(mine), len(theirs))
    assert set(mine["product"].to_pylist()) == {"aef_mosaic"}
    assert all(mine["is_simulated"].to_pylist())
    assert set(mine["epsg"].to_pylist()) == {32647, 32648}


def test_pooled_vectors_of_the_noisy_world_are_near_those_of_the_rasters(mosaic_run, tiny_run: TinyRun):
    mine = _all_rows(mosaic_run, "out_patch__aef_mosaic_pooled", 2024)
    theirs = _all_rows(tiny_run.warehouse, "out_patch__aef_pooled", 2024)
    assert sorted(mine["patch_id"].to_pylist()) == sorted(theirs["patch_id"].to_pylist())
    columns = [table.take(np.argsort(table["patch_id"].to_numpy())) for table in (mine, theirs)]
    mean, reference = (np.array(table["mean_renormalised"].to_pylist(), np.float64) for table in columns)
    usable = np.isfinite(mean).all(axis=1) & np.isfinite(reference).all(axis=1)
    cosine = (mean * reference).sum(axis=1)[usable]
    assert usable.mean() >= 0.99
    assert cosine.min() >= 0.9999


def test_a_year_with_less_ground_has_fewer_pixels_and_the_index_says_which_shards(mosaic_run, mosaic_world):
    index = mosaic_run.read("raw_aef_mosaic__index")
    assert sorted(set(index["year"].to_pylist())) == [2023, 2024]
    assert all((mosaic_world / MOSAIC_ROOT / path).is_file() for path in index["path"].to_pylist())
    early, full = (_all_rows(mosaic_run, "core_aef_mosaic__pixels", year) for year in (2023, 2024))
    assert 0 < len(early) < len(full)


def test_the_footer_names_the_shards_that_were_read(mosaic_run):
    key = mosaic_run.partitions("core_aef_mosaic__pixels", year=2024)[0]
    metadata = pq.read_schema(partition_path(mosaic_run.root, "core_aef_mosaic__pixels", key)).metadata
    footer = decode_footer(metadata)
    assert "degrees-8.983e-05" in footer["release"]
    assert all(source["path"].startswith("embeddings/c/1/0/") for source in footer["sources"])


def test_where_a_simulated_mosaic_stores_nothing_what_is_written_is_simulated(mosaic_world, tmp_path):
    settings = quick_settings(mosaic_world, (2023, 2024))
    settings["sources"]["aef_mosaic"] = {"root": str(mosaic_world / MOSAIC_ROOT)}
    del settings["sources"]["aef"]
    settings["compare"]["pixels"] = "aef_mosaic"
    warehouse = Warehouse(load_settings(write_settings(tmp_path / "mosaic.toml", settings)))
    mosaic, patches = warehouse.products["aef_mosaic"], warehouse.products["eg"]
    for product in (mosaic, patches):
        observe_releases(warehouse, product)
    index = warehouse.read("raw_aef_mosaic__index")
    warehouse.write("raw_aef_mosaic__index", ALL, index.filter(pc.field("year") == 2024), PROVENANCE)
    plan_shards(warehouse)
    key = PartitionKey(2023, warehouse.shards()[0].key)
    assert not len(warehouse.shard_index(mosaic, 2023, warehouse.shards()[0]))
    write_spine(warehouse, patches, PartitionKey(shard=key.shard))
    kept, pooled = ingest_pixels(warehouse, mosaic, key), pool_shard(warehouse, mosaic, patches, key)
    for written in (kept, pooled):
        assert decode_footer(pq.read_schema(written.path).metadata)["is_simulated"] is True
    flags = warehouse.read("out_patch__aef_mosaic_pooled", key, ["is_simulated"])["is_simulated"].to_pylist()
    assert len(flags) > 0
    assert all(flags)
