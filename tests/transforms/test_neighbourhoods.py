from __future__ import annotations

import numpy as np

from transforms import geohash
from transforms.neighbourhoods import gather_neighbourhoods
from transforms.places import PatchPlaces
from transforms.utm import unproject

EPSG = 32648
SIDE_M = 320.0


def make_places(x: np.ndarray, y: np.ndarray) -> PatchPlaces:
    lon, lat = unproject(x, y, EPSG)
    n, zero = len(x), np.zeros(len(x), np.int32)
    zone, side = np.full(n, EPSG, np.int32), np.full(n, SIDE_M)
    return PatchPlaces(geohash.encode(lon, lat), np.full(n, "own"), zero, zero, lon, lat, zone, x, y, side)


def test_neighbours_are_found_by_place_north_first() -> None:
    row, col = (values.ravel() for values in np.mgrid[:4, :5])
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(20)
    row, col = row[shuffled], col[shuffled]
    # two lattices: the second one is half a side off and must not be taken for a neighbour
    x = np.concatenate([500_000 + SIDE_M * col, 500_160 + SIDE_M * col])
    y = np.concatenate([1_400_000 - SIDE_M * row, 1_399_840 - SIDE_M * row])
    vectors = np.arange(40, dtype=np.float32)[:, None]
    here = int(np.flatnonzero((row == 1) & (col == 2))[0])
    corner = int(np.flatnonzero((row == 0) & (col == 0))[0])
    around = gather_neighbourhoods(make_places(x, y), vectors, np.array([here, corner]))
    for i in range(3):
        for j in range(3):
            expected = np.flatnonzero((row == i) & (col == j + 1))[0]
            assert around[0, i, j, 0] == expected
    assert np.isnan(around[1, 0]).all()
    assert np.isnan(around[1, :, 0]).all()
    assert around[1, 1, 1, 0] == corner
