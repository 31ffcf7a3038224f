"""The settings file: one TOML per warehouse, environment variables override.

Belongs here: what a user may set, its limits, and how to read it. Does not: reading at import; every function
that needs settings takes them as an argument.

`${NAME:-default}` inside a string is filled from the environment. Relative paths are relative to the file.
An environment variable `ISTHMUS_AREA__SHARD_RULE=region` overrides `shard_rule` of `[area]`.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SettingsSourceError

from transforms.errors import ShapeError
from warehouse.errors import SettingsError
from warehouse.layout import check_shard_key
from warehouse.products import PIXEL_LAYOUTS, Product, load_registry

ShardRule = Literal["mgrs", "region", "file"]
Scheme = Literal["block", "random", "given", "region"]
Task = Literal["T1", "T5"]
Bbox = tuple[float, float, float, float]
#: Part of table names.
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_region(name: str) -> None:
    """Refuse a name that cannot be a shard key, in the form that the settings' messages take."""
    try:
        check_shard_key(name)
    except ShapeError as error:
        raise ValueError(str(error)) from error


def _check_bbox(name: str, bbox: Bbox) -> None:
    west, south, east, north = bbox
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ValueError(f"{name} must be [west, south, east, north] in degrees with west < east, south < north")


class AreaSettings(_Strict):
    """Area of interest, and how it is cut into shards.

    Attributes:
        bbox: west, south, east, north in degrees. None: wherever the sources have data.
        shard_rule: `mgrs` (100 km squares), `region` (one shard per named region), `file` (one per source file).
        regions: named boxes for the `region` rule; without any, the whole area is one region named after the
            settings.
    """

    bbox: Bbox | None = None
    shard_rule: ShardRule = "mgrs"
    regions: dict[str, Bbox] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> AreaSettings:
        for name, bbox in {**({"bbox": self.bbox} if self.bbox else {}), **self.regions}.items():
            _check_bbox(name, bbox)
        if self.shard_rule == "mgrs" and self.bbox is None:
            raise ValueError("shard_rule 'mgrs' needs bbox = [west, south, east, north]")
        if self.shard_rule == "mgrs" and self.bbox is not None and not (-80 <= self.bbox[1] < self.bbox[3] <= 84):
            raise ValueError("shard_rule 'mgrs' reaches from 80 S to 84 N; use 'region' beyond")
        for name in self.regions:
            _check_region(name)
        return self


class SourceSettings(_Strict):
    """Where the files of one product are.

    Attributes:
        root: folder that holds the published tree or the files.
        files: glob below `root` for products without a fixed layout.
        index: index file for products that have one; None = the published name below `root`.
        year: year of files that do not name one.
    """

    root: Path
    files: str = "*"
    index: Path | None = None
    year: int | None = None


class LabelSettings(_Strict):
    """One source of labels.

    Attributes:
        kind: `geotiff` (class codes in a raster of any CRS) or `column` (of a product's own table).
        path: raster, or glob of rasters (`geotiff`).
        product: product whose table has the column (`column`).
        column: column with the class (`column`).
        classes: class name -> value in the source. Values that are not listed are nodata.
        years: embedding year -> label year; years that are not listed have no labels.
        fold_column: column with a given fold, for published splits.
        group_column: column with a group that must not be split.
        title: name for reports.
        attribution: text that travels with derived data.
    """

    kind: Literal["geotiff", "column"]
    path: Path | None = None
    product: str | None = None
    column: str | None = None
    classes: dict[str, int | str] = Field(min_length=2)
    years: dict[int, int]
    fold_column: str | None = None
    group_column: str | None = None
    title: str = ""
    attribution: str = ""

    @model_validator(mode="after")
    def _check(self) -> LabelSettings:
        if self.kind == "geotiff" and self.path is None:
            raise ValueError("kind 'geotiff' needs path")
        if self.kind == "column" and (self.product is None or self.column is None):
            raise ValueError("kind 'column' needs product and column")
        if self.kind == "geotiff" and not all(isinstance(code, int) for code in self.classes.values()):
            raise ValueError("classes of a geotiff are whole numbers, e.g. tree = 10")
        if len(set(self.classes.values())) != len(self.classes):
            raise ValueError("classes: two names share one value")
        return self


class KeepWindow(_Strict):
    """A named box in which every pixel is kept."""

    name: str
    bbox: Bbox

    @model_validator(mode="after")
    def _check(self) -> KeepWindow:
        _check_bbox(self.name, self.bbox)
        return self


class KeepSettings(_Strict):
    """Which pixels stay in `core_{product}__pixels`.

    Attributes:
        all: keep every pixel.
        windows: boxes kept densely.
        sample: share of all pixels kept uniformly, chosen by place, so that years keep the same places.
    """

    all: bool = False
    windows: tuple[KeepWindow, ...] = ()
    sample: float = Field(default=0.01, ge=0, le=1)


class CompareSettings(_Strict):
    """The pair of products to compare; either side may be absent (then its arms are)."""

    pixels: str | None = None
    patches: str | None = None


class EvaluateSettings(_Strict):
    """What is evaluated and how. Margins and primary arms are fixed in the protocol, not here.

    Attributes:
        label: label source.
        tasks: T1 (patch, single label), T5 (pixel segmentation).
        schemes: fold schemes, the first one answers the questions.
        block_edge_m: edge of a spatial block on EPSG:6933.
        buffer_m: least distance between training units and test blocks; raised to the product's context.
        n_folds: number of folds of block and random schemes.
        purity_min: least majority share of a T1 patch.
        c_grid: inverse regularisation strengths of the logistic probe; more than one: inner block CV picks.
        max_train_units: cap on training units per fold (uniform draw).
        seed: seed of folds, draws and probes.
        diagnostic: why results here are a diagnostic and never a verdict; empty: they may be one.
    """

    label: str
    tasks: tuple[Task, ...] = Field(default=("T1", "T5"), min_length=1)
    schemes: tuple[Scheme, ...] = Field(default=("block",), min_length=1)
    block_edge_m: float = Field(default=5000.0, gt=0)
    buffer_m: float = Field(default=1280.0, ge=0)
    n_folds: int = Field(default=5, ge=2, le=50)
    purity_min: float = Field(default=0.5, ge=0, le=1)
    c_grid: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.1,), min_length=1)
    max_train_units: int = Field(default=20_000, ge=10)
    seed: int = 0
    diagnostic: str = ""


class PathSettings(_Strict):
    """A folder."""

    root: Path


class InstanceSettings(_Strict):
    """Where Dagster keeps its history."""

    instance: Path


class LimitSettings(_Strict):
    """Limits of one machine.

    Attributes:
        block_px: edge of a pixel block held in memory.
        min_free_mb: refuse to start with less free disk.
        threads: folds trained at once.
    """

    block_px: int = Field(default=1024, ge=64, le=8192)
    min_free_mb: int = Field(default=2_000, ge=0)
    threads: int = Field(default=2, ge=1, le=64)


class Settings(BaseSettings):
    """Everything that a run needs to know. See `examples/*.toml`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="ISTHMUS_", env_nested_delimiter="__")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    years: tuple[int, ...] = Field(min_length=1)
    area: AreaSettings
    sources: dict[str, SourceSettings] = Field(min_length=1)
    compare: CompareSettings
    labels: dict[SourceName, LabelSettings] = Field(default_factory=dict)
    keep: KeepSettings = KeepSettings()
    evaluate: EvaluateSettings | None = None
    warehouse: PathSettings
    dagster: InstanceSettings
    products: dict[str, dict[str, Any]] = Field(default_factory=dict)
    limits: LimitSettings = LimitSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _check_references(self) -> Settings:
        registry = load_registry(self.products)
        names = [*self.sources, self.compare.pixels, self.compare.patches]
        unknown = sorted({n for n in names if n is not None and n not in registry})
        if unknown:
            raise ValueError(f"unknown products {unknown}; known: {sorted(registry)}, or add [products.<name>]")
        for side, name in (("pixels", self.compare.pixels), ("patches", self.compare.patches)):
            if name is None:
                continue
            if name not in self.sources:
                raise ValueError(f"compare.{side} = '{name}' has no [sources.{name}]")
            if (registry[name].layout in PIXEL_LAYOUTS) != (side == "pixels"):
                raise ValueError(f"compare.{side} = '{name}' is a {registry[name].grain} product")
        if self.compare.pixels is None and self.compare.patches is None:
            raise ValueError("compare needs pixels, patches or both")
        for label_name, label in self.labels.items():
            if label.product is not None and label.product not in self.sources:
                raise ValueError(f"labels.{label_name}.product = '{label.product}' has no source")
        _check_lists(self)
        if self.evaluate is not None:
            if self.evaluate.label not in self.labels:
                raise ValueError(f"evaluate.label = '{self.evaluate.label}'; allowed: {sorted(self.labels)}")
            if "given" in self.evaluate.schemes and self.labels[self.evaluate.label].fold_column is None:
                raise ValueError(f"scheme 'given' needs labels.{self.evaluate.label}.fold_column")
        return self

    def registry(self) -> dict[str, Product]:
        """Give the product registry with this file's own entries."""
        return load_registry(self.products)


def _check_lists(settings: Settings) -> None:
    """Refuse lists that contradict themselves or each other."""
    if len(set(settings.years)) != len(settings.years):
        raise ValueError(f"years: {list(settings.years)} names a year twice")
    windows = [window.name for window in settings.keep.windows]
    if len(set(windows)) != len(windows):
        raise ValueError(f"keep.windows: {windows} has a name twice")
    for name, label in settings.labels.items():
        stray = sorted(set(label.years) - set(settings.years))
        if stray:
            raise ValueError(f"labels.{name}.years: embedding years {stray} are not in years {list(settings.years)}")


def load_settings(path: Path | str) -> Settings:
    """Read a settings file.

    Args:
        path: TOML file; `${NAME:-default}` is filled from the environment, relative paths are its own.

    Returns:
        Checked settings with absolute paths.

    Raises:
        SettingsError: the file is missing, is not TOML, has unknown keys or impossible values; all at once,
            each with its key and what is allowed.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise SettingsError(str(path), ["found no file, expected a TOML settings file. See examples/"])
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(str(path), [f"not UTF-8 text: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(path), [f"not valid TOML: {error}"]) from error
    unset = sorted(_find_unset(raw))
    if unset:
        raise SettingsError(str(path), [f"environment variable {name} is not set and has no default" for name in unset])
    _check_products(str(path), raw.get("products", {}))
    try:
        settings = Settings(**_expand(raw))
    except ValidationError as error:
        raise SettingsError(str(path), [_describe(item) for item in error.errors()]) from error
    except SettingsSourceError as error:
        raise SettingsError(str(path), [_describe_variable(str(error))]) from error
    return _anchor(settings, file.parent)


def _expand(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda m: os.environ.get(m.group(1), m.group(2) or ""), value)
    return value


def _find_unset(value: Any) -> set[str]:
    """Name the variables that have neither a value nor a default."""
    if isinstance(value, dict):
        return set().union(*(_find_unset(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(_find_unset(item) for item in value))
    found = _VARIABLE.finditer(value) if isinstance(value, str) else ()
    return {m.group(1) for m in found if m.group(2) is None and m.group(1) not in os.environ}


def _check_products(path: str, entries: Any) -> None:
    """Check [products.<name>] by themselves, so that a problem names its whole key."""
    problems = []
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if not isinstance(entry, dict):
            problems.append(f"key 'products.{name}' must be a table")
        elif "name" in entry:
            problems.append(f"key 'products.{name}.name' is unknown: the name is that of the table")
        else:
            try:
                Product(name=name, **_expand(entry))
            except ValidationError as error:
                allowed = sorted(set(Product.model_fields) - {"name"})
                problems += [_describe(item, ("products", name), allowed) for item in error.errors()]
    if problems:
        raise SettingsError(path, problems)


def _describe_variable(problem: str) -> str:
    """Say which environment variable cannot be read; the library names the field only."""
    found = re.search(r'field "(\w+)"', problem)
    name = f"ISTHMUS_{found.group(1).upper()}" if found else "an environment variable ISTHMUS_..."
    return f"{name}: found {os.environ.get(name, '')!r}, expected JSON, e.g. [2023, 2024]"


def _describe(item: Any, prefix: tuple[str, ...] = (), allowed: list[str] | None = None) -> str:
    """Say one problem of a ValidationError with its key and what is allowed."""
    location = [*prefix, *(str(part) for part in item["loc"])]
    key = ".".join(location) or "settings"
    if item["type"] == "extra_forbidden":
        return f"key '{key}' is unknown; allowed here: {allowed or _allowed_keys(location[:-1])}"
    if item["type"] == "missing":
        return f"key '{key}' is missing"
    return f"key '{key}': {item['msg']} (found {item['input']!r})"[:600]


def _allowed_keys(location: list[str]) -> list[str]:
    """List the keys of the model at a location, walking through dict values and tuples."""
    model: Any = Settings
    steps = iter(location)
    for step in steps:
        annotation = model.model_fields[step].annotation
        while not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            arguments = [a for a in getattr(annotation, "__args__", ()) if a not in (type(None), str, ...)]
            if not arguments:
                return []
            if getattr(annotation, "__origin__", None) in (dict, tuple):
                next(steps, None)  # the dict key or the list index
            annotation = arguments[-1]
        model = annotation
    return sorted(model.model_fields)


def _anchor(settings: Settings, folder: Path) -> Settings:
    """Make all paths absolute, relative to the settings file."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.normpath(folder / path))

    return settings.model_copy(
        update={
            "sources": {
                name: source.model_copy(update={"root": absolute(source.root), "index": absolute(source.index)})
                for name, source in settings.sources.items()
            },
            "labels": {
                name: label.model_copy(update={"path": absolute(label.path)}) for name, label in settings.labels.items()
            },
            "warehouse": settings.warehouse.model_copy(update={"root": absolute(settings.warehouse.root)}),
            "dagster": settings.dagster.model_copy(update={"instance": absolute(settings.dagster.instance)}),
        }
    )
