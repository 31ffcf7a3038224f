"""Known truth S2: classes that differ in one property only, and the operators that can and cannot see it.

Simulated patches go through the real pooling code, window by window, at sub-pixel offsets. At chance: held-out accuracy
within 4 binomial standard errors of one half. At 1: at least 0.99.
"""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from transforms.pooling.codebook import fit_codebook
from transforms.pooling.operators import POOLING_OPERATORS, features
from transforms.pooling.pixels import PoolingParameters
from transforms.pooling.pooler import PatchPooler
from transforms.quantization import dequantize, quantize
from transforms.windows import PixelWindow

EPSG = 32648
SIDE = 30  # patches along each axis
PIXELS = 10  # pixels from patch to patch; the footprint is 8 wide, so that no pixel lies in two
DIMS = 4
N = SIDE * SIDE
TRAIN, TEST = np.arange(0, N, 2), np.arange(1, N, 2)
CHANCE = 4 * np.sqrt(0.25 / len(TEST))

#: Without `mean_length`: the mean of a more varied patch is longer, by its own scatter.
MEANS = ("mean", "mean_renormalised", "gem", "centre_weighted", "pyramid_2x2", "pyramid_4x4")
PER_DIMENSION = ("mean", "std", "min", "max", "gem", "median_iqr", "percentiles", "mean_std", "mean_max", "stats")
ORDERLESS = (*PER_DIMENSION, "mean_renormalised", "mean_length", "covariance", "vlad", "bow")


def draw_variance(rng, label):
    """The same mean, correlation and layout; twice the standard deviation."""
    return np.where(label, 0.2, 0.1)[:, None, None, None] * rng.normal(size=(N, DIMS, PIXELS, PIXELS))


def draw_correlation(rng, label):
    """The same distribution of every dimension and the same layout; dimensions vary together or against each other."""
    pixels = 0.15 * rng.normal(size=(N, DIMS, PIXELS, PIXELS))
    sign = np.where(label, 0.8, -0.8)[:, None, None]
    pixels[:, 1] = sign * pixels[:, 0] + 0.6 * pixels[:, 1]
    return pixels


def draw_layout(rng, label):
    """The same pixels; the bright ones in the north or in the south."""
    pixels = 0.05 * rng.normal(size=(N, DIMS, PIXELS, PIXELS))
    sign = np.where(label, 1.0, -1.0)[:, None, None, None]
    pixels[:, :, : PIXELS // 2] += 0.15 * sign
    pixels[:, :, PIXELS // 2 :] -= 0.15 * sign
    return pixels


def pool(pixels):
    """Pool patches that lie in a raster, in four windows, with columns of every operator."""
    size = SIDE * PIXELS
    raster = pixels.reshape(SIDE, SIDE, DIMS, PIXELS, PIXELS).transpose(2, 0, 3, 1, 4).reshape(DIMS, size, size)
    codes = quantize(raster)
    affine = Affine(10.0, 0, 500_000.0, 0, -10.0, 1_400_000.0)
    row, col = (index.ravel() for index in np.divmod(np.arange(N), SIDE))
    # one pixel from the edges, and a sub-pixel offset along x; rows are whole: both halves of a layout weigh the same
    west = affine.c + 10.0 * (col * PIXELS + np.linspace(0.5, 1.5, N))
    north = affine.f - 10.0 * (row * PIXELS + 1)
    boxes = np.stack([west, north - 80.0, west + 80.0, north], axis=1)
    vectors = dequantize(codes)[:, ::3, ::3].reshape(DIMS, -1).T
    books = {name: fit_codebook(vectors[: len(vectors) // 2], 6, seed=0) for name in ("vlad", "bow")}
    pooler = PatchPooler(boxes, EPSG, DIMS, list(POOLING_OPERATORS), PoolingParameters(codebooks=books))
    cut = size // 2 + 3
    for rows in (slice(0, cut), slice(cut, size)):
        for cols in (slice(0, cut), slice(cut, size)):
            part = np.ascontiguousarray(codes[:, rows, cols])
            corner = affine @ Affine.translation(cols.start, rows.start)
            pooler.add(PixelWindow(part, np.ones(part.shape[1:], np.bool_), corner, EPSG, "memory"))
    pooled = pooler.finish()
    order = np.argsort(pooled.index)
    assert len(pooled) == N
    return {name: column[order] for name, column in pooled.columns.items()}


@pytest.fixture(scope="module")
def accuracy():
    """Held-out accuracy by world and operator."""
    scores = {}
    for k, draw in enumerate((draw_variance, draw_correlation, draw_layout)):
        rng = np.random.default_rng(k)
        label = rng.permutation(np.arange(N) % 2)
        columns = pool(draw(rng, label))
        for name in POOLING_OPERATORS:
            x = features(columns, name)
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(x[TRAIN], label[TRAIN])
            scores[draw.__name__.removeprefix("draw_"), name] = model.score(x[TEST], label[TEST])
    return scores


@pytest.mark.parametrize("name", MEANS)
def test_means_do_not_see_variance(accuracy, name):
    assert abs(accuracy["variance", name] - 0.5) <= CHANCE


@pytest.mark.parametrize("name", ["std", "mean_std", "stats", "median_iqr", "percentiles", "covariance"])
def test_spreads_see_variance(accuracy, name):
    assert accuracy["variance", name] >= 0.99


@pytest.mark.parametrize("name", [*PER_DIMENSION, "centre_weighted", "pyramid_2x2", "pyramid_4x4"])
def test_operators_on_single_dimensions_do_not_see_correlation(accuracy, name):
    assert abs(accuracy["correlation", name] - 0.5) <= CHANCE


def test_covariance_sees_correlation(accuracy):
    assert accuracy["correlation", "covariance"] >= 0.99


@pytest.mark.parametrize("name", ORDERLESS)
def test_orderless_operators_do_not_see_layout(accuracy, name):
    assert abs(accuracy["layout", name] - 0.5) <= CHANCE


@pytest.mark.parametrize("name", ["pyramid_2x2", "pyramid_4x4"])
def test_pyramids_see_layout(accuracy, name):
    assert accuracy["layout", name] >= 0.99


def test_every_operator_is_judged():
    assert set(ORDERLESS) | {"centre_weighted", "pyramid_2x2", "pyramid_4x4"} == set(POOLING_OPERATORS)
