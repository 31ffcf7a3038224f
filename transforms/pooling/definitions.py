"""What each pooling operator is, in plain numpy, for the pixels of one footprint.

Belongs here: one function for each base operator: the truth that compiled kernels are tested against, and what pools
polygons and listed points. Does not: the registry (`operators.py`), which also answers for footprints without a
pixel; speed (`gathered_kernels.py`, `kernels.py`).

Every function takes at least one pixel and the parameters of all operators, and gives float64 (width,). All but min
and max weigh each pixel by the share of its area that the footprint covers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.pooling.pixels import PatchPixels, PoolingParameters

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Standard deviation of the centring prior, in sides: a third of half the side (Babenko & Lempitsky 2015).
CENTRE_SIGMA = 1.0 / 6.0


def mean(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the mean, ``sum w x / sum w``; norm <= 1 for unit vectors."""
    return _weighted_mean(pixels.values, pixels.share)


def mean_renormalised(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give mean / |mean|; NaN where |mean| is 0: no direction is better than another."""
    vector = mean(pixels, parameters)
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else np.full_like(vector, np.nan)


def mean_length(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give |mean|, (1,): near 1 for uniform footprints of unit vectors, small for mixed ones."""
    return np.array([np.linalg.norm(mean(pixels, parameters))])


def std(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the population standard deviation of each dimension."""
    residual = pixels.values - mean(pixels, parameters)
    return np.sqrt(_weighted_mean(residual**2, pixels.share))


def minimum(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the least value over pixels whose centre is inside; NaN where there is none."""
    return _inside(pixels).min(axis=0)


def maximum(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the largest value over pixels whose centre is inside; NaN where there is none."""
    return _inside(pixels).max(axis=0)


def gem(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the generalised mean: ``m = mean of sign(x) |x|^p``, then ``sign(m) |m|^(1/p)``.

    Radenovic et al. 2018, arXiv:1711.02512, eq. 3, signed because embeddings have both signs. p = 1 is the mean.
    """
    p = parameters.gem_p
    return _signed_power(_weighted_mean(_signed_power(pixels.values, p), pixels.share), 1.0 / p)


def median_iqr(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give median | inter-quartile range, (2 d,)."""
    low, middle, high = weighted_quantiles(pixels.values, pixels.share, (0.25, 0.5, 0.75))
    return np.concatenate([middle, high - low])


def percentiles(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give each of `parameters.percentiles` for all dimensions, one after the other, (len(q) d,)."""
    shares = tuple(q / 100.0 for q in parameters.percentiles)
    return weighted_quantiles(pixels.values, pixels.share, shares).ravel()


def weighted_quantiles(values: Float64Array, weight: Float64Array, quantiles: tuple[float, ...]) -> Float64Array:
    """Give the least value at which the weighted distribution function reaches q (numpy: ``inverted_cdf``).

    Args:
        values: float64 (n, d), n >= 1.
        weight: float64 (n,), above 0.
        quantiles: each in [0, 1].

    Returns:
        float64 (len(quantiles), d): values that occur, nothing is interpolated.
    """
    order = np.argsort(values, axis=0, kind="stable")
    reached = np.cumsum(weight[order], axis=0)
    reached /= reached[-1]
    rank = np.stack([np.minimum((reached < q).sum(axis=0), len(values) - 1) for q in quantiles])
    return np.take_along_axis(np.take_along_axis(values, order, axis=0), rank, axis=0)


def centre_weighted(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the mean under a Gaussian weight of the place in the bounding box times share.

    The centring prior of SPoC: sigma is a third of the distance from the centre to the border, along each axis
    (Babenko & Lempitsky 2015, arXiv:1510.07493, section 4). The weight at a corner is 1e-4 of that at the centre.
    """
    offset = (pixels.at - 0.5) / CENTRE_SIGMA
    # the common factor keeps far-off pixels of a hollow footprint from underflowing to a sum of 0
    distance = (offset**2).sum(axis=1) / 2.0
    return _weighted_mean(pixels.values, pixels.share * np.exp(distance.min() - distance))


def covariance(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the upper triangle with diagonal, row by row, of the shrunk covariance, (d (d + 1) / 2,).

    ``(1 - s) C + s mu I`` with ``mu = trace(C) / d`` and the s of Ledoit & Wolf 2004 (J. Multivariate Analysis 88),
    means taken with shares as weights, and Kish's effective number ``(sum w)^2 / sum w^2`` as sample size: equal to
    scikit-learn's `ledoit_wolf` where all shares are 1.
    """
    dims = pixels.values.shape[1]
    weight = pixels.share / pixels.share.sum()
    residual = pixels.values - weight @ pixels.values
    scatter = (weight[:, None] * residual).T @ residual
    mu = np.trace(scatter) / dims
    # squared distance of C from mu I, and the part of it that noise explains
    distance = (scatter**2).sum() - dims * mu**2
    fourth = weight @ (residual**2).sum(axis=1) ** 2
    noise = (weight**2).sum() * (fourth - (scatter**2).sum())
    shrinkage = min(noise, distance) / distance if distance > 0 and noise > 0 else 0.0
    shrunk = (1.0 - shrinkage) * scatter + shrinkage * mu * np.eye(dims)
    return shrunk[np.triu_indices(dims)]


def pyramid_2x2(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the means of the whole | its 4 quarters, (5 d,); cells in rows from the north-west."""
    return _pyramid(pixels, levels=(1, 2))


def pyramid_4x4(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the means of the whole | its 4 quarters | its 16 sixteenths, (21 d,)."""
    return _pyramid(pixels, levels=(1, 2, 4))


def _pyramid(pixels: PatchPixels, levels: tuple[int, ...]) -> Float64Array:
    """Join the means of the cells of each level (Lazebnik et al. 2006); an empty cell takes its parent's mean.

    A pixel belongs, with its share, to the cell that holds its centre; a border pixel whose centre lies outside the
    bounding box to the nearest cell.
    """
    means: list[Float64Array] = [mean(pixels, PoolingParameters())[None]]
    for side in levels[1:]:
        cell = cells_of(pixels.at, side)
        parent = means[-1].reshape(side // 2, side // 2, -1).repeat(2, axis=0).repeat(2, axis=1).reshape(side**2, -1)
        held = [cell == k for k in range(side**2)]
        means.append(
            np.stack(
                [
                    _weighted_mean(pixels.values[own], pixels.share[own]) if own.any() else parent[k]
                    for k, own in enumerate(held)
                ]
            )
        )
    return np.concatenate(means).ravel()


def cells_of(at: Float64Array, side: int) -> Int64Array:
    """Number the side x side cells of the bounding box in rows from the north-west.

    Args:
        at: float64 (n, 2), places in the bounding box (`PatchPixels.at`).
        side: cells along each axis.

    Returns:
        int64 (n,); a place on a border belongs to the cell in the east or south.
    """
    column = np.clip(np.floor(at[:, 0] * side), 0, side - 1)
    row = np.clip(np.floor((1.0 - at[:, 1]) * side), 0, side - 1)
    return (row * side + column).astype(np.int64)


def vlad(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give sums of share times (x - c) over the pixels nearest to each centre c, normalised, (k d,).

    Signed square root, then unit length (Jegou et al. 2012, IEEE TPAMI 34(9), section 3); zeros where every pixel is a
    centre.
    """
    centers = parameters.codebook("vlad", pixels.values.shape[1]).centers.astype(np.float64)
    word = nearest_centers(pixels.values, centers)
    total = np.zeros_like(centers)
    np.add.at(total, word, pixels.share[:, None] * (pixels.values - centers[word]))
    vector = _signed_power(total.ravel(), 0.5)
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector


def bow(pixels: PatchPixels, parameters: PoolingParameters) -> Float64Array:
    """Give the share of the valid area whose nearest centre is each of k, (k,); sums to 1.

    Bag of words: Sivic & Zisserman 2003, Video Google (ICCV).
    """
    centers = parameters.codebook("bow", pixels.values.shape[1]).centers.astype(np.float64)
    word = nearest_centers(pixels.values, centers)
    area = np.bincount(word, weights=pixels.share, minlength=len(centers))
    return area / pixels.share.sum()


def nearest_centers(values: Float64Array, centers: Float64Array) -> Int64Array:
    """Give the nearest centre (Euclid; ties: the first) of each vector, int64 (n,)."""
    return (values @ centers.T - (centers**2).sum(axis=1) / 2.0).argmax(axis=1)


def _weighted_mean(values: Float64Array, weight: Float64Array) -> Float64Array:
    return weight @ values / weight.sum()


def _signed_power(values: Float64Array, exponent: float) -> Float64Array:
    return np.sign(values) * np.abs(values) ** exponent


def _inside(pixels: PatchPixels) -> Float64Array:
    inside = pixels.values[pixels.is_inside]
    return inside if len(inside) else np.full((1, pixels.values.shape[1]), np.nan)
