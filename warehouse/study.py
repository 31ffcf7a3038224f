"""The cells of an evaluation and the rows that they leave.

Belongs here: cell identity, running cells on stored features. Does not: contrasts (`contrasts.py`), maps
(`window_maps.py`), the statistics themselves (`transforms/`), Dagster.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.arms import ARMS, CLAIMS, Arm, Task, list_arms
from transforms.errors import IsthmusError
from transforms.evaluation import (
    CellOutcome,
    ProbeSettings,
    confusion_rows,
    fill_columns,
    metric_rows,
    run_cell,
)
from transforms.evidence_units import UnitKind, Units, take_units
from transforms.folds import FoldPlan, Scheme
from warehouse.contrasts import diagnostic_note
from warehouse.features import MIN_LABELLED_SHARE, FeatureReader, MissingOperatorError, read_labelled_units
from warehouse.provenance import code_version
from warehouse.store import Warehouse, any_simulated, evaluate_settings
from warehouse.study_folds import StoredFolds, read_folds
from warehouse.window_maps import map_cell

UNIT_OF_TASK: dict[Task, UnitKind] = {"T1": "patch", "T5": "pixel"}
Report = Callable[[str], None]
#: Tables that a cell leaves rows in.
CELL_TABLES = ("out_probe__metrics", "out_probe__confusions", "out_probe__predictions")


@dataclass(frozen=True)
class Cell:
    """One arm in one scheme.

    Attributes:
        task: T1 or T5.
        scheme: fold scheme.
        arm: key in `ARMS`.
    """

    task: Task
    scheme: Scheme
    arm: str


@dataclass(frozen=True)
class TaskData:
    """Units of one task, and where the features of its arms come from.

    Attributes:
        units: labelled places; every arm that is not fitted has a vector at each.
        reader: reads or fits features.
        is_simulated: True if anything here is.
        rule: how units were chosen, in words.
    """

    units: Units
    reader: FeatureReader
    is_simulated: bool
    rule: str


def list_cells(warehouse: Warehouse) -> list[Cell]:
    """List the cells of the settings: every arm that products and operators allow, in every scheme."""
    settings = evaluate_settings(warehouse)
    return [
        Cell(task, scheme, arm.name)
        for task in settings.tasks
        for arm in list_arms(
            task,
            has_patches=warehouse.patch_product is not None,
            has_pixels=warehouse.pixel_product is not None,
            pooling=warehouse.settings.pool.operators,
            upsampling=warehouse.settings.upsample.operators,
        )
        for scheme in settings.schemes
    ]


def cell_key(warehouse: Warehouse, year: int, cell: Cell) -> str:
    """Hash what defines a cell: products, label, folds and probe settings."""
    settings = evaluate_settings(warehouse)
    definition = {
        "name": warehouse.settings.name,
        "year": year,
        "cell": asdict(cell),
        "compare": warehouse.settings.compare.model_dump(),
        "evaluate": settings.model_dump(exclude={"tasks", "schemes"}),
        "pool": warehouse.settings.pool.model_dump(exclude={"operators"}),
        "label": warehouse.label(settings.label).model_dump(mode="json", exclude={"path"}),
    }
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]


def load_task(warehouse: Warehouse, task: Task, year: int) -> TaskData | None:
    """Read the units of a task that every arm covers.

    Returns:
        The data; None where no labels are stored.
    """
    settings = evaluate_settings(warehouse)
    labelled = read_labelled_units(warehouse, UNIT_OF_TASK[task], settings.label, year)
    if labelled is None:
        return None
    usable = (labelled.purity >= settings.purity_min) & (labelled.valid_share >= MIN_LABELLED_SHARE)
    units = take_units(labelled.units, np.flatnonzero(usable))
    reader = FeatureReader(warehouse, year)
    covered = np.ones(len(units), bool)
    for arm in dict.fromkeys(cell.arm for cell in list_cells(warehouse) if cell.task == task):
        # an arm without stored rows fails in its own cell, with the reason; it must not take the units of the others
        with contextlib.suppress(MissingOperatorError):
            covered &= reader.is_covered(ARMS[arm], units)
    return TaskData(
        take_units(units, np.flatnonzero(covered)),
        reader,
        labelled.is_simulated or any_simulated(warehouse),
        _unit_rule(warehouse, task),
    )


def run_study(warehouse: Warehouse, year: int, report: Report) -> dict[str, int]:
    """Run all cells of a year and write one file per cell and table; cells of older settings are removed.

    Args:
        warehouse: the warehouse.
        year: embedding year.
        report: told one line per cell.

    Returns:
        Rows written, by table.
    """
    settings = evaluate_settings(warehouse)
    folds = read_folds(warehouse, year)
    written: dict[str, int] = {}
    keys: dict[str, set[str]] = {table: set() for table in CELL_TABLES}
    current = {cell_key(warehouse, year, cell) for cell in list_cells(warehouse)}
    # before the first fit: a run that is killed must not leave cells of two settings side by side
    for table in CELL_TABLES:
        warehouse.drop_cells(table, year, keep=current)
    for task in settings.tasks:
        data = load_task(warehouse, task, year)
        for cell in [cell for cell in list_cells(warehouse) if cell.task == task]:
            watch = time.perf_counter()
            problem, tables = _run_cell(warehouse, year, cell, data, folds)
            key = cell_key(warehouse, year, cell)
            for table, rows in tables.items():
                keys[table].add(key)
                inputs = ["out_probe__folds"]
                provenance = warehouse.derived_provenance(inputs, is_simulated=data is not None and data.is_simulated)
                written[table] = written.get(table, 0) + warehouse.write_cell(table, year, key, rows, provenance).rows
            report(f"{cell.task} {cell.scheme} {cell.arm}: {problem or 'ok'} ({time.perf_counter() - watch:.1f} s)")
    # and after the last: a cell that fails now has scores of an earlier run
    for table in CELL_TABLES:
        warehouse.drop_cells(table, year, keep=keys[table])
    return written


def _run_cell(
    warehouse: Warehouse, year: int, cell: Cell, data: TaskData | None, folds: StoredFolds
) -> tuple[str, dict[str, pa.Table]]:
    """Run one cell and make its rows; an arm that cannot be run leaves a row with its reason, and the others alone.

    Returns:
        (why it failed or an empty text, rows by table).
    """
    watch = time.perf_counter()
    plan: FoldPlan | None = None
    try:
        plan = folds.plan(data.units, cell.scheme) if data is not None else None
        outcome = _run(warehouse, cell, data, plan)
        seconds = time.perf_counter() - watch
        return outcome.problem, _cell_tables(warehouse, year, cell, data, plan, outcome, seconds)
    except IsthmusError as error:
        outcome = CellOutcome((), str(error))
        seconds = time.perf_counter() - watch
        return outcome.problem, _cell_tables(warehouse, year, cell, data, plan, outcome, seconds)


def _run(warehouse: Warehouse, cell: Cell, data: TaskData | None, plan: FoldPlan | None) -> CellOutcome:
    settings = evaluate_settings(warehouse)
    if data is None or plan is None:
        return CellOutcome((), f"no labels of {settings.label} for task {cell.task}")
    probe = ProbeSettings(settings.c_grid, settings.max_train_units, settings.seed, warehouse.settings.limits.threads)
    n_classes = len(warehouse.label(settings.label).classes)
    arm = ARMS[cell.arm]
    features = data.reader.open(arm, data.units, plan)
    return run_cell(features, data.units.label, plan, arm.probe, n_classes, probe)


def _cell_tables(
    warehouse: Warehouse,
    year: int,
    cell: Cell,
    data: TaskData | None,
    plan: FoldPlan | None,
    outcome: CellOutcome,
    seconds: float,
) -> dict[str, pa.Table]:
    """Make the rows of one cell for every evidence table; a failed cell is one metrics row with its status."""
    settings = evaluate_settings(warehouse)
    shared = _shared_columns(warehouse, year, cell, data, outcome, seconds)
    names = tuple(warehouse.label(settings.label).classes)
    specs = warehouse.specs
    if data is None or plan is None or not outcome.folds:
        rows = [{"status": f"failed: {outcome.problem}"}]
        return {"out_probe__metrics": fill_columns(rows, shared, specs["out_probe__metrics"].schema)}
    rows = metric_rows(outcome, data.units.label, plan, names)
    counts = confusion_rows(outcome, data.units.label, plan, len(names))
    tables = {
        "out_probe__metrics": fill_columns(rows, shared, specs["out_probe__metrics"].schema),
        "out_probe__confusions": _share(counts, shared, specs["out_probe__confusions"].schema),
    }
    if cell.scheme == settings.schemes[0]:
        maps = map_cell(warehouse, data.reader, year, ARMS[cell.arm], data.units, plan, outcome)
        if maps is not None:
            tables["out_probe__predictions"] = _share(maps, shared, specs["out_probe__predictions"].schema)
    return tables


def _shared_columns(
    warehouse: Warehouse, year: int, cell: Cell, data: TaskData | None, outcome: CellOutcome, seconds: float
) -> dict[str, Any]:
    settings = evaluate_settings(warehouse)
    arm = ARMS[cell.arm]
    product = {"patches": warehouse.patch_product, "pixels": warehouse.pixel_product}.get(arm.side)
    label = warehouse.label(settings.label)
    fitted = [item.probe for item in outcome.folds]
    return {
        "run_id": cell_key(warehouse, year, cell),
        "code_rev": code_version(),
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "question": CLAIMS[cell.task].question,
        "task": cell.task,
        "label_source": settings.label,
        "label_year": label.years.get(year),
        "label_rule": data.rule if data is not None else None,
        "scheme": cell.scheme,
        "split": "test",
        "arm": cell.arm,
        "arm_family": arm.family,
        "source_product": product.name if product is not None else None,
        "dims": outcome.folds[0].dims if outcome.folds else None,
        "bytes_per_km2": _bytes_per_km2(warehouse, arm),
        "uses_guide": arm.family == "guided",
        "fitted_in_fold": True,
        "probe": arm.probe,
        "probe_params": fitted[0].n_parameters_ if fitted else None,
        "hp": json.dumps({"folds": [probe.hp_ for probe in fitted], "converged": all(p.converged_ for p in fitted)}),
        "budget_kind": "percent",
        "budget": 100.0,
        "draw": 0,
        "seed": settings.seed,
        "purity_min": settings.purity_min if cell.task == "T1" else None,
        "threshold_rule": "argmax",
        "seconds": seconds,
        "status": "diagnostic" if diagnostic_note(settings, cell.scheme) else "ok",
        "is_simulated": data.is_simulated if data is not None else any_simulated(warehouse),
    }


def _bytes_per_km2(warehouse: Warehouse, arm: Arm) -> float | None:
    """Give the bytes of the products that an arm reads: a guided arm needs both."""
    patches, pixels = warehouse.patch_product, warehouse.pixel_product
    read = {"patches": [patches], "pixels": [pixels], "none": []}[arm.side]
    read += [pixels] if arm.family == "guided" else []
    return sum(product.bytes_per_km2 for product in read if product is not None) if read else None


def _unit_rule(warehouse: Warehouse, task: Task) -> str:
    """Say in words how the units of a task are chosen."""
    settings = evaluate_settings(warehouse)
    if task == "T1":
        return f"majority, purity >= {settings.purity_min}, labelled share >= {MIN_LABELLED_SHARE}"
    product = warehouse.pixel_product
    if product is not None and product.layout == "pixel_table":
        return "all pixels that the tables list"
    return "uniform sample of pixels"


def _share(rows: pa.Table, shared: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """Add shared columns to a table and put it into a declared schema."""
    columns = []
    for column in schema:
        if column.name in rows.column_names:
            columns.append(rows[column.name].cast(column.type))
        else:
            columns.append(pa.array([shared.get(column.name)] * rows.num_rows, column.type))
    return pa.table(columns, schema=schema)
