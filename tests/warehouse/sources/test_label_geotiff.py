from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from transforms.utm import unproject
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.sources import label_geotiff
from warehouse.sources.label_geotiff import LabelRaster


@pytest.fixture
def write_labels(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, codes: np.ndarray, affine: Affine, epsg: int = 4326, **profile: object) -> Path:
        path = tmp_path / name
        bands = codes if codes.ndim == 3 else codes[None]
        settings = {
            "driver": "GTiff", "dtype": codes.dtype, "count": len(bands), "height": bands.shape[1],
            "width": bands.shape[2], "crs": f"EPSG:{epsg}", "transform": affine,
        }  # fmt: skip
        with rasterio.open(path, "w", **(settings | profile)) as file:
            file.write(bands)
        return path

    return write


@pytest.mark.parametrize("block_px", [2048, 50])
def test_real_worldcover_against_rasterio(real_data: Path, monkeypatch: pytest.MonkeyPatch, block_px: int) -> None:
    monkeypatch.setattr(label_geotiff, "_BLOCK_PX", block_px)
    monkeypatch.setattr(label_geotiff, "_POINTS_AT_ONCE", 10 * block_px)
    path = real_data / "worldcover" / "g2_26729_worldcover.tif"
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(148.41, 148.44, 5000), rng.uniform(-34.392, -34.365, 5000)
    with rasterio.open(path) as dataset:
        box = dataset.bounds
        inside = (lon > box.left) & (lon < box.right) & (lat > box.bottom) & (lat < box.top)
        expected = np.array([v[0] for v in dataset.sample(zip(lon, lat, strict=True))], np.int32)
    codes = LabelRaster(path).sample(lon, lat)
    assert codes.dtype == np.int32
    assert 1000 < inside.sum() < 5000
    np.testing.assert_array_equal(codes[inside], expected[inside])
    assert (codes[~inside] == -1).all()
    assert set(codes[inside]) >= {10, 30, 40, 50}


def test_real_slovenia_labels_in_utm(real_data: Path) -> None:
    path = real_data / "pairs" / "slovenia_labels_lulc.tif"
    with rasterio.open(path) as dataset:
        values, affine = dataset.read(1), dataset.transform
    rows, cols = np.divmod(np.arange(values.size), values.shape[1])
    x, y = affine @ (cols + 0.5, rows + 0.5)
    codes = LabelRaster(path).sample(*unproject(x, y, 32633))
    np.testing.assert_array_equal(codes.reshape(values.shape), values)


@pytest.mark.parametrize("is_bottom_up", [True, False])
def test_cells_hold_their_edges(write_labels: Callable, is_bottom_up: bool) -> None:
    north_up = np.array([[1, 2], [3, 4]], np.uint8)
    affine = Affine(1, 0, 10, 0, 1, 20) if is_bottom_up else Affine(1, 0, 10, 0, -1, 22)
    raster = LabelRaster(write_labels("a.tif", north_up[::-1] if is_bottom_up else north_up, affine))
    lon = np.array([10.01, 10.99, 11.01, 10.5, 11.5, 9.99, 12.01, 10.5, 10.5])
    lat = np.array([21.99, 21.01, 21.5, 20.99, 20.01, 21.5, 21.5, 22.01, 19.99])
    assert raster.sample(lon, lat).tolist() == [1, 1, 2, 3, 4, -1, -1, -1, -1]


def test_tiles_fill_each_others_nodata(write_labels: Callable, tmp_path: Path) -> None:
    write_labels("t1.tif", np.array([[5, 0]], np.uint8), Affine(1, 0, 0, 0, -1, 1), nodata=0)
    write_labels("t2.tif", np.array([[6, 7, 0]], np.uint8), Affine(1, 0, 0, 0, -1, 1), nodata=0)
    raster = LabelRaster(tmp_path / "t*.tif")
    # first tile with data; then the next; nodata as stored where no tile says more; outside
    assert raster.sample([0.5, 1.5, 2.5, 3.5], [0.5] * 4).tolist() == [5, 7, 0, -1]


def test_tiles_of_different_zones(write_labels: Callable, tmp_path: Path) -> None:
    for zone, code in ((47, 1), (48, 2)):
        x, y = (800_000, 1_430_000) if zone == 47 else (170_000, 1_430_000)
        write_labels(f"{zone}.tif", np.full((50, 50), code, np.uint8), Affine(100, 0, x, 0, -100, y), 32600 + zone)
    lon, lat = unproject([802_000.0], [1_427_000.0], 32647)
    other_lon, other_lat = unproject([174_000.0], [1_427_000.0], 32648)
    raster = LabelRaster(tmp_path / "4?.tif")
    assert raster.sample([*lon, *other_lon, 0.0], [*lat, *other_lat, 0.0]).tolist() == [1, 2, -1]


def test_no_points(write_labels: Callable) -> None:
    path = write_labels("a.tif", np.ones((2, 2), np.uint8), Affine(1, 0, 0, 0, -1, 2))
    assert LabelRaster(path).sample([], []).shape == (0,)


def test_bad_rasters(write_labels: Callable, tmp_path: Path) -> None:
    affine = Affine(1, 0, 0, 0, -1, 2)
    with pytest.raises(SourceMissingError, match=r"none\*\.tif"):
        LabelRaster(tmp_path / "none*.tif")
    with pytest.raises(SourceFormatError, match="bands: found 3, expected 1"):
        _sample(write_labels("bands.tif", np.ones((3, 2, 2), np.uint8), affine))
    with pytest.raises(SourceFormatError, match="data type: found float32"):
        _sample(write_labels("float.tif", np.ones((2, 2), np.float32), affine))
    path = write_labels(
        "cut.tif", np.random.default_rng(0).integers(0, 9, (400, 400), np.uint8), Affine(0.1, 0, 0, 0, -0.1, 0)
    )
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(SourceFormatError, match=r"cut\.tif: length: found 20000 bytes, expected at least \d+ bytes"):
        LabelRaster(path).sample([39.0], [-39.0])


def _sample(path: Path) -> np.ndarray:
    return LabelRaster(path).sample([0.5], [0.5])
