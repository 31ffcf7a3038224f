"""One evaluation cell: cross-validated predictions of an arm, scored per fold and per spatial block.

Belongs here: running a probe over a fold plan, and the rows of `out_probe__*` that come from it. Does not:
where features come from, files, clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_limits

from transforms.errors import TooFewUnitsError
from transforms.folds import FoldPlan, fold_split
from transforms.metrics import (
    METRICS,
    confusion,
    confusion_by_block,
    ece,
    log_loss,
    per_class_f1,
    per_class_iou,
)
from transforms.probes.base import Probe
from transforms.probes.registry import ProbeOptions, build_probe

FloatArray = npt.NDArray[np.float32]
#: Metrics that are means over classes.
_MACRO = ("macro_f1", "balanced_accuracy", "mean_iou")


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are trained.

    Attributes:
        c_grid: inverse regularisation strengths of the logistic probe.
        max_train_units: cap on training units per fold.
        seed: of draws and probes.
        threads: folds trained at once; results do not depend on it.
    """

    c_grid: tuple[float, ...]
    max_train_units: int
    seed: int
    threads: int = 1


@dataclass(frozen=True)
class FoldFeatures:
    """Features of one fold.

    Attributes:
        train: float32 (n_train, d).
        test: float32 (n_test, d).
        operator: what was fitted on the training units to make them, or None.
    """

    train: FloatArray
    test: FloatArray
    operator: object | None = None


class Features(Protocol):
    """Where the features of an arm come from; whatever is fitted is fitted on the training units."""

    @property
    def threads(self) -> int | None:
        """Folds that may be made at once; None = any number."""
        ...

    def of_fold(self, fold: int, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> FoldFeatures:
        """Give the features of the training and test units of a fold (positions)."""
        ...


@dataclass(frozen=True)
class StoredFeatures:
    """Features that were not fitted: the same rows in every fold.

    Attributes:
        values: float32 (n, d).
    """

    values: FloatArray
    threads: int | None = None

    def of_fold(self, fold: int, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> FoldFeatures:
        """Take rows."""
        return FoldFeatures(self.values[train], self.values[test])


@dataclass(frozen=True)
class FoldOutcome:
    """One fold of a cell.

    Attributes:
        fold: number of the fold.
        test: int64 (m,) positions of the test units.
        pred: int16 (m,) predicted class ids.
        proba: float32 (m, k).
        n_train: training units used.
        probe: the fitted probe.
        dims: width of the features.
        operator: what was fitted to make them, or None.
    """

    fold: int
    test: npt.NDArray[np.int64]
    pred: npt.NDArray[np.int16]
    proba: FloatArray
    n_train: int
    probe: Probe
    dims: int = 0
    operator: object | None = None


@dataclass(frozen=True)
class CellOutcome:
    """All folds of a cell, or why there are none.

    Attributes:
        folds: outcomes, empty where the cell failed.
        problem: why it failed; empty where it did not.
    """

    folds: tuple[FoldOutcome, ...]
    problem: str


def run_cell(
    features: Features,
    labels: npt.NDArray[np.int16],
    plan: FoldPlan,
    probe: str,
    n_classes: int,
    settings: ProbeSettings,
) -> CellOutcome:
    """Train and test one arm in every fold.

    Everything that is fitted is fitted on the training units of the fold. Where a fold has more than
    `max_train_units`, a uniform draw is taken, the same for every arm.

    Args:
        features: of the n units.
        labels: int16 (n,) class ids, none negative.
        plan: folds of the n units.
        probe: key in `probes.registry.PROBES`.
        n_classes: k.
        settings: how probes are trained.

    Returns:
        The outcome; a fold that cannot be run makes the whole cell a failed one, with the reason.
    """

    def run_fold(fold: int) -> FoldOutcome:
        train, test = fold_split(plan, fold)
        train = _draw(train, settings, fold)
        found = features.of_fold(fold, train, test)
        options = ProbeOptions(c_grid=settings.c_grid)
        model = build_probe(probe, "class", n_classes, seed=settings.seed, options=options)
        model.fit(found.train, labels[train], groups=plan.block_id[train])
        proba = model.predict_proba(found.test)
        pred = proba.argmax(axis=1).astype(np.int16)
        return FoldOutcome(fold, test, pred, proba, len(train), model, found.train.shape[1], found.operator)

    # one BLAS thread each: the products are small, and with more the folds would wait for each other
    threads = min(settings.threads, features.threads or settings.threads)
    try:
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            folds = tuple(pool.map(run_fold, range(plan.n_folds)))
    except TooFewUnitsError as error:
        return CellOutcome((), str(error))
    return CellOutcome(folds, "")


def metric_rows(
    outcome: CellOutcome,
    labels: npt.NDArray[np.int16],
    plan: FoldPlan,
    class_names: Sequence[str],
) -> list[dict[str, Any]]:
    """Score a cell: per fold, and once on the confusions summed over folds (`fold` NULL).

    Returns:
        Rows with the keys fold, metric, averaging, value, n_units, n_blocks, support, class_id, class_name.
    """
    k = len(class_names)
    rows: list[dict[str, Any]] = []
    total = np.zeros((k, k), np.int64)
    for item in outcome.folds:
        truth = labels[item.test]
        counts = confusion(truth, item.pred, k)
        total += counts
        size = {"n_units": len(item.test), "n_blocks": len(np.unique(plan.block_id[item.test]))}
        rows += [_row(item.fold, name, float(score(counts)), size) for name, score in METRICS.items()]
        rows.append(_row(item.fold, "log_loss", log_loss(truth, item.proba), size))
        rows.append(_row(item.fold, "ece", ece(truth, item.proba), size))
    tested = plan.fold >= 0
    size = {"n_units": int(total.sum()), "n_blocks": len(np.unique(plan.block_id[tested]))}
    rows += [_row(None, name, float(score(total)), size) for name, score in METRICS.items()]
    for name, per_class in (("f1", per_class_f1(total)), ("iou", per_class_iou(total))):
        for class_id, value in enumerate(per_class):
            row = _row(None, name, float(value), size)
            row |= {"averaging": "none", "class_id": class_id, "class_name": class_names[class_id]}
            row["support"] = int(total[class_id].sum())
            rows.append(row)
    return rows


def confusion_rows(outcome: CellOutcome, labels: npt.NDArray[np.int16], plan: FoldPlan, n_classes: int) -> pa.Table:
    """Count (truth, prediction) pairs per fold and spatial block; zero counts are left out.

    Returns:
        Arrow table with fold, block_id, truth, pred, n.
    """
    columns: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in ("fold", "block_id", "truth", "pred", "n")}
    for item in outcome.folds:
        blocks, counts = confusion_by_block(labels[item.test], item.pred, plan.block_id[item.test], n_classes)
        slot, truth, pred = np.nonzero(counts)
        for name, values in (
            ("fold", np.full(len(slot), item.fold)),
            ("block_id", blocks[slot]),
            ("truth", truth),
            ("pred", pred),
            ("n", counts[slot, truth, pred]),
        ):
            columns[name].append(values)
    arrays = {
        name: np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)
        for name, parts in columns.items()
    }
    return pa.table({name: _narrow(name, values) for name, values in arrays.items()})


def stack_confusions(
    arm: pa.Table, reference: pa.Table, n_classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Turn rows of `out_probe__confusions` of two arms into paired arrays, summed over folds.

    Returns:
        Two int64 (b, k, k), the same blocks in the same order.
    """
    blocks = np.union1d(arm["block_id"].to_numpy(), reference["block_id"].to_numpy())

    def stack(table: pa.Table) -> npt.NDArray[np.int64]:
        counts = np.zeros((len(blocks), n_classes, n_classes), np.int64)
        slot = np.searchsorted(blocks, table["block_id"].to_numpy())
        np.add.at(counts, (slot, table["truth"].to_numpy(), table["pred"].to_numpy()), table["n"].to_numpy())
        return counts

    return stack(arm), stack(reference)


def fill_columns(rows: Sequence[Mapping[str, Any]], shared: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Make a table of a declared schema from rows and values that they share; the rest is NULL."""
    columns = {}
    for column in schema:
        values = [row.get(column.name, shared.get(column.name)) for row in rows]
        columns[column.name] = pa.array(values, column.type)
    return pa.table(columns, schema=schema)


def _draw(train: npt.NDArray[np.int64], settings: ProbeSettings, fold: int) -> npt.NDArray[np.int64]:
    if len(train) <= settings.max_train_units:
        return train
    rng = np.random.default_rng([settings.seed, fold])
    return np.sort(rng.choice(train, settings.max_train_units, replace=False))


def _row(fold: int | None, metric: str, value: float, size: Mapping[str, int]) -> dict[str, Any]:
    averaging = "macro" if metric in _MACRO else None
    return {"fold": fold, "metric": metric, "averaging": averaging, "value": value, **size}


def _narrow(name: str, values: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(values, pa.int16() if name in ("truth", "pred") else pa.int64())
