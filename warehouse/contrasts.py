"""Contrasts: every arm against the native one of its task, from stored counts and sums per block.

Belongs here: which stored cells are paired, which scheme may carry a verdict. Does not: the statistics
(`transforms/block_statistics.py`), intervals and verdict rules (`transforms/inference.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.arms import ARMS, CLAIMS, COMPARISONS, Claim, Comparison
from transforms.block_statistics import BlockStatistic, pair_blocks, statistics_of
from transforms.cell_rows import fill_columns
from transforms.errors import TooFewUnitsError
from transforms.fold_plan import ANSWERING_SCHEMES, Scheme
from transforms.inference import contrast_sums, holm
from transforms.tasks import TASKS, Task, primary_probe
from warehouse.sections import EvaluateSettings
from warehouse.store import Warehouse, any_simulated, evaluate_settings, list_tasks
from warehouse.task_data import CHANGE_NAMES

_SOURCES = ("out_probe__confusions", "out_probe__sums")
Row = dict[str, Any]


@dataclass(frozen=True)
class _Setting:
    """What paired cells share: all but the arm."""

    task: Task
    scheme: Scheme
    probe: str
    budget_kind: str
    budget: float
    purity_min: float | None
    is_default: bool


#: Stored rows by what cells share, and by arm.
_Cells = Mapping[_Setting, Mapping[str, pa.Table]]


def make_contrasts(warehouse: Warehouse, year: int) -> pa.Table:
    """Compare every arm with the native one of its task, from stored counts and sums per block.

    The primary contrast of a question stands alone, because it was fixed in advance; all others of a task are
    corrected together (Holm), over schemes, probes, budgets, purities and metrics.
    """
    settings = evaluate_settings(warehouse)
    cells = _read_cells(warehouse, year)
    rows: list[Row] = []
    for task in list_tasks(warehouse):
        family = [row for shared in cells if shared.task == task for row in _contrast_all(warehouse, cells, shared)]
        if task in CLAIMS and _is_asked(warehouse) and not any(row["is_primary"] for row in family):
            rows.append(_unanswered(warehouse, CLAIMS[task]))
        rows += [{**row, "p_holm": row["p"]} for row in family if row["is_primary"]]
        secondary = [row for row in family if not row["is_primary"]]
        adjusted = holm([row["p"] for row in secondary])
        rows += [{**row, "p_holm": float(p)} for row, p in zip(secondary, adjusted, strict=True)]
    shared_columns = {"label_source": settings.label, "is_simulated": any_simulated(warehouse)}
    return fill_columns(rows, shared_columns, warehouse.specs["out_probe__contrasts"].schema)


def _is_asked(warehouse: Warehouse) -> bool:
    """Tell whether a claim can be asked at all: it compares the two products."""
    return warehouse.patch_product is not None and warehouse.pixel_product is not None


def _unanswered(warehouse: Warehouse, claim: Claim) -> Row:
    """Give the row of a claim that could not be scored; a question that was asked is never without one."""
    settings = evaluate_settings(warehouse)
    scheme = answering_scheme(settings)
    reason = (
        "no fold scheme of the settings may answer: add block"
        if scheme is None
        else f"{claim.primary_arm} and {claim.reference} were not both scored; out_probe__metrics says why"
    )
    return {
        "question": claim.question,
        "task": claim.task,
        "scheme": scheme or settings.schemes[0],
        "probe": primary_probe(claim.task),
        "budget_kind": "percent",
        "budget": 100.0,
        "is_default": True,
        "metric": claim.metric,
        "arm": claim.primary_arm,
        "reference": claim.reference,
        "margin": claim.margin,
        "verdict": "inconclusive",
        "is_primary": True,
        "status": f"failed: {reason}",
        "note": reason,
    }


def answering_scheme(settings: EvaluateSettings) -> Scheme | None:
    """Give the scheme that answers the questions: the first whose folds resample many places.

    Random folds leak; leave-one-region-out and transfer have as many independent places as regions. Bands of longitude
    are made of blocks, and blocks are what is resampled.
    """
    return next((scheme for scheme in settings.schemes if scheme in ANSWERING_SCHEMES), None)


def diagnostic_note(settings: EvaluateSettings, scheme: Scheme) -> str:
    """Say why a scheme cannot carry a verdict; empty where it can."""
    if settings.diagnostic:
        return settings.diagnostic
    return "random folds leak: neighbours of test units are trained on" if scheme == "random" else ""


def _no_verdict_note(scheme: Scheme) -> str:
    """Say why an interval over blocks is no verdict here; empty where it is one."""
    if scheme in ANSWERING_SCHEMES or scheme == "random":
        return ""
    return "the independent places are the regions, too few to resample: no verdict from blocks"


def _read_cells(warehouse: Warehouse, year: int) -> _Cells:
    """Read the counts and sums of all cells, a file each."""
    label = evaluate_settings(warehouse).label
    found: dict[_Setting, dict[str, pa.Table]] = defaultdict(dict)
    for source in _SOURCES:
        for table in warehouse.iterate_cells(source, year):
            if not table.num_rows or table["label_source"][0].as_py() != label:
                continue
            first = {name: table[name][0].as_py() for name in (*_Setting.__dataclass_fields__, "arm")}
            arm = first.pop("arm")
            found[_Setting(**first)][arm] = table
    return found


def _contrast_all(warehouse: Warehouse, cells: _Cells, shared: _Setting) -> Iterator[Row]:
    """Compare all arms that share a setting with the native one under the same setting."""
    claim = COMPARISONS[shared.task]
    for name in [name for name in ARMS if name in cells[shared] and name != claim.reference]:
        # a control with a probe of its own stands beside the native arm under the task's probe
        probe = shared.probe if ARMS[name].probe is None else primary_probe(shared.task)
        reference = cells.get(_with_probe(shared, probe), {}).get(claim.reference)
        if reference is None:
            continue
        for statistic in statistics_of(TASKS[shared.task].target, claim.metric):
            row = _contrast(warehouse, shared, claim, name, (cells[shared][name], reference), statistic)
            if row is not None:
                yield row


def _contrast(
    warehouse: Warehouse,
    shared: _Setting,
    claim: Comparison,
    arm: str,
    pair: tuple[pa.Table, pa.Table],
    statistic: BlockStatistic,
) -> Row | None:
    """Compare two arms by one statistic; None where the cells hold nothing for it (no tuned thresholds)."""
    settings = evaluate_settings(warehouse)
    sums = pair_blocks(*pair, statistic, _n_outputs(warehouse, shared.task))
    note = diagnostic_note(settings, shared.scheme) or _no_verdict_note(shared.scheme)
    row: Row = {
        **shared.__dict__,
        "question": claim.question,
        "metric": statistic.metric,
        "threshold_rule": statistic.threshold_rule,
        "k": statistic.k,
        "arm": arm,
        "reference": claim.reference,
        "margin": claim.margin,
        "is_primary": _is_primary(settings, shared, arm, statistic),
        "status": "diagnostic" if diagnostic_note(settings, shared.scheme) else "ok",
        "note": note,
    }
    if not len(sums[0]):
        return None
    row |= {
        "arm_value": float(statistic.score(sums[0].sum(axis=0))),
        "reference_value": float(statistic.score(sums[1].sum(axis=0))),
    }
    try:
        found = contrast_sums(
            *sums,
            statistic.score,
            units=statistic.units,
            margin=claim.margin,
            rng=np.random.default_rng(settings.seed),
            higher_is_better=statistic.higher_is_better,
        )
    except TooFewUnitsError as error:
        return {**row, "p": float("nan"), "verdict": "inconclusive", "status": f"failed: {error}"}
    names = ("delta", "lo", "hi", "p", "n_blocks", "block_wins", "method")
    values = {name: getattr(found, name) for name in names}
    return {**row, **values, "verdict": "inconclusive" if note else found.verdict}


def _is_primary(settings: EvaluateSettings, shared: _Setting, arm: str, statistic: BlockStatistic) -> bool:
    """Tell whether a contrast is the one that was fixed in advance."""
    claim = CLAIMS.get(shared.task)
    return (
        claim is not None
        and (arm, statistic.metric) == (claim.primary_arm, claim.metric)
        and shared.scheme == answering_scheme(settings)
        and shared.is_default
    )


def _n_outputs(warehouse: Warehouse, task: Task) -> int:
    """Give the number of classes, labels or values of a task."""
    settings = evaluate_settings(warehouse)
    if task == "T7":
        return len(CHANGE_NAMES)
    if task == "T8":
        return len(warehouse.label(str(settings.values)).columns)
    return len(warehouse.label(settings.label).classes)


def _with_probe(shared: _Setting, probe: str) -> _Setting:
    return replace(shared, probe=probe)
