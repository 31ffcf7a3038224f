from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from transforms.utm import UtmBox
from warehouse.errors import SourceContentError, SourceFormatError
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources import open_pixel_source
from warehouse.sources.index import read_index
from warehouse.sources.pixel_geotiff import PixelGeotiffSource

FIELDS = {"grain": "pixel", "layout": "pixel_geotiff", "pixel_m": 10.0, "years": (2024,)}


def open_source(product: Product, root: Path) -> PixelGeotiffSource:
    source = SourceSettings(root=root, files="*.tif")
    opened = open_pixel_source(product, source, read_index(product, source, [2024]))
    assert isinstance(opened, PixelGeotiffSource)
    return opened


def test_real_presto_raster_against_rasterio(real_data: Path, make_product: Callable[..., Product]) -> None:
    product = make_product(dims=128, **FIELDS)
    path = real_data / "pairs" / "slovenia_pixels_presto.tif"
    source = SourceSettings(root=path.parent, files=path.name)
    opened = open_pixel_source(product, source, read_index(product, source, [2024]))
    assert isinstance(opened, PixelGeotiffSource)
    box = UtmBox(32633, 465_000, 5_079_000, 467_000, 5_081_000)
    windows = list(opened.iter_blocks(2024, [box], block_px=64))
    assert [w.values.shape for w in windows] == [(128, 64, 64), (128, 64, 32), (128, 32, 64), (128, 32, 32)]
    with rasterio.open(path) as dataset:
        for window in windows:
            x, y = window.centers()
            points = [(px, py) for py in y[::17] for px in x[::13]]
            expected = np.array(list(dataset.sample(points)))
            found = window.vectors()[::17, ::13].reshape(-1, 128)
            np.testing.assert_array_equal(found, expected)
        assert windows[0].affine == dataset.transform
        assert windows[3].affine.c == pytest.approx(dataset.transform.c + 64 * dataset.transform.a)
        assert windows[3].affine.f == pytest.approx(dataset.transform.f + 64 * dataset.transform.e)


@pytest.mark.parametrize("nodata", [-9999.0, None])
@pytest.mark.parametrize("is_bottom_up", [True, False])
def test_nan_and_declared_nodata(
    tmp_path: Path, make_product: Callable[..., Product], write_tiff: Callable, nodata: float | None, is_bottom_up: bool
) -> None:
    path = write_tiff(tmp_path / "a.tif", bands=4, dtype="float32", nodata=nodata, size=64, is_bottom_up=is_bottom_up)
    with rasterio.open(path, "r+") as file:
        values = file.read()
        north = slice(-1, None) if is_bottom_up else slice(0, 1)
        values[:, north, 5] = np.nan
        if nodata is not None:
            values[:, north, 6] = nodata
        file.write(values)
    product = make_product(dims=4, **FIELDS)
    (window,) = open_source(product, tmp_path).iter_blocks(2024, [UtmBox(32648, 0, 0, 1e6, 1e7)])
    expected = {5, 6} if nodata is not None else {5}
    assert set(np.flatnonzero(~window.valid[0])) == expected
    assert window.valid[1:].all()
    assert np.isnan(window.values[:, 0, 5]).all()
    assert window.values.dtype == np.float32


def test_partly_nan_pixel_is_refused(
    tmp_path: Path, make_product: Callable[..., Product], write_tiff: Callable
) -> None:
    path = write_tiff(tmp_path / "a.tif", bands=4, dtype="float32", nodata=None, size=64)
    with rasterio.open(path, "r+") as file:
        band = file.read(2)
        band[0, 0] = np.nan
        file.write(band, 2)
    product = make_product(dims=4, **FIELDS)
    with pytest.raises(SourceContentError, match=r"a\.tif: mixed nodata bands: found 1 pixels.*with 1 of 4 bands"):
        list(open_source(product, tmp_path).iter_blocks(2024, [UtmBox(32648, 0, 0, 1e6, 1e7)]))


def test_degrees_are_refused_when_read_and_listed_without_bounds(
    tmp_path: Path, make_product: Callable[..., Product], write_tiff: Callable
) -> None:
    write_tiff(tmp_path / "a.tif", bands=4, dtype="float32", nodata=None, size=64, epsg=4326)
    product = make_product(dims=4, **FIELDS)
    index = read_index(product, SourceSettings(root=tmp_path, files="*.tif"), [2024])
    assert index["utm_west_m"].to_pylist() == [None]
    with pytest.raises(SourceFormatError, match=r"a\.tif: CRS: found EPSG:4326, expected an EPSG code with metres"):
        list(open_source(product, tmp_path).iter_blocks(2024, [UtmBox(32648, 0, 0, 1e6, 1e7)]))


def test_integers_are_refused(tmp_path: Path, make_product: Callable[..., Product], write_tiff: Callable) -> None:
    write_tiff(tmp_path / "a.tif", bands=4, size=64)
    product = make_product(dims=4, **FIELDS)
    with pytest.raises(SourceFormatError, match="data type: found int8, expected float32 or float64"):
        open_source(product, tmp_path).read_window("a.tif", UtmBox(32648, 0, 0, 1e6, 1e7))


def test_patch_products_have_no_pixel_source(tmp_path: Path, products: dict[str, Product]) -> None:
    index = read_index(
        products["aef_table"].model_copy(update={"layout": "pixel_geotiff", "years": (1999,)}),
        SourceSettings(root=_touch(tmp_path)), [2024],
    )  # fmt: skip
    with pytest.raises(SourceFormatError, match="layout: found eg_geoparquet"):
        open_pixel_source(products["eg"], SourceSettings(root=tmp_path), index)


def _touch(folder: Path) -> Path:
    (folder / "a.tif").write_bytes(b"")
    return folder
