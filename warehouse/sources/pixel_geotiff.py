"""Pixel vectors of any model as float GeoTIFFs: one band per dimension, one or more files a year.

Belongs here: the rules that such a file must keep. Does not: scheduling of reads (`blocks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from warehouse.sources.blocks import BlockRasterSource, check_band_count, check_raster
from warehouse.sources.rasters import RasterHeader

_FLOATS = ("float32", "float64")


class PixelGeotiffSource(BlockRasterSource):
    """Float rasters of a pixel product; see `BlockRasterSource` for how they are read.

    Any metric CRS with an EPSG code and any pixel pitch; north-up or bottom-up. Windows hold float32 with NaN
    where the file has NaN, infinity or its declared nodata value: in all bands of a pixel or in none.
    """

    def _check_header(self, header: RasterHeader, row: Mapping[str, Any]) -> None:
        check_band_count(header, self.product)
        problems: list[tuple[str, object, object]] = []
        if not set(header.dtypes) <= set(_FLOATS):
            problems.append(("data type", "/".join(header.dtypes), " or ".join(_FLOATS)))
        check_raster(header, row, problems)

    def _prepare(
        self, values: npt.NDArray[Any], header: RasterHeader
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.integer]]:
        is_missing = ~np.isfinite(values)
        if header.nodata is not None and not np.isnan(header.nodata):
            is_missing |= values == np.asarray(header.nodata, values.dtype)
        vectors = values.astype(np.float32, copy=False)
        if is_missing.any():
            vectors = np.where(is_missing, np.float32(np.nan), vectors)
        return vectors, is_missing.sum(axis=0)
