"""The settings file: one TOML per warehouse, environment variables override.

Belongs here: how sections fit together, and how to read the file. Does not: the sections (`sections.py`), TOML files
and what they extend (`settings_files.py`), reading at import; every function that needs settings takes them as an
argument.

`${NAME:-default}` inside a string is filled from the environment. Relative paths are relative to the file.
`extends = "demo.toml"` takes everything that a file does not say from the file of that name beside it; where a file
says where the area is, that of the other is left.
An environment variable `ISTHMUS_AREA__SHARD_RULE=region` overrides `shard_rule` of `[area]`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SettingsSourceError

from warehouse.automation_sections import AlertSettings, AutomationSettings
from warehouse.engine_settings import EngineSettings
from warehouse.errors import SettingsError
from warehouse.file_paths import FilePath, RemotePath
from warehouse.followed import extend_sources, read_followed
from warehouse.label_settings import LabelSettings
from warehouse.products import PIXEL_LAYOUTS, Product, fill_source, load_registry, registered_entries
from warehouse.sections import (
    AdapterSettings,
    AreaSettings,
    CompareSettings,
    EvaluateSettings,
    InstanceSettings,
    KeepSettings,
    LimitSettings,
    PoolSettings,
    SourceName,
    UpsampleSettings,
)
from warehouse.settings_files import read_chain
from warehouse.settings_problems import describe_problem, describe_variable
from warehouse.source_settings import CacheSettings, SourceSettings
from warehouse.study_sections import StudySettings
from warehouse.warehouse_settings import WarehouseSettings

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class Settings(BaseSettings):
    """Everything that a run needs to know. See `examples/*.toml`."""

    # inputs are hidden from pydantic's own messages, which a traceback prints: they may hold a password
    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="ISTHMUS_", env_nested_delimiter="__", hide_input_in_errors=True
    )

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    years: tuple[int, ...] = Field(min_length=1)
    area: AreaSettings
    sources: dict[str, SourceSettings] = Field(min_length=1)
    compare: CompareSettings
    labels: dict[SourceName, LabelSettings] = Field(default_factory=dict)
    keep: KeepSettings = KeepSettings()
    pool: PoolSettings = PoolSettings()
    upsample: UpsampleSettings = UpsampleSettings()
    evaluate: EvaluateSettings | None = None
    adapter: AdapterSettings | None = None
    study: StudySettings | None = None
    warehouse: WarehouseSettings
    dagster: InstanceSettings
    products: dict[str, dict[str, Any]] = Field(default_factory=dict)
    limits: LimitSettings = LimitSettings()
    automation: AutomationSettings = AutomationSettings()
    alerts: AlertSettings = AlertSettings()
    cache: CacheSettings = CacheSettings()
    engine: EngineSettings = EngineSettings()

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

    @model_validator(mode="before")
    @classmethod
    def _add_public_roots(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Give a source without a root the public one of its product."""
        sources, entries = values.get("sources"), values.get("products") or {}
        if not isinstance(sources, dict) or not isinstance(entries, dict):
            return values
        filled = {
            name: fill_source(name, source, entries) if isinstance(source, dict) else source
            for name, source in sources.items()
        }
        return {**values, "sources": filled}

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
        for name, source in self.sources.items():
            wanted, known = source.years or self.years, registry[name]
            if not any(known.takes(year) for year in wanted):
                raise ValueError(
                    f"sources.{name}: the product has years {list(known.years)}, none of {list(wanted)}; "
                    f"set years, or products.{name}.years if the files are this product"
                )
        if self.compare.pixels is None and self.compare.patches is None:
            raise ValueError("compare needs pixels, patches or both")
        for label_name, label in self.labels.items():
            if label.product is not None and label.product not in self.sources:
                raise ValueError(f"labels.{label_name}.product = '{label.product}' has no source")
            if label.columns and registry[str(label.product)].grain == "patch":
                raise ValueError(f"labels.{label_name}.columns: numbers label pixels; '{label.product}' has patches")
        _check_lists(self)
        if self.evaluate is not None:
            if self.evaluate.label not in self.labels:
                raise ValueError(f"evaluate.label = '{self.evaluate.label}'; allowed: {sorted(self.labels)}")
            if self.labels[self.evaluate.label].columns:
                raise ValueError(
                    f"evaluate.label = '{self.evaluate.label}' has numbers, folds and classes need labels; "
                    "name it in evaluate.values"
                )
            if self.evaluate.values is not None and not self._has_values(self.evaluate.values):
                raise ValueError(f"evaluate.values = '{self.evaluate.values}'; expected a label source with columns")
            if "given" in self.evaluate.schemes and not self.labels[self.evaluate.label].has_split:
                raise ValueError(f"scheme 'given' needs labels.{self.evaluate.label}.fold_column")
        if self.adapter is not None:
            _check_adapter(self, self.adapter, registry)
        if self.study is not None and self.evaluate is None:
            raise ValueError("[study] needs [evaluate], which names the label, the tasks and the folds")
        return self

    def _has_values(self, label: str) -> bool:
        return label in self.labels and bool(self.labels[label].columns)

    def registry(self) -> dict[str, Product]:
        """Give the product registry with this file's own entries."""
        return load_registry(self.products)


def _check_adapter(settings: Settings, adapter: AdapterSettings, registry: dict[str, Product]) -> None:
    """Refuse an adapter without block folds, or without rasters to cut chips from."""
    pixels = settings.compare.pixels
    if settings.evaluate is None or "block" not in settings.evaluate.schemes:
        raise ValueError("adapter needs [evaluate] with 'block' among its schemes")
    if pixels is None or registry[pixels].layout == "pixel_table":
        raise ValueError("adapter needs compare.pixels to be a product of rasters")
    if settings.labels[settings.evaluate.label].kind not in ("geotiff", "vector"):
        raise ValueError(f"adapter needs labels on any pixel; '{settings.evaluate.label}' has those of a table only")
    if "upsampled_bilinear" in adapter.arms and settings.compare.patches is None:
        raise ValueError("adapter.arms = 'upsampled_bilinear' needs compare.patches")


def _check_lists(settings: Settings) -> None:
    """Refuse lists that contradict themselves or each other."""
    if len(set(settings.years)) != len(settings.years):
        raise ValueError(f"years: {list(settings.years)} names a year twice")
    windows = [window.name for window in settings.keep.windows]
    if len(set(windows)) != len(windows):
        raise ValueError(f"keep.windows: {windows} has a name twice")
    for name, source in settings.sources.items():
        beyond = sorted(set(source.years or ()) - set(settings.years))
        if beyond:
            raise ValueError(f"sources.{name}.years: {beyond} are not in years {list(settings.years)}")
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
    raw = read_chain(file, str(path))
    unset = sorted(_find_unset(raw))
    if unset:
        raise SettingsError(str(path), [f"environment variable {name} is not set and has no default" for name in unset])
    _check_products(str(path), raw.get("products", {}))
    try:
        settings = Settings(**_expand(raw))
    except ValidationError as error:
        raise SettingsError(str(path), [describe_problem(item, Settings) for item in error.errors()]) from error
    except SettingsSourceError as error:
        raise SettingsError(str(path), [describe_variable(str(error))]) from error
    return _add_followed(_anchor(settings, file.parent))


def _add_followed(settings: Settings) -> Settings:
    """Add the years and products that were taken by themselves, where the settings allow that."""
    followed = read_followed(settings.warehouse.root) if settings.automation.follow else {}
    if not followed:
        return settings
    sources = extend_sources(settings.sources, settings.years, followed)
    years = tuple(sorted({year for source in sources.values() for year in source.years or ()} | {*settings.years}))
    return settings.model_copy(update={"sources": sources, "years": years})


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
    registered = registered_entries()
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if not isinstance(entry, dict):
            problems.append(f"key 'products.{name}' must be a table")
        elif "name" in entry:
            problems.append(f"key 'products.{name}.name' is unknown: the name is that of the table")
        else:
            try:
                Product(name=name, **{**registered.get(name, {}), **_expand(entry)})
            except ValidationError as error:
                allowed = sorted(set(Product.model_fields) - {"name"})
                problems += [describe_problem(item, Settings, ("products", name), allowed) for item in error.errors()]
    if problems:
        raise SettingsError(path, problems)


def _anchor(settings: Settings, folder: Path) -> Settings:
    """Make all paths absolute, relative to the settings file."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.normpath(folder / path.expanduser()))

    cache = settings.cache.model_copy(update={"root": absolute(settings.cache.root)})

    def reach(path: FilePath | None) -> FilePath | None:
        return path.through(cache.limits) if isinstance(path, RemotePath) else absolute(path)

    store = settings.warehouse.root
    if isinstance(store, RemotePath):
        store = store.writing_in(absolute(settings.warehouse.scratch))
    return settings.model_copy(
        update={
            "cache": cache,
            "sources": {
                name: source.model_copy(update={"root": reach(source.root), "index": reach(source.index)})
                for name, source in settings.sources.items()
            },
            "labels": {
                name: label.model_copy(update={"path": absolute(label.path), "lists": absolute(label.lists)})
                for name, label in settings.labels.items()
            },
            "area": settings.area.model_copy(
                update={
                    "geometry": absolute(settings.area.geometry),
                    "boundaries": absolute(settings.area.boundaries),
                }
            ),
            "warehouse": settings.warehouse.model_copy(update={"root": reach(store)}),
            "dagster": settings.dagster.model_copy(update={"instance": absolute(settings.dagster.instance)}),
        }
    )
