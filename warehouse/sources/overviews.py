"""Overviews of AlphaEarth rasters: renormalised means of the pixels below, stored in the file itself.

Belongs here: reading one level, north-up, and saying how to add it where it is missing. Does not: full resolution
(`aef_cog.py`), what a level is used for.
"""

from __future__ import annotations

import numpy as np
from rasterio.windows import Window

from transforms.windows import PixelWindow
from warehouse.errors import SourceFormatError
from warehouse.file_access import pin
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.sources.blocks import check_band_count
from warehouse.sources.rasters import open_raster, read_header, read_north_up


def read_overview(path: FilePath, product: Product, factor: int) -> PixelWindow:
    """Read a whole overview level of one raster.

    Args:
        path: an int8 raster, one band per dimension, bottom-up or north-up.
        product: registry entry.
        factor: pixels of full resolution along the edge of an overview pixel.

    Returns:
        North-up codes of the level, nodata where no pixel below is valid.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: the file has no such overview, or is damaged or another product's.
    """
    path = pin(path)  # both times the same version
    with open_raster(path) as dataset:
        levels = list(dataset.overviews(1))
        if factor not in levels:
            steps = " ".join(str(2**k) for k in range(1, factor.bit_length()))
            raise SourceFormatError(
                str(path), f"overview of {factor} x {factor} pixels", f"levels {levels}", f"levels up to {factor}",
                f"Add them: gdaladdo -r average {path.name} {steps} (averages codes: near enough for a preview).",
            )  # fmt: skip
    with open_raster(path, OVERVIEW_LEVEL=levels.index(factor)) as dataset:
        header = read_header(dataset, path)
        check_band_count(header, product)
        if header.dtypes != ("int8",):
            raise SourceFormatError(
                str(path), "data type", "/".join(header.dtypes), "int8", "Is this a file of another product?"
            )
        values, affine = read_north_up(dataset, header, Window(0, 0, header.width, header.height))
    nodata = np.int8(product.nodata if product.nodata is not None else -128)
    return PixelWindow(values, (values != nodata).all(axis=0), affine, header.epsg, str(path))
