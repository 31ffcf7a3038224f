"""Images and checkpoints for the tests of `isthmus encode`.

Belongs here: files as users have them, made from a rule. Does not: assertions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from tests.transforms.dofa_reference import SMALL, random_weights
from transforms.dofa.sizes import DofaSize

S2_NAMES = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")
#: A small model under the name of a registered product.
SMALL_BASE = DofaSize("base", SMALL.width, SMALL.depth, SMALL.n_heads)


def write_checkpoint(path: Path, seed: int = 0, **extra: Any) -> Path:
    """Random weights of the small model, with what the authors' files carry beside."""
    import torch

    torch.save({**random_weights(SMALL_BASE, seed), "mask_token": torch.zeros(1, 1, 8), **extra}, path)
    return path


def digital_numbers(height: int, width: int, bands: int = 9, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.minimum(rng.gamma(4, 400, (bands, height, width)) + 200, 12_000).astype(np.uint16)


def write_image(
    path: Path,
    values: np.ndarray,
    *,
    names: tuple[str, ...] | None = S2_NAMES,
    epsg: int = 32633,
    west: float = 500_000.0,
    north: float = 5_200_000.0,
    pixel_m: float = 10.0,
    is_bottom_up: bool = False,
    tags: dict[str, str] | None = None,
    **profile: Any,
) -> Path:
    """Write (bands, height, width), row 0 the northernmost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    affine = Affine(pixel_m, 0, west, 0, -pixel_m, north)
    if is_bottom_up:
        values, affine = values[:, ::-1], Affine(pixel_m, 0, west, 0, pixel_m, north - height * pixel_m)
    settings = {"driver": "GTiff", "dtype": values.dtype, "count": count, "height": height, "width": width,
                "crs": f"EPSG:{epsg}", "transform": affine} | profile  # fmt: skip
    with rasterio.open(path, "w", **settings) as file:
        file.write(values)
        if names is not None:
            file.descriptions = names
        file.update_tags(**(tags or {}))
    return path
