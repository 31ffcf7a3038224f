"""Wavelengths of bands as sine and cosine features.

Belongs here: the sin-cos embedding of positions, and which wavelengths make sense. Does not: what is made of the
features (`weight_generator.py`), the wavelengths of a sensor (`presets.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError

Float32Array = npt.NDArray[np.float32]

#: Width of the features of a wavelength.
WAVE_WIDTH = 128
#: Shortest and longest wavelength that is taken, um: ultraviolet to thermal infrared. SAR uses a placeholder inside.
WAVELENGTH_RANGE_UM = (0.2, 20.0)
#: Wavelengths enter as um times this, as published.
_WAVE_SCALE = np.float32(1000.0)


def sin_cos_embedding(positions: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Embed positions by sines, then cosines, of falling frequency.

    ``omega_i = 10000^(-i / (width / 2))``, result ``[sin(p omega_0), ..., cos(p omega_0), ...]`` (Vaswani et al. 2017,
    arXiv 1706.03762, with sines and cosines in two halves, as masked autoencoders have it).

    Args:
        positions: float (n,).
        width: even.

    Returns:
        (n, width), of the type of `positions`.

    Raises:
        ShapeError: `width` is odd.
    """
    if width % 2:
        raise ShapeError("sin-cos embedding, width", width, "an even number", "Half of it are sines, half cosines.")
    kind = positions.dtype.type
    omega = kind(1) / kind(10_000) ** (np.arange(width // 2, dtype=kind) / kind(width / 2))
    angles = positions[:, None] * omega
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def embed_wavelengths(wavelengths_um: npt.ArrayLike) -> Float32Array:
    """Give the features of wavelengths that DOFA's weight generator reads.

    Args:
        wavelengths_um: (n,), micrometres.

    Returns:
        float32 (n, 128), the sin-cos embedding of 1000 times the wavelength.

    Raises:
        ShapeError: see `check_wavelengths`.
    """
    waves = check_wavelengths(wavelengths_um)
    return np.asarray(sin_cos_embedding(waves * _WAVE_SCALE, WAVE_WIDTH), np.float32)


def check_wavelengths(wavelengths_um: npt.ArrayLike) -> Float32Array:
    """Give wavelengths as float32 (n,) after checking that they are micrometres.

    Raises:
        ShapeError: there is none, or one is outside 0.2..20 um.
    """
    waves = np.atleast_1d(np.asarray(wavelengths_um, np.float32))
    low, high = WAVELENGTH_RANGE_UM
    if waves.ndim != 1 or not len(waves) or not ((waves >= low) & (waves <= high)).all():
        raise ShapeError(
            "wavelengths", np.asarray(wavelengths_um).tolist(), f"one per band, micrometres in {low:g}..{high:g}",
            "Divide nanometres by 1000; for SAR, DOFA was trained with the placeholder 3.75.",
        )  # fmt: skip
    return waves
