from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from tests.warehouse.labels.label_worlds import YEAR, open_warehouse, patches_at
from tests.warehouse.sources.test_bigearthnet import v2_rows, write_patch
from transforms.bigearthnet import CLASSES_19, CLASSES_43
from transforms.label_rows import patch_label_table
from transforms.places import PatchPlaces
from transforms.utm import unproject
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.features import read_labelled_units
from warehouse.label_sources import open_patch_labels
from warehouse.layout import PartitionKey
from warehouse.store import Warehouse

SPLIT = {"train.csv": "a\n", "val.csv": "b\n", "test.csv": "c\nd\n"}


def v1_label(root: Path, **changes: Any) -> dict[str, Any]:
    return {"kind": "bigearthnet", "path": root / "patches", "years": {YEAR: YEAR}} | changes


def write_four(root: Path) -> None:
    """Four patches of 1.2 km side by side, in one row."""
    labels = (["Pastures", "Port areas"], ["Pastures"], ["Sea and ocean", "Salines"], ["Airports"])
    for number, (name, of_patch) in enumerate(zip("abcd", labels, strict=True)):
        west = 600_000 + 1_200 * number
        corners = {"ulx": west, "uly": 1_401_200, "lrx": west + 1_200, "lry": 1_400_000}
        write_patch(root / "patches", name, of_patch, coordinates=corners, projection="EPSG:32648")


def write_lists(root: Path, lists: dict[str, str]) -> Path:
    folder = root / "lists"
    folder.mkdir()
    for name, text in lists.items():
        (folder / name).write_text(text)
    return folder


def centres(*x_m: float) -> PatchPlaces:
    lon, lat = unproject(np.array(x_m, float), np.full(len(x_m), 1_400_600.0), 32648)
    return patches_at(np.asarray(lon).tolist(), np.asarray(lat).tolist())


def open_with_ids(root: Path, label: dict[str, Any], source_ids: list[str], places: PatchPlaces) -> Warehouse:
    """Open a warehouse whose stored patches at those places have these ids."""
    warehouse = open_warehouse(root, label)
    spec = warehouse.specs["core_chips__patches"]
    rows = declared_rows(spec, len(places), np.random.default_rng(0))
    for name, values in {"patch_id": pa.array(places.patch_id), "source_id": pa.array(source_ids)}.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, values)
    warehouse.write(spec.name, PartitionKey(YEAR, "here"), rows, PROVENANCE)
    shards = declared_rows(warehouse.specs["core_grid__shards"], 1, np.random.default_rng(0))
    shards = shards.set_column(0, "shard", pa.array(["here"]))
    warehouse.write("core_grid__shards", PartitionKey(), shards, PROVENANCE)
    return warehouse


def names_of(flags: np.ndarray, classes: tuple[str, ...]) -> list[list[str]]:
    return [[name for name, flag in zip(classes, row, strict=True) if flag] for row in flags]


def test_patches_are_matched_by_their_centre(tmp_path: Path) -> None:
    write_four(tmp_path)
    places = centres(600_600, 601_300, 603_599, 604_000, 599_000)
    source = open_patch_labels(open_with_ids(tmp_path, v1_label(tmp_path), ["0"] * 5, places), "cover")
    assert source.class_names == CLASSES_19
    labels, split = source.label_patches(places)
    sea = ["Coastal wetlands", "Marine waters"]
    assert names_of(labels.multi_label, CLASSES_19) == [["Pastures"], ["Pastures"], sea, [], []]
    assert labels.valid_share.tolist() == [1, 1, 1, 0, 0]  # no class of the 19 is no label
    assert labels.label.tolist() == [4, 4, -1, -1, -1]
    assert split.fold.tolist() == [-1] * 5
    notes = source.provenance([]).notes
    assert any("1 patches have none of the 19 classes" in note for note in notes)
    assert any("labels of 1200 m patches stand at patches of 320 m" in note for note in notes)


def test_all_forty_three_classes_may_be_kept(tmp_path: Path) -> None:
    write_four(tmp_path)
    places = centres(600_600, 604_000)
    label = v1_label(tmp_path, nomenclature=43)
    source = open_patch_labels(open_with_ids(tmp_path, label, ["0"] * 2, places), "cover")
    labels, _ = source.label_patches(places)
    assert names_of(labels.multi_label, CLASSES_43) == [["Port areas", "Pastures"], ["Airports"]]


def test_official_splits_become_one_tested_fold(tmp_path: Path) -> None:
    write_four(tmp_path)
    places = centres(600_600, 601_800, 603_000, 604_200)
    label = v1_label(tmp_path, lists=write_lists(tmp_path, SPLIT), nomenclature=43)
    source = open_patch_labels(open_with_ids(tmp_path, label, ["0"] * 4, places), "cover")
    _, split = source.label_patches(places)
    assert split.fold.tolist() == [-2, -2, 0, 0]


@pytest.mark.parametrize("is_kept", [False, True])
def test_snow_and_cloud_are_left_out_unless_asked_for(tmp_path: Path, is_kept: bool) -> None:
    write_four(tmp_path)
    places = centres(600_600, 601_800, 603_000)
    lists = write_lists(tmp_path, SPLIT | {"patches_with_seasonal_snow.csv": "a\nc\n"})
    label = v1_label(tmp_path, lists=lists, keep_snow_and_cloud=is_kept)
    source = open_patch_labels(open_with_ids(tmp_path, label, ["0"] * 3, places), "cover")
    labels, split = source.label_patches(places)
    assert labels.valid_share.tolist() == ([1, 1, 1] if is_kept else [0, 1, 0])
    assert split.fold.tolist() == ([-2, -2, 0] if is_kept else [-1, -2, -1])
    assert any("2 patches with snow" in note for note in source.provenance([]).notes) != is_kept


def test_patches_are_matched_by_name_in_either_version(tmp_path: Path) -> None:
    pq.write_table(v2_rows(), tmp_path / "metadata.parquet")
    places = centres(600_600, 601_800, 603_000)
    label = v1_label(tmp_path, path=tmp_path / "metadata.parquet")
    source = open_patch_labels(open_with_ids(tmp_path, label, ["C", "x", "b"], places), "cover")
    labels, split = source.label_patches(places)
    assert names_of(labels.multi_label, CLASSES_19) == [["Pastures"], [], []]  # b has snow
    assert split.fold.tolist() == [0, -1, -1]


def test_without_names_and_footprints_nothing_can_be_matched(tmp_path: Path) -> None:
    pq.write_table(v2_rows(), tmp_path / "metadata.parquet")
    places = centres(600_600)
    label = v1_label(tmp_path, path=tmp_path / "metadata.parquet")
    source = open_patch_labels(open_with_ids(tmp_path, label, ["0"], places), "cover")
    with pytest.raises(SourceMissingError, match=r"no patch name among the ids of 'chips'.*products\.chips\.id_column"):
        source.label_patches(places)


def test_nineteen_classes_cannot_become_forty_three(tmp_path: Path) -> None:
    pq.write_table(v2_rows(), tmp_path / "metadata.parquet")
    label = v1_label(tmp_path, path=tmp_path / "metadata.parquet", nomenclature=43)
    with pytest.raises(SourceFormatError, match=r"found 19, expected 43.*labels\.cover\.nomenclature = 19"):
        open_patch_labels(open_warehouse(tmp_path, label), "cover")


def test_the_real_patches_label_places_in_them(tmp_path: Path, real_data: Path) -> None:
    label = v1_label(tmp_path, path=real_data / "bigearthnet")
    # the centre of a patch at 53 N in zone 29, with Pastures and arable land
    lon, lat = unproject(np.array([643_800.0]), np.array([5_797_440.0]), 32629)
    places = patches_at(np.asarray(lon).tolist(), np.asarray(lat).tolist())
    source = open_patch_labels(open_with_ids(tmp_path, label, ["0"], places), "cover")
    labels, _ = source.label_patches(places)
    assert names_of(labels.multi_label, CLASSES_19) == [["Arable land", "Pastures"]]


def test_a_patch_of_several_classes_is_a_unit_without_a_single_class(tmp_path: Path) -> None:
    write_four(tmp_path)
    places = centres(603_000, 603_100)  # both in a patch of two classes
    warehouse = open_with_ids(tmp_path, v1_label(tmp_path), ["0"] * 2, places)
    source = open_patch_labels(warehouse, "cover")
    labels, split = source.label_patches(places)
    rows = patch_label_table(places, labels, split, "cover", source.class_names, is_simulated=False)
    warehouse.write("core_label_cover__patches", PartitionKey(YEAR, "here"), rows, source.provenance([]))
    found = read_labelled_units(warehouse, "patch", "cover", YEAR)
    assert found is not None
    assert found.units.label.tolist() == [-1, -1]
    assert found.valid_share.tolist() == [1.0, 1.0]
    stored = warehouse.read("core_label_cover__patches", PartitionKey(YEAR, "here"))
    assert stored["valid_share"].to_pylist() == [1.0, 1.0]
    assert [sum(flags) for flags in stored["multi_label"].to_pylist()] == [2, 2]
