from __future__ import annotations

import contextlib
import errno
import threading
from pathlib import Path

import pytest

import warehouse.followed
from tests.tiny import quick_settings, write_settings
from warehouse.errors import DiskFullError, SettingsError, StoredRecordError
from warehouse.file_access import read_bytes
from warehouse.followed import FOLLOWED_FILE, Followed, add_followed, read_followed
from warehouse.settings import load_settings
from warehouse.store import Warehouse

pytestmark = pytest.mark.usefixtures("clean_env")
SUCCESSOR = {
    "title": "Next", "producer": "Earth Genome", "model": "another", "grid_version": "major-tom-320m-pre-1.0",
    "grain": "patch", "layout": "eg_geoparquet", "dims": 384, "patch_m": 320.0, "years": [2025],
    "licence": "CC-BY-4.0", "attribution": "Earth Genome",
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    settings = quick_settings(tmp_path / "world") | {"automation": {"follow": True}, "products": {"eg_2025": SUCCESSOR}}
    return write_settings(tmp_path / "quick.toml", settings)


def test_nothing_followed_is_nothing_changed(config: Path) -> None:
    settings = load_settings(config)
    assert settings.years == (2024,)
    assert {name: source.years for name, source in settings.sources.items()} == {"aef": None, "eg": None}


def test_a_record_is_extended_and_repeats_are_harmless(tmp_path: Path) -> None:
    for year in (2026, 2025, 2025):
        add_followed(tmp_path / "warehouse", "aef", year)
    add_followed(tmp_path / "warehouse", "eg_2025", 2025, like="eg")
    assert read_followed(tmp_path / "warehouse") == {
        "aef": Followed((2025, 2026)),
        "eg_2025": Followed((2025,), "eg"),
    }


def test_two_products_that_are_followed_at_once_are_both_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both_have_read = threading.Barrier(2, timeout=0.5)

    def read(path: Path) -> bytes | None:
        record = read_bytes(path)
        with contextlib.suppress(threading.BrokenBarrierError):  # the other one waits for its turn, as it should
            both_have_read.wait()
        return record

    monkeypatch.setattr(warehouse.followed, "read_bytes", read)
    threads = [threading.Thread(target=add_followed, args=(tmp_path, name, 2025)) for name in ("aef", "eg")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_followed(tmp_path) == {"aef": Followed((2025,)), "eg": Followed((2025,))}


def test_a_record_on_a_disk_that_is_not_to_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(DiskFullError, match=r"followed\.json"):
        add_followed(tmp_path, "aef", 2025)


def test_a_followed_year_is_taken_of_its_product_alone(config: Path, tmp_path: Path) -> None:
    add_followed(tmp_path / "warehouse", "aef", 2025)
    warehouse = Warehouse(load_settings(config))
    assert warehouse.settings.years == (2024, 2025)
    assert warehouse.years_of(warehouse.products["aef"]) == (2024, 2025)
    assert warehouse.years_of(warehouse.products["eg"]) == (2024,)


def test_a_followed_product_shares_the_source_of_the_one_it_is_like(config: Path, tmp_path: Path) -> None:
    add_followed(tmp_path / "warehouse", "eg_2025", 2025, like="eg")
    warehouse = Warehouse(load_settings(config))
    assert warehouse.source("eg_2025").root == warehouse.source("eg").root
    assert warehouse.years_of(warehouse.products["eg_2025"]) == (2025,)
    assert warehouse.years_of(warehouse.products["eg"]) == (2024,)
    assert "core_eg_2025__patches" in warehouse.specs


def test_what_was_followed_counts_only_while_the_setting_is_on(config: Path, tmp_path: Path) -> None:
    add_followed(tmp_path / "warehouse", "aef", 2025)
    config.write_text(config.read_text().replace("follow = true", "follow = false"))
    assert load_settings(config).years == (2024,)


def test_a_broken_record_says_what_to_do(config: Path, tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / FOLLOWED_FILE).write_text('{"aef": [2025]}')
    with pytest.raises(StoredRecordError, match=r"followed\.json.*remove it"):
        load_settings(config)


def test_years_of_a_source_are_years_of_the_settings(config: Path) -> None:
    config.write_text(config.read_text().replace("[sources.eg]", "[sources.eg]\nyears = [2024, 2025]"))
    with pytest.raises(SettingsError, match=r"sources\.eg\.years: \[2025\] are not in years \[2024\]"):
        load_settings(config)


def test_a_source_whose_product_has_none_of_the_years_is_refused(config: Path) -> None:
    config.write_text(config.read_text().replace("years = [2024]", "years = [2023]", 1))
    with pytest.raises(SettingsError, match=r"sources\.eg: the product has years \[2024\].*products\.eg\.years"):
        load_settings(config)
