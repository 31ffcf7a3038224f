"""The mapping from spatial block to fold, and the units that a fold may not train on.

Belongs here: class-balanced dealing of blocks to folds, longitude bands of blocks, and the buffer around a fold's
blocks.
Does not: block geometry (`transforms/blocks.py`), plans for units (`transforms/folds.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.blocks import WORLD_WIDTH_M, IntArray, assign_blocks, block_origin, pairs_within
from transforms.errors import TooFewUnitsError

#: Fold of units that neither train nor test.
DROPPED = -1
#: Fold of units that train in every fold and are tested in none: the training part of a published split.
TRAIN_ONLY = -2


@dataclass(frozen=True)
class BlockAssignment:
    """Which fold each block of one area is in.

    Attributes:
        block_id: int64 (b,), sorted.
        fold: int8 (b,), 0..n_folds-1.
        n_folds: number of folds.
        edge_m: block edge in EPSG:6933, metres.
    """

    block_id: IntArray
    fold: npt.NDArray[np.int8]
    n_folds: int
    edge_m: float

    def fold_of(self, block_id: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """Look up the fold of blocks.

        Args:
            block_id: int64 (n,).

        Returns:
            int8 (n,).

        Raises:
            TooFewUnitsError: a block is not in this assignment.
        """
        position = np.minimum(np.searchsorted(self.block_id, block_id), len(self.block_id) - 1)
        unknown = self.block_id[position] != block_id
        if unknown.any():
            raise TooFewUnitsError(
                "units in blocks of the assignment",
                f"{unknown.sum()} of {len(unknown)} in other blocks (first: {block_id[unknown][0]})",
                "all",
                "Build the assignment from the units of all grains together.",
            )
        return self.fold[position]


def balance_folds(
    block_ids: npt.ArrayLike, class_ids: npt.ArrayLike, n_folds: int, rng: np.random.Generator
) -> tuple[IntArray, npt.NDArray[np.int8]]:
    """Deal blocks to folds so that every class, and the number of units, is spread evenly.

    Greedy: blocks in decreasing number of units (ties in random order), each to the fold that leaves the
    least sum of squares of the folds' class shares; each class weighs the same, however rare (the rule of
    scikit-learn's StratifiedGroupKFold, with the number of units as one more class).

    Args:
        block_ids: integers (n,), block of each unit.
        class_ids: integers (n,); -1 = no label, counts as a unit only.
        n_folds: number of folds, at least 2.
        rng: breaks ties; the same seed gives the same folds.

    Returns:
        (blocks, fold): int64 (b,), sorted, and int8 (b,); no fold is without a block.

    Raises:
        TooFewUnitsError: fewer than two folds, or fewer blocks than folds.
    """
    blocks, index = np.unique(np.asarray(block_ids, np.int64), return_inverse=True)
    check_enough(len(blocks), n_folds, "blocks")
    classes = np.asarray(class_ids, np.int64)
    n_classes = int(classes.max(initial=-1)) + 1
    # the last column counts units of any class
    table = np.zeros((len(blocks), n_classes + 1))
    np.add.at(table, (index[classes >= 0], classes[classes >= 0]), 1)
    table[:, -1] = np.bincount(index, minlength=len(blocks))
    shares = table / np.maximum(table.sum(axis=0), 1)

    shuffled = rng.permutation(len(blocks))
    order = shuffled[np.argsort(-table[shuffled, -1], kind="stable")]
    fold = np.full(len(blocks), DROPPED, np.int8)
    load = np.zeros((n_folds, n_classes + 1))
    for block in order:
        # the squares of other folds are the same for every choice, so this difference ranks the choices;
        # every block has units, so an empty fold is always cheaper than a filled one, and none stays empty
        cost = (2 * load * shares[block] + shares[block] ** 2).sum(axis=1)
        fold[block] = int(np.argmin(cost))
        load[fold[block]] += shares[block]
    return blocks, fold


def find_buffer(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    block_ids: npt.ArrayLike,
    fold_of_block: npt.ArrayLike,
    edge_m: float,
    buffer_m: float,
    n_folds: int,
) -> npt.NDArray[np.bool_]:
    """Find the units that stand too near a fold's blocks to train for it.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        block_ids: int64 (b,), sorted, all blocks that are in a fold.
        fold_of_block: int8 (b,).
        edge_m: block edge, metres.
        buffer_m: metres on the ground, from the unit's coordinate to the block's rectangle; add half the
            diagonal of the unit's footprint where the footprint must stay outside. 0 = no buffer.
        n_folds: number of folds.

    Returns:
        bool (n, n_folds): True where a unit outside fold f's blocks is nearer than `buffer_m` to one of them.

    Raises:
        ShapeError: a coordinate is NaN or out of range.
    """
    blocks, folds = np.asarray(block_ids, np.int64), np.asarray(fold_of_block, np.int64)
    own = assign_blocks(lon, lat, edge_m)
    in_buffer = np.zeros((len(own), n_folds), bool)
    unit, position = pairs_within(lon, lat, blocks, edge_m, buffer_m)
    in_buffer[unit, folds[position]] = True
    # a unit of fold f tests for f, it is not in f's buffer
    place = np.minimum(np.searchsorted(blocks, own), len(blocks) - 1)
    known = np.flatnonzero(blocks[place] == own)
    in_buffer[known, folds[place[known]]] = False
    return in_buffer


def build_block_assignment(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    class_ids: npt.ArrayLike,
    *,
    edge_m: float,
    n_folds: int,
    rng: np.random.Generator,
) -> BlockAssignment:
    """Make the one mapping from block to fold that all grains share.

    Args:
        lon: float64 (n,), degrees, units of all grains together.
        lat: float64 (n,), degrees.
        class_ids: integers (n,); -1 = no label.
        edge_m: block edge in EPSG:6933, metres; at least 5 km and twice the variogram range, by the caller.
        n_folds: number of folds.
        rng: breaks ties.

    Returns:
        The assignment.

    Raises:
        TooFewUnitsError: fewer blocks than folds.
        ShapeError: a coordinate is NaN or out of range.
    """
    blocks, fold = balance_folds(assign_blocks(lon, lat, edge_m), class_ids, n_folds, rng)
    return BlockAssignment(blocks, fold, n_folds, float(edge_m))


def build_longitude_assignment(
    lon: npt.ArrayLike, lat: npt.ArrayLike, *, edge_m: float, n_folds: int
) -> BlockAssignment:
    """Cut the area into bands of longitude, one a fold, each made of whole columns of blocks.

    Bands are contiguous, west to east, and hold as equal numbers of units as whole columns allow. The count begins
    east of the widest gap of longitude, so that an area across the antimeridian is not torn.

    Args:
        lon: float64 (n,), degrees, units of all grains together.
        lat: float64 (n,), degrees.
        edge_m: block edge in EPSG:6933, metres.
        n_folds: number of bands.

    Returns:
        The assignment; fold 0 is the westernmost band.

    Raises:
        TooFewUnitsError: fewer columns of blocks than folds.
        ShapeError: a coordinate is NaN or out of range.
    """
    blocks, n_units = np.unique(assign_blocks(lon, lat, edge_m), return_counts=True)
    west_m, column = np.unique(block_origin(blocks, edge_m)[0], return_inverse=True)
    check_enough(len(west_m), n_folds, "columns of blocks")
    first = int(np.argmax(np.diff(west_m, prepend=west_m[-1] - WORLD_WIDTH_M)))
    rank = (np.arange(len(west_m)) - first) % len(west_m)
    counts = np.zeros(len(west_m))
    np.add.at(counts, rank[column], n_units)
    band = _cut_evenly(counts, n_folds)
    return BlockAssignment(blocks, band[rank[column]], n_folds, float(edge_m))


def _cut_evenly(counts: npt.NDArray[np.float64], n_parts: int) -> npt.NDArray[np.int8]:
    """Cut a row of counts into contiguous parts, none empty, each border at the column nearest to its even share."""
    reached = np.concatenate([[0.0], np.cumsum(counts)])
    part = np.zeros(len(counts), np.int8)
    start = 0
    for number in range(1, n_parts):
        # at least one column for the part before, and one for each part that follows
        lowest, highest = start + 1, len(counts) - (n_parts - number)
        target = reached[-1] * number / n_parts
        start = lowest + int(np.argmin(np.abs(reached[lowest : highest + 1] - target)))
        part[start:] = number
    return part


def check_enough(found: int, n_folds: int, what: str) -> None:
    """Check that a number of folds makes sense for what is there.

    Args:
        found: how many there are to deal.
        n_folds: number of folds.
        what: what is dealt, for the message.

    Raises:
        TooFewUnitsError: fewer than two folds, more than int8 holds, or fewer things than folds.
    """
    if n_folds < 2 or n_folds > np.iinfo(np.int8).max:
        raise TooFewUnitsError("number of folds", n_folds, "2 to 127", "The usual number is 5.")
    if found < n_folds:
        raise TooFewUnitsError(what, found, f"at least {n_folds}", "Enlarge the area or use fewer folds.")
