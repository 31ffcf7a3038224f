"""Small pictures of places, for the UI.

Belongs here: arrays to PNG bytes. Does not: charts and maps of the report (`transforms/report/`).
"""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

_WIDTH = 320


def draw_places(lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64], values: npt.NDArray[np.floating]) -> bytes:
    """Draw the mean of a value over a grid of places, north up.

    Args:
        lon: (n,) degrees.
        lat: (n,) degrees.
        values: (n,), NaN = nodata.

    Returns:
        PNG bytes, 320 px wide; places without data are white.
    """
    usable = np.isfinite(values)
    lon, lat, values = lon[usable], lat[usable], values[usable]
    width_deg = max(float(np.ptp(lon)), 1e-6) if len(lon) else 1.0
    height_deg = max(float(np.ptp(lat)), 1e-6) if len(lat) else 1.0
    # no more cells than places, so that sparse samples do not look like noise
    cells = int(np.clip(np.sqrt(max(len(lon), 1)), 8, _WIDTH))
    height = int(np.clip(cells * height_deg / width_deg, 4, 4 * cells))
    bins = [height, cells]
    total, _, _ = np.histogram2d(lat, lon, bins=bins, weights=values)
    count, _, _ = np.histogram2d(lat, lon, bins=bins)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    low, high = np.nanpercentile(mean, [2, 98]) if np.isfinite(mean).any() else (0.0, 1.0)
    scaled = np.clip((mean - low) / max(high - low, 1e-12), 0, 1)
    rgba = colormaps["viridis"](np.nan_to_num(scaled))
    rgba[~np.isfinite(mean)] = 1.0
    across = np.arange(_WIDTH) * cells // _WIDTH
    down = np.arange(max(1, round(_WIDTH * height / cells))) * cells // _WIDTH
    picture = rgba[::-1][np.minimum(down, height - 1)][:, across]
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture, format="png")
    return buffer.getvalue()
