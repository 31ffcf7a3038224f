"""Made-up chips for the tests of the adapter."""

from __future__ import annotations

import numpy as np

from transforms.pretraining.chips import Chips

#: Metres between the corners of neighbouring chips.
CHIP_PITCH_M = 2_000.0


def make_chips(
    rng: np.random.Generator,
    *,
    n_chips: int = 8,
    px: int = 12,
    dims: int = 6,
    n_classes: int = 3,
    n_folds: int = 2,
    regions: tuple[str, ...] = ("a",),
    vectors: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    other_year: np.ndarray | None = None,
) -> Chips:
    """Chips in a row, folds and regions dealt in turn; noise and random labels where nothing is given."""
    if vectors is not None:
        n_chips, px = len(vectors), vectors.shape[-1]
    number = np.arange(n_chips)
    grid = (n_chips, px, px)
    if vectors is None:
        vectors = rng.normal(size=(n_chips, dims, px, px)).astype(np.float32)
    if labels is None:
        labels = rng.integers(0, n_classes, grid).astype(np.int16)
    ground = np.zeros((*grid, 3))
    ground[..., 0] = CHIP_PITCH_M * number[:, None, None] + 10.0 * np.arange(px)
    ground[..., 1] = 10.0 * np.arange(px)[:, None]
    fold = (number // len(regions) % n_folds).astype(np.int8)
    region = np.array(regions)[number % len(regions)]
    return Chips(vectors, other_year, labels, ground, number * 10, region, fold, np.zeros((*grid, n_folds), bool))
