"""Ticks on a source tree: what a look finds, and what the watch makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.release_worlds import AEF, EG, TILES, Producers, cut_vectors, name_model
from tests.tiny import quick_settings, write_settings
from transforms.errors import ShapeError
from transforms.release_decisions import Decision
from transforms.releases import ReleaseState
from warehouse.errors import StoredRecordError
from warehouse.release_looks import look_at_source
from warehouse.release_watch import STATE_FILE, look_once, read_states, write_states
from warehouse.settings import load_settings
from warehouse.store import Warehouse

pytestmark = pytest.mark.usefixtures("clean_env")
#: Some day in 2027.
NOW = 1_800_000_000.0


class Watch:
    """One product, looked at again and again."""

    def __init__(self, config: Path, product: str) -> None:
        self.config, self.product, self.state = config, product, ReleaseState()

    def tick(self, times: int = 1) -> Decision:
        decision = Decision(self.state, ())
        for _ in range(times):
            warehouse = Warehouse(load_settings(self.config))
            decision = look_once(warehouse, warehouse.products[self.product], self.state, NOW)
            self.state = ReleaseState.from_json(decision.state.to_json())
        return decision

    def kinds(self, times: int = 1) -> list[tuple[str, int | None]]:
        return [(finding.kind, finding.year) for finding in self.tick(times).findings]


@pytest.fixture
def producers(tiny_world: Path, tmp_path: Path) -> Producers:
    return Producers(tiny_world, tmp_path / "world")


@pytest.fixture
def config(producers: Producers, tmp_path: Path) -> Path:
    settings = quick_settings(producers.root) | {"automation": {"follow": True}}
    return write_settings(tmp_path / "quick.toml", settings)


@pytest.fixture
def aef(config: Path) -> Watch:
    watch = Watch(config, "aef")
    assert watch.kinds(2) == [("new_year", 2024)]
    return watch


@pytest.fixture
def eg(config: Path) -> Watch:
    watch = Watch(config, "eg")
    assert watch.kinds(2) == [("new_year", 2024)]
    return watch


def test_a_look_lists_every_year_with_ground_that_years_share(config: Path) -> None:
    warehouse = Warehouse(load_settings(config))
    look = look_at_source(warehouse, warehouse.products["aef"], ReleaseState(), NOW)
    assert [year.year for year in look.years] == [2023, 2024]
    grounds = [sorted(file.ground for file in year.files) for year in look.years]
    assert grounds[0] == grounds[1]
    assert [year.n_published for year in look.years] == [2, 2]
    assert [year.belongs_to for year in look.years] == ["aef", "aef"]
    paths = [sorted(file.path for file in year.files) for year in look.years]
    assert not set(paths[0]) & set(paths[1])


def test_shards_of_a_file_are_those_that_read_it(quick_run: Path) -> None:
    warehouse = Warehouse(load_settings(quick_run))
    for name, expected in (("aef", {"47N": ("47PRQ",), "48N": ("48PSV",)}), ("eg", None)):
        (year,) = [
            y for y in look_at_source(warehouse, warehouse.products[name], ReleaseState(), NOW).years if y.year == 2024
        ]
        found = {file.ground.split("/")[0]: file.shards for file in year.files}
        if expected is not None:
            assert found == expected
        assert {shard for shards in found.values() for shard in shards} == {"47PRQ", "48PSV"}


def test_what_a_run_indexed_is_unchanged_at_the_first_look(quick_run: Path) -> None:
    for product in ("aef", "eg"):
        assert Watch(quick_run, product).kinds() == [("unchanged", 2024)]


def test_nothing_new(aef: Watch, eg: Watch) -> None:
    for watch in (aef, eg):
        assert watch.kinds() == [("unchanged", 2024)]
        assert not watch.tick().request


def test_new_year_of_rasters(aef: Watch, producers: Producers) -> None:
    producers.publish_aef(2026)
    assert aef.kinds() == [("unchanged", 2024), ("settling", 2026)]
    decision = aef.tick()
    assert [(finding.kind, finding.product, finding.year) for finding in decision.asking] == [("new_year", "aef", 2026)]
    assert aef.kinds() == [("unchanged", 2024), ("unchanged", 2026)]


def test_rasters_of_one_zone_only_wait(aef: Watch, producers: Producers) -> None:
    producers.publish_aef(2025, zones=["47N"])
    finding = aef.tick(3).findings[1]
    assert finding.kind == "incomplete"
    assert [ground.split("/")[0] for ground in finding.missing] == ["48N"]
    producers.publish_aef(2025, zones=["48N"])
    assert aef.kinds(2)[1] == ("new_year", 2025)


def test_rows_before_rasters_wait(aef: Watch, producers: Producers) -> None:
    producers.list_aef(2025)
    finding = aef.tick(3).findings[1]
    assert (finding.kind, len(finding.missing)) == ("incomplete", 2)


def test_tiles_arrive_one_by_one(config: Path, eg: Watch, producers: Producers) -> None:
    text = config.read_text().replace("[keep]", "[products.eg]\nyears = [2024, 2025]\n\n[keep]")
    config.write_text(text)
    for count in range(1, len(TILES)):
        producers.publish_eg(2025, TILES[count - 1 : count])
        finding = eg.tick(2).findings[1]
        assert (finding.kind, finding.missing) == ("incomplete", TILES[count:])
    producers.publish_eg(2025, TILES[-1:])
    assert eg.kinds(2)[1] == ("new_year", 2025)


def test_a_tile_is_issued_again(eg: Watch, producers: Producers) -> None:
    producers.reissue_eg("48PSV")
    assert eg.kinds() == [("settling", 2024)]
    assert "48PSV" in eg.tick().asking[0].message
    assert eg.kinds() == [("unchanged", 2024)]


def test_another_year_of_patches_waits_for_its_entry_and_is_taken_with_it(
    config: Path, eg: Watch, producers: Producers
) -> None:
    producers.publish_eg(2025)
    finding = eg.tick(2).findings[1]
    assert (finding.kind, finding.year) == ("unregistered", 2025)
    entry = finding.message[finding.message.index("[products.eg_2025]") :]
    config.write_text(config.read_text() + entry.replace('model = "?"', 'model = "SSL4EO DINO"') + "\n")
    decision = eg.tick()
    assert [(one.kind, one.product, one.year) for one in decision.asking] == [("new_product", "eg_2025", 2025)]


@pytest.mark.parametrize(
    ("change", "words"),
    [(cut_vectors(256), "the files have 256"), (name_model("SSL4EO DINO"), "the files say 'SSL4EO DINO'")],
    ids=["dims", "model"],
)
def test_a_tile_that_is_issued_again_by_another_model_waits(
    eg: Watch, producers: Producers, change: object, words: str
) -> None:
    producers.reissue_eg("48PSV", change=change)  # type: ignore[arg-type]  # a change of the table
    finding = eg.tick(3).findings[0]
    assert finding.kind == "unregistered"
    assert words in finding.message
    assert "[products.eg_2024]" in finding.message


def test_source_down_and_back(aef: Watch, eg: Watch, producers: Producers) -> None:
    for watch, folder in ((aef, AEF), (eg, EG)):
        years = watch.state.years
        producers.vanish(folder)
        assert watch.kinds() == [("down", None)]
        decision = watch.tick()
        assert "2 looks in a row failed" in decision.findings[0].message
        assert (decision.state.years, decision.state.retry_at) == (years, NOW + 7200)
        producers.come_back(folder)
        assert watch.kinds() == [("back", None), ("unchanged", 2024)]


def test_years_that_cannot_have_been_published_are_not_asked_for(config: Path, producers: Producers) -> None:
    for year in (2026, 2028):
        producers.publish_aef(year)
    warehouse = Warehouse(load_settings(config))
    look = look_at_source(warehouse, warehouse.products["aef"], ReleaseState(), NOW)
    assert [year.year for year in look.years] == [2023, 2024, 2026]


def test_a_damaged_index_is_a_finding(aef: Watch, producers: Producers) -> None:
    index = producers.root / AEF / "aef_index.parquet"
    index.unlink()
    index.write_bytes(b"PAR1 but not for long")
    assert aef.kinds() == [("down", None)]


def test_states_are_kept_beside_the_tables(tmp_path: Path, eg: Watch) -> None:
    assert read_states(tmp_path / "warehouse") == {}
    write_states(tmp_path / "warehouse", {"eg": eg.state})
    assert read_states(tmp_path / "warehouse") == {"eg": eg.state}
    (tmp_path / "warehouse" / STATE_FILE).write_text("{")
    with pytest.raises(StoredRecordError, match=r"releases\.json"):
        read_states(tmp_path / "warehouse")
    (tmp_path / "warehouse" / STATE_FILE).write_text('{"eg": {"format": 0}}')
    with pytest.raises(ShapeError, match=r"releases\.json"):
        read_states(tmp_path / "warehouse")
