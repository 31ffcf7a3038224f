from __future__ import annotations

import numpy as np

from transforms.targets import Targets, probe_target_of


def test_kinds_are_fitted_as_classes_labels_or_numbers() -> None:
    kinds = ("class", "relevance", "multilabel", "fractions", "values")
    assert [probe_target_of(kind) for kind in kinds] == ["class", "class", "multilabel", "continuous", "continuous"]


def test_fractions_are_settled_to_shares() -> None:
    targets = Targets("fractions", np.eye(3, dtype=np.float32), ("a", "b", "c"))
    settled = targets.settle(np.array([[0.5, 0.5, 1.0], [-1.0, 2.0, 2.0], [-1.0, -2.0, 0.0]], np.float32))
    np.testing.assert_allclose(settled, [[0.25, 0.25, 0.5], [0, 0.5, 0.5], [1 / 3] * 3], rtol=1e-6)
    values = Targets("values", np.zeros((2, 1), np.float32), ("VV",))
    np.testing.assert_array_equal(values.settle(np.array([[-3.0], [2.0]], np.float32)), [[-3.0], [2.0]])


def test_budgets_are_balanced_by_the_largest_fraction() -> None:
    shares = np.array([[0.2, 0.8], [0.9, 0.1]], np.float32)
    assert Targets("fractions", shares, ("a", "b")).strata().tolist() == [1, 0]
    assert Targets("values", shares, ("a", "b")).strata().tolist() == [0, 0]
    assert Targets("class", np.array([1, 0], np.int16), ("a", "b")).take(np.array([1])).values.tolist() == [0]
