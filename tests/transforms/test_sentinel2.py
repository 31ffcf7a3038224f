from __future__ import annotations

import ast
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from transforms.errors import ShapeError
from transforms.sentinel2 import sentinel2_tile_box, sentinel2_tile_epsg
from transforms.utm import UtmBox


@pytest.mark.parametrize(
    ("tile", "box"),
    [
        ("01CEH", UtmBox(32701, 499_980, 690_220, 609_780, 800_020)),
        ("01CEJ", UtmBox(32701, 499_980, 790_240, 609_780, 900_040)),  # 60 m steps: not always 20 m
        ("01JCH", UtmBox(32701, 300_000, 6_690_220, 409_800, 6_800_020)),
    ],
)
def test_known_tiles(tile: str, box: UtmBox) -> None:
    assert sentinel2_tile_box(tile) == box


def test_every_real_land_tile_is_reproduced(real_data: Path) -> None:
    path = real_data / "sentinel2_grid" / "sentinel-2-grid_LAND.parquet"
    rows = pq.read_table(path, columns=["tile", "epsg", "utm_bounds"]).to_pylist()
    wrong = [r["tile"] for r in rows if _box(r) != sentinel2_tile_box(r["tile"])]
    assert len(rows) == 20_430
    assert wrong == []


def _box(row: dict) -> UtmBox:
    return UtmBox(row["epsg"], *ast.literal_eval(row["utm_bounds"]))


@pytest.mark.parametrize("name", ["21MNT", "00NAA", "61NAA", "48IVS", "48PVW", "48PV", "", "xxPVS"])
def test_names_that_are_no_square_are_refused(name: str) -> None:
    with pytest.raises(ShapeError, match="48PVS"):
        sentinel2_tile_box(name)


def test_zone_needs_only_the_first_letters() -> None:
    # a real file is called 21MNT, which is no square of zone 21
    assert sentinel2_tile_epsg("21MNT") == 32721
    assert sentinel2_tile_epsg("48PVS") == 32648
    with pytest.raises(ShapeError):
        sentinel2_tile_epsg("4PVS")
