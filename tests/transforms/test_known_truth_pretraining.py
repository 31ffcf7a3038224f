"""S10 of the evidence design: pre-training pays where labels are few, and only where it must."""

from __future__ import annotations

import numpy as np
import pytest

from tests.transforms.fake_chips import make_chips
from transforms.metrics import mean_iou
from transforms.pretraining.chips import Chips
from transforms.pretraining.contrastive import ContrastiveOptions
from transforms.pretraining.fine_tuning import FineTuningOptions
from transforms.pretraining.study import AdapterStudy, StudyOptions, list_adapter_cells
from transforms.pretraining.views import ViewOptions

pytest.importorskip("torch", reason="torch is an extra of its own: pip install 'isthmus[torch]'")

N_CLASSES = 4
SEEDS = 5
INITS = ("random_init", "pretrained", "shuffled_positives")
#: A difference of mIoU, mean over seeds, that counts as none.
NONE = 0.03


def make_world(*, n_chips: int = 160, px: int = 12, dims: int = 24, noise: float = 0.7, seed: int = 0) -> Chips:
    """Embeddings of which a few dimensions say what is there, every year, and the others something else each year.

    Four latent fields, smooth over 80 m, decide the class of a pixel: the nearest of 8 points in their space, two
    points a class, so that no affine map separates the classes. The other 20 latent values are noise, drawn anew for
    each pixel and year; the four have a little of it too. A rotation mixes all 24 into the vector. So two years of a
    place share what matters and nothing else, which is what contrastive views can use; which of the 24 directions
    those are, 20 labelled pixels cannot tell. With 2,000 labels they can, and pre-training has nothing to add.
    """
    rng = np.random.default_rng(seed)
    waves, phases = rng.normal(0, 1 / 8, (2, n_chips, 4, 60)), rng.uniform(0, 2 * np.pi, (n_chips, 4, 60))
    row, col = np.mgrid[:px, :px]
    angle = waves[0][..., None, None] * row + waves[1][..., None, None] * col + phases[..., None, None]
    latent = np.cos(angle).sum(axis=2) / np.sqrt(30)
    points = rng.normal(size=(2 * N_CLASSES, 4))
    distance = ((latent[:, None] - points[None, :, :, None, None]) ** 2).sum(axis=2)
    labels = (distance.argmin(axis=1) % N_CLASSES).astype(np.int16)
    rotation = np.linalg.qr(rng.normal(size=(dims, dims)))[0]

    def observe() -> np.ndarray:
        values = rng.normal(0, noise, (n_chips, dims, px, px))
        values[:, :4] = latent + rng.normal(0, 0.3, latent.shape)
        return np.einsum("ij,cjhw->cihw", rotation, values).astype(np.float32)

    return make_chips(rng, vectors=observe(), other_year=observe(), labels=labels)


@pytest.fixture(scope="module")
def scores() -> dict[tuple[str, str, float], np.ndarray]:
    """mIoU of each seed, by head, start and budget."""
    options = StudyOptions(
        N_CLASSES,
        width=16,
        contrastive=ContrastiveOptions(steps=150, views=ViewOptions(crop_px=10)),
        fine_tuning=FineTuningOptions(steps=800),
    )
    study = AdapterStudy(make_world(), options)
    found: dict[tuple[str, str, float], list[float]] = {}
    for cell in list_adapter_cells(("a",), ("conv", "linear"), INITS, (1, 100), SEEDS):
        (region,) = study.run(cell).regions
        found.setdefault((cell.head, cell.init, cell.budget_pct), []).append(mean_iou(region.confusions.sum(axis=0)))
    return {key: np.array(values) for key, values in found.items()}


def gain(scores: dict[tuple[str, str, float], np.ndarray], init: str, budget: float, head: str = "conv") -> np.ndarray:
    """What a start gains over a random one, paired by seed."""
    return scores[head, init, budget] - scores[head, "random_init", budget]


def test_pretraining_gains_with_one_per_cent_of_the_labels(scores: dict) -> None:
    found = gain(scores, "pretrained", 1)
    assert found.mean() > 2 * NONE
    assert (found > 0).sum() >= SEEDS - 1


def test_pretraining_gains_nothing_with_all_labels(scores: dict) -> None:
    assert abs(gain(scores, "pretrained", 100).mean()) < NONE


@pytest.mark.parametrize("budget", [1, 100])
def test_shuffled_positives_gain_nothing_at_the_same_compute(scores: dict, budget: float) -> None:
    assert gain(scores, "shuffled_positives", budget).mean() < NONE


def test_the_gain_is_that_of_true_pairs(scores: dict) -> None:
    true, shuffled = (gain(scores, init, 1) for init in ("pretrained", "shuffled_positives"))
    assert (true - shuffled).mean() > 2 * NONE


@pytest.mark.parametrize("init", ["pretrained", "shuffled_positives"])
@pytest.mark.parametrize("budget", [1, 100])
def test_a_linear_head_gains_nothing(scores: dict, init: str, budget: float) -> None:
    """Its problem is convex: the start decides nothing. A gain here would be an error of the study."""
    assert np.abs(gain(scores, init, budget, "linear")).max() < 0.005


def test_the_head_learns_what_an_affine_map_cannot(scores: dict) -> None:
    """Else "no gain with all labels" would be the silence of a head that learns nothing."""
    conv, linear = (scores[head, "random_init", 100] for head in ("conv", "linear"))
    assert (conv - linear).mean() > 2 * NONE
    assert (linear - scores["linear", "random_init", 1]).mean() > 2 * NONE
