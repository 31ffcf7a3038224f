from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.labels.label_worlds import PRODUCTS, RASTER, open_warehouse
from warehouse.labels.contract import label_provenance


@pytest.mark.parametrize(
    ("trained_on", "dataset", "n_notes"), [([], "", 0), (["cover"], "", 1), (["nlcd"], "", 0), (["nlcd"], "nlcd", 1)]
)
def test_labels_that_a_product_was_trained_on_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained_on: list[str], dataset: str, n_notes: int
) -> None:
    monkeypatch.setitem(PRODUCTS["points"], "trained_on", trained_on)
    label: dict[str, Any] = {**RASTER, "dataset": dataset}
    record = label_provenance(open_warehouse(tmp_path, label), "cover", [], [], is_simulated=False, notes=["own"])
    assert record.notes[-1] == "own"
    assert len(record.notes) == n_notes + 1
    assert all("was trained on" in note for note in record.notes[:-1])


def test_alphaearth_was_trained_on_nlcd(tmp_path: Path) -> None:
    products = open_warehouse(tmp_path, RASTER).settings.registry()
    assert "nlcd" in products["aef"].trained_on
    assert products["aef"].trained_on == products["aef_table"].trained_on
    assert products["eg"].trained_on == ()
