"""Patch vectors around a place, read across shards: over the antimeridian as anywhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.warehouse.fake_evidence import make_settings
from tests.warehouse.fake_tables import PROVENANCE
from transforms.area import Bbox, area_of_boxes, grow
from transforms.lattice import PATCH_SIDE_M, enumerate_places
from transforms.patch_rows import UniquePatches, patch_table
from transforms.places import place_lattice, spine_table
from transforms.shards import cut_mgrs, shards_table
from transforms.utm import mgrs_squares
from warehouse.fields import read_patch_field
from warehouse.layout import ALL, PartitionKey
from warehouse.sections import AreaSettings, LimitSettings
from warehouse.store import Warehouse

YEAR = 2024
#: 4 km on each side of the antimeridian, and of the edge between two zones in the middle of the world.
AREAS: dict[str, Bbox] = {"antimeridian": (179.96, -17.0, -179.96, -16.97), "zone edge": (101.96, 12.6, 102.04, 12.63)}


@pytest.fixture(params=AREAS)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """A warehouse with all patches of an area and nothing else."""
    settings = make_settings(tmp_path / "wh").model_copy(
        update={"limits": LimitSettings(min_free_mb=0), "area": AreaSettings(bbox=AREAS[request.param])}
    )
    warehouse = Warehouse(settings)
    assert warehouse.area is not None
    shards = cut_mgrs(warehouse.area)
    table = shards_table(shards, warehouse.area, on_lattice=True, is_simulated=True)
    warehouse.write("core_grid__shards", ALL, table, PROVENANCE)
    product = warehouse.products["eg"]
    for shard in shards:
        cells = enumerate_places(*shard.reading_box())
        places = place_lattice(cells, mgrs_squares(cells.lon, cells.lat), [])
        mine = places.take(warehouse.owner_rule(shard.key).owns(places.lon, places.lat))
        n = len(mine)
        vectors = np.repeat(mine.lon[:, None], product.dims, axis=1).astype(np.float32)
        copies, apart = np.ones(n, np.int16), np.zeros(n, np.float32)
        found = UniquePatches(mine.patch_id, mine.patch_id.astype(str), vectors, copies, apart, mine.lon, mine.lat)
        spine = spine_table(mine, is_simulated=True)
        warehouse.write("core_grid__patches", PartitionKey(shard=shard.key), spine, PROVENANCE)
        rows = patch_table(found, mine, "eg", is_simulated=True)
        warehouse.write("core_eg__patches", PartitionKey(YEAR, shard.key), rows, PROVENANCE)
    return warehouse


def test_every_patch_of_an_area_is_stored_once(warehouse: Warehouse) -> None:
    assert warehouse.area is not None
    expected = sum(len(enumerate_places(*box)) for box in warehouse.area.boxes)
    field = read_patch_field(warehouse, warehouse.products["eg"], YEAR)
    assert len(field.places) == len(np.unique(field.places.patch_id)) == expected


def test_patches_around_a_shard_come_from_both_sides(warehouse: Warehouse) -> None:
    product = warehouse.products["eg"]
    everything = read_patch_field(warehouse, product, YEAR)
    for shard in warehouse.shards():
        field = read_patch_field(warehouse, product, YEAR, shard.bbox)
        reach = area_of_boxes([grow(shard.bbox, 2 * PATCH_SIDE_M)])
        near = reach.contains(everything.places.lon, everything.places.lat)
        assert set(field.places.patch_id) == set(everything.places.patch_id[near])
        own = warehouse.owner_rule(shard.key).owns(field.places.lon, field.places.lat)
        assert 0 < own.sum() < len(field.places)  # some stand in the shard across the border
