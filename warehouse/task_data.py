"""What a task is about in one year: its units, their targets, and where the features of its arms come from.

Belongs here: which labelled places are units of a task, and what is predicted at them. Does not: features of single
arms (`features.py`), folds (`study_folds.py`), cells (`study.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.alignment import match_keys
from transforms.arms import COORDINATES_ARM, Arm
from transforms.cell_features import Features, SelectedFeatures, StoredFeatures
from transforms.cells import ALL_LABELS, Cell
from transforms.controls import earth_directions
from transforms.errors import TooFewUnitsError
from transforms.evidence_units import Units, take_units
from transforms.fold_plan import FoldPlan
from transforms.probes.registry import PROBES
from transforms.targets import Targets
from transforms.tasks import TASKS, Task
from transforms.upsampling.operators import UPSAMPLERS
from warehouse.features import (
    MIN_LABELLED_SHARE,
    FeatureReader,
    LabelledUnits,
    MissingOperatorError,
    read_labelled_units,
)
from warehouse.reader import vectors
from warehouse.store import Warehouse, any_simulated, evaluate_settings

Int64Array = npt.NDArray[np.int64]
#: Names of the two classes of a change.
CHANGE_NAMES = ("unchanged", "changed")


@dataclass(frozen=True)
class TaskData:
    """Units of one task, and where the features of its arms come from.

    Attributes:
        task: T1 to T8.
        units: labelled places; every arm that is not fitted has a vector at each.
        targets: what is predicted at them.
        purity: float32 (n,), share of the majority class; 1 for pixels.
        reader: reads or fits features.
        earlier: reads those of the year before, for changes.
        is_simulated: True if anything here is.
        rule: how units were chosen, in words.
    """

    task: Task
    units: Units
    targets: Targets
    purity: npt.NDArray[np.float32]
    reader: FeatureReader
    earlier: FeatureReader | None
    is_simulated: bool
    rule: str

    def select(self, cell: Cell) -> Int64Array:
        """Give the units of a cell (positions): all, or those that are pure enough."""
        if cell.purity_min is None:
            return np.arange(len(self.units))
        return np.flatnonzero(self.purity >= cell.purity_min)

    def open(self, cell: Cell, arm: Arm, plan: FoldPlan) -> Features:
        """Give the features of an arm at the units of a cell.

        Args:
            cell: which purity and probe.
            arm: the arm.
            plan: folds of all units of the task.

        Raises:
            TooFewUnitsError: the arm cannot serve the cell.
        """
        _check_budget(cell, arm)
        chosen = self.select(cell)
        if self.earlier is not None:
            return SelectedFeatures(self._changes(arm), chosen)
        if TASKS[self.task].target == "relevance" and arm.name == COORDINATES_ARM[arm.unit]:
            # the cosine of two (lon, lat) is no distance; that of two directions from the earth's centre is
            return SelectedFeatures(StoredFeatures(earth_directions(self.units.lon, self.units.lat)), chosen)
        if cell.probe in PROBES and PROBES[cell.probe].reads == "neighbourhood":
            return self.reader.open_neighbourhoods(arm, take_units(self.units, chosen))
        return SelectedFeatures(self.reader.open(arm, self.units, plan), chosen)

    def fingerprint(self) -> str:
        """Hash the units and their targets."""
        digest = hashlib.sha256()
        for values in (self.units.unit_id, self.targets.values, self.purity):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def _changes(self, arm: Arm) -> Features:
        """Give later minus earlier vectors; places and priors stand still and are given as they are.

        Raises:
            TooFewUnitsError: the arm is fitted per fold, or has no vectors in the earlier year.
        """
        assert self.earlier is not None  # the caller asks only where there is an earlier year
        if arm.family == "control" and arm.side == "none":
            return StoredFeatures(self.reader.stored(arm, self.units))
        if _has_no_change(self.reader, arm):
            raise TooFewUnitsError(
                f"changes of {arm.name}", "an arm that is fitted, joined or shuffled", "stored vectors of both years",
                "Score it on T1.",
            )  # fmt: skip
        before = self.earlier.stored(arm, self.units)
        missing = int((~np.isfinite(before).all(axis=1)).sum())
        if missing:
            raise TooFewUnitsError(
                f"vectors of {arm.name} in the earlier year", f"none at {missing} of {len(before)} patches",
                "one at every patch", "The product may not reach back that far: drop T7, or add that year's files.",
            )  # fmt: skip
        return StoredFeatures(self.reader.stored(arm, self.units) - before)


def load_task(warehouse: Warehouse, task: Task, year: int, arms: Iterable[Arm]) -> TaskData:
    """Read the units of a task that every arm covers.

    Args:
        warehouse: the warehouse.
        task: T1 to T8, not one that is read off maps.
        year: embedding year.
        arms: all arms that are scored on it.

    Raises:
        TooFewUnitsError: there are no labels, or not those that the task needs.
    """
    settings = evaluate_settings(warehouse)
    labelled = _require_labels(warehouse, task, settings.label, year)
    usable = labelled.valid_share >= MIN_LABELLED_SHARE
    reader, earlier = FeatureReader(warehouse, year), None
    before = _earlier_year(warehouse, year) if task == "T7" else None
    if before is not None:
        earlier = FeatureReader(warehouse, before)
    targets, has_target = _targets(warehouse, task, labelled, year, before)
    if task == "T7":
        usable &= labelled.purity >= settings.purity_min
    chosen = np.flatnonzero(usable & has_target)
    if not len(chosen):
        raise TooFewUnitsError(
            f"units of task {task}", f"none among {len(usable)} labelled ones", "units with what the task predicts",
            "Labels that name several classes a patch serve T2 alone: drop the task, or use another label source.",
        )  # fmt: skip
    units = take_units(labelled.units, chosen)
    covered = np.ones(len(units), bool)
    for arm in arms:
        # an arm without any vector fails in its own cell, with the reason; it must not take the units of the others
        with contextlib.suppress(MissingOperatorError):
            mine = reader.is_covered(arm, units)
            covered &= mine if mine.any() else True
        if earlier is not None:
            covered &= _was_covered(earlier, arm, units)
    chosen = chosen[covered]
    return TaskData(
        task,
        take_units(labelled.units, chosen),
        targets.take(chosen),
        labelled.purity[chosen],
        reader,
        earlier,
        labelled.is_simulated or any_simulated(warehouse),
        _unit_rule(warehouse, task),
    )


def _was_covered(earlier: FeatureReader, arm: Arm, units: Units) -> npt.NDArray[np.bool_]:
    """Tell which units an arm has a vector for in the earlier year; all where it has none, for then its cell fails."""
    if _has_no_change(earlier, arm):
        return np.ones(len(units), bool)
    found = np.isfinite(earlier.stored(arm, units)).all(axis=1)
    return np.asarray(found if found.any() else np.ones(len(units)), np.bool_)


def _has_no_change(reader: FeatureReader, arm: Arm) -> bool:
    """Tell whether an arm has no difference of stored vectors: it is fitted, joined, or a control."""
    return bool(arm.parts) or arm.family == "control" or reader.is_fitted(arm)


def _check_budget(cell: Cell, arm: Arm) -> None:
    """Refuse a label budget for an arm that learns from labels which no budget limits.

    Raises:
        TooFewUnitsError: its operator learns from the class fractions of all training patches.
    """
    if cell.budget != ALL_LABELS and arm.operator in UPSAMPLERS and UPSAMPLERS[arm.operator].needs == "fractions":
        raise TooFewUnitsError(
            f"label budget of {arm.name}", cell.budget, "100%: it learns from the fractions of all training patches",
            "Leave the arm out of learning curves.",
        )  # fmt: skip


def _require_labels(warehouse: Warehouse, task: Task, label: str, year: int) -> LabelledUnits:
    """Read the labelled units of a task's kind.

    Raises:
        TooFewUnitsError: none are stored.
    """
    found = read_labelled_units(warehouse, TASKS[task].unit, label, year)
    if found is None or not len(found.units):
        raise TooFewUnitsError(
            f"labels of {label} for task {task}", "none", f"labelled {TASKS[task].unit} units",
            f"Map the year in labels.{label}.years, check that the labels lie in the area, or drop the task.",
        )  # fmt: skip
    return found


def _targets(
    warehouse: Warehouse, task: Task, labelled: LabelledUnits, year: int, before: int | None
) -> tuple[Targets, npt.NDArray[np.bool_]]:
    """Give the targets of labelled units, and which units have one."""
    names = tuple(warehouse.label(evaluate_settings(warehouse).label).classes)
    every = np.ones(len(labelled.units), bool)
    match TASKS[task].target:
        case "class" if task == "T7":
            return _change_targets(warehouse, labelled, year, before)
        case "multilabel":
            return Targets("multilabel", vectors(labelled.rows, "multi_label").astype(bool), names), every
        case "fractions":
            shares = vectors(labelled.rows, "fractions").astype(np.float32)
            return Targets("fractions", shares, names), np.asarray(np.isfinite(shares).all(axis=1), np.bool_)
        case "values":
            return _value_targets(warehouse, labelled, year)
        case kind:
            return Targets(kind, labelled.units.label, names), labelled.units.label >= 0


def _value_targets(warehouse: Warehouse, labelled: LabelledUnits, year: int) -> tuple[Targets, npt.NDArray[np.bool_]]:
    """Give the measured values at labelled pixels, from the source that `evaluate.values` names.

    Raises:
        TooFewUnitsError: no source is named, or it has no values in the year.
    """
    source = evaluate_settings(warehouse).values
    if source is None:
        raise TooFewUnitsError(
            "values for task T8", "evaluate.values is not set", "a label source with values", "Set it."
        )
    table, label = f"core_label_{source}__pixels", warehouse.label(source)
    keys = warehouse.partitions(table, year=label.years.get(year))
    if not keys:
        raise TooFewUnitsError(
            f"values of {source}", f"none in {year}", "stored values", f"Map {year} in labels.{source}.years."
        )
    rows = warehouse.read_many(table, keys, ["pixel_id", "values"])
    slot = match_keys(labelled.units.unit_id, rows["pixel_id"].to_numpy())
    found = vectors(rows, "values")
    values = np.where((slot >= 0)[:, None], found[slot], np.nan).astype(np.float32)
    return Targets("values", values, tuple(label.columns)), np.asarray(np.isfinite(values).all(axis=1), np.bool_)


def _change_targets(
    warehouse: Warehouse, labelled: LabelledUnits, year: int, before: int | None
) -> tuple[Targets, npt.NDArray[np.bool_]]:
    """Tell which patches have another majority class than in the year before.

    Raises:
        TooFewUnitsError: the labels know one year only.
    """
    label = evaluate_settings(warehouse).label
    earlier = read_labelled_units(warehouse, "patch", label, before) if before is not None else None
    if earlier is None:
        raise TooFewUnitsError(
            f"years of labels of {label}", "one", "two label years, mapped from two embedding years",
            f"Map an earlier year in labels.{label}.years, or drop task T7.",
        )  # fmt: skip
    slot = match_keys(labelled.units.unit_id, earlier.units.unit_id)
    settings = evaluate_settings(warehouse)
    pure = (earlier.purity >= settings.purity_min) & (earlier.valid_share >= MIN_LABELLED_SHARE)
    has_target = (slot >= 0) & pure[slot] & (labelled.units.label >= 0) & (earlier.units.label[slot] >= 0)
    changed = (labelled.units.label != earlier.units.label[slot]).astype(np.int16)
    return Targets("class", changed, CHANGE_NAMES), has_target


def _earlier_year(warehouse: Warehouse, year: int) -> int | None:
    """Give the latest embedding year before one that is mapped to another label year."""
    years = warehouse.label(evaluate_settings(warehouse).label).years
    before = [one for one, of_label in years.items() if one < year and of_label != years.get(year)]
    return max(before, default=None)


def _unit_rule(warehouse: Warehouse, task: Task) -> str:
    """Say in words how the units of a task are chosen, apart from purity."""
    settings = evaluate_settings(warehouse)
    labelled = f"labelled share >= {MIN_LABELLED_SHARE}"
    match task:
        case "T1" | "T4":
            return f"majority class, {labelled}"
        case "T2" if warehouse.label(settings.label).kind == "bigearthnet":
            return "all classes that the source names"
        case "T2":
            return f"classes that cover at least 5 % of the patch, {labelled}"
        case "T3":
            return f"class fractions, {labelled}"
        case "T7":
            return f"majority class differs between years, purity >= {settings.purity_min} in both, {labelled}"
    product = warehouse.pixel_product
    if product is not None and product.layout == "pixel_table":
        return "all pixels that the tables list"
    return "uniform sample of pixels"
