"""What holds for every probe of the registry, and how probes are looked up."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from tests.transforms.probes.tasks import make_task
from transforms.errors import ShapeError, TooFewUnitsError
from transforms.probes.base import NotFittedError, TargetError
from transforms.probes.registry import PROBES, ProbeOptions, UnknownProbeError, build_probe

# few trees: what is tested here does not depend on their number
OPTIONS = ProbeOptions(c_grid=(0.01, 0.1), alpha_grid=(1.0, 10.0), n_trees=20)
SERVED = [(name, target) for name, entry in PROBES.items() for target in sorted(entry.targets)]
REFUSED = sorted(set(itertools.product(PROBES, ("class", "multilabel", "continuous"))) - set(SERVED))
DTYPES = {"class": np.int16, "multilabel": np.bool_, "continuous": np.float32}


def make_rows(name: str, target: str, n: int = 120) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Features in the shape that a probe reads, targets, outputs and groups."""
    X, y, n_outputs = make_task(target, n)
    if PROBES[name].reads == "neighbourhood":
        X = np.stack([np.roll(X, shift, axis=0) for shift in range(9)], axis=1).reshape(n, 3, 3, -1)
        X[::5, 0, 0] = np.nan
    return X, y, n_outputs, np.arange(n) // 8


def build(name: str, target: str, n_outputs: int, seed: int = 0):  # type: ignore[no-untyped-def]
    return build_probe(name, target, n_outputs, seed=seed, options=OPTIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "target"), SERVED)
def test_every_probe_keeps_the_contract(name: str, target: str) -> None:
    X, y, n_outputs, groups = make_rows(name, target)
    probe = build(name, target, n_outputs)
    with pytest.raises(NotFittedError):
        probe.predict(X)
    assert probe.fit(X, y, groups) is probe
    assert probe.predict(X).dtype == DTYPES[target]
    assert probe.predict(X).shape == y.shape
    assert probe.predict(X[:0]).shape == y[:0].shape
    assert probe.n_outputs == n_outputs
    assert probe.converged_
    assert all(isinstance(key, str) for key in probe.hp_)
    if target == "continuous":
        with pytest.raises(TargetError, match="found target continuous"):
            probe.predict_proba(X)
        return
    proba = probe.predict_proba(X)
    assert proba.shape == (len(X), n_outputs)
    assert proba.dtype == np.float32
    assert ((proba >= 0) & (proba <= 1)).all()
    if target == "class":
        np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(proba.argmax(axis=1), probe.predict(X))
    else:
        np.testing.assert_array_equal(proba > 0.5, probe.predict(X))


@pytest.mark.parametrize(("name", "target"), SERVED)
def test_every_probe_refuses_bad_targets(name: str, target: str) -> None:
    X, y, n_outputs, groups = make_rows(name, target)
    probe = build(name, target, n_outputs)
    with pytest.raises(ShapeError):
        probe.fit(X, y[:-1], groups)
    with pytest.raises(ShapeError):
        probe.fit(X, y.astype(np.complex64), groups)
    with pytest.raises(ShapeError):
        probe.fit(X[..., 0], y, groups)
    with pytest.raises(TooFewUnitsError):
        probe.fit(X[:0], y[:0], groups[:0])
    if target == "class":
        for wrong in (y + n_outputs, y - n_outputs):
            with pytest.raises(ShapeError):
                probe.fit(X, wrong, groups)
    if target == "continuous":
        holed = y.copy()
        holed[3, 0] = np.nan
        with pytest.raises(ShapeError, match="1 rows with NaN"):
            probe.fit(X, holed, groups)


@pytest.mark.parametrize(("name", "target"), SERVED)
def test_constant_features_and_a_class_with_one_example_are_harmless(name: str, target: str) -> None:
    X, y, n_outputs, groups = make_rows(name, target)
    X[..., 0] = np.where(np.isnan(X[..., 0]), np.nan, 1e4 / 3)
    if target == "class":
        y = np.where(np.arange(len(y)) == 17, 3, y % 3)
    elif target == "multilabel":
        y[:, 3] = np.arange(len(y)) == 17
    probe = build(name, target, n_outputs).fit(X, y, groups)
    assert np.isfinite(probe.predict(X).astype(float)).all()


@pytest.mark.parametrize(("name", "target"), SERVED)
def test_a_few_rows_of_one_group_are_enough(name: str, target: str) -> None:
    X, y, n_outputs, _ = make_rows(name, target)
    few = np.unique(y, return_index=True)[1] if target == "class" else np.arange(3)
    probe = build(name, target, n_outputs).fit(X[few], y[few], np.zeros(len(few), int))
    assert probe.predict(X).shape == y.shape


@pytest.mark.parametrize(("name", "target"), SERVED)
def test_the_same_seed_gives_the_same_probe(name: str, target: str) -> None:
    X, y, n_outputs, groups = make_rows(name, target)
    one, two = (build(name, target, n_outputs, seed=5).fit(X, y, groups) for _ in range(2))
    assert one.hp_ == two.hp_
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


@pytest.mark.parametrize("name", [name for name in PROBES if name != "majority"])
def test_one_class_alone_is_refused(name: str) -> None:
    X, y, n_outputs, groups = make_rows(name, "class")
    with pytest.raises(TooFewUnitsError, match="only class 2"):
        build(name, "class", n_outputs).fit(X, np.full_like(y, 2), groups)


@pytest.mark.parametrize(("name", "target"), REFUSED)
def test_targets_that_a_probe_does_not_serve_are_refused(name: str, target: str) -> None:
    with pytest.raises(TargetError, match=f"probe {name}: found target {target}.*Probes for {target}: majority"):
        build(name, target, 3)


def test_an_unknown_probe_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UnknownProbeError, match=r"'logistik'.*Did you mean logistic"):
        build("logistik", "class", 3)


def test_entries_are_keyed_by_their_name_and_serve_something() -> None:
    for name, entry in PROBES.items():
        assert entry.name == name
        assert entry.targets
        assert entry.description.endswith(".")
        assert entry.n_seeds >= 1


def test_options_reach_the_probes_that_they_concern() -> None:
    assert build("logistic", "class", 3).c_grid == (0.01, 0.1)
    assert build("ridge", "class", 3).alpha_grid == (10.0, 1.0)
    assert build("random_forest", "class", 3).n_trees == 20
    assert build("knn_20", "class", 3).n_neighbours == 20
    assert (build("mlp", "class", 3, seed=7).seed, build("mlp", "class", 3).n_outputs) == (7, 3)


def test_the_documentation_names_every_probe() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "evidence.md").read_text(encoding="utf-8")
    table = text.split("## Probes", 1)[1].split("##", 1)[0]
    assert set(re.findall(r"`([a-z0-9_]+)`(?=[^\n]*\| class)", table)) == set(PROBES)


@pytest.mark.parametrize("name", ["majority", "knn_5", "ridge", "logistic"])
def test_order_of_rows_and_names_of_classes_do_not_matter(name: str) -> None:
    X, y, n_outputs, _ = make_rows(name, "class")
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    rng = np.random.default_rng(3)
    order, names = rng.permutation(len(X)), rng.permutation(n_outputs)

    def predict(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        options = ProbeOptions(c_grid=(0.1,), alpha_grid=(1.0,))
        return build_probe(name, "class", n_outputs, seed=0, options=options).fit(features, labels).predict_proba(X)

    native = predict(X, y)
    np.testing.assert_allclose(predict(X[order], y[order]), native, atol=2e-3)
    np.testing.assert_allclose(predict(X, names[y])[:, names], native, atol=2e-3)


@pytest.mark.parametrize("name", ["ridge", "logistic", "mlp"])
def test_features_that_say_nothing_leave_the_frequencies(name: str) -> None:
    y = np.repeat([0, 1, 2], [60, 30, 10])
    probe = build(name, "class", 3).fit(np.full((100, 4), 7.3), y, np.arange(100) % 10)
    np.testing.assert_allclose(probe.predict_proba(np.ones((1, 4)))[0], [0.6, 0.3, 0.1], atol=0.03)
