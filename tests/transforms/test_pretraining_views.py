from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.fake_chips import make_chips
from transforms.errors import TooFewUnitsError
from transforms.pretraining.chips import TrainingGround
from transforms.pretraining.views import ViewOptions, draw_views

PLAIN = ViewOptions(crops=5, crop_px=8, places=6, channel_dropout=0.0, noise=0.0)


def make_ground(seed: int, px: int = 12) -> tuple[TrainingGround, np.ndarray]:
    """Ground whose vectors say where they are: chip, row, column; the other year is 1,000 more."""
    rng = np.random.default_rng(seed)
    chips = make_chips(rng, n_chips=3, px=px)
    at = np.stack(np.meshgrid(np.arange(3), np.arange(px), np.arange(px), indexing="ij"), axis=1).astype(np.float32)
    may_train = rng.random((3, px, px)) < 0.7
    return TrainingGround(np.arange(3), at, at + 1_000, may_train, np.zeros(3), np.ones(3)), chips.ground_m


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 2]))
@settings(max_examples=40)
def test_both_views_show_the_same_ground_at_the_same_place(seed: int, margin: int) -> None:
    ground, ground_m = make_ground(seed)
    views = draw_views(ground, ground_m, PLAIN, margin, np.random.default_rng(seed))
    crop, row, col = views.at_first.T
    size = 8 - 2 * margin
    for at in (views.at_first, views.at_second):
        assert ((at[:, 1:] >= 0) & (at[:, 1:] < size)).all()
    first = views.first[crop, :, row + margin, col + margin]
    crop, row, col = views.at_second.T
    second = views.second[crop, :, row + margin, col + margin]
    np.testing.assert_array_equal(first + 1_000, second)
    where = tuple(first.astype(int).T)
    assert ground.may_train[where].all()
    np.testing.assert_array_equal(ground_m[where], views.ground_m)


def test_views_differ_by_offset_and_flips() -> None:
    ground, ground_m = make_ground(0)
    views = draw_views(ground, ground_m, replace(PLAIN, crops=200), 0, np.random.default_rng(0))
    shifts = views.first[:, 1:].mean(axis=(2, 3)) - (views.second[:, 1:].mean(axis=(2, 3)) - 1_000)
    assert np.abs(shifts).max() == 4  # half a crop
    assert (shifts != 0).mean() > 0.5
    down = np.sign(views.first[:, 1, -1, 0] - views.first[:, 1, 0, 0])
    right = np.sign(views.first[:, 2, 0, -1] - views.first[:, 2, 0, 0])
    for direction in (down, right):
        assert 0.4 < (direction > 0).mean() < 0.6


def test_whole_channels_are_dropped_and_the_others_scaled_up() -> None:
    ground, ground_m = make_ground(0)
    ground = replace(ground, seen=np.ones_like(ground.seen), seen_other=np.ones_like(ground.seen))
    options = replace(PLAIN, crops=300, channel_dropout=0.25)
    views = draw_views(ground, ground_m, options, 0, np.random.default_rng(0))
    channels = views.first.reshape(300, 3, -1)
    assert (channels == channels[..., :1]).all()
    np.testing.assert_allclose(np.unique(channels), [0, 4 / 3], rtol=1e-6)
    assert (channels[..., 0] == 0).mean() == pytest.approx(0.25, abs=0.05)
    assert (views.first != views.second).any()


def test_noise_is_drawn_for_each_view() -> None:
    ground, ground_m = make_ground(0)
    ground = replace(ground, seen=np.zeros_like(ground.seen), seen_other=np.zeros_like(ground.seen))
    views = draw_views(ground, ground_m, replace(PLAIN, noise=0.5), 0, np.random.default_rng(0))
    assert views.first.std() == pytest.approx(0.5, abs=0.02)
    assert np.corrcoef(views.first.ravel(), views.second.ravel())[0, 1] == pytest.approx(0, abs=0.1)


def test_a_crop_larger_than_a_chip_is_the_chip() -> None:
    ground, ground_m = make_ground(0)
    views = draw_views(ground, ground_m, replace(PLAIN, crop_px=50), 0, np.random.default_rng(0))
    assert views.first.shape == (5, 3, 12, 12)


def test_ground_that_no_two_crops_share_is_refused() -> None:
    ground, ground_m = make_ground(0)
    ground = replace(ground, may_train=np.zeros_like(ground.may_train))
    with pytest.raises(TooFewUnitsError, match="places that two crops show: found 0"):
        draw_views(ground, ground_m, PLAIN, 2, np.random.default_rng(0))
