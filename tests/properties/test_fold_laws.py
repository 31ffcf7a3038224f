"""Laws of fold schemes: nothing is trained within the buffer of what is tested, nothing is tested too often."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.block_folds import build_longitude_assignment
from transforms.blocks import WORLD_WIDTH_M, assign_blocks, block_origin
from transforms.errors import TooFewUnitsError
from transforms.evidence_units import FoldRules, Units, plan_schemes

GEOD = pyproj.Geod(ellps="WGS84")
#: Half the diagonal of a patch.
DIAGONAL_M = 160.0 * np.sqrt(2)
SCHEMES = ("block", "longitude", "region", "transfer")

places = st.tuples(
    st.sampled_from([0.0, 102.0, 180.0, -71.3]), st.sampled_from([0.0, 12.5, -44.0, 64.0]), st.integers(0, 2**32 - 1)
)


def make_units(kind: str, n: int, lon: float, lat: float, rng: np.random.Generator) -> Units:
    """Units over some 20 x 20 km around a place."""
    side = 10_000 / 111_000
    east = lon + rng.uniform(-side, side, n) / np.cos(np.radians(lat))
    return Units(
        kind,
        np.arange(n, dtype=np.uint64),
        np.array(["a", "b", "c"])[np.digitize(east, np.quantile(east, [1 / 3, 2 / 3]))],
        (east + 180.0) % 360.0 - 180.0,
        lat + rng.uniform(-side, side, n),
        rng.integers(0, 3, n).astype(np.int16),
        np.full(n, -1, np.int16),
        np.full(n, -1, np.int32),
        160.0 if kind == "patch" else 0.0,
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=15, deadline=None)
@given(place=places, buffer_m=st.sampled_from([0.0, 300.0, 1280.0]))
def test_training_footprints_keep_the_buffer_from_test_footprints(
    scheme: str, place: tuple[float, float, int], buffer_m: float
) -> None:
    lon, lat, seed = place
    rng = np.random.default_rng(seed)
    units = [make_units("patch", 120, lon, lat, rng), make_units("pixel", 150, lon, lat, rng)]
    found = plan_schemes(units, [scheme], FoldRules(3000.0, buffer_m, 3, seed))
    assert not found.problems
    for one in units:
        plan = found.plans[one.kind, scheme]
        times = np.zeros(len(one), int)
        for fold in range(plan.n_folds):
            train, test = np.flatnonzero(plan.trains(fold)), np.flatnonzero(plan.tests(fold))
            times[test] += 1
            pairs = np.broadcast_arrays(one.lon[train][:, None], one.lat[train][:, None], one.lon[test], one.lat[test])
            apart = GEOD.inv(*(values.ravel() for values in pairs))[2]
            # half a side is the least that a test footprint stands inside its block
            clear_m = buffer_m + (DIAGONAL_M + 160.0 if one.half_side_m and buffer_m else 0.0)
            assert apart.min(initial=np.inf) >= clear_m - 1.0
            assert not (plan.trains(fold) & plan.tests(fold)).any()
        assert times.max() <= (plan.n_folds - 1 if scheme == "transfer" else 1)


@pytest.mark.parametrize("scheme", ["block", "longitude"])
@settings(max_examples=15, deadline=None)
@given(place=places)
def test_patches_and_pixels_of_one_block_share_the_fold(scheme: str, place: tuple[float, float, int]) -> None:
    lon, lat, seed = place
    rng = np.random.default_rng(seed)
    units = [make_units("patch", 120, lon, lat, rng), make_units("pixel", 150, lon, lat, rng)]
    plans = plan_schemes(units, [scheme], FoldRules(3000.0, 300.0, 3, seed)).plans
    folds: dict[int, set[int]] = {}
    for plan in plans.values():
        for block, fold in zip(plan.block_id.tolist(), plan.fold.tolist(), strict=True):
            if fold >= 0:
                folds.setdefault(block, set()).add(fold)
    assert {len(numbers) for numbers in folds.values()} == {1}


@settings(max_examples=60, deadline=None)
@given(place=places, n=st.integers(30, 400), n_folds=st.integers(2, 5), skew=st.floats(1.0, 4.0))
def test_bands_of_longitude_are_contiguous_and_even(
    place: tuple[float, float, int], n: int, n_folds: int, skew: float
) -> None:
    lon, lat, seed = place
    rng = np.random.default_rng(seed)
    east = rng.uniform(0, 1, n) ** skew * 0.4
    wrapped = (lon + east + 180.0) % 360.0 - 180.0
    lats = np.full(n, lat)
    bands = build_longitude_assignment(wrapped, lats, edge_m=2000.0, n_folds=n_folds)
    fold = bands.fold_of(assign_blocks(wrapped, lats, 2000.0))
    # west to east the number of the band never falls, also across the antimeridian
    assert (np.diff(fold[np.argsort(east, kind="stable")]) >= 0).all()
    assert set(fold.tolist()) == set(range(n_folds))
    # a border is off its even share by half a column at most, unless columns are needed to give every band one
    west = block_origin(assign_blocks(wrapped, lats, 2000.0), 2000.0)[0] % WORLD_WIDTH_M
    heaviest = np.unique(west, return_counts=True)[1].max()
    sizes = np.bincount(fold)
    if len(np.unique(west)) > 5 * n_folds and heaviest < n / (2 * n_folds):
        assert np.abs(sizes - n / n_folds).max() <= heaviest


def test_fewer_columns_than_bands_are_refused() -> None:
    with pytest.raises(TooFewUnitsError, match="columns of blocks: found 1"):
        build_longitude_assignment([0.01, 0.02], [0.0, 1.0], edge_m=5000.0, n_folds=2)
