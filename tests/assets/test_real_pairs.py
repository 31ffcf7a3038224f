"""Real data through the same assets, from one settings file each, against the figures that are known of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Once
from tests.tiny import PROJECT, clean_environment, run_pipeline
from warehouse.queries import run_sql
from warehouse.reader import read_footer
from warehouse.settings import load_settings
from warehouse.store import Warehouse

#: Known figures were measured with other code on other draws; this far apart is agreement.
TOLERANCE = 0.03


@dataclass(frozen=True)
class RealRun:
    """A finished run on real data."""

    warehouse: Warehouse

    def sql(self, text: str) -> pa.Table:
        w = self.warehouse
        return run_sql(w.root, w.specs, w.settings.compare, text)

    def score(self, arm: str, metric: str, scheme: str) -> float:
        """Score over all folds."""
        rows = self.sql("from out_probe__metrics where fold is null and class_id is null").to_pylist()
        values = [r["value"] for r in rows if (r["arm"], r["metric"], r["scheme"]) == (arm, metric, scheme)]
        (value,) = values
        return float(value)


def run_example(name: str, real_data: Path, once: Once) -> RealRun:
    """Run `examples/<name>.toml` with outputs elsewhere, by the variables that override a settings file."""
    config = PROJECT / "examples" / f"{name}.toml"

    def make(folder: Path) -> None:
        with overridden(real_data, folder):
            assert [o for o in run_pipeline(config) if not o.ok] == []

    folder = once(name, make)
    with clean_environment(), overridden(real_data, folder):
        warehouse = Warehouse(load_settings(config))
    assert warehouse.root == folder / "warehouse"
    return RealRun(warehouse)


@contextmanager
def overridden(real_data: Path, folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_REAL_DATA", str(real_data.resolve()))
        patch.setenv("ISTHMUS_WAREHOUSE__ROOT", str(folder / "warehouse"))
        patch.setenv("ISTHMUS_DAGSTER__INSTANCE", str(folder / "dagster"))
        # the examples list every operator; here those with known figures, and one of each kind that is fitted
        patch.setenv("ISTHMUS_POOL__OPERATORS", '["mean", "stats", "bow"]')
        patch.setenv("ISTHMUS_UPSAMPLE__OPERATORS", '["nearest", "area_to_point_kriging", "joint_bilateral"]')
        yield


@pytest.fixture(scope="module")
def eurosat(real_data: Path, once: Once) -> RealRun:
    return run_example("eurosat_pairs", real_data, once)


@pytest.fixture(scope="module")
def slovenia(real_data: Path, once: Once) -> RealRun:
    return run_example("slovenia_pairs", real_data, once)


@pytest.fixture(scope="module")
def points(real_data: Path, once: Once) -> RealRun:
    return run_example("dynamic_world_points", real_data, once)


@pytest.mark.parametrize(
    ("arm", "accuracy"), [("native_patch", 0.818), ("pooled_mean", 0.725), ("pooled_stats", 0.795)]
)
def test_question_1_on_eurosat_chips(eurosat: RealRun, arm: str, accuracy: float) -> None:
    assert eurosat.score(arm, "overall_accuracy", "given") == pytest.approx(accuracy, abs=TOLERANCE)


def test_question_1_contrast_is_that_of_the_given_groups(eurosat: RealRun) -> None:
    rows = eurosat.sql("from out_probe__contrasts where metric = 'overall_accuracy' and arm = 'pooled_stats'")
    (row,) = rows.to_pylist()
    assert row["delta"] == pytest.approx(-0.02, abs=TOLERANCE)  # native - stats +.02 [-.04, +.08]
    assert (row["lo"], row["hi"]) == pytest.approx((-0.08, 0.04), abs=TOLERANCE)
    n_groups = eurosat.sql("select count(distinct block_id) as n from out_probe__folds").to_pylist()[0]["n"]
    assert row["n_blocks"] == n_groups
    assert n_groups < 200  # chips of one group are resampled together


def test_groups_are_never_split(eurosat: RealRun) -> None:
    rows = eurosat.sql("select block_id, count(distinct fold) as n from out_probe__folds group by 1").to_pylist()
    assert {row["n"] for row in rows} == {1}
    units = eurosat.sql("select count(*) as n from out_probe__folds where fold >= 0").to_pylist()
    assert units == [{"n": 200}]


@pytest.mark.parametrize(
    ("arm", "miou"), [("native_pixel", 0.435), ("upsampled_nearest", 0.318), ("upsampled_bilinear", 0.327)]
)
def test_question_2_on_a_scene_of_slovenia(slovenia: RealRun, arm: str, miou: float) -> None:
    assert slovenia.score(arm, "mean_iou", "block") == pytest.approx(miou, abs=TOLERANCE)


def test_question_2_is_a_diagnostic_without_a_verdict(slovenia: RealRun) -> None:
    (row,) = slovenia.sql("from verdicts where question = 'Q2'").to_pylist()
    assert row["hi"] < 0  # clear, and yet:
    assert row["verdict"] == "inconclusive"
    statuses = slovenia.sql("select distinct status from out_probe__metrics where value is not null").to_pydict()
    assert statuses == {"status": ["diagnostic"]}
    report = slovenia.warehouse.report_path.read_text(encoding="utf-8")
    assert "blocks of 160 m inside one scene" in report


@pytest.mark.parametrize(("scheme", "accuracy"), [("random", 0.739), ("block", 0.674), ("region", 0.381)])
def test_dynamic_world_points(points: RealRun, scheme: str, accuracy: float) -> None:
    assert points.score("native_pixel", "overall_accuracy", scheme) == pytest.approx(accuracy, abs=TOLERANCE)


def test_leave_one_region_out_tests_each_of_the_four_tables_once(points: RealRun) -> None:
    rows = points.sql(
        "select fold, count(distinct shard) as n_shards, count(*) as n from out_probe__folds "
        "where scheme = 'region' and fold >= 0 group by fold"
    ).to_pylist()
    assert sorted(row["fold"] for row in rows) == [0, 1, 2, 3]
    assert {row["n_shards"] for row in rows} == {1}
    assert sum(row["n"] for row in rows) == 2880


@pytest.mark.parametrize("name", ["eurosat", "slovenia", "points"])
def test_real_data_are_not_called_simulated(name: str, request: pytest.FixtureRequest) -> None:
    run: RealRun = request.getfixturevalue(name)
    for path in sorted(run.warehouse.root.rglob("*.parquet")):
        file = pq.ParquetFile(path)
        if "is_simulated" in file.schema_arrow.names:
            assert set(file.read(columns=["is_simulated"])["is_simulated"].to_pylist()) <= {False}, path
        assert read_footer(path)["is_simulated"] is False, path


@pytest.mark.parametrize(
    # Slovenia's raster has a code without a class (0, none). AlphaEarth saw Sentinel-1, whose echo is one of the label
    # sources of the points, and a few of their vectors are far from all others
    ("name", "warnings"),
    [("eurosat", []), ("slovenia", ["label_notes"]), ("points", ["label_notes", "outlier_pixels"])],
)
def test_no_check_but_what_is_known_fails_on_real_data(
    name: str, warnings: list[str], request: pytest.FixtureRequest
) -> None:
    run: RealRun = request.getfixturevalue(name)
    assert sorted(run.sql("select distinct check_name from failed_rows")["check_name"].to_pylist()) == warnings


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("eurosat", ["EuroSAT (MIT)", "Presto (MIT)", "Galileo (MIT)"]),
        ("slovenia", ["Presto (MIT)", "eo-learn"]),
        ("points", ["produced by Google and Google DeepMind", "Dynamic World"]),
    ],
)
def test_attributions_travel_to_the_report(name: str, words: list[str], request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(name).warehouse.report_path.read_text(encoding="utf-8")
    assert [text for text in words if text not in report] == []
