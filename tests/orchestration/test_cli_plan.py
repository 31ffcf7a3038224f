"""`isthmus plan` and `isthmus boundaries` as a user calls them."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from orchestration.plan_command import format_bytes, format_seconds, parse_years
from tests.orchestration.conftest import Call
from tests.tiny import quick_settings, tiny_settings, write_settings
from tests.warehouse.test_plan import RATES
from transforms.utm import mgrs_squares
from warehouse import rates
from warehouse.errors import SettingsError
from warehouse.products import registered_entries
from warehouse.sections import AreaSettings
from warehouse.settings import load_settings

BOX = ("101.98", "12.63", "102.02", "12.66")


@pytest.fixture(autouse=True)
def known_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates without a measurement, and no network at all."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rates, "measure_rates", lambda: RATES)

    def refuse(*_args: object) -> None:
        raise AssertionError("a plan opens no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def countries(tmp_path: Path) -> Path:
    path = tmp_path / "countries.geojson"
    shapes = [shapely.box(101.98, 12.63, 102.02, 12.66), shapely.box(179.9, -17.0, 180.2, -16.9)]
    geopandas.GeoDataFrame({"name": ["Midland", "Dateline"]}, geometry=shapes, crs=4326).to_file(path)
    return path


def test_a_plan_is_printed_with_what_it_rests_on(call: Call) -> None:
    code, out, err = call("plan", "--bbox", *BOX, "--years", "2023-2024")
    assert code == 0
    for text in (
        "area      bbox 101.98",
        "47PRP, 47PRQ, 48PSU, 48PSV",
        "core_eg__patches",
        "none published",
        "network",
    ):
        assert text in out
    assert "note: aef files are estimated" in err
    assert "measured on generated blocks" in err


def test_json_is_one_object_and_nothing_else(call: Call, countries: Path) -> None:
    code, out, _ = call("plan", "--country", "midland", "--boundaries", countries, "--years", "2024", "--json")
    assert code == 0
    (found,) = json.loads(out)
    assert found["area"] == "country midland"
    assert [shard["shard"] for shard in found["shards"]] == ["47PRP", "47PRQ", "48PSU", "48PSV"]
    assert found["bytes_to_read"] == sum(read["bytes"] for read in found["reads"])
    box = json.loads(call("plan", "--bbox", *BOX, "--years", "2024", "--json")[1])[0]
    assert found["patches"] == box["patches"]


def test_every_way_to_name_an_area(call: Call, countries: Path) -> None:
    ways = [
        ("--country", "Dateline", "--boundaries", countries),
        ("--geometry", countries),
        ("--tiles", "48pvs,48PVT"),
        ("--bbox", "179.9", "-17", "-179.8", "-16.9"),
    ]
    counts = []
    for way in ways:
        code, out, err = call("plan", *way, "--years", "2024", "--json")
        assert code == 0, err
        counts.append(len(json.loads(out)[0]["shards"]))
    lon, lat = np.meshgrid(np.append(np.linspace(179.9, 179.999, 50), np.linspace(-180, -179.8, 99)), [-17.0, -16.9])
    dateline = len(np.unique(mgrs_squares(lon.ravel(), lat.ravel())))
    assert counts == [dateline, dateline + 4, 2, dateline]


def test_a_settings_file_is_written_ready_to_run(call: Call, countries: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "dateline.toml"
    way = ("--country", "Dateline", "--boundaries", countries, "--years", "2017,2024")
    code, out, _ = call("plan", *way, "--out", target)
    assert code == 0
    assert f"isthmus run --config {target}" in out
    settings = load_settings(target)
    assert (settings.name, settings.years, settings.area.country) == ("dateline", (2017, 2024), "Dateline")
    assert settings.area.boundaries == countries
    assert (settings.compare.pixels, settings.compare.patches) == ("aef", "eg")
    assert settings.warehouse.root == target.parent / "dateline" / "warehouse"
    code, _, err = call("plan", *way, "--out", target)
    assert code == 2
    assert "nothing is overwritten" in err


def test_a_plan_of_settings_counts_their_files(call: Call, tiny_world: Path, tmp_path: Path) -> None:
    config = write_settings(tmp_path / "quick.toml", quick_settings(tiny_world))
    code, out, _ = call("plan", "--config", config, "--json")
    assert code == 0
    (found,) = json.loads(out)
    assert {read["how"] for read in found["reads"]} == {"counted"}
    assert found["years"] == [2024]
    assert found["sample"] == 0.03


def test_a_file_from_settings_keeps_all_of_them_but_area_years_and_warehouse(
    call: Call, tiny_world: Path, tmp_path: Path
) -> None:
    raw = tiny_settings(tiny_world)
    raw["sources"]["mine"] = raw["sources"].pop("aef")
    raw["products"] = {"mine": dict(registered_entries()["aef"])}
    raw["compare"]["pixels"] = "mine"
    raw |= {"cache": {"max_gb": 3.0}, "pool": {"min_coverage": 0.4}, "upsample": {"operators": ["nearest"]}}
    config = write_settings(tmp_path / "mine.toml", raw)
    base = load_settings(config)
    target = tmp_path / "next.toml"
    code, _, err = call("plan", "--config", config, "--tiles", "47PRQ", "--years", "2024", "--out", target)
    assert code == 0, err
    found = load_settings(target)
    assert found.area == AreaSettings(tiles=("47PRQ",))
    assert (found.name, found.years) == ("next", (2024,))
    assert found.warehouse.root == tmp_path / "next" / "warehouse"
    changed = {"area", "name", "years", "warehouse", "dagster"}
    assert found.model_dump(exclude=changed) == base.model_dump(exclude=changed)
    again = tmp_path / "again.toml"  # from a file that extends another, with its area
    assert call("plan", "--config", target, "--out", again)[0] == 0
    assert load_settings(again).model_dump(exclude={"name", "warehouse", "dagster"}) == found.model_dump(
        exclude={"name", "warehouse", "dagster"}
    )
    code, _, err = call("plan", "--config", config, "--out", tmp_path / "sub" / "far.toml")
    assert code == 2
    assert "found another folder than that of" in err.replace("\n", " ")


def test_two_files_share_no_warehouse(call: Call, tmp_path: Path) -> None:
    ways = {
        "a-b.toml": ("--bbox", *BOX),
        "a_b.toml": ("--bbox", "101.98", "12.63", "102.0", "12.66"),
        "Año 2024.toml": ("--tiles", "48PVS,48PVT"),
        "48.toml": ("--tiles", "48PVS,48PVT,48PVU"),
    }
    for name, way in ways.items():
        assert call("plan", *way, "--years", "2024", "--out", tmp_path / name)[0] == 0
    written = [load_settings(tmp_path / name) for name in ways]
    assert len({settings.warehouse.root for settings in written}) == len(ways)
    assert len({settings.dagster.instance for settings in written}) == len(ways)
    assert [settings.name for settings in written] == ["a_b", "a_b", "ano_2024", "area_48"]


def test_regions_of_settings_are_planned_together(call: Call, tiny_world: Path, tmp_path: Path) -> None:
    settings = quick_settings(tiny_world)
    settings["area"] = {
        "shard_rule": "region",
        "regions": {"a": [101.98, 12.63, 101.99, 12.66], "b": [102.01, 12.63, 102.02, 12.66]},
    }
    config = write_settings(tmp_path / "regions.toml", settings)
    code, out, err = call("plan", "--config", config)
    assert code == 0
    assert "2 regions: 7.21" in out
    assert "a run cuts by shard_rule" in err
    both = [
        call("plan", "--bbox", *box, "--years", "2024", "--json")[1]
        for box in (("101.98", "12.63", "101.99", "12.66"), ("102.01", "12.63", "102.02", "12.66"))
    ]
    patches = sum(json.loads(text)[0]["patches"] for text in both)
    assert f"{patches:,} places" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--bbox", *BOX), 2, "found no years, expected --years"),
        (("--years", "2024"), 2, "needs country, geometry, tiles, or bbox"),
        (("--bbox", *BOX, "--tiles", "48PVS", "--years", "2024"), 2, "both say where the area is"),
        (("--tiles", "48P", "--years", "2024"), 2, "pattern"),
        (("--bbox", *BOX, "--years", "2024-2023"), 2, "expected years, e.g. 2024"),
        (("--geometry", "gone.geojson", "--years", "2024"), 1, "found no such file"),
        (("--bbox", "0", "-89", "1", "-85", "--years", "2024"), 2, "80 S to 84 N"),
    ],
)
def test_what_cannot_be_planned_is_said(call: Call, arguments: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = call("plan", *arguments)
    assert (found, out) == (code, "")
    assert message in err.replace("\n", " ")


def test_an_unknown_country_is_answered_with_the_nearest(call: Call, countries: Path) -> None:
    code, _, err = call("plan", "--country", "Mitland", "--boundaries", countries, "--years", "2024")
    assert code == 1
    assert "country 'Mitland': found none of that name or code among 2" in err
    assert "Midland" in err


def test_a_strange_package_of_borders_is_refused(call: Call, tmp_path: Path) -> None:
    package = tmp_path / "world-atlas.tgz"
    package.write_bytes(b"not this")
    code, _, err = call("boundaries", package)
    assert code == 1
    assert "SHA-256" in err


@pytest.mark.parametrize(
    ("text", "years"),
    [("2024", (2024,)), ("2023-2024", (2023, 2024)), ("2024, 2018,2020-2021", (2018, 2020, 2021, 2024))],
)
def test_years(text: str, years: tuple[int, ...]) -> None:
    assert parse_years(text) == years


@pytest.mark.parametrize("text", ["", "24", "2024-", "2024-2030-2031", "x", "2024-23", "1800"])
def test_what_is_no_year(text: str) -> None:
    with pytest.raises(SettingsError, match="expected years"):
        parse_years(text)


def test_bytes_and_times_are_written_for_readers() -> None:
    assert [format_bytes(n) for n in (0, 999, 1000, 111_000_000_000, 2e16)] == [
        "0 B",
        "999 B",
        "1 kB",
        "111 GB",
        "20 PB",
    ]
    assert [format_seconds(s) for s in (0.5, 90, 7200, 200_000)] == ["0.5 s", "1.5 min", "2.0 h", "2.3 d"]
