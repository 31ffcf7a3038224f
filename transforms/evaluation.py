"""One evaluation cell: held-out predictions of an arm, over folds, label draws and seeds.

Belongs here: running a probe over a fold plan. Does not: rows and metrics (`transforms/cell_rows.py`), where features
come from, files, clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from transforms.arms import Treatment
from transforms.block_folds import balance_folds
from transforms.budgets import Budget, draw_training
from transforms.errors import TooFewUnitsError
from transforms.fold_plan import FoldPlan, fold_split
from transforms.multilabel_metrics import predict_labels, tune_thresholds
from transforms.probes.base import AffineProbe, HyperParameters, Probe
from transforms.probes.registry import PROBES, ProbeOptions, build_probe
from transforms.retrieval import precision_at, rank_database
from transforms.targets import Targets
from transforms.tasks import RETRIEVAL_KS

FloatArray = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]
#: Blocks of which thresholds are tuned on one in so many; the probe is fitted on the others meanwhile.
_THRESHOLD_FOLDS = 4


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are trained.

    Attributes:
        options: grids and threads of the probes.
        max_train_units: cap on training units per fold, before any budget.
        seed: of draws and probes.
        threads: fits at once; results do not depend on it.
    """

    options: ProbeOptions
    max_train_units: int
    seed: int
    threads: int = 1


@dataclass(frozen=True)
class FitRule:
    """What is fitted in a cell.

    Attributes:
        probe: key in `probes.PROBES`, or `cosine` for retrieval.
        budget: how many labels a fold may train on.
        n_draws: how often those labels are drawn anew.
        treatment: what is done besides, see `arms.Treatment`.
    """

    probe: str
    budget: Budget
    n_draws: int = 1
    treatment: Treatment = ""

    @property
    def n_seeds(self) -> int:
        """Number of seeds; one for probes that draw nothing."""
        return PROBES[self.probe].n_seeds if self.probe in PROBES else 1


@dataclass(frozen=True)
class FoldFeatures:
    """Features of one fold.

    Attributes:
        train: float32 (n_train, d), or (n_train, 3, 3, d) for probes that read neighbourhoods.
        test: float32 (n_test, d), likewise.
        operator: what was fitted on the training units to make them, or None.
        split_at: where the features of a second arm begin; 0 = there is none.
    """

    train: FloatArray
    test: FloatArray
    operator: object | None = None
    split_at: int = 0


class Features(Protocol):
    """Where the features of an arm come from; whatever is fitted is fitted on the training units."""

    @property
    def threads(self) -> int | None:
        """Folds that may be made at once; None = any number."""
        ...

    def of_fold(self, fold: int, train: Int64Array, test: Int64Array) -> FoldFeatures:
        """Give the features of the training and test units of a fold (positions)."""
        ...


@dataclass(frozen=True)
class StoredFeatures:
    """Features that were not fitted: the same rows in every fold.

    Attributes:
        values: float32 (n, d) or (n, 3, 3, d).
    """

    values: FloatArray
    threads: int | None = None

    def of_fold(self, fold: int, train: Int64Array, test: Int64Array) -> FoldFeatures:
        """Take rows."""
        return FoldFeatures(self.values[train], self.values[test])


@dataclass(frozen=True)
class FitFacts:
    """What a probe says of its fit. Probes themselves are not kept: a forest weighs a fifth of a gigabyte.

    Attributes:
        n_parameters: numbers fitted to labels, of both probes where two are averaged.
        hp: hyper-parameters in use.
        converged: False where an optimiser stopped at its limit.
    """

    n_parameters: int
    hp: HyperParameters
    converged: bool


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
        y = _permute(targets.take(train), rule, [settings.seed, fold, draw])
        fitted = _fit(rule, found, y, plan.block_id[train], settings, which.seed)
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


@dataclass(frozen=True)
class _Fitted:
    """A probe, or two whose predictions are averaged, and the thresholds of its labels."""

    predict: Callable[[FloatArray], FloatArray]
    probes: Sequence[Probe]
    thresholds: FloatArray | None

    def facts(self) -> FitFacts:
        return FitFacts(
            sum(probe.n_parameters_ for probe in self.probes),
            self.probes[0].hp_,
            all(probe.converged_ for probe in self.probes),
        )

    def affine(self) -> AffineProbe | None:
        (first, *others) = self.probes
        return first if not others and isinstance(first, AffineProbe) else None


def _fit(
    rule: FitRule, found: FoldFeatures, y: Targets, groups: Int64Array, settings: ProbeSettings, seed: int
) -> _Fitted:
    """Fit the probe of a cell, and for several labels tune thresholds on blocks that were held out meanwhile."""
    X = found.train
    parts = [slice(None)]
    if rule.treatment == "late_average":
        parts = [slice(None, found.split_at), slice(found.split_at, None)]
    predict, probes = _fit_probes(rule, parts, X, y, groups, settings, seed)
    thresholds = None
    held = _hold_out(y, groups, settings.seed) if y.kind == "multilabel" else None
    if held is not None:
        provisional, _ = _fit_probes(rule, parts, X[~held], y.take(~held), groups[~held], settings, seed)
        thresholds = tune_thresholds(y.values[held], provisional(X[held]))
    return _Fitted(predict, probes, thresholds)


def _fit_probes(
    rule: FitRule,
    parts: list[slice],
    X: FloatArray,
    y: Targets,
    groups: Int64Array,
    settings: ProbeSettings,
    seed: int,
) -> tuple[Callable[[FloatArray], FloatArray], Sequence[Probe]]:
    """Fit one probe per part; give the mean of what they predict, and them."""
    probes = [
        build_probe(rule.probe, y.probe_target, y.n_outputs, seed=seed, options=settings.options).fit(
            X[..., part], y.values, groups=groups
        )
        for part in parts
    ]

    def predict(features: FloatArray) -> FloatArray:
        found = [
            probe.predict(features[..., part]) if y.is_continuous else probe.predict_proba(features[..., part])
            for probe, part in zip(probes, parts, strict=True)
        ]
        return np.mean(found, axis=0, dtype=np.float32) if len(found) > 1 else found[0]

    return predict, probes


def _predict(fitted: _Fitted, found: FoldFeatures, targets: Targets, fit: _Fit) -> FoldOutcome:
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


def _permute(y: Targets, rule: FitRule, seed: list[int]) -> Targets:
    """Deal the training labels to other units, for the control that must score like the prior."""
    if rule.treatment != "permuted_labels":
        return y
    return y.take(np.random.default_rng(seed).permutation(len(y)))


def _hold_out(y: Targets, groups: Int64Array, seed: int) -> npt.NDArray[np.bool_] | None:
    """Choose whole blocks to tune thresholds on, about a quarter; None where there are fewer than four blocks."""
    names = np.unique(groups)
    if len(names) < _THRESHOLD_FOLDS:
        return None
    blocks, fold = balance_folds(groups, np.zeros(len(y), np.int64), _THRESHOLD_FOLDS, np.random.default_rng(seed))
    return np.asarray(fold[np.searchsorted(blocks, groups)] == 0, np.bool_)
