"""The check of simulated flags, on every table that carries provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.warehouse.fake_rows import PAIR, SHARDS, YEAR, random_rows, write_rows
from warehouse.catalog import open_catalog
from warehouse.catalog_files import CatalogFiles
from warehouse.products import load_registry
from warehouse.schemas import build_specs
from warehouse.sections import PoolSettings
from warehouse.table_spec import TableSpec

PRODUCTS = {name: load_registry()[name] for name in ("aef", "eg")}
SPECS = build_specs(
    PRODUCTS,
    labels={"cover": 3},
    values={"height": 1},
    pixels="aef",
    patches="eg",
    pool=PoolSettings(operators=("mean", "vlad")),
    has_adapter=True,
)
#: What nothing above can contradict: indexes say what their source is, labels what theirs is.
SOURCES = ("raw_", "core_label_")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A simulated warehouse with a file of every table."""
    for spec in SPECS.values():
        write_file(tmp_path, spec)
    return tmp_path


def write_file(root: Path, spec: TableSpec, *, rows: bool | None = True, footer: bool = True, **key: Any) -> Path:
    """Write a file of a table; `rows` None = the first of them claims to be real."""
    flags = [bool(rows), rows is None or rows]
    table = random_rows(spec, 2, np.random.default_rng(0), is_simulated=flags)
    product = "aef+eg" if spec.name.startswith("out_probe__") else "eg"
    place = {"year": YEAR, "shard": SHARDS[0], **key}
    return write_rows(root, spec, table, record={"is_simulated": footer, "product": product}, **place)


def failing(root: Path) -> dict[str, str]:
    """Run the check: what is wrong with each table that it names."""
    with open_catalog(CatalogFiles(root), SPECS, PAIR) as connection:
        rows = connection.execute("select table_name, problems from check_simulated_flag_consistent").fetchall()
    return dict(rows)


DISAGREE = "its rows and its footer do not say the same"


def test_a_warehouse_that_says_so_everywhere_passes(root: Path) -> None:
    assert failing(root) == {}


@pytest.mark.parametrize("rows", [False, None], ids=["all rows", "one row"])
@pytest.mark.parametrize("table", SPECS)
def test_rows_that_claim_to_be_real_are_found(root: Path, table: str, rows: bool | None) -> None:
    write_file(root, SPECS[table], rows=rows)
    found = failing(root)
    assert set(found) == {table}
    assert DISAGREE in found[table]


@pytest.mark.parametrize("table", [name for name in SPECS if not name.startswith("raw_")])
def test_a_footer_that_claims_to_be_real_is_found(root: Path, table: str) -> None:
    write_file(root, SPECS[table], footer=False)
    found = failing(root)
    assert set(found) == {table}
    assert DISAGREE in found[table]


@pytest.mark.parametrize("table", [name for name in SPECS if not name.startswith(SOURCES)])
def test_a_file_that_claims_to_be_real_altogether_is_found_by_what_is_behind_it(root: Path, table: str) -> None:
    write_file(root, SPECS[table], rows=False, footer=False)
    found = failing(root)
    assert set(found) == {table}
    assert DISAGREE not in found[table]


def real_world(root: Path, **simulated: bool) -> None:
    """Make everything real but the named tables."""
    for spec in SPECS.values():
        flag = simulated.get(spec.name, False)
        write_file(root, spec, rows=flag, footer=flag)


def test_a_real_warehouse_passes(tmp_path: Path) -> None:
    real_world(tmp_path)
    assert failing(tmp_path) == {}


@pytest.mark.parametrize(
    ("simulated", "found"),
    [
        ("core_aef__pixels", {"out_patch__aef_pooled", "out_pixel__aef_codebook"}),
        ("core_eg__patches", {"out_patch__eg_basis", "out_pixel__eg_upsampled"}),
        ("core_label_cover__pixels", set()),
    ],
)
def test_one_simulated_input_marks_what_is_made_of_it_and_all_evidence(
    tmp_path: Path, simulated: str, found: set[str]
) -> None:
    real_world(tmp_path, **{simulated: True})
    evidence = {name for name in SPECS if name.startswith("out_probe__")}
    assert set(failing(tmp_path)) == found | evidence


def test_simulated_vectors_of_another_year_or_shard_mark_nothing(tmp_path: Path) -> None:
    real_world(tmp_path)
    write_file(tmp_path, SPECS["core_aef__pixels"], year=YEAR - 1)
    assert failing(tmp_path) == {}
    write_file(tmp_path, SPECS["core_aef__pixels"], shard=SHARDS[1])
    tables = set(failing(tmp_path))
    assert "out_patch__aef_pooled" not in tables
    assert {"out_pixel__aef_codebook", "out_probe__metrics"} <= tables  # made of the whole year
