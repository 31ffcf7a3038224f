from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA

from transforms import projection
from transforms.errors import ShapeError
from transforms.projection import MissingUmapError, draw_shown, project_2d

VECTORS = arrays(np.float32, st.tuples(st.integers(3, 30), st.integers(2, 8)), elements=st.integers(-50, 50))


def clouds(n: int = 200, d: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, d)) * 5
    return (centres[np.arange(n) % 2] + rng.normal(size=(n, d))).astype(np.float32)


@given(vectors=VECTORS, seed=st.integers(0, 5), shift=st.integers(-20, 20))
def test_components_are_centred_shrink_distances_and_ignore_shifts(vectors: np.ndarray, seed: int, shift: int) -> None:
    found = project_2d(vectors, seed, "pca")
    assert found.method == "pca"
    assert found.xy.shape == (len(vectors), 2)
    np.testing.assert_allclose(found.xy.mean(axis=0), 0, atol=1e-3)
    flat = np.linalg.norm(found.xy[:, None] - found.xy, axis=2)
    full = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    assert (flat <= full + 1e-2).all()
    # the same spread along each axis, wherever the origin is
    moved = project_2d(vectors + np.float32(shift), seed, "pca")
    np.testing.assert_allclose(moved.xy.var(axis=0), found.xy.var(axis=0), rtol=1e-3, atol=1e-2)


def test_components_are_those_of_scikit_learn_up_to_sign() -> None:
    vectors = clouds()
    expected = PCA(2, svd_solver="full").fit_transform(vectors)
    found = project_2d(vectors, 0, "pca").xy
    signs = np.sign((expected * found).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-3)


def test_components_do_not_hang_on_the_seed_or_the_order() -> None:
    vectors = clouds()
    first = project_2d(vectors, 0, "pca").xy
    np.testing.assert_array_equal(project_2d(vectors, 7, "pca").xy, first)
    np.testing.assert_allclose(project_2d(vectors[::-1], 0, "pca").xy[::-1], first, atol=1e-4)


def test_equal_vectors_make_one_dot() -> None:
    np.testing.assert_array_equal(project_2d(np.ones((5, 3)), 0, "pca").xy, 0)


@pytest.mark.parametrize("vectors", [np.ones((2, 3)), np.ones((5, 1)), np.ones(5), np.full((5, 3), np.nan)])
def test_what_cannot_be_projected_is_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="vectors to project"):
        project_2d(vectors, 0)


class FakeUmap:
    """Stands for umap-learn, which need not be installed: remembers what it was asked for."""

    asked: dict[str, object]

    def __init__(self, **asked: object) -> None:
        FakeUmap.asked = asked

    def fit_transform(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, :2].astype(np.float64)


@pytest.fixture
def with_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("umap")
    module.UMAP = FakeUmap  # type: ignore[attr-defined]  # a module made here
    module.__spec__ = SimpleNamespace(name="umap")  # type: ignore[assignment]  # only whether it is there counts
    monkeypatch.setitem(sys.modules, "umap", module)


@pytest.fixture
def without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_has_umap", lambda: False)


@pytest.mark.usefixtures("with_umap")
def test_umap_is_used_where_it_is_installed_with_the_seed_and_one_thread() -> None:
    found = project_2d(clouds(), 3)
    assert found.method == "umap"
    assert found.xy.dtype == np.float32
    assert FakeUmap.asked["random_state"] == 3
    assert FakeUmap.asked["n_jobs"] == 1


@pytest.mark.usefixtures("with_umap")
def test_few_vectors_have_no_neighbourhoods() -> None:
    assert project_2d(clouds(15), 0).method == "pca"
    with pytest.raises(ShapeError, match="vectors for UMAP: found 15, expected more than 15"):
        project_2d(clouds(15), 0, "umap")


@pytest.mark.usefixtures("without_umap")
def test_without_the_package_components_are_drawn_and_umap_by_name_says_what_to_install() -> None:
    assert project_2d(clouds(), 0).method == "pca"
    with pytest.raises(MissingUmapError, match=r"pip install 'isthmus\[umap\]'"):
        project_2d(clouds(), 0, "umap")


@given(n_units=st.integers(0, 300), most=st.integers(1, 50), seed=st.integers(0, 3))
def test_the_draw_is_ascending_without_repeats_and_no_larger_than_allowed(n_units: int, most: int, seed: int) -> None:
    shown = draw_shown(n_units, seed, most)
    assert len(shown) == min(n_units, most)
    assert (np.diff(shown) > 0).all()
    assert ((shown >= 0) & (shown < n_units)).all()
    np.testing.assert_array_equal(shown, draw_shown(n_units, seed, most))
