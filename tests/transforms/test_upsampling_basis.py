"""The stored basis: fitting, coding, loss, and its table, with the rules for missing and too few vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.quantization import quantize
from transforms.upsampling.basis import (
    BasisVersionError,
    basis_from_table,
    basis_table,
    decode,
    encode,
    fit_basis,
    project,
    reconstruct,
    reduction_loss,
)


def patch_vectors(n=600, dims=48, rank=12, noise=0.05, seed=0):
    """Vectors whose variance falls from direction to direction, far from the origin, as those of encoders are."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, rank)) * np.geomspace(3, 0.3, rank)
    mixed = factors @ np.linalg.qr(rng.normal(size=(dims, rank)))[0].T
    return (mixed + noise * rng.normal(size=(n, dims)) + rng.normal(size=dims)).astype(np.float32)


def test_components_are_those_of_scikit_learn_up_to_sign():
    vectors = patch_vectors()
    basis = fit_basis(vectors, 10, seed=0)
    found = PCA(10, svd_solver="full").fit(vectors.astype(np.float64))
    np.testing.assert_allclose(np.abs((basis.components * found.components_).sum(axis=1)), 1.0, atol=1e-5)
    np.testing.assert_allclose(basis.explained, found.explained_variance_ratio_, atol=1e-6)
    np.testing.assert_allclose(basis.explained_share, found.explained_variance_ratio_.sum(), atol=1e-6)
    np.testing.assert_allclose(np.abs(project(vectors, basis)), np.abs(found.transform(vectors)), atol=1e-4)


def test_signs_do_not_depend_on_the_order_of_patches():
    vectors = patch_vectors()
    basis = fit_basis(vectors, 8, seed=0)
    again = fit_basis(vectors[::-1], 8, seed=0)
    np.testing.assert_allclose(again.components, basis.components, atol=1e-4)
    largest = np.abs(basis.components).argmax(axis=1)
    assert (basis.components[np.arange(8), largest] > 0).all()


def test_the_same_vectors_give_the_same_version_and_others_another():
    vectors = patch_vectors(n=900)
    basis = fit_basis(vectors, 8, seed=0, sample=300)
    assert fit_basis(vectors, 8, seed=0, sample=300).version == basis.version
    assert fit_basis(vectors, 8, seed=1, sample=300).version != basis.version
    assert replace(basis, scale=basis.scale * 2).version != basis.version
    assert len(basis.version) == 16


def test_codes_equal_those_of_the_quantiser():
    rng = np.random.default_rng(1)
    basis = fit_basis(patch_vectors(), 12, seed=0)
    projected = (rng.normal(size=(5000, 12)) * basis.scale * 0.6).astype(np.float32)
    projected[rng.random(5000) < 0.1] = np.nan
    projected[3] = 0.0
    codes = encode(projected, basis)
    np.testing.assert_array_equal(codes, quantize(projected / basis.scale))
    assert encode(projected, basis, codes) is codes


def test_codes_use_their_range():
    vectors = patch_vectors()
    basis = fit_basis(vectors, 12, seed=0)
    codes = encode(project(vectors, basis), basis).astype(int)
    np.testing.assert_array_equal(np.abs(codes).max(axis=0), 127)


def test_code_errors_stay_within_half_a_step():
    vectors = patch_vectors()
    basis = fit_basis(vectors, 12, seed=0)
    projected = project(vectors, basis)
    error = np.abs(decode(encode(projected, basis), basis) - projected) / basis.scale
    # the slope of the code at |x| is 2 sqrt|x|; half a step of 1/127.5, and one second-order term
    size = np.sqrt(np.abs(projected) / basis.scale)
    np.testing.assert_array_less(error, size / 127.5 + (0.5 / 127.5) ** 2 + 1e-6)


def test_a_full_basis_gives_vectors_back():
    vectors = patch_vectors(dims=20)
    basis = fit_basis(vectors, 20, seed=0)
    np.testing.assert_allclose(reconstruct(project(vectors, basis), basis), vectors, atol=1e-5)
    loss = reduction_loss(vectors, basis)
    assert loss.explained_share == pytest.approx(1.0, abs=1e-6)
    assert loss.quantisation_share > 0.999
    assert loss.n_vectors == 600


def test_loss_is_that_of_its_definition():
    vectors = patch_vectors()
    vectors[5, 7] = np.nan
    basis = fit_basis(vectors, 6, seed=0)
    loss = reduction_loss(vectors, basis)
    exact = np.delete(vectors, 5, axis=0).astype(np.float64)
    back = reconstruct(decode(encode(project(exact, basis), basis), basis), basis)
    cosine = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(exact, back, strict=True)]
    reduced = PCA(6, svd_solver="full").fit(exact)
    kept = reduced.inverse_transform(reduced.transform(exact))
    assert loss.n_vectors == 599
    assert loss.mean_cosine == pytest.approx(np.mean(cosine), abs=1e-6)
    assert loss.worst_cosine == pytest.approx(np.min(cosine), abs=1e-6)
    assert loss.explained_share == pytest.approx(reduced.explained_variance_ratio_.sum(), abs=1e-5)
    total = np.square(exact - back).sum()
    assert loss.quantisation_share == pytest.approx(1 - np.square(exact - kept).sum() / total, abs=1e-4)
    assert 0 < loss.quantisation_share < 0.2


def test_incomplete_vectors_are_left_out_and_marked():
    vectors = patch_vectors()
    complete = vectors[2:].copy()
    vectors[0, 3], vectors[1, 4] = np.nan, np.inf
    basis = fit_basis(vectors, 6, seed=0)
    assert basis.version == fit_basis(complete, 6, seed=0).version
    projected = project(vectors, basis)
    assert np.isnan(projected[:2]).all()
    assert np.isfinite(projected[2:]).all()
    codes = encode(projected, basis)
    assert (codes[:2] == -128).all()
    assert (codes[2:] != -128).all()
    assert np.isnan(reconstruct(decode(codes, basis), basis)[:2]).all()


def test_one_missing_component_marks_the_row():
    basis = fit_basis(patch_vectors(), 6, seed=0)
    projected = np.zeros((2, 6), np.float32)
    projected[1, 2] = np.nan
    np.testing.assert_array_equal(encode(projected, basis), [[0] * 6, [-128] * 6])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_fewer_patches_than_components_leave_zeros(n):
    vectors = patch_vectors(n=n)
    basis = fit_basis(vectors, 16, seed=0)
    assert basis.components.shape == (16, 48)
    assert not basis.components[n - 1 :].any()
    codes = encode(project(vectors, basis), basis)
    assert not codes[:, n - 1 :].any()
    np.testing.assert_allclose(reconstruct(project(vectors, basis), basis), vectors, atol=1e-5)
    assert basis.explained_share == pytest.approx(1.0, abs=1e-6)


def test_constant_vectors_are_their_mean():
    vectors = np.full((30, 8), 0.1, np.float32) + np.arange(8, dtype=np.float32)
    basis = fit_basis(vectors, 4, seed=0)
    assert not basis.components.any()
    np.testing.assert_array_equal(basis.scale, 1.0)
    assert not encode(project(vectors, basis), basis).any()
    loss = reduction_loss(vectors, basis)
    assert (loss.explained_share, loss.quantisation_share) == (1.0, pytest.approx(0.0, abs=1e-6))
    assert loss.worst_cosine == pytest.approx(1.0, abs=1e-6)


def test_values_beyond_the_sample_are_cut():
    basis = fit_basis(patch_vectors(), 3, seed=0)
    np.testing.assert_array_equal(encode(basis.scale[None] * np.float32([5, -5, 1]), basis), [[127, -127, 127]])


def test_a_basis_survives_its_table():
    basis = fit_basis(patch_vectors(), 6, seed=0)
    table = basis_table(basis)
    assert table.num_rows == 6
    assert table.schema.names == ["basis_version", "component", "scale", "explained", "loading", "mean"]
    again = basis_from_table(table.take([3, 1, 0, 5, 4, 2]))
    for name in ("components", "mean", "scale", "explained"):
        np.testing.assert_array_equal(getattr(again, name), getattr(basis, name))
    assert again.version == basis.version


def test_an_edited_table_is_refused():
    basis = fit_basis(patch_vectors(), 6, seed=0)
    table = basis_table(basis)
    edited = basis_table(replace(basis, scale=basis.scale * 2)).set_column(0, "basis_version", table["basis_version"])
    with pytest.raises(BasisVersionError, match=basis.version):
        basis_from_table(edited)
    with pytest.raises(ShapeError, match="one version"):
        basis_from_table(table.slice(0, 0))


def test_bad_shapes_are_refused():
    vectors = patch_vectors()
    basis = fit_basis(vectors, 6, seed=0)
    for k in (0, 49):
        with pytest.raises(ShapeError, match="1 to 48"):
            fit_basis(vectors, k, seed=0)
    with pytest.raises(ShapeError, match=r"\(n, d\)"):
        fit_basis(vectors[0], 2, seed=0)
    with pytest.raises(TooFewUnitsError, match="at least 1"):
        fit_basis(np.full((4, 8), np.nan, np.float32), 2, seed=0)
    with pytest.raises(TooFewUnitsError, match="loss"):
        reduction_loss(np.full((4, 48), np.nan, np.float32), basis)
    with pytest.raises(ShapeError, match=basis.version):
        project(vectors[:, :9], basis)
    with pytest.raises(ShapeError, match="6"):
        decode(np.zeros((2, 5), np.int8), basis)
    with pytest.raises(ShapeError, match="int8"):
        encode(np.zeros((2, 6), np.float32), basis, np.zeros((2, 6), np.int16))
