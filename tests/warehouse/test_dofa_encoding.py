"""`isthmus encode`, below the command line: rows against the encoder, footer, mark of simulated data, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.transforms.dofa_reference import random_matched
from tests.warehouse.images import SMALL_BASE, digital_numbers, write_checkpoint, write_image
from transforms.dofa.encoder import DofaEncoder
from transforms.dofa.presets import PRESETS, own_bands
from transforms.dofa.scaling import ValueRangeError
from transforms.errors import IsthmusError
from warehouse.dofa_encoding import EncodeRequest, EncodeSummary, encode_images
from warehouse.errors import SourceContentError, SourceFormatError, SourceMissingError
from warehouse.products import load_registry
from warehouse.provenance import decode_footer
from warehouse.source_settings import SourceSettings
from warehouse.sources.bigearthnet_bands import is_patch_folder, read_patch_bands
from warehouse.sources.index import read_index
from warehouse.sources.patch_geoparquet import read_patch_file

S2 = PRESETS["sentinel2"]
SMALL_PRODUCT = {"dofa_base": {"dims": SMALL_BASE.width, "patch_m": 160.0}}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "dofa.pth")


def encode(checkpoint: Path, *images: Path, **fields: Any) -> EncodeSummary:
    request = {"preset": S2, "output": checkpoint.with_name("out.parquet"), "patch_m": 160.0} | fields
    return encode_images(EncodeRequest(images, checkpoint, SMALL_BASE, **request), lambda _share, _text: None)


def test_rows_are_those_of_the_encoder(tmp_path: Path, checkpoint: Path) -> None:
    values = digital_numbers(40, 50)
    summary = encode(checkpoint, write_image(tmp_path / "scene.tif", values))
    assert (summary.rows, summary.skipped, summary.dims, summary.patch_m) == (6, 0, SMALL_BASE.width, 160.0)
    assert not summary.is_simulated
    product = load_registry(SMALL_PRODUCT)["dofa_base"]
    found = read_patch_file(summary.output, product)
    encoder = DofaEncoder(random_matched(SMALL_BASE), SMALL_BASE, S2, device="cpu")
    for name, vector in zip(found.source_id, found.vectors, strict=True):
        row, column = (int(part) for part in name.split("_")[1:])
        patch = values[None, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16].astype(np.float32)
        np.testing.assert_allclose(vector, encoder.encode(patch)[0], atol=1e-5)
    np.testing.assert_allclose(found.footprints.side_m, 160, atol=1e-3)
    assert set(found.footprints.epsg) == {32633}
    first = found.source_id.tolist().index("scene_0_0")
    np.testing.assert_allclose(
        [found.footprints.x_m[first], found.footprints.y_m[first]], [500_080, 5_199_920], atol=1e-3
    )
    frame = gpd.read_parquet(summary.output)
    assert frame.crs == 4326
    assert frame.geometry.is_valid.all()


def test_the_footer_says_how_vectors_came_about(tmp_path: Path, checkpoint: Path) -> None:
    summary = encode(checkpoint, write_image(tmp_path / "scene.tif", digital_numbers(16, 16)), add=-1.0)
    metadata = pq.read_metadata(summary.output).metadata
    record = json.loads(metadata[b"isthmus_dofa"])
    assert (record["model"], record["checkpoint"], record["preset"]) == ("DOFA base", "dofa.pth", "sentinel2")
    assert len(record["sha256"]) == 64
    assert record["initialised"] == ["fc_norm.weight", "fc_norm.bias"]
    assert record["bands"][0] == {
        "name": "B02", "wavelength_um": 0.49, "factor": 255 / 3558, "mean": 126.63977424, "std": 67.42465279,
        "statistics_of": "B02",
    }  # fmt: skip
    assert (record["clip"], record["multiply"], record["add"]) == ([0, 255], 1, -1)
    provenance = decode_footer(metadata)
    assert (provenance["product"], provenance["sources"][0]["path"]) == ("dofa_base", "scene.tif")
    assert "2403.15356" in provenance["attribution"][0]


def test_patches_with_too_little_data_are_skipped_and_counted(tmp_path: Path, checkpoint: Path) -> None:
    values = digital_numbers(16, 64)
    values[:, :, :16] = 0  # all
    values[:, :8, 16:32] = 0  # half
    values[:, :1, 32:48] = 0  # a sixteenth
    image = write_image(tmp_path / "scene.tif", values)
    summary = encode(checkpoint, image)
    assert (summary.rows, summary.skipped) == (2, 2)
    table = pq.read_table(summary.output)
    assert table["id"].to_pylist() == ["scene_0_2", "scene_0_3"]
    assert table["nodata_share"].to_pylist() == [0.0625, 0]
    assert encode(checkpoint, image, max_nodata=0.5).rows == 3
    values[:] = 0
    summary.output.unlink()
    empty = write_image(tmp_path / "empty.tif", values)
    with pytest.raises(SourceContentError, match=r"empty\.tif: found no patch of 4 with at most 0.1 nodata"):
        encode(checkpoint, empty)
    assert [path.name for path in tmp_path.glob("*out*")] == []


def test_images_of_two_zones_become_one_product(tmp_path: Path, checkpoint: Path) -> None:
    west = write_image(tmp_path / "west.tif", digital_numbers(16, 32), epsg=32632)
    east = write_image(tmp_path / "east.tif", digital_numbers(32, 16, seed=1), names=None)
    with pytest.raises(SourceFormatError, match=r"east\.tif: bands"):
        encode(checkpoint, west, east)
    order = tuple(f"{name}={number}" for number, name in enumerate(S2.band_names, start=1))
    summary = encode(checkpoint, west, east, bands=order)
    table = pq.read_table(summary.output)
    assert (summary.rows, summary.images) == (4, 2)
    assert dict(zip(table["image"].to_pylist(), table["epsg"].to_pylist(), strict=True)) == {
        "west.tif": 32632, "east.tif": 32633,
    }  # fmt: skip


def test_stored_numbers_are_turned_into_those_of_the_preset(tmp_path: Path, checkpoint: Path) -> None:
    values = digital_numbers(16, 32)
    plain = pq.read_table(encode(checkpoint, write_image(tmp_path / "a.tif", values)).output)["embedding"]
    reflectance = write_image(tmp_path / "b.tif", (values / 10_000 + 0.1).astype(np.float32))
    with pytest.raises(ValueRangeError, match=r"b\.tif: .*--multiply 10000"):
        encode(checkpoint, reflectance)
    turned = encode(checkpoint, reflectance, multiply=10_000, add=-1000)
    found = pq.read_table(turned.output)["embedding"]
    np.testing.assert_allclose(np.array(found.to_pylist()), np.array(plain.to_pylist()), atol=1e-3)
    assert turned.doubts == ("dofa.pth: found none of the published files that we know by SHA-256",)
    assert encode(checkpoint, reflectance, accept_values=True).rows == 2
    offset = encode(checkpoint, write_image(tmp_path / "c.tif", values + np.uint16(1000)))
    assert "c.tif: 99 % of the values" in offset.doubts[0]


def test_own_bands(tmp_path: Path, checkpoint: Path) -> None:
    radar = np.random.default_rng(0).normal(-12, 3, (2, 16, 16)).astype(np.float32)
    own = own_bands([3.75, 3.75], [-12, -12], [3, 3])
    summary = encode(checkpoint, write_image(tmp_path / "db.tif", radar, names=None), preset=own)
    assert (summary.rows, summary.preset, summary.bands) == (1, "own", ("1", "2"))


def test_real_bigearthnet_folders(real_data: Path, tmp_path: Path, checkpoint: Path) -> None:
    folders = sorted(path for path in (real_data / "bigearthnet").iterdir() if is_patch_folder(path))
    preset = PRESETS["sentinel2_12"]
    summary = encode(checkpoint, *folders, patch_m=None, preset=preset)
    assert (summary.rows, summary.patch_m, summary.images) == (11, 1200.0, 11)
    found = read_patch_file(summary.output, load_registry(SMALL_PRODUCT)["dofa_base"])
    assert sorted(found.source_id.tolist()) == [folder.name for folder in folders]
    np.testing.assert_allclose(found.footprints.side_m, 1200, atol=0.01)
    encoder = DofaEncoder(random_matched(SMALL_BASE), SMALL_BASE, preset, device="cpu")
    at = found.source_id.tolist().index(folders[3].name)
    expected = encoder.encode(read_patch_bands(folders[3], preset.band_names).values[None])[0]
    np.testing.assert_allclose(found.vectors[at], expected, atol=1e-5)
    assert np.abs(found.vectors - found.vectors[:1]).max() > 0.01  # patches differ


def test_simulated_images_stay_marked_wherever_the_file_goes(tmp_path: Path, checkpoint: Path) -> None:
    image = write_image(tmp_path / "scene.tif", digital_numbers(16, 16), tags={"IS_SIMULATED": "true"})
    elsewhere = tmp_path / "elsewhere"
    summary = encode(checkpoint, image, output=elsewhere / "out.parquet")
    assert summary.is_simulated
    assert pq.read_table(summary.output)["is_simulated"].to_pylist() == [True]
    product = load_registry(SMALL_PRODUCT)["dofa_base"]
    source = SourceSettings(root=elsewhere, files="*.parquet", year=2024)
    assert read_index(product, source, [2024])["is_simulated"].to_pylist() == [True]
    encode(checkpoint, write_image(tmp_path / "seen.tif", digital_numbers(16, 16)), output=elsewhere / "out.parquet")
    assert read_index(product, source, [2024])["is_simulated"].to_pylist() == [False]


def test_the_same_images_give_the_same_rows(tmp_path: Path, checkpoint: Path) -> None:
    image = write_image(tmp_path / "scene.tif", digital_numbers(40, 50))
    first = pq.read_table(encode(checkpoint, image).output)
    assert pq.read_table(encode(checkpoint, image).output).equals(first)


@pytest.mark.parametrize("case", ["none", "folder", "output is input", "sides", "names", "checkpoint"])
def test_requests_that_make_no_product(tmp_path: Path, checkpoint: Path, case: str) -> None:
    image = write_image(tmp_path / "scene.tif", digital_numbers(448, 224))
    coarse = write_image(tmp_path / "coarse.tif", digital_numbers(224, 224), pixel_m=20)
    again = write_image(tmp_path / "other" / "scene.tif", digital_numbers(224, 224))
    images, fields, error, message = {
        "none": ((), {}, SourceMissingError, "found none, expected at least one GeoTIFF"),
        "folder": ((tmp_path,), {}, SourceMissingError, r"a folder without bands"),
        "output is input": ((image,), {"output": image}, SourceFormatError, "a file that is read"),
        "sides": ((image, coarse), {"patch_m": None}, SourceFormatError, "found 4480 m .*as in scene.tif: 2240 m"),
        "names": ((image, again), {}, SourceFormatError, r"found \['scene'\] more than once"),
        "checkpoint": ((image,), {"checkpoint": tmp_path / "no.pth"}, SourceMissingError, "huggingface"),
    }[case]
    weights = fields.pop("checkpoint", checkpoint)
    with pytest.raises(error, match=message) as caught:
        encode(weights, *images, **fields)
    assert isinstance(caught.value, IsthmusError)
    assert not (tmp_path / "out.parquet").exists()
