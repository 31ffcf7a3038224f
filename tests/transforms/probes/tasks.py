"""Small learnable tasks, one per target, for tests of probes."""

from __future__ import annotations

import numpy as np

K = 4


def make_classes(n: int = 400, dims: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping Gaussian classes on badly scaled features."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, n)
    centres = rng.normal(0, 1.2, (K, dims))
    X = (centres[y] + rng.normal(size=(n, dims))) * np.logspace(-2, 2, dims) + 50.0
    return X.astype(np.float32), y


def make_labels(n: int = 400, dims: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of different prevalence that depend on directions of the features, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dims)).astype(np.float32)
    scores = X @ rng.normal(size=(dims, K)) + rng.normal(0, 0.7, (n, K))
    return X, scores > np.diag(np.quantile(scores, [0.3, 0.5, 0.8, 0.9], axis=0))


def make_values(n: int = 400, dims: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two values on different scales, linear in the features, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dims)).astype(np.float32)
    values = X @ rng.normal(size=(dims, 2)) + rng.normal(0, 0.3, (n, 2))
    return X, (values * [100.0, 0.01] + [500.0, 0.0]).astype(np.float32)


def make_task(target: str, n: int = 400, dims: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    """Features, targets and the number of outputs of a target."""
    make = {"class": make_classes, "multilabel": make_labels, "continuous": make_values}[target]
    X, y = make(n, dims, seed)
    return X, y, K if target == "class" else y.shape[1]
