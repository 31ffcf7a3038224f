"""Which class a parcel is: niches along smooth gradients.

Belongs here: seeds of parcels on two grids, and their classes. Does not: painting (`landscape.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from transforms.simulation.noise import derive_rng
from transforms.simulation.spec import N_CLASSES

FloatArray = npt.NDArray[np.float32]

#: Master pixels per cell of the coarse grids of smooth fields.
COARSE_PX = 8
#: Spacing of the seeds of large and of small parcels, pixels.
LARGE_PX = 24
SMALL_PX = 9

#: Preferred (elevation, moisture, settlement) of each class, in standard deviations.
_NICHES = np.array(
    [
        (1.0, 0.6, -0.5),  # tree cover
        (0.7, -0.7, -0.3),  # shrubland
        (0.0, -0.9, -0.2),  # grassland
        (-0.3, 0.1, 0.2),  # cropland
        (-0.2, -0.2, 2.0),  # built-up
        (0.8, -1.8, 0.4),  # bare
        (-1.8, 1.0, 0.0),  # water
        (-0.8, 1.5, -0.4),  # wetland
        (-1.7, 0.1, -0.7),  # mangroves
        (2.0, 0.6, -0.4),  # moss and lichen
    ],
    np.float32,
)
#: Area that each class should take, roughly.
_TARGET_SHARES = np.array([0.19, 0.11, 0.12, 0.18, 0.10, 0.06, 0.07, 0.07, 0.05, 0.05])
_SCORE_NOISE = 0.7
_CALIBRATION_ROUNDS = 60


@dataclass(frozen=True)
class Parcels:
    """Seeds of a jittered grid of parcels; a parcel is the ground nearest to its seed.

    Attributes:
        cell_px: spacing of the grid.
        row: float32 (gy, gx), seed position on the master grid; cell [0, 0] begins one cell before it.
        col: float32 (gy, gx).
        classes: uint8 (gy, gx), class index.
    """

    cell_px: int
    row: FloatArray
    col: FloatArray
    classes: npt.NDArray[np.uint8]


def build_parcels(seed: int, shape: tuple[int, int], cell_px: int, gradients: FloatArray) -> Parcels:
    """Place seeds and give each the class whose niche suits its place, with some chance.

    Args:
        seed: the world's seed.
        shape: rows, columns of the master grid.
        cell_px: spacing of the seeds.
        gradients: float32 (3, coarse rows, coarse columns): elevation, moisture, settlement.

    Returns:
        The parcels, one ring of cells beyond the grid.
    """
    rng = derive_rng(seed, "parcels", cell_px)
    grid = (-(-shape[0] // cell_px) + 2, -(-shape[1] // cell_px) + 2)
    cell_row, cell_col = np.meshgrid(np.arange(grid[0]) - 1, np.arange(grid[1]) - 1, indexing="ij")
    jitter = rng.uniform(0.12, 0.88, (2, *grid))
    row = ((cell_row + jitter[0]) * cell_px).astype(np.float32)
    col = ((cell_col + jitter[1]) * cell_px).astype(np.float32)
    at = np.stack([row, col]).reshape(2, -1) / COARSE_PX - 0.5
    place = np.stack([map_coordinates(field, at, order=1, mode="nearest") for field in gradients], axis=-1)
    noise = rng.standard_normal((place.shape[0], N_CLASSES), dtype=np.float32) * np.float32(_SCORE_NOISE)
    return Parcels(cell_px, row, col, _choose_classes(place, noise).reshape(grid))


def _choose_classes(place: FloatArray, noise: FloatArray) -> npt.NDArray[np.uint8]:
    """Pick the best niche, with biases raised or lowered until the classes take their shares."""
    distance = ((place[:, None, :] - _NICHES[None]) ** 2).sum(axis=-1)
    score = noise - distance
    bias = np.zeros(N_CLASSES, np.float32)
    for _ in range(_CALIBRATION_ROUNDS):
        shares = np.bincount((score + bias).argmax(axis=1), minlength=N_CLASSES) / len(score)
        bias += 0.4 * np.log(_TARGET_SHARES / (shares + 2e-3)).astype(np.float32)
    return (score + bias).argmax(axis=1).astype(np.uint8)
