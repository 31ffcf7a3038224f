from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine

from transforms.utm import UtmBox
from warehouse.errors import MissingColumnsError, SourceContentError, SourceFormatError, SourceMissingError
from warehouse.sources.bigearthnet import BAND_PX, read_band, read_bigearthnet

V1 = "S2A_MSIL2A_20170613T101031_0_45"
V2 = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_00_45"


def write_patch(root: Path, name: str, labels: list[str], **changes: Any) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    record = {
        "labels": labels,
        "coordinates": {"ulx": 600_000, "uly": 5_800_020, "lrx": 601_200, "lry": 5_798_820},
        "projection": "EPSG:32633",
        "tile_source": "x",
        "acquisition_date": "2017-06-13 10:10:31",
    }
    (folder / f"{name}_labels_metadata.json").write_text(json.dumps(record | changes))


def v2_rows(**changes: list[Any]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "patch_id": [V2, "b", "c"],
        "labels": [["Pastures", "Urban fabric"], ["Marine waters"], ["Pastures"]],
        "split": ["train", "validation", "test"],
        "country": ["Austria"] * 3,
        "s1_name": ["s"] * 3,
        "s2v1_name": [V1, "B", "C"],
        "contains_seasonal_snow": [False, True, False],
        "contains_cloud_or_shadow": [False, False, False],
    }
    return pa.table(columns | changes)


def test_folders_of_version_one_are_read(tmp_path: Path) -> None:
    write_patch(tmp_path, "b", ["Pastures"])
    write_patch(tmp_path, V1, ["Airports", "Pastures"], projection="EPSG:32634")
    (tmp_path / "notes.txt").write_text("not a patch")
    patches = read_bigearthnet(tmp_path)
    assert patches.names == ((V1,), ("b",))
    assert patches.labels == (("Airports", "Pastures"), ("Pastures",))
    assert patches.n_classes == 43
    assert patches.boxes[0] == UtmBox(32634, 600_000, 5_798_820, 601_200, 5_800_020)
    assert patches.split.tolist() == ["", ""]
    assert patches.is_clear.tolist() == [True, True]


def test_published_lists_give_the_split_and_the_snow(tmp_path: Path) -> None:
    for name in "abcd":
        write_patch(tmp_path / "patches", name, ["Pastures"])
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.csv").write_text("a,S1_a\nz,S1_z\n")
    (lists / "val.csv").write_text("b\n")
    (lists / "test.csv").write_text("c\n\n")
    (lists / "patches_with_seasonal_snow.csv").write_text("a\n")
    (lists / "patches_with_cloud_and_shadow.csv").write_text("c\n")
    patches = read_bigearthnet(tmp_path / "patches", lists)
    assert patches.split.tolist() == ["train", "validation", "test", ""]
    assert patches.is_clear.tolist() == [False, True, False, True]


def test_a_folder_that_should_hold_lists_must(tmp_path: Path) -> None:
    write_patch(tmp_path / "patches", "a", ["Pastures"])
    with pytest.raises(SourceMissingError, match=r"BigEarthNet lists in .*train\.csv.*labels\.\*\.lists"):
        read_bigearthnet(tmp_path / "patches", tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "expected"),
    [
        ("{", SourceFormatError, r"a_labels_metadata\.json: JSON"),
        ("{}", MissingColumnsError, "'labels', 'coordinates', 'projection' are missing"),
    ],
)
def test_damaged_metadata_are_refused(tmp_path: Path, text: str, error: type[Exception], expected: str) -> None:
    write_patch(tmp_path, "a", ["Pastures"])
    (tmp_path / "a" / "a_labels_metadata.json").write_text(text)
    with pytest.raises(error, match=expected):
        read_bigearthnet(tmp_path)


def test_patches_of_another_size_are_refused(tmp_path: Path) -> None:
    corners = {"ulx": 0, "uly": 1_210, "lrx": 1_200, "lry": 0}
    write_patch(tmp_path, "a", ["Pastures"], coordinates=corners)
    with pytest.raises(SourceContentError, match=r"sides \(1200, 1210\) m, expected a UTM zone and 1200 m"):
        read_bigearthnet(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="a folder a patch"):
        read_bigearthnet(tmp_path)


def test_the_metadata_of_version_two_are_read(tmp_path: Path) -> None:
    pq.write_table(v2_rows(), tmp_path / "metadata.parquet")
    patches = read_bigearthnet(tmp_path / "metadata.parquet")
    assert patches.names == ((V2, V1), ("b", "B"), ("c", "C"))
    assert patches.labels[0] == ("Pastures", "Urban fabric")
    assert patches.n_classes == 19
    assert patches.split.tolist() == ["train", "validation", "test"]
    assert patches.is_clear.tolist() == [True, False, True]
    assert patches.boxes == ()


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        ({"patch_id": ["a", "a", "c"]}, SourceContentError, "1 names twice"),
        ({"split": ["train", "val", "test"]}, SourceContentError, r"split: found \['val'\]"),
        ({"labels": ["a", "b", "c"]}, SourceContentError, "labels: found str, expected a list"),
    ],
)
def test_strange_metadata_are_refused(tmp_path: Path, changes: dict, error: type[Exception], expected: str) -> None:
    pq.write_table(v2_rows(**changes), tmp_path / "metadata.parquet")
    with pytest.raises(error, match=expected):
        read_bigearthnet(tmp_path / "metadata.parquet")


def test_missing_columns_of_the_metadata_are_named(tmp_path: Path) -> None:
    pq.write_table(v2_rows().drop_columns(["split", "labels"]), tmp_path / "metadata.parquet")
    with pytest.raises(MissingColumnsError, match="'labels', 'split' are missing"):
        read_bigearthnet(tmp_path / "metadata.parquet")


def test_a_band_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    profile = {"driver": "GTiff", "count": 1, "height": 60, "width": 60, "dtype": "uint16"}
    with rasterio.open(
        folder / "a_B02.tif", "w", crs="EPSG:32633", transform=Affine(20, 0, 0, 0, -20, 0), **profile
    ) as file:
        file.write(np.zeros((1, 60, 60), np.uint16))
    with pytest.raises(SourceFormatError, match=r"found \(1, 60, 60, 'uint16'\), expected \(1, 120, 120, 'uint16'\)"):
        read_band(folder, "B02")


def test_the_real_patches_are_as_the_reader_says(real_data: Path) -> None:
    patches = read_bigearthnet(real_data / "bigearthnet")
    assert len(patches) == 11
    assert {len(labels) for labels in patches.labels} == {1, 2, 3, 4}
    assert {box.epsg for box in patches.boxes} == {32629, 32634, 32635}
    for (name,), box in zip(patches.names, patches.boxes, strict=True):
        folder = real_data / "bigearthnet" / name
        with rasterio.open(folder / f"{name}_B02.tif") as raster:
            assert tuple(raster.bounds) == (box.west, box.south, box.east, box.north)
            assert raster.crs.to_epsg() == box.epsg
        for band, side in BAND_PX.items():
            values = read_band(folder, band)
            assert values.shape == (side, side)
            assert 0 < values.mean() < 10_000
