"""Effective resolution and gap closed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import ShapeError
from transforms.oracles.ladder import effective_resolution, gap_closed

LADDER = {320.0: 0.4, 160.0: 0.5, 80.0: 0.6, 40.0: 0.8, 20.0: 0.9}


@pytest.mark.parametrize(
    ("score", "scale_m", "text"),
    [
        (0.4, 320.0, "320 m"),
        (0.5, 160.0, "160 m"),
        (0.55, 2**6.5 * 1.25, "113 m"),  # half way between 160 and 80 on the logarithm
        (0.65, 80 * 2**-0.25, "67 m"),
        (0.9, 20.0, "20 m"),
        (0.95, 20.0, "< 20 m"),
        (0.3, 320.0, "> 320 m"),
    ],
)
def test_resolution_lies_where_the_ladder_has_the_score(score: float, scale_m: float, text: str) -> None:
    found = effective_resolution(LADDER, score)
    assert found.scale_m == pytest.approx(scale_m)
    assert str(found) == text


@given(
    st.permutations(sorted(LADDER)), st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0, 1), st.floats(0, 1)
)
def test_a_better_arm_never_has_a_coarser_resolution(
    order: list[float], scores: list[float], first: float, second: float
) -> None:
    ladder = dict(zip(order, scores, strict=True))
    worse, better = (effective_resolution(ladder, score).scale_m for score in sorted((first, second)))
    assert 20.0 <= better <= worse * (1 + 1e-12) <= 320.0 * (1 + 1e-11)  # rounding of 2 ** log2


def test_a_dip_of_the_ladder_does_not_flatter() -> None:
    ladder = {320.0: 0.5, 160.0: 0.48, 80.0: 0.7}
    assert str(effective_resolution(ladder, 0.49)) == "> 320 m"
    assert effective_resolution(ladder, 0.5).scale_m == 320.0
    assert effective_resolution(ladder, 0.6).scale_m == pytest.approx(160 * 2**-0.5)


def test_an_arm_without_a_score_has_no_resolution() -> None:
    found = effective_resolution(LADDER, float("nan"))
    assert np.isnan(found.scale_m)
    assert str(found) == "undefined"


@pytest.mark.parametrize("ladder", [{}, {320.0: 0.4}, {0.0: 0.1, 20.0: 0.4}, {320.0: float("nan"), 20.0: 0.4}])
def test_a_ladder_without_two_scores_is_refused(ladder: dict[float, float]) -> None:
    with pytest.raises(ShapeError, match="two or more positive scales"):
        effective_resolution(ladder, 0.5)


def test_gap_closed_is_the_share_of_the_way_from_nearest_to_native() -> None:
    found = gap_closed([0.4, 0.5, 0.6, 0.3, 0.7], 0.4, 0.6)
    np.testing.assert_allclose(found, [0, 0.5, 1, -0.5, 1.5])


def test_without_a_gap_nothing_is_closed() -> None:
    assert np.isnan(gap_closed(0.5, [0.6, 0.6, np.nan], [0.6, 0.5, 0.7])).all()
