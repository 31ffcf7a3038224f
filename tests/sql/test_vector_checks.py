"""Checks of places and vectors in worlds that differ from a good one in one thing, and the macros behind them."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sql.vector_worlds import (
    PATCHES,
    PIXELS,
    SPECS,
    cluster_world,
    field_world,
    flip_coordinates,
    split_rasters,
    write,
    write_index,
)
from tests.warehouse.fake_rows import PAIR, SHARDS, YEAR
from transforms import lattice
from transforms.geohash import decode, pixel_keys
from transforms.utm import project
from warehouse.catalog import open_catalog
from warehouse.catalog_files import CatalogFiles
from warehouse.checks_sql import run_checks
from warehouse.queries import SqlError, run_sql
from warehouse.sql_files import read_sql

N_PLACES = 60


def run(root, name):
    with open_catalog(CatalogFiles(root), SPECS, PAIR) as connection:
        return run_checks(connection, [name])[0]


def place_shards(root, shards=SHARDS):
    write(root, "core_grid__shards", shard=list(shards))


@pytest.fixture(scope="module")
def macros(tmp_path_factory):
    """A catalogue without tables."""
    with open_catalog(CatalogFiles(tmp_path_factory.mktemp("empty")), SPECS, PAIR) as connection:
        yield connection


@pytest.mark.parametrize("epsg", [32601, 32631, 32648, 32660, 32719])
def test_utm_macros_agree_with_proj(macros, epsg):
    rng = np.random.default_rng(epsg)
    middle = 6 * (epsg % 100) - 183
    lon = middle + rng.uniform(-3.2, 3.2, N_PLACES)
    lat = rng.uniform(-80, 0, N_PLACES) if epsg > 32700 else rng.uniform(0, 84, N_PLACES)
    x, y = project(lon, lat, epsg)
    for place in range(N_PLACES):
        values = {"lon": lon[place], "lat": lat[place], "epsg": epsg}
        found = macros.execute("select utm_x_m($lon, $lat, $epsg), utm_y_m($lon, $lat, $epsg)", values).fetchone()
        assert found == pytest.approx((x[place], y[place]), abs=0.001)


def test_geohash_macros_agree_with_the_keys_of_python(macros):
    rng = np.random.default_rng(2)
    keys = pixel_keys(rng.uniform(-180, 180, N_PLACES), rng.uniform(-90, 90, N_PLACES), rng.integers(32601, 32660))
    lon, lat = decode(keys)
    for place, key in enumerate(keys.tolist()):
        found = macros.execute("select geohash_lon($key::ubigint), geohash_lat($key::ubigint)", {"key": key}).fetchone()
        assert found == pytest.approx((lon[place], lat[place]), abs=1e-9)


def test_lattice_rows_have_as_many_cells_as_in_python(macros):
    rows = np.random.default_rng(3).integers(0, lattice.N_ROWS, N_PLACES)
    for row, count in zip(rows.tolist(), lattice.count_columns(rows).tolist(), strict=True):
        assert macros.execute("select lattice_columns($row)", {"row": row}).fetchone() == (count,)


def test_pixels_of_a_raster_read_from_the_wrong_end_lie_outside_it(tmp_path):
    place_shards(tmp_path)
    write_index(tmp_path)
    flip_coordinates(tmp_path)
    found = run(tmp_path, "north_up")
    assert found.n_failing == 3
    assert set(found.sample["problem"].to_pylist()) == {"outside the files of its year"}


def test_half_a_pixel_off_is_seen(tmp_path):
    place_shards(tmp_path)
    lon, lat = (np.array(axis) for axis in decode(np.array(PIXELS[:1])))
    write(tmp_path, "core_aef__pixels", pixel_id=PIXELS[:1], lon=lon + 5 / 108_000, lat=lat)
    found = run(tmp_path, "north_up")
    assert found.sample["off_east_m"].to_pylist() == [pytest.approx(-5.0, abs=0.3)]


def test_places_outside_the_area_and_years_that_the_index_does_not_list_are_not_held_against_files(tmp_path):
    place_shards(tmp_path, SHARDS[1:])
    write_index(tmp_path)
    flip_coordinates(tmp_path)
    assert run(tmp_path, "north_up").is_passed
    place_shards(tmp_path)
    write_index(tmp_path, year=[YEAR - 1])
    assert run(tmp_path, "north_up").is_passed


def test_files_of_several_zones_hold_places_by_degrees(tmp_path):
    place_shards(tmp_path)
    nothing = {f"utm_{side}_m": [None] for side in ("west", "south", "east", "north")}
    write_index(tmp_path, **nothing, epsg=[None])
    write(tmp_path, "core_aef__pixels", pixel_id=PIXELS)
    assert run(tmp_path, "north_up").is_passed
    flip_coordinates(tmp_path)
    assert run(tmp_path, "north_up").n_failing == 3


def test_a_footprint_elsewhere_is_seen_in_either_table(tmp_path):
    box = {"xmin": 0.0, "xmax": 1.0, "ymin": 0.0, "ymax": 1.0}
    write(tmp_path, "core_eg__patches", patch_id=PATCHES[:1], bbox=[box])
    (row,) = run(tmp_path, "patch_id_against_geometry").sample.to_pylist()
    assert (row["table_name"], row["is_in_footprint"]) == ("pair_patches", False)


@pytest.mark.parametrize("border", ["lon", "y"])
def test_smooth_vectors_have_no_seam(tmp_path, border):
    field_world(tmp_path, border=border, is_flipped=False)
    assert run(tmp_path, "patch_seams").is_passed
    split_rasters(tmp_path)
    assert run(tmp_path, "pooled_seams").is_passed


def test_a_seam_names_the_two_sides_and_how_far_they_are_apart(tmp_path):
    field_world(tmp_path, border="y", is_flipped=True)
    split_rasters(tmp_path)
    (row,) = run(tmp_path, "pooled_seams").sample.to_pylist()
    assert row["ground"].endswith("south.tiff")
    assert row["neighbour_ground"].endswith("north.tiff")
    assert row["mean_distance"] > 2 * row["allowed_distance"]


@pytest.mark.parametrize("table", ["core_eg__patches", "core_aef__pixels"])
def test_a_rare_kind_is_no_outlier(tmp_path, table):
    cluster_world(tmp_path, table)
    name = "outlier_pixels" if table.endswith("pixels") else "outlier_patches"
    assert run(tmp_path, name).is_passed


def test_a_vector_of_another_length_is_an_outlier(tmp_path):
    kind = np.random.default_rng(5).normal(size=(2, 384))[0]
    cluster_world(tmp_path, "core_eg__patches", vector=lambda _: 9 * kind)
    rows = run(tmp_path, "outlier_patches").sample.to_pylist()
    assert [(row["patch_id"], row["reason"]) for row in rows] == [(1, "length")]


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_outliers_are_those_that_the_rule_names(macros, data):
    n = data.draw(st.integers(60, 120))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    vectors = rng.normal(size=(3, 8))[rng.integers(0, 3, n)] + data.draw(st.floats(0.0, 1.0)) * rng.normal(size=(n, 8))
    strange = rng.choice(n, data.draw(st.integers(0, 5)), replace=False)
    vectors[strange] = rng.normal(size=(len(strange), 8)) * data.draw(st.sampled_from([1.0, 30.0, 0.0]))
    found = find_outliers(macros, vectors.astype(np.float32))
    assert found == expect_outliers(vectors.astype(np.float32).astype(np.float64))


def find_outliers(connection, vectors):
    """Run the macro on one year; give pairs of unit and reason."""
    columns = {"year": [YEAR] * len(vectors), "shard": ["a"] * len(vectors), "unit_id": range(len(vectors))}
    rows = pa.table({**columns, "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8)})
    connection.register("stored", rows)
    text = "with u as not materialized (select * from stored) select unit_id, reason from outlying_vectors('u')"
    return set(connection.execute(text).fetchall())


def expect_outliers(vectors):
    """The rule, where a year is small enough for every vector to be compared with every other one."""
    length = np.linalg.norm(vectors, axis=1)
    units = np.flatnonzero(length)
    unit = vectors[units] / length[units, None]
    distance = 1 - (unit @ unit.T - 3 * np.eye(len(units))).max(axis=1)
    logs = np.log(length[units])
    off = np.abs(logs - np.median(logs))
    is_far = distance > max(0.1, 5 * np.median(distance))
    is_long = off > max(10 * 1.4826 * np.median(off), np.log(2))
    return {(unit, "far from all others") for unit in units[is_far]} | {(unit, "length") for unit in units[is_long]}


@pytest.mark.parametrize("name", ["outlier_patches", "outlier_pixels", "patch_seams", "pooled_seams"])
def test_checks_of_vectors_do_not_hold_all_of_them(tmp_path, name):
    field_world(tmp_path, border="lon", is_flipped=False)
    cluster_world(tmp_path, "core_aef__pixels")
    with open_catalog(CatalogFiles(tmp_path), SPECS, PAIR) as connection:
        ((_, plan),) = connection.execute("explain " + read_sql("checks", name).text).fetchall()
    held = set(re.findall(r"CTE Name:\W+(\w+)", plan))
    assert held
    assert not held & {"units", "vectors"}


def test_few_vectors_are_not_judged(tmp_path):
    write(tmp_path, "core_eg__patches", patch_id=PATCHES[:4])
    assert run(tmp_path, "outlier_patches").is_passed


@pytest.mark.parametrize(
    ("vector", "reason"),
    [([0.0] * 384, "zero"), ([0.5] * 384, "constant"), ([np.nan, *[0.5] * 383], "not finite"), (None, "no vector")],
)
def test_a_vector_that_says_nothing_is_named_for_its_kind(tmp_path, vector, reason):
    write(tmp_path, "core_eg__patches", patch_id=PATCHES[:1], embedding=[vector])
    assert [row["reason"] for row in run(tmp_path, "unusable_vectors").sample.to_pylist()] == [reason]


def test_codes_that_are_all_the_same_pass_for_unit_length_and_are_still_refused(tmp_path):
    write(tmp_path, "core_aef__pixels", pixel_id=PIXELS[:1], embedding_q=[[45] * 64])
    assert run(tmp_path, "unit_norm").is_passed
    assert run(tmp_path, "unusable_vectors").n_failing == 1


def test_a_file_without_a_record_is_incomplete_but_does_not_hide_the_others(tmp_path):
    write(
        tmp_path, "core_aef__pixels", pixel_id=PIXELS[:1], record=dict.fromkeys(("product", "release", "licence"), "")
    )
    missing = {row["missing"] for row in run(tmp_path, "provenance_incomplete").sample.to_pylist()}
    assert missing == {"product", "release", "licence"}


def test_sources_without_an_etag_are_incomplete(tmp_path):
    write(tmp_path, "core_aef__pixels", pixel_id=PIXELS[:1], record={"sources": [{"path": "a.tiff", "etag": ""}]})
    write(tmp_path, "core_eg__patches", patch_id=PATCHES[:1], record={"sources": []})
    missing = {row["missing"] for row in run(tmp_path, "provenance_incomplete").sample.to_pylist()}
    assert missing == {"etag of a source", "sources"}


def test_two_models_in_one_table_are_refused_by_queries_that_compare_years(tmp_path):
    write(tmp_path, "out_patch__aef_pooled", patch_id=PATCHES[:3], of_year=YEAR - 1)
    write(tmp_path, "out_patch__aef_pooled", patch_id=PATCHES[:3], record={"release": "AlphaEarth 2; utm-10m"})
    text = read_sql("examples", "where_years_differ").text
    with pytest.raises(SqlError, match="AlphaEarth 2; utm-10m and AlphaEarth Foundations; utm-10m"):
        run_sql(tmp_path, SPECS, PAIR, text)
    write(tmp_path, "out_patch__aef_pooled", patch_id=PATCHES[:3])
    assert run_sql(tmp_path, SPECS, PAIR, text).num_rows > 0
