"""Overview pixels of AlphaEarth rasters: means of unit vectors, renormalised.

An overview pixel is the mean of all full-resolution vectors below it, scaled to unit length. A mean and a sum
have one direction, so sums are carried from level to level and nothing is quantised twice. Belongs here: sums
and their codes. Does not: which level is stored where (`warehouse/world_aef.py`).
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

from transforms.quantization import DIVISOR, MAX_CODE, NODATA

FloatArray = npt.NDArray[np.float32]
CodeArray = npt.NDArray[np.int8]


@nb.njit(nogil=True, cache=True)
def sum_codes(codes: CodeArray) -> FloatArray:
    """Add up the vectors of 2 x 2 pixels, in units of 127.5^-2; nodata counts as zero.

    Args:
        codes: int8 (bands, height, width), even height and width.

    Returns:
        float32 (bands, height / 2, width / 2): sums of ``v |v|``, exact.
    """
    bands, height, width = codes.shape
    sums = np.empty((bands, height // 2, width // 2), np.float32)
    line = np.empty(width, np.int32)
    for k in range(bands):
        for i in range(height // 2):
            for j in range(width):
                low, high = np.int32(codes[k, 2 * i, j]), np.int32(codes[k, 2 * i + 1, j])
                low = np.int32(0) if low == NODATA else low
                high = np.int32(0) if high == NODATA else high
                line[j] = low * abs(low) + high * abs(high)
            for j in range(width // 2):
                sums[k, i, j] = np.float32(line[2 * j] + line[2 * j + 1])
    return sums


def halve_sums(sums: FloatArray) -> FloatArray:
    """Add up 2 x 2 sums.

    Args:
        sums: float32 (bands, height, width), even height and width.

    Returns:
        float32 (bands, height / 2, width / 2).
    """
    halved: FloatArray = sums[:, ::2, ::2] + sums[:, 1::2, ::2] + sums[:, ::2, 1::2] + sums[:, 1::2, 1::2]
    return halved


@nb.njit(nogil=True, cache=True)
def overview_codes(sums: FloatArray) -> CodeArray:
    """Quantise the renormalised means of what was summed.

    Args:
        sums: float32 (bands, height, width); all bands 0 where nothing was valid.

    Returns:
        int8 of the same shape; -128 where all bands are 0.
    """
    bands, height, width = sums.shape
    codes = np.empty(sums.shape, np.int8)
    scale = np.empty(width, np.float32)
    for i in range(height):
        scale[:] = 0.0
        for k in range(bands):
            for j in range(width):
                scale[j] += sums[k, i, j] * sums[k, i, j]
        for j in range(width):
            if scale[j] > 0.0:
                scale[j] = np.float32(DIVISOR) / np.sqrt(np.sqrt(scale[j]))
        for k in range(bands):
            for j in range(width):
                if scale[j] == 0.0:
                    codes[k, i, j] = NODATA
                else:
                    code = min(np.rint(np.sqrt(abs(sums[k, i, j])) * scale[j]), np.float32(MAX_CODE))
                    codes[k, i, j] = np.int8(np.copysign(code, sums[k, i, j]))
    return codes
