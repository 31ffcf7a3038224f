"""Two views of one place: overlapping crops, flipped, with channels dropped and noise; two years where there are.

Belongs here: drawing the views and the places that both show. Does not: the loss (`contrastive.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import TooFewUnitsError
from transforms.pretraining.chips import Float32Array, Float64Array, Int64Array, TrainingGround


@dataclass(frozen=True)
class ViewOptions:
    """How views are drawn.

    Attributes:
        crops: pairs of crops a step.
        crop_px: edge of a crop.
        places: places a pair that both crops show.
        channel_dropout: share of channels that a crop loses; the others are scaled up.
        noise: standard deviation of what is added to each standardised value.
    """

    crops: int = 16
    crop_px: int = 16
    places: int = 8
    channel_dropout: float = 0.2
    noise: float = 0.1


@dataclass(frozen=True)
class Views:
    """Two views of the same places, p = pairs x places at most.

    Attributes:
        first: float32 (b, d, s, s), crops of the year.
        second: float32 (b, d, s, s), crops of the other year where the ground has one.
        at_first: int64 (p, 3), crop, row and column of each place in `first`, of the output (without the margin).
        at_second: int64 (p, 3), the same ground in `second`.
        ground_m: float64 (p, 3), the places themselves.
    """

    first: Float32Array
    second: Float32Array
    at_first: Int64Array
    at_second: Int64Array
    ground_m: Float64Array


@dataclass(frozen=True)
class _Window:
    """A crop of a chip: its corner, and whether rows and columns are reversed."""

    row: int
    col: int
    flip_rows: bool
    flip_cols: bool

    def cut(self, chip: Float32Array, size: int) -> Float32Array:
        crop = chip[:, self.row : self.row + size, self.col : self.col + size]
        return crop[:, :: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]

    def locate(self, rows: Int64Array, cols: Int64Array, size: int, margin: int) -> tuple[Int64Array, Int64Array]:
        """Give where pixels of the chip are in the output of the crop."""
        down, right = rows - self.row, cols - self.col
        down = size - 1 - down if self.flip_rows else down
        right = size - 1 - right if self.flip_cols else right
        return down - margin, right - margin


def draw_views(
    ground: TrainingGround,
    ground_m: Float64Array,
    options: ViewOptions,
    margin: int,
    rng: np.random.Generator,
) -> Views:
    """Draw two views of some places of the training ground.

    The second crop starts at most half a crop away from the first. Places are training pixels that both crops show
    with all that the head looks at.

    Args:
        ground: what may be seen.
        ground_m: float64 (t, h, w, 3), pixel centres of the chips of `ground`.
        options: sizes and strengths.
        margin: pixels that the head's output loses on each side.
        rng: draws everything.

    Returns:
        The views.

    Raises:
        TooFewUnitsError: no two crops show a common training pixel.
    """
    size = min(options.crop_px, *ground.may_train.shape[1:])
    crops: list[list[Float32Array]] = [[], []]
    spots: list[list[Int64Array]] = [[], []]
    places: list[Float64Array] = [np.empty((0, 3))]
    for number, chip in enumerate(rng.integers(0, len(ground.chips), options.crops)):
        windows = _draw_windows(ground.may_train.shape[1:], size, rng)
        rows, cols = _draw_places(ground.may_train[chip], windows, size, margin, options.places, rng)
        places.append(ground_m[chip, rows, cols])
        for view, (window, source) in enumerate(zip(windows, (ground.seen, ground.seen_other), strict=True)):
            crops[view].append(_perturb(window.cut(source[chip], size), options, rng))
            at = window.locate(rows, cols, size, margin)
            spots[view].append(np.stack([np.full(len(rows), number), *at], axis=1))
    found = np.concatenate(places)
    if len(found) < 2:
        raise TooFewUnitsError(
            "places that two crops show",
            len(found),
            "at least 2",
            f"Enlarge adapter.crop_px (now {size}) or the training ground.",
        )
    first, second = (np.stack(view).astype(np.float32) for view in crops)
    return Views(first, second, np.concatenate(spots[0]), np.concatenate(spots[1]), found)


def _draw_windows(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> tuple[_Window, _Window]:
    """Draw two overlapping crops of a chip."""
    reach = size // 2
    corners = []
    for extent in shape:
        one = int(rng.integers(0, extent - size + 1))
        two = int(rng.integers(max(0, one - reach), min(extent - size, one + reach) + 1))
        corners.append((one, two))
    flips = rng.random(4) < 0.5
    return (
        _Window(corners[0][0], corners[1][0], bool(flips[0]), bool(flips[1])),
        _Window(corners[0][1], corners[1][1], bool(flips[2]), bool(flips[3])),
    )


def _draw_places(
    may_train: npt.NDArray[np.bool_],
    windows: tuple[_Window, _Window],
    size: int,
    margin: int,
    count: int,
    rng: np.random.Generator,
) -> tuple[Int64Array, Int64Array]:
    """Draw training pixels (rows, cols of the chip) that both crops show."""
    top = max(window.row for window in windows) + margin
    left = max(window.col for window in windows) + margin
    bottom = min(window.row for window in windows) + size - margin
    right = min(window.col for window in windows) + size - margin
    rows, cols = np.nonzero(may_train[top : max(top, bottom), left : max(left, right)])
    chosen = rng.permutation(len(rows))[:count]
    return rows[chosen] + top, cols[chosen] + left


def _perturb(crop: Float32Array, options: ViewOptions, rng: np.random.Generator) -> Float32Array:
    """Drop whole channels of a crop and add noise to the rest."""
    kept = rng.random(len(crop)) >= options.channel_dropout
    factor = (kept / (1.0 - options.channel_dropout)).astype(np.float32)
    noise = rng.standard_normal(crop.shape, np.float32) * np.float32(options.noise)
    return np.asarray((crop + noise) * factor[:, None, None], np.float32)
