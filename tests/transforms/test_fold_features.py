"""Fitted upsampled arms see the training ground of their fold and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transforms.budgets import Budget
from transforms.cell_fits import FitRule, ProbeSettings
from transforms.errors import TooFewUnitsError
from transforms.evaluation import run_cell
from transforms.fold_features import PatchGround, UpsampledInFold
from transforms.folds import FoldPlan
from transforms.probes.registry import ProbeOptions
from transforms.targets import Targets
from transforms.upsampling.operators import UPSAMPLERS
from transforms.upsampling.rows import grid_rows
from transforms.upsampling.training import TrainingData


class Spy:
    """Records what it is fitted on, and gives the point's own coordinates."""

    seen: list[TrainingData]

    def __init__(self) -> None:
        self.missing_beyond = np.inf

    def fit(self, rows, vectors, training=None):
        Spy.seen.append(training)
        return self

    def transform(self, points_u, points_v, guide=None):
        vectors = np.stack([points_u, points_v], axis=1).astype(np.float32)
        vectors[np.asarray(points_u) > Spy.limit] = np.nan
        return vectors

    limit = np.inf


@pytest.fixture
def features() -> UpsampledInFold:
    Spy.seen, Spy.limit = [], np.inf
    rng = np.random.default_rng(0)
    x, y = (a.ravel() for a in np.meshgrid(100.0 * np.arange(6), 100.0 * np.arange(6)))
    is_training = np.stack([np.arange(36) % 2 == fold for fold in (0, 1)])
    ground = PatchGround(
        grid_rows(x, y),
        rng.normal(size=(36, 3)).astype(np.float32),
        rng.normal(size=(36, 2)).astype(np.float32),
        np.full((36, 2), 0.5, np.float32),
        is_training,
    )
    operator = replace(UPSAMPLERS["bilinear"], build=Spy, needs="labels")
    labels = rng.integers(0, 2, 40).astype(np.int16)
    guide = rng.normal(size=(40, 2)).astype(np.float32)
    return UpsampledInFold(operator, ground, rng.uniform(0, 500, 40), rng.uniform(0, 500, 40), labels, 2, guide, 3)


def test_training_data_are_those_of_the_fold(features: UpsampledInFold) -> None:
    train, test = np.arange(0, 20), np.arange(25, 40)
    found = features.of_fold(1, train, test)
    (training,) = Spy.seen
    np.testing.assert_array_equal(training.points_u, features.points_u[:20])
    np.testing.assert_array_equal(training.labels, features.labels[:20])
    np.testing.assert_array_equal(training.guide, features.guide[:20])
    np.testing.assert_array_equal(training.is_training_patch, np.arange(36) % 2 == 1)
    assert np.isnan(training.patch_fractions[::2]).all()
    assert (training.patch_fractions[1::2] == 0.5).all()
    assert training.seed == 3
    np.testing.assert_allclose(found.test[:, 0], features.points_u[25:], rtol=1e-6)
    assert isinstance(found.operator, Spy)


def test_a_cell_fits_one_operator_per_fold_and_keeps_it_for_maps(features: UpsampledInFold) -> None:
    block = np.arange(40) // 4
    plan = FoldPlan("block", block, (block % 2).astype(np.int8), None, np.zeros((40, 2), bool))
    settings = ProbeSettings(ProbeOptions(c_grid=(1.0,)), 100, 0, threads=2)
    targets = Targets("class", features.labels, ("one", "two"))
    outcome = run_cell(features, targets, plan, FitRule("logistic", Budget("percent", 100.0)), settings)
    assert outcome.problem == ""
    assert len(Spy.seen) == 2
    assert [item.dims for item in outcome.folds] == [2, 2]
    assert len({id(item.operator) for item in outcome.folds}) == 2


def test_a_unit_without_a_vector_fails_the_cell_and_says_so(features: UpsampledInFold) -> None:
    Spy.limit = 250.0
    with pytest.raises(TooFewUnitsError, match=r"bilinear in fold 0: found none at \d+ of 40 units"):
        features.of_fold(0, np.arange(20), np.arange(20, 40))
