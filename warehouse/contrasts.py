"""Contrasts: every arm against the native one of its task, from stored confusions.

Belongs here: pairing stored confusions, which scheme may carry a verdict. Does not: intervals and verdict rules
(`transforms/inference.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arms import ARMS, CLAIMS, Claim
from transforms.evaluation import fill_columns, stack_confusions
from transforms.folds import Scheme
from transforms.inference import contrast_arms, holm
from transforms.metrics import METRICS
from warehouse.sections import EvaluateSettings
from warehouse.store import Warehouse, any_simulated, evaluate_settings


def make_contrasts(warehouse: Warehouse, year: int) -> pa.Table:
    """Compare every arm with the native one of its task, from stored confusions.

    The primary contrast of a question stands alone, because it was fixed in advance; all others of a task are
    corrected together (Holm), over schemes and metrics.
    """
    settings = evaluate_settings(warehouse)
    confusions = warehouse.read_cells("out_probe__confusions", year)
    n_classes = len(warehouse.label(settings.label).classes)
    rows: list[dict[str, Any]] = []
    for task in settings.tasks:
        claim = CLAIMS[task]
        family = [
            row
            for scheme in settings.schemes
            for metric in dict.fromkeys([claim.metric, "overall_accuracy"])
            for row in _contrast_family(warehouse, confusions, claim, scheme, metric, n_classes)
        ]
        rows += [{**row, "p_holm": row["p"]} for row in family if row["is_primary"]]
        secondary = [row for row in family if not row["is_primary"]]
        adjusted = holm([row["p"] for row in secondary])
        rows += [{**row, "p_holm": float(p)} for row, p in zip(secondary, adjusted, strict=True)]
    shared = {"label_source": settings.label, "budget": 100.0, "is_simulated": any_simulated(warehouse)}
    return fill_columns(rows, shared, warehouse.specs["out_probe__contrasts"].schema)


def answering_scheme(settings: EvaluateSettings) -> Scheme | None:
    """Give the scheme that answers the questions: the first whose folds resample many places.

    Random folds leak; leave-one-region-out and transfer have as many independent places as regions. Bands of longitude
    are made of blocks, and blocks are what is resampled.
    """
    return next((scheme for scheme in settings.schemes if scheme in ("block", "given", "longitude")), None)


def _contrast_family(
    warehouse: Warehouse, confusions: pa.Table, claim: Claim, scheme: Scheme, metric: str, n_classes: int
) -> list[dict[str, Any]]:
    settings = evaluate_settings(warehouse)
    here = confusions.filter((pc.field("task") == claim.task) & (pc.field("scheme") == scheme))
    reference = here.filter(pc.field("arm") == claim.reference)
    rows = []
    for arm in [arm for arm in ARMS.values() if arm.task == claim.task and arm.name != claim.reference]:
        counts = here.filter(pc.field("arm") == arm.name)
        if not counts.num_rows or not reference.num_rows:
            continue
        paired = stack_confusions(counts, reference, n_classes)
        rng = np.random.default_rng(settings.seed)
        found = contrast_arms(*paired, metric=metric, margin=claim.margin, rng=rng)
        is_primary = arm.name == claim.primary_arm and metric == claim.metric and scheme == answering_scheme(settings)
        note = diagnostic_note(settings, scheme)
        rows.append(
            {
                **{
                    name: getattr(found, name)
                    for name in ("delta", "lo", "hi", "p", "n_blocks", "block_wins", "method")
                },
                "question": claim.question,
                "task": claim.task,
                "scheme": scheme,
                "probe": arm.probe,
                "metric": metric,
                "arm": arm.name,
                "reference": claim.reference,
                "arm_value": float(METRICS[metric](paired[0].sum(axis=0))),
                "reference_value": float(METRICS[metric](paired[1].sum(axis=0))),
                "margin": claim.margin,
                "verdict": "inconclusive" if note else found.verdict,
                "is_primary": is_primary,
                "status": "diagnostic" if note else "ok",
                "note": note,
            }
        )
    return rows


def diagnostic_note(settings: EvaluateSettings, scheme: Scheme) -> str:
    """Say why a scheme cannot carry a verdict; empty where it can."""
    if settings.diagnostic:
        return settings.diagnostic
    return "random folds leak: neighbours of test units are trained on" if scheme == "random" else ""
