"""Held-out predictions and pictures of the kept windows, for maps.

Belongs here: which fold predicts which place of a window, and what the place looks like in an arm's features. Does
not: drawing (`transforms/report/`).

Linear upsamplers are mapped by reducing first: the class scores of a linear probe, and the principal components of a
picture, are affine maps of the features, so they are taken of the patches and then interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.alignment import match_keys, take_or
from transforms.area import inside_bbox
from transforms.arms import Arm
from transforms.blocks import assign_blocks
from transforms.evaluation import CellOutcome, FoldOutcome
from transforms.evidence_units import Units, fold_of_blocks, take_units
from transforms.folds import FoldPlan
from transforms.pictures import fit_picture
from transforms.places import PixelPlaces, project_each
from transforms.tasks import UnitKind
from transforms.upsampled_rows import PatchField
from transforms.upsampling.operators import UPSAMPLERS, Upsampler
from transforms.utm import utm_epsg
from warehouse.features import FeatureReader
from warehouse.store import Warehouse, evaluate_settings
from warehouse.study_folds import read_edge_m

#: Window pixels predicted at once; bounds memory at full width.
_PIXELS_AT_ONCE = 20_000
#: Pixels whose features fix the principal components of a picture.
_PICTURE_SAMPLE = 5_000

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def map_cell(
    warehouse: Warehouse,
    reader: FeatureReader,
    year: int,
    arm: Arm,
    units: Units,
    plan: FoldPlan,
    outcome: CellOutcome,
) -> pa.Table | None:
    """Predict the places of the kept windows, each by the fold that holds its block out.

    Returns:
        Rows of `out_probe__predictions` without the shared columns, with the `block_id` of each; None for controls
        and joined arms, without windows, where folds are not blocks, or where scores of the probe may not be
        interpolated.
    """
    if plan.scheme != "block" or not warehouse.settings.keep.windows or arm.family in ("control", "fusion"):
        return None
    if any(item.probe is None for item in outcome.folds):
        return None
    if arm.unit == "patch":
        return _map_patches(warehouse, reader, arm, units, plan, outcome)
    return _map_pixels(warehouse, reader, year, arm, plan, outcome)


def _map_patches(
    warehouse: Warehouse, reader: FeatureReader, arm: Arm, units: Units, plan: FoldPlan, outcome: CellOutcome
) -> pa.Table | None:
    """Take the held-out predictions of the patches whose centre lies in a window."""
    windows = np.full(len(units), "", dtype=object)
    for window in warehouse.settings.keep.windows:
        windows[inside_bbox(units.lon, units.lat, window.bbox)] = window.name
    inside = [(item, windows[item.test] != "") for item in outcome.folds]
    unit = np.concatenate([item.test[mine] for item, mine in inside])
    if not len(unit):
        return None
    # an operator that is fitted in folds is shown as the stored codebook makes it: folds have no common colours
    features = reader.stored(arm, take_units(units, unit))
    picture = fit_picture(features)
    epsg = utm_epsg(units.lon[unit], units.lat[unit]).astype(np.int32)
    x, y = project_each(units.lon[unit], units.lat[unit], epsg)
    places = _Places(units.unit_id[unit], windows[unit], epsg, x, y, plan.block_id[unit])
    return places.rows(
        "patch",
        fold=np.concatenate([np.full(int(mine.sum()), item.fold) for item, mine in inside]),
        truth=units.label[unit],
        pred=np.concatenate([item.pred[mine] for item, mine in inside]),
        colors=picture.color(picture.project(features)),
    )


def _map_pixels(
    warehouse: Warehouse, reader: FeatureReader, year: int, arm: Arm, plan: FoldPlan, outcome: CellOutcome
) -> pa.Table | None:
    """Predict every pixel of the windows that some fold holds out."""
    places, windows, native = reader.window_pixels()
    if not len(places):
        return None
    fold_by_block = fold_of_blocks(plan)
    blocks = assign_blocks(places.lon, places.lat, read_edge_m(warehouse, year))
    folds = np.array([fold_by_block.get(int(block), -1) for block in blocks], np.int64)
    source = _open_source(reader, arm, places, native)
    pred = np.full(len(places), -1, np.int16)
    for item in outcome.folds:
        mine = np.flatnonzero(folds == item.fold)
        pred[mine] = source.predict(item, mine)
    colors = source.draw(_most_common(outcome, folds))
    done = np.flatnonzero(pred >= 0)
    shown = _Places(
        places.pixel_id[done], windows[done], places.epsg[done], places.x_m[done], places.y_m[done], blocks[done]
    )
    truth = _truth_at(warehouse, year, places.pixel_id[done])
    return shown.rows("pixel", fold=folds[done], truth=truth, pred=pred[done], colors=colors[done])


class _Source(Protocol):
    """Where the features of the window's pixels come from."""

    def predict(self, item: FoldOutcome, mine: IntArray) -> npt.NDArray[np.int16]:
        """Predict pixels (positions) with the probe of a fold; -1 where there is no vector."""
        ...

    def draw(self, item: FoldOutcome) -> npt.NDArray[np.uint8]:
        """Give the colours of all pixels, uint8 (n, 3)."""
        ...


@dataclass(frozen=True)
class _NativePixels:
    """The pixels' own vectors."""

    vectors: FloatArray

    def predict(self, item: FoldOutcome, mine: IntArray) -> npt.NDArray[np.int16]:
        return _predict_finite(item, self.vectors[mine])

    def draw(self, item: FoldOutcome) -> npt.NDArray[np.uint8]:
        picture = fit_picture(self.vectors)
        return picture.color(picture.project(self.vectors))


@dataclass(frozen=True)
class _ReducedFirst:
    """An upsampler that learns nothing and is linear: scores and components are upsampled instead of vectors."""

    build: Callable[[], Upsampler]
    field: PatchField
    u: Float64Array
    v: Float64Array

    def predict(self, item: FoldOutcome, mine: IntArray) -> npt.NDArray[np.int16]:
        assert item.probe is not None  # map_cell asks only then
        scores, classes = item.probe.class_scores(self.field.vectors)
        found = self.build().fit(self.field.rows(), scores).transform(self.u[mine], self.v[mine])
        usable = np.isfinite(found).all(axis=1)
        return np.where(usable, classes[np.nan_to_num(found).argmax(axis=1)], -1).astype(np.int16)

    def draw(self, item: FoldOutcome) -> npt.NDArray[np.uint8]:
        picture = fit_picture(self.field.vectors)
        projected = picture.project(self.field.vectors)
        return picture.color(self.build().fit(self.field.rows(), projected).transform(self.u, self.v))


@dataclass(frozen=True)
class _FullWidth:
    """An upsampler that is fitted in the fold, or is not linear: features first, a part of the pixels at a time."""

    u: Float64Array
    v: Float64Array
    guide: FloatArray

    def predict(self, item: FoldOutcome, mine: IntArray) -> npt.NDArray[np.int16]:
        parts = [_predict_finite(item, self._features(item, part)) for part in _parts(mine)]
        return np.concatenate(parts) if parts else np.empty(0, np.int16)

    def draw(self, item: FoldOutcome) -> npt.NDArray[np.uint8]:
        every = np.arange(len(self.u))
        picture = fit_picture(self._features(item, every[:: max(1, len(every) // _PICTURE_SAMPLE)]))
        return np.concatenate([picture.color(picture.project(self._features(item, part))) for part in _parts(every)])

    def _features(self, item: FoldOutcome, part: IntArray) -> FloatArray:
        upsampler = cast("Upsampler", item.operator)
        return upsampler.transform(self.u[part], self.v[part], self.guide[part])


def _open_source(reader: FeatureReader, arm: Arm, places: PixelPlaces, native: FloatArray) -> _Source:
    if arm.family == "native":
        return _NativePixels(native)
    u, v = reader.field.coordinates(places)
    entry = UPSAMPLERS[str(arm.operator)]
    if entry.is_fitted:
        return _FullWidth(u, v, native)
    # every operator that learns nothing is linear: a test of the registry holds it to that
    return _ReducedFirst(entry.build, reader.field, u, v)


def _predict_finite(item: FoldOutcome, vectors: FloatArray) -> npt.NDArray[np.int16]:
    pred = np.full(len(vectors), -1, np.int16)
    usable = np.isfinite(vectors).all(axis=1)
    if usable.any():
        assert item.probe is not None  # map_cell asks only then
        scores, classes = item.probe.class_scores(vectors[usable])
        pred[usable] = classes[scores.argmax(axis=1)]
    return pred


def _parts(positions: IntArray) -> Iterator[IntArray]:
    for start in range(0, len(positions), _PIXELS_AT_ONCE):
        yield positions[start : start + _PIXELS_AT_ONCE]


def _most_common(outcome: CellOutcome, folds: IntArray) -> FoldOutcome:
    """Give the fold that holds out most of the window: a picture of one operator has no seams between folds."""
    return max(outcome.folds, key=lambda item: int((folds == item.fold).sum()))


@dataclass(frozen=True)
class _Places:
    """Places of mapped units, as parallel arrays."""

    unit_id: npt.NDArray[np.uint64]
    window: npt.NDArray[np.object_]
    epsg: npt.NDArray[np.int32]
    x_m: Float64Array
    y_m: Float64Array
    block_id: IntArray

    def rows(
        self,
        unit: UnitKind,
        *,
        fold: IntArray,
        truth: npt.NDArray[np.int16],
        pred: npt.NDArray[np.int16],
        colors: npt.NDArray[np.uint8],
    ) -> pa.Table:
        """Give rows of `out_probe__predictions` without the shared columns."""
        return pa.table(
            {
                "unit": pa.array([unit] * len(self.unit_id), pa.string()),
                "unit_id": self.unit_id,
                "fold": fold,
                "block_id": self.block_id,
                "window": pa.array(self.window.tolist(), pa.string()),
                "epsg": pa.array(self.epsg, pa.int32()),
                "x_m": self.x_m,
                "y_m": self.y_m,
                "truth": pa.array(truth, pa.int16(), mask=truth < 0),
                "pred": pred,
                **{name: colors[:, i] for i, name in enumerate(("red", "green", "blue"))},
            }
        )


def _truth_at(warehouse: Warehouse, year: int, ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.int16]:
    """Give the label of pixels, -1 without one."""
    settings = evaluate_settings(warehouse)
    table = f"core_label_{settings.label}__pixels"
    keys = warehouse.partitions(table, year=warehouse.label(settings.label).years.get(year))
    rows = warehouse.read_many(table, keys, ["pixel_id", "label"])
    slot = match_keys(ids, rows["pixel_id"].to_numpy())
    return take_or(rows["label"].fill_null(-1).to_numpy(), slot, -1)
