"""Rows of `out_pixel__{product}_codebook`: stored codebooks, to and from Arrow.

Belongs here: the columns. Does not: fitting (`transforms/pooling/codebook.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.keeping import vector_array
from transforms.pooling.pixels import Codebook


def codebook_table(codebooks: Mapping[str, Codebook], *, is_simulated: bool) -> pa.Table:
    """Give one row per operator and centre."""
    return pa.concat_tables(
        pa.table(
            {
                "operator": pa.array([operator] * len(book.centers), pa.string()),
                "center": pa.array(np.arange(len(book.centers)), pa.int32()),
                "version": pa.array([book.version] * len(book.centers), pa.string()),
                "values": vector_array(book.centers),
                "is_simulated": np.full(len(book.centers), is_simulated),
            }
        )
        for operator, book in codebooks.items()
    )


def codebooks_from_table(table: pa.Table) -> dict[str, Codebook]:
    """Read the codebooks back, by operator (the inverse of `codebook_table`)."""
    rows = table.sort_by([("operator", "ascending"), ("center", "ascending")])
    books = {}
    for operator in pc.unique(rows["operator"]).to_pylist():
        mine = rows.filter(pc.field("operator") == operator)
        values = mine["values"].combine_chunks().flatten().to_numpy().reshape(mine.num_rows, -1)
        books[operator] = Codebook(np.ascontiguousarray(values), mine["version"][0].as_py())
    return books
