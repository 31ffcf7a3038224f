"""Rows of `out_probe__oracles` and `out_probe__oracle_confusions`.

Belongs here: scores of an oracle's counts, what each score bounds, rows that say why an oracle was not run. Does not:
counting (`tally.py`), storage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.metrics import METRICS, PER_CLASS_METRICS
from transforms.oracles.agreement import Agreement
from transforms.oracles.tally import BlockCounts, OracleKey

Row = dict[str, Any]

#: What a score is a bound for: arms that give one class to each block of `scale_m`. Nothing bounds an upsampled arm.
CONSTANT_ARMS, NO_ARM = "constant-label arms", "none"
#: Scores that such arms cannot pass. C0 and C4 are exact for accuracy; C1 is what coordinate ascent finds for mIoU.
_BOUNDS = {("C0", "overall_accuracy"), ("C4", "overall_accuracy"), ("C1", "mean_iou")}
_MACRO = ("macro_f1", "mean_iou", "balanced_accuracy")


def oracle_rows(key: OracleKey, found: BlockCounts, class_names: Sequence[str]) -> list[Row]:
    """Score one oracle on its confusions summed over blocks: every metric, then every class.

    Args:
        key: the oracle.
        found: confusions per block (b, k, k).
        class_names: the k names.

    Returns:
        Rows with the keys oracle, scale_m, other_source, metric, averaging, class_id, class_name, value, n_units,
        n_blocks, bound_for, status; one row with a status where no cell was counted. A class that does not occur has a
        NULL value.
    """
    total = found.counts.sum(axis=0)
    if not total.sum():
        return [skipped_row(key, "no cell with a label")]
    shared = _shared(key) | {
        "n_units": int(total.sum()),
        "n_blocks": int((found.counts.sum(axis=(1, 2)) > 0).sum()),
        "status": "ok",
    }
    rows: list[Row] = []
    for name, score in METRICS.items():
        averaging = "macro" if name in _MACRO else None
        rows.append(shared | _valued(key, name, float(score(total))) | {"averaging": averaging})
    for name, score in PER_CLASS_METRICS.items():
        rows += [
            shared
            | _valued(key, name, float(value))
            | {"averaging": "none", "class_id": class_id, "class_name": class_names[class_id]}
            for class_id, value in enumerate(score(total))
        ]
    return rows


def agreement_rows(key: OracleKey, found: BlockCounts, agreement: Agreement, class_names: Sequence[str]) -> list[Row]:
    """Score C6 on the shared classes, and say which classes are not shared and how much ground has them.

    Args:
        key: the oracle.
        found: pairs of classes per block, as counted.
        agreement: what `compare_sources` made of them.
        class_names: names of the scored source.

    Returns:
        Rows as `oracle_rows` gives them, and one row per class that is not shared: metric `unshared_share`, `value` its
        share of the cells that both sources label.
    """
    if len(agreement.shared) < 2:
        reason = f"found {len(agreement.shared)} classes of the same name, expected two or more"
        return [skipped_row(key, f"{reason}. Give both sources the same class names"), *_unshared_rows(key, agreement)]
    rows = oracle_rows(key, BlockCounts(found.block_id, agreement.confusions), class_names)
    return rows + _unshared_rows(key, agreement)


def map_row(key: OracleKey, row: Row) -> Row:
    """Complete a row of `map_tally.MapTally`: whose it is, and that it bounds nothing."""
    return _shared(key) | {"bound_for": NO_ARM, "status": "ok"} | row


def skipped_row(key: OracleKey, reason: str) -> Row:
    """Say why an oracle was not run; never an absent row."""
    return _shared(key) | {"bound_for": NO_ARM, "status": f"skipped: {reason}"}


def confusion_table(found: Mapping[OracleKey, BlockCounts]) -> pa.Table:
    """Give the counts of all oracles as rows; zero counts are left out.

    Args:
        found: confusions per block (b, k, k) by oracle.

    Returns:
        Arrow table with oracle, scale_m, other_source, block_id, truth, pred, n.
    """
    tables = [_count_table(key, counts) for key, counts in found.items()]
    return pa.concat_tables([_count_table(OracleKey("C0"), BlockCounts(_NO_BLOCK, _NO_COUNT)), *tables])


_NO_BLOCK, _NO_COUNT = np.empty(0, np.int64), np.empty((0, 1, 1), np.int64)


def _count_table(key: OracleKey, found: BlockCounts) -> pa.Table:
    block, truth, pred = np.nonzero(found.counts)
    n = len(block)
    return pa.table(
        {
            "oracle": pa.array([key.oracle] * n, pa.string()),
            "scale_m": pa.array([key.scale_m] * n, pa.float64()),
            "other_source": pa.array([key.other_source] * n, pa.string()),
            "block_id": pa.array(found.block_id[block], pa.int64()),
            "truth": pa.array(truth, pa.int16()),
            "pred": pa.array(pred, pa.int16()),
            "n": pa.array(found.counts[block, truth, pred], pa.int64()),
        }
    )


def _unshared_rows(key: OracleKey, agreement: Agreement) -> list[Row]:
    return [
        _shared(key)
        | _valued(key, "unshared_share", item.share)
        | {"averaging": "none", "class_name": item.name}
        | {"status": f"not shared: only in {'this source' if item.is_own else str(key.other_source)}"}
        for item in agreement.unshared
    ]


def _shared(key: OracleKey) -> Row:
    return {"oracle": key.oracle, "scale_m": key.scale_m, "other_source": key.other_source}


def _valued(key: OracleKey, metric: str, value: float) -> Row:
    """Give metric, value (NULL where it is undefined) and what the value bounds."""
    bound_for = CONSTANT_ARMS if (key.oracle, metric) in _BOUNDS else NO_ARM
    return {"metric": metric, "value": None if np.isnan(value) else value, "bound_for": bound_for}
