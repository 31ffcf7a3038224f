"""The probes that are networks: layers against torch's own, training against what must be learnt."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.transforms.probes.tasks import K, make_classes, make_labels, make_task, make_values
from transforms.probes.conv_head import ConvHeadProbe
from transforms.probes.logistic import LogisticProbe
from transforms.probes.mlp import MlpProbe
from transforms.probes.network_probe import Head, TrainingRules
from transforms.upsampling.torch_training import MissingTorchError

torch = pytest.importorskip("torch", reason="probes that are networks are trained with the extra isthmus[torch]")
GROUPS = np.arange(400) // 20


def make_rings(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """A class inside another: no linear probe can tell them apart."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2)).astype(np.float32)
    return X, (np.linalg.norm(X, axis=1) > 1.18).astype(int)


def make_neighbourhoods(n: int = 400, dims: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The class is said by the neighbour above alone; half of the other neighbours are missing."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3, 3, dims)).astype(np.float32)
    y = (X[:, 0, 1, 0] > 0).astype(int)
    is_missing = rng.random((n, 3, 3)) < 0.5
    is_missing[:, 0, 1] = is_missing[:, 1, 1] = False
    X[is_missing] = np.nan
    return X, y


def test_mlp_learns_what_no_linear_probe_can() -> None:
    X, y = make_rings()
    assert (LogisticProbe(2).fit(X[:300], y[:300]).predict(X[300:]) == y[300:]).mean() < 0.65
    probe = MlpProbe(2, rules=TrainingRules(learning_rate=1e-2)).fit(X[:300], y[:300], GROUPS[:300])
    assert (probe.predict(X[300:]) == y[300:]).mean() > 0.9
    assert probe.converged_
    assert probe.hp_["picked"] == "inner_validation"


def test_conv_head_reads_its_neighbours_and_leaves_missing_ones_out() -> None:
    X, y = make_neighbourhoods()
    probe = ConvHeadProbe(2, rules=TrainingRules(learning_rate=1e-2)).fit(X[:300], y[:300], GROUPS[:300])
    assert (probe.predict(X[300:]) == y[300:]).mean() > 0.85
    # partly missing is missing
    partly = X.copy()
    partly[np.isnan(X).any(axis=-1), 1:] = 7.0
    np.testing.assert_array_equal(probe.predict_proba(partly), probe.predict_proba(X))


def test_mlp_equals_its_layers_in_torch() -> None:
    X, y = make_classes(n=120)
    probe = MlpProbe(K).fit(X, y)
    network = torch.nn.Sequential(torch.nn.Linear(6, 256), torch.nn.ReLU(), torch.nn.Linear(256, K))
    with torch.no_grad():
        for parameter, layer in zip(network.parameters(), probe._layers, strict=True):
            parameter.copy_(torch.from_numpy(layer.T.copy()))
        scaled = (X.astype(np.float64) - X.mean(axis=0, dtype=float)) / X.std(axis=0, dtype=float)
        expected = torch.softmax(network(torch.from_numpy(scaled.astype(np.float32))), dim=1).numpy()
    np.testing.assert_allclose(probe.predict_proba(X), expected, atol=1e-4)
    assert probe.n_parameters_ == (6 + 1) * 256 + (256 + 1) * K


def test_conv_head_equals_a_padded_convolution_in_torch() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3, 3, 5)).astype(np.float32)
    probe = ConvHeadProbe(2).fit(X, (X[:, 1, 1, 0] > 0).astype(int))
    projection, kernel, offset, second, second_offset = (torch.from_numpy(layer) for layer in probe._layers)
    scaled = torch.from_numpy(probe._scaling.apply(X))
    projected = scaled @ projection[:-1] + projection[-1]
    # (place, projected) by hidden, as (hidden, projected, row, column)
    weight = kernel.reshape(3, 3, 32, 64).permute(3, 2, 0, 1)
    hidden = torch.nn.functional.conv2d(projected.permute(0, 3, 1, 2), weight, offset)[:, :, 0, 0]
    expected = torch.softmax(torch.relu(hidden) @ second + second_offset, dim=1).numpy()
    np.testing.assert_allclose(probe.predict_proba(X), expected, atol=1e-4)
    assert probe.n_parameters_ == (5 + 1) * 32 + (9 * 32 + 1) * 64 + (64 + 1) * 2


def test_every_target_is_learnt() -> None:
    X, labels = make_labels()
    shares = MlpProbe(K, "multilabel").fit(X[:300], labels[:300], GROUPS[:300]).predict_proba(X[300:])
    prevalence = labels[:300].mean(axis=0)
    assert (((shares - labels[300:]) ** 2).mean(axis=0) < 0.7 * ((prevalence - labels[300:]) ** 2).mean(axis=0)).all()
    X, values = make_values()
    found = MlpProbe(2, "continuous").fit(X[:300], values[:300], GROUPS[:300]).predict(X[300:])
    assert (((found - values[300:]) ** 2).mean(axis=0) < 0.2 * values[300:].var(axis=0)).all()


def test_outputs_that_do_not_vary_are_answered_without_a_layer() -> None:
    X, labels = make_labels()
    labels[:, 1], labels[:, 2] = True, False
    probe = MlpProbe(K, "multilabel").fit(X, labels)
    assert (probe.predict_proba(X)[:, 1:3] == [1, 0]).all()
    assert probe.n_parameters_ == (6 + 1) * 256 + (256 + 1) * 2
    constant = MlpProbe(2, "continuous").fit(X, np.full((400, 2), 3.5, np.float32))
    assert (constant.predict(X) == 3.5).all()
    assert constant.n_parameters_ == 0
    classes = make_classes()[1]
    kept = classes != 2
    assert (MlpProbe(K).fit(X[kept], classes[kept]).predict_proba(X)[:, 2] == 0).all()


@pytest.mark.parametrize("target", ["class", "multilabel", "continuous"])
def test_heads_decode_what_they_encode(target: str) -> None:
    _, y, n_outputs = make_task(target, 50)
    head = Head.of(y, target, n_outputs)
    encoded = head.encode(y)
    if target == "class":
        np.testing.assert_array_equal(head.decode(50 * np.eye(K, dtype=np.float32)[encoded]).argmax(axis=1), y)
    elif target == "multilabel":
        np.testing.assert_array_equal(head.decode(50 * (encoded - 0.5)) > 0.5, y)
    else:
        np.testing.assert_allclose(encoded.std(axis=0), 1, atol=1e-4)
        np.testing.assert_allclose(head.decode(encoded), y, rtol=1e-4, atol=1e-6)


def test_scale_and_shift_of_values_go_along() -> None:
    X, y = make_values()
    native, moved = (MlpProbe(2, "continuous").fit(X, values).predict(X) for values in (y, 8 * y - 2))
    np.testing.assert_allclose(moved, 8 * native - 2, rtol=1e-3, atol=1e-2)


def test_a_seed_gives_the_same_network_in_any_thread_and_leaves_generators_alone() -> None:
    X, y = make_classes()
    torch.manual_seed(3)
    expected_draw = torch.rand(3)
    torch.manual_seed(3)
    alone = MlpProbe(K, seed=1).fit(X, y, GROUPS).predict_proba(X)
    np.testing.assert_array_equal(torch.rand(3), expected_draw)
    with ThreadPoolExecutor(2) as pool:
        others = list(pool.map(lambda seed: MlpProbe(K, seed=seed).fit(X, y, GROUPS).predict_proba(X), (1, 2)))
    np.testing.assert_array_equal(others[0], alone)
    assert (others[1] != alone).any()


def test_epochs_that_end_at_the_limit_are_told() -> None:
    X, y = make_classes()
    probe = MlpProbe(K, rules=TrainingRules(max_epochs=2, learning_rate=1e-5)).fit(X, y, GROUPS)
    assert not probe.converged_
    assert probe.hp_ == {"hidden": 256, "epochs": 2, "picked": "inner_validation"}


def test_without_groups_to_hold_out_the_default_is_taken() -> None:
    X, y = make_classes()
    assert MlpProbe(K).fit(X, y).hp_ == {"hidden": 256, "epochs": 50, "picked": "default"}
    assert MlpProbe(K).fit(X, y, np.zeros(400, int)).hp_["picked"] == "default"


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def fail(name: str, package: str | None = None) -> object:
        if name == "torch":
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", fail)
    X, y = make_classes()
    with pytest.raises(MissingTorchError, match=r"probe mlp: found no torch.*isthmus\[torch\]"):
        MlpProbe(K).fit(X, y)
