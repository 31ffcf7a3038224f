from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.transforms.fake_chips import make_chips
from transforms.errors import TooFewUnitsError
from transforms.pretraining.contrastive import ContrastiveOptions
from transforms.pretraining.fine_tuning import FineTuningOptions
from transforms.pretraining.study import AdapterCell, AdapterStudy, StudyOptions, list_adapter_cells
from transforms.pretraining.views import ViewOptions

pytest.importorskip("torch", reason="torch is an extra of its own: pip install 'isthmus[torch]'")

OPTIONS = StudyOptions(
    n_classes=3,
    width=4,
    max_labels=200,
    contrastive=ContrastiveOptions(steps=3, views=ViewOptions(crops=6, crop_px=8, places=4)),
    fine_tuning=FineTuningOptions(steps=10),
)
INITS = ("random_init", "pretrained", "shuffled_positives", "supervised_elsewhere")


def make_study(**options: object) -> AdapterStudy:
    return AdapterStudy(make_chips(np.random.default_rng(0), **options), OPTIONS)  # type: ignore[arg-type]


def test_cells_with_one_start_follow_each_other() -> None:
    cells = list_adapter_cells(("a", "b"), ("conv", "linear"), INITS, (1, 100), 3)
    assert len(set(cells)) == len(cells) == 2 * 2 * 4 * 2 * 3
    starts = [(cell.region, cell.head, cell.init, cell.seed) for cell in cells]
    assert sum(one != two for one, two in itertools.pairwise(starts)) == len(set(starts)) - 1


def test_five_seeds_of_two_folds_test_every_chip_and_only_held_out_ones() -> None:
    study = make_study()
    blocks = {}
    for seed in range(3):
        (region,) = study.run(AdapterCell("a", "linear", "random_init", 100, seed)).regions
        assert region.problem == ""
        assert (region.confusions.sum(axis=(1, 2)) == 144).all()
        blocks[seed] = set(region.block_id.tolist())
    assert blocks[0] == {0, 20, 40, 60}
    assert blocks[1] == {10, 30, 50, 70}
    assert blocks[2] == blocks[0]


def test_a_cell_is_tested_in_every_region() -> None:
    scores = make_study(regions=("a", "b")).run(AdapterCell("b", "conv", "pretrained", 50, 1))
    assert [region.region for region in scores.regions] == ["a", "b"]
    assert scores.fold == 1
    assert scores.n_labels == 100
    a, b = (set(region.block_id.tolist()) for region in scores.regions)
    assert not a & b
    assert len(a) == len(b) == 2


def test_linear_starts_end_alike_and_convolutional_ones_do_not() -> None:
    study = make_study(regions=("a", "b"))
    for head, is_same in (("linear", True), ("conv", False)):
        counts = [study.run(AdapterCell("a", head, init, 100, 0)).regions[0].confusions for init in INITS]  # type: ignore[arg-type]
        assert all(np.array_equal(counts[0], other) for other in counts[1:]) == is_same


def test_a_start_serves_all_budgets_of_its_seed() -> None:
    study = make_study()
    one = study.prepare(AdapterCell("a", "conv", "pretrained", 1, 0))
    assert study.prepare(AdapterCell("a", "conv", "pretrained", 100, 0)) is one
    assert study.prepare(AdapterCell("a", "conv", "pretrained", 100, 1)) is not one


def test_order_and_company_of_cells_change_nothing() -> None:
    cells = list_adapter_cells(("a", "b"), ("conv",), INITS, (10, 100), 2)
    together = make_study(regions=("a", "b"))
    scores = {cell: together.run(cell) for cell in cells}
    for cell in cells[::-5]:
        alone = make_study(regions=("a", "b")).run(cell)
        for one, two in zip(alone.regions, scores[cell].regions, strict=True):
            np.testing.assert_array_equal(one.confusions, two.confusions)


def test_an_adapter_from_elsewhere_is_not_tested_on_the_ground_of_its_labels() -> None:
    scores = make_study(regions=("a", "b")).run(AdapterCell("a", "conv", "supervised_elsewhere", 100, 0))
    home, away = scores.regions
    assert home.problem == ""
    assert away.problem == "its adapter was trained with labels of this region"


def test_labels_from_elsewhere_need_another_region() -> None:
    with pytest.raises(TooFewUnitsError, match="regions: found one, expected two or more"):
        make_study().run(AdapterCell("a", "conv", "supervised_elsewhere", 100, 0))


def test_a_region_without_labels_in_the_fold_says_so() -> None:
    chips = make_chips(np.random.default_rng(0), regions=("a", "b"))
    chips.labels[chips.region == "b"] = -1
    scores = AdapterStudy(chips, OPTIONS).run(AdapterCell("a", "linear", "random_init", 100, 0))
    assert [region.problem for region in scores.regions] == ["", "no labelled pixel in fold 0"]
