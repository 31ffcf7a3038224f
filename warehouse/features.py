"""Units, labels and features of an evaluation, read from stored tables.

Belongs here: which stored column is which arm, and what fitted arms are given. Does not: folds, probes, scores
(`transforms/evaluation.py`), operators that are fitted on pixels of patches (`pooled_in_fold.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.alignment import match_keys, take_or
from transforms.arms import ARMS, NATIVE_ARM, RANDOM_DIMS, Arm
from transforms.cell_features import Features, JoinedFeatures, StoredFeatures
from transforms.controls import random_features, shuffle_blocks
from transforms.errors import IsthmusError, TooFewUnitsError
from transforms.evidence_units import Units, plan_from_table, units_from_labels
from transforms.fold_features import PatchGround, UpsampledInFold
from transforms.folds import FoldPlan
from transforms.neighbourhoods import gather_neighbourhoods
from transforms.places import PixelPlaces
from transforms.pooling.operators import POOLING_OPERATORS
from transforms.pooling.operators import features as pooled_features
from transforms.tasks import UnitKind
from transforms.upsampled_rows import PatchField
from transforms.upsampling.operators import UPSAMPLERS
from warehouse.fields import read_patch_field, read_pixel_vectors, read_spine
from warehouse.layout import PartitionKey
from warehouse.pooled_in_fold import PooledInFold
from warehouse.reader import vectors
from warehouse.store import Warehouse, evaluate_settings

#: Least share of a patch that must carry a label, for its majority or its fractions to mean anything.
MIN_LABELLED_SHARE = 0.5

FloatMatrix = npt.NDArray[np.float32]
Ids = npt.NDArray[np.uint64]


class MissingOperatorError(IsthmusError):
    """A stored table has no rows of an operator that the settings name. Permanent until it is written again."""

    def __init__(self, table: str, operator: str) -> None:
        super().__init__(
            f"{table}: found no rows of operator '{operator}', expected one per sampled pixel. "
            "It was added to the settings after the table was written: run again, or materialise the table."
        )


@dataclass(frozen=True)
class LabelledUnits:
    """Units of one grain with what is needed to choose among them.

    Attributes:
        units: labelled places.
        purity: float32 (n,), majority share among labelled cells, NaN where a source does not tell; 1 for pixels.
        valid_share: float32 (n,), share of the unit that is labelled; 1 for pixels.
        rows: the label rows, in the order of the units.
        is_simulated: True if labels or places are.
    """

    units: Units
    purity: npt.NDArray[np.float32]
    valid_share: npt.NDArray[np.float32]
    rows: pa.Table
    is_simulated: bool


def read_labelled_units(warehouse: Warehouse, kind: UnitKind, label: str, year: int) -> LabelledUnits | None:
    """Read the labelled patches, or the labelled sampled pixels, that stand for an embedding year.

    A patch is labelled if it has a class, or if most of it is: sources of several classes a patch name no single one.

    Returns:
        The units in the order of the shards; None where no unit has a label.
    """
    label_year = warehouse.label(label).years.get(year)
    table = f"core_label_{label}__{'patches' if kind == 'patch' else 'pixels'}"
    keys = warehouse.partitions(table, year=label_year) if label_year is not None else []
    if not keys:
        return None
    rows = warehouse.read_many(table, keys)
    if kind == "pixel":
        rows = rows.filter(pa.array(_is_sampled(warehouse, rows["pixel_id"].to_numpy(), year)))
    is_labelled = pc.field("label").is_valid()
    if kind == "patch":
        is_labelled |= pc.field("valid_share") >= MIN_LABELLED_SHARE
    rows = rows.filter(is_labelled)
    if not rows.num_rows:  # labels of another place
        return None
    product = warehouse.patch_product
    half_side = (product.patch_m or 0.0) / 2 if kind == "patch" and product is not None else 0.0
    whole = np.ones(rows.num_rows, np.float32)
    return LabelledUnits(
        units_from_labels(kind, rows, half_side),
        rows["purity"].to_numpy() if kind == "patch" else whole,
        rows["valid_share"].to_numpy() if kind == "patch" else whole,
        rows,
        any(rows["is_simulated"].to_pylist()),
    )


class FeatureReader:
    """Features of all arms of one year.

    Args:
        warehouse: the warehouse.
        year: embedding year.
    """

    def __init__(self, warehouse: Warehouse, year: int) -> None:
        self._warehouse = warehouse
        self._year = year
        self._last: tuple[tuple[str, bytes], FloatMatrix] | None = None

    @cached_property
    def field(self) -> PatchField:
        """All patch vectors of the year."""
        product = self._warehouse.patch_product
        assert product is not None  # the caller asks only with patches
        return read_patch_field(self._warehouse, product, self._year)

    def open(self, arm: Arm, units: Units, plan: FoldPlan) -> Features:
        """Give the features of an arm, under the folds of its units."""
        if arm.treatment == "shuffled_blocks":
            rng = np.random.default_rng(evaluate_settings(self._warehouse).seed)
            native = self.stored(ARMS[NATIVE_ARM[arm.unit]], units)
            return StoredFeatures(shuffle_blocks(native, units.lon, units.lat, plan.block_id, rng))
        if arm.parts:
            return JoinedFeatures(tuple(self.open(ARMS[part], units, plan) for part in arm.parts))
        if arm.family in ("upsampled", "guided") and UPSAMPLERS[str(arm.operator)].is_fitted:
            return self._upsampled_in_fold(arm, units, plan)
        if arm.family == "pooled" and POOLING_OPERATORS[str(arm.operator)].is_fitted:
            return PooledInFold(self._warehouse, self._year, str(arm.operator), units.unit_id)
        return StoredFeatures(self.stored(arm, units))

    def open_neighbourhoods(self, arm: Arm, units: Units) -> Features:
        """Give the 3 x 3 neighbourhoods of patches in an arm that is not fitted, for probes that read them.

        Raises:
            TooFewUnitsError: the arm has no neighbours to give: pixels are kept one by one, fitted arms per fold.
        """
        if arm.unit != "patch" or arm.family not in ("native", "pooled") or self.is_fitted(arm):
            raise TooFewUnitsError(
                f"neighbourhoods of {arm.name}", "none stored", "native or pooled patches",
                "Use a probe that reads single vectors, such as logistic.",
            )  # fmt: skip
        places = read_spine(self._warehouse)
        every = self.vectors(arm, places.patch_id)
        return StoredFeatures(gather_neighbourhoods(places, every, match_keys(units.unit_id, places.patch_id)))

    def is_covered(self, arm: Arm, units: Units) -> npt.NDArray[np.bool_]:
        """Tell which units an arm that is not fitted has a vector for; fitted ones must serve those units too."""
        if arm.parts:
            return np.logical_and.reduce([self.is_covered(ARMS[part], units) for part in arm.parts])
        if self.is_fitted(arm):
            return np.ones(len(units), bool)
        return np.asarray(np.isfinite(self.stored(arm, units)).all(axis=1), np.bool_)

    def stored(self, arm: Arm, units: Units) -> FloatMatrix:
        """Give the features of an arm that is not fitted: float32 (n, d), NaN rows where it has no vector.

        Those of the last arm and units are kept: cells of one arm follow each other.
        """
        key = (arm.name, units.unit_id.tobytes())
        if self._last is None or self._last[0] != key:
            self._last = (key, self._read(arm, units))
        return self._last[1]

    def vectors(self, arm: Arm, unit_id: Ids) -> FloatMatrix:
        """Give the vectors of a native, pooled or upsampled arm that is not fitted, at places by id."""
        match arm.family:
            case "native":
                return self._native_patch(unit_id) if arm.unit == "patch" else self.native_pixel(unit_id)
            case "pooled":
                return self._pooled(str(arm.operator), unit_id)
        return self._upsampled(str(arm.operator), unit_id)

    @staticmethod
    def is_fitted(arm: Arm) -> bool:
        """Tell whether an arm has an operator that is fitted per fold."""
        registry = POOLING_OPERATORS if arm.family == "pooled" else UPSAMPLERS
        return arm.operator is not None and registry[arm.operator].is_fitted

    def _read(self, arm: Arm, units: Units) -> FloatMatrix:
        if arm.family != "control":
            return self.vectors(arm, units.unit_id)
        settings = evaluate_settings(self._warehouse)
        if arm.probe == "majority":
            return np.zeros((len(units), 1), np.float32)
        if arm.side != "none":  # controls of the native vectors: their labels or their blocks change places
            return self.vectors(ARMS[NATIVE_ARM[arm.unit]], units.unit_id)
        if arm.treatment == "random_features":
            return random_features(len(units), RANDOM_DIMS, np.random.default_rng(settings.seed))
        return np.stack([units.lon, units.lat], axis=1).astype(np.float32)

    def native_pixel(self, pixel_id: Ids) -> FloatMatrix:
        """Give the pixel product's own vectors at sampled pixels, dequantised; NaN rows elsewhere."""
        product = self._warehouse.pixel_product
        assert product is not None  # asked only with pixels
        keys = self._warehouse.partitions(f"core_{product.name}__pixels", year=self._year)
        places, values, _ = read_pixel_vectors(self._warehouse, product, keys, window=False)
        return take_or(values, match_keys(pixel_id, places.pixel_id), np.nan)

    def window_pixels(self) -> tuple[PixelPlaces, npt.NDArray[np.object_], FloatMatrix]:
        """Read the pixels of the kept windows: places, window names, native vectors."""
        product = self._warehouse.pixel_product
        assert product is not None  # the caller asks for T5 maps only with pixels
        keys = self._warehouse.partitions(f"core_{product.name}__pixels", year=self._year)
        places, native, names = read_pixel_vectors(self._warehouse, product, keys, window=True)
        return places, names, native

    def _native_patch(self, patch_id: Ids) -> FloatMatrix:
        return take_or(self.field.vectors, match_keys(patch_id, self.field.places.patch_id), np.nan)

    def _pooled(self, operator: str, patch_id: Ids) -> FloatMatrix:
        columns = POOLING_OPERATORS[operator].columns
        return pooled_features(self._pooled_columns(columns, patch_id), operator)

    def _pooled_columns(self, columns: tuple[str, ...], patch_id: Ids) -> dict[str, npt.NDArray[np.generic]]:
        """Read stored pooled columns at patches; NaN where there are none."""
        product = self._warehouse.pixel_product
        assert product is not None  # asked only with pixels
        table = f"out_patch__{product.name}_pooled"
        keys = self._warehouse.partitions(table, year=self._year)
        rows = self._warehouse.read_many(table, keys, ["patch_id", *columns])
        slot = match_keys(patch_id, rows["patch_id"].to_numpy())
        return {name: take_or(_column(rows, name), slot, np.nan) for name in columns}

    def _upsampled(self, operator: str, pixel_id: Ids) -> FloatMatrix:
        product = self._warehouse.patch_product
        assert product is not None  # the arm is listed only with patches
        table = f"out_pixel__{product.name}_upsampled"
        keys = self._warehouse.partitions(table, year=self._year)
        stored = "bilinear" if operator == "nearest" else operator
        column = "nearest_patch_id" if operator == "nearest" else "embedding"
        rows = self._warehouse.read_many(table, keys, ["pixel_id", column], {"method": stored})
        rows = rows.filter(pc.field(column).is_valid())
        if not rows.num_rows:
            raise MissingOperatorError(table, operator)
        slot = match_keys(pixel_id, rows["pixel_id"].to_numpy())
        if operator == "nearest":
            patch = take_or(rows[column].to_numpy(), slot, 0)
            return take_or(self.field.vectors, match_keys(patch, self.field.places.patch_id), np.nan)
        return take_or(vectors(rows, column), slot, np.nan)

    # -- what fitted arms are given -------------------------------------------------------------------------

    def _upsampled_in_fold(self, arm: Arm, units: Units, plan: FoldPlan) -> UpsampledInFold:
        settings = evaluate_settings(self._warehouse)
        operator = UPSAMPLERS[str(arm.operator)]
        u, v = self.field.coordinates(self._places_of(units.unit_id))
        return UpsampledInFold(
            operator,
            self._patch_ground(str(arm.operator), plan),
            u,
            v,
            units.label,
            len(self._warehouse.label(settings.label).classes),
            self.native_pixel(units.unit_id) if operator.uses_guide else None,
            settings.seed,
        )

    def _patch_ground(self, operator: str, plan: FoldPlan) -> PatchGround:
        """Give the patches of the year, and what the operator learns from."""
        needs = UPSAMPLERS[operator].needs
        ids = self.field.places.patch_id
        guide = self._pooled_columns(("mean",), ids)["mean"].astype(np.float32) if needs == "guide" else None
        fractions = self._fractions(ids) if needs == "fractions" else None
        return PatchGround(self.field.rows(), self.field.vectors, guide, fractions, self._training_patches(plan))

    def _places_of(self, pixel_id: Ids) -> PixelPlaces:
        product = self._warehouse.pixel_product
        assert product is not None  # pixel units exist only with pixels
        places = self._warehouse.pixel_places(product, None, [self._year])
        return places.take(match_keys(pixel_id, places.pixel_id))

    def _fractions(self, patch_id: Ids) -> FloatMatrix:
        settings = evaluate_settings(self._warehouse)
        table = f"core_label_{settings.label}__patches"
        keys = self._warehouse.partitions(table, year=self._warehouse.label(settings.label).years.get(self._year))
        rows = self._warehouse.read_many(table, keys, ["patch_id", "fractions", "valid_share"])
        stored = vectors(rows, "fractions").astype(np.float32)
        stored[rows["valid_share"].to_numpy() < MIN_LABELLED_SHARE] = np.nan
        return take_or(stored, match_keys(patch_id, rows["patch_id"].to_numpy()), np.nan)

    def _training_patches(self, plan: FoldPlan) -> npt.NDArray[np.bool_]:
        """Tell which patches lie on the training ground of each fold of the pixels: bool (n_folds, p).

        Raises:
            TooFewUnitsError: folds were given for pixels alone, which says nothing of patches.
        """
        places = self.field.places
        if plan.scheme == "random":  # the diagnostic of leakage: patches are everywhere
            return np.ones((plan.n_folds, len(places)), bool)
        rows = self._warehouse.read("out_probe__folds", PartitionKey(self._year))
        here = rows.filter((pc.field("scheme") == plan.scheme) & (pc.field("unit") == "patch"))
        if plan.scheme == "given" or not here.num_rows:
            raise TooFewUnitsError(
                f"patches in {plan.scheme} folds", here.num_rows, "patches with labels of the same source",
                "Upsamplers that learn need folds of blocks or regions: change evaluate.schemes, or leave them out.",
            )  # fmt: skip
        ids, patches = plan_from_table(here, plan.scheme)
        slot = match_keys(places.patch_id, ids)
        masks = [_on_training_ground(patches, plan, fold) for fold in range(plan.n_folds)]
        return np.stack([take_or(mask, slot, False) for mask in masks])


def _on_training_ground(patches: FoldPlan, pixels: FoldPlan, fold: int) -> npt.NDArray[np.bool_]:
    """Tell which patches may be learned from where a fold tests on its pixels; blocks are shared, so are regions."""
    name = pixels.region_of(fold)
    if name is None:
        return patches.trains(fold) if fold < patches.n_folds else np.asarray(patches.fold >= 0, np.bool_)
    assert patches.region is not None  # plans of regions name them
    # each grain numbers the regions that it has units in
    mine = np.unique(patches.fold[patches.region == name])
    if len(mine):
        return patches.trains(int(mine[0]))
    return np.full(len(patches), not pixels.trains_on_one)


def _column(rows: pa.Table, name: str) -> npt.NDArray[np.generic]:
    """Give a stored column as (n, width), or (n,) for numbers."""
    if pa.types.is_fixed_size_list(rows[name].type):
        return np.asarray(vectors(rows, name))
    return np.asarray(rows[name].to_numpy(zero_copy_only=False))


def _is_sampled(warehouse: Warehouse, ids: Ids, year: int) -> npt.NDArray[np.bool_]:
    """Tell which pixels belong to the uniform sample of a year: dense windows would outweigh the rest."""
    product = warehouse.pixel_product
    assert product is not None  # pixel labels exist only with a pixel product
    table = f"core_{product.name}__pixels"
    rows = warehouse.read_many(table, warehouse.partitions(table, year=year), ["pixel_id", "in_sample"])
    sampled = rows.filter(rows["in_sample"])["pixel_id"].to_numpy()
    return np.isin(ids, sampled)
