"""The files of sql/examples and the views, on a warehouse that a run made."""

from __future__ import annotations

import json

import duckdb
import pytest

from tests.conftest import TinyRun
from warehouse.catalog import CATALOG_FILE
from warehouse.json_rows import json_rows
from warehouse.sql_files import list_sql, read_sql


@pytest.mark.parametrize("name", list_sql("examples"))
def test_every_example_answers_on_a_finished_run(tiny_run: TinyRun, name: str) -> None:
    rows = json_rows(tiny_run.sql(read_sql("examples", name).text))
    assert rows
    json.dumps(rows, allow_nan=False)


def test_questions_are_answered_within_an_interval(tiny_run: TinyRun) -> None:
    for name in ("q1_does_pooling_match_patches", "q2_does_upsampling_match_pixels"):
        first = tiny_run.sql(read_sql("examples", name).text).to_pylist()[0]
        assert first["lo"] < first["delta"] < first["hi"]


def test_similar_patches_are_near(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql(read_sql("examples", "similar_patches_within_5km").text).to_pylist()
    assert all(row["distance_m"] <= 5000 for row in rows)
    assert [row["cosine"] for row in rows] == sorted((row["cosine"] for row in rows), reverse=True)


def test_where_years_differ_compares_the_two_years(tiny_run: TinyRun) -> None:
    rows = tiny_run.sql(read_sql("examples", "where_years_differ").text).to_pylist()
    assert {(row["year_a"], row["year_b"]) for row in rows} == {(2023, 2024)}


def test_the_catalogue_on_disk_opens_read_only_and_needs_no_extension(tiny_run: TinyRun) -> None:
    path = tiny_run.warehouse.root / CATALOG_FILE
    with duckdb.connect(str(path), read_only=True, config={"autoload_known_extensions": "false"}) as connection:
        names = {
            row[0] for row in connection.execute("select view_name from duckdb_views() where not internal").fetchall()
        }
        assert {"core_aef__pixels", "out_pixel__nearest", "verdicts", "core_label__pixels"} <= names
        for name in sorted(names):
            connection.sql(f'select * from "{name}" limit 1').fetchall()  # names come from the catalogue itself
        assert connection.execute("select count(*) from duckdb_tables()").fetchone() == (0,)
    assert path.stat().st_size < 3e6  # views only


def test_no_check_of_sql_checks_fails(tiny_run: TinyRun) -> None:
    # its labels are three years older than its embeddings, as WorldCover's are
    assert tiny_run.sql("select check_name from failed_rows").to_pylist() == [{"check_name": "label_year_apart"}]
