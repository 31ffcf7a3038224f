"""Cutting an area by the boxes of files: every place of a file has an owner, or the cut is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.fake_evidence import make_settings
from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from transforms.area import Bbox
from transforms.errors import ShapeError
from transforms.shards import assign_owners
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


@pytest.mark.parametrize("rule", ["file", "region"])
def test_files_across_the_antimeridian_are_no_shards_and_no_region(tmp_path: Path, rule: str) -> None:
    warehouse = open_area(tmp_path, CROSSING, shard_rule=rule)
    with pytest.raises(ShapeError, match=r'1 files across the antimeridian \(b\).*shard_rule = "mgrs"'):
        cut_area(warehouse)


@pytest.mark.parametrize(
    "area",
    [
        {"shard_rule": "mgrs", "bbox": (179.0, -17.0, -179.5, -16.0)},
        {"shard_rule": "region", "regions": {"a": (178.0, -17.0, 180.0, -16.0), "b": (-180.0, -17.0, -179.4, -16.0)}},
    ],
)
def test_what_the_refusal_advises_leaves_no_hole(tmp_path: Path, area: dict[str, object]) -> None:
    warehouse = open_area(tmp_path, CROSSING, **area)
    lon, lat = np.array([179.3, 179.95, -179.95, -179.8]), np.full(4, -16.5)
    assert (assign_owners(lon, lat, cut_area(warehouse), warehouse.area) != "").all()


def test_files_on_both_sides_of_the_antimeridian_own_their_places(tmp_path: Path) -> None:
    shards = cut_area(open_area(tmp_path, BESIDE, shard_rule="file"))
    assert [(shard.key, shard.epsg) for shard in shards] == [("a", 32760), ("b", 32701)]
    lon = np.array([178.1, 179.95, -179.95, -179.4, 0.0])
    assert assign_owners(lon, np.full(5, -16.5), shards, None).tolist() == ["a", "a", "b", "b", ""]
