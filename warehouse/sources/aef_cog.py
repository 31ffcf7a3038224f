"""AlphaEarth annual embeddings as Cloud-Optimized GeoTIFFs: 64 int8 bands, 10 m, stored bottom-up.

Source: Google / Google DeepMind, mirrored on Source Cooperative; CC-BY-4.0. Layout: `design/formats.md`, 1.
Belongs here: the rules that such a file must keep. Does not: the index (`aef_index.py`), scheduling of reads
(`blocks.py`), dequantisation (`transforms/quantization.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.quantization import NODATA
from warehouse.sources.blocks import BlockRasterSource, check_band_count, check_raster
from warehouse.sources.nodata import count_nodata_bands
from warehouse.sources.rasters import RasterHeader

#: A pixel pitch that differs by less is a rounding of the header, metres.
_PITCH_TOLERANCE_M = 1e-6


class AefCogSource(BlockRasterSource):
    """The COG tree of a quantised pixel product; see `BlockRasterSource` for how it is read.

    Windows hold int8 codes as stored; nodata is -128 in all bands of a pixel or in none.
    """

    def _check_header(self, header: RasterHeader, row: Mapping[str, Any]) -> None:
        check_band_count(header, self.product)
        problems: list[tuple[str, object, object]] = []
        if header.dtypes != ("int8",):
            problems.append(("data type", "/".join(header.dtypes), "int8"))
        pitch = (header.affine.a, abs(header.affine.e))
        if any(abs(p - (self.product.pixel_m or 0.0)) > _PITCH_TOLERANCE_M for p in pitch):
            problems.append(("pixel pitch", f"{pitch[0]} x {pitch[1]} m", f"{self.product.pixel_m} m"))
        if header.nodata is not None and header.nodata != self.product.nodata:
            problems.append(("declared nodata", header.nodata, self.product.nodata))
        check_raster(header, row, problems)

    def _describe_oddities(self, header: RasterHeader) -> list[str]:
        if header.is_bottom_up:
            return []
        return [
            f"{header.path.name}: top-down (row 0 is the northernmost), published files are bottom-up; read as "
            "north-up. Was it written again by a tool?"
        ]

    def _prepare(
        self, values: npt.NDArray[Any], header: RasterHeader
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.integer]]:
        nodata = np.int8(self.product.nodata if self.product.nodata is not None else NODATA)
        return values, count_nodata_bands(values, nodata)
