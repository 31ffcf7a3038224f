from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import ShapeError
from transforms.ranking_metrics import (
    average_precision,
    class_flags,
    macro_average_precision,
    macro_roc_auc,
    micro_average_precision,
    roc_auc,
)

#: Units as (flags of three labels, scores in tenths): ties are common.
units = st.lists(
    st.tuples(st.tuples(*[st.booleans()] * 3), st.tuples(*[st.integers(0, 10)] * 3)), min_size=1, max_size=15
)


@settings(deadline=None)
@given(units)
def test_equal_scikit_learn(drawn: list) -> None:
    truth = np.array([flags for flags, _ in drawn])
    score = np.array([tenths for _, tenths in drawn]) / 10
    precision, area = average_precision(truth, score), roc_auc(truth, score)
    for label in range(3):
        column = truth[:, label]
        expected = sk.average_precision_score(column, score[:, label]) if column.any() else np.nan
        assert precision[label] == pytest.approx(expected, nan_ok=True)
        both = column.any() and not column.all()
        expected = sk.roc_auc_score(column, score[:, label]) if both else np.nan
        assert area[label] == pytest.approx(expected, nan_ok=True)
    if truth.any():
        assert micro_average_precision(truth, score) == pytest.approx(
            sk.average_precision_score(truth.ravel(), score.ravel())
        )
        seen = truth.any(axis=0)
        assert macro_average_precision(truth, score) == pytest.approx(np.mean(precision[seen]))


@settings(deadline=None)
@given(units)
def test_only_the_order_of_scores_matters(drawn: list) -> None:
    truth = np.array([flags for flags, _ in drawn])
    score = np.array([tenths for _, tenths in drawn]) / 10
    for metric in (average_precision, roc_auc):
        assert metric(truth, np.exp(3 * score)) == pytest.approx(metric(truth, score), nan_ok=True)
    assert roc_auc(truth, -score) == pytest.approx(1 - roc_auc(truth, score), nan_ok=True)


def test_one_vs_rest_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    ids, proba = rng.integers(0, 4, 200), rng.dirichlet(np.ones(4), 200)
    expected = sk.roc_auc_score(ids, proba, multi_class="ovr", average="macro")
    assert macro_roc_auc(class_flags(ids, 4), proba) == pytest.approx(expected)


def test_a_label_without_contrast_is_left_out_of_the_mean() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 1]], bool)
    score = np.array([[0.2, 0.5, 0.5], [0.4, 0.1, 0.6]])
    assert average_precision(truth, score) == pytest.approx([0.5, np.nan, 1.0], nan_ok=True)
    assert roc_auc(truth, score) == pytest.approx([0.0, np.nan, np.nan], nan_ok=True)
    assert macro_average_precision(truth, score) == 0.75
    assert macro_roc_auc(truth, score) == 0.0
    assert np.isnan(micro_average_precision(~truth & False, score))


def test_bad_scores_are_refused() -> None:
    truth = np.zeros((2, 3), bool)
    with pytest.raises(ShapeError, match="one score per unit and label"):
        roc_auc(truth, np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="class_flags"):
        average_precision(truth.astype(int), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="6 NaN"):
        average_precision(truth, np.full((2, 3), np.nan))
    with pytest.raises(ShapeError, match="Leave nodata out"):
        class_flags(np.array([0, -1]), 3)
