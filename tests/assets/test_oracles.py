"""The oracles of the tiny world, redone from stored labels and from the raster."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from tests.conftest import TinyRun
from transforms.blocks import block_bounds
from transforms.map_tally import MapTally
from transforms.metrics import mean_iou, overall_accuracy
from transforms.oracles.constant_labels import choose_for_iou, constant_confusions
from warehouse import oracle_windows
from warehouse.label_sources import open_sampled_labels
from warehouse.oracles import make_oracles
from warehouse.store import Warehouse, evaluate_settings
from warehouse.window_raster import window_grid

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


def test_maps_of_the_window_show_what_constant_labels_miss(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql(
        "select oracle, scale_m, metric, tolerance_px, stratum_value, value, support from out_probe__oracles "
        "where stratum is not null"
    ).to_pylist()
    boundary = {(r["oracle"], r["scale_m"], r["tolerance_px"]): r["value"] for r in rows if r["metric"] == "boundary_f"}
    assert {(oracle, scale) for oracle, scale, _ in boundary} == {
        ("C0", 320), ("C1", 320), ("C3", 320), ("C4", 160), ("C4", 80), ("C4", 40), ("C4", 20),
    }  # fmt: skip
    assert boundary["C0", 320, 1] < boundary["C4", 40, 1] < boundary["C4", 20, 1]
    assert all(boundary[oracle, scale, 1] <= boundary[oracle, scale, 3] for oracle, scale, _ in boundary)
    (window,) = tiny_run.warehouse.settings.keep.windows
    mapped = [r for r in rows if r["metric"] == "object_recall" and (r["oracle"], r["scale_m"]) == ("C4", 20)]
    side_m = (window.bbox[3] - window.bbox[1]) * 110_600
    assert sum(r["support"] for r in mapped) == pytest.approx((side_m / 10) ** 2, rel=0.1)


def test_the_map_of_the_window_is_that_of_the_ground(tiny_run: TinyRun) -> None:
    """C0 in the window, patch by patch, from the stored label of the nearest patch."""
    warehouse = tiny_run.warehouse
    source = open_sampled_labels(warehouse, "worldcover")
    assert source is not None
    field, problem = oracle_windows.open_oracle_field(warehouse, 2024, "worldcover")
    assert field is not None, problem
    stored = (
        tiny_run.sql("select patch_id, label from core_label_worldcover__patches").to_pandas().set_index("patch_id")
    )
    edge = evaluate_settings(warehouse).block_edge_m
    window = oracle_windows._open_window(
        window_grid(warehouse.settings.keep.windows[0].bbox, 10.0), source, field, edge
    )
    pred = stored.label.loc[field.places.patch_id[window.patch]].to_numpy().astype(np.int16)
    tally = MapTally(K)
    tally.add(*(a.reshape(window.shape) for a in (window.truth, pred, window.block_id)))
    expected = {(r["metric"], r.get("tolerance_px"), r.get("stratum_value")): r["value"] for r in tally.rows()}
    found = tiny_run.sql("from out_probe__oracles where oracle = 'C0' and stratum is not null").to_pylist()
    assert {(r["metric"], r["tolerance_px"], r["stratum_value"]): r["value"] for r in found} == pytest.approx(expected)
    assert ((window.across > -0.05) & (window.across < 1.05) & (window.up > -0.05) & (window.up < 1.05)).all()


def test_large_windows_are_cut_without_a_gap() -> None:
    grid = window_grid((102.0, 12.0, 102.5, 12.5), 10.0)
    parts = list(oracle_windows._cut(grid))
    assert len(parts) == 9
    assert sum(part.height * part.width for part in parts) == grid.height * grid.width
    x, y = (np.unique(np.concatenate([part.centers()[axis] for part in parts])) for axis in (0, 1))
    np.testing.assert_array_equal(x, grid.centers()[0])
    np.testing.assert_array_equal(y, grid.centers()[1][::-1])


def test_automatic_blocks_are_not_known_yet(tiny_run: TinyRun) -> None:
    settings = tiny_run.warehouse.settings
    assert settings.evaluate is not None
    changed = settings.evaluate.model_copy(update={"block_edge_m": "auto"})
    warehouse = Warehouse(settings.model_copy(update={"evaluate": changed}))
    found = make_oracles(warehouse, 2024).confusions
    (stored,) = tiny_run.sql("select sum(n)::bigint as n from out_probe__oracle_confusions").to_pylist()
    assert sum(found["n"].to_pylist()) == stored["n"]
    west, south, east, north = block_bounds(found["block_id"].to_numpy(), 5000.0)
    area = settings.area.bbox
    assert area is not None
    assert ((west < area[2]) & (east > area[0]) & (south < area[3]) & (north > area[1])).all()
