"""Cross-validation folds over spatial blocks, shared by patches and pixels.

Belongs here: which fold a unit is in by its block, by chance or by its data set. Does not: folds by region
(`transforms/region_folds.py`), the plan itself (`transforms/fold_plan.py`), block geometry (`transforms/blocks.py`),
the dealing of blocks (`transforms/block_folds.py`), probes, label budgets.

Two units of different grain that stand in one block are always in one fold: the mapping from block to fold is
made once (`build_block_assignment`) and applied to each kind of unit (`apply_block_assignment`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.block_folds import (
    DROPPED,
    TRAIN_ONLY,
    BlockAssignment,
    balance_folds,
    build_block_assignment,
    check_enough,
    find_buffer,
)
from transforms.blocks import assign_blocks, block_origin, equal_area_xy, straddles
from transforms.errors import IsthmusError, ShapeError
from transforms.fold_plan import FoldPlan, Scheme, check_plan, fold_split

__all__ = [
    "DROPPED",
    "TRAIN_ONLY",
    "BlockAssignment",
    "FoldPlan",
    "Scheme",
    "SplitGroupError",
    "apply_block_assignment",
    "assign_blocks",
    "balance_folds",
    "block_origin",
    "build_block_assignment",
    "equal_area_xy",
    "find_buffer",
    "fold_split",
    "plan_block_folds",
    "plan_given_folds",
    "plan_random_folds",
    "straddles",
]


class SplitGroupError(IsthmusError):
    """A group that should stay together stands in several folds. Permanent."""

    def __init__(self, groups: list[str], n_split: int) -> None:
        super().__init__(
            f"given folds: {n_split} groups stand in more than one fold (first: {', '.join(groups)}), "
            "expected each group in one fold. Correct the fold column or the group column."
        )


def apply_block_assignment(
    assignment: BlockAssignment,
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    *,
    buffer_m: float,
    half_side_m: float = 0.0,
    region: npt.ArrayLike | None = None,
    scheme: Scheme = "block",
) -> FoldPlan:
    """Plan the folds of one kind of unit.

    Units whose footprint crosses a block border are dropped (fold -1). The buffer is widened by half the
    footprint's diagonal, so that the whole footprint of a training unit stays clear of the test blocks.

    Args:
        assignment: from `build_block_assignment`, or from `build_longitude_assignment` for scheme `longitude`.
        lon: float64 (n,), centres, degrees.
        lat: float64 (n,), degrees.
        buffer_m: least ground distance from a training footprint to a test block, metres.
        half_side_m: half the side of the footprint, metres; 160 for patches, 5 or 0 for pixels.
        region: str (n,), kept in the plan.
        scheme: how the blocks were dealt.

    Returns:
        The plan.

    Raises:
        TooFewUnitsError: a unit stands in a block that is not assigned, or a fold tests on nothing.
        ShapeError: a coordinate is NaN or out of range.
    """
    block_id = assign_blocks(lon, lat, assignment.edge_m)
    fold = assignment.fold_of(block_id).copy()
    if half_side_m > 0:
        fold[straddles(lon, lat, half_side_m, assignment.edge_m)] = DROPPED
    in_buffer = find_buffer(
        lon,
        lat,
        assignment.block_id,
        assignment.fold,
        assignment.edge_m,
        buffer_m + np.sqrt(2.0) * half_side_m if buffer_m > 0 else 0.0,
        assignment.n_folds,
    )
    return check_plan(FoldPlan(scheme, block_id, fold, _as_text(region), in_buffer))


def plan_block_folds(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    class_ids: npt.ArrayLike,
    *,
    edge_m: float,
    buffer_m: float,
    n_folds: int,
    rng: np.random.Generator,
    half_side_m: float = 0.0,
    region: npt.ArrayLike | None = None,
    assignment: BlockAssignment | None = None,
) -> FoldPlan:
    """Plan buffered block cross-validation for one kind of unit.

    Args:
        lon: float64 (n,), centres, degrees.
        lat: float64 (n,), degrees.
        class_ids: integers (n,); -1 = no label. Unused with `assignment`.
        edge_m: block edge in EPSG:6933, metres.
        buffer_m: see `apply_block_assignment`.
        n_folds: number of folds.
        rng: breaks ties. Unused with `assignment`.
        half_side_m: half the side of the footprint, metres.
        region: str (n,), kept in the plan.
        assignment: folds that another kind of unit has already; None = make them here.

    Returns:
        The plan, scheme `block`.

    Raises:
        TooFewUnitsError: fewer blocks than folds, a fold tests on nothing, or a block is unknown.
        ShapeError: a coordinate is NaN or out of range, or `assignment` has another edge or number of folds.
    """
    if assignment is None:
        assignment = build_block_assignment(lon, lat, class_ids, edge_m=edge_m, n_folds=n_folds, rng=rng)
    elif (assignment.edge_m, assignment.n_folds) != (edge_m, n_folds):
        raise ShapeError(
            "block assignment",
            f"edge {assignment.edge_m} m, {assignment.n_folds} folds",
            f"edge {edge_m} m, {n_folds} folds",
            "Share one assignment among grains.",
        )
    return apply_block_assignment(assignment, lon, lat, buffer_m=buffer_m, half_side_m=half_side_m, region=region)


def plan_random_folds(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    class_ids: npt.ArrayLike,
    *,
    edge_m: float,
    n_folds: int,
    rng: np.random.Generator,
    region: npt.ArrayLike | None = None,
) -> FoldPlan:
    """Plan stratified random cross-validation: a diagnostic of spatial leakage, never evidence.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        class_ids: integers (n,); -1 = no label.
        edge_m: edge of the blocks that confusions are stored by, metres.
        n_folds: number of folds.
        rng: deals the units.
        region: str (n,), kept in the plan.

    Returns:
        The plan, scheme `random`; block ids are the spatial blocks, and there is no buffer.

    Raises:
        TooFewUnitsError: fewer units than folds.
        ShapeError: a coordinate is NaN or out of range.
    """
    block_id = assign_blocks(lon, lat, edge_m)
    n_units = len(block_id)
    check_enough(n_units, n_folds, "units")
    shuffled = rng.permutation(n_units)
    order = shuffled[np.argsort(np.asarray(class_ids)[shuffled], kind="stable")]
    fold = np.empty(n_units, np.int8)
    fold[order] = np.arange(n_units) % n_folds
    return check_plan(FoldPlan("random", block_id, fold, _as_text(region), np.zeros((n_units, n_folds), bool)))


def plan_given_folds(fold: npt.ArrayLike, group: npt.ArrayLike, *, region: npt.ArrayLike | None = None) -> FoldPlan:
    """Plan the folds that a data set comes with.

    Args:
        fold: integers (n,), any numbers; renumbered 0, 1, ... in their order. -1 = dropped; -2 = trained on in every
            fold and tested in none, so that the test part of a published split may be the only fold.
        group: integers or text (n,), units that belong together; renumbered as block ids, so that intervals
            resample groups.
        region: str (n,), kept in the plan.

    Returns:
        The plan, scheme `given`, without a buffer.

    Raises:
        SplitGroupError: a group stands in several folds.
        TooFewUnitsError: fewer than two folds, or nothing but a training part.
        ShapeError: lengths differ or folds are not integers.
    """
    given, groups = np.asarray(fold), np.asarray(group)
    if given.ndim != 1 or given.shape != groups.shape or given.dtype.kind not in "iu":
        raise ShapeError(
            "given folds and groups",
            f"{given.dtype} {given.shape} and {groups.shape}",
            "integers (n,) and groups (n,)",
            "Give one fold and one group per unit, none missing.",
        )
    is_tested = given >= 0
    numbers = np.unique(given[is_tested])
    used = is_tested | (given == TRAIN_ONLY)
    if len(numbers) != 1 or not (given == TRAIN_ONLY).any():  # one fold is enough beside a training part
        check_enough(len(numbers), max(2, len(numbers)), "given folds")
    names, block_id = np.unique(groups, return_inverse=True)
    combos = np.unique(np.stack([block_id[used], given[used]]), axis=1)[0]
    split = np.flatnonzero(np.bincount(combos, minlength=len(names)) > 1)
    if len(split):
        raise SplitGroupError([str(name) for name in names[split[:3]]], len(split))
    kept = np.where(given == TRAIN_ONLY, TRAIN_ONLY, DROPPED)
    folds = np.where(is_tested, np.searchsorted(numbers, given), kept).astype(np.int8)
    buffer = np.zeros((len(folds), len(numbers)), bool)
    return check_plan(FoldPlan("given", block_id.astype(np.int64), folds, _as_text(region), buffer))


def _as_text(region: npt.ArrayLike | None) -> npt.NDArray[np.str_] | None:
    return None if region is None else np.asarray(region).astype(str)
