"""Cutting an area by the boxes of files and regions: every place has one owner, across the antimeridian too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.fake_evidence import make_settings
from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from transforms.area import Bbox
from transforms.shards import assign_owners, shards_table
from warehouse.area import cut_area
from warehouse.layout import ALL
from warehouse.sections import AreaSettings, LimitSettings
from warehouse.store import Warehouse

#: One file up to the antimeridian and one over it.
CROSSING: dict[str, Bbox] = {"a": (178.0, -17.0, 179.9, -16.0), "b": (179.6, -17.0, -179.4, -16.0)}
#: Files of one stem in two years, and another one, on both sides of the antimeridian.
BESIDE: dict[str, Bbox] = {"a": (178.0, -17.0, 180.0, -16.0), "b": (-180.0, -17.0, -179.4, -16.0)}


def open_area(tmp_path: Path, files: dict[str, Bbox], **area: object) -> Warehouse:
    """Open a warehouse whose patch product has files with these boxes in 2023 and 2024."""
    settings = make_settings(tmp_path / "wh").model_copy(
        update={"limits": LimitSettings(min_free_mb=0), "area": AreaSettings(**area)}  # type: ignore[arg-type]
    )
    warehouse = Warehouse(settings)
    rows = declared_rows(warehouse.specs["raw_eg__index"], 2 * len(files), np.random.default_rng(0))
    sides = np.array([*files.values()] * 2).T
    columns = {
        "year": [2023] * len(files) + [2024] * len(files),
        "tile": [*files] * 2,
        "path": [f"{year}/{stem}.parquet" for year in (2023, 2024) for stem in files],
        **{f"{side}_deg": sides[k] for k, side in enumerate(("west", "south", "east", "north"))},
    }
    for name, values in columns.items():
        position = rows.schema.get_field_index(name)
        rows = rows.set_column(position, name, pa.array(values, rows.schema.field(name).type))
    warehouse.write("raw_eg__index", ALL, rows, PROVENANCE)
    return warehouse


@pytest.mark.parametrize(
    ("area", "keys"),
    [
        ({"shard_rule": "file"}, ["a", "b-e", "b-w"]),
        ({"shard_rule": "region"}, ["tiny-e", "tiny-w"]),
        ({"shard_rule": "region", "bbox": (179.0, -17.0, -179.5, -16.0)}, ["tiny-e", "tiny-w"]),
        ({"shard_rule": "region", "regions": {"fiji": (179.0, -17.0, -179.5, -16.0)}}, ["fiji-e", "fiji-w"]),
        ({"shard_rule": "region", "regions": {"a": (178.0, -17.0, 180.0, -16.0), "b": (-180.0, -17.0, -179.4, -16.0)}},
         ["a", "b"]),
        ({"shard_rule": "mgrs", "bbox": (179.0, -17.0, -179.5, -16.0)},
         ["01KAB", "01KAC", "01KBB", "01KBC", "60KYG", "60KYH", "60KZG", "60KZH"]),
    ],
    ids=["file", "region of files", "region of a box", "named region", "regions on one side", "squares"],
)  # fmt: skip
def test_an_area_across_the_antimeridian_has_shards_on_one_side_each_and_no_hole(
    tmp_path: Path, area: dict[str, object], keys: list[str]
) -> None:
    warehouse = open_area(tmp_path, CROSSING, **area)
    shards = cut_area(warehouse)
    assert [shard.key for shard in shards] == keys
    assert max(shard.bbox[2] - shard.bbox[0] for shard in shards) < 3.0
    lon, lat = np.array([179.3, 179.95, -179.95, -179.8]), np.full(4, -16.5)
    assert (assign_owners(lon, lat, shards, warehouse.area) != "").all()
    table = shards_table(shards, warehouse.area, on_lattice=True, is_simulated=True)
    warehouse.write("core_grid__shards", ALL, table, PROVENANCE)
    stored = Warehouse(warehouse.settings)
    owned = np.stack([stored.owner_rule(shard.key).owns(lon, lat) for shard in stored.shards()])
    assert (owned.sum(axis=0) == 1).all()
    assert min(table["expected_patches"].to_pylist()) > 0


def test_files_on_both_sides_of_the_antimeridian_own_their_places(tmp_path: Path) -> None:
    shards = cut_area(open_area(tmp_path, BESIDE, shard_rule="file"))
    assert [(shard.key, shard.epsg) for shard in shards] == [("a", 32760), ("b", 32701)]
    lon = np.array([178.1, 179.95, -179.95, -179.4, 0.0])
    assert assign_owners(lon, np.full(5, -16.5), shards, None).tolist() == ["a", "a", "b", "b", ""]
