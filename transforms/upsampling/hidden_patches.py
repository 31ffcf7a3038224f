"""Patches and those around them: how guides are judged without labels.

Belongs here: hidden patches and their neighbours, their reconstruction, whether a guide says anything of the
vectors, what is held out. Does not: weights at points (`neighbours.py`), where guides are embedded (the operators'
modules).

A guide says something of the vectors if, of two neighbours that stand alike, the one with the more similar guide has
the more similar vector. Only neighbours at the same offset are compared, because a smooth guide tells how far patches
are apart even if it tells nothing else. Patches within 1.3 km share ground, so sums over squares of 4 x 4 pitches
make the standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.upsampling.bilinear import interpolate
from transforms.upsampling.inputs import is_complete
from transforms.upsampling.neighbours import find_neighbours
from transforms.upsampling.rows import RowLattice

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Edge of the squares whose patches are judged and held out together: 1.28 km on the Earth Genome lattice.
SQUARE_PITCHES = 4.0
#: Standard errors by which similar guides must go with similar vectors before a guide is used.
NEEDED_ERRORS = 3.0
#: Width of the classes of offsets that count as the same, pitches.
_SAME_OFFSET = 0.1


@dataclass(frozen=True)
class HiddenPatches:
    """Patches that have a vector and a guide, and their neighbours that have both, without themselves.

    Attributes:
        patch: int32 (b,), patch numbers.
        index: int32 (b, s), patches around them; 0 in slots that are not known.
        is_known: bool (b, s), slots that hold a neighbour; at least one in each row.
        offset: float32 (b, s, 2), where they stand from it, along rows and across them, pitches.
        square: int64 (b,), number of the square of 4 x 4 pitches.
    """

    patch: Int32Array
    index: Int32Array
    is_known: npt.NDArray[np.bool_]
    offset: Float32Array
    square: Int64Array

    def __len__(self) -> int:
        return len(self.patch)

    def take(self, units: npt.NDArray[np.int64]) -> HiddenPatches:
        """Give some of them in the order given."""
        return HiddenPatches(
            self.patch[units], self.index[units], self.is_known[units], self.offset[units], self.square[units]
        )


def hide_patches(rows: RowLattice, patch_guide: Float32Array) -> HiddenPatches:
    """List the patches that can be reconstructed.

    Args:
        rows: the lattice of the patches that have a vector.
        patch_guide: float32 (n, g), NaN rows where there is none.

    Returns:
        Those with a guide and at least one neighbour that has one, in the order of `rows.patch`.
    """
    has_guide = is_complete(patch_guide)
    places = np.flatnonzero(has_guide[rows.patch])
    patch = rows.patch[places]
    index, offset = find_neighbours(rows, rows.u[places], rows.v[places])
    # slots are filled from the first: those for the borders of neighbourhoods are empty in most rows
    used = int((index >= 0).sum(axis=1).max(initial=1))
    index, offset = index[:, :used], offset[:, :used]
    is_known = (index >= 0) & (index != patch[:, None]) & has_guide[index]
    usable = is_known.any(axis=1)
    return HiddenPatches(
        patch[usable],
        np.where(is_known, index, 0)[usable],
        is_known[usable],
        offset[usable],
        number_squares(rows, rows.u[places], rows.v[places])[usable],
    )


def number_squares(rows: RowLattice, points_u: Float64Array, points_v: Float64Array) -> Int64Array:
    """Give the number of the square of 4 x 4 pitches that each point lies in, int64 (m,), from 0 without gaps."""
    if not len(points_u):
        return np.empty(0, np.int64)
    u = rows.along(points_u)
    along = np.floor((u - u.min()) / (SQUARE_PITCHES * np.median(rows.row_pitch_u)))
    across = np.floor((points_v - points_v.min()) / (SQUARE_PITCHES * rows.pitch_v))
    return np.asarray(np.unique(np.stack([along, across], axis=1), axis=0, return_inverse=True)[1], np.int64)


def hold_out(square: Int64Array, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw squares until at least `share` of the units are held out.

    Args:
        square: int64 (m,), m > 1, see `number_squares`.
        share: in (0, 0.5).
        rng: draws the squares; units one by one where squares would hold out more than half of them.

    Returns:
        bool (m,), True where held out; at least one is, and at least one is not.
    """
    size = np.bincount(square)
    order = rng.permutation(len(size))
    needed = max(1, int(np.ceil(share * len(square))))
    n_squares = int(np.searchsorted(np.cumsum(size[order]), needed)) + 1
    is_held = np.isin(square, order[:n_squares])
    if is_held.mean() > 0.5:
        is_held = np.zeros(len(square), np.bool_)
        is_held[rng.permutation(len(square))[: min(needed, len(square) - 1)]] = True
    return is_held


def reconstruction_errors(
    hidden: HiddenPatches, targets: Float32Array, spatial_sigma: float, keys: Float32Array
) -> Float64Array:
    """Reconstruct hidden patches with the weights of `neighbours.py` and compare.

    Args:
        hidden: the patches.
        targets: float32 (n, d), standardised vectors.
        spatial_sigma: pitches.
        keys: float32 (n, e), guides in units of the range bandwidth.

    Returns:
        float64 (b,), mean squared errors.
    """
    exponent = (hidden.offset.astype(np.float64) ** 2).sum(axis=2) * (-0.5 / spatial_sigma**2)
    exponent -= 0.5 * pair_distances(hidden, keys) ** 2
    exponent = np.where(hidden.is_known, exponent, -np.inf)
    weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    found = interpolate(targets, hidden.index, weight.astype(np.float32))
    return np.asarray(((found - targets[hidden.patch]) ** 2).mean(axis=1, dtype=np.float64))


def is_as_low(errors: Float64Array, reference: Float64Array, square: Int64Array) -> bool:
    """Tell whether paired errors are higher by at most one standard error over squares.

    Args:
        errors: float64 (b,).
        reference: float64 (b,), of the same units.
        square: int64 (b,).

    Returns:
        True also where there is one square only: it has no standard error.
    """
    mean, error = _mean_over_squares(errors - reference, np.ones(len(errors)), square)
    return bool(mean <= error)


def says_something(hidden: HiddenPatches, targets: Float32Array, keys: Float32Array) -> bool:
    """Tell whether similar guides go with similar vectors among neighbours at the same offset.

    The statistic is the covariance of guide distance and vector distance over all pairs, each distance less its mean
    over the pairs whose offsets are the same to 0.1 pitch along and across; it must be positive by
    `NEEDED_ERRORS` standard errors over squares.

    Args:
        hidden: the patches.
        targets: float32 (n, d), standardised vectors.
        keys: float32 (n, e), guides.

    Returns:
        False also where there is one square only: it has no standard error.
    """
    known = hidden.is_known
    _, offset = np.unique(np.rint(np.abs(hidden.offset[known]) / _SAME_OFFSET), axis=0, return_inverse=True)
    count = np.bincount(offset)
    product = np.ones(len(offset))
    for values in (targets, keys):
        distance = pair_distances(hidden, values)[known]
        product *= distance - (np.bincount(offset, distance) / count)[offset]
    unit = np.nonzero(known)[0]
    sums = np.asarray(np.bincount(unit, product, minlength=len(hidden)), np.float64)
    mean, error = _mean_over_squares(sums, known.sum(axis=1).astype(np.float64), hidden.square)
    return bool(mean > NEEDED_ERRORS * error)


def pair_distances(hidden: HiddenPatches, values: Float32Array) -> Float64Array:
    """Give the distance of hidden patches and their neighbours in `values`, float64 (b, s).

    Slot by slot: all at once would be s times the memory.
    """
    own = values[hidden.patch]
    columns = [np.linalg.norm(own - values[hidden.index[:, k]], axis=1) for k in range(hidden.index.shape[1])]
    return np.stack(columns, axis=1).astype(np.float64)


def _mean_over_squares(sums: Float64Array, counts: Float64Array, square: Int64Array) -> tuple[float, float]:
    """Give the mean of what units sum up and its standard error over squares; infinite for one square.

    Args:
        sums: float64 (b,), of each unit.
        counts: float64 (b,), how many terms each sum has.
        square: int64 (b,).
    """
    mean = float(sums.sum() / counts.sum())
    n_squares = len(np.unique(square))
    if n_squares < 2:
        return mean, np.inf
    off = np.bincount(square, sums - mean * counts)
    return mean, float(np.sqrt((off**2).sum() * n_squares / (n_squares - 1)) / counts.sum())
