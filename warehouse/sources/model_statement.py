"""What a file states of its own vectors: the `emb` record in the footer of Earth Index files.

Belongs here: reading the record, and comparing it with the product that the file is read as. Does not: the rest of the
file (`eg_geoparquet.py`, `patch_geoparquet.py`), what a registry entry holds (`warehouse/products.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from warehouse.errors import AnotherProductError, SourceFormatError
from warehouse.file_paths import FilePath
from warehouse.products import Product, spell_entry

_KEY = b"emb"
#: Spellings of "not quantised".
_PLAIN = ("", "none", "null")


@dataclass(frozen=True)
class ModelStatement:
    """A record, as far as it is one; empty or None where it says nothing.

    Attributes:
        model: id of the model.
        year: calendar year that the vectors stand for; None also where the span is no year.
        dims: length of a vector.
        quantisation: how values were made smaller; empty for plain floats.
    """

    model: str
    year: int | None
    dims: int | None
    quantisation: str


def read_statement(metadata: Mapping[bytes, bytes] | None, path: FilePath) -> ModelStatement | None:
    """Read the record of a file.

    Args:
        metadata: of the file's schema.
        path: for messages.

    Returns:
        The statement, None where the file makes none.

    Raises:
        SourceFormatError: the record is no JSON object.
    """
    text = (metadata or {}).get(_KEY)
    if text is None:
        return None
    try:
        record = json.loads(text)
    except ValueError as error:
        raise _bad_record(path, str(error)) from error
    if not isinstance(record, dict):
        raise _bad_record(path, type(record).__name__)
    vectors = _table(record, "embedding")
    quantisation = str(vectors.get("quantization") or "")
    return ModelStatement(
        _model(record),
        _year(record),
        vectors["dim"] if isinstance(vectors.get("dim"), int) else None,
        "" if quantisation.lower() in _PLAIN else quantisation,
    )


def check_statement(path: FilePath, product: Product, year: int | None, statement: ModelStatement | None) -> None:
    """Refuse a file that states that it is not of its product.

    Args:
        path: the file.
        product: what it is read as.
        year: calendar year that it is read as; None = not known.
        statement: what it states.

    Raises:
        AnotherProductError: model, year, length or quantisation differ; all that differ are named.
    """
    if statement is None:
        return
    facts = [
        ("model", statement.model, product.model, product.names_model(statement.model)),
        ("year", statement.year, year, None in (statement.year, year) or statement.year == year),
        ("dimensions", statement.dims, product.dims, statement.dims in (None, product.dims)),
        ("quantisation", statement.quantisation, "none", not statement.quantisation),
    ]
    problems = [
        f"{what}: found '{found}' (record 'emb' of the file), expected '{expected}' (product '{product.name}')"
        for what, found, expected, agrees in facts
        if not agrees
    ]
    if problems:
        raise AnotherProductError(str(path), problems, _entry(product, year, statement))


def _entry(product: Product, year: int | None, statement: ModelStatement) -> str:
    model, years = statement.model or product.model, [statement.year or year]
    name = re.sub(r"[^a-z0-9]+", "_", f"{product.name}_{model}_{years[0] or ''}".lower()).strip("_")
    stated_years = years if years[0] else list(product.years)
    return spell_entry(product, name, model=model, dims=statement.dims or product.dims, years=stated_years)


def _model(record: Mapping[str, Any]) -> str:
    """Give the id of the model; some records hold it as a table, some as plain text."""
    model = record.get("model") or ""
    return str(model.get("id") or "") if isinstance(model, dict) else str(model)


def _year(record: Mapping[str, Any]) -> int | None:
    """Give the year of a span from 1 January to 1 January, whose end is exclusive."""
    start, stop = (str(record.get(key) or "")[:10] for key in ("start_datetime", "end_datetime"))
    match = re.fullmatch(r"(\d{4})-01-01", start)
    year = int(match[1]) if match else None
    return year if year is not None and stop in (f"{year + 1:04d}-01-01", f"{year:04d}-12-31") else None


def _table(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _bad_record(path: FilePath, found: str) -> SourceFormatError:
    return SourceFormatError(str(path), "record 'emb'", found, "a JSON object", "Download it again.")
