"""The cells of the adapter's study: resumed, run, and stored one file each.

Belongs here: which cells the settings ask for, their identity, running them. Does not: training
(`transforms/pretraining/`), chips (`chips.py`), rows (`adapter_rows.py`), gains (`adapter_gains.py`), Dagster.

A cell's file is named by the hash of its definition, of the settings behind it and of the chips themselves, so that a
finished cell is skipped and one of other data is not.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from transforms.cell_rows import fill_columns
from transforms.errors import TooFewUnitsError
from transforms.metrics import mean_iou
from transforms.pretraining.contrastive import ContrastiveOptions
from transforms.pretraining.fine_tuning import FineTuningOptions
from transforms.pretraining.study import (
    AdapterCell,
    AdapterStudy,
    CellScores,
    RegionScore,
    StudyOptions,
    list_adapter_cells,
)
from transforms.pretraining.views import ViewOptions
from warehouse.adapter_rows import ArmData, confusion_rows, score_rows, shared_columns
from warehouse.cell_seals import read_seals
from warehouse.chips import ChipGround, adapter_settings, read_chips, read_ground
from warehouse.file_access import is_there
from warehouse.fingerprints import hash_of
from warehouse.layout import PartitionKey
from warehouse.recipes.table import logic_of
from warehouse.sections import AdapterArm
from warehouse.store import Warehouse, any_simulated, evaluate_settings

SCORES = "out_probe__adapters"
CONFUSIONS = "out_probe__adapter_confusions"
#: Tables that a cell leaves rows in.
ADAPTER_TABLES = (SCORES, CONFUSIONS)


def run_adapters(warehouse: Warehouse, year: int, report: Callable[[str], None]) -> dict[str, int]:
    """Run the cells that are not stored yet; cells of older settings or data are removed.

    Args:
        warehouse: the warehouse.
        year: embedding year.
        report: told one line per cell.

    Returns:
        Rows that are stored now, by table.
    """
    arms = _load_arms(warehouse, year, report)
    todo = [
        (data, AdapterStudy(data.chips, _study_options(warehouse)), list_cells(warehouse, data.chips.regions))
        for data in arms
    ]
    asked = {cell_key(warehouse, year, data, cell) for data, _, cells in todo for cell in cells}
    seals = read_seals(warehouse.root, PartitionKey(year), SCORES)
    version = warehouse.specs[SCORES].schema_version
    older = {slot for slot, seal in seals.items() if seal.schema_version != version}
    # before the first fit: a run that is killed must not leave cells of two settings side by side
    for table in ADAPTER_TABLES:
        warehouse.drop_cells(table, year, keep=asked - older)
    for data, study, cells in todo:
        for number, cell in enumerate(cells, 1):
            line = _run_stored(warehouse, year, study, data, cell)
            report(f"{number}/{len(cells)} {data.arm} {_describe(cell)}: {line}")
    return {table: warehouse.count_cell_rows(table, year) for table in ADAPTER_TABLES}


def list_cells(warehouse: Warehouse, regions: tuple[str, ...]) -> list[AdapterCell]:
    """List the cells of the settings for the regions that have chips."""
    asked = adapter_settings(warehouse)
    return list_adapter_cells(regions, asked.heads, asked.inits, asked.budgets, asked.seeds)


def cell_key(warehouse: Warehouse, year: int, data: ArmData, cell: AdapterCell) -> str:
    """Hash what decides a cell's numbers."""
    definition = {
        "version": logic_of(SCORES),
        "year": year,
        "arm": data.arm,
        "cell": asdict(cell),
        "options": asdict(_study_options(warehouse)),
        "label": evaluate_settings(warehouse).label,
        "chips": data.digest,
    }
    return hash_of(definition)


def _load_arms(warehouse: Warehouse, year: int, report: Callable[[str], None]) -> list[ArmData]:
    """Read the chips of all arms; none for a year without labels."""
    label = evaluate_settings(warehouse).label
    if warehouse.label(label).years.get(year) is None:
        report(f"adapters of {year}: no labels of {label} for this year")
        return []
    ground = read_ground(warehouse, year)
    return [_load_arm(warehouse, ground, arm, year) for arm in adapter_settings(warehouse).arms]


def _load_arm(warehouse: Warehouse, ground: ChipGround, arm: AdapterArm, year: int) -> ArmData:
    chips = read_chips(warehouse, ground, arm, year)
    digest = hashlib.sha256()
    for part in (chips.vectors, chips.other_year, chips.labels, chips.block_id, chips.fold, chips.in_buffer):
        digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
    digest.update("|".join(chips.region.tolist()).encode())
    is_simulated = ground.is_simulated or any_simulated(warehouse)
    return ArmData(arm, chips, digest.hexdigest(), is_simulated)


def _study_options(warehouse: Warehouse) -> StudyOptions:
    asked = adapter_settings(warehouse)
    label = warehouse.label(evaluate_settings(warehouse).label)
    return StudyOptions(
        len(label.classes),
        asked.width,
        asked.max_labels,
        ContrastiveOptions(steps=asked.pretrain_steps, views=ViewOptions(crop_px=asked.crop_px)),
        FineTuningOptions(steps=asked.fine_tune_steps),
    )


def _run_stored(warehouse: Warehouse, year: int, study: AdapterStudy, data: ArmData, cell: AdapterCell) -> str:
    """Run a cell and write its files, unless they are there; say how it went."""
    key = cell_key(warehouse, year, data, cell)
    if all(is_there(warehouse.cell(table, year, key)) for table in ADAPTER_TABLES):
        return "stored before"
    settings = evaluate_settings(warehouse)
    names = tuple(warehouse.label(settings.label).classes)
    watch = time.perf_counter()
    scores, start_seconds = _run(study, cell, data.chips.regions, len(names))
    seconds = time.perf_counter() - watch - start_seconds
    shared = shared_columns(warehouse, year, data, cell, scores, key)
    shared |= {"seconds": seconds, "start_seconds": start_seconds}
    status = "diagnostic" if settings.diagnostic else "ok"
    tables = {SCORES: list(score_rows(scores, names, status)), CONFUSIONS: list(confusion_rows(scores))}
    provenance = warehouse.derived_provenance(["out_probe__folds"], is_simulated=data.is_simulated)
    for table, rows in tables.items():
        warehouse.write_cell(table, year, key, fill_columns(rows, shared, warehouse.specs[table].schema), provenance)
    return f"{_describe_scores(scores)} ({start_seconds:.1f} + {seconds:.1f} s)"


def _run(study: AdapterStudy, cell: AdapterCell, regions: tuple[str, ...], n_classes: int) -> tuple[CellScores, float]:
    """Run a cell; where there is too little to run it on, every region has the reason instead of confusions.

    Returns:
        (scores, seconds that the start of the adapter took; near 0 where the cell before had the same).
    """
    watch = time.perf_counter()
    try:
        study.prepare(cell)
        start_seconds = time.perf_counter() - watch
        return study.run(cell), start_seconds
    except TooFewUnitsError as error:
        nothing = np.empty(0, np.int64), np.empty((0, n_classes, n_classes), np.int64)
        untested = tuple(RegionScore(region, *nothing, str(error)) for region in regions)
        return CellScores(study.fold_of(cell.seed), 0, untested), time.perf_counter() - watch


def _describe(cell: AdapterCell) -> str:
    return f"{cell.region} {cell.head} {cell.init} {cell.budget_pct:g} % seed {cell.seed}"


def _describe_scores(scores: CellScores) -> str:
    """Give the mIoU of each region in a line."""
    found = [f"{r.region} {float(mean_iou(r.confusions.sum(axis=0))):.3f}" for r in scores.regions if not r.problem]
    return "mIoU " + ", ".join(found) if found else f"skipped: {scores.regions[0].problem}"
