from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.warehouse.fake_tables import PROVENANCE, SPECS
from warehouse.provenance import (
    FOOTER_KEY,
    Provenance,
    SourceFile,
    code_version,
    decode_footer,
    encode_footer,
    merge_attributions,
)
from warehouse.reader import read_footer
from warehouse.table_spec import FIRST_SCHEMA_VERSION
from warehouse.writer import write_table

SPEC = SPECS["core_aef__pixels"]


def test_the_footer_of_a_stored_file_says_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    known = replace(PROVENANCE, release="AlphaEarth Foundations; utm-10m")
    write_table(path, SPEC, SPEC.schema.empty_table(), known)
    record = read_footer(path)
    assert record["table"] == "core_aef__pixels"
    assert record["schema_version"] == FIRST_SCHEMA_VERSION
    assert record["code_version"] == code_version()
    assert record["product"] == "aef"
    assert record["release"] == "AlphaEarth Foundations; utm-10m"
    assert record["licence"] == "CC-BY-4.0"
    assert record["attribution"] == ["Data by their producer."]
    assert record["is_simulated"] is True
    assert record["sources"] == [{"path": "annual/2024/48N/x.tiff", "etag": "abc-1"}]
    assert record["inputs"] == ["raw_aef__index"]


def test_everything_that_is_known_is_recorded() -> None:
    record = json.loads(encode_footer("core_x__y", 3, PROVENANCE))
    assert set(record) == {"table", "schema_version", "code_version", "fingerprint", *asdict(PROVENANCE)}


def test_equal_provenance_has_equal_bytes() -> None:
    other = Provenance(**{name: getattr(PROVENANCE, name) for name in reversed(list(asdict(PROVENANCE)))})
    assert encode_footer("core_x__y", 1, PROVENANCE) == encode_footer("core_x__y", 1, other)
    changed = Provenance(**{**vars(PROVENANCE), "sources": (SourceFile("annual/2024/48N/x.tiff", "abc-2"),)})
    assert encode_footer("core_x__y", 1, PROVENANCE) != encode_footer("core_x__y", 1, changed)


def test_text_of_any_alphabet_survives() -> None:
    provenance = Provenance("p", "r", "l", ("© Données d'Émile, 数据",), False)
    record = decode_footer({FOOTER_KEY: encode_footer("core_x__y", 1, provenance)})
    assert record["attribution"] == ["© Données d'Émile, 数据"]


@pytest.mark.parametrize("metadata", [None, {}, {b"geo": b"{}"}])
def test_files_of_others_have_no_record(metadata: dict | None) -> None:
    assert decode_footer(metadata) == {}


def test_a_foreign_parquet_file_has_no_record(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(SPEC.schema.empty_table(), path)
    assert read_footer(path) == {}


def test_attributions_are_joined_without_repeats_in_order() -> None:
    assert merge_attributions([["b", "a"], [], ["a", "", "c", "b"]]) == ("b", "a", "c")
    assert merge_attributions([]) == ()


def test_the_code_version_begins_with_that_of_the_package() -> None:
    from importlib.metadata import version

    assert code_version().split("+")[0] == version("isthmus")
