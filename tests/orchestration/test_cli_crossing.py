"""`isthmus pool`, `preview` and `upsample` as typed: output, exit codes, messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from typer.testing import CliRunner

from orchestration.cli import app
from tests.conftest import TinyRun
from tests.orchestration.conftest import Call


@pytest.fixture
def parcels(tmp_path: Path) -> Path:
    """A parcel over the zone edge of the tiny world, one inside, one elsewhere."""
    shapes = [shapely.box(101.999, 12.65, 102.001, 12.652), shapely.box(101.99, 12.64, 101.991, 12.641)]
    frame = gpd.GeoDataFrame(
        {"id": ["seam", "field", "elsewhere"]}, geometry=[*shapes, shapely.box(1, 1, 1.01, 1.01)], crs=4326
    )
    frame.to_parquet(tmp_path / "parcels.parquet")
    return tmp_path / "parcels.parquet"


def test_pool_without_a_warehouse(call: Call, tiny_config: Path, parcels: Path) -> None:
    output = parcels.with_name("pooled.parquet")
    code, out, err = call(
        "pool", "--geometries", parcels, "--year", 2024, "--operators", "mean, stats,gem", "-c", tiny_config,
        "--output", output, "--json",
    )  # fmt: skip
    assert code == 0
    (row,) = json.loads(out)
    assert row["output"] == str(output)
    assert (row["rows"], row["without_pixels"], row["too_little_coverage"]) == (3, 1, 0)
    assert row["columns"] == ["mean", "std", "min", "max", "gem"]
    assert "1 of 3 polygons have no pixel with data" in err
    frame = gpd.read_parquet(output)
    assert frame["id"].tolist() == ["seam", "field", "elsewhere"]
    assert frame["valid_fraction"].tolist() == [1, 1, 0]
    assert frame["is_simulated"].all()
    assert not (tiny_config.parent / "warehouse").exists()


def test_pool_prints_rows_and_path(call: Call, tiny_config: Path, parcels: Path) -> None:
    code, out, _ = call("pool", "-g", parcels, "--year", 2024, "--operators", "mean", "-c", tiny_config)
    assert code == 0
    assert "parcels_pooled_2024.parquet" in out
    assert re.search(r"^rows +3$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"--year": 2020}, 1, "no file of this year"),
        ({"--operators": "medain_iqr"}, 1, "Did you mean median_iqr"),
        ({"--product": "eg"}, 1, "expected one of ['aef']"),
        ({"--min-coverage": 1.5}, 2, "--min-coverage"),
        ({"--geometries": "nowhere.parquet"}, 1, "nowhere.parquet: found no such file"),
    ],
)
def test_pool_refuses_in_one_message(
    call: Call, tiny_config: Path, parcels: Path, changes: dict[str, object], code: int, text: str
) -> None:
    options = {"--geometries": parcels, "--year": 2024, "--operators": "mean", "-c": tiny_config} | changes
    found, out, err = call("pool", *(item for option in options.items() for item in option))
    assert (found, out) == (code, "")
    assert text in err
    assert "Traceback" not in err
    assert sorted(path.name for path in parcels.parent.iterdir()) == ["parcels.parquet", "tiny.toml"]


def test_preview(call: Call, tiny_config: Path, tmp_path: Path) -> None:
    output = tmp_path / "overview.parquet"
    code, out, _ = call("preview", "--year", 2024, "-c", tiny_config, "-o", output, "--sample", 5, "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert (row["output"], row["rows"], row["error_n_cells"]) == (str(output), 256, 5)
    assert row["error_cosine_min"] > 0.999
    code, _, err = call("preview", "--year", 2019, "-c", tiny_config)
    assert code == 1
    assert "one of the years [2023, 2024]" in err


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("pool", ["--geometries", "--year", "--operators", "--product", "--output", "--min-coverage", "--json"]),
        ("preview", ["--year", "--config", "--output", "--sample"]),
    ],
)  # fmt: skip
def test_help_names_every_option(command: str, options: list[str]) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for option in options:
        assert option in result.output


def test_upsample_writes_a_raster_and_prints_what_it_holds(call: Call, tiny_run: TinyRun, tmp_path: Path) -> None:
    output = tmp_path / "map.tif"
    code, out, _ = call(
        "upsample", "--year", 2024, "--bbox", 102.001, 12.635, 102.006, 12.640, "-c", tiny_run.config,
        "--output", output, "--json",
    )  # fmt: skip
    assert code == 0
    (row,) = json.loads(out)
    assert row["path"] == str(output)
    assert (row["bands"], row["epsg"], row["is_simulated"]) == (64, 32648, True)
    assert output.stat().st_size == row["bytes"]


def test_upsample_names_the_nearest_operators(call: Call, tiny_run: TinyRun) -> None:
    code, out, err = call(
        "upsample", "--year", 2024, "--bbox", 102.0, 12.63, 102.01, 12.64, "--operator", "bilnear",
        "-c", tiny_run.config,
    )  # fmt: skip
    assert (code, out) == (1, "")
    assert "Did you mean bilinear" in err
