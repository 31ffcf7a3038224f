"""Metrics of the maps of a cell: from predicted rows of kept windows to rows of `out_probe__metrics`.

Belongs here: which maps are scored. Does not: predicting them (`window_maps.py`), the metrics
(`transforms/dense_rows.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.cells import Cell
from transforms.dense_rows import MappedPixels, dense_rows
from warehouse.store import Warehouse


def map_metric_rows(
    warehouse: Warehouse, cell: Cell, maps: pa.Table, class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Score the maps of a T5 cell: boundaries, objects, areas, and the fractions of T6, which cost nothing more.

    Args:
        warehouse: the warehouse.
        cell: whose maps they are.
        maps: rows of `window_maps.map_cell`.
        class_names: of the label.

    Returns:
        Rows without the shared columns; empty for maps of patches.
    """
    product = warehouse.pixel_product
    if cell.task != "T5" or product is None or product.pixel_m is None:
        return []
    pixels = MappedPixels(
        window=np.array(maps["window"].to_pylist(), dtype=object),
        epsg=maps["epsg"].to_numpy(),
        x_m=maps["x_m"].to_numpy(),
        y_m=maps["y_m"].to_numpy(),
        truth=maps["truth"].fill_null(-1).to_numpy(),
        pred=maps["pred"].to_numpy(),
        block_id=maps["block_id"].to_numpy(),
        pixel_m=product.pixel_m,
    )
    return dense_rows(pixels, class_names)
