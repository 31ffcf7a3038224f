from __future__ import annotations

import numpy as np
import pytest

from transforms import h3_index
from transforms.block_folds import TRAIN_ONLY
from transforms.label_rows import (
    GivenSplit,
    footprint_cells,
    no_split,
    patch_label_table,
    pixel_label_table,
    present_classes,
    single_class,
    value_label_table,
)
from transforms.labels import summarize_patches
from transforms.places import PatchPlaces, PixelPlaces
from transforms.utm import project, unproject

CLASSES = ("water", "trees", "crops")


def make_patches(side_m: float | list[float] = 320.0, epsg: tuple[int, ...] = (32647, 32648)) -> PatchPlaces:
    n = len(epsg)
    codes = np.array(epsg, np.int32)
    x, y = np.full(n, 300_000.0), np.full(n, 1_400_000.0)
    lon, lat = np.empty(n), np.empty(n)
    for i, code in enumerate(epsg):
        lon[i], lat[i] = (float(c) for c in unproject(x[i], y[i], code))
    nowhere = np.full(n, -1, np.int32)
    ids = np.arange(n).astype(np.uint64)
    return PatchPlaces(
        ids, np.full(n, "own"), nowhere, nowhere, lon, lat, codes, x, y, np.broadcast_to(side_m, n) * 1.0
    )


def make_pixels(n: int) -> PixelPlaces:
    lon, lat = np.linspace(102.0, 102.1, n), np.full(n, 12.5)
    return PixelPlaces(np.arange(n).astype(np.uint64), lon, lat, np.full(n, 32648, np.int32), *project(lon, lat, 32648))


def test_a_footprint_is_sampled_at_the_centres_of_its_cells() -> None:
    places = make_patches()
    lon, lat = footprint_cells(places)
    assert lon.shape == lat.shape == (2, 32 * 32)
    for i, epsg in enumerate(places.epsg):
        x, y = project(lon[i], lat[i], int(epsg))
        offsets = np.unique(np.round(x - places.x_m[i], 3))
        np.testing.assert_allclose(offsets, np.arange(-155, 156, 10), atol=1e-3)
        np.testing.assert_allclose(np.unique(np.round(y - places.y_m[i], 3)), offsets, atol=1e-3)
        assert len(np.unique(np.round(x + 1j * y, 3))) == 1024


@pytest.mark.parametrize(
    ("side_m", "cells"), [(10.0, 1), (4.0, 1), (80.0, 64), (640.0, 64**2), (5120.0, 64**2), (95.0, 10**2)]
)
def test_cells_are_about_ten_metres_and_at_most_64_a_side(side_m: float, cells: int) -> None:
    lon, _ = footprint_cells(make_patches(side_m))
    assert lon.shape == (2, cells)


def test_footprints_of_different_sides_share_the_number_of_cells() -> None:
    places = make_patches([100.0, 100.0, 400.0], epsg=(32648, 32648, 32648))
    lon, lat = footprint_cells(places)
    assert lon.shape == (3, 100)
    x, _ = project(lon[2], lat[2], 32648)
    assert np.ptp(x) == pytest.approx(400 - 40, abs=1e-3)  # each covers its own ground


def test_no_footprints_have_no_cells() -> None:
    lon, lat = footprint_cells(make_patches(epsg=()))
    assert len(lon) == len(lat) == 0


def test_one_class_for_a_whole_patch_equals_cells_of_one_class() -> None:
    ids = np.array([2, -1, 0], np.int16)
    found, expected = single_class(ids, 3), summarize_patches(np.repeat(ids[:, None], 9, axis=1), 3)
    for name in ("label", "purity", "fractions", "multi_label", "valid_share"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype


def test_rows_of_pixel_labels() -> None:
    places = make_pixels(4)
    split = GivenSplit(np.array([1, -1, 0, -1], np.int16), np.array([-1, 5, -1, 0], np.int32))
    table = pixel_label_table(places, np.array([1, -1, 0, 2], np.int16), split, "cover", CLASSES, is_simulated=True)
    assert table["label"].to_pylist() == [1, None, 0, 2]
    assert table["class_name"].to_pylist() == ["trees", None, "water", "crops"]
    assert table["given_fold"].to_pylist() == [1, None, 0, None]
    assert table["given_group"].to_pylist() == [None, 5, None, 0]
    assert table["pixel_id"].to_pylist() == [0, 1, 2, 3]
    assert table["label_source"].to_pylist() == ["cover"] * 4
    assert table["h3_r9"].to_pylist() == h3_index.ancestry(places.lon, places.lat, (9,))["h3_r9"].tolist()


def test_rows_of_patch_labels() -> None:
    ids = np.array([[0, 0, 2, -1], [-1, -1, -1, -1]], np.int16)
    labels = summarize_patches(ids, 3)
    table = patch_label_table(make_patches(), labels, no_split(2), "cover", CLASSES, is_simulated=False)
    first, second = table.to_pylist()
    assert (first["label"], first["class_name"], first["valid_share"]) == (0, "water", 0.75)
    assert first["purity"] == pytest.approx(2 / 3)
    assert first["fractions"] == pytest.approx([2 / 3, 0, 1 / 3])
    assert first["multi_label"] == [True, False, True]
    assert (second["label"], second["class_name"], second["valid_share"]) == (None, None, 0)
    assert np.isnan(second["fractions"]).all()
    assert second["multi_label"] == [False] * 3
    assert (first["given_fold"], first["given_group"]) == (None, None)


@pytest.mark.parametrize("count", [0, 3])
def test_labels_without_a_split(count: int) -> None:
    split = no_split(count)
    assert split.fold.tolist() == split.group.tolist() == [-1] * count
    table = pixel_label_table(make_pixels(count), np.full(count, -1, np.int16), split, "c", CLASSES, is_simulated=True)
    assert table["given_fold"].null_count == table["label"].null_count == count


def test_patches_of_several_classes_have_no_majority() -> None:
    present = np.array([[True, False, True], [False, True, False], [False, False, False]])
    labels = present_classes(present)
    assert labels.label.tolist() == [-1, 1, -1]
    assert labels.valid_share.tolist() == [1, 1, 0]
    np.testing.assert_array_equal(labels.multi_label, present)
    np.testing.assert_array_equal(labels.purity, np.array([np.nan, 1, np.nan], np.float32))
    np.testing.assert_array_equal(labels.fractions[1], [0, 1, 0])
    assert np.isnan(labels.fractions[[0, 2]]).all()


def test_the_training_part_of_a_split_is_not_lost() -> None:
    split = GivenSplit(np.array([0, TRAIN_ONLY, -1], np.int16), np.full(3, -1, np.int32))
    table = pixel_label_table(make_pixels(3), np.zeros(3, np.int16), split, "a", CLASSES, is_simulated=False)
    assert table["given_fold"].to_pylist() == [0, -2, None]


def test_numbers_of_pixels_become_rows() -> None:
    values = np.array([[1.5, np.nan], [-3, 4]], np.float32)
    table = value_label_table(make_pixels(2), values, no_split(2), "radar", is_simulated=True)
    assert table["label_source"].to_pylist() == ["radar"] * 2
    np.testing.assert_array_equal(np.array(table["values"].to_pylist()), values)
    assert table["values"].combine_chunks().flatten().null_count == 0
    assert table["is_simulated"].to_pylist() == [True, True]
