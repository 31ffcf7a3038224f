"""The rows that a cell of the adapter's study leaves.

Belongs here: columns and values of `out_probe__adapters` and `out_probe__adapter_confusions`. Does not: running cells
(`adapters.py`), the schemas (`adapter_schemas.py`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.metrics import mean_iou, overall_accuracy, per_class_iou
from transforms.pretraining.chips import Chips
from transforms.pretraining.head import count_weights
from transforms.pretraining.study import AdapterCell, CellScores
from warehouse.chips import SCHEME, adapter_settings
from warehouse.provenance import code_version
from warehouse.sections import AdapterArm
from warehouse.store import Warehouse, evaluate_settings

#: What `stratum_value` names.
STRATUM = "test_region"


@dataclass(frozen=True)
class ArmData:
    """Chips of one arm.

    Attributes:
        arm: whose vectors they hold.
        chips: the chips.
        digest: hash of all that they hold.
        is_simulated: True if anything here is.
    """

    arm: AdapterArm
    chips: Chips
    digest: str
    is_simulated: bool


def shared_columns(
    warehouse: Warehouse, year: int, data: ArmData, cell: AdapterCell, scores: CellScores, key: str
) -> dict[str, Any]:
    """Give what all rows of a cell have in common."""
    settings = evaluate_settings(warehouse)
    product = warehouse.pixel_product if data.arm == "native_pixel" else warehouse.patch_product
    assert product is not None  # the settings demand it for the arm
    label = warehouse.label(settings.label)
    width = adapter_settings(warehouse).width
    return {
        "run_id": key,
        "code_rev": code_version(),
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": "T5",
        "label_source": settings.label,
        "label_year": label.years.get(year),
        "region": cell.region,
        "scheme": SCHEME,
        "fold": scores.fold,
        "split": "test",
        "arm": data.arm,
        "source_product": product.name,
        "dims": data.chips.dims,
        "probe": f"adapter_{cell.head}",
        "probe_params": count_weights(cell.head, data.chips.dims, width, len(label.classes)),
        "init": cell.init,
        "budget_kind": "percent",
        "budget": cell.budget_pct,
        "n_labels": scores.n_labels,
        "seed": cell.seed,
        "stratum": STRATUM,
        "is_simulated": data.is_simulated,
    }


def score_rows(scores: CellScores, names: Sequence[str], status: str) -> Iterator[dict[str, Any]]:
    """Score each region on its confusions summed over blocks; a region without any is one row with the reason.

    Args:
        scores: of one cell.
        names: of the classes.
        status: of what was scored.

    Yields:
        Rows of `out_probe__adapters` without the shared columns.
    """
    for region in scores.regions:
        if region.problem:
            yield {"stratum_value": region.region, "status": f"skipped: {region.problem}"}
            continue
        total = region.confusions.sum(axis=0)
        shared = {
            "stratum_value": region.region,
            "status": status,
            "n_units": int(total.sum()),
            "n_blocks": len(region.block_id),
        }
        yield {**shared, "metric": "mean_iou", "averaging": "macro", "value": float(mean_iou(total))}
        yield {**shared, "metric": "overall_accuracy", "value": float(overall_accuracy(total))}
        for class_id, value in enumerate(per_class_iou(total)):
            one = {"class_id": class_id, "class_name": names[class_id], "support": int(total[class_id].sum())}
            yield {**shared, **one, "metric": "iou", "averaging": "none", "value": float(value)}


def confusion_rows(scores: CellScores) -> Iterator[dict[str, Any]]:
    """Give rows of `out_probe__adapter_confusions` without the shared columns; zero counts are left out."""
    for region in scores.regions:
        for slot, truth, pred in np.argwhere(region.confusions):
            yield {
                "stratum_value": region.region,
                "block_id": int(region.block_id[slot]),
                "truth": int(truth),
                "pred": int(pred),
                "n": int(region.confusions[slot, truth, pred]),
            }
