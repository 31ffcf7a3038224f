from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from tests.transforms.fake_chips import make_chips
from transforms.errors import TooFewUnitsError
from transforms.pretraining.chips import Chips, TrainingGround, training_ground
from transforms.pretraining.fine_tuning import (
    FineTuningOptions,
    FittedHead,
    _cut_fields,
    _hold_out,
    draw_labels,
    fine_tune,
    predict_chips,
)
from transforms.pretraining.head import MARGIN, adapter_session, build_adapter, count_weights, load_weights
from transforms.pretraining.linear_head import fit_affine

torch = pytest.importorskip("torch", reason="torch is an extra of its own: pip install 'isthmus[torch]'")
QUICK = FineTuningOptions(steps=60, channel_dropout=0.0)


def make_ground(seed: int = 0, **options: object) -> tuple[Chips, TrainingGround]:
    chips = make_chips(np.random.default_rng(seed), **options)  # type: ignore[arg-type]
    return chips, training_ground(chips, ("a",), 0)


def draw(chips: Chips, ground: TrainingGround, count: int, seed: int = 0):
    return draw_labels(ground, chips.labels[ground.chips], count, np.random.default_rng(seed))


@given(st.integers(2, 500), st.lists(st.floats(0.1, 100), min_size=2, max_size=4))
def test_budgets_are_nested(count: int, budgets: list[float]) -> None:
    chips, ground = make_ground()
    full = draw(chips, ground, count)
    sizes = [len(full.take(budget)) for budget in sorted(budgets)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 2
    assert len(full.take(100)) == len(full) == min(count, int(ground.may_train.sum()))
    for budget in budgets:
        part = full.take(budget)
        np.testing.assert_array_equal(part.label, full.label[: len(part)])
        assert len(part) >= min(len(full), len(full) * budget / 100)


def test_labels_are_those_of_distinct_training_pixels() -> None:
    chips, ground = make_ground()
    chips.labels[:, :4] = -1
    found = draw(chips, ground, 10_000)
    assert len(np.unique(np.stack([found.chip, found.row, found.col]), axis=1).T) == len(found)
    np.testing.assert_array_equal(chips.labels[ground.chips][found.chip, found.row, found.col], found.label)
    assert found.row.min() == 4
    assert len(found) == (ground.may_train[:, 4:]).sum()


def test_labels_of_one_class_are_refused() -> None:
    chips, ground = make_ground()
    chips.labels[...] = 1
    with pytest.raises(TooFewUnitsError, match="of 1 classes, expected two classes"):
        draw(chips, ground, 50)


def test_a_budget_of_one_class_is_refused() -> None:
    chips, ground = make_ground()
    full = draw(chips, ground, 50)
    same = replace(full, label=np.zeros_like(full.label))
    with pytest.raises(TooFewUnitsError, match="labels of a budget: found 50 of one class"):
        fine_tune(ground, same, "conv", 4, 3, QUICK, 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 99))
def test_whole_blocks_are_held_out_and_never_all(blocks: list[int], seed: int) -> None:
    block = np.array(blocks)
    is_held = _hold_out(block, 0.2, np.random.default_rng(seed))
    held, used = set(block[is_held]), set(block[~is_held])
    assert not held & used
    assert used
    assert bool(held) == (len(set(blocks)) > 1)


@pytest.mark.parametrize("head", ["conv", "linear"])
def test_a_pixel_is_predicted_alike_alone_and_in_its_chip(head: str) -> None:
    """The field that training cuts out around a pixel is all that the head sees of a chip."""
    chips, ground = make_ground(px=7)
    found = draw(chips, ground, 10_000)
    fitted = fine_tune(ground, found, head, 5, 3, QUICK, 0)
    in_chip = predict_chips(fitted, ground.seen)[found.chip, found.row, found.col]
    fields = _cut_fields(ground, found, MARGIN[head])
    if head == "linear":
        alone = (fields[:, :, 0, 0] @ fitted.weights[0].T + fitted.weights[1]).argmax(axis=1)
    else:
        with adapter_session(0), torch.no_grad():
            adapter = build_adapter(torch, head, 6, 5)
            load_weights(torch, adapter, fitted.adapter())
            hidden = adapter(torch.from_numpy(fields))[:, :, 0, 0].numpy()
        alone = (hidden @ fitted.weights[-2][:, :, 0, 0].T + fitted.weights[-1]).argmax(axis=1)
    np.testing.assert_array_equal(in_chip, alone)


def make_separable() -> tuple[Chips, TrainingGround]:
    """The class is the sign of the mean of one channel around a pixel, which noise hides at the pixel itself."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8, 4, 16, 16)).astype(np.float32)
    side = np.where(np.arange(16) < 8, -1.0, 1.0)
    vectors[:, 0] += side
    labels = np.broadcast_to((side > 0).astype(np.int16), (8, 16, 16)).copy()
    return make_ground(vectors=vectors, labels=labels)


def test_the_head_looks_around_a_pixel_and_the_linear_one_cannot() -> None:
    chips, ground = make_separable()
    test = np.flatnonzero(chips.fold == 0)
    right = {}
    for head in ("conv", "linear"):
        fitted = fine_tune(ground, draw(chips, ground, 800), head, 8, 2, FineTuningOptions(), 0)
        pred = predict_chips(fitted, ground.standardise(chips.vectors[test]))
        right[head] = (pred == chips.labels[test]).mean()
    assert right["linear"] == pytest.approx(0.84, abs=0.03)  # of a normal variate on the right side of 1
    assert right["conv"] > right["linear"] + 0.08


def test_one_seed_gives_one_head() -> None:
    chips, ground = make_ground()
    full = draw(chips, ground, 100)
    options = replace(QUICK, channel_dropout=0.3)
    one, again, other = (fine_tune(ground, full, "conv", 4, 3, options, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one.weights, again.weights, strict=True))
    assert not np.array_equal(one.weights[0], other.weights[0])


def test_a_start_is_where_training_starts() -> None:
    chips, ground = make_ground()
    full = draw(chips, ground, 100)
    shapes = [part.shape for part in fine_tune(ground, full, "conv", 4, 3, QUICK, 0).adapter()]
    start = tuple(np.full(shape, 0.01, np.float32) for shape in shapes)
    # one block: nothing is held out, so the weights after the last step are kept
    still = replace(QUICK, steps=1, learning_rate=0.0, weight_decay=0.0)
    fitted = fine_tune(ground, full, "conv", 4, 3, still, 0, start)
    assert all(np.array_equal(a, b) for a, b in zip(fitted.adapter(), start, strict=True))


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_the_linear_head_is_logistic_regression_whatever_its_start(c: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 5)).astype(np.float32)
    labels = (x @ rng.normal(size=(5, 3)) + rng.normal(size=(150, 3))).argmax(axis=1)
    expected = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, labels)
    for scale in (0.0, 0.1, 5.0):
        factors = tuple(
            scale * rng.normal(size=shape).astype(np.float32) for shape in ((4, 5, 1, 1), (4,), (3, 4, 1, 1), (3,))
        )
        matrix, offset = fit_affine(x, labels, 3, c, factors)
        np.testing.assert_allclose(matrix, expected.coef_, atol=2e-3)
        # a constant in all offsets changes nothing
        np.testing.assert_allclose(offset - offset.mean(), expected.intercept_ - expected.intercept_.mean(), atol=2e-3)


@pytest.mark.parametrize("head", ["conv", "linear"])
def test_weights_are_counted(head: str) -> None:
    chips, ground = make_ground()
    fitted: FittedHead = fine_tune(ground, draw(chips, ground, 50), head, 5, 3, QUICK, 0)
    assert sum(part.size for part in fitted.weights) == count_weights(head, 6, 5, 3)
