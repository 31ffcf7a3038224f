from __future__ import annotations

import numpy as np
import pytest

from transforms.probes.principal_rows import PrincipalRows
from transforms.probes.scaling import Standardisation


@pytest.mark.parametrize("shape", [(200, 12), (9, 40)])
def test_rows_are_a_rotation_of_scaled_features(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1])) + 30).astype(np.float32)
    found = PrincipalRows.of(X, Standardisation.fit(X))
    rank = min(shape[0] - 1, shape[1])
    assert found.rows.shape == (shape[0], rank)
    products = found.rows.T.astype(np.float64) @ found.rows
    np.testing.assert_allclose(products, np.diag(found.squares), atol=1e-4 * found.squares.max())
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(rank), atol=1e-8)
    np.testing.assert_allclose(found.rows.mean(axis=0), 0, atol=1e-5)
    scaled = found.scaling.apply(X) - found.shift
    np.testing.assert_allclose(found.rows @ found.basis.T, scaled, atol=1e-4)


def test_lifted_weights_give_the_same_scores() -> None:
    rng = np.random.default_rng(1)
    X = (rng.normal(size=(50, 8)) * 9 + 100).astype(np.float32)
    found = PrincipalRows.of(X, Standardisation.fit(X))
    weights, intercept = rng.normal(size=(8, 3)), rng.normal(size=3)
    np.testing.assert_allclose(found.lift(weights, intercept).apply(X), found.rows @ weights + intercept, atol=1e-3)


def test_rows_that_do_not_differ_have_no_component() -> None:
    X = np.full((5, 3), 7.3, np.float32)
    found = PrincipalRows.of(X, Standardisation.fit(X))
    assert found.rows.shape == (5, 0)
    np.testing.assert_allclose(found.lift(np.empty((0, 1)), np.array([2.0])).apply(X), 2.0)


def test_scaling_is_that_of_training_rows_and_constants_stay_zero() -> None:
    X = np.array([[1, 5], [3, 5]], np.float32)
    scaling = Standardisation.fit(X)
    np.testing.assert_allclose(scaling.apply(X), [[-1, 0], [1, 0]])
    np.testing.assert_allclose(scaling.apply(np.array([[5, 9]], np.float32)), [[3, 0]])
