"""Kept pixels: `all` is every valid pixel once; windows are dense, the sample is uniform and the same every year."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest

from assets.grid import plan_shards
from assets.pixels import ingest_pixels
from assets.release_index import observe_releases
from tests.assets.brute_force import Codes, dequantise, read_codes
from tests.conftest import Once, TinyRun
from tests.tiny import tiny_settings, write_settings
from warehouse.layout import PartitionKey
from warehouse.reader import vectors
from warehouse.settings import load_settings
from warehouse.store import Warehouse

ZONES = {32647: "47N", 32648: "48N"}


def owned_pixels(codes: Codes, bbox: tuple[float, float, float, float]) -> np.ndarray:
    """Valid pixels inside the area and inside the longitudes of their own zone."""
    lon, lat = codes.lonlat()
    west, south, east, north = bbox
    inside = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
    zone = np.floor((lon + 180) / 6).astype(int) + 1
    return np.asarray(codes.valid & inside & (zone == codes.epsg % 100))


@pytest.fixture(scope="module")
def kept_all(tiny_world: Path, once: Once) -> Warehouse:
    """Both years of the tiny world with every pixel kept."""
    settings = tiny_settings(tiny_world) | {"keep": {"all": True}}
    folder = once("all-pixels", lambda folder: ingest_all(write_settings(folder / "tiny.toml", settings)))
    return Warehouse(load_settings(folder / "tiny.toml"))


def ingest_all(config: Path) -> None:
    warehouse = Warehouse(load_settings(config))
    for product in warehouse.products.values():
        observe_releases(warehouse, product)
    plan_shards(warehouse)
    for shard in warehouse.shards():
        for year in warehouse.settings.years:
            ingest_pixels(warehouse, warehouse.products["aef"], PartitionKey(year, shard.key))


def cell_numbers(codes: Codes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Number the cells of a raster by their centres."""
    row, col = (codes.north - y) / 10 - 0.5, (x - codes.west) / 10 - 0.5
    assert np.array_equal(row, np.rint(row))
    assert np.array_equal(col, np.rint(col))
    return np.asarray(row * codes.values.shape[2] + col, np.int64)


@pytest.mark.parametrize("year", [2023, 2024])
def test_all_keeps_every_valid_pixel_of_every_file_exactly_once(kept_all: Warehouse, year: int) -> None:
    keys = kept_all.partitions("core_aef__pixels", year=year)
    table = kept_all.read_many("core_aef__pixels", keys, ["pixel_id", "epsg", "x_m", "y_m", "embedding_q"])
    assert len(keys) == 4
    epsg, x, y = (table[name].to_numpy() for name in ("epsg", "x_m", "y_m"))
    stored = vectors(table, "embedding_q")
    for code, zone in ZONES.items():
        codes = read_codes(kept_all.source("aef").root.parents[1], year, zone)
        owned = owned_pixels(codes, kept_all.settings.area.bbox)
        mine = np.flatnonzero(epsg == code)
        cells = cell_numbers(codes, x[mine], y[mine])
        assert len(np.unique(cells)) == len(cells) > 10_000
        assert owned.ravel()[cells].all()
        assert np.array_equal(stored[mine], codes.values.reshape(64, -1)[:, cells].T)
        assert np.array_equal(np.sort(cells), np.flatnonzero(owned))


@pytest.mark.parametrize("year", [2023, 2024])
def test_no_two_pixels_share_a_key(kept_all: Warehouse, year: int) -> None:
    keys = kept_all.partitions("core_aef__pixels", year=year)
    ids = kept_all.read_many("core_aef__pixels", keys, ["pixel_id"])["pixel_id"].to_numpy()
    assert len(np.unique(ids)) == len(ids)


def test_coast_and_zone_overlap_are_in_the_files(tiny_world: Path) -> None:
    for zone in ZONES.values():
        codes = read_codes(tiny_world, 2024, zone)
        assert not codes.valid.all()
        lon, _ = codes.lonlat()
        beyond = lon >= 102 if zone == "47N" else lon < 102
        assert (codes.valid & beyond).sum() > 1000  # what the zone rule must drop


def test_stored_places_are_pixel_centres(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql(
        "select epsg, x_m, y_m, lon, lat, embedding_q, year from core_aef__pixels using sample 100 (reservoir, 1)"
    )
    for row in rows.to_pylist():
        codes = read_codes(tiny_run.world, row["year"], ZONES[row["epsg"]])
        i, j = round((codes.north - row["y_m"]) / 10 - 0.5), round((row["x_m"] - codes.west) / 10 - 0.5)
        assert (codes.x[j], codes.y[i]) == (row["x_m"], row["y_m"])
        to_degrees = pyproj.Transformer.from_crs(row["epsg"], 4326, always_xy=True)
        assert (row["lon"], row["lat"]) == pytest.approx(to_degrees.transform(row["x_m"], row["y_m"]), abs=1e-9)
        assert row["embedding_q"] == codes.values[:, i, j].tolist()


def test_windows_are_dense(tiny_run: TinyRun) -> None:
    (window,) = tiny_run.warehouse.settings.keep.windows
    expected = 0
    for zone in ZONES.values():
        codes = read_codes(tiny_run.world, 2024, zone)
        lon, lat = codes.lonlat()
        west, south, east, north = window.bbox
        inside = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
        expected += int((inside & owned_pixels(codes, tiny_run.warehouse.settings.area.bbox)).sum())
    query = 'select count(*) as n from core_aef__pixels where "window" = $name and year = 2024'
    assert tiny_run.sql(query, name=window.name).to_pylist() == [{"n": expected}]
    assert expected > 2000


def test_sample_is_a_uniform_share_and_the_same_places_every_year(tiny_run: TinyRun) -> None:
    share = tiny_run.warehouse.settings.keep.sample
    total = sum(
        int(owned_pixels(read_codes(tiny_run.world, 2024, zone), tiny_run.warehouse.settings.area.bbox).sum())
        for zone in ZONES.values()
    )
    rows = tiny_run.sql("select year, pixel_id, in_sample from core_aef__pixels").to_pandas()
    sampled = rows[rows.in_sample]
    late, early = (set(sampled[sampled.year == year].pixel_id) for year in (2024, 2023))
    assert len(late) == pytest.approx(share * total, abs=4 * np.sqrt(share * total))
    assert early
    assert early <= late  # the early year covers less ground


def test_sample_is_uniform_inside_dense_windows_too(tiny_run: TinyRun) -> None:
    query = 'select avg(in_sample::int) as share, count(*) as n from core_aef__pixels where "window" is not null'
    (row,) = tiny_run.sql(query).to_pylist()
    share = tiny_run.warehouse.settings.keep.sample
    assert row["share"] == pytest.approx(share, abs=4 * np.sqrt(share / row["n"]))


def test_stored_vectors_have_unit_length(tiny_run: TinyRun) -> None:
    table = tiny_run.warehouse.read("core_aef__pixels", PartitionKey(2024, "47PRP"), ["embedding_q"])
    norms = np.linalg.norm(dequantise(vectors(table, "embedding_q")), axis=1)
    assert np.abs(norms - 1).max() < 0.02
