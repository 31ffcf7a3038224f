"""Query results as rows that `json.dumps` takes.

Belongs here: spelling of values that JSON lacks. Does not: running queries, printing.
"""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import shapely

#: Arrow extension name under which DuckDB hands out its GEOMETRY.
_WKB = "geoarrow.wkb"


def json_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Turn a table into row objects.

    Geometry becomes WKT, other bytes hex, NaN and infinities null, times ISO 8601. Integers stay whole at any
    size: patch and pixel ids do not fit a JavaScript number.

    Args:
        table: result of a query; column names should be unique, the last of equal names wins.

    Returns:
        One dict per row, columns in order.
    """
    columns = {field.name: _column(table.column(index), field) for index, field in enumerate(table.schema)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column(values: pa.ChunkedArray, field: pa.Field) -> list[Any]:
    if _is_geometry(field):
        storage = values.cast(pa.binary()) if isinstance(field.type, pa.BaseExtensionType) else values
        return [None if value is None else shapely.from_wkb(value).wkt for value in storage.to_pylist()]
    return [_plain(value) for value in values.to_pylist()]


def _is_geometry(field: pa.Field) -> bool:
    # which of the two it is depends on whether somebody has imported geoarrow.pyarrow
    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name) == _WKB
    return (field.metadata or {}).get(b"ARROW:extension:name") == _WKB.encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
