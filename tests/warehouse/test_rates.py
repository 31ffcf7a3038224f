"""Rates of this machine: measured on generated blocks, kept per machine, measured again when asked."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tests.warehouse.test_plan import RATES
from warehouse import rates
from warehouse.errors import StoredRecordError
from warehouse.rates import MachineRates, load_rates, measure_rates


def test_a_measurement_gives_rates_and_sizes() -> None:
    found = measure_rates()
    assert all(getattr(found, field.name) > 0 for field in fields(MachineRates) if field.name != "load")
    # 384 random floats hardly compress; a kept pixel is 64 codes and its place; pooled rows are 6 vectors and more
    assert 1300 < found.patch_row_bytes < 1800
    assert 64 < found.pixel_row_bytes < 150
    assert found.pooled_row_bytes > 600


def test_rates_are_measured_once_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[MachineRates] = []

    def measure() -> MachineRates:
        taken.append(replace(RATES, seconds=float(len(taken) + 1)))
        return taken[-1]

    monkeypatch.setattr(rates, "measure_rates", measure)
    cache = tmp_path / "cache" / "rates.json"
    assert load_rates(cache) == load_rates(cache) == taken[0]
    assert load_rates(cache, again=True) == taken[1] == load_rates(cache)
    monkeypatch.setattr(rates.platform, "node", lambda: "another")
    assert load_rates(cache) == taken[2]
    assert len(json.loads(cache.read_text())) == 2
    assert [path.name for path in cache.parent.iterdir()] == ["rates.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"a-v2": {"pool_pixels_per_s": 1}}', '{"a-v2": 3}'])
def test_a_broken_file_of_rates_is_said(tmp_path: Path, text: str) -> None:
    cache = tmp_path / "rates.json"
    cache.write_text(text)
    with pytest.raises(StoredRecordError, match=r"rates\.json: found .* expected what Isthmus wrote.*remove it"):
        load_rates(cache)


def test_rates_are_kept_in_the_cache_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert rates.rates_path() == tmp_path / "isthmus-rates.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert rates.rates_path() == Path.home() / ".cache" / "isthmus-rates.json"
