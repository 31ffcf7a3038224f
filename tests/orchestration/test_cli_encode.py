"""`isthmus encode` as typed, and what it writes as the patch side of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject

from tests.orchestration.conftest import Call
from tests.tiny import run_pipeline, tiny_settings, write_settings
from tests.warehouse.images import S2_NAMES, SMALL_BASE, digital_numbers, write_checkpoint, write_image
from transforms.dofa import sizes
from warehouse.queries import run_sql
from warehouse.settings import load_settings
from warehouse.store import Warehouse


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a model that is small, under the name of one that is not."""
    monkeypatch.setattr(sizes, "SIZES", {"base": SMALL_BASE})
    return write_checkpoint(tmp_path / "dofa.pth")


def test_encode_prints_what_it_wrote(call: Call, checkpoint: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "scene.tif", digital_numbers(40, 50) + np.uint16(1000))
    output = tmp_path / "scene.parquet"
    code, out, err = call(
        "encode", image, "--checkpoint", checkpoint, "--preset", "sentinel2", "-o", output, "--patch-m", 160,
        "--add", -1000, "--bands", "B04=B04,B03=2", "--json",
    )  # fmt: skip
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["output"], row["rows"], row["product"]) == (str(output), 6, "dofa_base")
    assert row["bands"] == ["B03", "B04"]
    assert "warning dofa.pth: found none of the published files" in err
    assert pq.read_metadata(output).num_rows == 6


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--preset", "landsat"], 1, "preset: found 'landsat', expected one of"),
        ([], 2, "either --preset, or --wavelengths with --means and --stds"),
        (["--preset", "sentinel2", "--wavelengths", "0.5"], 2, "either --preset"),
        (["--wavelengths", "0.5,x", "--means", "1", "--stds", "1"], 2, "--wavelengths: found '0.5,x'"),
        (["--wavelengths", "490", "--means", "1", "--stds", "1"], 1, "Divide nanometres by 1000"),
        (["--preset", "sentinel2", "--model", "huge"], 1, "DOFA model: found 'huge'"),
        (["--preset", "sentinel1"], 1, "--bands VV=1,VH=2"),
        (["--preset", "sentinel2", "--checkpoint", "nowhere.pth"], 1, "https://huggingface.co"),
    ],
)
def test_encode_refuses_in_one_message(
    call: Call, checkpoint: Path, tmp_path: Path, options: list[str], code: int, text: str
) -> None:
    image = write_image(tmp_path / "scene.tif", digital_numbers(16, 16))
    output = tmp_path / "scene.parquet"
    arguments = ["--checkpoint", checkpoint, "-o", output, "--patch-m", 160, *options]
    found, out, err = call("encode", image, *arguments)
    assert (found, out) == (code, "")
    assert text in err
    assert "Traceback" not in err
    assert not output.exists()


def simulate_images(world: Path, folder: Path) -> list[Path]:
    """One image a UTM zone of the tiny world: each band is brighter or darker by the class below, with noise."""
    sources = sorted((world / "worldcover").glob("*_Map.tif"))  # one each side of the zone edge
    rng = np.random.default_rng(0)
    level = rng.uniform(500, 4000, (9, 256))
    images = []
    for source, epsg, west in zip(sources, (32647, 32648), (823_300.0, 174_100.0), strict=True):
        with rasterio.open(source) as file:
            classes = np.zeros((512, 256), np.uint8)
            affine = Affine(10, 0, west, 0, -10, 1_402_600.0)
            reproject(rasterio.band(file, 1), classes, dst_transform=affine, dst_crs=f"EPSG:{epsg}",
                      resampling=Resampling.nearest)  # fmt: skip
        values = level[:, classes] * rng.gamma(20, 1 / 20, (9, *classes.shape))
        values[:, classes == 0] = 0
        images.append(write_image(folder / f"zone_{epsg}.tif", values.astype(np.uint16), names=S2_NAMES, epsg=epsg,
                                  west=west, north=1_402_600.0, tags={"IS_SIMULATED": "true"}))  # fmt: skip
    return images


@pytest.mark.slow
def test_encoded_images_are_the_patch_side_of_an_evaluation(
    call: Call, checkpoint: Path, tiny_world: Path, tmp_path: Path
) -> None:
    images = simulate_images(tiny_world, tmp_path)
    output = tmp_path / "patches" / "tiny.parquet"
    code, _, err = call(
        "encode", *images, "--checkpoint", checkpoint, "--preset", "sentinel2", "-o", output, "--patch-m", 320,
    )  # fmt: skip
    assert code == 0, err
    settings = tiny_settings(tiny_world) | {"years": [2024], "compare": {"patches": "dofa_base"}}
    settings["sources"] = {"dofa_base": {"root": str(output.parent), "files": "*.parquet", "year": 2024}}
    settings["products"] = {"dofa_base": {"dims": SMALL_BASE.width, "patch_m": 320.0, "context_m": 320.0}}
    settings["evaluate"] |= {"tasks": ["T1"]}
    config = write_settings(tmp_path / "tiny.toml", settings)
    assert [outcome for outcome in run_pipeline(config) if not outcome.ok] == []
    warehouse = Warehouse(load_settings(config))

    def sql(text: str) -> list[dict]:
        return run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text).to_pylist()

    (stored,) = sql("select count(*) as n, bool_and(is_simulated) as simulated from core_dofa_base__patches")
    assert stored["simulated"]
    assert stored["n"] > 100
    scores = sql(
        "select arm, value from out_probe__metrics where fold is null and class_id is null and metric = 'macro_f1'"
    )
    by_arm = {row["arm"]: row["value"] for row in scores}
    assert by_arm["native_patch"] > max(by_arm["patch_majority"], by_arm["patch_coordinates"]) + 0.1
