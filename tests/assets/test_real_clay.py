"""A real patch product that is nothing but its registry entry, against polygons: `examples/clay_alaska.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.tiny import PROJECT, run_pipeline, write_settings
from transforms.evidence_units import plan_from_table
from transforms.folds import fold_split
from warehouse.layout import PartitionKey
from warehouse.queries import run_sql
from warehouse.reader import vectors
from warehouse.settings import load_settings
from warehouse.store import Warehouse

YEAR = 2022


@pytest.fixture(scope="module")
def clay(real_data: Path, once: Callable[[str, Callable[[Path], None]], Path]) -> Warehouse:
    """The example, run. Read only."""

    def make(folder: Path) -> None:
        text = (PROJECT / "examples" / "clay_alaska.toml").read_text()
        settings = tomllib.loads(text.replace("${ISTHMUS_REAL_DATA:-../../shared/real}", str(real_data)))
        settings |= {"warehouse": {"root": "warehouse"}, "dagster": {"instance": "dagster"}}
        settings["limits"] = {"min_free_mb": 100}
        outcomes = run_pipeline(write_settings(folder / "clay.toml", settings))
        assert [outcome for outcome in outcomes if not outcome.ok] == []

    return Warehouse(load_settings(once("clay-run", make) / "clay.toml"))


def held_out_auc(warehouse: Warehouse, scheme: str) -> tuple[float, int]:
    """Fit scikit-learn on the stored vectors under the stored folds; area under the ROC curve of all test units."""
    rows = run_sql(
        warehouse.root, warehouse.specs, warehouse.settings.compare,
        "select patch_id, label, embedding from core_clay_v0__patches join core_label_land__patches using (patch_id)",
    )  # fmt: skip
    folds = warehouse.read("out_probe__folds", PartitionKey(YEAR)).to_pandas()
    here = warehouse.read("out_probe__folds", PartitionKey(YEAR)).filter((folds["scheme"] == scheme).to_numpy())
    ids, plan = plan_from_table(here, scheme)  # type: ignore[arg-type]  # a scheme of the example
    order = np.argsort(rows["patch_id"].to_numpy())[np.argsort(np.argsort(ids))]
    features, truth = vectors(rows, "embedding")[order], rows["label"].to_numpy()[order]
    score = np.full(len(ids), np.nan)
    for fold in range(plan.n_folds):
        train, test = fold_split(plan, fold)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(
            features[train], truth[train]
        )
        score[test] = model.predict_proba(features[test])[:, 1]
    tested = np.isfinite(score)
    return float(roc_auc_score(truth[tested], score[tested])), int(tested.sum())


def test_shares_of_land_are_the_exact_areas_within_a_cell(clay: Warehouse, real_data: Path) -> None:
    land = geopandas.read_file(real_data / "natural_earth" / "ne_50m_land.json").union_all()
    patches = geopandas.read_parquet(next((real_data / "clay_patches").glob("*.gpq")))
    ground = np.asarray(patches.geometry.array)
    exact = shapely.area(shapely.intersection(ground, land)) / shapely.area(ground)
    rows = run_sql(
        clay.root, clay.specs, clay.settings.compare,
        "select source_id, fractions[2] as land, valid_share from core_label_land__patches "
        "join core_clay_v0__patches using (patch_id) order by source_id::int",
    )  # fmt: skip
    assert rows["valid_share"].to_pylist() == [1.0] * 417
    # a coast of 1:50 million crosses a patch about once: 64 of 4,096 cells of 80 m may err by half
    np.testing.assert_allclose(rows["land"].to_numpy(), exact, atol=0.02)
    assert np.abs(rows["land"].to_numpy() - exact).mean() < 0.002


def test_vectors_tell_land_from_water_as_published(clay: Warehouse) -> None:
    random, n_random = held_out_auc(clay, "random")
    block, n_block = held_out_auc(clay, "block")
    assert n_random == 417
    assert n_block >= 150  # patches of 5 km that stand across a border of 20 km blocks are dropped
    assert random > 0.99
    assert block > 0.97
    assert random > block


def test_scores_are_stored_and_nothing_is_compared(clay: Warehouse) -> None:
    scores = run_sql(
        clay.root, clay.specs, clay.settings.compare,
        "select arm, macro_f1 from scores_from_confusions where scheme = 'block'",
    ).to_pylist()  # fmt: skip
    found = {row["arm"]: row["macro_f1"] for row in scores}
    assert set(found) == {"native_patch", "patch_coordinates", "patch_majority"}
    assert found["native_patch"] > 0.9
    contrasts = clay.read("out_probe__contrasts", PartitionKey(YEAR)).to_pylist()
    assert not any(row["is_primary"] for row in contrasts)
    assert "the settings compare no pixel product" in clay.report_path.read_text(encoding="utf-8")
