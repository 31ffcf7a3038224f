"""AlphaEarth's int8 code: constants, quantise, dequantise.

Belongs here: the arithmetic between stored int8 (`embedding_q`) and float vectors (`embedding`).
Does not: reading rasters, pooling.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Divisor of the published formula. 127.5, not 127: the wrong one gives norms of 2.5.
DIVISOR = 127.5
#: Stored value that means "no data"; in one band of a pixel, then in all.
NODATA = -128
#: Largest magnitude of a valid stored value.
MAX_CODE = 127


def _build_lut() -> npt.NDArray[np.float32]:
    codes = np.arange(-128, 128, dtype=np.float64)
    lut = np.sign(codes) * (codes / DIVISOR) ** 2
    lut[0] = np.nan
    return lut.astype(np.float32)


#: Dequantised value of code `v` at index `v + 128`; NaN at nodata.
DEQUANTIZE_LUT: npt.NDArray[np.float32] = _build_lut()
DEQUANTIZE_LUT.setflags(write=False)


def dequantize(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """Turn stored codes into vectors: ``x = sign(v) * (v / 127.5) ** 2``.

    Source: Earth Engine catalogue, Satellite Embedding V1, quantisation note.

    Args:
        codes: int8, any shape; -128 means nodata.

    Returns:
        float32 of the same shape, in [-0.9922, 0.9922]; NaN at nodata.
    """
    return DEQUANTIZE_LUT[codes.astype(np.int16) + 128]


def quantize(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int8]:
    """Turn vectors into stored codes: ``clip(round(sign(x) * sqrt(|x|) * 127.5), -127, 127)``.

    Args:
        values: float, any shape, nominally in [-1, 1]; NaN means nodata.

    Returns:
        int8 of the same shape; -128 where the value is NaN.
    """
    missing = np.isnan(values)
    scaled = np.sign(values) * np.sqrt(np.abs(values)) * DIVISOR
    codes = np.clip(np.rint(np.where(missing, 0.0, scaled)), -MAX_CODE, MAX_CODE).astype(np.int8)
    codes[missing] = NODATA
    return codes
