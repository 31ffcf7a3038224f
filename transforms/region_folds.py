"""Folds by region: how well a probe travels.

Belongs here: leave-one-region-out and region-to-region transfer. Does not: folds within a region
(`transforms/folds.py`), the plan itself (`transforms/fold_plan.py`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from transforms.block_folds import check_enough
from transforms.blocks import assign_blocks
from transforms.errors import ShapeError
from transforms.fold_plan import FoldPlan, check_plan
from transforms.ground import earth_xyz


def plan_region_folds(
    lon: npt.ArrayLike, lat: npt.ArrayLike, region: npt.ArrayLike, *, edge_m: float, buffer_m: float
) -> FoldPlan:
    """Plan leave-one-region-out cross-validation: how well a probe travels.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        region: text (n,), no empty names; folds follow their alphabetical order.
        edge_m: edge of the blocks that intervals resample, metres.
        buffer_m: units nearer than this to any unit of the test region do not train, metres.

    Returns:
        The plan, scheme `region`.

    Raises:
        TooFewUnitsError: fewer than two regions.
        ShapeError: a coordinate is NaN or out of range, or a region name is empty.
    """
    regions = np.asarray(region).astype(str)
    if (regions == "").any():
        raise ShapeError("region", "empty names", "a name for every unit", "Name a region or drop the unit.")
    block_id = assign_blocks(lon, lat, edge_m)
    names, fold = np.unique(regions, return_inverse=True)
    check_enough(len(names), max(2, len(names)), "regions")
    in_buffer = np.zeros((len(fold), len(names)), bool)
    xyz = earth_xyz(lon, lat)
    for number in range(len(names)):
        outside = np.flatnonzero(fold != number)
        distance, _ = cKDTree(xyz[fold == number]).query(xyz[outside], distance_upper_bound=max(buffer_m, 0.0))
        in_buffer[outside, number] = distance < buffer_m
    return check_plan(FoldPlan("region", block_id, fold.astype(np.int8), regions, in_buffer))


def plan_transfer_folds(
    lon: npt.ArrayLike, lat: npt.ArrayLike, region: npt.ArrayLike, *, edge_m: float, buffer_m: float
) -> FoldPlan:
    """Plan region-to-region transfer: fold f trains on region f alone and tests on all others.

    A unit is tested by as many folds as there are other regions, less those whose region is nearer than the buffer.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        region: text (n,), no empty names; folds follow their alphabetical order.
        edge_m: edge of the blocks that intervals resample, metres.
        buffer_m: units nearer than this to any unit of the training region are not tested, metres.

    Returns:
        The plan, scheme `transfer`; `FoldPlan.region_of` names the region that a fold trains on.

    Raises:
        TooFewUnitsError: fewer than two regions.
        ShapeError: a coordinate is NaN or out of range, or a region name is empty.
    """
    # the same ground is too near to a region, whichever side of it is trained on
    return replace(plan_region_folds(lon, lat, region, edge_m=edge_m, buffer_m=buffer_m), scheme="transfer")
