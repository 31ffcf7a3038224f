"""The units that are evaluated: labelled patches and sampled pixels, and their folds.

Belongs here: unit tables as arrays, fold plans to and from rows of `out_probe__folds`. Does not: features,
probes (`transforms/evaluation.py`), the rules of folds (`transforms/folds.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.block_folds import BlockAssignment, build_block_assignment, build_longitude_assignment
from transforms.blocks import assign_blocks
from transforms.errors import IsthmusError, TooFewUnitsError
from transforms.fold_plan import FoldPlan, Scheme
from transforms.folds import apply_block_assignment, plan_given_folds, plan_random_folds
from transforms.region_folds import plan_region_folds, plan_transfer_folds
from transforms.tasks import UnitKind


@dataclass(frozen=True)
class Units:
    """Labelled places of one grain, as parallel arrays.

    Attributes:
        kind: patch or pixel.
        unit_id: uint64 (n,).
        shard: str (n,); the region of leave-one-region-out.
        lon: float64 (n,), degrees.
        lat: float64 (n,).
        label: int16 (n,) class ids; -1 = a patch of several classes, none of which is its only one.
        given_fold: int16 (n,), -1 = not given.
        given_group: int32 (n,), -1 = not given.
        half_side_m: half the side of a footprint; 0 for pixels.
    """

    kind: UnitKind
    unit_id: npt.NDArray[np.uint64]
    shard: npt.NDArray[np.str_]
    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]
    label: npt.NDArray[np.int16]
    given_fold: npt.NDArray[np.int16]
    given_group: npt.NDArray[np.int32]
    half_side_m: float

    def __len__(self) -> int:
        return len(self.unit_id)


@dataclass(frozen=True)
class FoldRules:
    """How folds are made.

    Attributes:
        edge_m: edge of a spatial block on EPSG:6933.
        buffer_m: least distance between training footprints and test blocks.
        n_folds: folds of block and random schemes.
        seed: of all draws.
    """

    edge_m: float
    buffer_m: float
    n_folds: int
    seed: int


@dataclass(frozen=True)
class SchemePlans:
    """The plans of all kinds of unit and schemes, and why others have none.

    Attributes:
        plans: by unit kind and scheme.
        problems: the reason, by unit kind and scheme.
    """

    plans: dict[tuple[UnitKind, Scheme], FoldPlan]
    problems: dict[tuple[UnitKind, Scheme], str]


def units_from_labels(kind: UnitKind, rows: pa.Table, half_side_m: float) -> Units:
    """Take the places of a label table (with its `shard`); which rows are units is the caller's choice."""
    filled = {name: rows[name].fill_null(-1).to_numpy() for name in ("label", "given_fold", "given_group")}
    return Units(
        kind,
        rows[f"{kind}_id"].to_numpy(),
        np.array(rows["shard"].to_pylist(), dtype=np.str_),
        rows["lon"].to_numpy(),
        rows["lat"].to_numpy(),
        filled["label"],
        filled["given_fold"],
        filled["given_group"],
        half_side_m,
    )


def take_units(units: Units, chosen: npt.NDArray[np.int64]) -> Units:
    """Give chosen units (positions)."""
    columns = {
        name: getattr(units, name)[chosen]
        for name in ("unit_id", "shard", "lon", "lat", "label", "given_fold", "given_group")
    }
    return Units(kind=units.kind, half_side_m=units.half_side_m, **columns)


def plan_schemes(units: Sequence[Units], schemes: Sequence[Scheme], rules: FoldRules) -> SchemePlans:
    """Plan all schemes for all kinds of unit; blocks and bands are dealt once and shared by both grains.

    A scheme that cannot be planned (too few blocks, groups, regions or columns) leaves its reason and the others alone.
    """
    present = [one for one in units if len(one)]
    found = SchemePlans({}, {})
    for scheme in schemes if present else ():
        try:
            assignment = _deal_blocks(present, scheme, rules)
        except IsthmusError as error:
            found.problems.update({(one.kind, scheme): str(error) for one in present})
            continue
        for one in present:
            try:
                found.plans[one.kind, scheme] = _plan(one, scheme, rules, assignment)
            except IsthmusError as error:
                found.problems[one.kind, scheme] = str(error)
    return found


def folds_table(units: Units, plan: FoldPlan, label_source: str, *, is_simulated: bool) -> pa.Table:
    """Give rows of `out_probe__folds`; `fold` is -1 where a unit is dropped from all folds, -2 where it only trains."""
    lengths = plan.in_buffer.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    numbers = np.nonzero(plan.in_buffer)[1].astype(np.int16)
    count = len(units)
    return pa.table(
        {
            "unit": pa.array([units.kind] * count, pa.string()),
            "unit_id": units.unit_id,
            "shard": pa.array(units.shard.tolist(), pa.string()),
            "label_source": pa.array([label_source] * count, pa.string()),
            "scheme": pa.array([plan.scheme] * count, pa.string()),
            "block_id": plan.block_id,
            "fold": pa.array(plan.fold, pa.int16()),
            "region": pa.array(units.shard.tolist(), pa.string()),
            "in_buffer_of": pa.ListArray.from_arrays(offsets, pa.array(numbers, pa.int16())),
            "is_simulated": np.full(count, is_simulated),
        }
    )


def plan_from_table(rows: pa.Table, scheme: Scheme) -> tuple[npt.NDArray[np.uint64], FoldPlan]:
    """Read the plan of one kind of unit and scheme back (the inverse of `folds_table`).

    Returns:
        (unit_id, plan), in the order of the rows.
    """
    fold = rows["fold"].to_numpy().astype(np.int8)
    lists = rows["in_buffer_of"].combine_chunks()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    numbers = lists.flatten().to_numpy(zero_copy_only=False)
    n_folds = int(max(fold.max(initial=0), numbers.max(initial=0))) + 1
    buffer = np.zeros((len(fold), n_folds), bool)
    buffer[np.repeat(np.arange(len(fold)), lengths), numbers] = True
    region = np.array(rows["region"].to_pylist(), dtype=np.str_)
    plan = FoldPlan(scheme, rows["block_id"].to_numpy(), fold, region, buffer)
    return rows["unit_id"].to_numpy(), plan


def take_plan(plan: FoldPlan, chosen: npt.NDArray[np.int64]) -> FoldPlan:
    """Give the plan of chosen units.

    Args:
        plan: the plan.
        chosen: int64 positions, -1 = a unit that the plan does not know.

    Raises:
        TooFewUnitsError: the plan does not know a unit: it would be scored with the fold of another.
    """
    unknown = int((chosen < 0).sum())
    if unknown:
        raise TooFewUnitsError(
            f"units in {plan.scheme} folds",
            f"{unknown} of {len(chosen)} units without a fold",
            "a fold for each",
            "Labels or pixels changed: materialise out_probe__folds again.",
        )
    region = plan.region[chosen] if plan.region is not None else None
    return FoldPlan(plan.scheme, plan.block_id[chosen], plan.fold[chosen], region, plan.in_buffer[chosen])


def fold_of_blocks(plan: FoldPlan) -> Mapping[int, int]:
    """Give the test fold of each block that holds tested units."""
    tested = plan.fold >= 0
    blocks, first = np.unique(plan.block_id[tested], return_index=True)
    folds = plan.fold[tested][first]
    return {int(block): int(fold) for block, fold in zip(blocks, folds, strict=True)}


def _deal_blocks(units: Sequence[Units], scheme: Scheme, rules: FoldRules) -> BlockAssignment | None:
    """Deal blocks to folds once, from the units of every grain together; None where a scheme does not."""
    if scheme not in ("block", "longitude"):
        return None
    lon, lat, label = (np.concatenate([getattr(one, name) for one in units]) for name in ("lon", "lat", "label"))
    if scheme == "longitude":
        return build_longitude_assignment(lon, lat, edge_m=rules.edge_m, n_folds=rules.n_folds)
    rng = np.random.default_rng(rules.seed)
    return build_block_assignment(lon, lat, label, edge_m=rules.edge_m, n_folds=rules.n_folds, rng=rng)


def _plan(units: Units, scheme: Scheme, rules: FoldRules, assignment: BlockAssignment | None) -> FoldPlan:
    place = (units.lon, units.lat)
    if assignment is not None:
        side, region = units.half_side_m, units.shard
        return apply_block_assignment(
            assignment, *place, buffer_m=rules.buffer_m, half_side_m=side, region=region, scheme=scheme
        )
    if scheme == "given":
        return _plan_given(units, rules)
    if scheme == "random":
        rng = np.random.default_rng(rules.seed)
        return plan_random_folds(
            *place, units.label, edge_m=rules.edge_m, n_folds=rules.n_folds, rng=rng, region=units.shard
        )
    # centre to centre: the half diagonals of two footprints lie between them
    clear_m = rules.buffer_m + 2 * np.sqrt(2.0) * units.half_side_m
    plan = plan_transfer_folds if scheme == "transfer" else plan_region_folds
    return plan(*place, units.shard, edge_m=rules.edge_m, buffer_m=clear_m)


def _plan_given(units: Units, rules: FoldRules) -> FoldPlan:
    """Take the published folds; without published groups, intervals resample spatial blocks."""
    if (units.given_group >= 0).any():
        return plan_given_folds(units.given_fold, units.given_group, region=units.shard)
    plan = plan_given_folds(units.given_fold, np.arange(len(units)), region=units.shard)
    return replace(plan, block_id=assign_blocks(units.lon, units.lat, rules.edge_m))
