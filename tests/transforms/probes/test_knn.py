from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import ortho_group
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

import transforms.probes.knn as module
from tests.transforms.probes.tasks import K, make_classes, make_labels, make_values
from transforms.errors import ShapeError
from transforms.probes.knn import KnnProbe, find_largest


def centred(X: np.ndarray) -> np.ndarray:
    """Directions of all kinds: cosine says little about vectors that are far from the origin."""
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 3, 5, 20])
def test_classes_equal_scikit_learn(k: int) -> None:
    X, y = make_classes()
    X = centred(X)
    probe = KnnProbe(K, n_neighbours=k).fit(X[:300], y[:300])
    exact = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(X[:300].astype(np.float64), y[:300])
    expected = exact.predict_proba(X[300:].astype(np.float64))
    np.testing.assert_allclose(probe.predict_proba(X[300:]), expected, atol=1e-6)
    np.testing.assert_array_equal(probe.predict(X[300:]), expected.argmax(axis=1))
    assert probe.n_parameters_ == 0
    assert probe.hp_ == {"n_neighbours": k}


def test_labels_and_values_equal_scikit_learn() -> None:
    X, labels = make_labels()
    values = make_values()[1]
    regressor = KNeighborsRegressor(5, metric="cosine", algorithm="brute").fit(X[:300].astype(np.float64), values[:300])
    found = KnnProbe(2, "continuous").fit(X[:300], values[:300]).predict(X[300:])
    np.testing.assert_allclose(found, regressor.predict(X[300:].astype(np.float64)), rtol=1e-5)
    regressor.fit(X[:300].astype(np.float64), labels[:300].astype(float))
    shares = KnnProbe(K, "multilabel").fit(X[:300], labels[:300]).predict_proba(X[300:])
    np.testing.assert_allclose(shares, regressor.predict(X[300:].astype(np.float64)), atol=1e-6)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = make_classes()
    whole = KnnProbe(K).fit(X, y).predict_proba(X)
    monkeypatch.setattr(module, "_BLOCK_SIMILARITIES", 7 * len(X))
    np.testing.assert_array_equal(KnnProbe(K).fit(X, y).predict_proba(X), whole)


def test_length_and_an_orthonormal_lift_change_nothing() -> None:
    X, y = make_classes(dims=8)
    X = centred(X)
    lifted = (X @ ortho_group.rvs(48, random_state=0)[:8]).astype(np.float32)
    scaled = X * np.random.default_rng(0).uniform(0.1, 9, (len(X), 1)).astype(np.float32)
    native = KnnProbe(K).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(KnnProbe(K).fit(lifted, y).predict_proba(lifted), native)
    np.testing.assert_array_equal(KnnProbe(K).fit(scaled, y).predict_proba(X), native)


def test_order_of_rows_does_not_matter_and_names_of_classes_go_along() -> None:
    X, y = make_classes()
    X = centred(X)
    rng = np.random.default_rng(2)
    order, names = rng.permutation(len(X)), rng.permutation(K)
    native = KnnProbe(K).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(KnnProbe(K).fit(X[order], y[order]).predict_proba(X), native)
    np.testing.assert_array_equal(KnnProbe(K).fit(X, names[y]).predict_proba(X)[:, names], native)


def test_a_zero_vector_is_equally_far_from_everything() -> None:
    X = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    probe = KnnProbe(3, n_neighbours=1).fit(X, np.array([2, 0, 1]))
    assert probe.predict(np.zeros((1, 2))).tolist() == [2]  # the first row
    assert probe.predict([[-2.0, -0.1]]).tolist() == [1]
    zero = KnnProbe(2, n_neighbours=1).fit(np.array([[0, 0], [-1, 0]]), np.array([0, 1]))
    assert zero.predict([[1.0, 0.0]]).tolist() == [0]  # 0 is more than -1


def test_fewer_rows_than_neighbours_all_vote() -> None:
    probe = KnnProbe(2, n_neighbours=20).fit(np.eye(3), np.array([0, 0, 1]))
    np.testing.assert_allclose(probe.predict_proba(np.eye(3)), np.tile([[2 / 3, 1 / 3]], (3, 1)), atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.integers(-2, 2)),
    st.integers(1, 9),
)
def test_find_largest_equals_a_stable_sort(similarity: np.ndarray, count: int) -> None:
    expected = np.sort(np.argsort(-similarity, axis=1, kind="stable")[:, :count], axis=1)
    np.testing.assert_array_equal(find_largest(similarity, count), expected)


def test_no_neighbour_is_refused() -> None:
    with pytest.raises(ShapeError, match="n_neighbours"):
        KnnProbe(2, n_neighbours=0)
