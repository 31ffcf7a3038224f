"""The adapter's study from stored folds and source files to gains, on the tiny world."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.adapters import write_gains
from orchestration.definitions import build_defs
from tests.conftest import Once, TinyRun
from tests.tiny import tiny_settings, write_settings
from transforms.block_statistics import pair_blocks, statistics_of
from transforms.metrics import mean_iou
from warehouse.adapters import ADAPTER_TABLES, CONFUSIONS, SCORES, run_adapters
from warehouse.chips import adapter_settings, read_chips, read_ground
from warehouse.errors import SettingsError, SourceMissingError
from warehouse.layout import PartitionKey
from warehouse.partition_states import PartitionState, PartitionStates
from warehouse.queries import run_sql
from warehouse.settings import load_settings
from warehouse.store import Warehouse

pytest.importorskip("torch", reason="torch is an extra of its own: pip install 'isthmus[torch]'")

YEAR = 2024
ADAPTER: dict[str, Any] = {
    "heads": ["conv"],
    "inits": ["random_init", "pretrained", "supervised_elsewhere"],
    "budgets": [1, 100],
    "seeds": 2,
    "regions": {"west": ["47PRP", "47PRQ"], "east": ["48PSU", "48PSV"]},
    "chip_px": 16,
    "crop_px": 10,
    "width": 4,
    "max_labels": 100,
    "pretrain_steps": 3,
    "fine_tune_steps": 10,
}


def settings_on(run: TinyRun, folder: Path, **adapter: Any) -> Path:
    settings = tiny_settings(run.world) | {"adapter": {**ADAPTER, **adapter}}
    return write_settings(folder / "tiny.toml", settings)


def open_copy(run: TinyRun, folder: Path, **adapter: Any) -> Warehouse:
    """Open a copy of a finished warehouse, by hard links: files are only ever replaced."""
    shutil.copytree(run.warehouse.root, folder / "warehouse", copy_function=os.link, dirs_exist_ok=True)
    return Warehouse(load_settings(settings_on(run, folder, **adapter)))


@pytest.fixture(scope="module")
def studied(tiny_run: TinyRun, once: Once) -> Warehouse:
    """A warehouse with all cells and gains. Read only."""

    def make(folder: Path) -> None:
        warehouse = open_copy(tiny_run, folder)
        rows = run_adapters(warehouse, YEAR, print)
        assert all(rows[table] for table in ADAPTER_TABLES)
        write_gains(warehouse, PartitionKey(YEAR))

    return Warehouse(load_settings(once("tiny-adapters", make) / "tiny.toml"))


def sql(warehouse: Warehouse, text: str) -> list[dict[str, Any]]:
    return run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text).to_pylist()


def stored_cells(warehouse: Warehouse) -> dict[Path, int]:
    files = (path for table in ADAPTER_TABLES for path in warehouse.cell(table, YEAR, "*").parent.glob("cell-*"))
    return {path: path.stat().st_mtime_ns for path in files}


def test_chips_hold_the_stored_vectors_labels_and_folds(studied: Warehouse) -> None:
    """Wherever a chip covers a pixel that the tables keep, it says what they say."""
    ground = read_ground(studied, YEAR)
    chips = read_chips(studied, ground, "native_pixel", YEAR)
    pixels = ground.pixels()
    lookup = {int(key): number for number, key in enumerate(pixels.pixel_id)}
    rows = sql(
        studied,
        f"""select p.pixel_id, p.embedding, l.label, f.fold, f.block_id, f.in_buffer_of
        from pair_pixels as p
        join core_label_worldcover__pixels as l using (pixel_id)
        join out_probe__folds as f on f.unit_id = p.pixel_id and f.unit = 'pixel' and f.scheme = 'block'
        where p.year = {YEAR} and l.label is not null""",
    )
    shape = chips.labels.shape
    n_same = 0
    for row in rows:
        number = lookup.get(row["pixel_id"])
        if number is None:
            continue
        chip, line, col = np.unravel_index(number, shape)
        if chips.block_id[chip] != row["block_id"]:
            assert chips.labels[chip, line, col] == -1
            continue
        n_same += 1
        np.testing.assert_allclose(chips.vectors[chip, :, line, col], row["embedding"], atol=1e-6)
        assert chips.labels[chip, line, col] == row["label"]
        assert chips.fold[chip] == row["fold"]
        assert np.flatnonzero(chips.in_buffer[chip, line, col]).tolist() == row["in_buffer_of"]
    assert n_same > len(chips)


def test_the_other_year_is_there_where_its_files_are(studied: Warehouse) -> None:
    ground = read_ground(studied, YEAR)
    chips = read_chips(studied, ground, "native_pixel", YEAR)
    assert chips.other_year is not None
    there = np.isfinite(chips.other_year).all(axis=1)
    assert 0.05 < there.mean() < 0.95  # the early year covers a part of the world
    difference = np.abs(chips.other_year - chips.vectors).max(axis=1)[there & chips.is_valid]
    assert 0 < difference.mean() < 0.5


def test_patches_are_upsampled_to_the_chips(studied: Warehouse) -> None:
    ground = read_ground(studied, YEAR)
    chips = read_chips(studied, ground, "upsampled_bilinear", YEAR)
    assert chips.dims == 384
    assert chips.other_year is None
    stored = sql(
        studied,
        f"""select pixel_id, embedding from pair_upsampled
        where year = {YEAR} and method = 'bilinear' and embedding is not null""",
    )
    by_pixel = np.moveaxis(chips.vectors, 1, -1).reshape(-1, 384)
    lookup = {int(key): number for number, key in enumerate(ground.pixels().pixel_id)}
    both = [(lookup[row["pixel_id"]], row["embedding"]) for row in stored if row["pixel_id"] in lookup]
    assert len(both) > len(chips)
    for number, embedding in both:
        np.testing.assert_allclose(by_pixel[number], embedding, atol=1e-5)


def test_every_cell_of_the_settings_has_rows(studied: Warehouse) -> None:
    found = sql(studied, f"select distinct region, init, budget, seed from {SCORES}")
    assert len(found) == 2 * 3 * 2 * 2
    scored = sql(studied, f"select count(*) as n from {SCORES} where metric = 'mean_iou'")
    # two regions each, but for adapters from elsewhere, which are tested at home alone
    assert scored == [{"n": 2 * 2 * 2 * (2 + 2 + 1)}]
    skipped = sql(studied, f"select distinct init, status from {SCORES} where metric is null")
    expected = "skipped: its adapter was trained with labels of this region"
    assert skipped == [{"init": "supervised_elsewhere", "status": expected}]
    assert sql(studied, f"select distinct is_simulated as s from {SCORES}") == [{"s": True}]
    labels = sql(studied, f"select distinct budget, n_labels from {SCORES} order by budget")
    assert labels == [{"budget": 1.0, "n_labels": 2}, {"budget": 100.0, "n_labels": 100}]


def test_scores_are_those_of_the_stored_confusions(studied: Warehouse) -> None:
    n_classes = len(studied.label("worldcover").classes)
    scores = sql(studied, f"from {SCORES} where metric = 'mean_iou'")
    for row in scores[::4]:
        keys = ("region", "init", "budget", "seed", "stratum_value")
        where = " and ".join(f"{key} = '{row[key]}'" for key in keys)
        table = run_sql(studied.root, studied.specs, studied.settings.compare, f"from {CONFUSIONS} where {where}")
        counts, _ = pair_blocks(table, table, statistics_of("class", "mean_iou")[0], n_classes)
        assert row["value"] == pytest.approx(float(mean_iou(counts.sum(axis=0))))
        assert (row["n_units"], row["n_blocks"]) == (counts.sum(), len(counts))


def test_seeds_share_the_test_ground_of_all_starts(studied: Warehouse) -> None:
    rows = sql(
        studied,
        f"""select seed, stratum_value, block_id, truth, count(distinct n) as n
        from (select region, init, budget, seed, stratum_value, block_id, truth, sum(n) as n
              from {CONFUSIONS} group by all) group by all having count(distinct n) > 1""",
    )
    assert rows == []


def test_finished_cells_are_skipped_and_broken_ones_run_again(tiny_run: TinyRun, tmp_path: Path) -> None:
    small = {"inits": ["random_init"], "budgets": [100], "seeds": 1}
    warehouse = open_copy(tiny_run, tmp_path, **small)
    run_adapters(warehouse, YEAR, print)
    before = stored_cells(warehouse)
    lines: list[str] = []
    run_adapters(warehouse, YEAR, lines.append)
    assert all(line.endswith("stored before") for line in lines)
    assert stored_cells(warehouse) == before
    broken = next(path for path in before if CONFUSIONS in str(path))
    broken.unlink()  # as a run that was killed between the two files of a cell leaves it
    lines.clear()
    run_adapters(warehouse, YEAR, lines.append)
    assert sum(line.endswith("stored before") for line in lines) == len(lines) - 1
    after = stored_cells(warehouse)
    assert set(after) == set(before)
    assert {path.name for path in before if after[path] != before[path]} == {broken.name}


def test_cells_of_other_settings_go(tiny_run: TinyRun, tmp_path: Path) -> None:
    small = {"inits": ["random_init"], "budgets": [100], "seeds": 1}
    warehouse = open_copy(tiny_run, tmp_path, **small)
    run_adapters(warehouse, YEAR, print)
    before = stored_cells(warehouse)
    run_adapters(Warehouse(load_settings(settings_on(tiny_run, tmp_path, **small, width=5))), YEAR, print)
    assert not set(stored_cells(warehouse)) & set(before)
    assert len(stored_cells(warehouse)) == len(before)


def test_one_region_skips_labels_from_elsewhere(tiny_run: TinyRun, tmp_path: Path) -> None:
    one = {"regions": {"west": ["47PRP", "47PRQ"]}, "inits": ["random_init", "supervised_elsewhere"], "seeds": 1}
    warehouse = open_copy(tiny_run, tmp_path, **one)
    run_adapters(warehouse, YEAR, print)
    rows = sql(warehouse, f"select distinct init, status, region from {SCORES} where metric is null")
    assert [row["init"] for row in rows] == ["supervised_elsewhere"]
    assert rows[0]["status"].startswith("skipped: regions: found one, expected two or more")


def test_a_year_without_labels_has_no_cells(tiny_run: TinyRun, tmp_path: Path) -> None:
    warehouse = open_copy(tiny_run, tmp_path)
    lines: list[str] = []
    assert run_adapters(warehouse, 2023, lines.append) == dict.fromkeys(ADAPTER_TABLES, 0)
    assert lines == ["adapters of 2023: no labels of worldcover for this year"]


def test_gains_are_paired_and_never_a_verdict_in_a_diagnostic(studied: Warehouse) -> None:
    rows = sql(studied, "from out_probe__adapter_gains")
    scopes = {(row["region"], row["stratum_value"]) for row in rows if row["init"] == "pretrained"}
    pairs = {(a, b) for a in ("west", "east") for b in ("west", "east")}
    assert scopes == pairs | {("all", "all")}
    assert {row["verdict"] for row in rows} == {"inconclusive"}
    assert {row["status"] for row in rows} == {"diagnostic"}
    assert all(row["delta"] == pytest.approx(row["arm_value"] - row["reference_value"]) for row in rows)
    assert all(row["lo"] <= row["delta"] <= row["hi"] for row in rows)
    assert all(row["p_holm"] >= row["p"] for row in rows)
    assert {row["n_seeds"] for row in rows} == {2}


def test_the_transfer_matrix_is_the_mean_over_seeds(studied: Warehouse) -> None:
    rows = sql(studied, "from transfer_matrix where init = 'pretrained' and budget = 100")
    assert {(row["train_region"], row["test_region"]) for row in rows} == {
        (a, b) for a in ("west", "east") for b in ("west", "east")
    }
    for row in rows:
        values = sql(
            studied,
            f"""select value from {SCORES} where metric = 'mean_iou' and init = 'pretrained' and budget = 100
            and region = '{row["train_region"]}' and stratum_value = '{row["test_region"]}'""",
        )
        assert row["mean_iou"] == pytest.approx(np.mean([value["value"] for value in values]))
        assert row["n_seeds"] == len(values) == 2
        assert row["is_simulated"]


def test_adapters_above_simulated_inputs_must_say_so(tiny_run: TinyRun, tmp_path: Path) -> None:
    warehouse = open_copy(tiny_run, tmp_path, inits=["random_init"], budgets=[100], seeds=1)
    run_adapters(warehouse, YEAR, print)
    check = "select distinct table_name from check_simulated_flag_consistent"
    assert sql(warehouse, check) == []
    path = next(path for path in stored_cells(warehouse) if SCORES in str(path))
    rows = pq.read_table(path)
    position = rows.schema.get_field_index("is_simulated")
    real = rows.set_column(position, "is_simulated", pa.array([False] * rows.num_rows))
    path.unlink()
    pq.write_table(real, path)
    assert sql(warehouse, check) == [{"table_name": SCORES}]


def test_cells_that_are_stored_in_an_older_form_are_run_again_once(
    tiny_run: TinyRun, raise_schema_version: Callable[..., None], tmp_path: Path
) -> None:
    older = open_copy(tiny_run, tmp_path, inits=["random_init"], budgets=[100], seeds=1)
    run_adapters(older, YEAR, print)
    write_gains(older, PartitionKey(YEAR))
    raise_schema_version(*ADAPTER_TABLES)
    newer = Warehouse(older.settings)

    def stale() -> set[str]:
        states = PartitionStates(Warehouse(older.settings))
        names = (*ADAPTER_TABLES, "out_probe__adapter_gains")
        return {name for name in names if states.status(name, PartitionKey(YEAR)).state is PartitionState.STALE}

    before = stored_cells(newer)
    assert stale() == set(ADAPTER_TABLES)
    run_adapters(newer, YEAR, print)
    after = stored_cells(newer)
    assert not any(after[path] == time for path, time in before.items())
    assert stale() == set()
    run_adapters(newer, YEAR, print)
    assert stored_cells(newer) == after


def test_a_warehouse_without_an_adapter_answers_with_no_rows(tiny_run: TinyRun) -> None:
    assert tiny_run.sql("from transfer_matrix").num_rows == 0
    assert tiny_run.sql("from out_probe__adapter_gains").num_rows == 0
    with pytest.raises(SourceMissingError, match=r"found no \[adapter\]"):
        adapter_settings(tiny_run.warehouse)


def test_the_assets_exist_where_the_settings_ask(tiny_run: TinyRun, tmp_path: Path) -> None:
    config = settings_on(tiny_run, tmp_path)
    keys = {key.to_user_string() for key in build_defs(config).resolve_all_asset_keys()}
    assert keys == set(Warehouse(load_settings(config)).specs) | {"warehouse_duckdb", "report"}
    assert {*ADAPTER_TABLES, "out_probe__adapter_gains"} <= keys
    without = {key.to_user_string() for key in build_defs(tiny_run.config).resolve_all_asset_keys()}
    assert keys - without == {*ADAPTER_TABLES, "out_probe__adapter_gains"}


@pytest.mark.parametrize(
    ("adapter", "problem"),
    [
        ({"inits": ["pretrained"]}, "inits must hold random_init"),
        ({"crop_px": 64}, "crop_px 64 is larger than chip_px 16"),
        ({"budgets": [1, 1]}, "names one twice"),
        ({"regions": {"a": ["47PRP"], "b": ["47PRP"]}}, "is in two regions"),
        ({"budgets": [0]}, "adapter.budgets"),
    ],
)
def test_impossible_settings_are_refused(tiny_run: TinyRun, tmp_path: Path, adapter: Any, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_settings(settings_on(tiny_run, tmp_path, **adapter))


def test_an_adapter_needs_folds_of_blocks(tiny_run: TinyRun, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_run.world) | {"adapter": ADAPTER}
    settings["evaluate"]["schemes"] = ["random"]
    with pytest.raises(SettingsError, match=r"adapter needs \[evaluate\] with 'block' among its schemes"):
        load_settings(write_settings(tmp_path / "tiny.toml", settings))


def test_unknown_shards_are_refused_with_those_that_are_there(tiny_run: TinyRun, tmp_path: Path) -> None:
    warehouse = open_copy(tiny_run, tmp_path, regions={"north": ["33TWM"]})
    with pytest.raises(Exception, match=r"adapter\.regions: \['47PRP'"):
        read_ground(warehouse, YEAR)
