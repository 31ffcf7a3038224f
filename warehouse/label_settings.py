"""`[labels.<name>]` of a settings file: one source of labels and what it needs.

Belongs here: the kinds of label source and their limits. Does not: reading labels (`labels/`), other sections
(`sections.py`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from transforms.bigearthnet import CLASSES_19, CLASSES_43
from warehouse.local_paths import LocalPath

LabelKind = Literal["geotiff", "column", "vector", "bigearthnet"]
#: What each kind cannot do without, in words.
_NEEDS = {
    "geotiff": "path",
    "vector": "path, and either column and classes or inside and outside",
    "bigearthnet": "path",
}


class LabelSettings(BaseModel):
    """One source of labels.

    Attributes:
        kind: `geotiff` (class codes in a raster of any CRS), `column` (of a product's own table), `vector` (polygons
            or points), `bigearthnet` (patch folders or the metadata file).
        path: file, or glob of files (`geotiff`, `vector`); folder of patches or metadata file (`bigearthnet`).
        product: product whose table has the column (`column`).
        column: column with the class (`column`, `vector`).
        columns: columns with numbers, instead of `column` and `classes`: targets of regression (`column`, pixels).
        inside: class of all ground inside polygons, instead of `column` (`vector`).
        outside: class of ground that no polygon holds; None = that ground has no label (`vector`).
        nomenclature: 19 or 43 classes (`bigearthnet`).
        lists: folder with the published lists of v1, `train.csv` and so on; None = that of the patches
            (`bigearthnet`).
        keep_snow_and_cloud: label the patches with seasonal snow, clouds or their shadows too (`bigearthnet`).
        classes: class name -> value in the source. Values that are not listed are nodata. Follows from `inside` and
            `outside`, and from `nomenclature`, where those are given.
        years: embedding year -> label year; years that are not listed have no labels.
        fold_column: column with a given fold, for published splits.
        group_column: column with a group that must not be split.
        dataset: name of the label product as `trained_on` of a product lists it; empty = the name of the source.
        title: name for reports.
        attribution: text that travels with derived data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: LabelKind
    path: LocalPath | None = None
    product: str | None = None
    column: str | None = None
    columns: tuple[str, ...] = ()
    inside: str | None = None
    outside: str | None = None
    nomenclature: Literal[19, 43] = 19
    lists: LocalPath | None = None
    keep_snow_and_cloud: bool = False
    classes: dict[str, int | str] = Field(default_factory=dict, validate_default=True)
    years: dict[int, int]
    fold_column: str | None = None
    group_column: str | None = None
    dataset: str = ""
    title: str = ""
    attribution: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_classes(cls, raw: Any) -> Any:
        """Name the classes that follow from other keys; what is written beside them is checked as it stands."""
        if not isinstance(raw, dict):
            return raw
        classes = raw.get("classes", {})
        if raw.get("kind") == "bigearthnet" and not classes:
            names = CLASSES_43 if raw.get("nomenclature") == 43 else CLASSES_19
            return {**raw, "classes": {name: number for number, name in enumerate(names)}}
        if raw.get("kind") == "vector" and isinstance(classes, dict):
            own = [name for name in (raw.get("outside"), raw.get("inside")) if isinstance(name, str)]
            return {**raw, "classes": {**{name: name for name in own if name not in classes}, **classes}}
        return raw

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: dict[str, int | str], info: ValidationInfo) -> dict[str, int | str]:
        if info.data.get("columns"):
            if classes:
                raise ValueError("columns are numbers: leave classes out, or name one column")
        elif len(classes) < 2:
            raise ValueError("needs at least 2 items, class name = value in the source")
        if len(set(classes.values())) != len(classes):
            raise ValueError("two names share one value")
        return classes

    @model_validator(mode="after")
    def _check(self) -> LabelSettings:
        _check_strays(self)
        if self.kind == "column":
            if self.product is None or (self.column is None) == (not self.columns):
                raise ValueError("kind 'column' needs product and column (a class), or product and columns (numbers)")
            if len(set(self.columns)) != len(self.columns):
                raise ValueError(f"columns: {list(self.columns)} names one twice")
        elif self.path is None:
            raise ValueError(f"kind '{self.kind}' needs {_NEEDS[self.kind]}")
        if self.kind == "geotiff" and not all(isinstance(code, int) for code in self.classes.values()):
            raise ValueError("classes of a geotiff are whole numbers, e.g. tree = 10")
        is_whole = self.inside is not None and self.outside is not None and self.column is None
        if self.kind == "vector" and not is_whole and (self.column is None or self.inside is not None):
            raise ValueError(f"kind 'vector' needs {_NEEDS['vector']}")
        if self.inside is not None and set(self.classes) != {self.inside, self.outside}:
            raise ValueError("classes follow from inside and outside: leave them out")
        return self

    @property
    def has_split(self) -> bool:
        """Tell whether the source may come with a published split."""
        return self.fold_column is not None or self.kind == "bigearthnet"


#: Keys that only some kinds read.
_KINDS_OF_KEY: dict[str, tuple[LabelKind, ...]] = {
    "product": ("column",),
    "column": ("column", "vector"),
    "columns": ("column",),
    "inside": ("vector",),
    "outside": ("vector",),
    "nomenclature": ("bigearthnet",),
    "lists": ("bigearthnet",),
    "keep_snow_and_cloud": ("bigearthnet",),
    "fold_column": ("column",),
    "group_column": ("column",),
}


def _check_strays(label: LabelSettings) -> None:
    """Refuse keys that the kind does not read: they would be without effect."""
    strays = sorted(key for key, kinds in _KINDS_OF_KEY.items() if _is_set(label, key) and label.kind not in kinds)
    if strays:
        raise ValueError(f"kind '{label.kind}' does not read {strays}")


def _is_set(label: LabelSettings, key: str) -> bool:
    return bool(getattr(label, key) != LabelSettings.model_fields[key].default)
