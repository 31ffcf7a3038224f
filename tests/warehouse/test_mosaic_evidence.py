"""`isthmus mosaic` on a small store: which chunks are read, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from tests.tiny import write_settings
from transforms.degree_grid import DegreeGrid
from transforms.utm import project
from warehouse.errors import SourceMissingError
from warehouse.mosaic_evidence import examine_mosaic
from warehouse.settings import load_settings
from warehouse.store import Warehouse
from warehouse.world_mosaic import create_store

STEP = 8.983111749910169e-05
GRID = DegreeGrid(104.2, 45.0, STEP, 512, 512)


@pytest.fixture
def config(tmp_path: Path, clean_env: None) -> Path:
    """Settings on a store of nearest pixels, with data in its southern half and nothing else."""
    array = create_store(tmp_path / "mosaic", GRID, [2024], shard_px=256, chunk_px=128)
    rows, cols = slice(256, 512), slice(0, 512)
    lon, lat = np.meshgrid(*GRID.centers(rows, cols))
    x, y = project(lon, lat, 32648)
    pixel = (np.floor(x / 10) * 7 + np.floor(y / 10) * 13).astype(np.int64)
    # 64 codes of 16 are a vector of unit length: 64 (16 / 127.5)^4 = 1
    signs = np.random.default_rng(0).choice([-16, 16], (5_003, 64)).astype(np.int8)
    codes = np.moveaxis(signs[pixel % 5_003], -1, 0) * (127.5 / 16 * 64**-0.25)
    array[0, :, rows, cols] = np.rint(codes).astype(np.int8)
    west, south, east, north = GRID.bbox(slice(0, 512), slice(0, 512))
    settings = {
        "name": "mosaic", "years": [2024], "area": {"bbox": [west, south, east, north]},
        "sources": {"aef_mosaic": {"root": "mosaic"}}, "compare": {"pixels": "aef_mosaic"},
        "warehouse": {"root": "warehouse"}, "dagster": {"instance": "dagster"},
    }  # fmt: skip
    return write_settings(tmp_path / "mosaic.toml", settings)


def test_chunks_with_data_are_drawn_until_there_are_enough(config):
    warehouse, told = Warehouse(load_settings(config)), []
    boxes = examine_mosaic(warehouse, None, 2024, 3, lambda share, text: told.append((share, text)))
    assert len(boxes) == len(told) == 3
    assert told[-1] == (1.0, "3 of 3 boxes")
    assert len({(box.lon, box.lat) for box in boxes}) == 3
    for box in boxes:
        assert box.evidence.n_pixels == 128 * 128
        assert box.evidence.rule == "nearest"
        assert box.evidence.n_off_length == 0
        assert box.lat < GRID.north - 256 * STEP
    assert boxes == examine_mosaic(warehouse, None, 2024, 3, lambda _share, _text: None)
    assert len(examine_mosaic(warehouse, None, 2024, 99, lambda _share, _text: None)) == 8


def test_the_command_prints_a_row_per_box_and_one_for_all(config):
    result = CliRunner().invoke(app, ["mosaic", "--config", str(config), "--year", "2024", "--boxes", "2", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert len(rows) == 3
    assert rows[-1]["lon"] is None
    assert rows[-1]["pixels"] == sum(row["pixels"] for row in rows[:-1])
    assert {row["resampled_by"] for row in rows} == {"nearest"}


def test_a_product_that_is_no_mosaic_is_refused(config):
    with pytest.raises(SourceMissingError, match=r"one of \['aef_mosaic'\]"):
        examine_mosaic(Warehouse(load_settings(config)), "aef", 2024, 1, lambda _share, _text: None)
