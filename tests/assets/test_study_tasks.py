"""Tasks, probes, budgets and controls of a study, on the tiny world: every cell ends in rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.conftest import TinyRun
from tests.warehouse.fake_tables import PROVENANCE
from warehouse.contrasts import make_contrasts
from warehouse.layout import PartitionKey
from warehouse.queries import run_sql
from warehouse.settings import load_settings
from warehouse.store import Warehouse
from warehouse.study import list_cells, run_study
from warehouse.study_sections import GroupSettings, StudySettings

YEAR = 2024
PATCH_ARMS = ("native_patch", "pooled_stats", "patch_majority")


def group(tasks: tuple[str, ...], arms: tuple[str, ...], **other: Any) -> GroupSettings:
    return GroupSettings(tasks=tasks, arms=arms, **other)  # type: ignore[arg-type]  # names of tasks


STUDY = StudySettings(
    cells=(
        group(("T2", "T3", "T4"), PATCH_ARMS),
        group(("T7",), ("native_patch",)),
        group(("T1",), ("native_patch", "pooled_stats"), probes=("knn_5", "ridge"), purity_min=(0.0, 0.5)),
        group(("T5",), ("native_pixel", "upsampled_bilinear"), budgets=("3", "50%"), draws=2),
        group(("T1",), ("patch_random", "patch_permuted_labels", "patch_shuffled_blocks", "patch_concatenated")),
        group(("T5",), ("pixel_late_average",)),
    )
)


@pytest.fixture(scope="module")
def studied(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The finished tiny warehouse, with the cells of a study beside the default ones."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copy(tiny_run.config, folder)
    shutil.copytree(tiny_run.warehouse.root, folder / "warehouse")
    settings = load_settings(folder / tiny_run.config.name).model_copy(update={"study": STUDY})
    evaluate = settings.evaluate.model_copy(update={"tasks": ("T1", "T5", "T6")})  # type: ignore[union-attr]
    warehouse = Warehouse(settings.model_copy(update={"evaluate": evaluate}))
    run_study(warehouse, YEAR, lambda _text: None)
    key = PartitionKey(YEAR)
    warehouse.write(
        "out_probe__contrasts",
        key,
        make_contrasts(warehouse, YEAR),
        warehouse.derived_provenance((), is_simulated=True),
    )
    return warehouse


def ask(warehouse: Warehouse, text: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text).to_pylist()
    return rows


def test_every_cell_leaves_rows_with_a_status(studied: Warehouse) -> None:
    stored = ask(
        studied,
        "select distinct task, arm, probe, budget_kind, budget, purity_min, split_part(status, ':', 1) as status "
        "from out_probe__metrics where task <> 'T6'",
    )
    found = {
        (row["task"], row["arm"], row["probe"], row["budget_kind"], row["budget"], row["purity_min"]) for row in stored
    }
    expected = {
        (cell.task, cell.arm, cell.probe, cell.budget.kind, cell.budget.amount, cell.purity_min)
        for cell in list_cells(studied)
    }
    assert found == expected
    assert ask(studied, "select task, arm, status from out_probe__metrics where status like 'failed%'") == []
    assert {row["task"] for row in stored if row["status"] == "skipped"} == {"T7"}


def test_a_task_that_cannot_be_asked_says_what_would_help(studied: Warehouse) -> None:
    (row,) = ask(studied, "select status from out_probe__metrics where task = 'T7'")
    assert row["status"].startswith("skipped: years of labels of worldcover: found one, expected two label years")
    assert "drop task T7" in row["status"]


def test_labels_fractions_and_rankings_are_scored_above_their_controls(studied: Warehouse) -> None:
    rows = ask(studied, "select task, arm, threshold_rule, value from task_scores where task in ('T2', 'T3', 'T4')")
    scores = {(row["task"], row["arm"], row["threshold_rule"]): row["value"] for row in rows}
    assert scores["T2", "native_patch", "tuned"] > scores["T2", "patch_majority", "tuned"] + 0.1
    assert scores["T3", "native_patch", None] > 0.2 > 0.05 > scores["T3", "patch_majority", None]
    assert scores["T4", "native_patch", None] > 0.2
    assert ("T4", "patch_majority", None) not in scores  # ranks nothing


def test_controls_that_know_nothing_score_like_it(studied: Warehouse) -> None:
    rows = ask(studied, "select arm, value from task_scores where task = 'T1' and is_default and scheme = 'block'")
    scores = {row["arm"]: row["value"] for row in rows}
    for control in ("patch_random", "patch_permuted_labels", "patch_shuffled_blocks"):
        assert scores[control] < scores["native_patch"] - 0.2, control
    assert scores["patch_concatenated"] > scores["patch_random"] + 0.2


def test_more_labels_help_and_draws_are_kept_apart(studied: Warehouse) -> None:
    rows = ask(
        studied,
        "select arm, budget_kind, budget, value, n_draws from learning_curves where task = 'T5' and scheme = 'block'",
    )
    found = {(row["arm"], row["budget_kind"], row["budget"]): row for row in rows}
    assert {key[1:] for key in found} == {("shots", 3.0), ("percent", 50.0), ("percent", 100.0)}
    few, many = found["native_pixel", "shots", 3.0], found["native_pixel", "percent", 100.0]
    assert few["value"] < many["value"]
    assert (few["n_draws"], many["n_draws"]) == (2, 1)


def test_purity_chooses_the_units(studied: Warehouse) -> None:
    rows = ask(
        studied,
        "select purity_min, n_units, share_retained from purity_curve where arm = 'native_patch' and probe = 'knn_5'",
    )
    by_purity = {row["purity_min"]: row for row in rows}
    assert by_purity[0.0]["n_units"] > by_purity[0.5]["n_units"]
    assert by_purity[0.0]["share_retained"] == 1
    assert by_purity[0.5]["share_retained"] == by_purity[0.5]["n_units"] / by_purity[0.0]["n_units"]


def test_maps_are_scored_by_cell_size_boundary_and_object(studied: Warehouse) -> None:
    rows = ask(
        studied,
        "select task, metric, stratum_value, tolerance_px, value from out_probe__metrics "
        "where arm = 'native_pixel' and (task = 'T6' or metric in ('boundary_f', 'object_recall'))",
    )
    assert {row["tolerance_px"] for row in rows if row["metric"] == "boundary_f"} == {1.0, 3.0}
    assert {row["stratum_value"] for row in rows if row["task"] == "T6"} == {"20", "40", "80", "160"}
    assert sum(row["metric"] == "object_recall" for row in rows) == 4


def test_every_comparison_of_a_task_has_a_contrast(studied: Warehouse) -> None:
    rows = ask(studied, "select task, arm, probe, metric, threshold_rule, k, n_blocks from out_probe__contrasts")
    stats = [row for row in rows if row["arm"] == "pooled_stats"]
    assert {(row["metric"], row["k"]) for row in stats if row["task"] == "T4"} == {
        ("precision_at_k", k) for k in (10, 50, 250)
    }
    assert {row["metric"] for row in stats if row["task"] == "T3"} == {"r2", "mae"}
    assert {row["threshold_rule"] for row in stats if row["task"] == "T2"} == {"0.5", "tuned"}
    assert {row["probe"] for row in stats if row["task"] == "T1"} == {"logistic", "knn_5", "ridge"}


def test_sums_of_blocks_give_the_metrics_again(studied: Warehouse) -> None:
    rows = ask(
        studied,
        """
        with sums as (
            select arm, class_id, sum(n) as n, sum(sum_truth) as t, sum(sum_truth_squared) as tt,
                sum(sum_squared_error) as ee, sum(sum_abs_error) as e
            from out_probe__sums where task = 'T3' group by arm, class_id
        )
        select sums.arm, avg(e / n) as mae, max(m.value) as stored
        from sums join out_probe__metrics as m
            on m.arm = sums.arm and m.task = 'T3' and m.metric = 'mae' and m.class_id is null and m.fold is null
        group by sums.arm
        """,
    )
    assert len(rows) == 3
    for row in rows:
        assert row["mae"] == pytest.approx(row["stored"], rel=1e-6)


def test_no_check_fails_on_a_study(studied: Warehouse) -> None:
    rows = ask(studied, "select check_name, count(*) as n from failed_rows group by 1")
    assert {row["check_name"] for row in rows} <= {"label_year_apart"}  # labels of 2021, embeddings of 2024


def test_changes_are_scored_where_two_years_have_labels_and_vectors(studied: Warehouse, tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    shutil.copytree(studied.root, root)
    labels = studied.settings.labels["worldcover"].model_copy(update={"years": {2023: 2020, 2024: 2021}})
    study = StudySettings(cells=(group(("T7",), ("native_patch", "pooled_stats", "patch_majority", "patch_random")),))
    settings = studied.settings.model_copy(
        update={
            "labels": {"worldcover": labels},
            "study": study,
            "warehouse": studied.settings.warehouse.model_copy(update={"root": root}),
        }
    )
    warehouse = Warehouse(settings)
    _relabel_an_earlier_year(warehouse, 0.3)
    run_study(warehouse, YEAR, lambda _text: None)
    rows = warehouse.read_cells("out_probe__metrics", YEAR).filter(pc.field("task") == "T7").to_pylist()
    status = {row["arm"]: row["status"] for row in rows}
    assert status["native_patch"].startswith("failed: vectors of native_patch in the earlier year")
    assert status["patch_random"] == status["patch_majority"] == status["pooled_stats"] == "diagnostic"
    per_class = {
        row["class_name"]: row["support"] for row in rows if row["metric"] == "f1" and row["arm"] == "patch_random"
    }
    assert set(per_class) == {"unchanged", "changed"}
    assert 0.2 < per_class["changed"] / sum(per_class.values()) < 0.4


def _relabel_an_earlier_year(warehouse: Warehouse, share: float) -> None:
    """Write the labels of 2021 as those of 2020, a share of them moved to the next class."""
    table = "core_label_worldcover__patches"
    rng = np.random.default_rng(0)
    n_classes = len(warehouse.settings.labels["worldcover"].classes)
    for key in warehouse.partitions(table, year=2021):
        rows = warehouse.read(table, key)
        label = rows["label"].fill_null(-1).to_numpy()
        moved = np.where((rng.random(len(label)) < share) & (label >= 0), (label + 1) % n_classes, label)
        column = pa.array(moved, pa.int16(), mask=moved < 0)
        rows = rows.set_column(rows.schema.get_field_index("label"), "label", column)
        warehouse.write(table, PartitionKey(2020, key.shard), rows, PROVENANCE)
