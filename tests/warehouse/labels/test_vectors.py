from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from tests.warehouse.labels.label_worlds import EPSG, YEAR, open_warehouse, places_of
from warehouse.errors import SourceContentError
from warehouse.label_sources import open_patch_labels, open_pixel_labels, open_sampled_labels
from warehouse.labels.vectors import PolygonLabels

VECTOR = {"kind": "vector", "path": "labels/*.parquet", "years": {YEAR: YEAR}}
COVER = {**VECTOR, "column": "kind", "classes": {"water": "W", "tree": "T", "crop": "C"}}
LAND = {**VECTOR, "inside": "land", "outside": "water"}


def write(root: Path, shapes: list, kinds: list[Any] | None = None, name: str = "a.parquet") -> None:
    path = root / "labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {} if kinds is None else {"kind": kinds}
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=f"EPSG:{EPSG}").to_parquet(path)


def stripe(number: int) -> shapely.Polygon:
    """The stripes of 1 km of the raster's tests, as polygons."""
    west = 300_000 + 1000 * number
    return shapely.box(west, 1_399_000, west + 1000, 1_400_000)


def test_polygons_label_the_pixels_whose_centre_they_hold(tmp_path: Path) -> None:
    write(tmp_path, [stripe(0), stripe(1), stripe(2)], ["W", "T", "?"])
    source = open_pixel_labels(open_warehouse(tmp_path, COVER), "cover")
    assert isinstance(source, PolygonLabels)
    assert source.class_names == ("water", "tree", "crop")
    pixels, _ = places_of([300_005, 300_995, 301_005, 302_500, 299_000], [1_399_500] * 5)
    ids, split = source.label_pixels(pixels)
    assert ids.tolist() == [0, 0, 1, -1, -1]  # a value without a class, and ground outside, have no label
    assert ids.dtype == np.int16
    assert split.fold.tolist() == split.group.tolist() == [-1] * 5


def test_patches_have_the_shares_of_the_same_cells_as_with_rasters(tmp_path: Path) -> None:
    write(tmp_path, [stripe(0), stripe(1), stripe(2)], ["W", "T", "?"])
    source = open_patch_labels(open_warehouse(tmp_path, COVER), "cover")
    _, patches = places_of([300_500, 301_080, 302_000, 310_000], [1_399_500] * 4)
    labels, _ = source.label_patches(patches)
    assert labels.label.tolist() == [0, 1, 1, -1]
    np.testing.assert_allclose(labels.fractions[:3], [[1, 0, 0], [0.25, 0.75, 0], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(labels.valid_share, [1, 1, 0.5, 0])


def test_one_class_inside_and_another_outside(tmp_path: Path) -> None:
    write(tmp_path, [stripe(0)])
    source = open_patch_labels(open_warehouse(tmp_path, LAND), "cover")
    assert source.class_names == ("water", "land")
    pixels, patches = places_of([300_500, 301_080, 310_000], [1_399_500] * 3)
    labels, _ = source.label_patches(patches)
    assert labels.label.tolist() == [1, 0, 0]
    np.testing.assert_allclose(labels.fractions[:, 1], [1, 0.25, 0], atol=1e-6)
    assert labels.valid_share.tolist() == [1, 1, 1]
    ids, _ = open_pixel_labels(open_warehouse(tmp_path, LAND), "cover").label_pixels(pixels)
    assert ids.tolist() == [1, 0, 0]


def test_ground_of_an_unknown_class_is_not_outside(tmp_path: Path) -> None:
    write(tmp_path, [stripe(0), stripe(1)], ["?", "T"])
    source = open_pixel_labels(open_warehouse(tmp_path, COVER | {"outside": "other"}), "cover")
    assert source.class_names == ("other", "water", "tree", "crop")
    pixels, _ = places_of([300_500, 301_500, 302_500], [1_399_500] * 3)
    assert source.label_pixels(pixels)[0].tolist() == [-1, 2, 0]


def test_the_first_file_with_a_class_wins(tmp_path: Path) -> None:
    write(tmp_path, [stripe(0), stripe(1)], ["?", "W"], "a.parquet")
    write(tmp_path, [stripe(0), stripe(1), stripe(2)], ["T", "T", "T"], "b.parquet")
    source = open_pixel_labels(open_warehouse(tmp_path, COVER), "cover")
    pixels, _ = places_of([300_500, 301_500, 302_500], [1_399_500] * 3)
    assert source.label_pixels(pixels)[0].tolist() == [1, 0, 1]


def test_points_label_the_places_that_hold_them(tmp_path: Path) -> None:
    x = [300_500, 300_502, 300_630, 305_000, 300_400]
    write(tmp_path, [shapely.Point(east, 1_399_500) for east in x], ["W", "T", "T", "C", "?"])
    warehouse = open_warehouse(tmp_path, COVER)
    pixels, patches = places_of([300_500, 300_630, 304_000], [1_399_500] * 3)
    ids, _ = open_pixel_labels(warehouse, "cover").label_pixels(pixels)
    assert ids.tolist() == [0, 1, -1]  # water and tree in one pixel: the lower id
    labels, _ = open_patch_labels(warehouse, "cover").label_patches(patches)
    assert labels.label.tolist() == [1, 1, -1]
    np.testing.assert_allclose(labels.fractions[:2], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0]], atol=1e-6)
    assert labels.valid_share.tolist() == [1, 1, 0]


def test_points_say_nothing_of_the_ground_outside(tmp_path: Path) -> None:
    write(tmp_path, [shapely.Point(300_500, 1_399_500)])
    with pytest.raises(SourceContentError, match=r"points, and outside = 'water'.*labels\.cover\.outside"):
        open_pixel_labels(open_warehouse(tmp_path, LAND), "cover")


def test_provenance_tells_what_was_repaired_and_left_out(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    write(tmp_path, [stripe(0), bow_tie, stripe(1)], ["W", "T", "?"])
    record = open_patch_labels(open_warehouse(tmp_path, COVER), "cover").provenance(["core_grid__patches"])
    assert [file.path for file in record.sources] == ["a.parquet"]
    assert record.inputs == ("core_grid__patches",)
    assert len(record.notes) == 2
    assert "row 1 were mended" in record.notes[0]
    assert "1 of 3 features" in record.notes[1]


def test_labels_of_another_place_are_refused_unless_ground_outside_has_a_class(tmp_path: Path) -> None:
    write(tmp_path, [shapely.box(700_000, 0, 710_000, 10_000)], ["W"])
    warehouse = open_warehouse(tmp_path, COVER)
    for open_labels in (open_pixel_labels, open_patch_labels):
        with pytest.raises(
            SourceContentError, match=r"longitude 106\.80\.\.106\.89.*interest, longitude 102\.50\.\.104"
        ):
            open_labels(warehouse, "cover")
    _, patches = places_of([300_500], [1_399_500])
    source = open_patch_labels(open_warehouse(tmp_path, LAND), "cover")
    assert source.label_patches(patches)[0].label.tolist() == [0]
    assert source.provenance([]).notes == ("no polygon touches the area of interest: all of it is 'water'",)


def test_polygons_have_a_class_at_any_point_and_points_have_not(tmp_path: Path) -> None:
    write(tmp_path, [stripe(0)])
    source = open_sampled_labels(open_warehouse(tmp_path, LAND), "cover")
    assert source is not None
    pixels, _ = places_of([300_500, 310_000], [1_399_500] * 2)
    lon, lat = pixels.lon.reshape(2, 1), pixels.lat.reshape(2, 1)
    assert source.sample_classes(lon, lat).tolist() == [[1], [0]]
    write(tmp_path, [shapely.Point(300_500, 1_399_500)], ["W"])
    assert open_sampled_labels(open_warehouse(tmp_path, COVER), "cover") is None
