"""Rows of `core_label_{source}__pixels` and `core_label_{source}__patches`.

Belongs here: label values at places as arrays, their Arrow columns, and the cells of a footprint at which a
raster is sampled. Does not: reading rasters or tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import h3_index
from transforms.block_folds import DROPPED
from transforms.labels import NODATA_ID, PatchLabels
from transforms.places import PatchPlaces, PixelPlaces
from transforms.utm import unproject

#: Pitch at which a raster is sampled in a footprint, metres; and the most cells along one side.
CELL_M = 10.0
MAX_CELLS = 64


@dataclass(frozen=True)
class GivenSplit:
    """A published split of labelled places.

    Attributes:
        fold: int16 (n,), -1 = not given, -2 (`TRAIN_ONLY`) = trained on in every fold and tested in none.
        group: int32 (n,), -1 = not given; groups must not be split.
    """

    fold: npt.NDArray[np.int16]
    group: npt.NDArray[np.int32]


def no_split(count: int) -> GivenSplit:
    """Give the split of labels that come without one."""
    return GivenSplit(np.full(count, -1, np.int16), np.full(count, -1, np.int32))


def count_cells_along(places: PatchPlaces) -> int:
    """Count the 10 m cells along the median side of footprints, `MAX_CELLS` at most; 1 without any footprint."""
    side = float(np.median(places.side_m)) if len(places) else CELL_M
    return int(np.clip(round(side / CELL_M), 1, MAX_CELLS))


def footprint_cells(places: PatchPlaces) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give the sampling points of each footprint: the centres of its own 10 m cells.

    All footprints of one call share the number of cells, that of the median side.

    Args:
        places: patch places.

    Returns:
        (lon, lat), float64 (n, cells) each, degrees.
    """
    count = count_cells_along(places)
    offset = (np.arange(count) + 0.5) / count - 0.5
    across, up = np.meshgrid(offset, offset)
    x = places.x_m[:, None] + places.side_m[:, None] * across.ravel()
    y = places.y_m[:, None] + places.side_m[:, None] * up.ravel()
    lon, lat = np.empty_like(x), np.empty_like(y)
    for epsg in np.unique(places.epsg):
        chosen = places.epsg == epsg
        lon[chosen], lat[chosen] = unproject(x[chosen], y[chosen], int(epsg))
    return lon, lat


def single_class(ids: npt.NDArray[np.int16], n_classes: int) -> PatchLabels:
    """Describe patches whose whole footprint has one class (labels that come as one value per patch).

    Args:
        ids: int16 (n,), -1 = no label.
        n_classes: k.
    """
    return present_classes(ids[:, None] == np.arange(n_classes))


def present_classes(is_present: npt.NDArray[np.bool_]) -> PatchLabels:
    """Describe patches of which it is known which classes they hold, but not how much of each.

    A patch with one class is all of it. With several, majority, purity and fractions are unknown: such a patch serves
    task T2 alone.

    Args:
        is_present: bool (n, k); a row without any class is a patch without a label.
    """
    count = is_present.sum(axis=1)
    is_sole = count == 1
    fractions = np.where(is_sole[:, None], is_present.astype(np.float32), np.float32(np.nan))
    return PatchLabels(
        label=np.where(is_sole, is_present.argmax(axis=1), NODATA_ID).astype(np.int16),
        purity=np.where(is_sole, np.float32(1), np.float32(np.nan)).astype(np.float32),
        fractions=fractions,
        multi_label=is_present,
        valid_share=(count > 0).astype(np.float32),
    )


def pixel_label_table(
    places: PixelPlaces,
    ids: npt.NDArray[np.int16],
    split: GivenSplit,
    source: str,
    class_names: Sequence[str],
    *,
    is_simulated: bool,
) -> pa.Table:
    """Give rows of `core_label_{source}__pixels`; NULL where a pixel has no label."""
    return pa.table(
        {
            "pixel_id": places.pixel_id,
            "label_source": pa.array([source] * len(places), pa.string()),
            **_class_columns(ids, class_names),
            "lon": places.lon,
            "lat": places.lat,
            **h3_index.ancestry(places.lon, places.lat, (9,)),
            **_split_columns(split),
            "is_simulated": np.full(len(places), is_simulated),
        }
    )


def value_label_table(
    places: PixelPlaces,
    values: npt.NDArray[np.float32],
    split: GivenSplit,
    source: str,
    *,
    is_simulated: bool,
) -> pa.Table:
    """Give rows of `core_label_{source}__pixels` of a source of numbers.

    Args:
        places: pixels.
        values: float32 (n, v), NaN = nodata.
        split: the published split.
        source: name of the label source.
        is_simulated: True if the numbers are.
    """
    return pa.table(
        {
            "pixel_id": places.pixel_id,
            "label_source": pa.array([source] * len(places), pa.string()),
            "values": pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1]),
            "lon": places.lon,
            "lat": places.lat,
            **h3_index.ancestry(places.lon, places.lat, (9,)),
            **_split_columns(split),
            "is_simulated": np.full(len(places), is_simulated),
        }
    )


def patch_label_table(
    places: PatchPlaces,
    labels: PatchLabels,
    split: GivenSplit,
    source: str,
    class_names: Sequence[str],
    *,
    is_simulated: bool,
) -> pa.Table:
    """Give rows of `core_label_{source}__patches`; NULL class where a patch has no label."""
    k = len(class_names)
    flags = pa.array(labels.multi_label.reshape(-1))
    shares = pa.array(labels.fractions.reshape(-1), pa.float32())
    return pa.table(
        {
            "patch_id": places.patch_id,
            "label_source": pa.array([source] * len(places), pa.string()),
            **_class_columns(labels.label, class_names),
            "purity": pa.array(labels.purity, pa.float32()),
            "fractions": pa.FixedSizeListArray.from_arrays(shares, k),
            "multi_label": pa.FixedSizeListArray.from_arrays(flags, k),
            "valid_share": pa.array(labels.valid_share, pa.float32()),
            "lon": places.lon,
            "lat": places.lat,
            **h3_index.ancestry(places.lon, places.lat, (7,)),
            **_split_columns(split),
            "is_simulated": np.full(len(places), is_simulated),
        }
    )


def _class_columns(ids: npt.NDArray[np.int16], class_names: Sequence[str]) -> dict[str, pa.Array]:
    missing = ids < 0
    names = np.array([*class_names, ""], dtype=object)[ids]
    return {
        "label": pa.array(ids, pa.int16(), mask=missing),
        "class_name": pa.array(names, pa.string(), mask=missing),
    }


def _split_columns(split: GivenSplit) -> dict[str, pa.Array]:
    return {
        "given_fold": pa.array(split.fold, pa.int16(), mask=split.fold == DROPPED),
        "given_group": pa.array(split.group, pa.int32(), mask=split.group < 0),
    }
