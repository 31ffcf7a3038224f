from __future__ import annotations

import numpy as np

from transforms.blocks import EQUAL_AREA_EPSG, assign_blocks
from transforms.controls import earth_directions, random_features, shuffle_blocks
from transforms.ground import earth_xyz
from transforms.retrieval import rank_database
from transforms.utm import unproject

EDGE_M = 1000.0


def places(n: int, side_m: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, y = 9_650_000 + rng.uniform(0, side_m, n), 3_650_000 + rng.uniform(0, side_m, n)
    return *unproject(x, y, EQUAL_AREA_EPSG), x, y


def test_every_block_takes_its_field_from_one_other_block() -> None:
    rng = np.random.default_rng(0)
    lon, lat, _, _ = places(900, 5 * EDGE_M, rng)
    block = assign_blocks(lon, lat, EDGE_M)
    names, index = np.unique(block, return_inverse=True)
    shuffled = shuffle_blocks(index[:, None].astype(np.float32), lon, lat, block, rng)[:, 0].astype(int)
    source = {int(b): set(shuffled[index == b].tolist()) for b in range(len(names))}
    assert all(len(found) == 1 for found in source.values())
    assert all(found != {block} for block, found in source.items())
    assert len(set().union(*source.values())) == len(names)  # a permutation


def test_the_field_stays_smooth_inside_a_block() -> None:
    rng = np.random.default_rng(1)
    lon, lat, x, y = places(4000, 4 * EDGE_M, rng)
    field = np.stack([np.sin(x / 300), np.cos(y / 300)], axis=1).astype(np.float32)
    block = assign_blocks(lon, lat, EDGE_M)
    shuffled = shuffle_blocks(field, lon, lat, block, rng)
    mine = np.flatnonzero(block == block[0])
    order = mine[np.argsort(x[mine])]
    near = (np.diff(x[order]) < 5) & (np.abs(np.diff(y[order])) < 100)
    jumps = np.abs(np.diff(shuffled[order], axis=0)).max(axis=1)[near]
    assert near.sum() >= 3
    assert np.median(jumps) < 0.5
    assert (shuffled[mine] != field[mine]).any()


def test_one_block_is_left_as_it_is() -> None:
    rng = np.random.default_rng(2)
    lon, lat, _, _ = places(20, 100.0, rng)
    field = rng.normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_array_equal(shuffle_blocks(field, lon, lat, np.full(20, 7), rng), field)


def test_random_features_are_independent_and_repeatable() -> None:
    first, again = (random_features(500, 8, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32
    assert np.abs(np.corrcoef(first, rowvar=False) - np.eye(8)).max() < 0.2


def test_the_cosine_of_directions_ranks_by_distance_also_across_the_antimeridian() -> None:
    rng = np.random.default_rng(4)
    lon, lat = (rng.uniform(179, 181, 60) + 180) % 360 - 180, rng.uniform(60, 62, 60)
    xyz = earth_xyz(lon, lat)
    distance = np.linalg.norm(xyz[:20, None] - xyz[None, 20:], axis=-1)
    directions = earth_directions(lon, lat)
    ranking = rank_database(directions[:20], directions[20:], 40)
    found = np.take_along_axis(distance, ranking, axis=1)
    # ranks are in steps of some 300 m, and the flattening of the earth bends them a little
    assert np.all(np.diff(found, axis=1) > -500)
    assert np.allclose(found[:, 0], distance.min(axis=1), atol=500)
