"""What an area would take: counts against lists, a local index against the grid, and what the plan says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from transforms.area import Area, area_of_boxes, area_of_shapes
from transforms.lattice import enumerate_places
from warehouse.plan import BLOCK_PX, Plan, make_plan, suggest_sample
from warehouse.plan_request import PlanRequest
from warehouse.products import load_registry
from warehouse.rates import MachineRates
from warehouse.sections import KeepSettings, KeepWindow, UpsampleSettings
from warehouse.source_settings import SourceSettings

RATES = MachineRates(
    pool_pixels_per_s=1e6, keep_pixels_per_s=2e6, patches_per_s=1e4, patch_row_bytes=1400.0, pooled_row_bytes=1200.0,
    pixel_row_bytes=90.0, seconds=1.0, load=0.1,
)  # fmt: skip
REGISTRY = load_registry()
PAIR = (REGISTRY["aef"], REGISTRY["eg"])
#: Inside the tiny world, over the zone edge at 102 E.
BOX = (101.98, 12.63, 102.02, 12.66)


def plan(area: Area, years: tuple[int, ...] = (2024,), **changes: object) -> Plan:
    request = {
        "products": PAIR, "sources": {}, "keep": KeepSettings(sample=0.01), "upsample": UpsampleSettings(),
        "network_mb_s": 10.0, "cache_gb": 10.0,
    } | changes  # fmt: skip
    return make_plan(PlanRequest(area, years, **request), RATES, lambda _text: None)  # type: ignore[arg-type]


def test_patches_and_ground_are_those_of_the_area() -> None:
    found = plan(area_of_boxes([BOX]))
    assert found.patches == len(enumerate_places(*BOX))
    assert found.km2 == pytest.approx(0.04 * 108.62 * 0.03 * 110.63, rel=1e-3)
    assert found.pixels == round(found.km2 * 1e4)
    assert [shard.shard for shard in found.shards] == ["47PRP", "47PRQ", "48PSU", "48PSV"]
    assert {shard.epsg for shard in found.shards} == {32647, 32648}


def test_what_is_read_kept_and_timed_follows_from_the_counts() -> None:
    found = plan(area_of_boxes([BOX]), years=(2023, 2024))
    reads = {(read.product, read.year): read for read in found.reads}
    assert (reads["eg", 2023].files, reads["eg", 2023].how) == (0, "none")
    assert (reads["eg", 2024].how, reads["aef", 2024].how) == ("enumerated", "estimated")
    assert reads["aef", 2023].rows == reads["aef", 2024].rows
    assert reads["aef", 2024].rows % BLOCK_PX**2 == 0
    keeps = {keep.table: keep for keep in found.keeps}
    assert keeps["core_eg__patches"].rows == found.patches
    assert keeps["core_aef__pixels"].rows == 2 * round(found.pixels * 0.01)
    assert keeps["out_patch__aef_pooled"].rows == 2 * found.patches
    assert keeps["core_eg__patches"].bytes == found.patches * 1400
    times = {time.step: time.seconds for time in found.times}
    assert times["pool"] == sum(read.rows for read in found.reads if read.product == "aef") / 1e6
    assert times["ingest pixels"] == times["pool"] / 2
    assert times["network"] == found.bytes_to_read / 1e7
    assert found.seconds == sum(times.values())
    assert any("not in the registry" in note and "eg 2023" in note for note in found.notes)


def test_pixels_that_do_not_fit_the_cache_are_fetched_twice() -> None:
    few, large = (plan(area_of_boxes([BOX]), cache_gb=gb) for gb in (0.0, 10.0))
    pixels = sum(read.bytes for read in few.reads if read.product == "aef")
    assert few.times[0].seconds - large.times[0].seconds == pytest.approx(pixels / 1e7)
    assert any("do not fit the cache of 0 GB" in note for note in few.notes)
    assert not any("do not fit" in note for note in large.notes)
    assert few.bytes_to_read == large.bytes_to_read


def test_files_that_are_here_need_no_network() -> None:
    assert "network" not in {time.step for time in plan(area_of_boxes([BOX]), network_mb_s=0.0).times}


def test_files_are_counted_by_an_index_that_is_here(tiny_world: Path) -> None:
    sources = {
        "aef": SourceSettings(root=tiny_world / "aef/v1"),
        "eg": SourceSettings(root=tiny_world / "earthgenome/earthindexembeddings"),
    }
    found = plan(area_of_boxes([BOX]), sources=sources)
    reads = {read.product: read for read in found.reads}
    assert {read.how for read in found.reads} == {"counted"}
    files = list((tiny_world / "earthgenome/earthindexembeddings/2024").glob("*.parquet"))
    assert reads["eg"].files == len(files)
    assert reads["eg"].bytes == sum(file.stat().st_size for file in files)
    assert reads["aef"].files == len(list((tiny_world / "aef/v1/annual/2024").rglob("*.tiff")))


def test_an_index_that_is_missing_is_said_and_not_counted(tmp_path: Path) -> None:
    found = plan(
        area_of_boxes([BOX]), sources={"aef": SourceSettings(root=tmp_path), "eg": SourceSettings(root=tmp_path)}
    )
    assert {read.how for read in found.reads} == {"enumerated", "estimated"}
    assert sum("not counted by an index" in note for note in found.notes) == 2


def test_a_polygon_between_centroids_has_no_patches_and_says_so() -> None:
    places = enumerate_places(*BOX)
    gaps = shapely.MultiPoint(np.stack([places.lon, places.lat], axis=1)).buffer(0.0005)
    free = shapely.box(*BOX).difference(gaps).representative_point().buffer(0.0001)
    found = plan(area_of_shapes([free], "field"))
    assert found.patches == 0
    assert found.pixels > 0
    assert any("no patch has its centroid" in note for note in found.notes)


def test_one_product_alone_is_neither_pooled_nor_upsampled() -> None:
    found = plan(area_of_boxes([BOX]), products=(REGISTRY["aef"],))
    assert [keep.table for keep in found.keeps] == ["core_aef__pixels"]
    assert "pool" not in {time.step for time in found.times}


@pytest.mark.parametrize("sample", [0.0, 0.01])
def test_windows_are_kept_beside_the_sample(sample: float) -> None:
    west, south, east, north = BOX
    half = KeepWindow(name="half", bbox=(west - 1, south, (west + east) / 2, north))
    inside = KeepWindow(name="inside", bbox=(west, south, west + 0.01, north))
    found = plan(area_of_boxes([BOX]), keep=KeepSettings(sample=sample, windows=(half, inside)))
    assert found.kept == pytest.approx(found.pixels * (1 + sample) / 2, rel=1e-3)
    assert next(keep for keep in found.keeps if keep.table == "core_aef__pixels").rows == found.kept
    whole = plan(area_of_boxes([BOX]), keep=KeepSettings(sample=sample, windows=(KeepWindow(name="all", bbox=BOX),)))
    assert whole.kept == pytest.approx(whole.pixels, abs=2)


@pytest.mark.parametrize(("pixels", "share"), [(0, 0.01), (10**6, 0.01), (10**8, 0.01), (18 * 10**8, 0.0006)])
def test_the_suggested_sample_is_about_a_million_pixels(pixels: int, share: float) -> None:
    assert suggest_sample(pixels) == share


def test_without_kept_pixels_asked_for_a_sample_is_suggested() -> None:
    found = plan(area_of_boxes([(102.3, 10.4, 107.6, 14.7)]), keep=None)
    assert found.sample * found.pixels == pytest.approx(1e6, rel=0.5)
    assert plan(area_of_boxes([BOX]), keep=KeepSettings(all=True)).sample == 1.0
