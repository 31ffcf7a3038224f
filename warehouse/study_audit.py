"""The audit of a year's folds: rows of `out_probe__fold_audit`.

Belongs here: which units, vectors and ranges the checks are given. Does not: the checks (`transforms/fold_audit.py`),
the folds themselves (`study_folds.py`), Dagster.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from transforms.cell_rows import fill_columns
from transforms.evidence_units import Units
from transforms.fold_audit import AuditRow, audit_plan, audit_sizes
from transforms.variogram import VariogramRange
from warehouse.features import FeatureReader, FloatMatrix
from warehouse.store import Warehouse, evaluate_settings
from warehouse.study_folds import BUFFERED, StoredFolds, native_features, read_folds, read_units


def make_fold_audit(warehouse: Warehouse, year: int) -> pa.Table:
    """Check the stored folds of a year, on all labelled units and their native vectors."""
    stored = read_folds(warehouse, year)
    units = {kind: item.units for kind, item in read_units(warehouse, year).items()}
    reader = FeatureReader(warehouse, year)
    features = {kind: native_features(warehouse, reader, year, one) for kind, one in units.items()}
    rows: list[dict[str, Any]] = []
    for rule in stored.rules.to_pylist():
        shared = {name: rule[name] for name in ("unit", "scheme", "is_simulated")}
        found = _audit_rule(warehouse, stored, rule, units[rule["unit"]], features[rule["unit"]])
        rows += [{**asdict(row), **shared} for row in found]
    label = {"label_source": evaluate_settings(warehouse).label}
    return fill_columns(rows, label, warehouse.specs["out_probe__fold_audit"].schema)


def _audit_rule(
    warehouse: Warehouse, stored: StoredFolds, rule: dict[str, Any], units: Units, features: FloatMatrix | None
) -> list[AuditRow]:
    """Check one scheme of one kind of unit; one that could not be planned has a row that says why."""
    if rule["status"] != "ok":
        return [AuditRow(None, "planned", 0.0, 1.0, "failed", rule["status"].removeprefix("failed: "))]
    settings = evaluate_settings(warehouse)
    ranges = {
        what: VariogramRange(rule[f"{what}_range_m"], rule[f"is_{what}_range_found"], "", 0.0)
        for what in ("label", "feature")
        if rule[f"{what}_range_m"] is not None
    }
    return [
        AuditRow(None, "planned", 1.0, 1.0, "ok", rule["reason"]),
        *audit_sizes(rule["edge_m"], rule["buffer_m"], ranges, has_buffer=rule["scheme"] in BUFFERED),
        *audit_plan(
            units,
            stored.plan(units, rule["scheme"]),
            features,
            tuple(warehouse.label(settings.label).classes),
            buffer_m=rule["buffer_m"],
            seed=settings.seed,
        ),
    ]
