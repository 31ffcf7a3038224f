"""Bad input through the assets: each row of `docs/bad_input.md` is tried, and what is stored stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from assets.grid import plan_shards, write_spine
from assets.labels import label_patches, label_pixels
from assets.patches import ingest_patches
from assets.pixels import ingest_pixels
from assets.release_index import observe_releases
from tests.assets import bad_files
from tests.assets.bad_files import BOW_TIE, EAST, FIELD, FLAT, WEST, WOOD, write_codes, write_polygons
from tests.assets.test_bad_partitions import DAMAGES
from tests.documented import documented, read_promises
from tests.tiny import PROJECT, copy_world, digest_rows, hidden_files, quick_settings, stored_files, write_settings
from transforms.errors import IsthmusError
from warehouse.catalog import open_catalog
from warehouse.catalog_files import CatalogFiles
from warehouse.checks_sql import run_checks
from warehouse.layout import PartitionKey
from warehouse.products import load_registry
from warehouse.provenance import decode_footer
from warehouse.release_products import identify_product
from warehouse.settings import load_settings
from warehouse.sources.index import list_unreadable
from warehouse.sources.traits import read_traits
from warehouse.store import Warehouse

YEAR = 2024
SOFTCON = "dinov2_vits14_softcon"
LABEL_YEAR = PartitionKey(YEAR, WEST)


@dataclass(frozen=True)
class Stage:
    """A finished warehouse of the quick run, and a copy of its world that may be damaged.

    Attributes:
        world: the copy.
        config: settings on it.
    """

    world: Path
    config: Path

    def open(self, **sections: Any) -> Warehouse:
        """Open the warehouse, with sections of the settings added."""
        settings = quick_settings(self.world)
        for name, section in sections.items():
            settings[name] = {**settings.get(name, {}), **section}
        return Warehouse(load_settings(write_settings(self.config, settings)))

    @property
    def warehouse_root(self) -> Path:
        """Folder of the tables."""
        return self.config.parent / "warehouse"

    def snapshot(self) -> dict[str, bytes]:
        """Give the bytes of all stored files."""
        return {name: (self.warehouse_root / name).read_bytes() for name in stored_files(self.warehouse_root)}


@pytest.fixture
def stage(tiny_world: Path, quick_run: Path, tmp_path: Path, clean_env: None) -> Stage:
    shutil.copytree(quick_run.parent / "warehouse", tmp_path / "warehouse")
    return Stage(copy_world(tiny_world, tmp_path / "world"), tmp_path / "quick.toml")


def observe(warehouse: Warehouse) -> object:
    return observe_releases(warehouse, warehouse.products["aef"])


def read_pixels(warehouse: Warehouse, shard: str = WEST) -> object:
    observe(warehouse)
    return ingest_pixels(warehouse, warehouse.products["aef"], PartitionKey(YEAR, shard))


def read_patches(warehouse: Warehouse, shard: str = WEST) -> object:
    observe_releases(warehouse, warehouse.products["eg"])
    return ingest_patches(warehouse, warehouse.products["eg"], PartitionKey(YEAR, shard))


def read_notes(root: Path, table: str, shard: str = WEST) -> list[str]:
    path = root / table / f"year={YEAR}" / f"shard={shard}" / "part.parquet"
    return list(decode_footer(pq.read_schema(path).metadata)["notes"])


def refuse(stage: Stage, name: str, read: Callable[[], object]) -> str:
    """Read what is damaged: it raises what the page says, and no table changes but the index of releases."""
    before = stage.snapshot()
    with pytest.raises(IsthmusError) as caught:
        read()
    message = str(caught.value)
    assert documented(name).outcome == "refused"
    assert documented(name).is_kept_by(message), message
    after = stage.snapshot()
    assert {k: v for k, v in after.items() if not k.startswith("raw_")} == {
        k: v for k, v in before.items() if not k.startswith("raw_")
    }
    assert after.keys() == before.keys()
    assert hidden_files(stage.warehouse_root) == []
    return message


# -- rasters, index, patches: refused ------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One kind of damage.

    Attributes:
        damage: does it to a world, and names the file.
        read: the asset that meets it.
    """

    damage: Callable[[Path], Path]
    read: Callable[[Warehouse], object]


CASES = {
    "COG of int16": Case(bad_files.widen_integers, read_pixels),
    "COG of float32": Case(bad_files.store_floats, read_pixels),
    "COG without a CRS": Case(bad_files.drop_crs, read_pixels),
    "COG in another zone": Case(bad_files.shift_zone, read_pixels),
    "index without a column": Case(bad_files.drop_index_column, observe),
    "index with numbers as text": Case(bad_files.write_index_as_text, observe),
    "index with rows without a path": Case(bad_files.lose_index_values, observe),
    "infinite vectors": Case(bad_files.overflow_vectors, read_patches),
    "vectors of float64": Case(bad_files.store_doubles, read_patches),
    "vectors as text": Case(bad_files.store_text, read_patches),
    "patches without a vector column": Case(bad_files.rename_vectors, read_patches),
    "patch ids as floats": Case(bad_files.store_ids_as_floats, read_patches),
    "metres without a CRS": Case(bad_files.store_metres_without_crs, read_patches),
    "another model, stated": Case(partial(bad_files.state_model, model="dino_vits16", year=YEAR), read_patches),
    "another year, stated": Case(partial(bad_files.state_model, model=SOFTCON, year=2023), read_patches),
    "another model, not stated": Case(bad_files.take_another_model, read_patches),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_files_are_refused_and_what_is_stored_stays(name: str, stage: Stage) -> None:
    case = CASES[name]
    path = case.damage(stage.world)
    message = refuse(stage, name, lambda: case.read(stage.open()))
    assert path.name in message


def test_a_bad_cog_of_one_zone_leaves_the_other_zone_alone(stage: Stage, quick_run: Path) -> None:
    bad_files.widen_integers(stage.world)
    read_pixels(stage.open(), EAST)
    name = f"core_aef__pixels/year={YEAR}/shard={EAST}/part.parquet"
    assert digest_rows(stage.warehouse_root)[name] == digest_rows(quick_run.parent / "warehouse")[name]


# -- accepted, and flagged -----------------------------------------------------------------------------------


def check_notes(warehouse: Warehouse, check: str = "source_notes") -> list[str]:
    with open_catalog(CatalogFiles(warehouse.root), warehouse.specs, warehouse.settings.compare) as connection:
        (result,) = run_checks(connection, [check])
    return sorted(result.sample["note"].to_pylist())


def test_a_top_down_cog_gives_the_same_pixels_and_a_note(stage: Stage, quick_run: Path) -> None:
    warehouse = stage.open()
    assert check_notes(warehouse) == []
    path = bad_files.turn_top_down(stage.world)
    read_pixels(warehouse)
    name = f"core_aef__pixels/year={YEAR}/shard={WEST}/part.parquet"
    assert digest_rows(stage.warehouse_root)[name] == digest_rows(quick_run.parent / "warehouse")[name]
    (note,) = read_notes(stage.warehouse_root, "core_aef__pixels")
    assert documented("COG stored top-down").outcome == "accepted"
    assert documented("COG stored top-down").is_kept_by(note)
    assert path.name in note
    assert check_notes(warehouse) == [note]


def test_an_empty_patch_file_gives_no_patches_of_its_own_and_a_note(stage: Stage) -> None:
    warehouse = stage.open()
    before = warehouse.read("core_eg__patches", PartitionKey(YEAR, WEST))
    path = bad_files.empty_patches(stage.world)
    read_patches(warehouse)
    after = stage.open().read("core_eg__patches", PartitionKey(YEAR, WEST))
    # neighbouring files hold the square as well
    assert after["patch_id"].equals(before["patch_id"])
    assert sum(after["n_copies"].to_pylist()) == sum(before["n_copies"].to_pylist()) - after.num_rows
    (note,) = read_notes(stage.warehouse_root, "core_eg__patches")
    assert documented("patch file without rows").is_kept_by(note)
    assert path.name in note
    assert check_notes(warehouse) == [note]


def open_empty_area(real_data: Path, root: Path, tile: str) -> Warehouse:
    """Open a warehouse on the real file without rows, named after a tile, and a place inside its bounds."""
    source = real_data / "earth_index_schema" / "21MNT.parquet"
    (root / "eg/2023").mkdir(parents=True, exist_ok=True)
    (root / f"eg/2023/{tile}_2023-01-01_2024-01-01.parquet").symlink_to(source)
    west, south, *_ = json.loads(pq.read_schema(source).metadata[b"geo"])["columns"]["geometry"]["bbox"]
    settings = quick_settings(root) | {"years": [2023]}
    settings["area"] = {"shard_rule": "mgrs", "bbox": [west + 0.5, south + 0.5, west + 0.51, south + 0.51]}
    settings |= {"sources": {"eg": {"root": str(root / "eg")}}, "compare": {"patches": "eg"}, "keep": {}}
    settings["products"] = {"eg": {"years": [2023, 2024]}}
    return Warehouse(load_settings(write_settings(root / "empty.toml", settings)))


@pytest.mark.usefixtures("clean_env")
def test_the_real_empty_file_is_zero_rows(real_data: Path, tmp_path: Path) -> None:
    warehouse = open_empty_area(real_data, tmp_path, "21MTN")
    eg = warehouse.products["eg"]
    observe_releases(warehouse, eg)
    plan_shards(warehouse)
    (shard,) = warehouse.shards()
    key = PartitionKey(2023, shard.key)
    assert write_spine(warehouse, eg, PartitionKey(shard=shard.key)).rows > 0  # the lattice is there all the same
    written = ingest_patches(warehouse, eg, key)
    assert written.rows == 0
    (note,) = decode_footer(pq.read_schema(written.path).metadata)["notes"]
    assert documented("patch file without rows").is_kept_by(note)
    assert check_notes(warehouse) == [note]


@pytest.mark.usefixtures("clean_env")
def test_the_real_empty_file_under_its_own_name_is_of_no_tile(real_data: Path, tmp_path: Path) -> None:
    warehouse = open_empty_area(real_data, tmp_path, "21MNT")
    eg = warehouse.products["eg"]
    observe_releases(warehouse, eg)
    (message,) = list_unreadable(eg, warehouse.source("eg"), warehouse.read("raw_eg__index"))
    assert documented("patch file named after no tile").is_kept_by(message)


def test_the_form_of_2023_is_read_as_the_product_that_it_states(stage: Stage, quick_run: Path) -> None:
    bad_files.store_as_2023(stage.world, SOFTCON)
    read_patches(stage.open())
    name = f"core_eg__patches/year={YEAR}/shard={WEST}/part.parquet"
    columns = ["patch_id", "embedding", "n_copies"]
    found = pq.ParquetFile(stage.warehouse_root / name).read(columns)
    assert found.equals(pq.ParquetFile(quick_run.parent / "warehouse" / name).read(columns))
    assert documented("patches in the form of 2023").outcome == "accepted"


def test_the_form_of_2023_of_another_model_is_refused_with_an_entry_that_can_be_pasted(stage: Stage) -> None:
    bad_files.store_as_2023(stage.world, "dino_vits16")
    message = refuse(stage, "another model, stated", lambda: read_patches(stage.open()))
    entry = message[message.index("[products.") :]
    name = "eg_dino_vits16_2024"
    pasted = tomllib.loads(entry)
    assert pasted["products"][name]["model"] == "dino_vits16"
    assert pasted["products"][name]["years"] == [YEAR]
    # registered, it is read beside the old one
    pasted["sources"] = {name: {"root": str(stage.world / "earthgenome/earthindexembeddings")}}
    warehouse = stage.open(**pasted, compare={"patches": name})
    product = warehouse.products[name]
    for file in bad_files.find_eg(stage.world).parent.glob("*.parquet"):
        bad_files.state_model(stage.world, "dino_vits16", YEAR, file.name[:5])
    observe_releases(warehouse, product)
    write_spine(warehouse, product, PartitionKey(shard=WEST))  # places are of a model and grid, too
    assert ingest_patches(warehouse, product, PartitionKey(YEAR, WEST)).rows > 0


def test_a_year_that_a_product_does_not_have_is_left_out_and_the_entry_to_add_is_said(stage: Stage) -> None:
    good = bad_files.find_eg(stage.world)
    other = good.parents[1] / "2025" / good.name.replace("2025-", "2026-").replace("2024-", "2025-")
    other.parent.mkdir()
    os.link(good, other)
    warehouse = Warehouse(load_settings(write_settings(stage.config, quick_settings(stage.world, years=(2024, 2025)))))
    eg = warehouse.products["eg"]
    observe_releases(warehouse, eg)
    assert set(warehouse.read("raw_eg__index")["year"].to_pylist()) == {2024}
    advice = identify_product(warehouse.settings.registry(), eg, 2025, read_traits(eg, other)).advice
    assert documented("patches of a year that the product does not have").is_kept_by(advice)


def test_the_model_of_the_real_record_is_the_registered_one(real_data: Path) -> None:
    eg = load_registry()["eg"]
    traits = read_traits(eg, real_data / "earth_index_schema" / "21MNT.parquet")
    assert traits.model == SOFTCON
    assert identify_product({"eg": eg}, eg, 2024, traits).product == "eg"


# -- labels --------------------------------------------------------------------------------------------------

KINDS = {"field": "F", "wood": "W"}
POLYGONS = {"kind": "vector", "column": "kind", "classes": KINDS, "years": {YEAR: YEAR}}
CODES = {"kind": "geotiff", "classes": {"field": 1, "wood": 2}, "years": {YEAR: YEAR}}


def label(stage: Stage, path: Path, settings: dict[str, Any]) -> tuple[pa.Table, pa.Table, list[str]]:
    """Label one square: rows of pixels, rows of patches, and the notes."""
    warehouse = stage.open(labels={"cover": {**settings, "path": str(path)}})
    label_pixels(warehouse, "cover", warehouse.products["aef"], LABEL_YEAR)
    label_patches(warehouse, "cover", LABEL_YEAR)
    pixels = warehouse.read("core_label_cover__pixels", LABEL_YEAR)
    patches = warehouse.read("core_label_cover__patches", LABEL_YEAR)
    notes = read_notes(stage.warehouse_root, "core_label_cover__patches")
    assert set(notes) <= set(check_notes(warehouse, "label_notes"))
    return pixels, patches, notes


@pytest.mark.parametrize("name", ["a.parquet", "a.geojson"])
def test_label_polygons_with_rings_that_cross_themselves_are_mended(name: str, stage: Stage) -> None:
    path = write_polygons(stage.world, name, [BOW_TIE, FIELD, WOOD], ["F", "F", "W"])
    pixels, patches, (note,) = label(stage, path, POLYGONS)
    assert documented("label polygons with rings that cross themselves").is_kept_by(note)
    assert pixels["label"].null_count == 0
    inside = shapely.contains_xy(shapely.make_valid(BOW_TIE), pixels["lon"].to_numpy(), pixels["lat"].to_numpy())
    in_wood = pixels["lat"].to_numpy() > 12.655
    expected = np.where(in_wood & ~inside, "wood", "field")
    np.testing.assert_array_equal(pixels["class_name"].to_pylist(), expected)
    assert 0 < inside.sum() < len(inside)
    assert set(patches["class_name"].to_pylist()) == {"field", "wood"}


@pytest.mark.parametrize("name", ["a.parquet", "a.geojson"])
def test_label_points_label_the_patches_that_hold_them(name: str, stage: Stage) -> None:
    points = [shapely.Point(101.999, 12.653), shapely.Point(101.999, 12.658), shapely.Point(101.995, 12.657)]
    path = write_polygons(stage.world, name, points, ["F", "W", "?"])
    _, patches, (note,) = label(stage, path, POLYGONS)
    assert documented("label features of a class that the settings do not name").is_kept_by(note)
    counts = {kind: patches["class_name"].to_pylist().count(kind) for kind in ("field", "wood", None)}
    assert counts["field"] > 0
    assert counts["wood"] > 0
    assert counts[None] > counts["field"]


LABEL_CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "label polygons without an area": (
        lambda world: write_polygons(world, "a.geojson", [FIELD, FLAT], ["F", "W"]),
        POLYGONS,
    ),
    "label features without a geometry": (
        lambda world: write_polygons(world, "a.parquet", [FIELD, None], ["F", "W"]),
        POLYGONS,
    ),
    "label lines": (
        lambda world: write_polygons(
            world, "a.geojson", [FIELD, shapely.LineString([(102, 12.65), (102, 12.66)])], ["F", "W"]
        ),
        POLYGONS,
    ),
    "label polygons without a CRS": (
        lambda world: write_polygons(world, "a.parquet", [FIELD, WOOD], ["F", "W"], crs=None),
        POLYGONS,
    ),
    "label polygons of another place": (
        lambda world: write_polygons(world, "a.parquet", [shapely.box(15.0, 46.0, 15.1, 46.1)], ["F"]),
        POLYGONS,
    ),
    "label raster of another place": (
        lambda world: write_codes(world, np.ones((50, 50), np.uint8), 148.41, -34.36),
        CODES,
    ),
    "label classes that fit no value": (
        lambda world: write_polygons(world, "a.parquet", [FIELD, WOOD], ["Field", "Wood"]),
        POLYGONS,
    ),
    "label raster of floats": (
        lambda world: write_codes(world, np.ones((90, 90), np.float32), 101.98, 12.69),
        CODES,
    ),
}


@pytest.mark.parametrize("name", LABEL_CASES)
def test_bad_labels_are_refused_and_nothing_is_written(name: str, stage: Stage) -> None:
    make, settings = LABEL_CASES[name]
    path = make(stage.world)
    warehouse = stage.open(labels={"cover": {**settings, "path": str(path)}})
    message = refuse(stage, name, lambda: label_patches(warehouse, "cover", LABEL_YEAR))
    assert path.name in message
    refuse(stage, name, lambda: label_pixels(warehouse, "cover", warehouse.products["aef"], LABEL_YEAR))


def test_the_real_labels_of_another_place_are_refused(stage: Stage, real_data: Path) -> None:
    path = real_data / "worldcover" / "g2_26729_worldcover.tif"
    settings = {**CODES, "classes": {"tree": 10, "grass": 30}, "path": str(path)}
    warehouse = stage.open(labels={"cover": settings})
    refuse(stage, "label raster of another place", lambda: label_patches(warehouse, "cover", LABEL_YEAR))


def test_codes_without_a_class_are_counted_and_said(stage: Stage) -> None:
    codes = np.full((180, 90), 1, np.uint8)
    codes[:, 45:] = 2
    codes[:, ::9] = 7
    codes[0] = 0  # the declared nodata is no code
    pixels, _, (note,) = label(stage, write_codes(stage.world, codes, 101.98, 12.69), CODES)
    assert documented("label raster with a code that the settings do not name").is_kept_by(note)
    assert "(7)" in note
    names = pixels["class_name"].to_pylist()
    assert names.count("field") > names.count(None) > 0


def test_ground_outside_all_polygons_is_said_where_that_is_all_of_it(stage: Stage) -> None:
    path = write_polygons(stage.world, "a.parquet", [shapely.box(15.0, 46.0, 15.1, 46.1)], ["F"])
    settings = {"kind": "vector", "inside": "land", "outside": "water", "years": {YEAR: YEAR}}
    pixels, _, (note,) = label(stage, path, settings)
    assert documented("label polygons of another place, with a class outside").is_kept_by(note)
    assert set(pixels["class_name"].to_pylist()) == {"water"}


# -- the page ------------------------------------------------------------------------------------------------


def test_every_row_of_the_page_is_tried() -> None:
    tried = {*CASES, *LABEL_CASES, *DAMAGES}
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py"))
    missing = [name for name in read_promises() if name not in tried and f'"{name}"' not in tests]
    assert missing == []
    assert len(read_promises()) > 40
