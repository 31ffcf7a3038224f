"""Nodata of pixels: in all bands or in none.

Belongs here: counting nodata bands of quantised pixels, and refusing pixels that have some. Does not: what nodata is in
a product (`products.toml`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from affine import Affine

from warehouse.errors import SourceContentError


def count_nodata_bands(values: npt.NDArray[np.int8], nodata: np.int8) -> npt.NDArray[np.int32]:
    """Count the bands of each pixel that hold nodata.

    Args:
        values: int8 (band, height, width).
        nodata: the least int8, so that a minimum over bands finds pixels with any; the rare rest is counted.

    Returns:
        int32 (height, width).
    """
    has_any = values.min(axis=0) == nodata
    missing = np.zeros(has_any.shape, np.int32)
    if has_any.any():
        is_all = values.max(axis=0) == nodata
        missing[is_all] = len(values)
        is_mixed = has_any & ~is_all
        if is_mixed.any():
            missing[is_mixed] = (values[:, is_mixed] == nodata).sum(axis=0)
    return missing


def check_whole_pixels(source: str, missing: npt.NDArray[np.integer], bands: int, affine: Affine, epsg: int) -> None:
    """Refuse pixels with nodata in some bands only.

    Args:
        source: file, for the message.
        missing: int (height, width), nodata bands of each pixel.
        bands: of a pixel.
        affine: pixel corner to metres.
        epsg: CRS of `affine`.

    Raises:
        SourceContentError: there are such pixels.
    """
    is_mixed = (missing != 0) & (missing != bands)
    if is_mixed.any():
        rows, cols = np.nonzero(is_mixed)
        x, y = affine @ (cols[0] + 0.5, rows[0] + 0.5)
        raise SourceContentError(
            source,
            [
                f"mixed nodata bands: found {len(rows)} pixels with nodata in some bands only, "
                f"the first at x {x:.1f}, y {y:.1f} (EPSG:{epsg}) "
                f"with {missing[rows[0], cols[0]]} of {bands} bands, "
                "expected nodata in all bands or in none"
            ],
            "Download it again, or set all bands of these pixels to nodata.",
        )
