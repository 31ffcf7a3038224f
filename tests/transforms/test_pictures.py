from __future__ import annotations

import numpy as np
import pytest

from transforms.errors import TooFewUnitsError
from transforms.pictures import fit_picture


def make_vectors(n: int = 400, d: int = 8) -> np.ndarray:
    rng = np.random.default_rng(3)
    spread = np.array([9.0, 5.0, 3.0, *[0.1] * (d - 3)])
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (rng.normal(size=(n, d)) * spread @ basis + 2.0).astype(np.float32)


def test_components_are_those_with_the_most_variance_in_falling_order() -> None:
    vectors = make_vectors()
    projected = fit_picture(vectors).project(vectors)
    assert (projected.var(axis=0) > [60, 18, 6]).all()
    assert projected.var(axis=0).sum() == pytest.approx(vectors.var(axis=0).sum(), rel=0.01)


def test_projection_commutes_with_interpolation() -> None:
    vectors = make_vectors()
    picture = fit_picture(vectors)
    mixed = (0.3 * vectors[:200] + 0.7 * vectors[200:]).astype(np.float32)
    expected = 0.3 * picture.project(vectors[:200]) + 0.7 * picture.project(vectors[200:])
    np.testing.assert_allclose(picture.project(mixed), expected, atol=1e-3)


def test_colours_use_the_whole_range_and_nan_rows_change_nothing() -> None:
    vectors = make_vectors()
    picture = fit_picture(vectors)
    colors = picture.color(picture.project(vectors))
    assert colors.dtype == np.uint8
    assert (colors.min(axis=0) == 0).all()
    assert (colors.max(axis=0) == 255).all()
    holes = np.vstack([vectors, np.full((5, 8), np.nan, np.float32)])
    np.testing.assert_array_equal(fit_picture(holes).components, picture.components)
    assert np.isnan(picture.project(holes)[-1]).all()
    assert (picture.color(picture.project(holes))[-1] == 0).all()


@pytest.mark.parametrize("vectors", [make_vectors(1), make_vectors(50)[:, :2], np.ones((20, 5), np.float32)])
def test_few_rows_few_dimensions_and_constant_vectors_are_drawn(vectors: np.ndarray) -> None:
    picture = fit_picture(vectors)
    assert picture.color(picture.project(vectors)).shape == (len(vectors), 3)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(TooFewUnitsError, match="vectors to draw: found 0 of 4"):
        fit_picture(np.full((4, 3), np.nan, np.float32))
