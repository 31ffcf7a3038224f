from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from tests.transforms.probes.tasks import K, make_classes, make_labels, make_values
from transforms.probes.random_forest import RandomForestProbe


def test_classes_equal_scikit_learn_and_unseen_ones_get_zero() -> None:
    X, y = make_classes()
    kept = y != 1
    probe = RandomForestProbe(K, n_trees=20, seed=3).fit(X[kept], y[kept])
    exact = RandomForestClassifier(20, random_state=3).fit(X[kept], y[kept])
    np.testing.assert_allclose(probe.predict_proba(X)[:, [0, 2, 3]], exact.predict_proba(X), atol=1e-6)
    assert (probe.predict_proba(X)[:, 1] == 0).all()
    assert probe.hp_ == {"n_trees": 20}


@pytest.mark.parametrize("k", [1, K])
def test_labels_equal_scikit_learn_and_constant_ones_stay(k: int) -> None:
    X, y = make_labels()
    y = y[:, :k]
    probe = RandomForestProbe(k, "multilabel", n_trees=20, seed=3).fit(X, y)
    exact = RandomForestClassifier(20, random_state=3).fit(X, y.ravel() if k == 1 else y)
    shares = exact.predict_proba(X)
    expected = shares[:, 1:] if k == 1 else np.stack([share[:, 1] for share in shares], axis=1)
    np.testing.assert_allclose(probe.predict_proba(X), expected, atol=1e-6)
    for value in (True, False):
        constant = RandomForestProbe(k, "multilabel", n_trees=5).fit(X, np.full_like(y, value))
        assert (constant.predict_proba(X) == value).all()
        assert constant.n_parameters_ == 0


@pytest.mark.parametrize("m", [1, 2])
def test_values_equal_scikit_learn(m: int) -> None:
    X, y = make_values()
    y = y[:, :m]
    probe = RandomForestProbe(m, "continuous", n_trees=20, seed=3).fit(X, y)
    exact = RandomForestRegressor(20, max_features="sqrt", random_state=3).fit(X, y.ravel() if m == 1 else y)
    np.testing.assert_allclose(probe.predict(X), exact.predict(X).reshape(-1, m), rtol=1e-5)


def test_parameters_are_thresholds_and_free_leaf_values() -> None:
    # one feature that parts three classes: every tree that sees all of them has two thresholds and three leaves
    X = np.repeat([[0.0], [1.0], [2.0]], 30, axis=0)
    y = np.repeat([0, 1, 2], 30)
    assert RandomForestProbe(3, n_trees=7).fit(X, y).n_parameters_ == 7 * (2 + 3 * 2)
    labels = np.stack([y == 0, y == 2, y < 9], axis=1)
    assert RandomForestProbe(3, "multilabel", n_trees=7).fit(X, labels).n_parameters_ == 7 * (2 + 3 * 2)
    values = np.stack([y, -y, 2 * y, 3 * y], axis=1).astype(np.float32)
    assert RandomForestProbe(4, "continuous", n_trees=7).fit(X, values).n_parameters_ == 7 * (2 + 3 * 4)


def test_a_rising_map_of_features_and_threads_change_nothing() -> None:
    X, y = make_classes()
    native = RandomForestProbe(K, n_trees=20).fit(X, y).predict(X)
    np.testing.assert_array_equal(RandomForestProbe(K, n_trees=20).fit(X * 4, y).predict(X * 4), native)
    np.testing.assert_array_equal(RandomForestProbe(K, n_trees=20, threads=2).fit(X, y).predict(X), native)
