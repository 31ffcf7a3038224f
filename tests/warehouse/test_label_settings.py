from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from transforms.bigearthnet import CLASSES_19, CLASSES_43
from warehouse.label_settings import LabelSettings

YEARS = {2024: 2024}
CLASSES = {"crop": "C", "forest": "F"}
VECTOR = {"kind": "vector", "path": "a.parquet", "years": YEARS}
BEN = {"kind": "bigearthnet", "path": "patches", "years": YEARS}
COLUMN = {"kind": "column", "product": "p", "years": YEARS}


def test_polygons_may_name_one_class_inside_and_one_outside() -> None:
    label = LabelSettings(**VECTOR, inside="land", outside="water")
    assert list(label.classes) == ["water", "land"]


def test_polygons_with_a_column_may_name_a_class_outside() -> None:
    assert list(LabelSettings(**VECTOR, column="kind", classes=CLASSES).classes) == ["crop", "forest"]
    label = LabelSettings(**VECTOR, column="kind", classes=CLASSES, outside="other")
    assert list(label.classes) == ["other", "crop", "forest"]
    # one of the classes may be that of the ground outside too
    label = LabelSettings(**VECTOR, column="kind", classes=CLASSES, outside="crop")
    assert label.classes == CLASSES


@pytest.mark.parametrize(("nomenclature", "names"), [(19, CLASSES_19), (43, CLASSES_43)])
def test_the_classes_of_bigearthnet_follow_from_the_nomenclature(nomenclature: int, names: tuple[str, ...]) -> None:
    assert tuple(LabelSettings(**BEN, nomenclature=nomenclature).classes) == names
    assert LabelSettings(**BEN, nomenclature=nomenclature).has_split


def test_numbers_have_columns_and_no_classes() -> None:
    label = LabelSettings(**COLUMN, columns=["VV", "VH"])
    assert (label.columns, label.classes, label.has_split) == (("VV", "VH"), {}, False)
    assert LabelSettings(**COLUMN, columns=["VV"], fold_column="f").has_split


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (VECTOR, "at least 2 items"),
        (VECTOR | {"classes": CLASSES}, "needs path, and either column and classes or inside and outside"),
        (VECTOR | {"inside": "land"}, "at least 2 items"),
        (VECTOR | {"inside": "a", "outside": "b", "classes": {"c": 1}}, "classes follow from inside and outside"),
        (VECTOR | {"inside": "a", "outside": "b", "column": "kind"}, "needs path, and either column"),
        (VECTOR | {"column": "k", "classes": CLASSES, "product": "p"}, r"does not read \['product'\]"),
        (VECTOR | {"column": "k", "classes": CLASSES, "fold_column": "f"}, r"does not read \['fold_column'\]"),
        ({"kind": "vector", "years": YEARS, "column": "k", "classes": CLASSES}, "kind 'vector' needs path"),
        ({"kind": "bigearthnet", "years": YEARS}, "kind 'bigearthnet' needs path"),
        (BEN | {"nomenclature": 20}, "19 or 43"),
        (BEN | {"inside": "a"}, r"does not read \['inside'\]"),
        (COLUMN | {"classes": CLASSES}, "needs product and column"),
        (COLUMN | {"columns": ["a"], "column": "b"}, "needs product and column"),
        (COLUMN | {"columns": ["a"], "classes": CLASSES}, "columns are numbers: leave classes out"),
        (COLUMN | {"columns": ["a", "a"]}, "names one twice"),
        (COLUMN | {"column": "c", "classes": CLASSES, "outside": "x"}, r"does not read \['outside'\]"),
    ],
)
def test_keys_that_do_not_fit_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        LabelSettings(**settings)
