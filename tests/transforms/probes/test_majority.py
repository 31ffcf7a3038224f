from __future__ import annotations

import numpy as np
import pytest

from transforms.probes.majority import MajorityProbe


def test_classes_get_their_training_frequencies() -> None:
    probe = MajorityProbe(4).fit(np.full((5, 2), np.nan), np.array([3, 1, 3, 1, 0]))
    assert probe.predict(np.zeros((2, 2))).tolist() == [1, 1]
    assert probe.predict_proba(np.zeros((1, 2)))[0] == pytest.approx([0.2, 0.4, 0, 0.4])
    assert probe.n_parameters_ == 3


def test_rare_labels_are_never_predicted() -> None:
    y = np.array([[True, False, True], [True, False, False], [True, False, True], [True, True, False]])
    probe = MajorityProbe(3, "multilabel").fit(np.zeros((4, 2)), y)
    assert probe.predict_proba(np.zeros((1, 2)))[0] == pytest.approx([1.0, 0.25, 0.5])
    assert probe.predict(np.zeros((1, 2))).tolist() == [[True, False, False]]
    assert probe.n_parameters_ == 3


def test_values_get_their_training_mean() -> None:
    y = np.array([[1.0, 10.0], [3.0, 30.0]], np.float32)
    probe = MajorityProbe(2, "continuous").fit(np.zeros((2, 1)), y)
    np.testing.assert_array_equal(probe.predict(np.zeros((3, 1))), np.tile([[2.0, 20.0]], (3, 1)))
    assert probe.n_parameters_ == 2


def test_class_scores_are_the_frequencies_and_missing_rows_stay_missing() -> None:
    probe = MajorityProbe(3).fit(np.zeros((4, 2), np.float32), np.array([0, 2, 2, 2], np.int16))
    features = np.array([[1, 2], [np.nan, 0]], np.float32)
    scores, ids = probe.class_scores(features)
    assert ids.tolist() == [0, 1, 2]
    np.testing.assert_allclose(scores[0], [0.25, 0, 0.75])
    assert np.isnan(scores[1]).all()
