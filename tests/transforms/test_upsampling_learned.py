"""Operators that learn from labels or fractions: what they learn, what they need, what they say at holes."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from transforms import lattice
from transforms.errors import ShapeError
from transforms.probes.logistic import LogisticProbe
from transforms.upsampling.bilinear import BilinearUpsampler
from transforms.upsampling.conv_head import ConvHeadUpsampler
from transforms.upsampling.label_proportions import LabelProportionUpsampler
from transforms.upsampling.nearest import NearestUpsampler
from transforms.upsampling.operators import UPSAMPLERS
from transforms.upsampling.rows import eg_rows, grid_rows
from transforms.upsampling.token_to_block import TokenToBlockUpsampler, place_basis
from transforms.upsampling.torch_training import MissingTorchError
from transforms.upsampling.training import TrainingData

LEARNED = ("token_to_block", "conv_head", "label_proportions")
PITCH = 320.0
SIDE = 20


def grid(side=SIDE):
    row, col = np.divmod(np.arange(side * side), side)
    x, y = col * PITCH, row * PITCH
    return grid_rows(x, y), x, y


def inner_points(rng, n, side=SIDE):
    """Points at least one patch away from the border."""
    return rng.uniform(PITCH, (side - 2) * PITCH, (2, n))


def waves(u, v, seed, n_channels=3, reach=1.2 * PITCH):
    """Smooth fields of unit variance at points, (m, channels)."""
    rng = np.random.default_rng(seed)
    turn = rng.normal(size=(2, n_channels, 8)) / reach
    phase = rng.uniform(0, 2 * np.pi, (n_channels, 8))
    return np.cos(np.multiply.outer(u, turn[0]) + np.multiply.outer(v, turn[1]) + phase).sum(axis=2) / 2


def world(seed=0, n=600):
    """A smooth world whose fractions and labels are known: rows, vectors, training data."""
    rng = np.random.default_rng(seed)
    rows, x, y = grid()
    lift = rng.normal(size=(3, 12))
    vectors = (waves(x, y, seed) @ lift + 0.1 * rng.normal(size=(len(x), 12))).astype(np.float32)
    u, v = inner_points(rng, n)
    labels = waves(u, v, seed).argmax(axis=1).astype(np.int16)
    inside = (np.arange(8) + 0.5) / 8 * PITCH - PITCH / 2
    dv, du = (part.ravel() for part in np.meshgrid(inside, inside, indexing="ij"))
    values = waves((x[:, None] + du).ravel(), (y[:, None] + dv).ravel(), seed).argmax(axis=1)
    classes = values.reshape(len(x), -1)
    fractions = np.stack([(classes == k).mean(axis=1) for k in range(3)], axis=1).astype(np.float32)
    return rows, vectors, TrainingData(u, v, labels, 3, patch_fractions=fractions, seed=seed)


def probe_accuracy(features, labels, is_training):
    probe = LogisticProbe(int(labels.max()) + 1).fit(features[is_training], labels[is_training])
    return (probe.predict(features[~is_training]) == labels[~is_training]).mean()


def test_results_have_the_width_of_their_entry():
    rows, vectors, training = world()
    u, v = inner_points(np.random.default_rng(1), 50)
    for name in LEARNED:
        entry = UPSAMPLERS[name]
        found = entry.build().fit(rows, vectors, training).transform(u, v)
        assert found.shape == (50, entry.output_dims(12, 3)), name
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", LEARNED)
def test_the_same_seed_gives_the_same_bits(name):
    rows, vectors, training = world()
    u, v = inner_points(np.random.default_rng(1), 50)
    first, again = (UPSAMPLERS[name].build().fit(rows, vectors, training).transform(u, v) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_another_seed_trains_another_head():
    rows, vectors, training = world()
    other = TrainingData(training.points_u, training.points_v, training.labels, 3, seed=1)
    u, v = inner_points(np.random.default_rng(1), 50)
    found = [ConvHeadUpsampler(max_epochs=1).fit(rows, vectors, data).transform(u, v) for data in (training, other)]
    assert not np.allclose(*found)


@pytest.mark.parametrize("name", LEARNED)
def test_training_leaves_the_global_generators_alone(name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global state is what is tested
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    UPSAMPLERS[name].build().fit(*world(n=60))
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", LEARNED)
def test_many_points_in_chunks_equal_few(name, monkeypatch):
    rows, vectors, training = world(n=100)
    fitted = UPSAMPLERS[name].build().fit(rows, vectors, training)
    u, v = inner_points(np.random.default_rng(1), 50)
    whole = fitted.transform(u, v)
    monkeypatch.setattr("transforms.upsampling.neighbours.CHUNK_POINTS", 7)
    np.testing.assert_allclose(fitted.transform(u, v), whole, rtol=1e-5, atol=1e-6)


def test_token_to_block_learns_classes_of_token_and_place_together():
    rng = np.random.default_rng(2)
    rows, x, _ = grid()
    sign = rng.choice([-1.0, 1.0], len(x))
    vectors = rng.normal(size=(len(x), 12)).astype(np.float32)
    vectors[:, 0] = 3 * sign
    u, v = inner_points(rng, 4000)
    patch = (np.rint(v / PITCH) * SIDE + np.rint(u / PITCH)).astype(int)
    is_east = u / PITCH > np.rint(u / PITCH)
    labels = ((sign[patch] > 0) ^ is_east).astype(np.int16)
    is_training = v < 9 * PITCH
    training = TrainingData(u[is_training], v[is_training], labels[is_training], 2)
    blocks = TokenToBlockUpsampler().fit(rows, vectors, training).transform(u, v)
    flat = BilinearUpsampler().fit(rows, vectors).transform(u, v)
    assert probe_accuracy(blocks, labels, is_training) > 0.95
    assert probe_accuracy(flat, labels, is_training) < 0.6


def test_token_to_block_of_rank_one_keeps_the_direction_that_tells_classes():
    rng = np.random.default_rng(3)
    rows, x, _ = grid()
    # the telling direction has a hundredth of the variance of the others: PCA would drop it
    vectors = rng.normal(size=(len(x), 12)).astype(np.float32)
    vectors[:, 4] *= 0.1
    u, v = inner_points(rng, 3000)
    patch = (np.rint(v / PITCH) * SIDE + np.rint(u / PITCH)).astype(int)
    labels = (vectors[patch, 4] > 0).astype(np.int16)
    found = TokenToBlockUpsampler(rank=1).fit(rows, vectors, TrainingData(u, v, labels, 2)).transform(u, v)
    assert found.shape == (3000, 12)
    assert probe_accuracy(found, labels, v < 9 * PITCH) > 0.9


def test_token_to_block_result_is_an_outer_product_averaged_over_lattices():
    rng = np.random.default_rng(4)
    places = lattice.enumerate_places(103.0, 12.6, 103.03, 12.63)
    rows = eg_rows(places.is_secondary, places.row, places.lon, places.lat)
    vectors = rng.normal(size=(len(places), 5)).astype(np.float32)
    u, v = rng.uniform(103.006, 103.024, 80), rng.uniform(12.606, 12.624, 80)
    labels = (np.arange(80) % 2).astype(np.int16)
    fitted = TokenToBlockUpsampler(rank=2).fit(rows, vectors, TrainingData(u, v, labels, 2))
    expected = np.zeros((80, 3 * 6))
    pitch_u = 360.0 / lattice.count_columns(places.row)
    for m in range(80):
        held = np.flatnonzero(
            (np.abs(places.lon - u[m]) < pitch_u / 2) & (np.abs(places.lat - v[m]) < lattice.ROW_HEIGHT_DEG / 2)
        )
        assert len(held) == 2
        for p in held:
            px = (u[m] - places.lon[p]) / pitch_u[p] + 0.5
            py = (v[m] - places.lat[p]) / lattice.ROW_HEIGHT_DEG + 0.5
            basis = [np.cos(np.pi * i * px) * np.cos(np.pi * (t - i) * py) for t in range(3) for i in range(t + 1)]
            expected[m] += np.outer(fitted.reduced_[p], basis).ravel() / 2
    np.testing.assert_allclose(fitted.transform(u, v), expected, atol=1e-4)


def test_place_basis_is_orthogonal_over_a_block():
    step = (np.arange(64) + 0.5) / 64
    basis = place_basis(np.stack(np.meshgrid(step, step), axis=-1).astype(np.float32)).reshape(-1, 6).astype(float)
    gram = basis.T @ basis / len(basis)
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-6)
    np.testing.assert_allclose(basis[:, 0], 1)


def test_conv_head_learns_classes_of_neighbours():
    rng = np.random.default_rng(5)
    rows, x, _ = grid(30)
    vectors = rng.normal(size=(len(x), 6)).astype(np.float32)
    u, v = inner_points(rng, 4000, side=30)
    field = BilinearUpsampler().fit(rows, vectors)
    labels = (field.transform(u + PITCH, v)[:, 0] > field.transform(u - PITCH, v)[:, 0]).astype(np.int16)
    is_training = v < 18 * PITCH
    training = TrainingData(u[is_training], v[is_training], labels[is_training], 2)
    hidden = ConvHeadUpsampler().fit(rows, vectors, training).transform(u, v)
    assert (hidden >= 0).all()
    assert probe_accuracy(hidden, labels, is_training) > 0.85
    assert probe_accuracy(field.transform(u, v), labels, is_training) < 0.65


def test_label_proportions_recover_gradients_inside_patches_from_fractions_alone():
    rows, vectors, training = world(7)
    rng = np.random.default_rng(8)
    # labels of points that would mislead: they are not read
    wrong = TrainingData(
        training.points_u,
        training.points_v,
        np.zeros(len(training.labels), np.int16),
        3,
        patch_fractions=training.patch_fractions,
    )
    u, v = inner_points(rng, 4000)
    truth = waves(u, v, 7)
    labels = truth.argmax(axis=1)
    found = LabelProportionUpsampler().fit(rows, vectors, wrong).transform(u, v)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)
    majority = NearestUpsampler().fit(rows, training.patch_fractions).transform(u, v).argmax(axis=1)
    assert (found.argmax(axis=1) != labels).mean() < 0.5 * (majority != labels).mean()
    # inside patches: log-odds and truth after the mean of each patch is taken off
    patch = (np.rint(v / PITCH) * SIDE + np.rint(u / PITCH)).astype(int)
    odds, gap = found[:, 0] - found[:, 1], truth[:, 0] - truth[:, 1]
    count = np.maximum(np.bincount(patch), 1)
    inner = [value - (np.bincount(patch, value) / count)[patch] for value in (odds, gap)]
    assert np.corrcoef(*inner)[0, 1] > 0.8


def test_label_proportions_slope_equals_finite_differences():
    from scipy.optimize import check_grad
    from scipy.sparse import csr_array

    from transforms.upsampling.label_proportions import _loss_and_slope

    rng = np.random.default_rng(9)
    bags = csr_array(rng.random((12, 5)))
    means = csr_array(np.kron(np.eye(3), np.full((1, 4), 0.25)))
    fractions = rng.dirichlet(np.ones(3), 3)
    loss = _loss_and_slope(rng.normal(size=(5, 2)), bags, means, fractions, 0.1)
    start = rng.normal(size=2 * 3 + 3)
    assert check_grad(lambda x: loss(x)[0], lambda x: loss(x)[1], start) < 1e-6


@pytest.mark.parametrize("name", LEARNED)
def test_a_patch_without_a_vector_spoils_no_other(name):
    rows, vectors, training = world()
    missing = 10 * SIDE + 10
    vectors[missing] = np.nan
    fitted = UPSAMPLERS[name].build().fit(rows, vectors, training)
    u, v = np.array([10.0, 8.0, 10.6, 10.9]) * PITCH, np.array([10.0, 8.0, 10.0, 9.4]) * PITCH
    found = np.isfinite(fitted.transform(u, v)).all(axis=1)
    # at its own centre no other patch says anything; elsewhere the neighbours do
    np.testing.assert_array_equal(found, [False, True, True, True])


@pytest.mark.parametrize("name", LEARNED)
def test_points_outside_the_lattice_are_nan(name):
    rows, vectors, training = world()
    fitted = UPSAMPLERS[name].build().fit(rows, vectors, training)
    found = fitted.transform([-0.4 * PITCH, -0.8 * PITCH, -5 * PITCH], [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(np.isnan(found).any(axis=1), [False, True, True])
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), [False, True, True])


@pytest.mark.parametrize("name", LEARNED)
def test_one_patch_gives_finite_values_where_it_lies(name):
    rows = grid_rows([0.0], [0.0], pitch_m=PITCH)
    rng = np.random.default_rng(1)
    u, v = rng.uniform(-100, 100, (2, 20))
    training = TrainingData(u, v, (u > 0).astype(np.int16), 2, patch_fractions=np.array([[0.5, 0.5]], np.float32))
    found = UPSAMPLERS[name].build().fit(rows, np.ones((1, 4), np.float32), training).transform([0.0, 900.0], [0, 0])
    np.testing.assert_array_equal(np.isfinite(found).all(axis=1), [True, False])


@pytest.mark.parametrize("name", ["token_to_block", "conv_head"])
def test_missing_labels_are_named(name):
    rows, vectors, training = world(n=10)
    build = UPSAMPLERS[name].build
    empty = TrainingData(np.empty(0), np.empty(0), np.empty(0, np.int16), 3)
    alone = TrainingData(training.points_u, training.points_v, np.zeros(10, np.int16), 3)
    far = TrainingData(training.points_u + 1e6, training.points_v, training.labels, 3)
    unknown = TrainingData(training.points_u, training.points_v, training.labels - 1, 3)
    short = TrainingData(training.points_u[:4], training.points_v, training.labels, 3)
    cases = [
        (None, "no training data.*Pass TrainingData"),
        (empty, "no labelled point"),
        (alone, "at least 2 classes"),
        (far, "one area"),
        (unknown, r"class ids -1\.\."),
        (short, "lengths"),
    ]
    for data, message in cases:
        with pytest.raises(ShapeError, match=f"{name}.*{message}"):
            build().fit(rows, vectors, data)


def test_missing_fractions_are_named():
    rows, vectors, training = world(n=10)
    u, v, labels = training.points_u, training.points_v, training.labels
    fractions = training.patch_fractions
    unknown = np.full_like(fractions, np.nan)
    elsewhere = unknown.copy()
    elsewhere[5] = fractions[5]
    vectors[5] = np.nan
    cases = [
        (None, "patch_fractions None.*Pass TrainingData"),
        (fractions[:4], r"\(4, 3\)"),
        (fractions * 2, "sum to 1"),
        (unknown, "NaN in every row"),
        (elsewhere, "none of a patch with a vector"),
    ]
    with pytest.raises(ShapeError, match=r"label_proportions.*no training data"):
        LabelProportionUpsampler().fit(rows, vectors)
    for found, message in cases:
        with pytest.raises(ShapeError, match=f"label_proportions.*{message}"):
            LabelProportionUpsampler().fit(rows, vectors, TrainingData(u, v, labels, 3, patch_fractions=found))


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0.0}, {"alpha": float("nan")}])
def test_token_to_block_refuses_empty_options(options):
    with pytest.raises(ShapeError, match="both above 0"):
        TokenToBlockUpsampler(**options).fit(*world(n=10))


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingTorchError, match=r"conv_head.*isthmus\[torch\]"):
        ConvHeadUpsampler().fit(*world(n=10))
