"""docs/operators.md has a row for every operator, with what its registry entry says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transforms.pooling.operators import POOLING_OPERATORS
from transforms.upsampling.operators import UPSAMPLERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
ROWS = {row.split("|")[1].strip(" `"): row for row in PAGE.splitlines() if re.match(r"\| `", row)}


@pytest.mark.parametrize("name", [*POOLING_OPERATORS, *UPSAMPLERS])
def test_every_operator_has_its_row(name: str) -> None:
    entry = POOLING_OPERATORS.get(name) or UPSAMPLERS[name]
    assert name in ROWS
    for text in (entry.cost, entry.when, entry.reference):
        assert text in ROWS[name], text


def test_no_row_is_of_an_operator_that_is_gone() -> None:
    assert set(ROWS) - {"native"} == {*POOLING_OPERATORS, *UPSAMPLERS}
