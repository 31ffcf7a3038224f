"""S4 of the protocol: what labels allow when a block must carry one class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from transforms.errors import ShapeError
from transforms.metrics import confusion, mean_iou, overall_accuracy
from transforms.oracles.constant_labels import choose_for_iou, choose_majority, constant_confusions, count_blocks

PATCH_PX = 32
K = 5


def make_labels(seed: int, side_px: int = 8 * PATCH_PX, smoothness_px: float = 12.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fields = np.stack([gaussian_filter(rng.normal(size=(side_px, side_px)), smoothness_px) for _ in range(K)])
    return fields.argmax(axis=0).astype(np.int16)


def paint(chosen: np.ndarray, side_px: int, block_px: int) -> np.ndarray:
    """The map of constant blocks."""
    n = side_px // block_px
    return np.kron(chosen.reshape(n, n), np.ones((block_px, block_px), int)).astype(np.int16)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_c0_is_the_accuracy_of_the_majority_map(seed: int) -> None:
    labels = make_labels(seed)
    counts = count_blocks(labels, PATCH_PX, K)
    majority = choose_majority(counts)
    purity = counts.max(axis=1).sum() / counts.sum()
    shown = paint(majority, len(labels), PATCH_PX)
    assert purity == pytest.approx((shown == labels).mean(), abs=1e-12)
    np.testing.assert_array_equal(constant_confusions(counts, majority), confusion(labels.ravel(), shown.ravel(), K))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_c1_is_at_least_the_miou_of_the_majority(seed: int) -> None:
    counts = count_blocks(make_labels(seed), PATCH_PX, K)
    majority, chosen = choose_majority(counts), choose_for_iou(counts)
    assert mean_iou(constant_confusions(counts, chosen)) >= mean_iou(constant_confusions(counts, majority))


def test_c1_finds_the_best_labels_of_few_blocks() -> None:
    rng = np.random.default_rng(0)
    better = 0
    for _ in range(20):
        counts = rng.integers(0, 30, (4, 3)) * rng.integers(0, 2, (4, 3))
        counts[0, 0] += 1
        every = [np.array(choice) for choice in np.ndindex(3, 3, 3, 3)]
        best = max(float(mean_iou(constant_confusions(counts, one))) for one in every)
        found = float(mean_iou(constant_confusions(counts, choose_for_iou(counts))))
        assert found <= best + 1e-12
        better += found > best - 0.02
    assert better >= 15  # a local optimum, most often the best


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_c4_rises_as_the_blocks_get_smaller(seed: int) -> None:
    labels = make_labels(seed)
    accuracy, miou = [], []
    for block_px in (32, 16, 8, 4, 2, 1):  # 320, 160, 80, 40, 20, 10 m
        counts = count_blocks(labels, block_px, K)
        confusions = constant_confusions(counts, choose_majority(counts))
        accuracy.append(overall_accuracy(confusions))
        miou.append(mean_iou(confusions))
    assert (np.diff(accuracy) >= 0).all()  # a majority of parts is never worse than one of the whole
    assert (np.diff(miou) > -0.02).all()
    assert accuracy[-1] == miou[-1] == 1.0


@pytest.mark.parametrize(("n_px", "is_seen"), [(100, False), (511, False), (513, True), (900, True)])
def test_an_isolated_object_under_half_a_patch_is_never_found_by_constant_labels(n_px: int, is_seen: bool) -> None:
    labels = np.zeros((4 * PATCH_PX, 4 * PATCH_PX), np.int16)
    rows, cols = np.divmod(np.arange(n_px), PATCH_PX)
    labels[PATCH_PX + rows, PATCH_PX + cols] = 1
    counts = count_blocks(labels, PATCH_PX, 2)
    confusions = constant_confusions(counts, choose_majority(counts))
    recall = confusions[1, 1] / confusions[1].sum()
    assert recall == (1.0 if is_seen else 0.0)


def test_pixels_without_a_label_count_nowhere() -> None:
    labels = make_labels(1)
    labels[:40] = -1
    counts = count_blocks(labels, PATCH_PX, K)
    assert counts.sum() == (labels >= 0).sum()
    assert constant_confusions(counts, choose_for_iou(counts)).sum() == counts.sum()


def test_bad_grids_are_refused() -> None:
    with pytest.raises(ShapeError, match="multiples of 32"):
        count_blocks(np.zeros((30, 64), np.int16), 32, 2)
    with pytest.raises(ShapeError, match=r"0\.\.3, expected -1\.\.2"):
        count_blocks(np.array([[0, 3]], np.int16), 1, 3)
