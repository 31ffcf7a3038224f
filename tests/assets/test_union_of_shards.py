"""The shards of a table, laid side by side, are the whole: nothing twice, nothing missing, across the zone edge."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import mgrs
import numpy as np
import pyarrow.parquet as pq
import pytest

from assets.grid import plan_shards, write_spine
from assets.patches import ingest_patches
from assets.pixels import ingest_pixels
from assets.release_index import observe_releases
from tests.conftest import TinyRun
from tests.tiny import copy_world, tiny_settings, write_settings
from transforms import geohash
from transforms.lattice import recover
from warehouse.layout import PartitionKey, partition_path
from warehouse.reader import vectors
from warehouse.settings import load_settings
from warehouse.store import Warehouse

YEAR = 2024


@dataclass(frozen=True)
class Copy:
    tile: str
    vector: np.ndarray


def read_copies(world: Path) -> dict[int, list[Copy]]:
    """Read every row of every published patch file: id -> its copies, by file name."""
    copies = defaultdict(list)
    for path in sorted((world / "earthgenome/earthindexembeddings" / str(YEAR)).glob("*.parquet")):
        table = pq.read_table(path)
        for patch_id, vector in zip(table["id"].to_pylist(), table["embedding"].to_pylist(), strict=True):
            copies[patch_id].append(Copy(path.name[:5], np.array(vector, np.float32)))
    return copies


def find_squares(patch_id: int) -> set[str]:
    """Squares of the centroid: as the id says it and as the lattice does, which differ by up to 0.15 m."""
    lon, lat = geohash.decode([patch_id])
    exact = recover(lon, lat)
    points = ((lon[0], lat[0]), (exact.lon[0], exact.lat[0]))
    return {mgrs.MGRS().toMGRS(y, x, MGRSPrecision=0) for x, y in points}


def choose(patch_id: int, copies: list[Copy]) -> Copy:
    """The copy of the square that holds the centroid, else that of the lexically first file."""
    own = [copy for copy in copies if copy.tile in find_squares(patch_id)]
    return min(own or copies, key=lambda copy: copy.tile)


def cosine_distance(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    return float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def copies(tiny_run: TinyRun) -> dict[int, list[Copy]]:
    """Copies of every id whose centroid is in the area of interest."""
    west, south, east, north = tiny_run.warehouse.settings.area.bbox
    every = read_copies(tiny_run.world)
    lon, lat = geohash.decode(list(every))
    inside = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
    return {patch_id: found for (patch_id, found), is_in in zip(every.items(), inside, strict=True) if is_in}


@pytest.fixture(scope="module")
def stored(tiny_run: TinyRun) -> dict[int, dict]:
    keys = tiny_run.warehouse.partitions("core_eg__patches", year=YEAR)
    table = tiny_run.warehouse.read_many("core_eg__patches", keys)
    matrix = vectors(table, "embedding")
    rows = table.drop_columns(["embedding", "geometry"]).to_pylist()
    assert len({row["patch_id"] for row in rows}) == len(rows)
    return {row["patch_id"]: row | {"vector": vector} for row, vector in zip(rows, matrix, strict=True)}


def test_the_world_holds_what_is_to_be_proven(copies: dict[int, list[Copy]]) -> None:
    assert len({copy.tile for found in copies.values() for copy in found}) == 4
    assert {len(found) for found in copies.values()} >= {2, 4}
    assert {square for i in copies for square in find_squares(i)} == {"47PRP", "47PRQ", "48PSU", "48PSV"}


def test_a_patch_on_the_zone_edge_is_not_lost(stored: dict[int, dict], copies: dict[int, list[Copy]]) -> None:
    on_the_edge = {i for i in copies if len(find_squares(i)) == 2}
    assert on_the_edge
    assert on_the_edge <= set(stored)


def test_union_of_shards_is_the_deduplicated_set_of_all_files(
    stored: dict[int, dict], copies: dict[int, list[Copy]]
) -> None:
    on_the_edge = {i for i in copies if len(find_squares(i)) == 2}  # has a test of its own
    assert len(on_the_edge) < 3
    assert set(stored) | on_the_edge == set(copies)


def test_each_patch_stands_in_the_shard_of_its_square(stored: dict[int, dict]) -> None:
    assert [i for i, row in stored.items() if row["shard"] not in find_squares(i)] == []


def test_the_chosen_vector_is_that_of_the_owner(stored: dict[int, dict], copies: dict[int, list[Copy]]) -> None:
    wrong = [i for i, row in stored.items() if not np.array_equal(row["vector"], choose(i, copies[i]).vector)]
    assert wrong == []


def test_copies_are_counted_and_compared(stored: dict[int, dict], copies: dict[int, list[Copy]]) -> None:
    for patch_id, row in stored.items():
        found, chosen = copies[patch_id], choose(patch_id, copies[patch_id])
        assert row["n_copies"] == len(found)
        farthest = max(cosine_distance(copy.vector, chosen.vector) for copy in found)
        assert row["copies_max_cosine_distance"] == pytest.approx(farthest, abs=1e-6)
    assert max(row["copies_max_cosine_distance"] for row in stored.values()) > 1e-4


def test_a_square_without_a_file_takes_the_lexically_first_that_covers(tiny_run: TinyRun, tmp_path: Path) -> None:
    shard = "47PRQ"
    world = copy_world(tiny_run.world, tmp_path / "world")
    (missing,) = world.glob(f"earthgenome/*/{YEAR}/{shard}_*.parquet")
    missing.unlink()
    warehouse = Warehouse(load_settings(write_settings(tmp_path / "tiny.toml", tiny_settings(world))))
    for table, key in (("core_grid__shards", PartitionKey()), ("core_grid__patches", PartitionKey(shard=shard))):
        target = partition_path(warehouse.root, table, key)
        target.parent.mkdir(parents=True)
        target.symlink_to(partition_path(tiny_run.warehouse.root, table, key))
    observe_releases(warehouse, warehouse.products["eg"])
    ingest_patches(warehouse, warehouse.products["eg"], PartitionKey(YEAR, shard))
    table = warehouse.read("core_eg__patches", PartitionKey(YEAR, shard))
    west, south, east, north = warehouse.settings.area.bbox
    lon, lat = table["lon"].to_numpy(), table["lat"].to_numpy()
    assert ((lon >= west) & (lon < east) & (lat >= south) & (lat < north)).all()
    covering = {i: found for i, found in read_copies(world).items() if shard in find_squares(i)}
    found = dict(zip(table["patch_id"].to_pylist(), vectors(table, "embedding"), strict=True))
    assert found
    assert set(found) <= set(covering)
    for patch_id, vector in found.items():
        assert np.array_equal(vector, min(covering[patch_id], key=lambda copy: copy.tile).vector)


def test_the_spine_holds_every_lattice_place_once_and_counts_as_expected(tiny_run: TinyRun) -> None:
    spine = tiny_run.sql("select patch_id, shard, is_simulated from core_grid__patches").to_pydict()
    assert len(set(spine["patch_id"])) == len(spine["patch_id"])
    assert [i for i, s in zip(spine["patch_id"], spine["shard"], strict=True) if s not in find_squares(i)] == []
    expected = tiny_run.sql("select shard, expected_patches from core_grid__shards").to_pylist()
    assert {row["shard"]: row["expected_patches"] for row in expected} == {
        shard: spine["shard"].count(shard) for shard in set(spine["shard"])
    }


@pytest.mark.parametrize("rule", ["region", "file"])
def test_other_shard_rules_cut_the_same_whole(
    rule: str, tiny_run: TinyRun, stored: dict[int, dict], tmp_path: Path
) -> None:
    settings = tiny_settings(tiny_run.world) | {"years": [YEAR]}
    west, south, east, north = settings["area"]["bbox"]
    settings["area"]["shard_rule"] = rule
    if rule == "region":  # the first region owns what lies in both
        settings["area"]["regions"] = {"left": [west, south, 102.005, north], "right": [101.99, south, east, north]}
    warehouse = Warehouse(load_settings(write_settings(tmp_path / "tiny.toml", settings)))
    products = warehouse.products
    for product in products.values():
        observe_releases(warehouse, product)
    plan_shards(warehouse)
    for shard in warehouse.shards():
        write_spine(warehouse, products["eg"], PartitionKey(shard=shard.key))
        ingest_patches(warehouse, products["eg"], PartitionKey(YEAR, shard.key))
        if rule == "region":  # every file covers the whole of the tiny area: slow, and nothing new
            ingest_pixels(warehouse, products["aef"], PartitionKey(YEAR, shard.key))
    assert len(warehouse.shards()) == (2 if rule == "region" else 4)
    tables = {"core_eg__patches": "patch_id"} | ({"core_aef__pixels": "pixel_id"} if rule == "region" else {})
    for table, key in tables.items():
        rows = warehouse.read_many(table, warehouse.partitions(table), [key])[key].to_pylist()
        whole = tiny_run.warehouse.partitions(table, year=YEAR)
        assert sorted(rows) == sorted(tiny_run.warehouse.read_many(table, whole, [key])[key].to_pylist())
    found = warehouse.read_many("core_eg__patches", warehouse.partitions("core_eg__patches"))
    for patch_id, vector in zip(found["patch_id"].to_pylist(), vectors(found, "embedding"), strict=True):
        assert np.array_equal(vector, stored[patch_id]["vector"])  # who writes a row does not change it
