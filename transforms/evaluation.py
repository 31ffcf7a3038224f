"""One evaluation cell: held-out predictions of an arm, over folds, label draws and seeds.

Belongs here: running a cell over a fold plan, and what comes out. Does not: single fits (`cell_fits.py`), where
features come from (`cell_features.py`), rows and metrics (`cell_rows.py`), files, clocks.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from transforms.budgets import draw_training
from transforms.cell_features import Features, FloatArray, FoldFeatures, Int64Array
from transforms.cell_fits import CellFit, FitFacts, FitRule, ProbeSettings, fit_cell, permute_labels
from transforms.errors import TooFewUnitsError
from transforms.fold_plan import FoldPlan, fold_split
from transforms.multilabel_metrics import predict_labels
from transforms.probes.base import AffineProbe
from transforms.retrieval import precision_at, rank_database
from transforms.targets import Targets
from transforms.tasks import RETRIEVAL_KS


@dataclass(frozen=True)
class FoldOutcome:
    """One fit of a cell.

    Attributes:
        fold: number of the fold.
        test: int64 (m,) positions of the test units.
        pred: int16 (m,) class ids; bool (m, k) labels at 0.5; float32 (m, o) values; or, for retrieval, float64
            (m, n_k) precision at each k.
        proba: float32 (m, k), or None for continuous targets and retrieval.
        n_train: training units used.
        fit: what was fitted, or None for retrieval.
        probe: the fitted probe, for maps; None where its scores may not be interpolated.
        dims: width of the features.
        operator: what was fitted to make them, or None.
        draw: which draw of the label budget.
        seed: of the probe.
        tuned: bool (m, k), labels at thresholds tuned on held-out training blocks; None where there are none.
    """

    fold: int
    test: Int64Array
    pred: npt.NDArray[Any]
    proba: FloatArray | None
    n_train: int
    fit: FitFacts | None
    probe: AffineProbe | None = None
    dims: int = 0
    operator: object | None = None
    draw: int = 0
    seed: int = 0
    tuned: npt.NDArray[np.bool_] | None = None

    def take(self, chosen: npt.NDArray[np.bool_]) -> FoldOutcome:
        """Give the outcome at chosen test units (mask)."""
        return replace(
            self,
            test=self.test[chosen],
            pred=self.pred[chosen],
            proba=self.proba[chosen] if self.proba is not None else None,
            tuned=self.tuned[chosen] if self.tuned is not None else None,
        )


@dataclass(frozen=True)
class CellOutcome:
    """All fits of a cell, or why there are none.

    Attributes:
        folds: outcomes by draw, seed and fold; empty where the cell failed.
        problem: why it failed; empty where it did not.
    """

    folds: tuple[FoldOutcome, ...]
    problem: str

    def select(self, draw: int, seed: int) -> CellOutcome:
        """Give the folds of one draw and seed."""
        return CellOutcome(tuple(f for f in self.folds if (f.draw, f.seed) == (draw, seed)), self.problem)

    def repeats(self) -> list[tuple[int, int]]:
        """List (draw, seed) in order."""
        return list(dict.fromkeys((item.draw, item.seed) for item in self.folds))


def run_cell(
    features: Features, targets: Targets, plan: FoldPlan, rule: FitRule, settings: ProbeSettings
) -> CellOutcome:
    """Train and test one arm in every fold, for every draw of its label budget and every seed.

    Everything that is fitted is fitted on the training units of the fold. Where a fold has more than
    `max_train_units`, a uniform draw is taken; budgets are drawn from that. Both are the same for every arm.

    Args:
        features: of the n units.
        targets: of the n units.
        plan: folds of the n units.
        rule: what is fitted.
        settings: how probes are trained.

    Returns:
        The outcome; a fold that cannot be run makes the whole cell a failed one, with the reason.
    """
    strata = targets.strata()

    def run_fit(fit: tuple[int, int, int]) -> FoldOutcome:
        draw, repeat, fold = fit
        train, test = fold_split(plan, fold)
        train = draw_training(
            strata, _cap(train, settings, fold), rule.budget, fold=fold, draw=draw, seed=settings.seed
        )
        which = _Fit(fold, draw, settings.seed + repeat, train, test)
        found = features.of_fold(fold, train, test)
        if targets.kind == "relevance":
            return _rank(found, targets, which)
        y = permute_labels(targets.take(train), rule, [settings.seed, fold, draw])
        fitted = fit_cell(rule, found, y, plan.block_id[train], settings, which.seed)
        return _predict(fitted, found, targets, which)

    fits = list(product(range(rule.n_draws), range(rule.n_seeds), range(plan.n_folds)))
    # one BLAS thread each: the products are small, and with more the folds would wait for each other
    threads = min(settings.threads, features.threads or settings.threads)
    try:
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            folds = tuple(pool.map(run_fit, fits))
    except TooFewUnitsError as error:
        return CellOutcome((), str(error))
    return CellOutcome(folds, "")


@dataclass(frozen=True)
class _Fit:
    """Which fit of a cell."""

    fold: int
    draw: int
    seed: int
    train: Int64Array
    test: Int64Array


def _predict(fitted: CellFit, found: FoldFeatures, targets: Targets, fit: _Fit) -> FoldOutcome:
    """Predict the test units of a fit."""
    scores = fitted.predict(found.test)
    pred: npt.NDArray[Any]
    proba: FloatArray | None = scores
    tuned = None
    match targets.probe_target:
        case "class":
            pred = scores.argmax(axis=1).astype(np.int16)
        case "multilabel":
            pred = predict_labels(scores)
            tuned = predict_labels(scores, fitted.thresholds) if fitted.thresholds is not None else None
        case "continuous":
            pred, proba = targets.settle(scores), None
    return FoldOutcome(
        fold=fit.fold,
        test=fit.test,
        pred=pred,
        proba=proba,
        n_train=len(fit.train),
        fit=fitted.facts(),
        probe=fitted.affine(),
        dims=found.train.shape[-1],
        operator=found.operator,
        draw=fit.draw,
        seed=fit.seed,
        tuned=tuned,
    )


def _rank(found: FoldFeatures, targets: Targets, fit: _Fit) -> FoldOutcome:
    """Rank the training units of a fit for every test unit by cosine."""
    ranking = rank_database(found.test, found.train, max(RETRIEVAL_KS))
    precision = precision_at(ranking, targets.values[fit.test], targets.values[fit.train], RETRIEVAL_KS)
    return FoldOutcome(
        fold=fit.fold,
        test=fit.test,
        pred=precision,
        proba=None,
        n_train=len(fit.train),
        fit=None,
        dims=found.train.shape[-1],
        operator=found.operator,
        draw=fit.draw,
        seed=fit.seed,
    )


def _cap(train: Int64Array, settings: ProbeSettings, fold: int) -> Int64Array:
    if len(train) <= settings.max_train_units:
        return train
    rng = np.random.default_rng([settings.seed, fold])
    return np.sort(rng.choice(train, settings.max_train_units, replace=False))
