"""The folds of an evaluation: the rules that settings, products and variograms give, and the plans of all schemes.

Belongs here: which buffer and blocks a year's folds take, rows of `out_probe__folds` and `out_probe__fold_rules`, and
reading them back. Does not: how folds are dealt (`transforms/folds.py`), the audit (`study_audit.py`), cells
(`study.py`), Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.alignment import match_keys
from transforms.arms import ARMS, NATIVE_ARM
from transforms.block_folds import DROPPED
from transforms.block_sizing import BlockSizing, size_blocks
from transforms.cell_rows import fill_columns
from transforms.errors import TooFewUnitsError
from transforms.evidence_units import (
    FoldRules,
    Units,
    folds_table,
    plan_from_table,
    plan_schemes,
    take_plan,
    take_units,
)
from transforms.fold_plan import FoldPlan, Scheme
from transforms.tasks import UnitKind
from transforms.upsampling.operators import UPSAMPLERS
from transforms.variogram import VariogramRange, class_indicators, empirical_variogram, first_component, fit_range
from warehouse.errors import UnplannedSchemeError
from warehouse.features import FeatureReader, FloatMatrix, LabelledUnits, read_labelled_units
from warehouse.layout import PartitionKey
from warehouse.reader import vectors
from warehouse.store import Warehouse, any_simulated, evaluate_settings, list_schemes

#: Units that a variogram is measured on: 4.5 million pairs.
VARIOGRAM_UNITS = 3000
#: Schemes that keep a buffer; random and given folds have none.
BUFFERED: frozenset[Scheme] = frozenset({"block", "longitude", "region", "transfer"})


@dataclass(frozen=True)
class StoredFolds:
    """The folds of one year, as rows.

    Attributes:
        folds: `out_probe__folds`.
        rules: `out_probe__fold_rules`.
    """

    folds: pa.Table
    rules: pa.Table

    def plan(self, units: Units, scheme: Scheme) -> FoldPlan:
        """Give the plan of units in a scheme.

        Raises:
            UnplannedSchemeError: the scheme could not be planned for this kind of unit.
            TooFewUnitsError: a unit has no fold.
        """
        here = self.rows(units.kind, scheme)
        if not here.num_rows:
            raise UnplannedSchemeError(units.kind, scheme, self._problem(units.kind, scheme))
        ids, plan = plan_from_table(here, scheme)
        return take_plan(plan, match_keys(units.unit_id, ids))

    def rows(self, kind: UnitKind, scheme: Scheme) -> pa.Table:
        """Give the rows of `out_probe__folds` for one kind of unit and one scheme."""
        return self.folds.filter((pc.field("unit") == kind) & (pc.field("scheme") == scheme))

    def _problem(self, kind: UnitKind, scheme: Scheme) -> str:
        here = self.rules.filter((pc.field("unit") == kind) & (pc.field("scheme") == scheme))
        if not here.num_rows:
            return "it was added to the settings after the folds were made: materialise out_probe__folds again"
        return str(here["status"][0].as_py()).removeprefix("failed: ")


def read_folds(warehouse: Warehouse, year: int) -> StoredFolds:
    """Read the folds of a year."""
    key = PartitionKey(year)
    return StoredFolds(warehouse.read("out_probe__folds", key), warehouse.read("out_probe__fold_rules", key))


def read_edge_m(warehouse: Warehouse, year: int) -> float:
    """Read the edge of the blocks of a year."""
    return float(warehouse.read("out_probe__fold_rules", PartitionKey(year), ["edge_m"])["edge_m"][0].as_py())


def read_units(warehouse: Warehouse, year: int) -> dict[UnitKind, LabelledUnits]:
    """Read the labelled units of both grains that a year's folds are made of."""
    settings = evaluate_settings(warehouse)
    # both grains whatever the tasks: blocks must not be dealt otherwise because another question is asked too
    kinds: tuple[UnitKind, ...] = ("patch", "pixel")
    found = {kind: read_labelled_units(warehouse, kind, settings.label, year) for kind in kinds}
    return {kind: item for kind, item in found.items() if item is not None and len(item.units)}


def make_folds(warehouse: Warehouse, year: int) -> StoredFolds:
    """Plan the folds of all labelled patches and sampled pixels of a year, blocks shared by both.

    A scheme that cannot be planned has no folds, and a row of rules with the reason.
    """
    settings = evaluate_settings(warehouse)
    labelled = read_units(warehouse, year)
    reader = FeatureReader(warehouse, year)
    ranges = {kind: _measure_ranges(warehouse, reader, year, item) for kind, item in labelled.items()}
    sizing = _size(warehouse, ranges)
    rules = FoldRules(sizing.edge_m, sizing.buffer_m, settings.n_folds, settings.seed)
    is_simulated = any_simulated(warehouse)  # blocks are sized by the vectors, whatever the labels are
    found = plan_schemes([item.units for item in labelled.values()], list_schemes(warehouse), rules)
    tables = [
        folds_table(labelled[kind].units, plan, settings.label, is_simulated=is_simulated)
        for (kind, _), plan in found.plans.items()
    ]
    rows = [
        {
            **_rule_row(kind, scheme, sizing, found.plans.get((kind, scheme)), found.problems.get((kind, scheme))),
            **ranges[kind].columns(),
            "n_units": len(item.units),
            "is_simulated": is_simulated,
        }
        for kind, item in labelled.items()
        for scheme in list_schemes(warehouse)
    ]
    specs = warehouse.specs
    return StoredFolds(
        pa.concat_tables(tables) if tables else specs["out_probe__folds"].schema.empty_table(),
        fill_columns(rows, {"label_source": settings.label}, specs["out_probe__fold_rules"].schema),
    )


def native_features(warehouse: Warehouse, reader: FeatureReader, year: int, units: Units) -> FloatMatrix | None:
    """Give the native vectors of units, float32 (n, d), NaN rows where there are none; None without the product."""
    is_patch = units.kind == "patch"
    product = warehouse.patch_product if is_patch else warehouse.pixel_product
    if product is None:
        return None
    table = f"core_{product.name}__{'patches' if is_patch else 'pixels'}"
    if not warehouse.partitions(table, year=year):
        return None
    return reader.stored(ARMS[NATIVE_ARM[units.kind]], units)


@dataclass(frozen=True)
class _Ranges:
    """Over which distance labels and features of one kind of unit stay alike; None = not measured, see `problems`."""

    label: VariogramRange | None
    feature: VariogramRange | None
    problems: tuple[str, ...]

    def columns(self) -> dict[str, Any]:
        return {
            "label_range_m": self.label.range_m if self.label else None,
            "is_label_range_found": self.label.is_found if self.label else None,
            "feature_range_m": self.feature.range_m if self.feature else None,
            "is_feature_range_found": self.feature.is_found if self.feature else None,
        }


def _measure_ranges(warehouse: Warehouse, reader: FeatureReader, year: int, labelled: LabelledUnits) -> _Ranges:
    """Measure variograms of labels and of the first principal component of the native vectors, on a sample."""
    units = labelled.units
    rng = np.random.default_rng(evaluate_settings(warehouse).seed)
    chosen = np.sort(rng.choice(len(units), min(len(units), VARIOGRAM_UNITS), replace=False))
    sample = take_units(units, chosen)
    label, problem = _range_of(sample, _indicators(labelled)[chosen], "labels")
    features = native_features(warehouse, reader, year, sample)
    if features is None:
        return _Ranges(label, None, (problem, f"no native vectors of {units.kind} units"))
    known = np.flatnonzero(np.isfinite(features).all(axis=1))
    values = first_component(features[known]) if len(known) else np.empty((0, 1))
    feature, other = _range_of(take_units(sample, known), values, "features")
    return _Ranges(label, feature, (problem, other))


def _indicators(labelled: LabelledUnits) -> npt.NDArray[np.float64]:
    """Give the classes of units as indicators (n, k): the one class, or all of them where units have several."""
    if (labelled.units.label >= 0).all():
        return class_indicators(labelled.units.label)
    return vectors(labelled.rows, "multi_label").astype(np.float64)


def _range_of(units: Units, values: npt.NDArray[np.float64], what: str) -> tuple[VariogramRange | None, str]:
    """Measure one range; where there are too few places the folds are made without it, and their row says so."""
    try:
        return fit_range(empirical_variogram(units.lon, units.lat, values)), ""
    except TooFewUnitsError as error:
        return None, f"{what} of {units.kind} units: {error}"


def _size(warehouse: Warehouse, ranges: Mapping[UnitKind, _Ranges]) -> BlockSizing:
    """Size blocks and buffer; outside diagnostics the buffer is never below what a product's vectors look at.

    That is the model's context, and for patches beside pixels as far as the upsampling operators reach (one side for
    bilinear): a nearer training pixel would share a patch vector with a test pixel.
    """
    settings = evaluate_settings(warehouse)
    pair = [p for p in (warehouse.pixel_product, warehouse.patch_product) if p is not None]
    operators = ("bilinear", *warehouse.settings.upsample.operators) if len(pair) > 1 else ()
    sides = max((UPSAMPLERS[name].reach for name in operators), default=0.0)
    measured = {
        f"{what} of {kind} units": found
        for kind, one in ranges.items()
        for what, found in (("labels", one.label), ("features", one.feature))
        if found is not None
    }
    sizing = size_blocks(
        settings.block_edge_m,
        settings.buffer_m,
        measured,
        reach_m=max(max(product.context_m, sides * (product.patch_m or 0.0)) for product in pair),
        may_undercut=bool(settings.diagnostic),
    )
    unmeasured = [problem for one in ranges.values() for problem in one.problems if problem]
    return BlockSizing(sizing.edge_m, sizing.buffer_m, "; ".join([sizing.reason, *unmeasured]))


def _rule_row(
    kind: UnitKind, scheme: Scheme, sizing: BlockSizing, plan: FoldPlan | None, problem: str | None
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "unit": kind,
        "scheme": scheme,
        "status": f"failed: {problem}" if problem else "ok",
        "edge_m": sizing.edge_m,
        "buffer_m": sizing.buffer_m if scheme in BUFFERED else 0.0,
        "reason": sizing.reason,
    }
    if plan is None:
        return row
    used = plan.fold >= 0
    return row | {
        "n_folds": plan.n_folds,
        "n_blocks": len(np.unique(plan.block_id[used])),
        "n_dropped": int((plan.fold == DROPPED).sum()),
    }
