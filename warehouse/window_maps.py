"""Held-out predictions at every pixel of the kept windows, for maps.

Belongs here: which fold predicts which pixel of a window. Does not: drawing (`transforms/report/`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.alignment import match_keys, take_or
from transforms.blocks import assign_blocks
from transforms.evaluation import CellOutcome
from transforms.evidence_units import fold_of_blocks
from transforms.folds import FoldPlan, Scheme
from warehouse.features import map_upsampler, read_field, read_window
from warehouse.store import Warehouse, evaluate_settings

#: Window pixels predicted at once; bounds memory at full patch width.
_PIXELS_AT_ONCE = 20_000


def predict_window(
    warehouse: Warehouse, year: int, arm: str, scheme: Scheme, plan: FoldPlan, outcome: CellOutcome
) -> pa.Table | None:
    """Predict the kept windows, each pixel by the fold that holds its block out.

    Returns:
        Rows of `out_probe__predictions` without the shared columns; None for arms that are not mapped, or
        where folds are not blocks.
    """
    settings = evaluate_settings(warehouse)
    upsampler = map_upsampler(arm)
    is_mapped = arm == "native_pixel" or upsampler is not None
    if scheme != "block" or not warehouse.settings.keep.windows or not is_mapped:
        return None
    places, windows, native = read_window(warehouse, year)
    field = read_field(warehouse, year) if upsampler is not None else None
    if upsampler is not None and field is not None:
        upsampler.fit(field.rows(), field.vectors)
    fold_by_block = fold_of_blocks(plan)
    blocks = assign_blocks(places.lon, places.lat, settings.block_edge_m)
    folds = np.array([fold_by_block.get(int(block), -1) for block in blocks])
    pred = np.full(len(places), -1, np.int16)
    for start in range(0, len(places), _PIXELS_AT_ONCE):
        part = np.arange(start, min(start + _PIXELS_AT_ONCE, len(places)))
        if upsampler is not None and field is not None:
            values = upsampler.transform(*field.coordinates(places.take(part)))
        else:
            values = native[part]
        usable = np.isfinite(values).all(axis=1)
        for item in outcome.folds:
            mine = usable & (folds[part] == item.fold)
            if mine.any():
                pred[part[mine]] = item.probe.predict(values[mine])
    done = np.flatnonzero(pred >= 0)
    truth = _truth_at(warehouse, year, places.pixel_id[done])
    return pa.table(
        {
            "fold": folds[done],
            "pixel_id": places.pixel_id[done],
            "window": pa.array(windows[done].tolist(), pa.string()),
            "epsg": pa.array(places.epsg[done], pa.int32()),
            "x_m": places.x_m[done],
            "y_m": places.y_m[done],
            "truth": pa.array(truth, pa.int16(), mask=truth < 0),
            "pred": pred[done],
        }
    )


def _truth_at(warehouse: Warehouse, year: int, ids: np.ndarray) -> np.ndarray:
    """Give the label of pixels, -1 without one."""
    settings = evaluate_settings(warehouse)
    table = f"core_label_{settings.label}__pixels"
    keys = warehouse.partitions(table, year=warehouse.label(settings.label).years.get(year))
    rows = warehouse.read_many(table, keys, ["pixel_id", "label"])
    slot = match_keys(ids, rows["pixel_id"].to_numpy())
    return take_or(rows["label"].fill_null(-1).to_numpy(), slot, -1)
