from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from transforms.utm import UtmBox
from transforms.windows import PixelWindow
from warehouse.errors import OverlappingSourcesError
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources import open_pixel_source
from warehouse.sources.aef_cog import AefCogSource
from warehouse.sources.index import read_index
from warehouse.sources.rasters import RasterHeader, list_blocks, window_of

URL = "s3://us-west-2.opendata.source.coop/tge-labs/aef/v1/annual/{year}/{zone}/{stem}.tiff"


@pytest.fixture
def expected_codes(code_at: Callable[..., np.ndarray]) -> Callable[[PixelWindow], np.ndarray]:
    """Codes by ground, evaluated at the window's own pixel centres."""
    return lambda window: code_at(*window.centers())


@pytest.fixture
def open_tree(
    tmp_path: Path, products: dict[str, Product], write_tiff: Callable, write_index: Callable, make_aef_row: Callable
) -> Callable[..., AefCogSource]:
    """Write rasters with their index and open them as a source."""

    def build(*files: dict, **tiff: object) -> AefCogSource:
        rows = []
        for number, place in enumerate(files):
            epsg, year = place.get("epsg", 32648), place.pop("year", 2024)
            zone = f"{epsg % 100}{'N' if epsg < 32700 else 'S'}"
            stem = f"image{number}-0000000000-0000000000"
            write_tiff(tmp_path / f"annual/{year}/{zone}/{stem}.tiff", **place, **tiff)
            rows.append(make_aef_row(URL.format(year=year, zone=zone, stem=stem), year=year, **place))
        write_index(tmp_path / "annual/aef_index.parquet", rows)
        source = SourceSettings(root=tmp_path)
        opened = open_pixel_source(products["aef"], source, read_index(products["aef"], source, [2023, 2024]))
        assert isinstance(opened, AefCogSource)
        return opened

    return build


@pytest.mark.parametrize("is_bottom_up", [True, False])
def test_a_plan_says_where_its_windows_will_be(open_tree: Callable, is_bottom_up: bool) -> None:
    source = open_tree({"epsg": 32648}, {"epsg": 32647}, is_bottom_up=is_bottom_up)
    boxes = [UtmBox(epsg, 200_000, 1_400_000, 200_700, 1_400_700) for epsg in (32648, 32647)]
    plan = source.plan_blocks(2024, boxes, 32)
    windows = list(source.read_blocks(plan))
    assert len(plan) > 4
    assert [block.extent for block in plan] == [window.bounds for window in windows]
    assert {block.extent.epsg for block in plan} == {32647, 32648}
    # in any order
    again = next(source.read_blocks(plan[::-1]))
    np.testing.assert_array_equal(again.values, windows[-1].values)


@pytest.mark.parametrize("is_bottom_up", [True, False])
@pytest.mark.parametrize("place", [{"epsg": 32648}, {"epsg": 32755, "south": 6_100_000.0}])
def test_windows_are_north_up_in_both_hemispheres(
    open_tree: Callable, expected_codes: Callable, place: dict, is_bottom_up: bool
) -> None:
    source = open_tree(place, is_bottom_up=is_bottom_up)
    south = place.get("south", 1_400_000.0)
    everything = UtmBox(place["epsg"], 200_000, south, 200_960, south + 960)
    (window,) = source.iter_blocks(2024, [everything])
    assert window.values.shape == (64, 96, 96)
    assert window.values.dtype == np.int8
    assert window.bounds == everything
    assert window.affine.e == -10
    np.testing.assert_array_equal(window.values, expected_codes(window))
    # the first pixel of the array is the north-western one on the ground
    north_west = (20_000 * 7 + (int(south) // 10 + 95) * 13) % 255 - 127
    assert window.values[0, 0, 0] == north_west
    # rows may be a view in reverse, pixels of a row stand side by side
    assert window.values.strides[2] == 1


def test_bottom_up_file_is_stored_as_published(open_tree: Callable, tmp_path: Path) -> None:
    open_tree({})
    (path,) = tmp_path.rglob("*.tiff")
    with rasterio.open(path) as dataset:
        assert dataset.transform.e == 10
        assert dataset.bounds.bottom > dataset.bounds.top  # inverted, as the producer says
        assert dataset.interleaving.value.lower() == "band"


def test_window_covers_the_box_with_whole_pixels(open_tree: Callable, expected_codes: Callable) -> None:
    source = open_tree({})
    path = "annual/2024/48N/image0-0000000000-0000000000.tiff"
    window = source.read_window(path, UtmBox(32648, 200_105, 1_400_205, 200_325, 1_400_310))
    assert window.bounds == UtmBox(32648, 200_100, 1_400_200, 200_330, 1_400_310)
    np.testing.assert_array_equal(window.values, expected_codes(window))


def test_each_block_is_read_once_for_overlapping_boxes(open_tree: Callable, expected_codes: Callable) -> None:
    source = open_tree({})
    boxes = [
        UtmBox(32648, 200_000, 1_400_000, 200_330, 1_400_100),  # blocks (0, 0) and (0, 1)
        UtmBox(32648, 200_310, 1_400_000, 200_500, 1_400_320),  # (0, 0), (0, 1), ends on a block edge
        UtmBox(32648, 200_900, 1_400_900, 300_000, 1_500_000),  # (2, 2), cut by the file
        UtmBox(32647, 200_000, 1_400_000, 200_900, 1_400_900),  # another zone
    ]
    windows = list(source.iter_blocks(2024, boxes, block_px=32))
    assert [(w.bounds.west, w.bounds.south) for w in windows] == [
        (200_000, 1_400_000),
        (200_320, 1_400_000),
        (200_640, 1_400_640),
    ]
    for window in windows:
        np.testing.assert_array_equal(window.values, expected_codes(window))


def test_year_and_zone_choose_the_files(open_tree: Callable) -> None:
    source = open_tree({"year": 2023}, {"year": 2024}, {"year": 2024, "epsg": 32647})
    box = UtmBox(32648, 200_000, 1_400_000, 200_960, 1_400_960)
    assert [Path(w.source).parts[-3:-1] for w in source.iter_blocks(2024, [box])] == [("2024", "48N")]
    assert [Path(w.source).parts[-3:-1] for w in source.iter_blocks(2023, [box])] == [("2023", "48N")]
    assert list(source.iter_blocks(2022, [box])) == []


def test_neighbours_are_read_by_path_without_overlap(open_tree: Callable) -> None:
    source = open_tree({}, {"west": 200_960.0})
    windows = list(source.iter_blocks(2024, [UtmBox(32648, 200_900, 1_400_000, 201_000, 1_400_100)]))
    assert [w.bounds.west for w in windows] == [200_000, 200_960]


def test_a_reissued_image_is_refused(open_tree: Callable) -> None:
    source = open_tree({}, {"west": 200_640.0})
    with pytest.raises(OverlappingSourcesError, match=r"image0.*image1.*0\.31 km2.*remove the other"):
        list(source.iter_blocks(2024, [UtmBox(32648, 200_000, 1_400_000, 202_000, 1_401_000)]))


def test_nodata_pixels_are_invalid_and_nan_when_dequantised(open_tree: Callable) -> None:
    def sea(values: np.ndarray) -> None:
        values[:, :10] = -128  # the ten southernmost rows

    (window,) = open_tree({}, change=sea).iter_blocks(2024, [UtmBox(32648, 200_000, 1_400_000, 200_960, 1_400_960)])
    assert not window.valid[-10:].any()
    assert window.valid[:-10].all()
    assert np.isnan(window.vectors()[-1, 0]).all()


def test_sparse_raster_of_published_size(
    tmp_path: Path, products: dict[str, Product], make_aef_row: Callable, write_index: Callable
) -> None:
    path = tmp_path / "annual/2024/48N/x0abc-0000000000-0000008192.tiff"
    path.parent.mkdir(parents=True)
    profile = {
        "driver": "GTiff", "dtype": "int8", "count": 64, "width": 8192, "height": 8192, "tiled": True,
        "blockxsize": 1024, "blockysize": 1024, "interleave": "band", "compress": "zstd", "nodata": -128,
        "crs": "EPSG:32648", "transform": Affine(10, 0, 200_000, 0, 10, 1_400_000), "SPARSE_OK": True,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        block = np.full((64, 1024, 1024), 5, np.int8)
        block[:, 0, 0] = 77  # the south-western pixel of the block
        file.write(block, window=rasterio.windows.Window(1024, 2048, 1024, 1024))
    write_index(
        tmp_path / "annual/aef_index.parquet", [make_aef_row(f"s3://x/{path.relative_to(tmp_path)}", size=8192)]
    )
    source = SourceSettings(root=tmp_path)
    opened = open_pixel_source(products["aef"], source, read_index(products["aef"], source, [2024]))
    assert isinstance(opened, AefCogSource)
    blocks = list(opened.iter_blocks(2024, [UtmBox(32648, 210_300, 1_420_500, 210_310, 1_420_510)]))
    assert [(w.values.shape, int(w.valid.sum())) for w in blocks] == [((64, 1024, 1024), 1024**2)]
    assert blocks[0].values[63, -1, 0] == 77
    assert blocks[0].bounds == UtmBox(32648, 210_240, 1_420_480, 220_480, 1_430_720)
    (empty,) = opened.iter_blocks(2024, [UtmBox(32648, 200_000, 1_400_000, 200_010, 1_400_010)])
    assert not empty.valid.any()


metres = st.floats(-300, 1300, allow_nan=False).map(lambda value: round(value, 2))


@given(metres, metres, metres, metres, st.booleans())
def test_window_of_is_the_least_cover(x0: float, x1: float, y0: float, y1: float, is_bottom_up: bool) -> None:
    west, east, south, north = min(x0, x1), max(x0, x1) + 0.01, min(y0, y1), max(y0, y1) + 0.01
    affine = Affine(10, 0, 0, 0, 10, 0) if is_bottom_up else Affine(10, 0, 0, 0, -10, 960)
    header = RasterHeader(Path("x"), 32648, affine, 96, 96, 64, ("int8",), None, 32)
    box = UtmBox(32648, west, south, east, north)
    touched = {
        (row, col)
        for row in range(96)
        for col in range(96)
        if (edge := affine.f + affine.e * row) is not None
        and min(edge, edge + affine.e) < north - 1e-4
        and max(edge, edge + affine.e) > south + 1e-4
        and col * 10 < east - 1e-4
        and (col + 1) * 10 > west + 1e-4
    }
    window = window_of(header, box)
    found = set()
    if window is not None:
        rows = range(window.row_off, window.row_off + window.height)
        found = {(row, col) for row in rows for col in range(window.col_off, window.col_off + window.width)}
    assert touched == found
    blocks = list_blocks(header, [box], 32)
    assert {(b.row_off // 32, b.col_off // 32) for b in blocks} == {(row // 32, col // 32) for row, col in touched}
