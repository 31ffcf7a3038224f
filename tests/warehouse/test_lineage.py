"""What becomes stale when something changes, on an area of many squares whose files are made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import shapely

from tests.warehouse.fake_evidence import make_settings
from tests.warehouse.fake_tables import PROVENANCE
from transforms.area import Bbox, area_of_boxes, grow
from transforms.sentinel2 import sentinel2_tile_box
from transforms.shards import cut_mgrs, cut_regions, shards_table
from transforms.utm import UtmBox, mgrs_squares, utm_epsg
from warehouse import lineage as lineage_module
from warehouse.fingerprints import Fingerprint, describe_changes
from warehouse.layout import ALL, PartitionKey
from warehouse.lineage import Lineage
from warehouse.recipes import table as recipe_table
from warehouse.sections import KeepSettings, KeepWindow
from warehouse.settings import Settings
from warehouse.sources.bounds import box_columns, lonlat_bounds
from warehouse.store import Warehouse

#: Across the zone edge at 102 E.
AREA: Bbox = (100.3, 11.2, 103.4, 13.9)
YEARS = (2023, 2024)
LABEL_YEAR = 2021
Expected = dict[tuple[str, PartitionKey], Fingerprint]
Row = dict[str, Any]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Both products, labels of 2024 only."""
    made = make_settings(tmp_path / "wh")
    label = made.labels["cover"].model_copy(update={"years": {2024: LABEL_YEAR}})
    limits = made.limits.model_copy(update={"min_free_mb": 0})
    area = made.area.model_copy(update={"bbox": AREA})
    return made.model_copy(update={"years": YEARS, "area": area, "labels": {"cover": label}, "limits": limits})


def list_squares(area: Bbox) -> list[str]:
    """List the MGRS squares around an area."""
    lon, lat = np.meshgrid(np.arange(area[0] - 1, area[2] + 1, 0.1), np.arange(area[1] - 1, area[3] + 1, 0.1))
    return sorted(set(mgrs_squares(lon.ravel(), lat.ravel()).tolist()))


def patch_rows(year: int) -> list[Row]:
    """One file a square, as Earth Genome publishes them."""
    span = f"{year}-01-01_{year + 1}-01-01"
    return [
        index_row("eg", year, square, f"{year}/{square}_{span}.parquet", sentinel2_tile_box(square))
        for square in list_squares(AREA)
    ]


def pixel_rows(year: int) -> list[Row]:
    """Files of 80 km in each zone."""
    rows = []
    for epsg, west, east in ((32647, 600_000, 840_000), (32648, 120_000, 440_000)):
        for x in range(west, east, 80_000):
            for y in range(1_200_000, 1_600_000, 80_000):
                box = UtmBox(epsg, x, y, x + 80_000, y + 80_000)
                rows.append(index_row("aef", year, f"{epsg}", f"annual/{year}/{epsg}/{x}-{y}.tiff", box))
    return rows


def index_row(product: str, year: int, tile: str, path: str, box: UtmBox) -> Row:
    facts = {"size_bytes": 100, "etag": "first", "product": product, "is_simulated": True}
    return {"year": year, "tile": tile, "path": path, **box_columns(box), **facts}


def observe(warehouse: Warehouse, patches: list[Row], pixels: list[Row]) -> None:
    """Write the indexes, and the shards of the area."""
    for name, rows in (("eg", patches), ("aef", pixels)):
        table = f"raw_{name}__index"
        warehouse.write(table, ALL, pa.Table.from_pylist(rows, schema=warehouse.specs[table].schema), PROVENANCE)
    area = warehouse.settings.area
    assert area.bbox is not None
    shards = cut_regions(area.regions) if area.shard_rule == "region" else cut_mgrs(area_of_boxes([area.bbox]))
    rows = shards_table(shards, warehouse.area, on_lattice=False, is_simulated=True)
    warehouse.write("core_grid__shards", ALL, rows, PROVENANCE)


def expect(settings: Settings, patches: list[Row] | None = None, pixels: list[Row] | None = None) -> Expected:
    """Observe files (by default those of all years) and give the fingerprints of everything that is asked for."""
    warehouse = Warehouse(settings)
    both = [(patch_rows, patches), (pixel_rows, pixels)]
    made = [
        given if given is not None else [row for year in settings.years for row in make(year)] for make, given in both
    ]
    observe(warehouse, *made)
    lineage = Lineage(Warehouse(settings))
    return {
        (table, key): lineage.expected(table, key)
        for table in lineage.recipes
        if not table.startswith(("raw_", "core_grid__shards"))
        for key in lineage.keys(table)
    }


def changed(before: Expected, after: Expected) -> set[tuple[str, PartitionKey]]:
    """List the partitions that both have and that would be written again."""
    return {one for one in before.keys() & after.keys() if before[one].value != after[one].value}


def tables(partitions: set[tuple[str, PartitionKey]]) -> set[str]:
    return {table for table, _ in partitions}


def of_table(partitions: set[tuple[str, PartitionKey]], table: str) -> set[PartitionKey]:
    return {key for one, key in partitions if one == table}


EVIDENCE = {
    "out_probe__folds", "out_probe__fold_rules", "out_probe__fold_audit", "out_probe__metrics", "out_probe__confusions",
    "out_probe__sums", "out_probe__predictions", "out_probe__contrasts",
}  # fmt: skip
KEPT = {"core_aef__pixels", "core_label_cover__pixels", "out_pixel__eg_upsampled"}
ORACLES = {"out_probe__oracles", "out_probe__oracle_confusions"}
SCORES = EVIDENCE - {"out_probe__folds", "out_probe__fold_rules", "out_probe__fold_audit"}


def test_the_same_settings_and_files_give_the_same_fingerprints(settings: Settings) -> None:
    first = expect(settings)
    assert len({fingerprint.value for fingerprint in first.values()}) > 100  # different partitions differ
    assert changed(first, expect(settings)) == set()


def test_a_reissued_patch_file_makes_its_shards_stale_and_what_follows_from_them(settings: Settings) -> None:
    before = expect(settings)
    patches = [row for year in YEARS for row in patch_rows(year)]
    chosen = next(row for row in patches if row["year"] == 2024 and row["tile"] == "47PRQ")
    chosen["etag"] = "second"
    after = changed(before, expect(settings, patches=patches))
    box = lonlat_bounds(sentinel2_tile_box("47PRQ"))
    shards = Warehouse(settings).shards()
    touched = {shard.key for shard in shards if _touch(shard.bbox, box)}
    assert 1 < len(touched) < len(shards)
    assert of_table(after, "core_eg__patches") == {PartitionKey(2024, shard) for shard in touched}
    near = {s.key for s in shards for t in shards if t.key in touched and _touch(grow(s.bbox, 640.0), t.bbox)}
    assert of_table(after, "out_pixel__eg_upsampled") == {PartitionKey(2024, key) for key in near}
    assert {key.year for _, key in after} == {2024}
    assert tables(after) == {"core_eg__patches", "out_patch__eg_basis", "out_pixel__eg_upsampled", *EVIDENCE}


def test_a_reissued_pixel_file_leaves_the_other_zone_and_the_patches_alone(settings: Settings) -> None:
    before = expect(settings)
    pixels = [row for year in YEARS for row in pixel_rows(year)]
    chosen = next(row for row in pixels if row["year"] == 2024 and row["path"].endswith("32648/280000-1360000.tiff"))
    chosen["etag"] = "second"
    after = changed(before, expect(settings, pixels=pixels))
    stale = of_table(after, "core_aef__pixels")
    assert stale == {PartitionKey(2024, s.key) for s in Warehouse(settings).shards()
                     if s.epsg == 32648 and _touch(s.bbox, (chosen["west_deg"], chosen["south_deg"],
                                                            chosen["east_deg"], chosen["north_deg"]))}  # fmt: skip
    labels = {PartitionKey(LABEL_YEAR, key.shard) for key in stale}
    assert of_table(after, "core_label_cover__pixels") == labels
    assert tables(after) == {
        "core_aef__pixels", "core_label_cover__pixels", "out_patch__aef_pooled", "out_pixel__eg_upsampled", *EVIDENCE
    }  # fmt: skip


def test_a_new_year_redoes_nothing_of_the_old_ones(settings: Settings) -> None:
    before = expect(settings)
    after = expect(settings.model_copy(update={"years": (*YEARS, 2025)}))
    assert changed(before, after) == set()
    assert {key.year for _, key in after.keys() - before.keys()} == {2025}


def test_a_wider_area_adds_shards_and_redoes_those_that_its_old_border_cut(settings: Settings) -> None:
    before = expect(settings)
    wider = settings.area.model_copy(update={"bbox": (AREA[0], AREA[1], 104.3, AREA[3])})
    after = expect(settings.model_copy(update={"area": wider}))
    added = {key.shard for _, key in after.keys() - before.keys()} - {None}
    assert added
    redone = {key.shard for key in of_table(changed(before, after), "core_aef__pixels")}
    cut = {shard.key for shard in cut_mgrs(area_of_boxes([AREA])) if shard.bbox[2] > AREA[2] - 0.01}
    assert redone == cut
    assert not redone & added
    stale = changed(before, after)
    assert tables({one for one in stale if one[1].shard not in {None, *cut}}) == {"out_pixel__eg_upsampled"}
    assert tables({one for one in stale if one[1].shard is None}) == {"out_patch__eg_basis", *EVIDENCE, *ORACLES}


def test_plans_follow_the_ground_of_a_file_and_not_its_name(settings: Settings, tmp_path: Path) -> None:
    def fingerprints(name: str, bbox: Bbox) -> set[str]:
        path = tmp_path / name
        geopandas.GeoSeries([shapely.box(*bbox)], crs=4326).to_file(path)
        area = settings.area.model_copy(update={"bbox": None, "geometry": path})
        lineage = Lineage(Warehouse(settings.model_copy(update={"area": area})))
        return {lineage.expected(table, ALL).settings for table in ("raw_eg__index", "core_grid__shards")}

    observe(Warehouse(settings), patch_rows(YEARS[0]), pixel_rows(YEARS[0]))
    here = fingerprints("here.geojson", (101.5, 12.2, 102.5, 12.9))
    assert fingerprints("copy.geojson", (101.5, 12.2, 102.5, 12.9)) == here
    assert not fingerprints("here.geojson", (101.5, 12.2, 102.6, 12.9)) & here  # the same file, other ground


def test_regions_are_redone_where_an_earlier_one_takes_ground_from_them(settings: Settings) -> None:
    regions: dict[str, Bbox] = {
        "west": (101.3, 12.1, 101.9, 12.6),
        "mid": (101.8, 12.1, 102.3, 12.6),
        "far": (102.5, 12.1, 102.8, 12.6),
    }
    area = settings.area.model_copy(update={"shard_rule": "region", "regions": regions})
    before = expect(settings.model_copy(update={"area": area}))
    moved = area.model_copy(update={"regions": {**regions, "west": (101.3, 12.1, 101.95, 12.6)}})
    after = expect(settings.model_copy(update={"area": moved}))
    assert {key.shard for key in of_table(changed(before, after), "core_grid__patches")} == {"west", "mid"}


@pytest.mark.parametrize(
    ("section", "update", "stale"),
    [
        ("limits", {"block_px": 512, "threads": 1}, set()),
        ("keep", {"sample": 0.02}, KEPT | EVIDENCE),
        ("pool", {"min_coverage": 0.6}, {"out_patch__aef_pooled", *SCORES}),
        ("pool", {"operators": ("mean", "gem", "max")}, {"out_patch__aef_pooled"}),
        ("pool", {"operators": ("mean", "gem", "vlad")}, {"out_patch__aef_pooled", *SCORES}),
        ("upsample", {"operators": ("nearest", "bilinear", "mass_preserving", "bicubic")}, {"out_pixel__eg_upsampled"}),
        ("upsample", {"basis_dims": 32}, {"out_patch__eg_basis", "out_pixel__eg_upsampled", *SCORES}),
        ("evaluate", {"seed": 5}, EVIDENCE),
        ("evaluate", {"c_grid": (0.5,)}, SCORES),
        ("evaluate", {"block_edge_m": 9000.0}, EVIDENCE | ORACLES),
        ("evaluate", {"tasks": ("T1", "T5", "T3")}, {"out_probe__contrasts"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)  # fmt: skip
def test_settings_make_stale_what_depends_on_them(
    settings: Settings, section: str, update: dict[str, Any], stale: set[str]
) -> None:
    before = expect(settings)
    part = getattr(settings, section).model_copy(update=update)
    after = expect(settings.model_copy(update={section: part}))
    assert tables(changed(before, after)) == stale


def test_the_title_of_a_label_source_changes_no_rows(settings: Settings) -> None:
    before = expect(settings)
    label = settings.labels["cover"].model_copy(update={"title": "another title"})
    assert changed(before, expect(settings.model_copy(update={"labels": {"cover": label}}))) == set()


def test_another_label_file_redoes_labels_and_what_follows(settings: Settings) -> None:
    path = settings.labels["cover"].path
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"first")
    before = expect(settings)
    path.write_bytes(b"second")
    labels = {"core_label_cover__pixels", "core_label_cover__patches"}
    assert tables(changed(before, expect(settings))) == {*labels, *EVIDENCE, *ORACLES}


def test_a_window_redoes_the_shards_that_it_reaches_into(settings: Settings) -> None:
    before = expect(settings)
    keep = KeepSettings(windows=(KeepWindow(name="w", bbox=(102.5, 12.9, 102.51, 12.91)),))
    after = expect(settings.model_copy(update={"keep": keep}))
    redone = of_table(changed(before, after), "core_aef__pixels")
    assert {key.shard for key in redone} == set(mgrs_squares(np.array([102.5]), np.array([12.9])).tolist())


@pytest.mark.parametrize(
    ("table", "stale"),
    [
        ("out_patch__{}_basis", {"out_patch__eg_basis", "out_pixel__eg_upsampled", *SCORES}),
        ("core_label_{}__patches", {"core_label_cover__patches", *EVIDENCE, *ORACLES}),
        ("out_probe__contrasts", {"out_probe__contrasts"}),
    ],
)
def test_raising_the_logic_of_a_table_redoes_it_and_what_follows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, table: str, stale: set[str]
) -> None:
    before = expect(settings)
    raised = tuple(replace(one, logic=2) if one.table == table else one for one in recipe_table.RECIPES)
    monkeypatch.setattr(lineage_module, "RECIPES", raised)
    assert tables(changed(before, expect(settings))) == stale


@pytest.mark.parametrize("table", ["core_grid__patches", "core_eg__patches", "out_patch__aef_pooled"])
def test_raising_the_schema_version_of_a_table_redoes_its_partitions_and_nothing_else(
    settings: Settings, raise_schema_version: Callable[..., None], table: str
) -> None:
    before = expect(settings)
    raise_schema_version(table)
    after = expect(settings)
    stale = {one for one in before if describe_changes(before[one], after[one])}
    assert stale == {one for one in before if one[0] == table}
    assert len(stale) > 5
    assert changed(before, after) == set()


def test_facts_that_only_reports_use_redo_nothing(settings: Settings) -> None:
    before = expect(settings)
    products = {"eg": {"title": "another title", "producer": "somebody"}}
    stale = tables(changed(before, expect(settings.model_copy(update={"products": products}))))
    assert not {table for table in stale if table.startswith(("core_", "out_patch", "out_pixel"))}


def test_a_changed_model_redoes_what_its_vectors_are_in(settings: Settings) -> None:
    before = expect(settings)
    after = expect(settings.model_copy(update={"products": {"eg": {"model": "another model"}}}))
    stale = tables(changed(before, after))
    assert {"core_eg__patches", "out_pixel__eg_upsampled", "out_probe__contrasts"} <= stale
    assert "core_aef__pixels" not in stale


def _touch(a: Bbox, b: Bbox) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def test_the_squares_lie_in_both_zones() -> None:
    assert {shard.epsg for shard in cut_mgrs(area_of_boxes([AREA]))} == set(
        utm_epsg([101.9, 102.1], [12.5, 12.5]).tolist()
    )
