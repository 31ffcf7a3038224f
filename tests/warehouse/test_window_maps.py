"""Maps of linear upsamplers take scores before they interpolate: the same classes as from full vectors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.transforms.test_upsampled_rows import eg_places, grid_places
from transforms.arms import ARMS
from transforms.evaluation import CellOutcome, FoldOutcome
from transforms.probes.logistic import LogisticProbe
from transforms.upsampled_rows import PatchField
from transforms.upsampling.operators import UPSAMPLERS
from warehouse.window_maps import _ReducedFirst, map_cell

UNFITTED = [name for name, entry in UPSAMPLERS.items() if not entry.is_fitted]


def make_field(places) -> PatchField:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(len(places), 12)).astype(np.float32)
    vectors[3] = np.nan
    return PatchField(places, vectors, True)


def fit_outcome(field: PatchField, classes: tuple[int, ...]) -> FoldOutcome:
    rng = np.random.default_rng(6)
    labels = rng.choice(classes, 300).astype(np.int16)
    features = rng.normal(size=(300, 12)).astype(np.float32)
    features[:, :4] += np.eye(4, dtype=np.float32)[labels] * 2
    probe = LogisticProbe(4).fit(features, labels)
    empty = np.empty(0, np.int64)
    return FoldOutcome(0, empty, empty.astype(np.int16), np.empty((0, 4), np.float32), 300, None, probe)


@pytest.mark.parametrize("name", [arm.name for arm in ARMS.values() if arm.parts])
def test_joined_arms_are_scored_and_not_mapped(name: str) -> None:
    # they have no operator to map with; a study that lists them must not end there
    warehouse = SimpleNamespace(settings=SimpleNamespace(keep=SimpleNamespace(windows=("a",))))
    outcome = CellOutcome((fit_outcome(make_field(grid_places(8)), (0, 1)),), "")
    assert map_cell(warehouse, None, 2021, ARMS[name], None, SimpleNamespace(scheme="block"), outcome) is None


def test_every_operator_that_learns_nothing_is_linear() -> None:
    assert all(UPSAMPLERS[name].is_linear for name in UNFITTED)


@pytest.mark.parametrize("classes", [(0, 1, 2, 3), (1, 3)])
@pytest.mark.parametrize("places", [grid_places(8), eg_places()], ids=["grid", "lattice"])
@pytest.mark.parametrize("name", UNFITTED)
def test_classes_are_those_of_full_vectors(name: str, places, classes: tuple[int, ...]) -> None:
    field = make_field(places)
    outcome = fit_outcome(field, classes)
    rows = field.rows()
    rng = np.random.default_rng(7)
    pick = rng.integers(0, len(rows.u), 200)
    pitch = np.diff(np.unique(np.round(rows.u, 9))).max()
    u = rows.u[pick] + rng.uniform(-0.4, 0.4, 200) * min(pitch, 80.0)
    v = rows.v[pick] + rng.uniform(-0.4, 0.4, 200) * rows.pitch_v
    mapped = _ReducedFirst(UPSAMPLERS[name].build, field, u, v).predict(outcome, np.arange(200))
    full = UPSAMPLERS[name].build().fit(rows, field.vectors).transform(u, v)
    finite = np.isfinite(full).all(axis=1)
    assert finite.sum() > 100
    assert (mapped[~finite] == -1).all()
    scores = np.sort(outcome.probe.predict_proba(full[finite]), axis=1)
    is_clear = scores[:, -1] - scores[:, -2] > 1e-3  # a near tie may fall either way in float32
    expected = outcome.probe.predict(full[finite])
    np.testing.assert_array_equal(mapped[finite][is_clear], expected[is_clear])


@pytest.mark.parametrize("name", UNFITTED)
def test_pictures_reduce_first_too(name: str) -> None:
    field = make_field(grid_places(8))
    rows = field.rows()
    source = _ReducedFirst(UPSAMPLERS[name].build, field, rows.u + 11.0, rows.v - 7.0)
    colors = source.draw(fit_outcome(field, (0, 1, 2, 3)))
    assert colors.shape == (64, 3)
    assert len(np.unique(colors, axis=0)) > 20
