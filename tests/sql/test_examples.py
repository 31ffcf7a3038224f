"""Every file of sql/examples, run as a practitioner would, against hand-made rows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.warehouse.fake_evidence import write_evidence
from tests.warehouse.fake_rows import CLASSES, PAIR, SHARDS, YEAR, demo_specs, fill_table, random_rows, write_rows
from transforms.metrics import METRICS, per_class_f1, per_class_iou
from warehouse.json_rows import json_rows
from warehouse.queries import run_sql
from warehouse.sql_files import list_sql, read_sql

SPECS = demo_specs()


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def run_example(root, name, **params):
    return run_sql(root, SPECS, PAIR, read_sql("examples", name).text, params).to_pylist()


def put(root, rng, table, year=YEAR, shard=SHARDS[0], **columns):
    n = len(next(iter(columns.values())))
    write_rows(root, SPECS[table], random_rows(SPECS[table], n, rng, **columns), year=year, shard=shard)


@pytest.fixture(scope="module")
def random_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("random")
    generator = np.random.default_rng(3)
    for spec in SPECS.values():
        fill_table(root, spec, 6, generator)
    return root


def test_there_are_at_least_six_examples():
    assert len(list_sql("examples")) >= 6


@pytest.mark.parametrize("name", list_sql("examples"))
def test_every_example_runs_with_its_defaults_on_rows_and_on_nothing(random_root, tmp_path, name):
    text = read_sql("examples", name).text
    filled = run_sql(random_root, SPECS, PAIR, text)
    assert run_sql(tmp_path, SPECS, PAIR, text).schema.names == filled.schema.names
    json.dumps(json_rows(filled), allow_nan=False)


@pytest.mark.parametrize("name", list_sql("examples"))
def test_every_parameter_is_documented(name):
    file = read_sql("examples", name)
    body = "\n".join(line for line in file.text.splitlines() if not line.startswith("--"))
    used = {word.split("::")[0].strip("),") for word in body.replace("(", " ").split() if word.startswith("$")}
    assert used == {w.strip("(),") for w in file.header["parameters"].split() if w.startswith("$")}


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        ("q1_does_pooling_match_patches", {"pooled_stats", "pooled_mean", "patch_coordinates", "patch_majority"}),
        (
            "q2_does_upsampling_match_pixels",
            {"upsampled_bilinear", "upsampled_nearest", "pixel_coordinates", "pixel_majority"},
        ),
    ],
)
def test_questions_put_the_claim_first(tmp_path, rng, name, arms):
    write_evidence(tmp_path, rng, n_blocks=24)
    rows = run_example(tmp_path, name)
    assert {row["arm"] for row in rows} == arms
    assert [row["is_primary"] for row in rows] == [True, False, False, False]
    assert rows[0]["lo"] < rows[0]["delta"] < rows[0]["hi"]


def test_similar_patches_are_ranked_within_the_radius(tmp_path, rng):
    step = math.degrees(1000 / 6371008.8)
    vector = np.zeros((4, 384), np.float32)
    vector[:, 0] = 1
    vector[1, 1], vector[2, 1] = 0.5, 0.1
    put(
        tmp_path,
        rng,
        "core_eg__patches",
        patch_id=[1, 2, 3, 4],
        lon=[102.0] * 4,
        lat=[12.0, 12.0 + step, 12.0 - 4.99 * step, 12.0 + 5.01 * step],
        embedding=vector.tolist(),
    )
    rows = run_example(tmp_path, "similar_patches_within_5km")
    assert [row["patch_id"] for row in rows] == [3, 2]
    assert rows[0]["distance_m"] == pytest.approx(4990, abs=0.2)
    assert rows[1]["cosine"] == pytest.approx(1 / math.sqrt(1.25), abs=1e-4)
    wide = run_example(tmp_path, "similar_patches_within_5km", patch_id=2, radius_m=20_000, n=2)
    assert [row["patch_id"] for row in wide] == [3, 1]


def test_class_area_counts_each_lattice_once(tmp_path, rng):
    put(
        tmp_path,
        rng,
        "core_grid__patches",
        patch_id=[1, 2],
        lattice=["primary", "secondary"],
        side_m=[320.0, 320.0],
    )
    put(
        tmp_path,
        rng,
        "core_label_cover__patches",
        patch_id=[1, 2],
        label_source=["cover"] * 2,
        label=[0, 1],
        class_name=list(CLASSES[:2]),
        h3_r7=[0x87652D0E4FFFFFF] * 2,
        fractions=[[1.0, 0, 0, 0], [0.25, 0.75, 0, 0]],
    )
    rows = run_example(tmp_path, "class_area_by_h3_cell")
    area = {row["class_name"]: row["area_km2"] for row in rows}
    assert area == {"water": pytest.approx(0.1024 / 2 * 1.25, abs=1e-4), "trees": pytest.approx(0.0384, abs=1e-4)}
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-3)
    assert rows[0]["h3_cell"] == "87652d0e4ffffff"


def test_changed_places_come_first(tmp_path, rng):
    base = np.eye(3, 64, dtype=np.float32)
    turned = base.copy()
    turned[1] = np.roll(base[1], 5)
    for year, mean in ((2023, base), (YEAR, turned)):
        put(
            tmp_path,
            rng,
            "out_patch__aef_pooled",
            year=year,
            patch_id=[1, 2, 3],
            mean=mean.tolist(),
            valid_fraction=[1.0, 1.0, 0.2],
        )
    rows = run_example(tmp_path, "where_years_differ")
    assert [(row["patch_id"], row["cosine_distance"]) for row in rows] == [(2, 1.0), (1, 0.0)]
    assert (rows[0]["year_a"], rows[0]["year_b"]) == (2023, YEAR)


def test_failing_rows_name_their_check(tmp_path, rng):
    put(tmp_path, rng, "core_eg__patches", patch_id=[1, 1])
    rows = run_example(tmp_path, "rows_that_failed_a_check", check_name="duplicate_patch_ids")
    assert len(rows) == 1
    assert rows[0]["check_name"] == "duplicate_patch_ids"
    assert "'n_rows': 2" in rows[0]["failing_row"]


def test_a_sample_of_pixels_is_reproducible_and_labelled(tmp_path, rng):
    ids = list(range(1, 41))
    put(tmp_path, rng, "core_aef__pixels", pixel_id=ids, in_sample=[i % 2 == 0 for i in ids])
    for label_year, name in ((2020, "old"), (2021, "new")):
        put(
            tmp_path,
            rng,
            "core_label_cover__pixels",
            year=label_year,
            pixel_id=ids,
            label_source=["cover"] * 40,
            class_name=[name] * 40,
        )
    first = run_example(tmp_path, "sample_of_pixels", n=7, seed=1)
    assert first == run_example(tmp_path, "sample_of_pixels", n=7, seed=1)
    assert len(first) == 7
    assert all(row["pixel_id"] % 2 == 0 and row["class_name"] == "new" for row in first)
    assert first != run_example(tmp_path, "sample_of_pixels", n=7, seed=2)


def test_scores_in_sql_equal_scores_in_python(tmp_path, rng):
    # class 3 is predicted but never true, class 2 occurs nowhere
    counts = np.array([[5, 1, 0, 2], [3, 7, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    truth, pred = np.nonzero(counts)
    n = counts[truth, pred]
    half = n // 2
    spec = SPECS["out_probe__confusions"]
    for cell, part in (("a", half), ("b", n - half)):
        rows = random_rows(
            spec,
            len(n),
            rng,
            truth=truth.astype(np.int16),
            pred=pred.astype(np.int16),
            n=part,
            block_id=[ord(cell)] * len(n),
            fold=[ord(cell)] * len(n),
            budget=[1.0] * len(n),
            budget_kind=["percent"] * len(n),
            purity_min=[0.5] * len(n),
            is_default=[True] * len(n),
            class_id=[None] * len(n),
            draw=[0] * len(n),
            seed=[0] * len(n),
        )
        write_rows(tmp_path, spec, rows, cell=cell, year=YEAR)
    found = run_sql(tmp_path, SPECS, PAIR, "from scores_from_confusions").to_pylist()
    assert len(found) == 1
    for name in ("macro_f1", "mean_iou", "overall_accuracy", "balanced_accuracy"):
        assert found[0][name] == pytest.approx(float(METRICS[name](counts)), abs=1e-12), name
    classes = run_sql(tmp_path, SPECS, PAIR, "select class_id, f1, iou from per_class order by class_id").to_pylist()
    assert [row["class_id"] for row in classes] == [0, 1, 3]
    np.testing.assert_allclose([row["f1"] for row in classes], per_class_f1(counts)[[0, 1, 3]])
    np.testing.assert_allclose([row["iou"] for row in classes], per_class_iou(counts)[[0, 1, 3]])


def metrics_of(rng, n, **columns):
    """Rows of metrics over all classes that differ in what is given alone."""
    shared = {"year": YEAR, "task": "T1", "label_source": "cover", "scheme": "block", "arm": "native_patch"}
    shared |= {"arm_family": "native", "probe": "logistic", "budget_kind": "percent", "budget": 100.0}
    shared |= {"purity_min": 0.5, "is_default": True, "metric": "macro_f1", "averaging": "macro", "status": "ok"}
    shared |= {
        "threshold_rule": "argmax",
        "draw": 0,
        "seed": 0,
        "dims": 3,
        "bytes_per_km2": 1.0,
        "source_product": "eg",
    }
    shared |= dict.fromkeys(
        ["fold", "region", "stratum", "stratum_value", "class_id", "class_name", "k", "tolerance_px"]
    )
    names = {field.name for field in SPECS["out_probe__metrics"].schema}
    filled = {name: [value] * n for name, value in shared.items() if name in names} | columns
    return random_rows(SPECS["out_probe__metrics"], n, rng, **filled)


def test_transfers_of_other_k_budgets_and_purities_are_not_averaged_together(tmp_path, rng):
    rows = metrics_of(
        rng,
        5,
        task=["T4"] * 5,
        scheme=["transfer"] * 5,
        region=["a"] * 5,
        stratum=["test_region"] * 5,
        stratum_value=["b"] * 5,
        metric=["precision_at_k"] * 5,
        k=[10, 50, 10, 10, 10],
        budget=[100.0, 100.0, 10.0, 10.0, 100.0],
        draw=[0, 0, 0, 1, 0],
        purity_min=[0.5, 0.5, 0.5, 0.5, 0.9],
        value=[0.9, 0.7, 0.3, 0.5, 1.0],
    )
    write_rows(tmp_path, SPECS["out_probe__metrics"], rows, year=YEAR)
    found = run_sql(tmp_path, SPECS, PAIR, "select budget, purity_min, k, value from region_matrix").to_pylist()
    assert {tuple(row.values()) for row in found} == {
        (100.0, 0.5, 10, 0.9), (100.0, 0.5, 50, 0.7), (10.0, 0.5, 10, 0.4), (100.0, 0.9, 10, 1.0),
    }  # fmt: skip


@pytest.mark.parametrize("mart", ["learning_curves", "cost_vs_score"])
def test_purities_are_told_apart(tmp_path, rng, mart):
    rows = metrics_of(rng, 4, purity_min=[0.5, 0.5, 0.9, 0.9], budget=[10.0, 100.0] * 2, value=[0.1, 0.2, 0.3, 0.4])
    write_rows(tmp_path, SPECS["out_probe__metrics"], rows, year=YEAR)
    found = run_sql(tmp_path, SPECS, PAIR, f"select purity_min, value from {mart}").to_pylist()
    everything = {(0.5, 0.1), (0.5, 0.2), (0.9, 0.3), (0.9, 0.4)}
    all_labels = {(0.5, 0.2), (0.9, 0.4)}
    assert {tuple(row.values()) for row in found} == (everything if mart == "learning_curves" else all_labels)
    assert len(found) == len({tuple(row.values()) for row in found})


def test_leaderboard_keeps_folds_and_pooled_rows_apart(tmp_path, rng):
    spec = SPECS["out_probe__metrics"]
    shared = {name: [0] * 4 for name in ("dims", "class_id") if name == "dims"}
    rows = random_rows(
        spec,
        4,
        rng,
        fold=[0, 1, None, 2],
        value=[0.2, 0.4, 0.35, 0.9],
        status=["ok", "ok", "ok", "failed"],
        class_id=[None] * 4,
        budget=[1.0] * 4,
        purity_min=[0.5] * 4,
        is_default=[True] * 4,
        k=[None] * 4,
        tolerance_px=[None] * 4,
        bytes_per_km2=[1.0] * 4,
        **shared,
    )
    write_rows(tmp_path, spec, rows, year=YEAR)
    found = run_sql(tmp_path, SPECS, PAIR, "from leaderboard").to_pylist()
    assert len(found) == 1
    assert found[0]["pooled_value"] == 0.35
    assert found[0]["mean_over_folds"] == pytest.approx(0.3)
    assert found[0]["n_folds"] == 2
