"""Ticks on a source tree: what a look finds, and what the watch makes of it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.fault_server import Fault, serve
from tests.release_worlds import AEF, EG, TILES, Producers, cut_vectors, name_model
from tests.tiny import quick_settings, write_settings
from transforms.errors import ShapeError
from transforms.release_decisions import Decision
from transforms.releases import Look, ReleaseState
from warehouse.errors import StoredRecordError
from warehouse.products import load_registry
from warehouse.release_looks import look_at_source, name_ground, rules_for
from warehouse.release_watch import STATE_FILE, look_once, read_states, write_states
from warehouse.settings import load_settings
from warehouse.store import Warehouse

pytestmark = pytest.mark.usefixtures("clean_env")
#: Some day in 2027.
NOW = 1_800_000_000.0


def look_first(config: Path, name: str) -> Look:
    """Look at the source of a product for the first time."""
    warehouse = Warehouse(load_settings(config))
    product = warehouse.products[name]
    return look_at_source(warehouse, product, ReleaseState(), rules_for(warehouse, product), NOW)


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
    look = look_first(config, "aef")
    assert [year.year for year in look.years] == [2023, 2024]
    grounds = [sorted(file.ground for file in year.files) for year in look.years]
    assert grounds[0] == grounds[1]
    assert [year.n_published for year in look.years] == [2, 2]
    assert [year.belongs_to for year in look.years] == ["aef", "aef"]
    paths = [sorted(file.path for file in year.files) for year in look.years]
    assert not set(paths[0]) & set(paths[1])


def test_the_ground_of_a_file_has_one_name_in_every_year() -> None:
    registry = load_registry()
    where = {"utm_west_m": 163_840.0, "utm_south_m": 1_392_640.0}
    for product, row, expected in (
        ("aef", {"tile": "48N", "path": "annual/2024/48N/xk.tiff", **where}, "48N/163840E/1392640N"),
        ("aef_mosaic", {"tile": "r0017c0768", "path": "embeddings/c/7/0/17/768"}, "r0017c0768"),
        ("eg", {"tile": "48PSV", "path": "2024/48PSV_2024-01-01_2025-01-01.parquet"}, "48PSV"),
        ("clay_v0", {"tile": "a", "path": "deep/a.parquet"}, "deep/a.parquet"),
    ):
        assert name_ground(registry[product], row) == expected


def test_shards_of_a_file_are_those_that_read_it(quick_run: Path) -> None:
    rasters = next(year for year in look_first(quick_run, "aef").years if year.year == 2024)
    assert {file.ground.split("/")[0]: file.shards for file in rasters.files} == {"47N": ("47PRQ",), "48N": ("48PSV",)}
    patches = next(year for year in look_first(quick_run, "eg").years if year.year == 2024)
    assert {shard for file in patches.files for shard in file.shards} == {"47PRQ", "48PSV"}


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
    look = look_first(config, "aef")
    assert [year.year for year in look.years] == [2023, 2024, 2026]


@pytest.mark.parametrize("product", ["aef", "eg"])
def test_a_server_that_does_not_answer_is_down(tiny_world: Path, tmp_path: Path, product: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/tree"
    settings = quick_settings(tiny_world)
    settings["sources"][product] = {"root": url, "allow_http": True, "tries": 1, "timeout_s": 1}
    watch = Watch(write_settings(tmp_path / "quick.toml", settings), product)
    (finding,) = watch.tick().findings
    assert finding.kind == "down"
    assert url in finding.message


def test_a_file_that_a_server_refuses_is_named_by_the_look_that_fails(producers: Producers, tmp_path: Path) -> None:
    """Its model would be unknown, and a year of another model be taken for a known one."""
    with serve(producers.root) as server:
        settings = quick_settings(producers.root) | {"automation": {"follow": True}}
        settings["sources"]["eg"] = {"root": f"{server.url}/{EG}", "allow_http": True, "tries": 1}
        watch = Watch(write_settings(tmp_path / "quick.toml", settings), "eg")
        assert watch.kinds(2) == [("new_year", 2024)]
        producers.reissue_eg("48PSV", change=name_model("SSL4EO DINO"))
        server.faults.append(Fault("status", path="48PSV", status=403, times=99))
        (finding,) = watch.tick().findings
        assert finding.kind == "down"
        assert "48PSV_2024-01-01_2025-01-01.parquet: found 403 Forbidden" in finding.message
        server.faults.clear()
        assert watch.kinds(2)[-1] == ("unregistered", 2024)


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
