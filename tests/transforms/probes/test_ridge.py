from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import ortho_group
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from tests.transforms.probes.tasks import K, make_classes, make_labels, make_values
from transforms.errors import ShapeError
from transforms.probes.base import TargetError
from transforms.probes.ridge import RidgeProbe, project_on_simplex


@pytest.mark.parametrize("n", [200, 12])  # more rows than features, and fewer
def test_values_equal_scikit_learn(n: int) -> None:
    X, y = make_values(n=n, dims=20)
    probe = RidgeProbe(2, "continuous", alpha_grid=(3.0,)).fit(X, y)
    scaler = StandardScaler().fit(X.astype(np.float64))
    exact = Ridge(alpha=3.0).fit(scaler.transform(X), y)
    np.testing.assert_allclose(probe.predict(X), exact.predict(scaler.transform(X)), rtol=1e-4, atol=1e-4)
    assert probe.n_parameters_ == 2 * (20 + 1)
    assert probe.hp_ == {"alpha": 3.0, "picked": "fixed"}


def test_classes_equal_the_ridge_classifier_of_scikit_learn() -> None:
    X, y = make_classes()
    probe = RidgeProbe(K, alpha_grid=(5.0,)).fit(X[:300], y[:300])
    scaler = StandardScaler().fit(X[:300].astype(np.float64))
    exact = RidgeClassifier(alpha=5.0).fit(scaler.transform(X[:300]), y[:300])
    np.testing.assert_array_equal(probe.predict(X[300:]), exact.predict(scaler.transform(X[300:])))
    # its targets are -1 and 1, ours 0 and 1
    scores, ids = probe.class_scores(X[300:])
    np.testing.assert_allclose(scores, (exact.decision_function(scaler.transform(X[300:])) + 1) / 2, atol=1e-4)
    assert ids.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-4)
    inside = (scores >= 0).all(axis=1)
    assert inside.any()
    np.testing.assert_allclose(probe.predict_proba(X[300:])[inside], scores[inside], atol=1e-4)


def test_labels_are_least_squares_clipped() -> None:
    X, y = make_labels()
    probe = RidgeProbe(K, "multilabel", alpha_grid=(1.0,)).fit(X, y)
    values = RidgeProbe(K, "continuous", alpha_grid=(1.0,)).fit(X, y.astype(np.float32))
    np.testing.assert_allclose(probe.predict_proba(X), values.predict(X).clip(0, 1), atol=1e-6)
    assert (values.predict(X) < 0).any()


def test_classes_absent_from_training_get_probability_zero() -> None:
    X, y = make_classes()
    kept = (y == 0) | (y == 3)
    probe = RidgeProbe(K).fit(X[kept], y[kept])
    assert (probe.predict_proba(X * 3)[:, [1, 2]] == 0).all()
    assert set(probe.predict(X).tolist()) == {0, 3}
    assert probe.n_parameters_ == 2 * 7


@pytest.mark.parametrize("target", ["class", "continuous"])
def test_an_orthonormal_lift_changes_nothing_where_features_are_not_scaled(target: str) -> None:
    X, y = make_classes(dims=8) if target == "class" else make_values(dims=8)
    X = X - X.mean(axis=0)
    lifted = (X @ ortho_group.rvs(48, random_state=0)[:8]).astype(np.float32)
    n_outputs = K if target == "class" else 2
    groups = np.arange(len(X)) // 20
    options = {"alpha_grid": (0.1, 1.0, 10.0), "standardise": False}
    native, moved = (RidgeProbe(n_outputs, target, **options).fit(data, y, groups) for data in (X, lifted))
    assert native.hp_ == moved.hp_
    if target == "class":
        np.testing.assert_allclose(native.predict_proba(X), moved.predict_proba(lifted), atol=1e-4)
    else:
        np.testing.assert_allclose(native.predict(X), moved.predict(lifted), rtol=1e-3, atol=1e-3)


def test_inner_validation_prefers_regularisation_on_noise_and_freedom_on_signal() -> None:
    X, y = make_values(n=60, dims=40)
    groups = np.arange(60) // 5
    noise = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
    grid = (0.1, 1e4)
    assert RidgeProbe(2, "continuous", alpha_grid=grid).fit(X, noise, groups).hp_["alpha"] == 1e4
    assert RidgeProbe(2, "continuous", alpha_grid=grid).fit(X, y, groups).hp_ == {"alpha": 0.1, "picked": "inner_cv"}


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-3, 3)))
def test_projection_on_the_simplex_is_feasible_nearest_and_keeps_order(values: np.ndarray) -> None:
    found = project_on_simplex(values).astype(np.float64)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    for row, point in zip(values, found, strict=True):
        order = np.argsort(row)
        assert (np.diff(point[order]) >= 0).all()
        # optimality: no step towards a corner comes nearer
        assert ((row - point) @ (np.eye(len(row)) - point).T <= 1e-5).all()
    np.testing.assert_allclose(project_on_simplex(found), found, atol=1e-6)


def test_what_ridge_refuses() -> None:
    with pytest.raises(ShapeError, match="alpha_grid"):
        RidgeProbe(2, alpha_grid=(0.0, 1.0))
    X, y = make_values()
    probe = RidgeProbe(2, "continuous").fit(X, y)
    with pytest.raises(TargetError, match="Take predict"):
        probe.class_scores(X)
