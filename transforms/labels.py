"""From sampled label codes to class ids and patch labels.

Belongs here: the class map of a label source and the summary of a patch's label cells (majority, purity,
fractions, multi-label). Does not: reading or sampling rasters (`warehouse/sources/`), folds, metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError

#: Class id of cells without a usable label: nodata, or a code that the class map leaves out.
NODATA_ID = -1
#: Share of a patch from which a class counts as present in it, task T2. Fixed by the protocol before any result.
MULTI_LABEL_SHARE = 0.05
#: Cells counted in one go: bounds the memory of `summarize_patches`, whatever the number of patches.
_CELLS_PER_BLOCK = 4_000_000


class ClassMapError(IsthmusError):
    """The class map of a label source contradicts itself. Permanent."""

    def __init__(self, what: str, found: object, expected: object) -> None:
        super().__init__(
            f"class map: {what}: found {found}, expected {expected}. "
            "Correct the label source's class map in the settings."
        )


@dataclass(frozen=True)
class ClassMap:
    """The classes of a label source; a class's id is its position.

    Attributes:
        codes: raw values of the source, e.g. ``(10, 20, 30)`` for WorldCover; unique.
        names: one unique name per code.

    Raises:
        ClassMapError: no class, too many for int16, repeated codes or names, or unequal lengths.
    """

    codes: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.codes) != len(self.names):
            raise ClassMapError("names", f"{len(self.names)} names", f"one per code ({len(self.codes)})")
        if not 0 < len(self.codes) <= np.iinfo(np.int16).max:
            raise ClassMapError("codes", f"{len(self.codes)} classes", f"1 to {np.iinfo(np.int16).max}")
        for what, values in (("codes", self.codes), ("names", self.names)):
            repeated = sorted({str(value) for value in values if values.count(value) > 1})
            if repeated:
                raise ClassMapError(what, f"{', '.join(repeated)} more than once", "each value once")

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.codes)

    def to_ids(self, raw: npt.ArrayLike) -> npt.NDArray[np.int16]:
        """Turn raw values into class ids.

        Args:
            raw: values of the source, integer or float (NaN = nodata), any shape.

        Returns:
            int16 of the same shape, 0..k-1; -1 where the value is nodata or no code of this map.

        Raises:
            ShapeError: `raw` is not numeric.
        """
        values = np.asarray(raw)
        if values.dtype.kind not in "iuf":
            raise ShapeError(
                "raw label values",
                f"dtype {values.dtype}",
                "integers or floats",
                "Map text labels to codes first.",
            )
        codes = np.array(self.codes, np.int64)
        order = np.argsort(codes)
        ranked = codes[order]
        position = np.minimum(np.searchsorted(ranked, values), len(ranked) - 1)
        return np.where(ranked[position] == values, order[position], NODATA_ID).astype(np.int16)


@dataclass(frozen=True)
class PatchLabels:
    """What the label cells of each patch say.

    Attributes:
        label: int16 (n,), the majority class (ties: the lowest id); -1 without data.
        purity: float32 (n,), share of the majority class among valid cells; NaN without data.
        fractions: float32 (n, k), class shares among valid cells, rows sum to 1; NaN without data.
        multi_label: bool (n, k), True where a class covers at least `MULTI_LABEL_SHARE` of the valid cells.
        valid_share: float32 (n,), share of the cells that carry a class.
    """

    label: npt.NDArray[np.int16]
    purity: npt.NDArray[np.float32]
    fractions: npt.NDArray[np.float32]
    multi_label: npt.NDArray[np.bool_]
    valid_share: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)


def summarize_patches(
    ids: npt.NDArray[np.int16], n_classes: int, multi_label_share: float = MULTI_LABEL_SHARE
) -> PatchLabels:
    """Summarise the label cells of patches.

    Shares are over valid cells only, so a half-clouded patch is described by its clear half; `valid_share`
    tells how much that was.

    Args:
        ids: int16 (n_patch, n_cell), class ids; -1 = nodata.
        n_classes: k; ids are below it.
        multi_label_share: share from which a class counts as present, in (0, 1].

    Returns:
        The labels, in the order of the rows.

    Raises:
        ShapeError: `ids` is not a table of cells, holds ids outside -1..k-1, or the share is out of range.
    """
    _check_cells(ids, n_classes, multi_label_share)
    counts = _count_classes(ids, n_classes)
    return summarize_counts(counts, counts.sum(axis=1) / ids.shape[1], multi_label_share)


def summarize_counts(
    counts: npt.NDArray[np.int64], valid_share: npt.NDArray[np.floating], multi_label_share: float = MULTI_LABEL_SHARE
) -> PatchLabels:
    """Summarise how often each class stands in each patch, in cells or in points.

    Args:
        counts: int64 (n_patch, k).
        valid_share: (n_patch,), share of the patch that the counts stand for, in [0, 1].
        multi_label_share: see `summarize_patches`.
    """
    valid = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        fractions = counts / valid[:, None]
    majority = counts.argmax(axis=1)
    purity = fractions[np.arange(len(counts)), majority]
    return PatchLabels(
        label=np.where(valid > 0, majority, NODATA_ID).astype(np.int16),
        purity=purity.astype(np.float32),
        fractions=fractions.astype(np.float32),
        multi_label=fractions >= multi_label_share,  # before rounding to float32: 5 of 100 cells is present
        valid_share=valid_share.astype(np.float32),
    )


def _check_cells(ids: npt.NDArray[np.int16], n_classes: int, multi_label_share: float) -> None:
    if ids.ndim != 2 or ids.shape[1] == 0 or ids.dtype.kind not in "iu":
        raise ShapeError(
            "label cells",
            f"{ids.dtype} {ids.shape}",
            "integers (n_patch, n_cell), n_cell > 0",
            "Sample at least one cell per patch.",
        )
    if ids.size and not (ids.min() >= NODATA_ID and ids.max() < n_classes):
        raise ShapeError(
            "label cells",
            f"ids {ids.min()}..{ids.max()}",
            f"{NODATA_ID}..{n_classes - 1}",
            "Pass raw values through ClassMap.to_ids first.",
        )
    if not 0.0 < multi_label_share <= 1.0:
        raise ShapeError("multi_label_share", multi_label_share, "in (0, 1]", "The usual value is 0.05.")


def _count_classes(ids: npt.NDArray[np.int16], n_classes: int) -> npt.NDArray[np.int64]:
    """Count the cells of each class per patch, int64 (n_patch, k), block by block."""
    counts = np.empty((len(ids), n_classes), np.int64)
    step = max(1, _CELLS_PER_BLOCK // ids.shape[1])
    for start in range(0, len(ids), step):
        block = ids[start : start + step].astype(np.int64)
        # one slot per (patch, id), with slot 0 of each patch for nodata
        slots = block + 1 + np.arange(len(block))[:, None] * (n_classes + 1)
        tally = np.bincount(slots.ravel(), minlength=len(block) * (n_classes + 1))
        counts[start : start + step] = tally.reshape(len(block), n_classes + 1)[:, 1:]
    return counts
