from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.transforms.probes.tasks import K, make_classes, make_labels
from transforms.errors import ShapeError, TooFewUnitsError
from transforms.probes.base import TargetError
from transforms.probes.logistic import LogisticProbe


def test_logistic_equals_a_tightly_converged_float64_fit() -> None:
    X, y = make_classes()
    probe = LogisticProbe(K).fit(X[:300], y[:300])
    scaler = StandardScaler().fit(X[:300].astype(np.float64))
    exact = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(scaler.transform(X[:300]), y[:300])
    assert probe.converged_
    assert probe.predict_proba(X[300:]) == pytest.approx(exact.predict_proba(scaler.transform(X[300:])), abs=2e-3)
    assert np.array_equal(probe.predict(X[300:]), probe.predict_proba(X[300:]).argmax(axis=1))


def test_scale_and_shift_of_features_do_not_matter() -> None:
    X, y = make_classes()
    moved = X * 8.0 - 3.0
    before, after = (LogisticProbe(K).fit(data, y).predict_proba(data) for data in (X, moved))
    assert after == pytest.approx(before, abs=1e-3)


def test_statistics_come_from_training_rows_only() -> None:
    X, y = make_classes()
    probe = LogisticProbe(K).fit(X[:300], y[:300])
    alone = probe.predict_proba(X[300:301])
    crowded = probe.predict_proba(np.concatenate([X[300:301], X[301:] * 1000]))[:1]
    assert np.array_equal(alone, crowded)


def test_classes_absent_from_training_get_probability_zero() -> None:
    X, y = make_classes()
    kept = (y == 0) | (y == 3)
    probe = LogisticProbe(K).fit(X[kept], y[kept])
    proba = probe.predict_proba(X)
    assert proba.shape == (len(X), K)
    assert proba.dtype == np.float32
    assert (proba[:, [1, 2]] == 0).all()
    assert proba.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert set(probe.predict(X).tolist()) == {0, 3}


def test_constant_features_are_harmless() -> None:
    X, y = make_classes()
    padded = np.column_stack([X, np.full(len(X), 1e4 / 3, np.float32), np.zeros(len(X), np.float32)])
    plain, with_constants = LogisticProbe(K).fit(X, y), LogisticProbe(K).fit(padded, y)
    padded[:, -2:] += 1.0  # a constant in training says nothing, whatever it is later
    assert with_constants.predict_proba(padded) == pytest.approx(plain.predict_proba(X), abs=1e-3)


def test_number_of_parameters() -> None:
    X, y = make_classes(dims=6)
    assert LogisticProbe(K).fit(X, y).n_parameters_ == (6 + 1) * K
    two = y < 2
    assert LogisticProbe(K).fit(X[two], y[two]).n_parameters_ == 6 + 1


def test_inner_validation_prefers_regularisation_on_noise_and_freedom_on_signal() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(12), 25)
    y = rng.integers(0, 2, 300)
    noise = rng.normal(size=(300, 180)).astype(np.float32)
    noise[:, :20] += 0.5 * y[:, None]
    assert LogisticProbe(2, c_grid=(1e3, 1e-2)).fit(noise, y, groups).hp_["c"] == 1e-2
    # a rare class behind a small margin is only found with weak regularisation
    rare = (np.arange(300) % 15 == 0).astype(int)
    signal = (rare[:, None] + rng.normal(0, 0.1, (300, 1))).astype(np.float32)
    assert LogisticProbe(2, c_grid=(1e3, 1e-5)).fit(signal, rare, groups).hp_["c"] == 1e3


def test_warm_starts_end_where_cold_starts_end() -> None:
    X, y = make_classes()
    groups = np.arange(len(X)) // 20
    picked = LogisticProbe(K, c_grid=(0.001, 0.01, 0.1)).fit(X, y, groups)
    direct = LogisticProbe(K, c_grid=(picked.hp_["c"],)).fit(X, y)
    assert np.array_equal(picked.predict_proba(X), direct.predict_proba(X))


def test_inner_folds_keep_groups_together(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = make_classes(n=200)
    groups = np.random.default_rng(4).integers(0, 9, 200) * 1000 - 3
    X[:, 0] = groups
    seen: list[np.ndarray] = []
    start = LogisticProbe._start

    def spy(self: LogisticProbe, X: np.ndarray, y: np.ndarray):  # type: ignore[no-untyped-def]
        seen.append(X[:, 0])
        return start(self, X, y)

    monkeypatch.setattr(LogisticProbe, "_start", spy)
    LogisticProbe(K, c_grid=(0.01, 0.1), inner_folds=3).fit(X, y, groups)
    *inner, whole = seen
    assert len(inner) == 3
    assert len(whole) == 200
    held = [set(groups.tolist()) - set(part.tolist()) for part in inner]
    assert sorted(np.concatenate([sorted(part) for part in held])) == sorted(set(groups.tolist()))
    for part in inner:  # a group that trains, trains with all of its rows
        assert all((part == name).sum() == (groups == name).sum() for name in set(part.tolist()))


def test_the_same_seed_gives_the_same_probe() -> None:
    X, y = make_classes()
    groups = np.arange(len(X)) // 10
    one, two = (LogisticProbe(K, c_grid=(0.01, 1.0), seed=7).fit(X, y, groups) for _ in range(2))
    assert one.hp_ == two.hp_
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))


def test_stopping_early_is_told_not_warned() -> None:
    X, y = make_classes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = LogisticProbe(K, max_iter=1).fit(X, y)
    assert not probe.converged_


def test_what_logistic_refuses() -> None:
    X, y = make_classes()
    with pytest.raises(TooFewUnitsError, match="only class 2"):
        LogisticProbe(K).fit(X, np.full(len(X), 2))
    with pytest.raises(ShapeError, match="groups"):
        LogisticProbe(K, c_grid=(0.1, 1.0)).fit(X, y)
    with pytest.raises(ShapeError, match="groups"):
        LogisticProbe(K).fit(X, y, np.zeros(3, int))
    with pytest.raises(TargetError, match="ridge"):
        LogisticProbe(K, "continuous")
    with pytest.raises(ShapeError, match="c_grid"):
        LogisticProbe(K, c_grid=(0.0,))
    holed = X.copy()
    holed[7, 2] = np.nan
    with pytest.raises(ShapeError, match="1 of 400 rows with NaN"):
        LogisticProbe(K).fit(holed, y)
    with pytest.raises(ShapeError, match=r"\(n, 6\)"):
        LogisticProbe(K).fit(X, y).predict(X[:, :5])


@pytest.mark.parametrize("classes", [[0, 1, 2], [0, 2]])
def test_class_scores_have_their_largest_at_the_predicted_class_and_are_affine(classes):
    rng = np.random.default_rng(4)
    labels = rng.choice(classes, 200).astype(np.int16)
    features = (rng.normal(size=(200, 5)) + labels[:, None]).astype(np.float32)
    probe = LogisticProbe(3).fit(features, labels)
    scores, ids = probe.class_scores(features)
    assert ids.tolist() == classes
    np.testing.assert_array_equal(ids[scores.argmax(axis=1)], probe.predict(features))
    mixed = (0.25 * features[:100] + 0.75 * features[100:]).astype(np.float32)
    np.testing.assert_allclose(probe.class_scores(mixed)[0], 0.25 * scores[:100] + 0.75 * scores[100:], atol=1e-4)


def test_labels_equal_independent_tightly_converged_fits() -> None:
    X, y = make_labels(n=300)
    probe = LogisticProbe(K, "multilabel").fit(X[:200], y[:200])
    scaler = StandardScaler().fit(X[:200].astype(np.float64))
    for label in range(K):
        exact = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000)
        exact.fit(scaler.transform(X[:200]), y[:200, label])
        expected = exact.predict_proba(scaler.transform(X[200:]))[:, 1]
        np.testing.assert_allclose(probe.predict_proba(X[200:])[:, label], expected, atol=2e-3)
    assert probe.converged_
    assert probe.n_parameters_ == K * (6 + 1)
    np.testing.assert_array_equal(probe.predict(X), probe.predict_proba(X) > 0.5)


def test_labels_that_no_or_every_row_has_are_constant_and_cost_no_parameter() -> None:
    X, y = make_labels()
    y[:, 1], y[:, 2] = True, False
    probe = LogisticProbe(K, "multilabel").fit(X, y)
    proba = probe.predict_proba(X)
    assert (proba[:, 1] == 1).all()
    assert (proba[:, 2] == 0).all()
    assert probe.n_parameters_ == 2 * (6 + 1)
    alone = LogisticProbe(2, "multilabel").fit(X, y[:, [0, 3]])
    np.testing.assert_allclose(proba[:, [0, 3]], alone.predict_proba(X), atol=1e-3)
    nothing = LogisticProbe(K, "multilabel").fit(X, np.zeros_like(y))
    assert (nothing.predict_proba(X) == 0).all()
    assert nothing.n_parameters_ == 0


@pytest.mark.parametrize("target", ["class", "multilabel"])
def test_few_wide_rows_are_fitted_as_in_full_width(target: str) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 90)).astype(np.float32)
    y = np.arange(40) % 3
    scaler = StandardScaler().fit(X[:30])
    exact = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000)
    if target == "class":
        found = LogisticProbe(3).fit(X[:30], y[:30]).predict_proba(X[30:])
        expected = exact.fit(scaler.transform(X[:30]), y[:30]).predict_proba(scaler.transform(X[30:]))
    else:
        found = LogisticProbe(1, "multilabel").fit(X[:30], y[:30, None] == 0).predict_proba(X[30:])[:, 0]
        expected = exact.fit(scaler.transform(X[:30]), y[:30] == 0).predict_proba(scaler.transform(X[30:]))[:, 1]
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("n_per_class", [1, 2, 3])
def test_few_examples_in_too_few_groups_take_the_default_and_say_so(n_per_class: int) -> None:
    X, y = make_classes()
    rows = np.concatenate([np.flatnonzero(y == label)[:n_per_class] for label in range(K)])
    one_each = LogisticProbe(K, c_grid=(0.001, 0.01, 0.1)).fit(X[rows], y[rows], y[rows])
    assert one_each.hp_ == {"c": 0.01, "picked": "default"}
    assert (one_each.predict_proba(X) > 0).all()
    one_group = LogisticProbe(K, c_grid=(0.001, 0.01, 0.1)).fit(X[rows], y[rows], np.zeros(len(rows), int))
    assert one_group.hp_["picked"] == "default"


def test_hyper_parameters_say_how_they_were_picked() -> None:
    X, y = make_classes()
    assert LogisticProbe(K).fit(X, y).hp_ == {"c": 0.1, "picked": "fixed"}
    probe = LogisticProbe(K, c_grid=(1e-4, 1.0)).fit(X, y, np.arange(len(X)) // 20)
    assert probe.hp_ == {"c": 1.0, "picked": "inner_cv"}
