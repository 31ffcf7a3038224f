from __future__ import annotations

from dataclasses import replace

import pytest

from warehouse.fingerprints import Fingerprint, describe_changes, fingerprint_in, hash_of

ONE = Fingerprint(1, "a", "b", "c", "d", "e", schema_version=2)


def test_a_fingerprint_survives_its_footer() -> None:
    assert fingerprint_in({"table": "x", "schema_version": 2, "fingerprint": ONE.record()}) == ONE


@pytest.mark.parametrize(
    "footer",
    [
        {},
        {"fingerprint": None},
        {"fingerprint": "abc"},
        {"fingerprint": {"logic": 1}, "schema_version": 2},
        {"fingerprint": ONE.record()},
    ],
)
def test_footers_without_one_or_of_another_make_have_none(footer: dict) -> None:
    assert fingerprint_in(footer) is None


@pytest.mark.parametrize("name", ["logic", "schema", "settings", "choice", "files", "inputs"])
def test_every_part_counts_and_is_named(name: str) -> None:
    other = replace(ONE, **{name: 2 if name == "logic" else "other"})
    assert other.value != ONE.value
    assert len(describe_changes(ONE, other)) == 1
    assert (other.values != ONE.values) == (name not in ("schema", "choice"))


def test_another_stored_form_is_named_and_decides_nothing_that_follows() -> None:
    other = replace(ONE, schema_version=3)
    assert describe_changes(ONE, other) == ("the form that it is stored in was changed",)
    assert (other.value, other.values) == (ONE.value, ONE.values)


def test_the_record_is_that_of_the_time_when_all_tables_shared_a_version() -> None:
    assert set(ONE.record()) == {"logic", "schema", "settings", "choice", "files", "inputs", "value"}
    assert ONE.value == "11b72acb08e4747d"


def test_equal_ones_have_no_changes_and_an_old_file_says_why_it_is_stale() -> None:
    assert describe_changes(ONE, replace(ONE)) == ()
    assert describe_changes(None, ONE) == ("it was written without a fingerprint",)


def test_hashes_depend_on_content_and_not_on_the_order_of_keys() -> None:
    assert hash_of({"a": 1, "b": (1.0, None)}) == hash_of({"b": [1.0, None], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": "1"})
