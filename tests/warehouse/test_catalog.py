"""The DuckDB catalogue: views, types, atomic replacement, JSON."""

from __future__ import annotations

import json
import os

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.fake_rows import PAIR, SHARDS, YEAR, demo_specs, fill_table, random_rows, write_rows
from warehouse.catalog import CATALOG_FILE, open_catalog, write_catalog
from warehouse.catalog_files import CatalogFiles
from warehouse.errors import StoredTableError
from warehouse.json_rows import json_rows
from warehouse.products import load_registry
from warehouse.queries import SqlError, run_sql
from warehouse.schemas import build_specs
from warehouse.sections import CompareSettings
from warehouse.sql_files import Identifier, SqlFileMissingError, Text, list_sql, read_sql

RNG_SEED = 5
VIEWS_OF_THE_PAIR = (
    "pair_patches",
    "pair_pixels",
    "pair_pooled",
    "pair_upsampled",
    "pair_basis",
    "pair_pixels_quantised",
)


@pytest.fixture
def rng():
    return np.random.default_rng(RNG_SEED)


@pytest.fixture
def full_root(tmp_path, rng):
    """Every declared table with a few rows, under a root with awkward characters."""
    root = tmp_path / "it's a [ware]house*"
    for spec in demo_specs().values():
        fill_table(root, spec, 4, rng)
    return root


def describe(connection, view):
    return {row[0]: row[1] for row in connection.execute(f'describe "{view}"').fetchall()}


def test_every_table_is_readable_with_its_keys_and_types(full_root):
    specs = demo_specs()
    with open_catalog(CatalogFiles(full_root), specs, PAIR) as connection:
        for spec in specs.values():
            n_rows = connection.execute(f'select count(*) from "{spec.name}"').fetchone()[0]
            assert n_rows == 4, spec.name
            columns = describe(connection, spec.name)
            assert set(spec.schema.names) | set(spec.partition_by) <= set(columns)
        pixels = describe(connection, "core_aef__pixels")
        patches = describe(connection, "core_eg__patches")
    assert pixels["embedding_q"] == "TINYINT[64]"
    assert patches["embedding"] == "FLOAT[384]"
    assert patches["geometry"] == "GEOMETRY"
    assert (patches["year"], patches["shard"], patches["patch_id"]) == ("INTEGER", "VARCHAR", "UBIGINT")


def test_missing_tables_have_the_same_columns_as_stored_ones(full_root, tmp_path):
    specs = demo_specs()
    with (
        open_catalog(CatalogFiles(full_root), specs, PAIR) as stored,
        open_catalog(CatalogFiles(tmp_path / "none"), specs, PAIR) as empty,
    ):
        views = [row[0] for row in stored.execute("select view_name from duckdb_views() where not internal").fetchall()]
        assert len(views) > 40
        for view in views:
            assert describe(empty, view) == describe(stored, view), view
        for view in (*specs, *VIEWS_OF_THE_PAIR):
            assert empty.execute(f'select count(*) from "{view}"').fetchone() == (0,)


@pytest.mark.parametrize(
    "compare", [CompareSettings(pixels="aef"), CompareSettings(patches="eg")], ids=["pixels", "patches"]
)
def test_an_absent_side_gives_empty_views(tmp_path, rng, compare):
    specs = demo_specs(pixels=compare.pixels, patches=compare.patches)
    for spec in specs.values():
        fill_table(tmp_path, spec, 3, rng)
    with open_catalog(CatalogFiles(tmp_path), specs, compare) as connection:
        counts = {v: connection.execute(f"select count(*) from {v}").fetchone()[0] for v in VIEWS_OF_THE_PAIR}
    has_pixels = 3 if compare.pixels else 0
    has_patches = 3 if compare.patches else 0
    assert counts["pair_pixels"] == counts["pair_pooled"] == counts["pair_pixels_quantised"] == has_pixels
    assert counts["pair_patches"] == counts["pair_upsampled"] == counts["pair_basis"] == has_patches


def test_a_float_pixel_product_has_no_codes(tmp_path, rng):
    floats = load_registry()["aef_table"].model_copy(update={"name": "presto", "dims": 5, "quantisation": "none"})
    specs = demo_specs(pixels="presto", extra={"presto": floats})
    fill_table(tmp_path, specs["core_presto__pixels"], 3, rng)
    compare = CompareSettings(pixels="presto", patches="eg")
    with open_catalog(CatalogFiles(tmp_path), specs, compare) as connection:
        assert describe(connection, "pair_pixels")["embedding"] == "FLOAT[5]"
        assert connection.execute("select count(*) from pair_pixels_quantised").fetchone() == (0,)
        assert connection.execute("select count(*) from pair_pixels").fetchone() == (3,)


def test_pair_pixels_are_dequantised_in_order(tmp_path, rng):
    spec = demo_specs()["core_aef__pixels"]
    codes = [list(range(-32, 32)), [-128, 127, *([0] * 62)]]
    fill_table(tmp_path, spec, 2, rng, pixel_id=[1, 2], embedding_q=codes)
    rows = run_sql(tmp_path, demo_specs(), PAIR, "select embedding from pair_pixels order by pixel_id").to_pylist()
    wanted = np.sign(codes[0]) * (np.array(codes[0]) / 127.5) ** 2
    np.testing.assert_allclose(rows[0]["embedding"], wanted, rtol=1e-6)
    assert rows[1]["embedding"][0] is None
    assert rows[1]["embedding"][1] == pytest.approx(0.99217, abs=1e-5)


def test_shard_keys_stay_text_and_prune(tmp_path, rng):
    spec = demo_specs()["core_eg__patches"]
    for shard, n in (("0012", 2), ("1e5", 3)):
        write_rows(tmp_path, spec, random_rows(spec, n, rng), year=YEAR, shard=shard)
    rows = run_sql(
        tmp_path,
        demo_specs(),
        PAIR,
        "select shard, count(*) as n from pair_patches where shard = $shard and year = $year group by shard",
        {"shard": "0012", "year": YEAR},
    )
    assert rows.to_pylist() == [{"shard": "0012", "n": 2}]


def test_extremes_of_keys_of_a_single_file(tmp_path, rng):
    fill_table(tmp_path, demo_specs()["core_eg__patches"], 2, rng)
    rows = run_sql(tmp_path, demo_specs(), PAIR, "select max(year) as y, min(shard) as s from core_eg__patches")
    assert rows.to_pylist() == [{"y": YEAR, "s": SHARDS[0]}]


def test_filters_on_keys_prune_files(tmp_path, rng):
    spec = demo_specs()["core_eg__patches"]
    for shard in SHARDS:
        for year in (2023, YEAR):
            write_rows(tmp_path, spec, random_rows(spec, 1, rng), year=year, shard=shard)
    text = "explain select lon from pair_patches where year = 2024 and shard = '48PTV'"
    plan = run_sql(tmp_path, demo_specs(), PAIR, text)["explain_value"][0].as_py()
    assert "Scanning Files: 1/4" in plan


def test_later_partitions_are_found_without_a_rebuild(tmp_path, rng):
    spec = demo_specs()["core_eg__patches"]
    fill_table(tmp_path, spec, 2, rng)
    path = write_catalog(tmp_path, demo_specs(), PAIR)
    write_rows(tmp_path, spec, random_rows(spec, 3, rng), year=YEAR, shard=SHARDS[1])
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.execute("select count(*) from pair_patches").fetchone() == (5,)


def test_unfinished_files_are_not_read(tmp_path, rng):
    spec = demo_specs()["out_probe__metrics"]
    fill_table(tmp_path, spec, 2, rng)
    path = next(tmp_path.glob("out_probe__metrics/*/cell-a.parquet"))
    path.with_name(".cell-b.parquet.12.tmp").write_bytes(b"half a file")
    rows = run_sql(tmp_path, demo_specs(), PAIR, "select count(*) as n from out_probe__metrics")
    assert rows.to_pylist() == [{"n": 2}]


def test_replacing_the_catalogue_does_not_disturb_a_reader(full_root):
    path = write_catalog(full_root, demo_specs(), PAIR)
    before = os.stat(path).st_ino
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.execute("select count(*) from core_eg__patches").fetchone() == (4,)
        again = write_catalog(full_root, demo_specs(), PAIR)
        assert reader.execute("select count(*) from core_aef__pixels").fetchone() == (4,)
    assert again == path == full_root / CATALOG_FILE
    assert os.stat(path).st_ino != before
    assert [p.name for p in full_root.glob(".warehouse*")] == []
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.execute("select count(*) from pair_pooled").fetchone() == (4,)


def test_a_failed_write_keeps_the_old_catalogue(full_root):
    path = write_catalog(full_root, demo_specs(), PAIR)
    old = path.read_bytes()
    next(full_root.glob("core_eg__patches/**/part.parquet")).write_bytes(b"not parquet")
    with pytest.raises(StoredTableError, match=r"core_eg__patches.*part\.parquet.*Materialise"):
        write_catalog(full_root, demo_specs(), PAIR)
    assert path.read_bytes() == old
    assert [p.name for p in full_root.glob(".warehouse*")] == []


def test_no_extension_is_loaded_beyond_the_built_in_ones(full_root):
    with open_catalog(CatalogFiles(full_root), demo_specs(), PAIR) as connection:
        connection.execute("select st_astext(geometry), lon from core_eg__patches").fetchall()
        loaded = connection.execute("select distinct install_mode from duckdb_extensions() where loaded").fetchall()
    assert loaded == [("STATICALLY_LINKED",)]


def test_inventory_counts_files_rows_and_bytes(full_root):
    specs = demo_specs()
    spec = specs["core_eg__patches"]
    write_rows(full_root, spec, random_rows(spec, 6, np.random.default_rng(1)), year=YEAR, shard=SHARDS[1])
    rows = run_sql(full_root, specs, PAIR, "from stored_tables where table_name = 'core_eg__patches'").to_pylist()
    n_bytes = sum(p.stat().st_size for p in full_root.glob("core_eg__patches/**/part.parquet"))
    assert (rows[0]["n_files"], rows[0]["n_rows"], rows[0]["n_bytes"]) == (2, 10, n_bytes)
    assert rows[0]["description"] == spec.description
    footers = run_sql(full_root, specs, PAIR, "select count(*) as n, min(record) as record from stored_footers")
    assert footers.to_pylist()[0]["n"] == len(specs) + 1
    assert json.loads(footers.to_pylist()[0]["record"])["licence"] == "CC-BY-4.0"


def test_nearest_is_a_join_of_one_year_across_shards(tmp_path, rng):
    specs = demo_specs()
    patches, upsampled = specs["core_eg__patches"], specs["out_pixel__eg_upsampled"]
    for year, value in ((2023, 1.0), (YEAR, 2.0)):
        rows = random_rows(patches, 1, rng, patch_id=[7], embedding=[[value] * 384])
        write_rows(tmp_path, patches, rows, year=year, shard=SHARDS[1])
    rows = (
        random_rows(
            upsampled,
            3,
            rng,
            pixel_id=[1, 1, 2],
            method=["bilinear", "kriging", "bilinear"],
            nearest_patch_id=[7, 7, 8],
        )
        .set_column(3, "lon", pa.array([102.0] * 3))
        .set_column(4, "lat", pa.array([12.0] * 3))
    )
    write_rows(tmp_path, upsampled, rows, year=YEAR, shard=SHARDS[0])
    found = run_sql(tmp_path, specs, PAIR, "from out_pixel__nearest").to_pylist()
    assert [(row["year"], row["shard"], row["pixel_id"], row["embedding"][0]) for row in found] == [
        (YEAR, SHARDS[0], 1, 2.0)
    ]


def test_label_unions_take_sources_of_different_class_counts(tmp_path, rng):
    specs = demo_specs()
    wide = {**specs, **{k: v for k, v in _specs_with_two_labels().items() if "label" in k}}
    for name in ("cover", "parcels"):
        fill_table(tmp_path, wide[f"core_label_{name}__patches"], 2, rng, label_source=[name] * 2)
    text = "select label_source, len(fractions) as k from core_label__patches group by all order by k"
    rows = run_sql(tmp_path, wide, PAIR, text).to_pylist()
    assert rows == [{"label_source": "cover", "k": 4}, {"label_source": "parcels", "k": 7}]


def _specs_with_two_labels():
    registry = load_registry()
    products = {name: registry[name] for name in ("aef", "eg")}
    return build_specs(products, labels={"cover": 4, "parcels": 7}, pixels="aef", patches="eg")


def test_json_rows_can_be_dumped(full_root):
    text = """
        select *, 'nan'::double as bad, sum(1::hugeint) over () as big, date '2024-01-02' as day
        from core_eg__patches
    """
    rows = json_rows(run_sql(full_root, demo_specs(), PAIR, text))
    decoded = json.loads(json.dumps(rows, allow_nan=False))
    assert len(decoded) == 4
    assert decoded[0]["geometry"].startswith("POLYGON ((")
    assert decoded[0]["patch_id"] > 2**53
    assert (decoded[0]["bad"], decoded[0]["big"], decoded[0]["day"]) == (None, 4, "2024-01-02")


def test_parameters_without_a_value_are_null_and_unknown_ones_are_refused(tmp_path):
    specs = demo_specs()
    rows = run_sql(tmp_path, specs, PAIR, "select coalesce($n::integer, 3) as n")
    assert rows.to_pylist() == [{"n": 3}]
    with pytest.raises(SqlError, match=r"found parameters \['m'\], expected none but \['n'\]"):
        run_sql(tmp_path, specs, PAIR, "select $n::integer", {"m": 1})


@pytest.mark.parametrize("text", ["select nothing from nowhere", "selec 1", "", "select 'a'::integer"])
def test_bad_sql_is_one_clear_error(tmp_path, text):
    with pytest.raises(SqlError, match="show tables"):
        run_sql(tmp_path, demo_specs(), PAIR, text)


def test_quoting_doubles_quotes():
    assert Identifier('a"b').render() == '"a""b"'
    assert Text("it's").render() == "'it''s'"


def test_unknown_sql_files_are_named():
    with pytest.raises(SqlFileMissingError, match="unit_norm"):
        read_sql("checks", "unit_form")


@pytest.mark.parametrize("group", ["views", "marts", "checks", "examples", "report"])
def test_every_sql_file_has_a_header_and_one_statement(group):
    names = list_sql(group)
    assert names
    for name in names:
        file = read_sql(group, name)
        assert {"purpose", "grain", "inputs"} <= set(file.header), name
        assert len(duckdb.extract_statements(file.text)) == 1, name
        assert ";" not in file.text.split("\n", 1)[1].replace("; ", ""), name


def test_rows_of_a_cell_are_shown_when_its_seal_is_there(tmp_path, rng):
    specs = demo_specs()
    confusions, metrics = specs["out_probe__confusions"], specs["out_probe__metrics"]
    for cell in ("ab", "cd"):
        write_rows(tmp_path, confusions, random_rows(confusions, 3, rng), cell=cell, year=YEAR)
        write_rows(tmp_path, metrics, random_rows(metrics, 1, rng), cell=cell, year=YEAR)
    write_rows(tmp_path, metrics, random_rows(metrics, 1, rng), cell="ab", year=2023)  # of another year
    count = "select count(*) as n from out_probe__confusions"
    assert run_sql(tmp_path, specs, PAIR, count).to_pylist() == [{"n": 6}]
    (tmp_path / f"out_probe__metrics/year={YEAR}/cell-ab.parquet").unlink()  # as while a cell is replaced
    assert run_sql(tmp_path, specs, PAIR, count).to_pylist() == [{"n": 3}]
