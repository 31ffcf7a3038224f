"""Gains of the adapter's starts over a random one, from stored confusions.

Belongs here: pairing of cells, the rows of `out_probe__adapter_gains`. Does not: intervals and verdict rules
(`transforms/inference.py`), training.

Confusions are summed over the seeds that both starts have: each seed holds out another fold, so the sum tests every
block. Beside each pair of regions stands the sum over all regions tested at home, which has the most blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arms import CLAIMS
from transforms.block_statistics import pair_blocks, statistics_of
from transforms.cell_rows import fill_columns
from transforms.errors import TooFewUnitsError
from transforms.inference import contrast_arms, holm
from transforms.metrics import METRICS
from warehouse.adapter_rows import STRATUM
from warehouse.adapters import CONFUSIONS
from warehouse.store import Warehouse, any_simulated, evaluate_settings

GAINS = "out_probe__adapter_gains"
REFERENCE = "random_init"
#: Region of the rows that sum over regions, each tested at home.
EVERY_REGION = "all"
_METRIC = "mean_iou"
_GROUP = ("label_source", "scheme", "arm", "probe", "budget_kind", "budget")


def make_gains(warehouse: Warehouse, year: int) -> pa.Table:
    """Compare every start with the random one: same head, budget, regions and seeds.

    The margin is that of question 2; p values of all gains together are corrected (Holm).
    """
    confusions = warehouse.read_cells(CONFUSIONS, year)
    rows = [row for part in _scopes(confusions) for row in _compare(warehouse, part)]
    adjusted = holm([row["p"] for row in rows])
    rows = [{**row, "p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]
    shared = {
        "task": "T5",
        "reference": REFERENCE,
        "stratum": STRATUM,
        "metric": _METRIC,
        "margin": CLAIMS["T5"].margin,
        "is_simulated": any_simulated(warehouse),
    }
    return fill_columns(rows, shared, warehouse.specs[GAINS].schema)


def _scopes(confusions: pa.Table) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Give the confusions of each pair of regions, and of all regions at home where there are several."""
    at_home = confusions.filter(pc.field("region") == pc.field("stratum_value"))
    for keys, rows in _split(confusions, (*_GROUP, "region", "stratum_value")):
        yield keys, rows
    if len(at_home["region"].unique()) > 1:
        for keys, rows in _split(at_home, _GROUP):
            yield {**keys, "region": EVERY_REGION, "stratum_value": EVERY_REGION}, rows


def _split(rows: pa.Table, names: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Split rows by the values of columns, in sorted order."""
    groups = rows.group_by(list(names)).aggregate([]).sort_by([(name, "ascending") for name in names])
    for keys in groups.to_pylist():
        is_mine = np.logical_and.reduce([pc.equal(rows[name], keys[name]).to_numpy() for name in names])
        yield keys, rows.filter(pa.array(is_mine))


def _compare(warehouse: Warehouse, part: tuple[dict[str, Any], pa.Table]) -> Iterator[dict[str, Any]]:
    """Compare the starts of one scope with the random one."""
    keys, rows = part
    settings = evaluate_settings(warehouse)
    n_classes = len(warehouse.label(settings.label).classes)
    reference = rows.filter(pc.field("init") == REFERENCE)
    for init in sorted(set(rows["init"].to_pylist()) - {REFERENCE}):
        counts = rows.filter(pc.field("init") == init)
        arm, other, n_seeds = _pair_seeds(counts, reference)
        row = {**keys, "init": init, "n_seeds": n_seeds, "p": float("nan"), "status": "ok"}
        paired = pair_blocks(arm, other, statistics_of("class", _METRIC)[0], n_classes)
        try:
            found = contrast_arms(
                *paired, metric=_METRIC, margin=CLAIMS["T5"].margin, rng=np.random.default_rng(settings.seed)
            )
        except TooFewUnitsError as error:
            yield {**row, "status": f"skipped: {error}"}
            continue
        names = ("delta", "lo", "hi", "p", "n_blocks", "block_wins", "method", "verdict")
        row |= {name: getattr(found, name) for name in names}
        row |= {"arm_value": float(METRICS[_METRIC](paired[0].sum(axis=0)))}
        row |= {"reference_value": float(METRICS[_METRIC](paired[1].sum(axis=0)))}
        if settings.diagnostic:
            row |= {"status": "diagnostic", "verdict": "inconclusive", "note": settings.diagnostic}
        yield row


def _pair_seeds(arm: pa.Table, reference: pa.Table) -> tuple[pa.Table, pa.Table, int]:
    """Keep the (region, seed) that both have: a seed that one start could not run must not weigh in the other."""

    def runs(rows: pa.Table) -> set[tuple[str, int]]:
        return set(zip(rows["region"].to_pylist(), rows["seed"].to_pylist(), strict=True))

    both = runs(arm) & runs(reference)

    def keep(rows: pa.Table) -> pa.Table:
        pairs = zip(rows["region"].to_pylist(), rows["seed"].to_pylist(), strict=True)
        return rows.filter(pa.array([pair in both for pair in pairs], pa.bool_()))

    return keep(arm), keep(reference), len({seed for _, seed in both})
