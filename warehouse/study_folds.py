"""The folds of an evaluation: the rules that settings and products give, and the plans of all schemes.

Belongs here: which buffer and blocks a year's folds take, rows of `out_probe__folds`. Does not: how folds are dealt
(`transforms/folds.py`), cells (`study.py`), Dagster.
"""

from __future__ import annotations

import pyarrow as pa

from transforms.evidence_units import FoldRules, UnitKind, folds_table, plan_schemes
from transforms.upsampling.operators import UPSAMPLERS
from warehouse.features import read_labelled_units
from warehouse.store import Warehouse, evaluate_settings


def fold_rules(warehouse: Warehouse) -> FoldRules:
    """Give the fold rules; outside diagnostics the buffer is never below what a product's vectors look at.

    That is the model's context, and for patches as far as the upsampling operators reach (one side for bilinear): a
    nearer training pixel would share a patch vector with a test pixel.
    """
    settings = evaluate_settings(warehouse)
    pair = [p for p in (warehouse.pixel_product, warehouse.patch_product) if p is not None]
    sides = max(UPSAMPLERS[name].reach for name in ("bilinear", *warehouse.settings.upsample.operators))
    reach = [max(product.context_m, sides * (product.patch_m or 0.0)) for product in pair]
    buffer_m = settings.buffer_m if settings.diagnostic else max([settings.buffer_m, *reach])
    return FoldRules(settings.block_edge_m, buffer_m, settings.n_folds, settings.seed)


def make_folds(warehouse: Warehouse, year: int) -> pa.Table:
    """Plan the folds of all labelled patches and sampled pixels of a year, blocks shared by both."""
    settings = evaluate_settings(warehouse)
    # both grains whatever the tasks: blocks must not be dealt otherwise because another question is asked too
    kinds: tuple[UnitKind, ...] = ("patch", "pixel")
    read = {kind: read_labelled_units(warehouse, kind, settings.label, year) for kind in kinds}
    labelled = {kind: item for kind, item in read.items() if item is not None and len(item.units)}
    found = plan_schemes([item.units for item in labelled.values()], settings.schemes, fold_rules(warehouse))
    tables = [
        folds_table(labelled[kind].units, plan, settings.label, is_simulated=labelled[kind].is_simulated)
        for (kind, _), plan in found.plans.items()
    ]
    if not tables:
        return warehouse.specs["out_probe__folds"].schema.empty_table()
    return pa.concat_tables(tables)
