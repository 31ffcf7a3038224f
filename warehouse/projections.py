"""The picture of the page of labels: stored native vectors of labelled patches, on a plane.

Belongs here: which patches and vectors are shown. Does not: the projection (`transforms/projection.py`), the page
(`transforms/report/labels.py`).
"""

from __future__ import annotations

from transforms.arms import ARMS
from transforms.errors import IsthmusError
from transforms.projection import draw_shown, project_2d
from transforms.report.data import LabelPicture
from transforms.report.labels import NATIVE
from warehouse.store import Warehouse, evaluate_settings
from warehouse.task_data import load_task


def picture_labels(warehouse: Warehouse, year: int) -> LabelPicture | str:
    """Project the native vectors of the units of T2, at most 2,000 of them.

    Args:
        warehouse: the warehouse.
        year: embedding year.

    Returns:
        The picture, or why there is none: labels or vectors may be gone while their scores are still stored.
    """
    seed = evaluate_settings(warehouse).seed
    try:
        data = load_task(warehouse, "T2", year, [ARMS[NATIVE]])
        shown = draw_shown(len(data.units), seed)
        vectors = data.reader.stored(ARMS[NATIVE], data.units)[shown]
        return LabelPicture(project_2d(vectors, seed), data.targets.values[shown], len(data.units))
    except IsthmusError as error:
        return str(error)
