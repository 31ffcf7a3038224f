"""Folds of the tiny world: what they are worth, and what becomes of schemes that cannot be planned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from assets.evidence import write_cells, write_folds
from assets.fold_audit import write_fold_audit
from tests.conftest import TinyRun
from warehouse.errors import UnplannedSchemeError
from warehouse.layout import PartitionKey
from warehouse.queries import run_sql
from warehouse.store import Warehouse
from warehouse.study_folds import make_folds, read_folds, read_units
from warehouse.warehouse_settings import WarehouseSettings

YEAR = 2024
ALL_SCHEMES = ("block", "longitude", "region", "transfer", "random")


def change(warehouse: Warehouse, root: Path | None = None, **evaluate: Any) -> Warehouse:
    """The same warehouse under other settings of the evaluation, in another folder if given."""
    settings = warehouse.settings
    assert settings.evaluate is not None
    update: dict[str, Any] = {"evaluate": settings.evaluate.model_copy(update=evaluate)}
    if root is not None:
        shutil.copytree(warehouse.root, root)
        update["warehouse"] = WarehouseSettings(root=root)
    return Warehouse(settings.model_copy(update=update))


def sql(warehouse: Warehouse, text: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text).to_pylist()
    return rows


def test_the_audit_of_a_run_has_a_line_per_kind_of_unit(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql("from fold_audit").to_pylist()
    assert [(row["unit"], row["scheme"]) for row in rows] == [("patch", "block"), ("pixel", "block")]
    for row in rows:
        assert (row["status"], row["edge_m"], row["buffer_m"]) == ("ok", 1000.0, 320.0)
        assert row["least_distance_m"] >= 320.0 - 1.0
        assert row["n_failed"] == row["shared_unit_ids"] == 0
        assert 0 < row["label_range_m"] < 4000
        assert 0 < row["feature_range_m"] < 4000
        assert row["is_simulated"]


def test_blocks_of_a_diagnostic_are_held_against_the_range(tiny_run: TinyRun) -> None:
    (row,) = tiny_run.sql(
        "from out_probe__fold_audit where check_name = 'edge_m' and unit = 'pixel' and scheme = 'block'"
    ).to_pylist()
    assert (row["value"], row["status"]) == (1000.0, "warn")
    assert row["threshold"] > 1000.0


@pytest.fixture(scope="module")
def auto(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The tiny world with blocks sized by its variograms: too few of them for five folds."""
    root = tmp_path_factory.mktemp("auto") / "warehouse"
    warehouse = change(
        tiny_run.warehouse, root, block_edge_m="auto", buffer_m="auto", schemes=ALL_SCHEMES, tasks=("T1",)
    )
    write_folds(warehouse, PartitionKey(YEAR))
    write_fold_audit(warehouse, PartitionKey(YEAR))
    return warehouse


def test_auto_blocks_are_twice_the_largest_range_and_never_scaled_down(auto: Warehouse) -> None:
    rules = sql(auto, "from out_probe__fold_rules")
    widest = max(row[f"{what}_range_m"] for row in rules for what in ("label", "feature"))
    assert {row["edge_m"] for row in rules} == {max(5000.0, 2 * widest)}
    assert {row["buffer_m"] for row in rules if row["scheme"] == "block"} == {max(widest, 1280.0)}
    assert all("2 x range" in row["reason"] for row in rules)


def test_schemes_that_cannot_be_planned_say_what_would_help(auto: Warehouse) -> None:
    rules = {(row["unit"], row["scheme"]): row for row in sql(auto, "from out_probe__fold_rules")}
    for unit in ("patch", "pixel"):
        assert "Enlarge the area or use fewer folds" in rules[unit, "block"]["status"]
        assert "columns of blocks" in rules[unit, "longitude"]["status"]
        assert rules[unit, "random"]["status"] == rules[unit, "region"]["status"] == "ok"
    stored, units = read_folds(auto, YEAR), read_units(auto, YEAR)["patch"].units
    with pytest.raises(UnplannedSchemeError, match=r"block folds of patch units.*use fewer folds"):
        stored.plan(units, "block")
    with pytest.raises(UnplannedSchemeError, match="materialise out_probe__folds again"):
        stored.plan(units, "given")
    assert stored.plan(units, "transfer").trains_on_one
    planned = sql(auto, "from out_probe__fold_audit where check_name = 'planned' and unit = 'patch'")
    assert {row["scheme"]: row["status"] for row in planned} == {
        "block": "failed", "longitude": "failed", "region": "ok", "transfer": "ok", "random": "ok"
    }  # fmt: skip


def test_an_unplanned_scheme_leaves_rows_with_its_reason_and_the_others_alone(auto: Warehouse) -> None:
    pool = auto.settings.pool.model_copy(update={"operators": ("mean",)})
    warehouse = Warehouse(auto.settings.model_copy(update={"pool": pool}))
    warehouse = change(warehouse, schemes=("block", "random"))
    write_cells(warehouse, PartitionKey(YEAR), lambda _line: None)
    rows = sql(warehouse, "select distinct scheme, arm, status from out_probe__metrics where arm = 'native_patch'")
    status = {row["scheme"]: row["status"] for row in rows}
    assert status["random"] == "diagnostic"
    assert "found 4, expected at least 5" in status["block"]
    assert len(rows) == 2


def test_all_schemes_keep_their_distance(tiny_run: TinyRun, tmp_path: Path) -> None:
    warehouse = change(tiny_run.warehouse, tmp_path / "warehouse", schemes=ALL_SCHEMES)
    write_folds(warehouse, PartitionKey(YEAR))
    write_fold_audit(warehouse, PartitionKey(YEAR))
    assert sql(warehouse, "from check_train_test_too_close") == []
    assert sql(warehouse, "from check_fold_shared_by_both_grains") == []
    rows = sql(warehouse, "from fold_audit")
    assert {row["n_failed"] for row in rows} == {0}
    assert {(row["scheme"], row["n_folds"]) for row in rows} == {
        ("block", 5), ("longitude", 5), ("random", 5), ("region", 4), ("transfer", 4)
    }  # fmt: skip
    # beside a training pixel the place alone tells the class; across the buffer hardly
    pixels = {row["scheme"]: row for row in rows if row["unit"] == "pixel"}
    assert pixels["random"]["least_distance_m"] < 20.0
    assert pixels["random"]["coordinates_macro_f1"] > pixels["block"]["coordinates_macro_f1"] + 0.2


def test_folds_do_not_hang_on_the_tasks_that_are_asked(tiny_run: TinyRun) -> None:
    both, one = (make_folds(change(tiny_run.warehouse, tasks=tasks), YEAR) for tasks in (("T1", "T5"), ("T1",)))
    assert both.folds.equals(one.folds)
    assert both.rules.equals(one.rules)
