"""The oracles of the tiny world, redone from stored labels and from the raster."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from tests.conftest import TinyRun
from transforms.metrics import mean_iou, overall_accuracy
from transforms.oracles.constant_labels import choose_for_iou, constant_confusions

K = 10


@pytest.fixture(scope="module")
def patches(tiny_run: TinyRun) -> np.ndarray:
    """Labelled cells of each class per primary patch, from the stored fractions."""
    rows = tiny_run.sql(
        "select l.fractions, l.valid_share from core_label_worldcover__patches l "
        "join core_grid__patches s using (patch_id) where s.lattice = 'primary'"
    ).to_pandas()
    return np.rint(np.nan_to_num(np.stack(rows.fractions)) * (rows.valid_share.to_numpy() * 1024)[:, None]).astype(int)


def value(run: TinyRun, oracle: str, metric: str) -> float:
    rows = run.sql(
        "select value from out_probe__oracles where oracle = $oracle and metric = $metric and class_id is null",
        oracle=oracle,
        metric=metric,
    ).to_pylist()
    assert len(rows) == 1
    return float(rows[0]["value"])


def test_c0_is_the_purity_of_the_stored_labels(tiny_run: TinyRun, patches: np.ndarray) -> None:
    assert value(tiny_run, "C0", "overall_accuracy") == pytest.approx(patches.max(axis=1).sum() / patches.sum())


def test_c1_is_that_of_the_stored_labels(tiny_run: TinyRun, patches: np.ndarray) -> None:
    expected = mean_iou(constant_confusions(patches, choose_for_iou(patches)))
    # the ascent goes by the order of the patches, so another order may end at another optimum
    assert value(tiny_run, "C1", "mean_iou") == pytest.approx(float(expected), abs=0.005)
    assert value(tiny_run, "C1", "mean_iou") >= value(tiny_run, "C0", "mean_iou")


def test_the_ladder_rises_as_blocks_get_smaller(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql("from resolution_ladder where oracle in ('C0', 'C4') order by scale_m desc").to_pylist()
    assert [row["scale_m"] for row in rows] == [320, 160, 80, 40, 20]
    for metric in ("overall_accuracy", "mean_iou"):
        values = [row[metric] for row in rows]
        assert values == sorted(values)
    assert {row["bound_for"] for row in rows} == {"overall_accuracy of constant-label arms"}
    assert len({row["n_units"] for row in rows}) == 1
    assert all(row["is_simulated"] for row in rows)


def test_interpolated_fractions_beat_one_label_and_bound_nothing(tiny_run: TinyRun) -> None:
    (row,) = tiny_run.sql("from resolution_ladder where oracle = 'C3'").to_pylist()
    assert row["mean_iou"] > value(tiny_run, "C1", "mean_iou") + 0.02
    assert row["bound_for"] == "none"


def test_every_score_can_be_redone_from_the_confusions_of_blocks(tiny_run: TinyRun) -> None:
    totals: dict[tuple[str, float], np.ndarray] = defaultdict(lambda: np.zeros((K, K), np.int64))
    for row in tiny_run.sql("from out_probe__oracle_confusions").to_pylist():
        totals[row["oracle"], row["scale_m"]][row["truth"], row["pred"]] += row["n"]
    rows = tiny_run.sql("from resolution_ladder where status = 'ok'").to_pylist()
    assert {(row["oracle"], row["scale_m"]) for row in rows} == set(totals)
    for row in rows:
        total = totals[row["oracle"], row["scale_m"]]
        assert row["mean_iou"] == pytest.approx(float(mean_iou(total)), abs=1e-12)
        assert row["overall_accuracy"] == pytest.approx(float(overall_accuracy(total)), abs=1e-12)
        assert row["n_units"] == total.sum()


def test_blocks_are_those_of_the_arms(tiny_run: TinyRun) -> None:
    (row,) = tiny_run.sql(
        "select count(*) as n, count(*) filter (block_id in (select block_id from out_probe__folds)) as known "
        "from (select distinct block_id from out_probe__oracle_confusions)"
    ).to_pylist()
    assert row["n"] >= row["known"] > 20


def test_one_label_source_has_nothing_to_agree_with(tiny_run: TinyRun) -> None:
    (row,) = tiny_run.sql("select status, mean_iou from resolution_ladder where oracle = 'C6'").to_pylist()
    assert row["status"].startswith("skipped: no other label source")
    assert row["mean_iou"] is None
