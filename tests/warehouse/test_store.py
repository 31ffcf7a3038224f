from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.fake_evidence import make_settings
from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from transforms.area import area_of_boxes
from transforms.shards import cut_mgrs, cut_regions, shards_table
from transforms.utm import project
from warehouse.errors import DiskSpaceError, PartitionMissingError, SourceMissingError
from warehouse.label_settings import LabelSettings
from warehouse.layout import ALL, PartitionKey
from warehouse.provenance import SourceFile
from warehouse.sections import AreaSettings, CompareSettings, LimitSettings
from warehouse.settings import Settings
from warehouse.sources.files import SIMULATED_MARK
from warehouse.store import Warehouse, any_simulated, evaluate_settings

KEYS = [PartitionKey(2023, "47PQQ"), PartitionKey(2024, "47PQQ"), PartitionKey(2024, "48PSV")]
REGIONS = {"zebra": (101.0, 12.0, 102.0, 13.0), "ant": (101.5, 12.0, 102.5, 13.0)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path / "wh").model_copy(update={"limits": LimitSettings(min_free_mb=0)})


@pytest.fixture
def warehouse(settings: Settings) -> Warehouse:
    return Warehouse(settings)


def change(settings: Settings, **update: Any) -> Warehouse:
    return Warehouse(settings.model_copy(update=update))


def fill(warehouse: Warehouse, table: str, key: PartitionKey, n: int = 10, seed: int = 0, **columns: list) -> pa.Table:
    rows = declared_rows(warehouse.specs[table], n, np.random.default_rng(seed))
    for name, values in columns.items():
        position = rows.schema.get_field_index(name)
        rows = rows.set_column(position, name, pa.array(values, rows.schema.field(name).type))
    warehouse.write(table, key, rows, PROVENANCE)
    return rows


def cut_shards(warehouse: Warehouse, *keys: str) -> None:
    """Make these the shards of the area of interest."""
    fill(warehouse, "core_grid__shards", ALL, len(keys), shard=list(keys))


def index_rows(warehouse: Warehouse, **columns: list) -> None:
    n = len(next(iter(columns.values())))
    fill(warehouse, "raw_aef__index", ALL, n, **columns)


def test_opening_touches_no_file(warehouse: Warehouse) -> None:
    assert set(warehouse.products) == {"aef", "eg"}
    assert "core_label_cover__pixels" in warehouse.specs
    assert warehouse.pixel_product.name == "aef"
    assert warehouse.patch_product.name == "eg"
    assert not warehouse.root.exists()


def test_written_partitions_are_found_and_read(warehouse: Warehouse) -> None:
    cut_shards(warehouse, "47PQQ", "48PSV", "48PTV")
    for i, key in enumerate(KEYS):
        fill(warehouse, "core_eg__patches", key, 5 + i, seed=i)
    assert warehouse.partitions("core_eg__patches") == KEYS
    assert warehouse.partitions("core_eg__patches", year=2024) == KEYS[1:]
    assert warehouse.partitions("core_eg__patches", shard="47PQQ") == KEYS[:2]
    assert warehouse.partitions("core_eg__patches", year=2023, shard="48PSV") == []
    assert warehouse.read("core_eg__patches", KEYS[2]).num_rows == 7
    assert warehouse.read_many("core_eg__patches", KEYS, ["lon"]).column_names == ["lon", "year", "shard"]
    with pytest.raises(PartitionMissingError):
        warehouse.read("raw_eg__index")


def test_shards_of_an_earlier_area_are_not_listed(warehouse: Warehouse) -> None:
    for key in KEYS:
        fill(warehouse, "core_eg__patches", key)
    cut_shards(warehouse, "48PSV")
    assert warehouse.partitions("core_eg__patches") == [KEYS[2]]
    fill(warehouse, "out_probe__folds", PartitionKey(2024))
    assert warehouse.partitions("out_probe__folds") == [PartitionKey(2024)]  # not cut by shard


def test_partitions_can_be_written_in_pieces(warehouse: Warehouse) -> None:
    spec = warehouse.specs["core_eg__patches"]
    with warehouse.open("core_eg__patches", KEYS[0], PROVENANCE) as writer:
        for seed in range(3):
            writer.write(declared_rows(spec, 4, np.random.default_rng(seed)))
    assert warehouse.read("core_eg__patches", KEYS[0]).num_rows == 12


def test_cells_are_replaced_one_by_one_and_stale_ones_dropped(warehouse: Warehouse) -> None:
    spec = warehouse.specs["out_probe__metrics"]
    for n, (year, cell) in enumerate([(2024, "aa"), (2024, "bb"), (2023, "aa"), (2024, "aa")], start=1):
        warehouse.write_cell(spec.name, year, cell, declared_rows(spec, n, np.random.default_rng(n)), PROVENANCE)
    assert warehouse.read_cells(spec.name, 2024).num_rows == 4 + 2
    warehouse.drop_cells(spec.name, 2024, keep={"bb", "cc"})
    assert warehouse.read_cells(spec.name, 2024).num_rows == 2
    assert warehouse.read_cells(spec.name, 2023).num_rows == 3
    warehouse.drop_cells(spec.name, 1999, keep=())


def test_a_full_disk_is_refused_before_writing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = change(settings, limits=LimitSettings(min_free_mb=500))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=499 * 2**20))
    rows = declared_rows(warehouse.specs["raw_eg__index"], 3, np.random.default_rng(0))
    for write in (
        lambda: warehouse.write("raw_eg__index", ALL, rows, PROVENANCE),
        lambda: warehouse.open("raw_eg__index", ALL, PROVENANCE),
        lambda: warehouse.write_cell("out_probe__metrics", 2024, "a", rows, PROVENANCE),
    ):
        with pytest.raises(DiskSpaceError, match=r"found 499 MB free, expected at least 500 MB.*warehouse\.root"):
            write()
    assert not warehouse.root.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=500 * 2**20))
    assert warehouse.write("raw_eg__index", ALL, rows, PROVENANCE).rows == 3


def test_mgrs_shards_are_read_back(settings: Settings) -> None:
    area = (101.9, 12.4, 102.1, 12.9)
    warehouse = change(settings, area=AreaSettings(bbox=area))
    cut = cut_mgrs(area_of_boxes([area]))
    table = shards_table(cut, area_of_boxes([area]), on_lattice=False, is_simulated=True)
    warehouse.write("core_grid__shards", ALL, table, PROVENANCE)
    assert len(cut) >= 4
    assert [(s.key, s.rule, s.epsg) for s in warehouse.shards()] == [(s.key, s.rule, s.epsg) for s in cut]
    for found, expected in zip(warehouse.shards(), cut, strict=True):
        # bounds of the stored outline, whose edges bow a little
        assert found.bbox == pytest.approx(expected.bbox, abs=2e-5)
    owner = warehouse.owner_rule(cut[0].key, by_zone=True)
    assert (owner.key, owner.area.boxes, owner.by_zone) == (cut[0].key, (area,), True)
    assert owner.shard == warehouse.shards()[0]


def test_regions_keep_the_order_of_the_settings(settings: Settings) -> None:
    # stored rows are sorted by key, but the first region of the settings owns what lies in two
    warehouse = change(settings, area=AreaSettings(shard_rule="region", regions=REGIONS))
    table = shards_table(cut_regions(REGIONS), None, on_lattice=False, is_simulated=False)
    warehouse.write("core_grid__shards", ALL, table, PROVENANCE)
    assert warehouse.read("core_grid__shards")["shard"].to_pylist() == ["ant", "zebra"]
    assert [shard.key for shard in warehouse.shards()] == ["zebra", "ant"]
    lon, lat = np.array([101.7]), np.array([12.5])
    assert warehouse.owner_rule("zebra").owns(lon, lat).tolist() == [True]
    assert warehouse.owner_rule("ant").owns(lon, lat).tolist() == [False]


def test_the_keep_rule_is_that_of_the_settings(settings: Settings) -> None:
    keep = settings.keep.model_validate({"sample": 0.2, "windows": [{"name": "w", "bbox": [1, 2, 3, 4]}]})
    rule = change(settings, keep=keep).keep_rule()
    assert (rule.all, rule.sample, rule.windows) == (False, 0.2, (("w", (1, 2, 3, 4)),))


def test_index_rows_are_those_of_the_year_that_touch_the_box(warehouse: Warehouse) -> None:
    index_rows(
        warehouse,
        year=[2024, 2024, 2024, 2024, 2023, 2024],
        path=["in", "west", "touches", "north", "old", "around"],
        west_deg=[102.1, 101.0, 101.0, 102.1, 102.1, 90.0],
        east_deg=[102.2, 101.9, 102.0, 102.2, 102.2, 110.0],
        south_deg=[12.1, 12.1, 12.1, 13.1, 12.1, 0.0],
        north_deg=[12.2, 12.2, 12.2, 13.2, 12.2, 20.0],
    )
    found = warehouse.index_rows(warehouse.products["aef"], 2024, (102.0, 12.0, 103.0, 13.0))
    assert sorted(found["path"].to_pylist()) == ["around", "in", "touches"]
    assert warehouse.index_rows(warehouse.products["aef"], 2020, (102.0, 12.0, 103.0, 13.0)).num_rows == 0


def test_index_rows_are_found_on_both_sides_of_the_antimeridian(warehouse: Warehouse) -> None:
    index_rows(
        warehouse,
        year=[2024] * 4,
        path=["west of it", "across", "east of it", "elsewhere"],
        west_deg=[179.0, 179.5, -180.0, 0.0],
        east_deg=[179.9, -179.5, -179.0, 1.0],
        south_deg=[-17.0] * 4,
        north_deg=[-16.0] * 4,
    )

    def found(*bbox: float) -> list[str]:
        rows = warehouse.index_rows(warehouse.products["aef"], 2024, bbox)  # type: ignore[arg-type]
        return sorted(rows["path"].to_pylist())

    assert found(179.6, -16.6, 179.7, -16.5) == ["across", "west of it"]
    assert found(-179.7, -16.6, -179.6, -16.5) == ["across", "east of it"]
    # boxes that were grown over it
    assert found(179.95, -16.6, 180.001, -16.5) == ["across", "east of it"]
    assert found(-180.2, -16.6, -179.99, -16.5) == ["across", "east of it", "west of it"]
    assert found(-1.0, -16.6, 0.5, -16.5) == ["elsewhere"]


@pytest.mark.parametrize(("layout", "zones"), [("aef_cog", [32648]), ("pixel_geotiff", [32647, 32648])])
def test_shards_are_read_in_the_zones_that_may_own_their_pixels(
    warehouse: Warehouse, layout: str, zones: list[int]
) -> None:
    sides = {"west_deg": [101.0] * 3, "south_deg": [12.0] * 3, "east_deg": [103.0] * 3, "north_deg": [13.0] * 3}
    index_rows(warehouse, epsg=[32648, 32647, 32648], year=[2024] * 3, **sides)
    shard = cut_mgrs(area_of_boxes([(102.0, 12.5, 102.01, 12.51)]))[0]
    product = warehouse.products["aef"].model_copy(update={"layout": layout})
    boxes = warehouse.shard_boxes(product, warehouse.shard_index(product, 2024, shard), shard)
    assert [box.epsg for box in boxes] == zones
    for box in boxes:
        x, y = project([102.0, 102.01], [12.5, 12.51], box.epsg)
        assert box.west - 1 <= x.min() <= x.max() <= box.east + 1
        assert box.south - 1 <= y.min() <= y.max() <= box.north + 1


def test_source_files_of_an_index(warehouse: Warehouse) -> None:
    index_rows(warehouse, path=["b", "a"], etag=["e1", None], is_simulated=[False, True], year=[2024, 2023])
    index = warehouse.read("raw_aef__index")
    assert warehouse.source_files(index) == [SourceFile("a", ""), SourceFile("b", "e1")]
    product = warehouse.products["aef"]
    assert warehouse.is_simulated(product, index)
    assert not warehouse.is_simulated(product, index.slice(1))


@pytest.mark.parametrize(("flags", "expected"), [([False, True], True), ([False, False], False)])
def test_no_rows_of_a_simulated_product_are_simulated(warehouse: Warehouse, flags: list[bool], expected: bool) -> None:
    index_rows(warehouse, is_simulated=flags)
    nothing = warehouse.read("raw_aef__index").slice(0, 0)
    assert warehouse.is_simulated(warehouse.products["aef"], nothing) is expected


@pytest.mark.parametrize("is_marked", [False, True])
def test_a_product_without_any_file_is_simulated_where_its_root_says_so(warehouse: Warehouse, is_marked: bool) -> None:
    if is_marked:
        warehouse.root.mkdir()
        (warehouse.root / SIMULATED_MARK).touch()
    nothing = declared_rows(warehouse.specs["raw_aef__index"], 0, np.random.default_rng(0))
    assert warehouse.is_simulated(warehouse.products["aef"], nothing) is is_marked
    warehouse.write("raw_aef__index", ALL, nothing, PROVENANCE)
    assert warehouse.is_simulated(warehouse.products["aef"], nothing) is is_marked


def test_pixel_places_of_several_years_are_read_once(warehouse: Warehouse) -> None:
    table = "core_aef__pixels"
    cut_shards(warehouse, "47PQQ", "48PSV")
    fill(warehouse, table, KEYS[0], 3, pixel_id=[1, 2, 3], in_sample=[True, True, False])
    fill(warehouse, table, KEYS[1], 3, pixel_id=[2, 3, 4], in_sample=[True, False, True])
    fill(warehouse, table, KEYS[2], 1, pixel_id=[9], in_sample=[True])
    aef = warehouse.products["aef"]
    assert warehouse.pixel_places(aef, "47PQQ", [2023, 2024]).pixel_id.tolist() == [1, 2, 3, 4]
    assert warehouse.pixel_places(aef, "47PQQ", [2023, 2024], sample_only=True).pixel_id.tolist() == [1, 2, 4]
    assert warehouse.pixel_places(aef, "47PQQ", [2023]).pixel_id.tolist() == [1, 2, 3]
    assert len(warehouse.pixel_places(aef, "47PQQ", [2020])) == 0


def test_label_years_lead_back_to_embedding_years(settings: Settings) -> None:
    label = settings.labels["cover"].model_copy(update={"years": {2023: 2021, 2024: 2021, 2022: 2020}})
    warehouse = change(settings, labels={"cover": label})
    assert warehouse.embedding_years("cover", 2021) == [2023, 2024]
    assert warehouse.embedding_years("cover", 2024) == []


def test_class_ids_follow_the_settings(settings: Settings) -> None:
    label = settings.labels["cover"].model_copy(update={"classes": {"water": 80, "tree": 10}})
    classes = change(settings, labels={"cover": label}).class_map("cover")
    assert classes.names == ("water", "tree")
    assert classes.to_ids([10, 80, 5]).tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    ("product", "pixels", "patches"), [(None, True, True), ("aef", True, False), ("eg", False, True)]
)
def test_columns_label_their_own_grain_and_rasters_both(
    settings: Settings, product, pixels: bool, patches: bool
) -> None:
    kind = (
        {"kind": "geotiff", "path": "x.tif"}
        if product is None
        else {"kind": "column", "product": product, "column": "c"}
    )
    label = LabelSettings(**kind, classes={"a": 1, "b": 2}, years={2024: 2024})
    warehouse = change(settings, labels={"cover": label})
    assert (warehouse.labels_pixels("cover"), warehouse.labels_patches("cover")) == (pixels, patches)


def test_tasks_that_are_asked_for(settings: Settings) -> None:
    only = settings.evaluate.model_copy(update={"tasks": ("T5",)})
    assert [change(settings, evaluate=only).asks(task) for task in ("T1", "T5")] == [False, True]
    assert [change(settings, evaluate=None).asks(task) for task in ("T1", "T5")] == [True, True]


def test_evaluation_needs_its_settings(settings: Settings) -> None:
    assert evaluate_settings(Warehouse(settings)) is settings.evaluate
    with pytest.raises(SourceMissingError, match=r"settings 'tiny': found no \[evaluate\].*Add \[evaluate\]"):
        evaluate_settings(change(settings, evaluate=None))


def test_provenance_of_one_product(warehouse: Warehouse) -> None:
    eg = warehouse.products["eg"]
    record = warehouse.product_provenance(eg, [SourceFile("a", "1")], is_simulated=True, inputs=["raw_eg__index"])
    assert (record.product, record.licence, record.is_simulated) == ("eg", "CC-BY-4.0", True)
    assert eg.model in record.release
    assert eg.grid_version in record.release
    assert record.attribution == (eg.attribution,)
    assert (record.sources, record.inputs) == ((SourceFile("a", "1"),), ("raw_eg__index",))


def test_attributions_of_the_pair_and_the_labels_travel_with_derived_rows(settings: Settings) -> None:
    record = Warehouse(settings).derived_provenance(["out_probe__folds"], is_simulated=False)
    assert record.product == "aef+eg"
    assert len(record.attribution) == 3
    assert record.attribution[0].startswith("The AlphaEarth Foundations")
    assert record.attribution[2] == "Labels by the label maker."
    assert record.licence == "CC-BY-4.0"
    alone = change(settings, compare=CompareSettings(patches="eg")).derived_provenance([], is_simulated=True)
    assert (alone.product, alone.is_simulated, len(alone.attribution)) == ("eg", True, 2)


@pytest.mark.parametrize(("aef", "eg", "expected"), [(False, False, False), (True, False, True), (False, True, True)])
def test_one_simulated_side_makes_the_pair_simulated(warehouse: Warehouse, aef: bool, eg: bool, expected: bool) -> None:
    fill(warehouse, "raw_aef__index", ALL, 2, is_simulated=[False, aef])
    fill(warehouse, "raw_eg__index", ALL, 2, is_simulated=[False, eg])
    assert any_simulated(warehouse) == expected


@pytest.mark.parametrize("is_marked", [True, False])
def test_simulated_labels_make_the_evidence_simulated(warehouse: Warehouse, is_marked: bool) -> None:
    for product in ("aef", "eg"):
        fill(warehouse, f"raw_{product}__index", ALL, 1, is_simulated=[False])
    raster = warehouse.label("cover").path
    raster.parent.mkdir(parents=True, exist_ok=True)
    raster.write_bytes(b"")
    if is_marked:
        (raster.parent / "SIMULATED.json").write_text("{}")
    assert any_simulated(warehouse) == is_marked
