"""Over which distance places stay alike: empirical variograms and the range of a fitted model.

Belongs here: pairs by ground distance, semivariance of classes and of features, model fits. Does not: what a range
means for blocks and buffers (`transforms/block_sizing.py`).

A variogram is half the mean squared difference of values at pairs of places, as a function of their distance
(Matheron's estimator). It is isotropic here. Sources: Cressie, "Fitting variogram models by weighted least squares"
(Mathematical Geology 17, 1985); Goovaerts, "Geostatistics for Natural Resources Evaluation" (1997), chapters 2 and 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from transforms.blocks import assign_blocks
from transforms.errors import ShapeError, TooFewUnitsError
from transforms.ground import arc_m, earth_xyz

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Fewest pairs that a bin may hold (Journel and Huijbregts, 1978).
MIN_PAIRS = 30
#: Fewest bins that a model is fitted to.
MIN_BINS = 4
#: Places farther apart than this, with nothing between them, are different areas.
AREA_GAP_M = 100_000.0
#: A structure below this share of the sill is noise.
MIN_STRUCTURE = 0.05
#: The range is the distance at which a model has reached this share of its structure.
PRACTICAL_SHARE = 0.95
_CELL_M = 25_000.0
_ROWS = 512


@dataclass(frozen=True)
class Variogram:
    """An empirical variogram.

    Attributes:
        lag_m: float64 (b,), mean distance of the pairs of a bin, ascending.
        gamma: float64 (b,), semivariance, summed over the columns of the values.
        n_pairs: int64 (b,).
        max_lag_m: half of the extent: pairs farther apart are few, and all from the rim.
    """

    lag_m: FloatArray
    gamma: FloatArray
    n_pairs: IntArray
    max_lag_m: float


@dataclass(frozen=True)
class VariogramRange:
    """How far values stay alike.

    Attributes:
        range_m: practical range, metres; where none was found, half of the extent, which it is not below.
        is_found: False where the variogram still rises at half of the extent.
        model: spherical or exponential; `nugget` where values differ as much beside each other as anywhere.
        nugget_share: share of the sill that is there at distance 0, in [0, 1].
    """

    range_m: float
    is_found: bool
    model: str
    nugget_share: float


def class_indicators(class_ids: npt.ArrayLike) -> FloatArray:
    """Give classes as indicators, for the indicator variogram.

    The semivariances of the indicators add up to the probability that two places have different classes; its sill is
    the Gini-Simpson index sum p (1 - p), so a class weighs by its variance (Goovaerts 1997, 2.3).

    Args:
        class_ids: integers (n,).

    Returns:
        float64 (n, k): 1 where the unit is of the class.
    """
    classes, index = np.unique(np.asarray(class_ids), return_inverse=True)
    return np.eye(len(classes))[index]


def first_component(features: npt.ArrayLike) -> FloatArray:
    """Give the scores of the first principal component, with unit variance.

    Args:
        features: float (n, d), finite.

    Returns:
        float64 (n, 1); zeros where all rows are equal.
    """
    values = np.asarray(features, np.float64)
    centred = values - values.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    scores = centred @ axis
    spread = scores.std()
    return (scores / spread if spread > 1e-9 * max(np.abs(values).max(initial=0.0), 1e-9) else 0 * scores)[:, None]


def empirical_variogram(
    lon: npt.ArrayLike, lat: npt.ArrayLike, values: npt.ArrayLike, *, n_bins: int = 30
) -> Variogram:
    """Measure a variogram from all pairs of units of one area; give a sample, for the cost is n squared.

    Bins are of equal width in the logarithm of the distance, from the typical distance of neighbours to half of the
    extent, so that short ranges are resolved in large areas. Places of areas that lie apart make no pairs: between
    continents everything differs. Memory is bounded by 512 rows of pairs.

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.
        values: float (n, k), finite.
        n_bins: number of bins; those with fewer than 30 pairs are left out.

    Returns:
        The variogram.

    Raises:
        TooFewUnitsError: too few pairs to fit a model to.
        ShapeError: lengths differ, or a value is not finite.
    """
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or len(rows) != np.size(lon) or not np.isfinite(rows).all():
        raise ShapeError("values of a variogram", rows.shape, f"finite ({np.size(lon)}, k)", "Leave nodata out.")
    xyz = earth_xyz(lon, lat)
    area = separate_areas(lon, lat)
    edges = _bin_edges(xyz, area, n_bins)
    n_pairs, total, distance = _sum_pairs(xyz, area, rows, edges)
    kept = n_pairs >= MIN_PAIRS
    if kept.sum() < MIN_BINS:
        raise TooFewUnitsError(
            f"bins of distance with {MIN_PAIRS} pairs",
            int(kept.sum()),
            f"at least {MIN_BINS}",
            "Label more units, or set evaluate.block_edge_m and evaluate.buffer_m in metres.",
        )
    counts = n_pairs[kept]
    return Variogram(distance[kept] / counts, total[kept] / counts, counts, float(edges[-1]))


def separate_areas(lon: npt.ArrayLike, lat: npt.ArrayLike) -> IntArray:
    """Number the areas that lie farther apart than `AREA_GAP_M` (to about 25 km).

    Args:
        lon: float64 (n,), degrees.
        lat: float64 (n,), degrees.

    Returns:
        int64 (n,), 0, 1, ...
    """
    _, cell = np.unique(assign_blocks(lon, lat, _CELL_M), return_inverse=True)
    if not len(cell):
        return np.empty(0, np.int64)
    n_cells = int(cell.max()) + 1
    xyz = earth_xyz(lon, lat)
    sums = np.stack([np.bincount(cell, axis, n_cells) for axis in xyz.T], axis=1)
    centre = sums / np.bincount(cell, minlength=n_cells)[:, None]
    pairs = cKDTree(centre).query_pairs(AREA_GAP_M, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n_cells, n_cells))
    return np.asarray(connected_components(graph, directed=False)[1][cell], np.int64)


def fit_range(variogram: Variogram) -> VariogramRange:
    """Fit a spherical and an exponential model with a nugget, and give the practical range of the better one.

    Weighted least squares by numbers of pairs over squared semivariance of the model (Cressie 1985), nugget and sill
    not negative, over a grid of ranges in steps of about 6 %. The practical range is where the structure has reached
    95 %: 0.81 of the spherical range, 3 times the exponential one.

    Args:
        variogram: from `empirical_variogram`.

    Returns:
        The range; not found where it is half of the extent or more. One below the shortest distance cannot be resolved
        and is given as that distance.
    """
    if not variogram.gamma.any():
        return VariogramRange(0.0, True, "nugget", 1.0)
    shortest = float(variogram.lag_m[0])
    # beyond half of the extent the answer is the same, so the grid need not reach far
    ranges = np.geomspace(shortest, 3 * variogram.max_lag_m, int(np.log(3 * variogram.max_lag_m / shortest) / 0.06) + 2)
    fits = [(_fit_sills(variogram, model(ranges, variogram.lag_m[:, None])), name) for name, model in _MODELS.items()]
    (loss, nugget, sill), model_name = min(fits, key=lambda fit: float(fit[0][0].min()))
    best = int(np.argmin(loss))
    share = float(nugget[best] / (nugget[best] + sill[best]))
    if 1 - share < MIN_STRUCTURE:
        return VariogramRange(0.0, True, "nugget", share)
    is_found = bool(ranges[best] < variogram.max_lag_m)
    return VariogramRange(float(min(ranges[best], variogram.max_lag_m)), is_found, model_name, share)


def _spherical(range_m: FloatArray, lag_m: FloatArray) -> FloatArray:
    u = np.minimum(lag_m / range_m * _SPHERICAL_AT_95, 1.0)
    return 1.5 * u - 0.5 * u**3


def _exponential(range_m: FloatArray, lag_m: FloatArray) -> FloatArray:
    return 1.0 - np.exp(np.log(1 - PRACTICAL_SHARE) * lag_m / range_m)


#: Share of the spherical range at which 1.5 u - 0.5 u^3 = 0.95.
_SPHERICAL_AT_95 = 0.811_348
_MODELS: Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]] = MappingProxyType(
    {"spherical": _spherical, "exponential": _exponential}
)


def _fit_sills(variogram: Variogram, structure: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit nugget and sill for each candidate range.

    Args:
        variogram: what is fitted.
        structure: float64 (b, r), the model of unit sill at each lag, for each range.

    Returns:
        (loss, nugget, sill), float64 (r,).
    """
    gamma, n_pairs = variogram.gamma, variogram.n_pairs.astype(np.float64)
    floor = 1e-3 * gamma.max()
    fits = []
    for column in structure.T:
        design = np.stack([np.ones_like(column), column], axis=1)
        model = np.maximum(gamma, floor)
        for _ in range(5):  # the weights hang on the model: fit, weigh again
            root = np.sqrt(n_pairs) / model
            parts, _ = nnls(design * root[:, None], gamma * root)
            model = np.maximum(design @ parts, floor)
        fits.append((float((n_pairs * (gamma / model - 1) ** 2).sum()), *parts))
    loss, nugget, sill = np.array(fits).T
    return loss, nugget, sill


def _bin_edges(xyz: FloatArray, area: IntArray, n_bins: int) -> FloatArray:
    """Give edges from 0 by the typical distance of neighbours to half of the extent of the largest area."""
    half = max(_extent_m(xyz[area == number]) for number in np.unique(area)) / 2 if len(xyz) else 0.0
    nearest = cKDTree(xyz).query(xyz, k=2)[0][:, 1] if len(xyz) > 1 else np.zeros(0)
    typical = float(np.median(nearest[nearest > 0])) if (nearest > 0).any() else 0.0
    if not 0 < typical < half:
        raise TooFewUnitsError(
            "units apart from each other",
            f"{len(xyz)} units, neighbours {typical:.0f} m apart, half of the extent {half:.0f} m",
            "units spread over an area",
            "Label more places, or set evaluate.block_edge_m and evaluate.buffer_m in metres.",
        )
    return np.concatenate([[0.0], np.geomspace(typical, half, n_bins)])


def _extent_m(xyz: FloatArray) -> float:
    """Give the distance across an area: from its point farthest from the middle to the one farthest from that."""
    rim = xyz[np.argmax(np.linalg.norm(xyz - xyz.mean(axis=0), axis=1))]
    return arc_m(float(np.linalg.norm(xyz - rim, axis=1).max()))


def _sum_pairs(
    xyz: FloatArray, area: IntArray, values: FloatArray, edges: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Count pairs and sum their semivariances and distances by bin; pairs at one place, or of two areas, are left out.

    Returns:
        (n_pairs, sum of semivariances, sum of distances), each (b,).
    """
    n_bins = len(edges) - 1
    squares = (values**2).sum(axis=1)
    sums = np.zeros((3, n_bins))
    for start in range(0, len(xyz), _ROWS):
        rows = slice(start, min(start + _ROWS, len(xyz)))
        chord = np.sqrt(sum((xyz[rows, axis, None] - xyz[None, :, axis]) ** 2 for axis in range(3)))
        distance = arc_m(chord)
        bins = np.searchsorted(edges, distance, side="left") - 1
        later = np.arange(len(xyz)) > np.arange(rows.start, rows.stop)[:, None]
        used = later & (bins >= 0) & (bins < n_bins) & (area[rows, None] == area)
        gamma = np.maximum(0.5 * (squares[rows, None] + squares) - values[rows] @ values.T, 0.0)
        for slot, weight in enumerate((None, gamma[used], distance[used])):
            sums[slot] += np.bincount(bins[used], weight, n_bins)
    return sums[0].astype(np.int64), sums[1], sums[2]
