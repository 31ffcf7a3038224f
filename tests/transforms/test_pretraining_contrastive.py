from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.fake_chips import make_chips
from transforms.errors import TooFewUnitsError
from transforms.pretraining.chips import TrainingGround, training_ground
from transforms.pretraining.contrastive import ContrastiveOptions, info_nce, near_pairs, pretrain
from transforms.pretraining.views import ViewOptions

torch = pytest.importorskip("torch", reason="torch is an extra of its own: pip install 'isthmus[torch]'")
QUICK = ContrastiveOptions(steps=3, views=ViewOptions(crops=6, crop_px=8, places=4))


def reference(first: np.ndarray, second: np.ndarray, positive: np.ndarray, ignored: np.ndarray, tau: float) -> float:
    """InfoNCE term by term, in both directions."""
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    losses = []
    for i, q in enumerate(positive):
        others = [j for j in range(len(second)) if j == q or not ignored[i, j]]
        scores = {j: first[i] @ second[j] / tau for j in others}
        losses.append(-np.log(np.exp(scores[q]) / sum(np.exp(s) for s in scores.values())))
        # the same pair seen from view 2
        others = [j for j in range(len(first)) if j == i or not ignored[j, q]]
        scores = {j: first[j] @ second[q] / tau for j in others}
        losses.append(-np.log(np.exp(scores[i]) / sum(np.exp(s) for s in scores.values())))
    return float(np.mean(losses))


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.0))
@settings(max_examples=25)
def test_info_nce_is_its_formula(seed: int, tau: float) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, 7, 5))
    positive = rng.permutation(7)
    ignored = rng.random((7, 7)) < 0.4
    ignored |= ignored.T
    found = info_nce(torch, *(torch.from_numpy(part) for part in (first, second, positive, ignored)), tau)
    assert float(found) == pytest.approx(reference(first, second, positive, ignored, tau), rel=1e-9)


def test_equal_views_of_far_places_have_a_small_loss() -> None:
    z = torch.eye(6, dtype=torch.float64)
    loss = info_nce(torch, z, z, torch.arange(6), torch.eye(6, dtype=torch.bool), 0.1)
    assert float(loss) == pytest.approx(np.log(1 + 5 * np.exp(-10)))


def test_places_within_a_patch_are_no_negatives() -> None:
    ground = np.array([[0.0, 0, 0], [320.0, 0, 0], [321.0, 0, 0]])
    np.testing.assert_array_equal(near_pairs(ground, 320.0), [[1, 1, 0], [1, 1, 1], [0, 1, 1]])


def make_ground(seed: int = 0, **options: object) -> tuple[TrainingGround, np.ndarray]:
    chips = make_chips(np.random.default_rng(seed), **options)  # type: ignore[arg-type]
    ground = training_ground(chips, ("a",), 0)
    return ground, chips.ground_m[ground.chips]


@pytest.mark.parametrize("head", ["conv", "linear"])
def test_one_seed_gives_one_adapter_and_leaves_torch_as_it_was(head: str) -> None:
    ground, ground_m = make_ground()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = pretrain(ground, ground_m, head, 4, QUICK, seed=1)
    assert torch.equal(torch.rand(3), expected)
    again = pretrain(ground, ground_m, head, 4, QUICK, seed=1)
    other = pretrain(ground, ground_m, head, 4, QUICK, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_shuffled_positives_see_the_same_views_and_learn_something_else() -> None:
    ground, ground_m = make_ground()
    true = pretrain(ground, ground_m, "conv", 4, QUICK, seed=1)
    shuffled = pretrain(ground, ground_m, "conv", 4, QUICK, seed=1, is_shuffled=True)
    assert [part.shape for part in true] == [part.shape for part in shuffled]
    assert not np.allclose(true[0], shuffled[0])


def test_pretraining_pulls_views_of_a_place_together() -> None:
    """Two years share 2 of 6 channels: a linear adapter learns to look at those."""
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 8, 6, 12, 12)).astype(np.float32)
    two[:, :2] = one[:, :2]
    ground, ground_m = make_ground(vectors=one, other_year=two)
    options = replace(QUICK, steps=150, views=replace(QUICK.views, crops=16, channel_dropout=0.0))
    weights = pretrain(ground, ground_m, "linear", 4, options, seed=0)[0][:, :, 0, 0]
    assert np.abs(weights[:, :2]).mean() > 3 * np.abs(weights[:, 2:]).mean()


def test_a_place_too_small_for_negatives_is_refused() -> None:
    ground, ground_m = make_ground()
    with pytest.raises(TooFewUnitsError, match="none beyond 1e"):
        pretrain(ground, ground_m, "conv", 4, replace(QUICK, min_negative_m=1e9), seed=0)
