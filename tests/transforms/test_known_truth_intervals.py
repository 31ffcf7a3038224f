"""S7 and S8 of the evidence design for statistics that are no confusion matrix: multi-label F1 and MAE.

Two arms err where smooth Gaussian fields of 2.5 km range are high, on touching blocks of 5 km: the hardest case that
the fold rule admits. Their true difference is known in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from transforms.inference import Contrast, Score, Units, contrast_sums
from transforms.multilabel_metrics import MULTILABEL_METRICS, binary_counts_by_block, units_of_counts
from transforms.regression_metrics import REGRESSION_METRICS, regression_sums_by_block, units_of_sums

EDGE_KM, RANGE_KM = 5.0, 2.5
UNITS_PER_BLOCK = 30
N_LABELS = 3
PREVALENCE = 0.35
N_RUNS = 300
MARGIN = 0.05

#: Makes sums per block from (error fields (n, m), difference from the reference, block of each unit, rng).
Observe = Callable[[np.ndarray, float, np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Statistic:
    """A metric, how an arm's sums come from its error fields, and which way is better."""

    score: Score
    units: Units
    observe: Observe
    higher_is_better: bool


def observe_labels(fields: np.ndarray, difference: float, blocks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flags that are wrong where a field is high, at the rate e that gives F1 = .7 + difference in the limit.

    With a share p of flags set, F1 = 2 p (1 - e) / (2 p (1 - e) + e), for each label and so for their mean.
    """
    f1, p = 0.7 + difference, PREVALENCE
    rate = 2 * p * (1 - f1) / (f1 * (1 - 2 * p) + 2 * p)
    truth = rng.random(fields.shape) < p
    wrong = fields > stats.norm.isf(rate)
    return binary_counts_by_block(truth, truth ^ wrong, blocks)[1]


def observe_values(fields: np.ndarray, difference: float, blocks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Errors that are the fields times a scale: the mean absolute normal is sqrt(2 / pi), so MAE = .3 + difference."""
    truth = rng.normal(size=fields.shape)
    return regression_sums_by_block(truth, truth + fields * (0.3 + difference) / np.sqrt(2 / np.pi), blocks)[1]


STATISTICS = {
    "multi-label F1": Statistic(MULTILABEL_METRICS["macro_f1"], units_of_counts, observe_labels, True),
    "MAE": Statistic(REGRESSION_METRICS["mae"], units_of_sums, observe_values, False),
}


def draw_fields(n_side: int, rng: np.random.Generator) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Blocks of units, and draws of independent fields at them, (n, 2 arms, labels)."""
    n_units = UNITS_PER_BLOCK * n_side**2
    xy_km = rng.uniform(0, n_side * EDGE_KM, (n_units, 2))
    blocks = (np.floor(xy_km / EDGE_KM) @ [n_side, 1]).astype(np.int64)
    length_km = RANGE_KM / np.sqrt(6)
    covariance = np.exp(-cdist(xy_km, xy_km, "sqeuclidean") / (2 * length_km**2))
    root = np.linalg.cholesky(covariance + 1e-6 * np.eye(n_units)).astype(np.float32)
    shape = (n_units, 2 * N_LABELS)
    draws = (root @ rng.standard_normal(shape, np.float32) for _ in range(N_RUNS))
    return blocks, (draw.reshape(n_units, 2, N_LABELS) for draw in draws)


def run(name: str, n_side: int, loss: float) -> list[Contrast]:
    """Contrast an arm that is worse by `loss` with its reference, many times."""
    statistic = STATISTICS[name]
    rng = np.random.default_rng([n_side, int((1 + loss) * 1000)])
    difference = -loss if statistic.higher_is_better else loss
    blocks, draws = draw_fields(n_side, rng)
    found = []
    for number, fields in enumerate(draws):
        arm, reference = (
            # one seed for both arms: they are scored on the same truth
            statistic.observe(fields[:, i], d, blocks, np.random.default_rng(number))
            for i, d in enumerate((difference, 0.0))
        )
        found.append(
            contrast_sums(
                arm,
                reference,
                statistic.score,
                units=statistic.units,
                margin=MARGIN,
                rng=rng,
                higher_is_better=statistic.higher_is_better,
            )
        )
    return found


def limit(rate: float) -> float:
    """A rate plus two Monte-Carlo standard errors."""
    return rate + 2 * float(np.sqrt(rate * (1 - rate) / N_RUNS))


def coverage(runs: list[Contrast], difference: float) -> float:
    return float(np.mean([found.lo <= difference <= found.hi for found in runs]))


# 5: 25 blocks, jackknife; 6: 36 blocks, bootstrap
@pytest.mark.parametrize("n_side", [5, 6])
@pytest.mark.parametrize("name", STATISTICS)
def test_s7_s8_equal_arms(name: str, n_side: int) -> None:
    runs = run(name, n_side, 0.0)
    assert coverage(runs, 0.0) >= 0.90 - 2 * np.sqrt(0.90 * 0.10 / N_RUNS)
    assert np.mean([found.verdict == "superior" for found in runs]) <= limit(0.05)


@pytest.mark.parametrize("n_side", [5, 6])
@pytest.mark.parametrize("name", STATISTICS)
def test_s7_s8_an_arm_worse_by_exactly_the_margin(name: str, n_side: int) -> None:
    runs = run(name, n_side, MARGIN)
    difference = -MARGIN if STATISTICS[name].higher_is_better else MARGIN
    assert coverage(runs, difference) >= 0.90 - 2 * np.sqrt(0.90 * 0.10 / N_RUNS)
    assert np.mean([found.verdict in ("superior", "non-inferior") for found in runs]) <= limit(0.05)
    # the closed form is right: the runs are spread about it
    deltas = np.array([found.delta for found in runs])
    assert deltas.mean() == pytest.approx(difference, abs=4 * deltas.std() / np.sqrt(N_RUNS) + 2e-3)


@pytest.mark.parametrize("name", STATISTICS)
def test_clear_differences_are_seen(name: str) -> None:
    assert np.mean([found.verdict == "inferior" for found in run(name, 6, 4 * MARGIN)]) > 0.9
    assert np.mean([found.verdict == "superior" for found in run(name, 6, -4 * MARGIN)]) > 0.9
