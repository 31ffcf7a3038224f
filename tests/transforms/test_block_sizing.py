from __future__ import annotations

import pytest

from transforms.block_sizing import MIN_EDGE_M, size_blocks
from transforms.variogram import VariogramRange

LABELS = VariogramRange(4000.0, True, "spherical", 0.1)
FEATURES = VariogramRange(9000.0, True, "exponential", 0.1)
BOTH = {"labels of patches": LABELS, "features of patches": FEATURES}


def test_edge_is_twice_the_larger_range_and_the_buffer_that_range() -> None:
    found = size_blocks("auto", "auto", BOTH, reach_m=1280.0)
    assert (found.edge_m, found.buffer_m) == (18_000.0, 9000.0)
    assert "largest range 9000 m (features of patches, exponential)" in found.reason


def test_short_ranges_leave_the_least_edge_and_the_reach() -> None:
    found = size_blocks("auto", "auto", {"labels": VariogramRange(700.0, True, "nugget", 1.0)}, reach_m=1280.0)
    assert (found.edge_m, found.buffer_m) == (MIN_EDGE_M, 1280.0)
    assert size_blocks("auto", "auto", {}, reach_m=1280.0).edge_m == MIN_EDGE_M


@pytest.mark.parametrize(("may_undercut", "buffer_m"), [(False, 1280.0), (True, 80.0)])
def test_what_is_set_stays_and_only_a_diagnostic_buffer_is_below_the_reach(may_undercut: bool, buffer_m: float) -> None:
    found = size_blocks(160.0, 80.0, BOTH, reach_m=1280.0, may_undercut=may_undercut)
    assert (found.edge_m, found.buffer_m) == (160.0, buffer_m)
    assert "edge 160 m: set" in found.reason
    assert ("raised to the reach" in found.reason) != may_undercut


def test_an_auto_buffer_of_a_diagnostic_keeps_the_reach() -> None:
    assert size_blocks(160.0, "auto", {"labels": LABELS}, reach_m=6000.0, may_undercut=True).buffer_m == 6000.0


def test_a_range_that_was_not_found_is_no_excuse_for_small_blocks() -> None:
    found = size_blocks(
        "auto", "auto", {"labels": LABELS, "features": VariogramRange(30_000.0, False, "spherical", 0.0)}, reach_m=0.0
    )
    assert (found.edge_m, found.buffer_m) == (60_000.0, 30_000.0)
    assert "no range within the area: features" in found.reason
