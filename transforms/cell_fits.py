"""One fit of a cell: a probe on the training units of a fold, or two whose predictions are averaged.

Belongs here: what is fitted, the thresholds of several labels, the control that permutes labels. Does not: folds, draws
and outcomes (`evaluation.py`), features (`cell_features.py`), the probes themselves (`probes/`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.arms import Treatment
from transforms.block_folds import balance_folds
from transforms.budgets import Budget
from transforms.cell_features import FloatArray, FoldFeatures, Int64Array
from transforms.multilabel_metrics import tune_thresholds
from transforms.probes.base import AffineProbe, HyperParameters, Probe
from transforms.probes.registry import PROBES, ProbeOptions, build_probe
from transforms.targets import Targets

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
class CellFit:
    """A fitted probe, or two whose predictions are averaged.

    Attributes:
        predict: features (m, d) to float32 (m, k) scores, or (m, o) values.
        probes: what was fitted.
        thresholds: float32 (k,), of several labels; None where there are none.
    """

    predict: Callable[[FloatArray], FloatArray]
    probes: Sequence[Probe]
    thresholds: FloatArray | None

    def facts(self) -> FitFacts:
        """Give what is kept of the fit."""
        return FitFacts(
            sum(probe.n_parameters_ for probe in self.probes),
            self.probes[0].hp_,
            all(probe.converged_ for probe in self.probes),
        )

    def affine(self) -> AffineProbe | None:
        """Give the probe where its scores may be interpolated: one alone, affine in its features."""
        (first, *others) = self.probes
        return first if not others and isinstance(first, AffineProbe) else None


def fit_cell(
    rule: FitRule, found: FoldFeatures, y: Targets, groups: Int64Array, settings: ProbeSettings, seed: int
) -> CellFit:
    """Fit the probe of a cell, and for several labels tune thresholds on blocks that were held out meanwhile.

    Args:
        rule: what is fitted.
        found: features of the fold.
        y: targets of its n training units.
        groups: int64 (n,), their blocks: inner folds and held-out units are whole blocks.
        settings: how probes are trained.
        seed: of the probe.
    """
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
    return CellFit(predict, probes, thresholds)


def permute_labels(y: Targets, rule: FitRule, seed: list[int]) -> Targets:
    """Deal the training labels to other units, for the control that must score like the prior.

    Args:
        y: targets of the training units.
        rule: tells whether the control is asked for.
        seed: of the deal.
    """
    if rule.treatment != "permuted_labels":
        return y
    return y.take(np.random.default_rng(seed).permutation(len(y)))


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


def _hold_out(y: Targets, groups: Int64Array, seed: int) -> npt.NDArray[np.bool_] | None:
    """Choose whole blocks to tune thresholds on, about a quarter; None where there are fewer than four blocks."""
    names = np.unique(groups)
    if len(names) < _THRESHOLD_FOLDS:
        return None
    blocks, fold = balance_folds(groups, np.zeros(len(y), np.int64), _THRESHOLD_FOLDS, np.random.default_rng(seed))
    return np.asarray(fold[np.searchsorted(blocks, groups)] == 0, np.bool_)
