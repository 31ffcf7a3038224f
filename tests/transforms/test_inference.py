from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.inference import Contrast, contrast_arms, contrast_sums, decide_verdict, holm, interval_of_score
from transforms.metrics import METRICS

K = 3


def make_arms(n_blocks: int, units: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two arms on the same units, the first somewhat better."""
    rng = np.random.default_rng(seed)
    arms = []
    truth = rng.multinomial(units, [0.5, 0.3, 0.2], size=n_blocks)
    for accuracy in (0.75, 0.7):
        hit = rng.uniform(accuracy - 0.2, accuracy + 0.2, (n_blocks, 1, 1))
        chances = np.where(np.eye(K, dtype=bool), hit, (1 - hit) / (K - 1))
        arms.append(rng.multinomial(truth, chances))
    return arms[0], arms[1]


def contrast(arm: np.ndarray, reference: np.ndarray, metric: str = "macro_f1", seed: int = 5) -> Contrast:
    return contrast_arms(arm, reference, metric=metric, margin=0.02, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_bootstrap_equals_drawing_blocks_one_replicate_at_a_time(metric: str) -> None:
    arm, reference = make_arms(35, seed=1)  # close enough for replicates on both sides of 0
    found = contrast(arm, reference, metric)
    rng = np.random.default_rng(5)
    deltas = []
    for _ in range(2000):
        drawn = np.repeat(np.arange(35), rng.multinomial(35, np.full(35, 1 / 35)))
        score = METRICS[metric]
        deltas.append(score(arm[drawn].sum(axis=0)) - score(reference[drawn].sum(axis=0)))
    # levels of the expanded percentile interval: Phi(-t(34) sqrt(35 / 34)) = .0197
    level = stats.norm.cdf(-stats.t.ppf(0.975, 34) * np.sqrt(35 / 34))
    assert level == pytest.approx(0.0197, abs=1e-4)
    assert (found.lo, found.hi) == pytest.approx(tuple(np.quantile(deltas, [level, 1 - level])), abs=1e-9)
    below = (min(np.sum(np.array(deltas) <= 0), np.sum(np.array(deltas) >= 0)) + 1) / 2001
    assert found.p == pytest.approx(2 * stats.t.sf(stats.norm.isf(below) * np.sqrt(34 / 35), 34))
    assert found.method == "block_bootstrap"
    assert found.delta == pytest.approx(float(score(arm.sum(axis=0)) - score(reference.sum(axis=0))))


@pytest.mark.parametrize("n_blocks", [30, 40, 100])
def test_the_bootstrap_of_accuracy_is_close_to_the_paired_t_interval(n_blocks: int) -> None:
    arm, reference = make_arms(n_blocks)
    found = contrast(arm, reference, "overall_accuracy")
    expected = stats.ttest_1samp((np.trace(arm, axis1=1, axis2=2) - np.trace(reference, axis1=1, axis2=2)) / 60, 0.0)
    interval = expected.confidence_interval(0.95)
    width = interval.high - interval.low
    assert (found.lo, found.hi) == pytest.approx((interval.low, interval.high), abs=0.06 * width)
    assert (found.p < 0.05) == (not found.lo <= 0 <= found.hi)
    assert found.p == pytest.approx(expected.pvalue, abs=0.06)


def test_a_difference_that_no_replicate_reaches_is_as_unlikely_as_the_paired_t_test_says() -> None:
    arm, _ = make_arms(60)
    reference = np.roll(arm, 1, axis=2)  # another class each time
    found = contrast(arm, reference, "overall_accuracy")
    per_block = (np.trace(arm, axis1=1, axis2=2) - np.trace(reference, axis1=1, axis2=2)) / 60
    expected = stats.ttest_1samp(per_block, 0.0).pvalue
    assert expected < 1e-20
    assert np.log10(found.p) == pytest.approx(np.log10(expected), rel=0.05)
    # counted among 2,000 replicates it would be .001, and .2 after the correction of 200 contrasts
    assert holm([found.p] * 200).max() < 1e-15


@pytest.mark.parametrize("n_blocks", [2, 12, 29])
def test_jackknife_of_accuracy_is_the_paired_t_interval(n_blocks: int) -> None:
    # with equal blocks the statistic is a mean over blocks, for which both are the same by algebra
    arm, reference = make_arms(n_blocks)
    found = contrast(arm, reference, "overall_accuracy")
    per_block = (np.trace(arm, axis1=1, axis2=2) - np.trace(reference, axis1=1, axis2=2)) / 60
    expected = stats.ttest_1samp(per_block, 0.0)
    interval = expected.confidence_interval(0.95)
    assert (found.delta, found.lo, found.hi) == pytest.approx((per_block.mean(), interval.low, interval.high))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.method == "block_jackknife_t"


def test_jackknife_of_macro_f1_equals_leaving_out_one_block_at_a_time() -> None:
    arm, reference = make_arms(22)
    found = contrast(arm, reference)
    score = METRICS["macro_f1"]
    left_out = [
        float(score(np.delete(arm, i, 0).sum(axis=0)) - score(np.delete(reference, i, 0).sum(axis=0)))
        for i in range(22)
    ]
    se = np.sqrt(21 / 22 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert found.hi - found.delta == pytest.approx(stats.t.ppf(0.975, 21) * se)
    assert found.delta - found.lo == pytest.approx(stats.t.ppf(0.975, 21) * se)


@pytest.mark.parametrize("n_blocks", [25, 40])
@pytest.mark.parametrize("metric", ["macro_f1", "mean_iou", "overall_accuracy"])
def test_more_units_in_the_same_blocks_buy_no_certainty(n_blocks: int, metric: str) -> None:
    # an interval that took units as independent would shrink tenfold
    arm, reference = make_arms(n_blocks)
    few, many = contrast(arm, reference, metric), contrast(100 * arm, 100 * reference, metric)
    assert (many.lo, many.hi, many.p) == pytest.approx((few.lo, few.hi, few.p))


@pytest.mark.parametrize("n_blocks", [25, 40])
def test_swapping_the_arms_mirrors_the_interval(n_blocks: int) -> None:
    arm, reference = make_arms(n_blocks)
    one, other = contrast(arm, reference), contrast(reference, arm)
    assert (one.delta, one.lo, one.hi, one.p) == pytest.approx((-other.delta, -other.hi, -other.lo, other.p))
    score = METRICS["macro_f1"]
    assert one.block_wins == sum(score(arm[i]) > score(reference[i]) for i in range(n_blocks))
    assert one.block_wins + other.block_wins <= n_blocks


@pytest.mark.parametrize(("n_blocks", "verdict"), [(19, "inconclusive"), (20, "non-inferior"), (40, "non-inferior")])
def test_identical_arms(n_blocks: int, verdict: str) -> None:
    arm, _ = make_arms(n_blocks)
    found = contrast(arm, arm)
    assert (found.delta, found.lo, found.hi, found.p, found.block_wins) == (0.0, 0.0, 0.0, 1.0, 0)
    assert found.verdict == verdict


def test_under_twenty_blocks_an_interval_but_no_verdict() -> None:
    arm, reference = make_arms(19, units=500)
    perfect = np.zeros_like(arm)
    perfect[:, range(K), range(K)] = arm.sum(axis=2)
    found = contrast(perfect, reference)
    assert found.lo > 0.1
    assert found.hi < 0.5
    assert found.verdict == "inconclusive"


def test_blocks_without_units_do_not_count() -> None:
    arm, reference = make_arms(25)
    empty = np.zeros((10, K, K), np.int64)
    padded = contrast(np.concatenate([empty, arm]), np.concatenate([empty, reference]))
    assert padded == contrast(arm, reference)
    assert padded.n_blocks == 25


def test_the_seed_decides() -> None:
    arm, reference = make_arms(40)
    assert contrast(arm, reference, seed=1) == contrast(arm, reference, seed=1)
    assert contrast(arm, reference, seed=1) != contrast(arm, reference, seed=2)


def test_unpaired_arms_are_refused() -> None:
    arm, reference = make_arms(25)
    other = reference.copy()
    other[3, 0, 0] += 1
    with pytest.raises(ShapeError, match=r"1 of 25 blocks differ \(first at position 3\)"):
        contrast(arm, other)
    with pytest.raises(ShapeError, match="Align both arms"):
        contrast(arm, reference[1:])
    with pytest.raises(ShapeError, match="macro_f1"):
        contrast(arm, reference, "accuracy")


def test_one_block_is_no_sample_however_many_units_it_holds() -> None:
    arm, reference = make_arms(1, units=1_000_000)
    with pytest.raises(TooFewUnitsError, match="blocks with test units: found 1"):
        contrast(arm, reference)


def test_an_undefined_metric_is_inconclusive() -> None:
    arm = np.zeros((25, K, K), np.int64)
    arm[:, 1, 1] = 5  # one class everywhere: kappa is undefined
    found = contrast(arm, arm, "kappa")
    assert np.isnan([found.delta, found.lo, found.hi, found.p]).all()
    assert found.verdict == "inconclusive"


def error_sums(n_blocks: int, mean: float, seed: int) -> np.ndarray:
    """Per block: number of units, sum of their truth, sum of their absolute errors, (b, 3) floats."""
    rng = np.random.default_rng(seed)
    errors = np.abs(rng.normal(mean, 0.02, n_blocks)) * 50
    truth = np.random.default_rng(0).uniform(10, 20, n_blocks)
    return np.stack([np.full(n_blocks, 50.0), truth, errors], axis=1)


def mean_error(sums: np.ndarray) -> np.ndarray:
    return sums[..., 2] / sums[..., 0]


def contrast_errors(arm: np.ndarray, reference: np.ndarray, *, higher_is_better: bool = False) -> Contrast:
    return contrast_sums(
        arm,
        reference,
        mean_error,
        units=lambda sums: sums[..., :2],
        margin=0.02,
        rng=np.random.default_rng(5),
        higher_is_better=higher_is_better,
    )


@pytest.mark.parametrize("n_blocks", [25, 40])
@pytest.mark.parametrize(("mean", "verdict"), [(0.05, "superior"), (0.105, "non-inferior"), (0.2, "inferior")])
def test_of_errors_the_lower_is_the_better(n_blocks: int, mean: float, verdict: str) -> None:
    arm, reference = error_sums(n_blocks, mean, 1), error_sums(n_blocks, 0.1, 2)
    found = contrast_errors(arm, reference)
    assert found.verdict == verdict
    # the interval keeps the sign of the metric
    assert found.delta == pytest.approx((arm[:, 2].sum() - reference[:, 2].sum()) / (50 * n_blocks))
    assert found.lo < found.delta < found.hi
    assert found.block_wins == (arm[:, 2] < reference[:, 2]).sum()


@pytest.mark.parametrize("n_blocks", [25, 40])
def test_a_loss_and_its_negative_give_one_verdict(n_blocks: int) -> None:
    arm, reference = make_arms(n_blocks)
    accuracy = METRICS["overall_accuracy"]
    options = {"units": lambda counts: counts.sum(axis=-1), "margin": 0.02}
    as_score = contrast_sums(arm, reference, accuracy, rng=np.random.default_rng(5), **options)
    as_loss = contrast_sums(
        arm,
        reference,
        lambda counts: 1 - accuracy(counts),
        rng=np.random.default_rng(5),
        higher_is_better=False,
        **options,
    )
    assert (as_loss.delta, as_loss.lo, as_loss.hi) == pytest.approx((-as_score.delta, -as_score.hi, -as_score.lo))
    assert (as_loss.verdict, as_loss.block_wins) == (as_score.verdict, as_score.block_wins)
    assert as_loss.p == pytest.approx(as_score.p)


def test_the_jackknife_of_mean_errors_is_the_paired_t_interval() -> None:
    arm, reference = error_sums(25, 0.12, 1), error_sums(25, 0.1, 2)
    found = contrast_errors(arm, reference)
    interval = stats.ttest_1samp((arm[:, 2] - reference[:, 2]) / 50, 0.0).confidence_interval(0.95)
    assert (found.lo, found.hi) == pytest.approx((interval.low, interval.high))


def test_sums_over_other_units_are_refused() -> None:
    arm, reference = error_sums(25, 0.1, 1), error_sums(25, 0.1, 2)
    rounded = arm.copy()
    rounded[:, 1] *= 1 + 1e-12  # the same truth, added up in another order
    assert contrast_errors(rounded, reference) == contrast_errors(arm, reference)
    arm[4, 1] += 1e-3
    with pytest.raises(ShapeError, match=r"1 of 25 blocks differ \(first at position 4\)"):
        contrast_errors(arm, reference)
    with pytest.raises(ShapeError, match="Align both arms"):
        contrast_errors(arm[1:], reference)


@pytest.mark.parametrize("n_blocks", [25, 40])
def test_the_interval_of_a_score_is_that_of_its_contrast_with_nothing(n_blocks: int) -> None:
    arm = error_sums(n_blocks, 0.1, 1)
    nothing = arm * [1, 1, 0]
    found = contrast_errors(arm, nothing)
    assert interval_of_score(arm, mean_error, rng=np.random.default_rng(5)) == (found.lo, found.hi)
    padded = np.concatenate([np.zeros((7, 3)), arm])
    assert interval_of_score(padded, mean_error, rng=np.random.default_rng(5)) == (found.lo, found.hi)
    with pytest.raises(TooFewUnitsError, match="found 1"):
        interval_of_score(arm[:1], mean_error, rng=np.random.default_rng(5))


@pytest.mark.parametrize(
    ("lo", "hi", "verdict"),
    [
        (0.001, 0.05, "superior"),
        (0.0, 0.05, "non-inferior"),  # the end must lie beyond 0
        (-0.019, 0.05, "non-inferior"),
        (-0.019, -0.001, "non-inferior"),  # worse, yet by less than the margin
        (-0.02, 0.05, "inconclusive"),
        (-0.05, 0.05, "inconclusive"),
        (-0.05, -0.02, "inconclusive"),
        (-0.05, -0.021, "inferior"),
        (np.nan, np.nan, "inconclusive"),
    ],
)
def test_verdicts(lo: float, hi: float, verdict: str) -> None:
    assert decide_verdict(lo, hi, 0.02, 20) == verdict
    assert decide_verdict(lo, hi, 0.02, 19) == "inconclusive"


@pytest.mark.parametrize("margin", [0.0, -0.02, 2.0, np.nan])
def test_margins_are_in_metric_units(margin: float) -> None:
    with pytest.raises(ShapeError, match=r"Write 2 points as 0\.02"):
        decide_verdict(0.0, 0.1, margin, 30)


def test_holm_on_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, np.nan, 0.02]) == pytest.approx([0.02, np.nan, 0.02], nan_ok=True)
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], alpha: float) -> None:
    rejected = set()
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (len(p_values) - step) > alpha:
            break
        rejected.add(int(index))
    adjusted = holm(p_values)
    assert set(np.flatnonzero(adjusted <= alpha).tolist()) == rejected
    assert (adjusted >= np.array(p_values)).all()


@pytest.mark.parametrize("p_values", [[0.5, 1.5], [-0.1], [[0.1]]])
def test_holm_refuses_what_is_no_list_of_p_values(p_values: list) -> None:
    with pytest.raises(ShapeError, match="p values"):
        holm(p_values)
