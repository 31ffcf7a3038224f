"""Chips of a raster of embeddings: what an adapter is trained and tested on.

Belongs here: the value types of chips, and which of their pixels one fold may see. Does not: reading them
(`warehouse/chips.py`), networks.

A chip is a small square raster inside one spatial block, so a chip is tested by one fold as a whole. Nothing of a test
block or its buffer reaches training, not even as the surroundings of a training pixel: such pixels are blanked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.upsampling.standardisation import find_scaling

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Chips:
    """Chips of equal size, one a spatial block, of one year.

    Attributes:
        vectors: float32 (c, d, h, w), NaN = nodata in all d.
        other_year: float32 (c, d, h, w) of the same ground in another year, NaN where there is none; or None.
        labels: int16 (c, h, w), class ids, -1 = no label, or ground of another block.
        ground_m: float64 (c, h, w, 3), pixel centres in an Earth-centred system, metres: chords are distances.
        block_id: int64 (c,), unique.
        region: str (c,).
        fold: int8 (c,), the fold that tests on the chip.
        in_buffer: bool (c, h, w, n_folds), pixels that a fold may not train on.
    """

    vectors: Float32Array
    other_year: Float32Array | None
    labels: npt.NDArray[np.int16]
    ground_m: Float64Array
    block_id: Int64Array
    region: npt.NDArray[np.str_]
    fold: npt.NDArray[np.int8]
    in_buffer: BoolArray

    def __post_init__(self) -> None:
        """Raise ShapeError where the arrays do not belong together."""
        count, _, height, width = self.vectors.shape
        found = {
            "other_year": self.vectors.shape if self.other_year is None else self.other_year.shape,
            "labels": self.labels.shape,
            "ground_m": self.ground_m.shape,
            "in_buffer": self.in_buffer.shape[:3],
            "block_id": self.block_id.shape,
            "region": self.region.shape,
            "fold": self.fold.shape,
        }
        grid = (count, height, width)
        expected = {
            "other_year": self.vectors.shape,
            "labels": grid,
            "ground_m": (*grid, 3),
            "in_buffer": grid,
            **dict.fromkeys(("block_id", "region", "fold"), (count,)),
        }
        if found != expected:
            raise ShapeError("chips", found, expected, "Cut all arrays of a chip alike.")
        if len(np.unique(self.block_id)) != count:
            raise ShapeError("blocks of chips", "a block twice", "one chip a block", "Cut one chip from each block.")

    def __len__(self) -> int:
        return len(self.block_id)

    @property
    def dims(self) -> int:
        """Width of the vectors."""
        return self.vectors.shape[1]

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return self.in_buffer.shape[3]

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions, sorted."""
        return tuple(sorted(set(self.region.tolist())))

    @cached_property
    def is_valid(self) -> BoolArray:
        """Pixels that have a vector, bool (c, h, w)."""
        return np.asarray(np.isfinite(self.vectors).all(axis=1))


@dataclass(frozen=True)
class TrainingGround:
    """What one fold may see of some regions, standardised on itself.

    Attributes:
        chips: int64 (t,), positions of the chips with any training pixel.
        seen: float32 (t, d, h, w), standardised vectors; 0 (the mean) where the fold may not look, or at nodata.
        seen_other: float32 (t, d, h, w), the other year, or `seen` itself where a pixel has no other year.
        may_train: bool (t, h, w), training ground with a vector.
        mean: float64 (d,), of the training ground.
        scale: float64 (d,), see `find_scaling`.
    """

    chips: Int64Array
    seen: Float32Array
    seen_other: Float32Array
    may_train: BoolArray
    mean: Float64Array
    scale: Float64Array

    def standardise(self, vectors: Float32Array) -> Float32Array:
        """Put other chips, float32 (n, d, h, w), into the same units; nodata becomes 0."""
        return _standardise(vectors, self.mean, self.scale)


def training_ground(chips: Chips, regions: tuple[str, ...], fold: int) -> TrainingGround:
    """Give the ground of some regions that a fold may train on.

    Args:
        chips: all chips.
        regions: names of regions.
        fold: the fold that is held out.

    Returns:
        The ground; scaling is that of its own pixels.

    Raises:
        TooFewUnitsError: no pixel is left.
    """
    allowed = chips.is_valid & ~chips.in_buffer[..., fold]
    allowed &= (np.isin(chips.region, regions) & (chips.fold != fold))[:, None, None]
    used = np.flatnonzero(allowed.any(axis=(1, 2)))
    if not len(used):
        raise TooFewUnitsError(
            f"chips of {', '.join(regions)} outside fold {fold} and its buffer",
            0,
            "at least one",
            "Join shards to larger regions (adapter.regions), or enlarge the area.",
        )
    may_train = allowed[used]
    pixels = np.moveaxis(chips.vectors[used], 1, -1)[may_train]
    mean, scale = find_scaling(pixels)
    seen = np.where(may_train[:, None], _standardise(chips.vectors[used], mean, scale), np.float32(0))
    seen_other = seen
    if chips.other_year is not None:
        other = chips.other_year[used]
        has_other = may_train & np.isfinite(other).all(axis=1)
        seen_other = np.where(has_other[:, None], _standardise(other, mean, scale), seen)
    return TrainingGround(used, seen, seen_other, may_train, mean, scale)


def _standardise(vectors: Float32Array, mean: Float64Array, scale: Float64Array) -> Float32Array:
    centred = (vectors - mean.astype(np.float32)[:, None, None]) * scale.astype(np.float32)[:, None, None]
    return np.nan_to_num(centred, copy=False, nan=0.0)
