"""Evidence: folds shared by both grains, scores and contrasts that can be redone from stored confusions."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score, jaccard_score

from assets.evidence import write_folds
from tests.conftest import TinyRun
from tests.warehouse.fake_tables import PROVENANCE
from transforms.arms import CLAIMS, Arm, list_arms
from transforms.cell_features import Features
from transforms.cell_fits import FitRule
from transforms.cells import Cell
from transforms.errors import TooFewUnitsError
from transforms.fold_plan import FoldPlan
from transforms.inference import decide_verdict
from transforms.tasks import TASKS, Task
from warehouse import study
from warehouse.cell_files import CellFiles, ground_facts
from warehouse.layout import PartitionKey
from warehouse.settings import load_settings
from warehouse.store import Warehouse
from warehouse.study_sections import GroupSettings, StudySettings
from warehouse.task_data import TaskData

#: (task, arm) -> block -> (truth, pred, n) of each non-zero count.
Confusions = dict[tuple[str, str], dict[int, list[tuple[int, int, int]]]]


@pytest.fixture(scope="module")
def confusions(tiny_run: TinyRun) -> Confusions:
    found: Confusions = defaultdict(lambda: defaultdict(list))
    for row in tiny_run.sql("from out_probe__confusions where scheme = 'block'").to_pylist():
        found[row["task"], row["arm"]][row["block_id"]].append((row["truth"], row["pred"], row["n"]))
    return found


def score(metric: str, counts: list[tuple[int, int, int]]) -> float:
    """Score confusion counts with scikit-learn; classes in neither truth nor prediction are left out."""
    truth, pred, n = np.array(counts).T
    if metric == "overall_accuracy":
        return float(n[truth == pred].sum() / n.sum())
    method = {"macro_f1": f1_score, "mean_iou": jaccard_score}[metric]
    return float(method(np.repeat(truth, n), np.repeat(pred, n), average="macro", zero_division=0))


def pooled(blocks: dict[int, list[tuple[int, int, int]]]) -> list[tuple[int, int, int]]:
    return [count for counts in blocks.values() for count in counts]


def test_units_of_one_block_are_tested_in_one_fold_whatever_their_grain(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql(
        "select unit, unit_id, block_id, fold from out_probe__folds where scheme = 'block' and fold >= 0"
    )
    folds: dict[int, set[int]] = defaultdict(set)
    grains: dict[int, set[str]] = defaultdict(set)
    for row in rows.to_pylist():
        folds[row["block_id"]].add(row["fold"])
        grains[row["block_id"]].add(row["unit"])
    assert [block for block, numbers in folds.items() if len(numbers) != 1] == []
    assert sum(found == {"patch", "pixel"} for found in grains.values()) > 15
    assert {number for numbers in folds.values() for number in numbers} == set(range(5))


def test_blocks_lie_on_the_equal_area_grid(tiny_run: TinyRun) -> None:
    import pyproj

    edge = tiny_run.warehouse.settings.evaluate.block_edge_m
    rows = tiny_run.sql(
        "select f.block_id, p.lon, p.lat from out_probe__folds f join core_label_worldcover__pixels p "
        "on f.unit_id = p.pixel_id where f.unit = 'pixel' and f.scheme = 'block'"
    ).to_pandas()
    x, y = pyproj.Transformer.from_crs(4326, 6933, always_xy=True).transform(rows.lon, rows.lat)
    cells = rows.assign(col=np.floor(x / edge), row=np.floor(y / edge))
    assert cells.groupby("block_id")[["col", "row"]].nunique().max().tolist() == [1, 1]
    assert cells.groupby(["col", "row"])["block_id"].nunique().max() == 1


def listed_arms(run: TinyRun, task: Task) -> list[Arm]:
    """The arms of a task that the settings ask for."""
    settings = run.warehouse.settings
    pooling, upsampling = settings.pool.operators, settings.upsample.operators
    unit = TASKS[task].unit
    arms = list_arms(unit, has_patches=True, has_pixels=True, pooling=pooling, upsampling=upsampling)
    return [arm for arm in arms if arm.is_default]


def test_every_tested_unit_is_counted_once_for_every_arm(tiny_run: TinyRun, confusions: Confusions) -> None:
    for task, unit in (("T1", "patch"), ("T5", "pixel")):
        totals = {arm: sum(n for _, _, n in pooled(blocks)) for (t, arm), blocks in confusions.items() if t == task}
        assert set(totals) == {arm.name for arm in listed_arms(tiny_run, task)}
        assert len(set(totals.values())) == 1
        query = "select count(*) as n from out_probe__folds where scheme = 'block' and unit = $unit and fold >= 0"
        (row,) = tiny_run.sql(query, unit=unit).to_pylist()
        assert 0 < next(iter(totals.values())) <= row["n"]


def test_every_arm_has_rows_with_a_status(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql("select task, arm, status, count(*) as n from out_probe__metrics group by all").to_pylist()
    expected = {(task, arm.name) for task in ("T1", "T5") for arm in listed_arms(tiny_run, task)}
    # T6 is read off the maps of T5
    assert {(row["task"], row["arm"]) for row in rows if row["task"] != "T6"} == expected
    assert {row["status"] for row in rows} == {"diagnostic"}  # blocks of 1 km, says the settings file


@pytest.mark.parametrize("metric", ["macro_f1", "mean_iou", "overall_accuracy"])
def test_metrics_equal_those_of_scikit_learn_on_the_confusions(
    tiny_run: TinyRun, confusions: Confusions, metric: str
) -> None:
    rows = tiny_run.sql(
        "select task, arm, value from out_probe__metrics where scheme = 'block' and fold is null and metric = $metric",
        metric=metric,
    ).to_pylist()
    assert len(rows) == len(confusions)
    for row in rows:
        expected = score(metric, pooled(confusions[row["task"], row["arm"]]))
        assert row["value"] == pytest.approx(expected, abs=1e-12)


def read_contrasts(run: TinyRun) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.sql("from out_probe__contrasts where scheme = 'block'").to_pylist()
    return rows


def test_contrasts_can_be_redone_from_the_confusions(tiny_run: TinyRun, confusions: Confusions) -> None:
    rows = read_contrasts(tiny_run)
    for row in rows:
        arm, reference = (confusions[row["task"], row[side]] for side in ("arm", "reference"))
        values = [score(row["metric"], pooled(blocks)) for blocks in (arm, reference)]
        assert [row["arm_value"], row["reference_value"]] == pytest.approx(values, abs=1e-12)
        assert row["delta"] == pytest.approx(values[0] - values[1], abs=1e-12)
        assert row["n_blocks"] == len(arm) == len(reference)
        wins = sum(score(row["metric"], arm[b]) > score(row["metric"], reference[b]) + 1e-12 for b in arm)
        assert row["block_wins"] == wins
        assert row["lo"] < row["delta"] < row["hi"]
    n_arms = sum(len(listed_arms(tiny_run, task)) - 1 for task in ("T1", "T5"))  # beside the native ones
    assert len(rows) == 2 * n_arms  # two metrics


def test_intervals_are_those_of_whole_blocks(tiny_run: TinyRun, confusions: Confusions) -> None:
    rng = np.random.default_rng(1)
    for row in (row for row in read_contrasts(tiny_run) if row["is_primary"]):
        blocks = sorted(confusions[row["task"], row["arm"]])
        deltas = []
        for _ in range(200):
            drawn = rng.choice(blocks, len(blocks))
            sides = [
                score(row["metric"], [c for b in drawn for c in confusions[row["task"], row[side]][b]])
                for side in ("arm", "reference")
            ]
            deltas.append(sides[0] - sides[1])
        spread = np.std(deltas)
        assert row["hi"] - row["lo"] == pytest.approx(2 * 1.96 * spread, rel=0.35)


def test_there_is_one_primary_contrast_a_question_as_fixed_in_advance(tiny_run: TinyRun) -> None:
    primary = {row["question"]: row for row in read_contrasts(tiny_run) if row["is_primary"]}
    assert set(primary) == {"Q1", "Q2"}
    for claim in CLAIMS.values():
        row = primary[claim.question]
        found = (row["arm"], row["reference"], row["metric"], row["margin"])
        assert found == (claim.primary_arm, claim.reference, claim.metric, claim.margin)


def test_a_diagnostic_carries_no_verdict_however_clear_it_is(tiny_run: TinyRun) -> None:
    rows = read_contrasts(tiny_run)
    assert {row["verdict"] for row in rows} == {"inconclusive"}
    assert {row["status"] for row in rows} == {"diagnostic"}
    assert all(row["note"] for row in rows)
    clear = [decide_verdict(row["lo"], row["hi"], row["margin"], row["n_blocks"]) for row in rows]
    assert "inferior" in clear  # without the note there would have been verdicts


def test_controls_score_below_the_native_arms(tiny_run: TinyRun) -> None:
    rows = {(row["arm"], row["metric"]): row for row in read_contrasts(tiny_run)}
    for arm in ("patch_coordinates", "patch_majority"):
        assert rows[arm, "macro_f1"]["delta"] < -0.15
    for arm in ("pixel_coordinates", "pixel_majority"):
        assert rows[arm, "mean_iou"]["delta"] < -0.15


def test_predictions_cover_the_window_and_carry_the_labels(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql(
        "select p.arm, p.unit_id, p.truth, l.label from out_probe__predictions p "
        "join core_label_worldcover__pixels l on p.unit = 'pixel' and l.pixel_id = p.unit_id"
    ).to_pandas()
    assert set(rows.arm) >= {"native_pixel", "upsampled_bilinear", "upsampled_nearest", "upsampled_mass_preserving"}
    assert rows.groupby("arm").size().nunique() == 1
    assert not rows.duplicated(["arm", "unit_id"]).any()
    assert (rows.truth == rows.label).all()


def test_patches_of_the_window_are_mapped_as_their_fold_predicted_them(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql(
        "select p.arm, p.unit_id, p.truth, p.pred, p.fold, p.x_m, p.y_m, l.label, f.fold as own_fold "
        "from out_probe__predictions p "
        "join core_label_worldcover__patches l on l.patch_id = p.unit_id "
        "join out_probe__folds f on f.unit = 'patch' and f.scheme = 'block' and f.unit_id = p.unit_id "
        "where p.unit = 'patch'"
    ).to_pandas()
    assert set(rows.arm) >= {"native_patch", "pooled_stats", "pooled_mean"}
    assert rows.groupby("arm").size().nunique() == 1
    assert len(rows[rows.arm == "native_patch"]) >= 3
    assert (rows.truth == rows.label).all()
    assert (rows.fold == rows.own_fold).all()


def test_every_mapped_place_has_a_colour_in_every_arm(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql(
        "select arm, count(distinct (red, green, blue)) as colors from out_probe__predictions group by arm"
    ).to_pylist()
    assert all(row["colors"] > 2 for row in rows), rows


@pytest.fixture
def copied(tiny_run: TinyRun, tmp_path: Path) -> Warehouse:
    shutil.copy(tiny_run.config, tmp_path)
    shutil.copytree(tiny_run.warehouse.root, tmp_path / "warehouse")
    return Warehouse(load_settings(tmp_path / tiny_run.config.name))


def fail_arm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cells of one arm fail, and the others hold what a majority probe says (quick)."""
    open_features = TaskData.open

    def open_or_fail(data: TaskData, cell: Cell, arm: Arm, plan: FoldPlan) -> Features:
        if arm.name == name:
            raise TooFewUnitsError("units", 3, 10, "Enlarge the area.")
        return open_features(data, cell, arm, plan)

    monkeypatch.setattr(TaskData, "open", open_or_fail)
    monkeypatch.setattr(study._CellRun, "_rule", lambda run: FitRule("majority", run.cell.budget))
    monkeypatch.setattr(CellFiles, "is_done", lambda *_arguments: False)


def test_a_failed_cell_is_a_row_with_its_reason(copied: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_arm("pooled_stats", monkeypatch)
    study.run_study(copied, 2024, lambda _text: None)
    rows = [row for row in copied.read_cells("out_probe__metrics", 2024).to_pylist() if row["arm"] == "pooled_stats"]
    assert len(rows) == 1
    assert rows[0]["status"].startswith("failed: units: found 3")
    assert rows[0]["value"] is None


def test_a_cell_that_fails_now_leaves_nothing_of_its_last_success(
    copied: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_arm("upsampled_bilinear", monkeypatch)
    study.run_study(copied, 2024, lambda _text: None)
    for table in ("out_probe__confusions", "out_probe__predictions"):
        assert "upsampled_bilinear" not in copied.read_cells(table, 2024)["arm"].to_pylist()


def test_a_cell_without_its_seal_is_run_again_and_the_others_are_not(copied: Warehouse) -> None:
    lines: list[str] = []
    study.run_study(copied, 2024, lines.append)
    assert len(lines) == len(study.list_cells(copied))
    assert all(line.endswith("done before") for line in lines)
    (stats,) = [cell for cell in study.list_cells(copied) if cell.arm == "pooled_stats"]
    files = CellFiles(copied, 2024)
    copied.cell("out_probe__metrics", 2024, files.slot(stats)).unlink()
    lines.clear()
    study.run_study(copied, 2024, lines.append)
    assert [line.split("] ")[1].split(":")[0] for line in lines if not line.endswith("done before")] == [str(stats)]


def test_a_scheme_that_is_added_runs_its_own_cells_alone(copied: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    before = copied.settings.evaluate
    assert before is not None
    assert "longitude" not in before.schemes
    evaluate = before.model_copy(update={"schemes": (*before.schemes, "longitude")})
    more = Warehouse(copied.settings.model_copy(update={"evaluate": evaluate}))
    write_folds(more, PartitionKey(2024))
    monkeypatch.setattr(study._CellRun, "_rule", lambda run: FitRule("majority", run.cell.budget))  # quick
    lines: list[str] = []
    study.run_study(more, 2024, lines.append)
    run = [line.split("] ")[1].split()[1] for line in lines if not line.endswith("done before")]
    assert run == ["longitude"] * sum(cell.scheme == "longitude" for cell in study.list_cells(more))


def with_label(warehouse: Warehouse, **update: Any) -> Warehouse:
    (name,) = warehouse.settings.labels
    labels = {name: warehouse.settings.labels[name].model_copy(update=update)}
    return Warehouse(warehouse.settings.model_copy(update={"labels": labels}))


def test_next_years_release_and_titles_leave_the_cells_of_a_year_done(copied: Warehouse) -> None:
    before = ground_facts(copied, 2024, ["T1"])["T1"]
    assert ground_facts(with_label(copied, title="Land cover"), 2024, ["T1"])["T1"] == before
    assert ground_facts(with_label(copied, years={2024: 2021, 2025: 2022}), 2024, ["T1"])["T1"] == before
    index = copied.read("raw_eg__index")
    later = index.set_column(
        index.schema.get_field_index("year"), "year", pa.array([2026] * index.num_rows, pa.int32())
    )
    copied.write("raw_eg__index", PartitionKey(), pa.concat_tables([index, later.cast(index.schema)]), PROVENANCE)
    assert ground_facts(Warehouse(copied.settings), 2024, ["T1"])["T1"] == before


def test_another_label_year_and_other_pixels_run_cells_again(copied: Warehouse) -> None:
    before = ground_facts(copied, 2024, ["T1"])["T1"]
    assert ground_facts(with_label(copied, years={2024: 2020}), 2024, ["T1"])["T1"] != before
    path = next((copied.root / "core_aef__pixels" / "year=2024").rglob("part.parquet"))
    earlier = next((copied.root / "core_aef__pixels" / "year=2023").rglob("part.parquet"))
    earlier.unlink()
    assert ground_facts(copied, 2024, ["T1"])["T1"] == before
    assert ground_facts(copied, 2024, ["T7"])["T7"] != ground_facts(copied, 2024, ["T1"])["T1"]
    path.unlink()
    assert ground_facts(copied, 2024, ["T1"])["T1"] != before


def test_other_windows_run_the_mapped_cells_again_and_those_alone(
    copied: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}

    def note(_files: CellFiles, cell: Cell, fingerprint: str) -> bool:
        asked[str(cell)] = fingerprint
        return True

    monkeypatch.setattr(CellFiles, "is_done", note)

    def fingerprints(name: str) -> dict[str, str]:
        (window,) = copied.settings.keep.windows
        keep = copied.settings.keep.model_copy(update={"windows": (window.model_copy(update={"name": name}),)})
        group = GroupSettings(tasks=("T1",), arms=("native_patch",), probes=("knn_5",))
        study_settings = StudySettings(cells=(group,))
        settings = copied.settings.model_copy(update={"keep": keep, "study": study_settings})
        study.run_study(Warehouse(settings), 2024, lambda _text: None)
        return dict(asked)

    before, after = fingerprints("seam"), fingerprints("renamed")
    assert [cell for cell in before if before[cell] == after[cell]] == ["T1 block native_patch knn_5 100% purity 0.5"]


def test_an_old_seal_does_not_stand_on_new_counts(copied: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = [cell for cell in study.list_cells(copied) if cell.arm == "pooled_stats" and cell.scheme == "block"]
    files = CellFiles(copied, 2024)
    seal = copied.cell("out_probe__metrics", 2024, files.slot(cell))
    assert seal.is_file()

    def break_off(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Warehouse, "write_cell", break_off)
    with pytest.raises(KeyboardInterrupt):
        files.write(cell, {"out_probe__confusions": pa.table({}), "out_probe__metrics": pa.table({})}, PROVENANCE)
    assert not seal.is_file()


def test_cells_of_older_settings_are_removed(copied: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(copied.read_cells("out_probe__metrics", 2024)["run_id"].to_pylist())
    evaluate = copied.settings.evaluate.model_copy(update={"c_grid": (0.01,), "tasks": ("T1",)})  # type: ignore[union-attr]
    changed = Warehouse(copied.settings.model_copy(update={"evaluate": evaluate}))
    fail_arm("none", monkeypatch)
    study.run_study(changed, 2024, lambda _text: None)
    for table in ("out_probe__metrics", "out_probe__confusions"):
        assert not set(copied.read_cells(table, 2024)["run_id"].to_pylist()) & before
    for table in ("out_probe__metrics", "out_probe__confusions", "out_probe__predictions"):
        rows = copied.read_cells(table, 2024)
        assert set(rows["task"].to_pylist()) == {"T1"}
        # the two controls are not mapped
        assert len(set(rows["arm"].to_pylist())) == (6 if table == "out_probe__predictions" else 8)


def test_a_study_adds_cells_and_they_go_with_it(copied: Warehouse) -> None:
    group = GroupSettings(tasks=("T1",), arms=("native_patch",), budgets=("10", "50%"), draws=2)
    with_study = Warehouse(copied.settings.model_copy(update={"study": StudySettings(cells=(group,))}))
    lines: list[str] = []
    study.run_study(with_study, 2024, lines.append)
    assert sum(not line.endswith("done before") for line in lines) == 2  # the default cells were there

    def budgets() -> set[tuple[str, float]]:
        rows = copied.read_cells("out_probe__metrics", 2024)
        return set(zip(rows["budget_kind"].to_pylist(), rows["budget"].to_pylist(), strict=True))

    assert budgets() == {("percent", 100.0), ("shots", 10.0), ("percent", 50.0)}
    study.run_study(copied, 2024, lambda _text: None)
    assert budgets() == {("percent", 100.0)}
