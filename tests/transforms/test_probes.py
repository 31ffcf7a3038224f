from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.probes import PROBES, LogisticProbe, MajorityProbe, NotFittedError

K = 4


def make_task(n: int = 400, dims: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping Gaussian classes on badly scaled features."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, n)
    centres = rng.normal(0, 1.2, (K, dims))
    X = (centres[y] + rng.normal(size=(n, dims))) * np.logspace(-2, 2, dims) + 50.0
    return X.astype(np.float32), y


def test_logistic_equals_a_tightly_converged_float64_fit() -> None:
    X, y = make_task()
    probe = LogisticProbe(K).fit(X[:300], y[:300])
    scaler = StandardScaler().fit(X[:300].astype(np.float64))
    exact = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(scaler.transform(X[:300]), y[:300])
    assert probe.converged_
    assert probe.predict_proba(X[300:]) == pytest.approx(exact.predict_proba(scaler.transform(X[300:])), abs=2e-3)
    assert np.array_equal(probe.predict(X[300:]), probe.predict_proba(X[300:]).argmax(axis=1))


def test_scale_and_shift_of_features_do_not_matter() -> None:
    X, y = make_task()
    moved = X * 8.0 - 3.0
    before, after = (LogisticProbe(K).fit(data, y).predict_proba(data) for data in (X, moved))
    assert after == pytest.approx(before, abs=1e-3)


def test_statistics_come_from_training_rows_only() -> None:
    X, y = make_task()
    probe = LogisticProbe(K).fit(X[:300], y[:300])
    alone = probe.predict_proba(X[300:301])
    crowded = probe.predict_proba(np.concatenate([X[300:301], X[301:] * 1000]))[:1]
    assert np.array_equal(alone, crowded)


def test_classes_absent_from_training_get_probability_zero() -> None:
    X, y = make_task()
    kept = (y == 0) | (y == 3)
    probe = LogisticProbe(K).fit(X[kept], y[kept])
    proba = probe.predict_proba(X)
    assert proba.shape == (len(X), K)
    assert proba.dtype == np.float32
    assert (proba[:, [1, 2]] == 0).all()
    assert proba.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert set(probe.predict(X).tolist()) == {0, 3}


def test_constant_features_are_harmless() -> None:
    X, y = make_task()
    padded = np.column_stack([X, np.full(len(X), 1e4 / 3, np.float32), np.zeros(len(X), np.float32)])
    plain, with_constants = LogisticProbe(K).fit(X, y), LogisticProbe(K).fit(padded, y)
    padded[:, -2:] += 1.0  # a constant in training says nothing, whatever it is later
    assert with_constants.predict_proba(padded) == pytest.approx(plain.predict_proba(X), abs=1e-3)


def test_number_of_parameters() -> None:
    X, y = make_task(dims=6)
    assert LogisticProbe(K).fit(X, y).n_parameters_ == (6 + 1) * K
    assert MajorityProbe(K).fit(X, y).n_parameters_ == K - 1


def test_inner_validation_prefers_regularisation_on_noise_and_freedom_on_signal() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(12), 25)
    y = rng.integers(0, 2, 300)
    noise = rng.normal(size=(300, 180)).astype(np.float32)
    noise[:, :20] += 0.5 * y[:, None]
    assert LogisticProbe(2, c_grid=(1e3, 1e-2)).fit(noise, y, groups).c_ == 1e-2
    # a rare class behind a small margin is only found with weak regularisation
    rare = (np.arange(300) % 15 == 0).astype(int)
    signal = (rare[:, None] + rng.normal(0, 0.1, (300, 1))).astype(np.float32)
    assert LogisticProbe(2, c_grid=(1e3, 1e-5)).fit(signal, rare, groups).c_ == 1e3


def test_warm_starts_end_where_cold_starts_end() -> None:
    X, y = make_task()
    groups = np.arange(len(X)) // 20
    picked = LogisticProbe(K, c_grid=(0.001, 0.01, 0.1)).fit(X, y, groups)
    direct = LogisticProbe(K, c_grid=(picked.c_,)).fit(X, y)
    assert np.array_equal(picked.predict_proba(X), direct.predict_proba(X))


def test_inner_folds_keep_groups_together(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = make_task(n=200)
    groups = np.random.default_rng(4).integers(0, 9, 200) * 1000 - 3
    X[:, 0] = groups
    seen: list[np.ndarray] = []
    build = LogisticProbe._build_model

    def spy(self: LogisticProbe, X: np.ndarray, y: np.ndarray):  # type: ignore[no-untyped-def]
        seen.append(X[:, 0])
        return build(self, X, y)

    monkeypatch.setattr(LogisticProbe, "_build_model", spy)
    LogisticProbe(K, c_grid=(0.01, 0.1), inner_folds=3).fit(X, y, groups)
    *inner, whole = seen
    assert len(inner) == 3
    assert len(whole) == 200
    held = [set(groups.tolist()) - set(part.tolist()) for part in inner]
    assert sorted(np.concatenate([sorted(part) for part in held])) == sorted(set(groups.tolist()))
    for part in inner:  # a group that trains, trains with all of its rows
        assert all((part == name).sum() == (groups == name).sum() for name in set(part.tolist()))


def test_the_same_seed_gives_the_same_probe() -> None:
    X, y = make_task()
    groups = np.arange(len(X)) // 10
    one, two = (LogisticProbe(K, c_grid=(0.01, 1.0), seed=7).fit(X, y, groups) for _ in range(2))
    assert one.c_ == two.c_
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))


def test_stopping_early_is_told_not_warned() -> None:
    X, y = make_task()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = LogisticProbe(K, max_iter=1).fit(X, y)
    assert not probe.converged_


def test_majority_predicts_the_training_frequencies() -> None:
    probe = MajorityProbe(K).fit(np.full((5, 2), np.nan), np.array([3, 1, 3, 1, 0]))
    assert probe.predict(np.zeros((2, 2))).tolist() == [1, 1]
    assert probe.predict_proba(np.zeros((1, 2)))[0] == pytest.approx([0.2, 0.4, 0, 0.4])


@pytest.mark.parametrize("name", sorted(PROBES))
def test_every_probe_keeps_the_contract(name: str) -> None:
    X, y = make_task()
    probe = PROBES[name](K, seed=0)
    with pytest.raises(NotFittedError):
        probe.predict(X)
    assert probe.fit(X, y) is probe
    assert probe.predict(X).dtype == np.int16
    assert probe.predict_proba(X).shape == (len(X), K)
    assert probe.predict_proba(X[:0]).shape == (0, K)
    assert probe.converged_
    with pytest.raises(ShapeError):
        probe.fit(X, y + K)
    with pytest.raises(ShapeError):
        probe.fit(X, y - 1)
    with pytest.raises(ShapeError):
        probe.fit(X, y[:-1])
    with pytest.raises(TooFewUnitsError):
        probe.fit(X[:0], y[:0])


def test_what_logistic_refuses() -> None:
    X, y = make_task()
    with pytest.raises(TooFewUnitsError, match="only class 2"):
        LogisticProbe(K).fit(X, np.full(len(X), 2))
    with pytest.raises(ShapeError, match="groups"):
        LogisticProbe(K, c_grid=(0.1, 1.0)).fit(X, y)
    with pytest.raises(TooFewUnitsError, match="groups"):
        LogisticProbe(K, c_grid=(0.1, 1.0)).fit(X, y, np.zeros(len(X), int))
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


def test_class_scores_of_the_majority_are_its_frequencies_and_missing_rows_stay_missing():
    probe = MajorityProbe(3).fit(np.zeros((4, 2), np.float32), np.array([0, 2, 2, 2], np.int16))
    features = np.array([[1, 2], [np.nan, 0]], np.float32)
    scores, ids = probe.class_scores(features)
    assert ids.tolist() == [0, 1, 2]
    np.testing.assert_allclose(scores[0], [0.25, 0, 0.75])
    assert np.isnan(scores[1]).all()
