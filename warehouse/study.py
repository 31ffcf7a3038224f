"""Running the cells of an evaluation, one after the other, and the rows that they leave.

Belongs here: which cells a settings file asks for, running those that are not done. Does not: files of cells
(`cell_files.py`), units and features (`task_data.py`), contrasts (`contrasts.py`), maps (`window_maps.py`), the
statistics themselves (`transforms/`), Dagster.
"""

from __future__ import annotations

import datetime
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from transforms.arms import ARMS, CLAIMS, Arm, list_arms
from transforms.cell_fits import FitFacts, FitRule, ProbeSettings
from transforms.cell_rows import confusion_rows, fill_columns, metric_rows, share_columns, sum_rows
from transforms.cells import Cell, CellDefaults, check_fits, default_cells, expand_group, merge_draws
from transforms.errors import IsthmusError
from transforms.evaluation import CellOutcome, run_cell
from transforms.evidence_units import take_plan, take_units
from transforms.fold_plan import FoldPlan, Scheme
from transforms.probes.registry import ProbeOptions
from transforms.tasks import TASKS, Task, UnitKind
from warehouse.cell_files import CELL_TABLES, CellFiles, codebook_behind, fingerprint_of, ground_facts, ground_of
from warehouse.contrasts import answering_scheme, diagnostic_note
from warehouse.map_metrics import map_metric_rows
from warehouse.provenance import code_version
from warehouse.run_lock import hold_year
from warehouse.store import Warehouse, any_simulated, evaluate_settings, list_tasks
from warehouse.study_folds import StoredFolds, read_folds
from warehouse.task_data import TaskData, load_task
from warehouse.window_maps import map_cell

Report = Callable[[str], None]


def list_cells(warehouse: Warehouse) -> list[Cell]:
    """List the cells of the settings: the default ones, then those of `[study]`; those of one arm follow each other.

    Raises:
        UnknownCellError: a study names something unknown, or asks for too many fits.
    """
    settings, study = evaluate_settings(warehouse), warehouse.settings.study
    arms: dict[UnitKind, list[Arm]] = {"patch": _arms_of(warehouse, "patch"), "pixel": _arms_of(warehouse, "pixel")}
    defaults = CellDefaults(settings.schemes, settings.purity_min, settings.n_folds)
    cells = default_cells(settings.tasks, arms, defaults)
    if study is not None:
        for group in study.cells:
            cells += expand_group(group.group(), arms, defaults)
    cells = merge_draws(cells)
    if study is not None:
        check_fits(cells, settings.n_folds, study.max_fits)
    order = {name: rank for rank, name in enumerate([*TASKS, *ARMS])}
    return sorted(cells, key=lambda cell: (order[cell.task], order[cell.arm]))


def _arms_of(warehouse: Warehouse, unit: UnitKind) -> list[Arm]:
    return list_arms(
        unit,
        has_patches=warehouse.patch_product is not None,
        has_pixels=warehouse.pixel_product is not None,
        pooling=warehouse.settings.pool.operators,
        upsampling=warehouse.settings.upsample.operators,
    )


def run_study(warehouse: Warehouse, year: int, report: Report) -> dict[str, int]:
    """Run the cells of a year that are not done, and write one file per cell and table.

    Cells of other settings, files or folds are removed first: a run that is killed must not leave cells of two
    grounds side by side. Where another run evaluates the year, it is waited for.

    Args:
        warehouse: the warehouse.
        year: embedding year.
        report: told one line per cell.

    Returns:
        Rows stored now, by table, those of cells that were done before among them.
    """
    with hold_year(warehouse.root, year, report):
        _run_cells(warehouse, year, report)
        return {table: warehouse.count_cell_rows(table, year) for table in CELL_TABLES}


def _run_cells(warehouse: Warehouse, year: int, report: Report) -> None:
    folds = read_folds(warehouse, year)
    cells = list_cells(warehouse)
    asked = dict.fromkeys(cell.task for cell in cells)
    facts = ground_facts(warehouse, year, asked)
    tasks = {task: _open_task(warehouse, task, year, cells, folds, facts[task]) for task in asked}
    files = CellFiles(warehouse, year)
    fingerprints = {cell: _fingerprint(warehouse, year, cell, tasks[cell.task]) for cell in cells}
    files.drop_stale(fingerprints)
    for number, (cell, fingerprint) in enumerate(fingerprints.items(), 1):
        if files.is_done(cell, fingerprint):
            report(f"[{number}/{len(cells)}] {cell}: done before")
            continue
        watch = time.perf_counter()
        run = _CellRun(warehouse, year, cell, fingerprint, tasks[cell.task])
        problem, tables = run.finish()
        provenance = warehouse.derived_provenance(["out_probe__folds"], is_simulated=run.is_simulated)
        files.write(cell, tables, provenance)
        report(f"[{number}/{len(cells)}] {cell}: {problem or 'ok'} ({time.perf_counter() - watch:.1f} s)")


def _fingerprint(warehouse: Warehouse, year: int, cell: Cell, opened: _OpenTask) -> str:
    """Give the fingerprint that a cell would be scored with now."""
    windows = warehouse.settings.keep.windows if _is_mapped(warehouse, cell) else ()
    return fingerprint_of(opened.ground(cell.scheme), cell, windows, codebook_behind(warehouse, year, ARMS[cell.arm]))


@dataclass(frozen=True)
class _OpenTask:
    """A task that was looked at.

    Attributes:
        task: its name.
        data: its units; None where it cannot be asked.
        problem: why not.
        folds: of the year.
        facts: what all its cells share.
    """

    task: Task
    data: TaskData | None
    problem: str
    folds: StoredFolds
    facts: Mapping[str, Any]
    _grounds: dict[Scheme, str] = field(default_factory=dict)
    _plans: dict[Scheme, FoldPlan] = field(default_factory=dict)

    def ground(self, scheme: Scheme) -> str:
        """Give the hash of what the task's cells in a scheme share; made once, for many cells share it."""
        if scheme not in self._grounds:
            rows = self.folds.rows(TASKS[self.task].unit, scheme)
            self._grounds[scheme] = ground_of(self.facts, self.data, rows)
        return self._grounds[scheme]

    def plan(self, data: TaskData, scheme: Scheme) -> FoldPlan:
        """Give the plan of the task's units in a scheme; read once, for many cells share it."""
        if scheme not in self._plans:
            self._plans[scheme] = self.folds.plan(data.units, scheme)
        return self._plans[scheme]


def _open_task(
    warehouse: Warehouse, task: Task, year: int, cells: Sequence[Cell], folds: StoredFolds, facts: Mapping[str, Any]
) -> _OpenTask:
    """Load a task once for all its cells; one that cannot be asked leaves a reason and the others alone."""
    data, problem = None, ""
    arms = [ARMS[name] for name in dict.fromkeys(cell.arm for cell in cells if cell.task == task)]
    try:
        data = load_task(warehouse, task, year, arms)
    except IsthmusError as error:
        problem = str(error)
    return _OpenTask(task, data, problem, folds, facts)


@dataclass(frozen=True)
class _CellRun:
    """One cell while it is run: it always ends in rows, be it one row that says why there are no others."""

    warehouse: Warehouse
    year: int
    cell: Cell
    fingerprint: str
    opened: _OpenTask

    @property
    def is_simulated(self) -> bool:
        """Tell whether anything behind the cell is."""
        data = self.opened.data
        return data.is_simulated if data is not None else any_simulated(self.warehouse)

    def finish(self) -> tuple[str, dict[str, pa.Table]]:
        """Run the cell.

        Returns:
            (why it failed or an empty text, rows by table).
        """
        watch = time.perf_counter()
        data = self.opened.data
        if data is None:
            return self._fail(f"skipped: {self.opened.problem}", watch)
        try:
            plan = self.opened.plan(data, self.cell.scheme)
            chosen = data.select(self.cell)
            features = data.open(self.cell, ARMS[self.cell.arm], plan)
            here = take_plan(plan, chosen)
            outcome = run_cell(features, data.targets.take(chosen), here, self._rule(), self._probe_settings())
            if outcome.problem:
                return self._fail(f"failed: {outcome.problem}", watch)
            return "", self._tables(data, here, outcome, watch)
        except IsthmusError as error:
            return self._fail(f"failed: {error}", watch)

    def _rule(self) -> FitRule:
        cell = self.cell
        return FitRule(cell.probe, cell.budget, cell.n_draws, ARMS[cell.arm].treatment)

    def _probe_settings(self) -> ProbeSettings:
        settings = evaluate_settings(self.warehouse)
        return ProbeSettings(
            ProbeOptions(c_grid=settings.c_grid, n_trees=settings.n_trees),
            settings.max_train_units,
            settings.seed,
            self.warehouse.settings.limits.threads,
        )

    def _fail(self, status: str, watch: float) -> tuple[str, dict[str, pa.Table]]:
        """Leave one metrics row with the reason."""
        shared = self._shared(CellOutcome((), status), watch)
        schema = self.warehouse.specs["out_probe__metrics"].schema
        return status, {"out_probe__metrics": fill_columns([{"status": status}], shared, schema)}

    def _tables(self, data: TaskData, plan: FoldPlan, outcome: CellOutcome, watch: float) -> dict[str, pa.Table]:
        """Make the rows of a cell for every table that it has something for."""
        specs, cell = self.warehouse.specs, self.cell
        chosen = data.select(cell)
        targets = data.targets.take(chosen)
        rows = metric_rows(outcome, targets, plan)
        counted = {
            "out_probe__confusions": confusion_rows(outcome, targets, plan),
            "out_probe__sums": sum_rows(outcome, targets, plan),
        }
        maps = self._maps(data, plan, outcome)
        if maps is None and self._owes_maps():
            rows.append({"task": "T6", "metric": "r2", "status": "skipped: no map of this arm in a kept window"})
        if maps is not None:
            rows += map_metric_rows(self.warehouse, cell, maps, targets.names)
            counted["out_probe__predictions"] = maps
        shared = self._shared(outcome, watch)
        tables = {
            name: share_columns(found, shared, specs[name].schema) for name, found in counted.items() if found.num_rows
        }
        return {**tables, "out_probe__metrics": fill_columns(rows, shared, specs["out_probe__metrics"].schema)}

    def _owes_maps(self) -> bool:
        """Tell whether T6 is asked of this cell, so that its absence needs a reason."""
        is_mapped_arm = ARMS[self.cell.arm].family not in ("control", "fusion")
        is_asked = "T6" in list_tasks(self.warehouse)
        return self.cell.task == "T5" and is_mapped_arm and is_asked and _is_mapped(self.warehouse, self.cell)

    def _maps(self, data: TaskData, plan: FoldPlan, outcome: CellOutcome) -> pa.Table | None:
        """Map the cell, where the report shows it."""
        cell = self.cell
        if not _is_mapped(self.warehouse, cell):
            return None
        units = take_units(data.units, data.select(cell))
        return map_cell(self.warehouse, data.reader, self.year, ARMS[cell.arm], units, plan, outcome)

    def _shared(self, outcome: CellOutcome, watch: float) -> dict[str, Any]:
        """Give the columns that all rows of the cell share."""
        settings, cell, data = evaluate_settings(self.warehouse), self.cell, self.opened.data
        arm = ARMS[cell.arm]
        fitted = [item.fit for item in outcome.folds if item.fit is not None]
        return {
            "run_id": self.fingerprint,
            "code_rev": code_version(),
            "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "question": TASKS[cell.task].question,
            "task": cell.task,
            "label_source": settings.label,
            "label_year": self.warehouse.label(settings.label).years.get(self.year),
            "label_rule": data.rule if data is not None else None,
            "scheme": cell.scheme,
            "split": "test",
            "arm": cell.arm,
            "arm_family": arm.family,
            "source_product": _source_product(self.warehouse, arm),
            "dims": outcome.folds[0].dims if outcome.folds else None,
            "bytes_per_km2": _bytes_per_km2(self.warehouse, arm),
            "uses_guide": arm.family == "guided",
            "fitted_in_fold": True,
            "probe": cell.probe,
            "probe_params": fitted[0].n_parameters if fitted else None,
            "hp": _describe_fits(fitted),
            "budget_kind": cell.budget.kind,
            "budget": cell.budget.amount,
            "draw": 0,
            "seed": settings.seed,
            "purity_min": cell.purity_min,
            "is_default": cell.is_default(settings.purity_min),
            "seconds": time.perf_counter() - watch,
            "status": "diagnostic" if diagnostic_note(settings, cell.scheme) else "ok",
            "is_simulated": self.is_simulated,
        }


def _is_mapped(warehouse: Warehouse, cell: Cell) -> bool:
    """Tell whether the report shows a cell's maps: the task's own probe, with all labels, in the answering scheme."""
    settings = evaluate_settings(warehouse)
    return cell.task in CLAIMS and cell.scheme == answering_scheme(settings) and cell.is_default(settings.purity_min)


def _describe_fits(fitted: Sequence[FitFacts]) -> str | None:
    """Spell the hyper-parameters in use, each distinct set once with its number of fits."""
    if not fitted:
        return None
    counts = Counter(json.dumps(fit.hp, sort_keys=True) for fit in fitted)
    sets = [{**json.loads(text), "fits": count} for text, count in counts.most_common()]
    return json.dumps({"fits": sets, "converged": sum(fit.converged for fit in fitted) / len(fitted)})


def _source_product(warehouse: Warehouse, arm: Arm) -> str | None:
    """Name the product, or the two, that an arm's features come from."""
    patches, pixels = warehouse.patch_product, warehouse.pixel_product
    read = {"patches": [patches], "pixels": [pixels], "both": [patches, pixels], "none": []}[arm.side]
    return "+".join(product.name for product in read if product is not None) or None


def _bytes_per_km2(warehouse: Warehouse, arm: Arm) -> float | None:
    """Give the bytes of the products that an arm reads: a guided arm needs both."""
    patches, pixels = warehouse.patch_product, warehouse.pixel_product
    read = {"patches": [patches], "pixels": [pixels], "both": [patches, pixels], "none": []}[arm.side]
    read += [pixels] if arm.family == "guided" else []
    return sum(product.bytes_per_km2 for product in read if product is not None) if read else None
