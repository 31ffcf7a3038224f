"""Preview pictures of stored partitions, for the UI.

Belongs here: which column a picture shows. Does not: drawing (`transforms/previews.py`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.previews import draw_places
from warehouse.layout import PartitionKey
from warehouse.reader import vectors
from warehouse.store import Warehouse


def preview_partition(warehouse: Warehouse, table: str, key: PartitionKey, column: str) -> bytes | None:
    """Draw one column of a partition over its places.

    Args:
        warehouse: the warehouse.
        table: a table with `lon` and `lat`.
        key: a stored partition.
        column: a number, or a vector, of which the first element is drawn.

    Returns:
        PNG bytes; None where the partition is empty.
    """
    rows = warehouse.read(table, key, ["lon", "lat", column])
    if not rows.num_rows:
        return None
    if pa.types.is_fixed_size_list(rows[column].type):
        values = vectors(rows, column)[:, 0].astype(np.float64)
    else:
        values = rows[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return draw_places(rows["lon"].to_numpy(), rows["lat"].to_numpy(), values)
