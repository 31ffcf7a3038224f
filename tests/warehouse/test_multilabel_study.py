"""Labels that name several classes a patch and no single one: folds, audit and T2, as for BigEarthNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

from tests.warehouse.multilabel_world import N_SIDE, SHARES, YEAR, open_world, write_world
from transforms.arms import ARMS
from transforms.errors import TooFewUnitsError
from transforms.variogram import empirical_variogram, fit_range
from warehouse.features import read_labelled_units
from warehouse.layout import PartitionKey
from warehouse.queries import run_sql
from warehouse.reader import vectors
from warehouse.store import Warehouse
from warehouse.study_folds import read_folds
from warehouse.task_data import load_task

NATIVE = [ARMS["native_patch"]]


def sql(warehouse: Warehouse, text: str) -> list[dict]:
    return run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text).to_pylist()


def test_every_patch_that_has_a_class_is_a_unit(multilabel_run: Warehouse) -> None:
    found = read_labelled_units(multilabel_run, "patch", "ben", YEAR)
    assert found is not None
    count = vectors(found.rows, "multi_label").sum(axis=1)
    assert count.min() == 1
    assert len(found.units) < N_SIDE**2  # a patch without any class is none
    assert ((found.units.label >= 0) == (count == 1)).all()
    assert (count > 1).sum() > 50


def test_single_class_tasks_take_the_patches_with_one_class(multilabel_run: Warehouse) -> None:
    several, single = (load_task(multilabel_run, task, YEAR, NATIVE) for task in ("T2", "T1"))
    assert (single.targets.values >= 0).all()
    assert len(single.units) == (several.units.label >= 0).sum() < len(several.units)
    assert several.rule == "all classes that the source names"


def test_both_schemes_are_scored_with_each_probe(multilabel_run: Warehouse) -> None:
    rows = sql(multilabel_run, "select distinct scheme, arm, probe, status from out_probe__metrics where task = 'T2'")
    found = {(row["scheme"], row["probe"], row["status"]) for row in rows if row["arm"] == "native_patch"}
    assert found == {
        (scheme, probe, "diagnostic") for scheme in ("given", "block") for probe in ("logistic", "random_forest")
    }
    assert {row["status"] for row in rows} == {"diagnostic"}


def test_the_official_split_trains_on_its_parts_and_tests_the_test_part(multilabel_run: Warehouse) -> None:
    data = load_task(multilabel_run, "T2", YEAR, NATIVE)
    plan = read_folds(multilabel_run, YEAR).plan(data.units, "given")
    assert plan.n_folds == 1
    is_test = data.units.given_fold == 0
    np.testing.assert_array_equal(plan.tests(0), is_test)
    np.testing.assert_array_equal(plan.trains(0), ~is_test)
    (row,) = sql(
        multilabel_run,
        "select n_units from out_probe__metrics where task = 'T2' and scheme = 'given' and arm = 'native_patch' "
        "and probe = 'logistic' and metric = 'hamming_loss' and threshold_rule = '0.5' and fold is null",
    )
    assert row["n_units"] == is_test.sum()


def test_scores_by_class_are_those_of_the_counts_even_with_one_fold(multilabel_run: Warehouse) -> None:
    rows = sql(
        multilabel_run,
        "select class_name, class_id, metric, value from out_probe__metrics where task = 'T2' and scheme = 'given' "
        "and arm = 'native_patch' and probe = 'logistic' and class_id is not null and fold is null "
        "and (threshold_rule = '0.5' or threshold_rule is null)",
    )
    stored = {(row["class_id"], row["metric"]): row["value"] for row in rows}
    names = {row["class_id"]: row["class_name"] for row in rows}
    counts = sql(
        multilabel_run,
        "select class_id, f1, prevalence from per_label where task = 'T2' and scheme = 'given' "
        "and arm = 'native_patch' and probe = 'logistic' and threshold_rule = '0.5'",
    )
    seen = [row for row in counts if row["prevalence"] > 0]
    assert {names[row["class_id"]] for row in seen} == set(SHARES)
    for row in seen:
        assert stored[row["class_id"], "f1"] == pytest.approx(row["f1"], abs=1e-12)
        assert stored[row["class_id"], "average_precision"] > row["prevalence"]


def test_the_native_vectors_beat_the_prior_by_scikit_learn_too(multilabel_run: Warehouse) -> None:
    data = load_task(multilabel_run, "T2", YEAR, NATIVE)
    X, is_test = data.reader.stored(NATIVE[0], data.units), data.units.given_fold == 0
    label = data.targets.names.index("Arable land")
    truth = data.targets.values[:, label]
    model = LogisticRegression().fit(X[~is_test], truth[~is_test])
    expected = f1_score(truth[is_test], model.predict(X[is_test]))
    (row,) = sql(
        multilabel_run,
        "select f1 from per_label where task = 'T2' and scheme = 'given' and arm = 'native_patch' and "
        f"probe = 'logistic' and threshold_rule = '0.5' and class_id = {label}",
    )
    assert row["f1"] == pytest.approx(expected, abs=0.05)  # another penalty, scaled features
    assert average_precision_score(truth[is_test], model.predict_proba(X[is_test])[:, 1]) > 0.9


def test_the_range_of_labels_is_that_of_all_classes(multilabel_run: Warehouse) -> None:
    found = read_labelled_units(multilabel_run, "patch", "ben", YEAR)
    assert found is not None
    flags = vectors(found.rows, "multi_label").astype(float)
    expected = fit_range(empirical_variogram(found.units.lon, found.units.lat, flags)).range_m
    rules = multilabel_run.read("out_probe__fold_rules", PartitionKey(YEAR))
    assert rules["label_range_m"].to_pylist() == [expected] * 2


def test_the_audit_looks_at_classes_where_a_patch_has_one(multilabel_run: Warehouse) -> None:
    rows = multilabel_run.read("out_probe__fold_audit", PartitionKey(YEAR))
    assert "failed" not in set(rows.filter(pc.field("scheme") == "block")["status"].to_pylist())
    scored = rows.filter(pc.field("check_name") == "coordinates_macro_f1")
    assert 0 not in scored["value"].is_valid().to_pylist()


def test_a_task_without_a_unit_says_what_the_labels_serve(tmp_path: Path) -> None:
    write_world(tmp_path, run=False)
    warehouse = open_world(tmp_path)
    rows = warehouse.read("core_label_ben__patches", PartitionKey(2018, "here"))
    several = rows.filter(pc.field("label").is_null())
    provenance = warehouse.derived_provenance(["core_chips__patches"], is_simulated=True)
    warehouse.write("core_label_ben__patches", PartitionKey(2018, "here"), several, provenance)
    with pytest.raises(TooFewUnitsError, match=r"units of task T1: found none among .* serve T2 alone"):
        load_task(warehouse, "T1", YEAR, NATIVE)
