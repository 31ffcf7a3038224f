"""Features that must not win: random ones, places alone, and a real field whose blocks changed places.

Belongs here: label-independent features. Does not: permuted labels (`transforms/cell_fits.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from transforms.blocks import equal_area_xy
from transforms.ground import earth_xyz

FloatArray = npt.NDArray[np.float32]


def random_features(n_units: int, dims: int, rng: np.random.Generator) -> FloatArray:
    """Draw independent normal features, float32 (n_units, dims)."""
    return rng.standard_normal((n_units, dims)).astype(np.float32)


def earth_directions(lon: npt.ArrayLike, lat: npt.ArrayLike) -> FloatArray:
    """Give places as directions from the centre of the earth: the higher the cosine of two, the nearer they are.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.

    Returns:
        float32 (n, 3), of length 1; rounding moves a place by less than a metre.
    """
    xyz = earth_xyz(lon, lat)
    return (xyz / np.linalg.norm(xyz, axis=1, keepdims=True)).astype(np.float32)


def shuffle_blocks(
    values: FloatArray,
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    block_id: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> FloatArray:
    """Give every block the field of another block: as smooth as the real one, and independent of the labels here.

    A unit takes the vector of the unit that lies nearest to its own offset from the middle of the other block. A probe
    that scores above the prior on it under some folds has used that neighbours are alike, nothing else.

    Args:
        values: float32 (n, d), the field.
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        block_id: int64 (n,), the blocks of a fold plan.
        rng: deals the blocks.

    Returns:
        float32 (n, d); with a single block, the values as they are.
    """
    names, index = np.unique(block_id, return_inverse=True)
    place = np.stack(equal_area_xy(lon, lat), axis=1)
    middle = np.zeros((len(names), 2))
    np.add.at(middle, index, place)
    offset = place - (middle / np.bincount(index)[:, None])[index]
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], np.arange(len(names) + 1))
    members = [order[bounds[i] : bounds[i + 1]] for i in range(len(names))]
    source = np.empty(len(values), np.int64)
    for here, there in enumerate(_derange(len(names), rng)):
        _, nearest = cKDTree(offset[members[there]]).query(offset[members[here]])
        source[members[here]] = members[there][nearest]
    return values[source]


def _derange(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Send every number to another one: a random cycle through all of them."""
    cycle = rng.permutation(count)
    target = np.empty(count, np.int64)
    target[cycle] = np.roll(cycle, 1)
    return target
