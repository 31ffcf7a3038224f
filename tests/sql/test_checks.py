"""Every check of sql/checks, on a warehouse that passes and on one that fails."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sql.vector_worlds import (
    PATCHES,
    PIXELS,
    SPECS,
    cluster_world,
    field_world,
    flip_northing,
    split_rasters,
    write,
    write_index,
)
from tests.warehouse.fake_evidence import write_evidence
from tests.warehouse.fake_rows import PAIR, SHARDS, YEAR, random_rows, unit_codes, write_rows
from warehouse.catalog import open_catalog
from warehouse.catalog_files import CatalogFiles
from warehouse.checks_sql import SAMPLE_ROWS, check_names, run_checks
from warehouse.sql_files import SqlFileMissingError, read_sql

#: Patches and pixels of the two shards.
IDS = {SHARDS[0]: (PATCHES[:3], PIXELS[:3]), SHARDS[1]: (PATCHES[3:5], PIXELS[3:5])}


def run(root, name):
    with open_catalog(CatalogFiles(root), SPECS, PAIR) as connection:
        return run_checks(connection, [name])[0]


def replace_code(codes, value):
    return [[value, *row[1:]] if index == 0 else row for index, row in enumerate(codes)]


def good_world(root):
    """Two shards of patches and pixels that break no rule."""
    columns = {"shard": list(SHARDS), "expected_patches": [3, 2]}
    write_rows(
        root,
        SPECS["core_grid__shards"],
        random_rows(SPECS["core_grid__shards"], 2, np.random.default_rng(0), **columns),
    )
    write_index(root)
    for shard, (patches, pixels) in IDS.items():
        write(root, "core_grid__patches", shard, patch_id=patches)
        write(root, "core_eg__patches", shard, patch_id=patches)
        write(root, "out_patch__aef_pooled", shard, patch_id=patches)
        write(root, "core_aef__pixels", shard, pixel_id=pixels)
        write_codes(root, shard, pixels)
        write(root, "core_label_cover__pixels", shard, pixel_id=pixels, label=[1] * len(pixels))
        write(root, "core_label_cover__patches", shard, patch_id=patches, label=[1] * len(patches))
    write(root, "out_patch__eg_basis", component=[0, 1], basis_version=["a"] * 2)
    write_folds(root, [(1, 0), (2, 1), (2, 1)])
    write_audit(root)
    write_evidence(root, np.random.default_rng(0), n_blocks=4)


def write_audit(root, value=1280.0, scheme="block"):
    checks = ["least_distance_m", "least_distance_m", "edge_m"]
    columns = {"scheme": [scheme, "random", scheme], "value": [value, 10.0, 5000.0]}
    write(root, "out_probe__fold_audit", check_name=checks, threshold=[1280.0, None, 9000.0], **columns)


def write_codes(root, shard, pixels, basis_version="a"):
    width = SPECS["out_pixel__eg_upsampled"].schema.field("embedding_q").type.list_size
    columns = {"embedding_q": [[1] * width] * len(pixels), "basis_version": [basis_version] * len(pixels)}
    write(root, "out_pixel__eg_upsampled", shard, pixel_id=pixels, window=["w"] * len(pixels), **columns)


def write_folds(root, block_and_fold, scheme="block"):
    n = len(block_and_fold)
    columns = {
        "unit": ["patch", *["pixel"] * (n - 1)],
        "scheme": [scheme] * n,
        "block_id": [b for b, _ in block_and_fold],
        "fold": [f for _, f in block_and_fold],
    }
    write(root, "out_probe__folds", **columns)


def lengthen_vector(root):
    rng = np.random.default_rng(2)
    write(root, "core_aef__pixels", pixel_id=PIXELS[:3], embedding_q=[[40] * 64, *unit_codes(2, 64, rng)])


def store_nodata(root):
    codes = unit_codes(3, 64, np.random.default_rng(2))
    write(root, "core_aef__pixels", pixel_id=PIXELS[:3], embedding_q=replace_code(codes, -128))


def repeat_patch(root):
    write(root, "core_eg__patches", SHARDS[1], patch_id=[PATCHES[3], PATCHES[2]])


def repeat_pixel(root):
    write(root, "core_aef__pixels", SHARDS[1], pixel_id=[PIXELS[0], PIXELS[4]])


def share_patch(root):
    write(root, "core_grid__patches", SHARDS[1], patch_id=[*PATCHES[3:5], PATCHES[2]])


def lose_place(root):
    write(root, "core_grid__patches", SHARDS[1], patch_id=[PATCHES[3]])


def fit_basis_again(root):
    write(root, "out_patch__eg_basis", component=[0, 1], basis_version=["b"] * 2)
    write_codes(root, SHARDS[1], PIXELS[3:5], basis_version="b")


def unlabel(root):
    write(root, "core_label_cover__pixels", pixel_id=PIXELS[:3], label=[1, -1, -1])


def hide_simulation(root):
    write(root, "out_patch__aef_pooled", patch_id=PATCHES[:3], is_simulated=[True, False, True])


def train_next_to_test(root):
    write_audit(root, 1100.0)


def split_block(root):
    write_folds(root, [(2, 0), (2, 1)])


def truncate_shard(root):
    write(root, "core_eg__patches", patch_id=PATCHES[:1])


def answer_twice(root):
    alter_contrasts(root, "is_primary", [True] * 8)


def edit_contrast(root):
    alter_contrasts(root, "arm_value", [0.5] * 8)


def alter_contrasts(root, column, values):
    spec = SPECS["out_probe__contrasts"]
    path = root / spec.name / f"year={YEAR}" / "part.parquet"
    table = pa.parquet.ParquetFile(path).read().replace_schema_metadata(None)
    index = table.schema.get_field_index(column)
    altered = table.set_column(index, column, pa.array(values, table.schema.field(column).type))
    write_rows(root, spec, altered, year=YEAR)


def note_repair(root):
    spec = SPECS["core_label_cover__pixels"]
    rows = random_rows(spec, 2, np.random.default_rng(1), label=[1, 1], pixel_id=[10, 20])
    notes = ("a ring was mended", "one value has no class")
    write_rows(root, spec, rows, record={"notes": notes}, year=YEAR, shard="other")


def note_oddities(root):
    spec = SPECS["core_eg__patches"]
    rows = random_rows(spec, 1, np.random.default_rng(1), patch_id=[9])
    write_rows(root, spec, rows, record={"notes": ["48PVS.parquet: the file has no rows"]}, year=YEAR, shard="other")


def age_labels(root):
    for path in (root / "out_probe__metrics").rglob("*.parquet"):
        rows = pq.read_table(path)
        aged = pa.array([YEAR - 3] * rows.num_rows, pa.int64())
        pq.write_table(rows.set_column(rows.schema.get_field_index("label_year"), "label_year", aged), path)


def publish_another_year(root):
    write_index(root, record={"notes": ["36 files of 2025 left out: registered are (2024,)"]})


def mix_models(root):
    write(root, "core_eg__patches", patch_id=PATCHES[:3], record={"release": "SSL4EO DINO; major-tom-320m-pre-1.0"})


def forget_attribution(root):
    write(root, "core_aef__pixels", pixel_id=PIXELS[:3], record={"attribution": []})


def compare_another_pair(root):
    spec = SPECS["out_probe__metrics"]
    rows = random_rows(spec, 1, np.random.default_rng(1))
    write_rows(root, spec, rows, cell="old", record={"release": "Clay v0; mgrs-512px"}, year=YEAR - 1)


def fill_with_zeros(root):
    vectors = [[0.0] * 384, [np.nan] * 384, [0.5] * 384]
    write(root, "core_eg__patches", patch_id=PATCHES[:3], embedding=vectors)


def exchange_places(root):
    place = {"lon": [102.6] * 3, "lat": [12.5] * 3}
    write(root, "core_aef__pixels", pixel_id=PIXELS[:3], **place)


def exchange_patch_places(root):
    write(root, "core_grid__patches", patch_id=PATCHES[:3], x_m=[500_000.0] * 3)


def add_strange_patch(root):
    cluster_world(root, "core_eg__patches", vector=lambda dims: np.random.default_rng(8).normal(size=dims))


def add_strange_pixel(root):
    cluster_world(root, "core_aef__pixels", vector=lambda dims: np.random.default_rng(8).normal(size=dims))


def flip_shard(root):
    field_world(root, border="lon", is_flipped=True)


def flip_raster(root):
    field_world(root, border="y", is_flipped=True)
    split_rasters(root)


FAILURES = {
    "years_left_out": (publish_another_year, 1, {"note": "36 files of 2025 left out: registered are (2024,)"}),
    "models_mixed": (mix_models, 2, {"release": "SSL4EO DINO; major-tom-320m-pre-1.0", "n_files": 1}),
    "evidence_of_other_models": (compare_another_pair, 2, {"release": "Clay v0; mgrs-512px", "years": [YEAR - 1]}),
    "provenance_incomplete": (forget_attribution, 1, {"table_name": "core_aef__pixels", "missing": "attribution"}),
    "unusable_vectors": (fill_with_zeros, 3, {"unit_id": PATCHES[0], "reason": "zero"}),
    "north_up": (flip_northing, 3, {"pixel_id": PIXELS[0], "problem": "x_m, y_m against lon, lat"}),
    "pixel_id_against_geometry": (exchange_places, 3, {"pixel_id": PIXELS[0]}),
    "patch_id_against_geometry": (exchange_patch_places, 3, {"patch_id": PATCHES[0], "is_in_footprint": True}),
    "outlier_patches": (add_strange_patch, 3, {"patch_id": 1, "reason": "far from all others"}),
    "outlier_pixels": (add_strange_pixel, 3, {"pixel_id": 1, "reason": "far from all others"}),
    "patch_seams": (flip_shard, 2, {"direction": "east"}),
    "pooled_seams": (flip_raster, 1, {"direction": "north"}),
    "unit_norm": (lengthen_vector, 1, {"pixel_id": PIXELS[0]}),
    "nodata_all_or_none": (store_nodata, 1, {"pixel_id": PIXELS[0], "n_nodata_bands": 1}),
    "duplicate_patch_ids": (repeat_patch, 1, {"patch_id": PATCHES[2], "n_rows": 2, "shards": list(SHARDS)}),
    "duplicate_pixel_ids": (repeat_pixel, 1, {"pixel_id": PIXELS[0], "n_rows": 2, "first_shard": SHARDS[0]}),
    "patch_in_two_shards": (share_patch, 1, {"patch_id": PATCHES[2], "shards": list(SHARDS)}),
    "patches_missing_from_spine": (lose_place, 1, {"patch_id": PATCHES[4], "shard": SHARDS[1]}),
    "pooled_without_patch": (lose_place, 1, {"patch_id": PATCHES[4], "year": YEAR}),
    "codes_of_another_basis": (fit_basis_again, 1, {"shard": SHARDS[0], "basis_version": "a", "n_rows": 3}),
    "label_coverage": (unlabel, 1, {"unit": "pixel", "shard": SHARDS[0], "n_units": 3, "n_labelled": 1}),
    "label_notes": (note_repair, 2, {"table_name": "core_label_cover__pixels", "note": "a ring was mended"}),
    "source_notes": (
        note_oddities,
        1,
        {"table_name": "core_eg__patches", "note": "48PVS.parquet: the file has no rows"},
    ),
    "label_year_apart": (age_labels, 1, {"year": YEAR, "label_year": YEAR - 3, "years_apart": 3}),
    "simulated_flag_consistent": (
        hide_simulation,
        1,
        {"table_name": "out_patch__aef_pooled", "shard": SHARDS[0], "n_files": 1},
    ),
    "fold_shared_by_both_grains": (split_block, 1, {"block_id": 2, "folds": [0, 1], "units": ["patch", "pixel"]}),
    "train_test_too_close": (
        train_next_to_test,
        1,
        {"scheme": "block", "least_distance_m": 1100.0, "buffer_m": 1280.0},
    ),
    "row_count_within_expected": (truncate_shard, 1, {"shard": SHARDS[0], "n_patches": 1, "expected_patches": 3}),
    "one_verdict_per_question": (answer_twice, 2, {"question": "Q1", "n_primary": 4}),
    "contrasts_match_confusions": (edit_contrast, 8, {"arm_value": 0.5}),
}


def test_every_check_has_a_failing_fixture():
    assert sorted(FAILURES) == check_names()


@pytest.fixture(scope="module")
def good_results(tmp_path_factory):
    root = tmp_path_factory.mktemp("good")
    good_world(root)
    with open_catalog(CatalogFiles(root), SPECS, PAIR) as connection:
        return {result.name: result for result in run_checks(connection)}


@pytest.mark.parametrize("name", check_names())
def test_a_good_warehouse_passes(good_results, name):
    result = good_results[name]
    assert result.is_passed, result.sample.to_pylist()


@pytest.mark.parametrize("name", check_names())
def test_every_check_says_what_it_means_and_what_to_do(name):
    assert {"purpose", "grain", "inputs", "meaning", "fix"} <= set(read_sql("checks", name).header)


@pytest.mark.parametrize("name", check_names())
def test_an_empty_warehouse_passes(tmp_path, name):
    assert run(tmp_path, name).n_failing == 0


def test_a_shard_without_any_patch_of_a_year_that_others_have_is_short(tmp_path):
    good_world(tmp_path)
    shutil.rmtree(tmp_path / "core_eg__patches" / f"year={YEAR}" / f"shard={SHARDS[0]}")
    result = run(tmp_path, "row_count_within_expected")
    assert result.sample.to_pylist() == [{"year": YEAR, "shard": SHARDS[0], "n_patches": 0, "expected_patches": 3}]


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_a_broken_warehouse_fails(tmp_path, name):
    good_world(tmp_path)
    break_world, n_failing, expected = FAILURES[name]
    break_world(tmp_path)
    result = run(tmp_path, name)
    assert result.n_failing == n_failing, result.sample.to_pylist()
    # SQL promises no order among failing rows
    assert expected in [{key: row[key] for key in expected} for row in result.sample.to_pylist()]


def test_labels_that_are_all_elsewhere_are_seen(tmp_path):
    good_world(tmp_path)
    for shard, (patches, _) in IDS.items():
        n = len(patches)
        columns = {"label": [None] * n, "valid_share": [0.0] * n}
        write(tmp_path, "core_label_cover__patches", shard, patch_id=patches, **columns)
    rows = run(tmp_path, "label_coverage").sample.to_pylist()
    assert [(row["unit"], row["share"]) for row in rows] == [("patch", 0.0)] * 2


def test_patches_of_several_classes_are_labelled(tmp_path):
    good_world(tmp_path)
    columns = {"label": [None] * 3, "valid_share": [1.0] * 3}
    write(tmp_path, "core_label_cover__patches", SHARDS[0], patch_id=PATCHES[:3], **columns)
    assert run(tmp_path, "label_coverage").is_passed


def test_random_and_dropped_units_may_share_blocks(tmp_path):
    write_folds(tmp_path, [(2, 0), (2, 1)], scheme="random")
    assert run(tmp_path, "fold_shared_by_both_grains").is_passed
    write_folds(tmp_path, [(2, 0), (2, -1)])
    assert run(tmp_path, "fold_shared_by_both_grains").is_passed


def test_bands_of_longitude_share_blocks_among_grains_too(tmp_path):
    write_folds(tmp_path, [(2, 0), (2, 1)], scheme="longitude")
    assert run(tmp_path, "fold_shared_by_both_grains").n_failing == 1


def test_nodata_does_not_hide_in_the_norm(tmp_path):
    codes = unit_codes(1, 64, np.random.default_rng(2))
    write(tmp_path, "core_aef__pixels", pixel_id=[1], embedding_q=[[-128] * 64])
    assert run(tmp_path, "unit_norm").n_failing == 1
    write(tmp_path, "core_aef__pixels", pixel_id=[1], embedding_q=codes)
    assert run(tmp_path, "unit_norm").is_passed


def test_results_show_a_sample_of_many_failing_rows(tmp_path):
    write(tmp_path, "core_eg__patches", patch_id=list(range(9)))
    result = run(tmp_path, "patches_missing_from_spine")
    assert (result.n_failing, result.sample.num_rows) == (9, SAMPLE_ROWS)


def test_unknown_checks_are_refused(tmp_path):
    with pytest.raises(SqlFileMissingError, match="unit_norm"):
        run(tmp_path, "no_such_check")
